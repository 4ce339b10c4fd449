import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { loadTransport } from "../../src/transport/load.js";
import { type BinaryRefusal, UWS_BINARIES, UWS_PLATFORM } from "../../src/transport/uws-binary.js";

const SOURCES = fileURLToPath(new URL("../../src/", import.meta.url));
const NATIVE = fileURLToPath(new URL("../../../node_modules/@uwsjs/", import.meta.url));

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

t.test("a binary that is not the pinned one is not loaded", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "lakepack-load-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const installed = join(NATIVE, UWS_PLATFORM, "uws.node");
  if (!existsSync(installed)) {
    t.pass("a changed copy", { skip: "npm has not installed the binary" });
    return;
  }
  const content = readFileSync(installed);
  const copy = join(folder, "uws.node");
  writeFileSync(copy, content);
  t.equal((await loadTransport("uws", { binary: copy })).kind, "uws", "an equal copy is");

  content[content.length - 1] = (content.at(-1) as number) ^ 1;
  writeFileSync(copy, content);
  const told: string[] = [];
  const passedOver = ({ kind, reason }: BinaryRefusal) => void told.push(kind, reason);
  t.equal((await loadTransport("auto", { binary: copy, passedOver })).kind, "node");
  t.match(told, ["changed", /uws\.node has SHA-256 [0-9a-f]{64} and not [0-9a-f]{64}.*npm ci/]);
  await t.rejects(loadTransport("uws", { binary: copy }), {
    code: "settings/bad-value",
    message: /transport.*uws.*npm ci/,
  });
});

t.test("the binary that npm has installed is the pinned one", async (t) => {
  for (const [platform, expected] of Object.entries(UWS_BINARIES)) {
    const file = join(NATIVE, platform, "uws.node");
    if (!existsSync(file)) t.pass(platform, { skip: "npm has not installed this platform's part" });
    else t.equal(createHash("sha256").update(readFileSync(file)).digest("hex"), expected, platform);
  }
});
