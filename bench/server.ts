/** A lakepack server in a process of its own, as an operator runs it. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface BenchServer {
  readonly url: string;
  readonly pid: number;
  readonly data: string;
  stop(): Promise<void>;
}

const MAIN = fileURLToPath(new URL("../src/cli/main.js", import.meta.url));

/**
 * Starts it on a free port; resolves when it serves. `env`: settings besides those of our own
 * environment.
 */
export async function startServer(
  data: string,
  options: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<BenchServer> {
  const args = [
    MAIN,
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--data",
    data,
    "--log-level",
    "warn",
    ...options,
  ];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { LAKEPACK_DRAIN_SECONDS: "0", ...process.env, ...env },
  });
  const url = await new Promise<string>((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const match = /serving (http:\S+)/.exec(text);
      if (match) resolve(match[1] as string);
    });
    child.once("close", (code) =>
      reject(new Error(`lakepack ended with ${code} before it served`)),
    );
  });
  return {
    url,
    pid: child.pid as number,
    data,
    stop: async () => {
      const ended = new Promise((resolve) => child.once("close", resolve));
      child.kill("SIGTERM");
      await ended;
    },
  };
}
