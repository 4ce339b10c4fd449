// Makes sure that node_modules/ is what package-lock.json asks for; runs `npm ci` when it is not.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/**
 * True if every package the lock needs on this machine is there in its version. Optional ones may
 * be absent.
 */
function isInstalled() {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  return Object.entries(lock.packages).every(([path, { version, optional }]) => {
    const manifest = join(root, path, "package.json");
    if (path === "" || optional) return true;
    return existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === version;
  });
}

export function install() {
  if (isInstalled()) return;
  console.log("lakepack: installing packages (npm ci), once");
  const result = spawnSync("npm", ["ci", "--no-audit", "--no-fund"], {
    cwd: root,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** Runs a Node.js script of ours and exits with its code if it fails. */
export function run(script, args = [], options = {}) {
  const result = spawnSync(process.execPath, [join(root, script), ...args], {
    cwd: root,
    stdio: "inherit",
    ...options,
  });
  if (result.status !== 0) process.exit(result.status ?? 1);
}
