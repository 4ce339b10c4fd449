/** `lakepack serve`. */
import { Command, Option } from "commander";
import { sleep } from "../../base/flow.js";
import { createLog } from "../../observe/log.js";
import { readSettings, SETTINGS, type Settings } from "../server/settings.js";
import type { RunningServer } from "../server/server.js";
import { VERSION } from "../server/version.js";
import { say } from "../terminal/say.js";

export function serveCommand(): Command {
  const command = new Command("serve").description("Serve repositories over HTTP.");
  command.option("--config <file>", "settings file", undefined);
  for (const [name, { about, allowed, fallback }] of Object.entries(SETTINGS)) {
    const flag = `--${name.replaceAll("_", "-")} <value>`;
    command.addOption(
      new Option(flag, `${about} [${allowed}; default ${fallback === "" ? "none" : fallback}]`),
    );
  }
  command.addHelpText(
    "after",
    "\nEach setting can also stand in lakepack.yaml (name: value) or in the environment (LAKEPACK_NAME).\n",
  );
  return command
    .exitOverride()
    .action(async (options: Record<string, string | undefined>) => serve(options));
}

async function serve(options: Record<string, string | undefined>): Promise<void> {
  const { config, ...given } = options;
  const flags = Object.fromEntries(
    Object.entries(given).map(([name, value]) => [toSettingName(name), value]),
  );
  const settings = readSettings(flags, process.env, config);
  const signals = new Signals(); // before anybody is told that it serves
  const { startServer } = await import("../server/server.js"); // all of the engine: other commands start without
  const running = await startServer(settings, createLog(settings.log_level));
  await greet(running, settings);
  await end(running, settings, signals);
}

/**
 * SIGTERM, which balancers' hosts send: `/readyz` says no at once, and requests are served until
 * the balancer has noticed. SIGINT, which a person sends, and any second signal go straight to the
 * end.
 */
async function end(
  running: RunningServer,
  { drain_seconds: drainSeconds, stop_seconds: stopSeconds }: Settings,
  signals: Signals,
): Promise<void> {
  if ((await signals.next()) === "SIGTERM" && drainSeconds > 0) {
    running.drain();
    const noticed = new AbortController();
    await Promise.race([
      sleep(drainSeconds * 1_000, noticed.signal).catch(() => undefined),
      signals.next(),
    ]);
    noticed.abort();
  }
  await running.stop(stopSeconds * 1_000);
}

/** commander camel-cases: "poolThreads" → "pool_threads". */
function toSettingName(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

async function greet(
  { kind, url, lakefs, firstToken }: RunningServer,
  settings: Settings,
): Promise<void> {
  const known = settings.public_url === "" ? url : settings.public_url;
  const login =
    firstToken === undefined
      ? ""
      : `\nThere was no user yet. This is the token of the new administrator "admin", shown this once:\n  ${firstToken.token}\n`;
  const text = `lakepack ${VERSION} serving ${url} (${kind})
data in ${settings.data}, ${settings.auth === "none" ? "no authentication: this machine only" : "callers sign in with tokens"}${lakefs === undefined ? "" : `\n${lakefs}`}
${login}
Push something (the first push creates the repository):
  git push ${known}/me/model.git HEAD:main
Clone it:
  git clone ${known}/me/model.git
`;
  await say(text);
  await firstToken?.shown();
}

/**
 * Signals to end, as they come. Being told twice (npm passes on what the terminal has sent already)
 * kills nobody.
 */
class Signals {
  #wake: ((signal: NodeJS.Signals) => void) | undefined;

  constructor() {
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.on(signal, () => this.#wake?.(signal));
  }

  next(): Promise<NodeJS.Signals> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
