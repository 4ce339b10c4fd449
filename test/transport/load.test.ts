import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { loadTransport } from "../../src/transport/load.js";

const SOURCES = fileURLToPath(new URL("../../src/", import.meta.url));
const NATIVE = fileURLToPath(new URL("../../../node_modules/@uwsjs/", import.meta.url));

/** SHA-256 of the native part, for the machine it was tried on (glibc, x64, Node.js 20). */
const BINARIES: Readonly<Record<string, string>> = {
  "linux-x64-20": "4d482084b665c225892917ee0e9b9572d89eaa6f3dc200ff5e536293d3456c89",
};

t.test("a front end is found, and each can be asked for", async (t) => {
  t.match((await loadTransport()).kind, /^(uws|node)$/);
  t.equal((await loadTransport("node")).kind, "node");
});

t.test(
  "where uWebSockets.js is not there, node:http serves; who insists on it is told",
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "lakepack-load-"));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    for (const room of ["base", "git", "kernels", "wire", "observe", "serve", "transport"])
      cpSync(join(SOURCES, room), join(folder, "src", room), { recursive: true });
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    const script = `
    import { loadTransport } from "./src/transport/load.js";
    const { kind } = await loadTransport();
    const refused = await loadTransport("uws").catch((fault) => fault.code);
    console.log(kind, refused);`;
    const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: folder,
      encoding: "utf8",
    });
    t.equal(run.stdout.trim(), "node settings/bad-value", run.stderr);
  },
);

t.test("the binary is the one that was tried", async (t) => {
  // A repack by one person of upstream's v20.51: what it holds must not change under the same
  // version.
  for (const [platform, expected] of Object.entries(BINARIES)) {
    const file = join(NATIVE, platform, "uws.node");
    if (!existsSync(file)) t.pass(platform, { skip: "npm has not installed this platform's part" });
    else t.equal(createHash("sha256").update(readFileSync(file)).digest("hex"), expected, platform);
  }
});
