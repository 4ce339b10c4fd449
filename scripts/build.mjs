// Builds everything into dist/: WebAssembly kernels first, the constants they share with their
// callers (src/kernels/abi.ts), then TypeScript. Skips the kernels when
// they are newer than their sources. `--if-needed` skips all when dist/ is newer than every source
// (used by `npm start`); `--kernels` builds the kernels alone (used by `npm run pack`).
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeAbi } from "./abi.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const kernels = join(root, "dist/wasm/kernels.wasm");
const stamp = join(root, "dist/.tsbuildinfo");

function newest(folder) {
  let time = 0;
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name);
    time = Math.max(time, entry.isDirectory() ? newest(path) : statSync(join(root, path)).mtimeMs);
  }
  return time;
}

function run(script, args) {
  const result = spawnSync(process.execPath, [join(root, "node_modules", script), ...args], {
    cwd: root,
    stdio: "inherit",
  });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

const upToDate = (file, ...times) =>
  existsSync(file) && statSync(file).mtimeMs > Math.max(...times);

const config = statSync(join(root, "tsconfig.json")).mtimeMs;
if (!upToDate(kernels, newest("wasm"))) {
  mkdirSync(dirname(kernels), { recursive: true });
  // Flags are part of the format: two builds of the same source are byte-identical, which a test
  // proves.
  run("assemblyscript/bin/asc.js", [
    "wasm/kernels.ts",
    "--config",
    "wasm/asconfig.json",
    "--target",
    "release",
  ]);
}
writeAbi();
if (process.argv.includes("--kernels")) process.exit(0);
const sources = ["src", "workers", "test", "bench"].map(newest);
if (!process.argv.includes("--if-needed") || !upToDate(stamp, config, ...sources))
  run("typescript/bin/tsc", ["-p", "."]);
