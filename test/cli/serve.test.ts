/** The command itself: what it prints, what stops it, what it leaves. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const ENVIRONMENT = { PATH: process.env["PATH"] };

function lakepack(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, ...args], {
    encoding: "utf8",
    env: { ...ENVIRONMENT, ...env },
    timeout: 30_000,
  });
}

async function folder(t: Test): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "lakepack-cli-"));
  t.teardown(() => rm(made, { recursive: true, force: true }));
  return made;
}

/** Resolves with its URL once it serves. */
function serve(
  t: Test,
  data: string,
  args: readonly string[] = [],
): Promise<{ child: ChildProcess; url: string }> {
  const all = [
    MAIN,
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--data",
    data,
    "--log-level",
    "silent",
    ...args,
  ];
  const child = spawn(process.execPath, all, {
    env: ENVIRONMENT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += String(chunk);
      const url = /serving (http:\S+)/.exec(text)?.[1];
      if (url !== undefined) resolve({ child, url });
    });
    child.once("close", (code) => reject(new Error(`ended with ${code}`)));
  });
}

t.test("--help is complete, wrong usage is 2, a wrong setting is 2 and named", async (t) => {
  const help = lakepack(["serve", "--help"]);
  t.equal(help.status, 0);
  for (const option of ["--listen", "--data", "--pool-threads", "--cache-bytes", "--log-level"])
    t.match(help.stdout, option);
  t.equal(lakepack(["--version"]).stdout.trim().split(".").length, 3);
  t.equal(lakepack(["nonsense"]).status, 2);
  t.equal(lakepack(["serve", "--nonsense"]).status, 2);
  const wrong = lakepack(["serve", "--pool-threads", "none"]);
  t.equal(wrong.status, 2);
  t.match(wrong.stderr, /name: pool_threads, value: none, allowed: auto/);
  t.match(lakepack(["serve", "--naming", "kohakuhub"]), {
    status: 2,
    stderr: /name: naming, value: kohakuhub, allowed: with lakefs_endpoint/,
  });
  t.match(
    lakepack(["serve"], { LAKEPACK_CASH_BYTES: "1" }).stderr,
    /name: cash_bytes, reason: no such setting/,
  );
});

t.test("without authentication it listens on loopback only", async (t) => {
  const refused = lakepack(["serve", "--listen", "0.0.0.0:0", "--data", await folder(t)]);
  t.equal(refused.status, 2);
  t.match(refused.stderr, /loopback/);
});

t.test("a port that is taken ends the start, and nothing is left listening", async (t) => {
  const { port } = new URL((await serve(t, await folder(t))).url);
  const data = await folder(t);
  const refused = lakepack(["serve", "--listen", `127.0.0.1:${port}`, "--data", data]);
  t.equal(refused.status, 2, "by itself, not by the time limit");
  t.notOk(existsSync(join(data, "control.sock")));
  t.equal((await serve(t, data)).child.exitCode, null, "the folder is free again");
});

t.test("one process owns a data folder, and the lock goes with it however it ends", async (t) => {
  const data = await folder(t);
  const first = await serve(t, data);
  const second = lakepack(["serve", "--listen", "127.0.0.1:0", "--data", data]);
  t.equal(second.status, 1);
  t.match(second.stderr, /another lakepack serves this data folder/);
  const ended = new Promise((resolve) => first.child.once("close", resolve));
  first.child.kill("SIGKILL");
  await ended;
  const third = await serve(t, data);
  t.equal((await fetch(`${third.url}/healthz`)).status, 200);
});

t.test("SIGTERM ends it cleanly", async (t) => {
  const { child } = await serve(t, await folder(t));
  const ended = new Promise((resolve) =>
    child.once("close", (code, signal) => resolve({ code, signal })),
  );
  child.kill("SIGTERM");
  t.same(await ended, { code: 0, signal: null });
});

t.test("a reader that goes before the end is no failure", async (t) => {
  const { stderr, status } = spawnSync(
    "sh",
    ["-c", '"$0" "$1" --help | true; "$0" "$1" --help | head -1', process.execPath, MAIN],
    { encoding: "utf8" },
  );
  t.equal(status, 0);
  t.equal(stderr, "");
});
