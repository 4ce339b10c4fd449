/** `lakepack serve`. */
import { Command, Option } from "commander";
import { createLog } from "../observe/log.js";
import { readSettings, SETTINGS, type Settings } from "./settings.js";
import { type RunningServer, startServer } from "./server.js";
import { VERSION } from "./version.js";

/** Requests that run when the server is told to stop have this long to end. */
const STOP_GRACE_MS = 30_000;

export function serveCommand(): Command {
  const command = new Command("serve").description("Serve repositories over HTTP.");
  command.option("--config <file>", "settings file", undefined);
  for (const [name, { about, allowed, fallback }] of Object.entries(SETTINGS)) {
    const flag = `--${name.replaceAll("_", "-")} <value>`;
    command.addOption(new Option(flag, `${about} [${allowed}; default ${fallback === "" ? "none" : fallback}]`));
  }
  command.addHelpText("after", "\nEach setting can also stand in lakepack.yaml (name: value) or in the environment (LAKEPACK_NAME).\n");
  return command.exitOverride().action(async (options: Record<string, string | undefined>) => serve(options));
}

async function serve(options: Record<string, string | undefined>): Promise<void> {
  const { config, ...given } = options;
  const flags = Object.fromEntries(Object.entries(given).map(([name, value]) => [toSettingName(name), value]));
  const settings = readSettings(flags, process.env, config);
  const signalled = untilSignalled(); // before anybody is told that it serves
  const running = await startServer(settings, createLog(settings.log_level));
  greet(running, settings);
  await signalled;
  await running.stop(STOP_GRACE_MS);
}

/** commander camel-cases: "poolThreads" → "pool_threads". */
function toSettingName(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function greet({ kind, url, firstToken }: RunningServer, settings: Settings): void {
  const known = settings.public_url === "" ? url : settings.public_url;
  const login = firstToken === undefined ? "" : `\nThere was no user yet. This is the token of the new administrator "admin", shown this once:\n  ${firstToken}\n`;
  process.stdout.write(`lakepack ${VERSION} serving ${url} (${kind})
data in ${settings.data}, ${settings.auth === "none" ? "no authentication: this machine only" : "callers sign in with tokens"}
${login}
Push something (the first push creates the repository):
  git push ${known}/me/model.git HEAD:main
Clone it:
  git clone ${known}/me/model.git
`);
}

function untilSignalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
}
