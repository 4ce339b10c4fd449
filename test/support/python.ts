/** Git clients written in Python, installed from PyPI (wheels only) beside node_modules, once. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

export interface Python {
  /** Reason why the package is not there; undefined: it is. */
  readonly missing: string | undefined;
  /** Runs a script; what it printed. Throws with what it said when it fails. */
  run(script: string, ...args: readonly string[]): Promise<string>;
}

/** `packages`: exact versions, the first one being what they are installed for. */
export async function python(...packages: readonly [string, ...string[]]): Promise<Python> {
  // Beside other things npm may remove.
  const folder = fileURLToPath(
    new URL(`../../../node_modules/.cache/${packages[0].replace("==", "-")}`, import.meta.url),
  );
  const missing = await install(folder, packages);
  return { missing, run: (script, ...args) => run(folder, script, args) };
}

async function install(folder: string, packages: readonly string[]): Promise<string | undefined> {
  if (existsSync(folder)) return undefined;
  const partial = `${folder}.${process.pid}`;
  await mkdir(partial, { recursive: true });
  const options = [
    "--quiet",
    "--retries",
    "1",
    "--timeout",
    "10",
    "--only-binary",
    ":all:",
    "--target",
    partial,
  ];
  const pip = spawnSync("python3", ["-m", "pip", "install", ...options, ...packages], {
    encoding: "utf8",
    timeout: 90_000,
  });
  if (pip.status === 0) await rename(partial, folder).catch(() => undefined);
  await rm(partial, { recursive: true, force: true });
  return existsSync(folder)
    ? undefined
    : `${packages[0]} cannot be installed: ${pip.error?.message ?? pip.stderr.trim().slice(0, 200)}`;
}

async function run(folder: string, script: string, args: readonly string[]): Promise<string> {
  const child = spawn("python3", ["-c", script, ...args], {
    env: { PATH: process.env["PATH"] ?? "", PYTHONPATH: folder, HOME: "/nonexistent" },
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    err += chunk.toString();
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`python ended with ${code}: ${err}`);
  return out;
}
