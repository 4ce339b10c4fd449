/** The kernels that run are built from the sources beside them, byte for byte: two builds agree. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

t.test("a second build gives the same bytes", { timeout: 120_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-wasm-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const out = join(folder, "kernels.wasm");
  const asc = join(ROOT, "node_modules/assemblyscript/bin/asc.js");
  const build = spawnSync(
    process.execPath,
    [
      asc,
      "wasm/kernels.ts",
      "--config",
      "wasm/asconfig.json",
      "--target",
      "release",
      "--outFile",
      out,
    ],
    { cwd: ROOT, encoding: "utf8" },
  );
  t.equal(build.status, 0, build.stderr);
  t.ok((await readFile(out)).equals(await readFile(join(ROOT, "dist/wasm/kernels.wasm"))));
});
