/** Stock git, with a clean configuration. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";

export const GIT_ENVIRONMENT: NodeJS.ProcessEnv = {
  PATH: process.env["PATH"],
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_TERMINAL_PROMPT: "0",
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.com",
  GIT_COMMITTER_NAME: "C",
  GIT_COMMITTER_EMAIL: "c@example.com",
};

/** Runs git to its end; its output. Throws with what it said when it fails. */
export function git(args: readonly string[], cwd: string, input?: Uint8Array | string): string {
  const result = spawnSync("git", [...args], {
    cwd,
    env: GIT_ENVIRONMENT,
    input,
    maxBuffer: 1 << 30,
  });
  if (result.status !== 0)
    throw new Error(`git ${args.join(" ")}: ${result.stderr?.toString() ?? result.error}`);
  return result.stdout.toString("utf8");
}

/** Starts git without waiting. */
export function startGit(args: readonly string[], cwd: string): ChildProcess {
  return spawn("git", [...args], { cwd, env: GIT_ENVIRONMENT, stdio: ["pipe", "pipe", "pipe"] });
}

/**
 * Runs git without stopping our own event loop, `input` (a file) as its standard input; wall
 * seconds it took.
 */
export async function timeGit(
  args: readonly string[],
  cwd: string,
  input?: string,
): Promise<number> {
  const start = performance.now();
  const stdin = input === undefined ? "ignore" : openSync(input, "r");
  const child = spawn("git", [...args], {
    cwd,
    env: GIT_ENVIRONMENT,
    stdio: [stdin, "pipe", "pipe"],
  });
  if (stdin !== "ignore") closeSync(stdin);
  let errors = "";
  child.stdout?.resume();
  child.stderr?.on("data", (text: Buffer) => {
    errors = (errors + text.toString()).slice(-2_000);
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`git ${args.join(" ")}: ${errors}`);
  return (performance.now() - start) / 1000;
}
