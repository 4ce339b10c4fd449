/**
 * packaging/: the container and the systemd unit name settings, files, addresses and times that are
 * so in the code.
 */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { checkTogether } from "../../src/cli/server/server.js";
import { readSettings, SETTINGS } from "../../src/cli/server/settings.js";
import { serve } from "../../src/library/index.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const container = await readFile(join(ROOT, "packaging/Containerfile"), "utf8");
const unit = await readFile(join(ROOT, "packaging/lakepack.service"), "utf8");
/** Names that an explanation mentions, and the placeholder of all. */
const NAMED = /LAKEPACK_([A-Z_]+)/g;

/** Assignments that count, without comments: `Environment=A=b`, `ENV A=b \`. */
function environmentOf(text: string): Record<string, string> {
  const code = text.replace(/^#.*$/gm, "");
  return Object.fromEntries(
    [...code.matchAll(/\b(LAKEPACK_[A-Z_]+|HEALTH_URL)=(\S+)/g)].map(([, name, value]) => [
      name,
      value,
    ]),
  );
}

const deployments = { container, unit };

t.test("every setting they name exists, and their values are taken", async (t) => {
  for (const [name, text] of Object.entries(deployments)) {
    const named = [...text.matchAll(NAMED)].map(([, setting = ""]) => setting.toLowerCase());
    t.ok(named.length > 4, name);
    t.same(
      named.filter((setting) => !Object.hasOwn(SETTINGS, setting)),
      [],
      name,
    );
    const { HEALTH_URL: _, ...environment } = environmentOf(text);
    const settings = readSettings({}, { ...environment, LAKEPACK_TRUSTED_PROXIES: "10.88.0.1" });
    t.equal(settings.auth, "token");
    await t.resolves(checkTogether(settings), "they go together");
  }
});

t.test(
  "the signal that ends them is the one that drains, and both phases have their time",
  async (t) => {
    const drains = await readFile(join(ROOT, "src/cli/commands/serve.ts"), "utf8");
    t.match(drains, /=== "SIGTERM" && drainSeconds/, "SIGTERM drains first");
    t.match(container, /^STOPSIGNAL SIGTERM$/m);
    t.match(unit, /^KillSignal=SIGTERM$/m);
    const given = {
      container: /--stop-timeout (\d+)/.exec(container)?.[1],
      unit: /^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1],
    };
    for (const [name, text] of Object.entries(deployments)) {
      const { HEALTH_URL: _, ...environment } = environmentOf(text);
      const { drain_seconds: drain, stop_seconds: stop } = readSettings({}, environment);
      t.ok(Number(given[name as keyof typeof given]) > drain + stop, name);
    }
  },
);

t.test("the commands and files they name exist", async (t) => {
  const manifest = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as {
    readonly bin: { readonly lakepack: string };
    readonly scripts: Readonly<Record<string, string>>;
  };
  const main = manifest.bin.lakepack;
  t.match(container, `CMD ["node", "${main}", "serve"]`);
  t.match(unit, `/node_modules/lakepack/${main} serve\n`);
  for (const [, script = ""] of container.matchAll(/npm run (\w+)/g))
    t.ok(manifest.scripts[script], script);
  for (const [, paths = ""] of container.matchAll(/^COPY --from=build (.+) \S+$/gm))
    for (const path of paths.split(" "))
      t.ok(existsSync(join(ROOT, path.replace("/build/", ""))), path);
  for (const folder of ["src", "workers", "wasm"])
    t.match(container, `/build/dist/${folder} ./dist/${folder}`);
});

t.test("the health check asks for what the server answers", async (t) => {
  const { HEALTH_URL: health = "", LAKEPACK_LISTEN: listen = "" } = environmentOf(container);
  const { port, pathname } = new URL(health);
  t.equal(port, listen.split(":").at(-1));
  t.match(container, `EXPOSE ${port}\n`);
  t.match(container, /^HEALTHCHECK .*\\\n.*process\.env\.HEALTH_URL/m);
  const data = await mkdtemp(join(tmpdir(), "lakepack-packaging-"));
  t.teardown(() => rm(data, { recursive: true, force: true }));
  const served = await serve({ listen: "127.0.0.1:0", data, auth: "token", log_level: "silent" });
  t.teardown(() => served.stop(0));
  t.equal((await fetch(served.url + pathname)).status, 200, "without a token");
});

t.test("nobody is root, and nothing but the data is written", async (t) => {
  const code = container.replace(/^#.*$/gm, "");
  const user = code.lastIndexOf("\nUSER node\n");
  t.ok(user > code.lastIndexOf("\nRUN "), "everything after the last RUN");
  const { LAKEPACK_DATA: data } = environmentOf(container);
  t.match(code, `VOLUME ${data}\n`);
  t.match(container, /--read-only --tmpfs \/tmp/);
  t.match(unit, /^DynamicUser=yes$/m);
  t.match(unit, /^ProtectSystem=strict$/m);
  t.match(unit, /^NoNewPrivileges=yes$/m);
  t.match(unit, /^CapabilityBoundingSet=$/m);
  const state = /^StateDirectory=(\w+)$/m.exec(unit)?.[1];
  t.equal(environmentOf(unit)["LAKEPACK_DATA"], `/var/lib/${state}`);
  const configuration = /^ConfigurationDirectory=(\w+)$/m.exec(unit)?.[1];
  t.match(unit, `WorkingDirectory=/etc/${configuration}\n`, "lakepack.yaml is looked for there");
});
