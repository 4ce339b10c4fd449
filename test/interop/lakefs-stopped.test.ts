/**
 * A first reading that is called off, since the server is stopped or the only client has gone: what
 * was read is kept, and the next one goes on from there. 2,000 files; 20,000 with `npm run
 * test:large`.
 */
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { isFull } from "../support/everyday.js";
import { commitMany } from "../support/many-files.js";
import { type Call, type LakefsProxy, type Mishap, startProxy } from "../support/lakefs-proxy.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, commit, git, type Lakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, settingsFor, startBeside } from "../support/lakefs-rig.js";

const FILES = isFull ? 20_000 : 2_000;
/** Contents that are under way when it is called off: asked for again. */
const AGAIN_MAX = 128;
const options = { skip: skipLakefs, timeout: 600_000 };

t.setTimeout(1_200_000);

/** Contents that have passed, by path: how often. */
class Reads {
  readonly #times = new Map<string, number>();
  #at = Number.POSITIVE_INFINITY;
  #then = () => undefined as unknown;

  constructor(proxy: LakefsProxy) {
    proxy.onCall = (call) => this.#note(call);
  }

  get count(): number {
    return this.#times.size;
  }

  get again(): number {
    return [...this.#times.values()].reduce((sum, times) => sum + times - 1, 0);
  }

  /** Resolves when so many contents have been asked for. */
  reach(count: number): Promise<void> {
    this.#at = count;
    return new Promise((resolve) => {
      this.#then = resolve;
    });
  }

  #note({ method, path }: Call): Mishap | undefined {
    const object = /\/refs\/\w+\/objects\?(?:.*&)?path=([^&]*)/.exec(path)?.[1];
    if (method !== "GET" || object === undefined) return undefined;
    this.#times.set(object, (this.#times.get(object) ?? 0) + 1);
    if (this.#times.size === this.#at) this.#then();
    return { as: "late", ms: 20 };
  }
}

async function wholeClone(t: Test, url: string): Promise<string> {
  const clone = join(await tempFolder(t), "clone.git");
  await git(["clone", "-q", "--bare", url, clone]);
  await checkFsck(t, clone);
  return (await git(["ls-tree", "-r", "--name-only", "HEAD"], { cwd: clone }))
    .split("\n")
    .length.toString();
}

/** A server whose data folder stays, and what it reads of contents. */
async function scene(
  t: Test,
  lakefs: RunningLakefs,
): Promise<{ reads: Reads; start: () => Promise<Lakepack> }> {
  const proxy = await startProxy(t, lakefs);
  const data = join(await tempFolder(t), "data");
  const settings = {
    ...settingsFor(lakefs, proxy.url),
    LAKEPACK_STOP_SECONDS: "0",
    LAKEPACK_SEAL_KEY: "5e".repeat(32),
    LAKEPACK_LAKEFS_POLL_SECONDS: "0",
    LAKEPACK_LAKEFS_REFS_WAIT_SECONDS: "600",
  };
  return { reads: new Reads(proxy), start: () => startBeside(t, lakefs, settings, { data }) };
}

t.test("a server that is stopped in the middle of its first reading", { ...options }, async (t) => {
  const lakefs = await startLakefs(t, "local");
  const name = await emptyRepository(lakefs, "stopped");
  await commitMany(lakefs.client.in(name), { from: 0, to: FILES, bytes: 200 });
  const { reads, start } = await scene(t, lakefs);
  for (const part of [0.3, 0.6]) {
    const server = await start();
    const reached = reads.reach(FILES * part);
    const asking = git(["ls-remote", `${server.url}/lakefs/${name}.git`]).catch(() => "");
    await Promise.race([reached, asking]);
    await server.kill("SIGTERM");
    await asking;
    t.ok(reads.count < FILES * (part + 0.2), `stopped behind ${reads.count} files`);
  }
  const server = await start();
  t.equal(await wholeClone(t, `${server.url}/lakefs/${name}.git`), String(FILES));
  t.equal(reads.count, FILES);
  t.comment(`${reads.again} of ${FILES} contents were read again`);
  t.ok(reads.again <= 2 * AGAIN_MAX, "no more than what was under way");
});

t.test("a client that goes away while contents are brought for it", { ...options }, async (t) => {
  const lakefs = await startLakefs(t, "local");
  const name = await emptyRepository(lakefs, "left");
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  for (let at = 0; at < FILES; at++) {
    if (at < 100) await mkdir(join(work, `d${at}`));
    await writeFile(join(work, `d${at % 100}`, `f${at}`), `content ${at}\n`);
  }
  await commit(work, "many", {});
  const pusher = await startBeside(t, lakefs, { LAKEPACK_SEAL_KEY: "5e".repeat(32) });
  await git(["push", "-q", `${pusher.url}/lakefs/${name}.git`, "main"], { cwd: work });
  await pusher.stop();
  const { reads, start } = await scene(t, lakefs);
  const server = await start();
  const url = `${server.url}/lakefs/${name}.git`;
  await git(["ls-remote", url]);
  t.equal(reads.count, 0, "the list of refs needs none");
  const folder = await tempFolder(t);
  const reached = reads.reach(FILES / 2);
  const client = spawn("git", ["clone", "-q", "--bare", url, join(folder, "left")], {
    stdio: "ignore",
    env: { PATH: process.env["PATH"], HOME: folder },
  });
  const gone = new Promise((resolve) => client.once("close", resolve));
  await Promise.race([reached, gone]);
  client.kill("SIGKILL");
  await gone;
  t.equal(await wholeClone(t, url), String(FILES));
  t.equal(reads.count, FILES);
  t.comment(`${reads.again} of ${FILES} contents were read again`);
  t.ok(reads.again <= AGAIN_MAX, "no more than what was under way");
});
