/**
 * kill -9 at random moments, under pushes by several clients at once: after a new start every ref
 * that was reported `ok` is there with all its objects, nothing is shown that nobody pushed, and
 * the next push lands. `--rounds N` (or ROUNDS=N) for more than every day's.
 */
import { join } from "node:path";
import { readdir } from "node:fs/promises";
import t, { type Test } from "tap";
import {
  checkFsck,
  commit,
  git,
  type Lakepack,
  startLakepack,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { isFull } from "../support/everyday.js";
import { seeded } from "../support/random.js";

const ROUNDS_EVERY_DAY = isFull ? 100 : 12;
const CLIENTS = 3;
/** The kill comes within so many times what one push takes here. */
const KILL_WITHIN_PUSHES = 2.5;
/** A clone and fsck of everything each so many rounds; refs are compared in each. */
const FSCK_STRIDE = 10;

const argument = process.argv.indexOf("--rounds");
const rounds = Number(
  (argument < 0 ? undefined : process.argv[argument + 1]) ??
    process.env["ROUNDS"] ??
    ROUNDS_EVERY_DAY,
);
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
t.setTimeout(120_000 + rounds * 10_000);

/** One client: its own clone, its own branch of the shared repository. */
class Client {
  readonly branch: string;
  readonly work: string;
  /** Last reported `ok`. */
  told: string | undefined;
  /** Pushed after that, and not heard of. */
  tried: string[] = [];
  #count = 0;

  constructor(branch: string, work: string) {
    this.branch = branch;
    this.work = work;
  }

  /** Pushes small commits until the server is gone. */
  async pushOn(url: string): Promise<void> {
    while (await this.push(url));
  }

  /** Pushes; returns whether it was reported ok. */
  async push(url: string): Promise<boolean> {
    const oid = await commit(this.work, `${this.branch} ${this.#count++}`, {
      [`${this.branch}.txt`]: `${this.#count}\n`.repeat(50),
    });
    this.tried.push(oid);
    const run = await tryGit(
      ["push", "--porcelain", "--force", url, `HEAD:refs/heads/${this.branch}`],
      { cwd: this.work },
    );
    if (!/^[ *+=]\t/m.test(run.stdout)) return false;
    this.told = oid;
    this.tried = [];
    return true;
  }
}

t.test(`${rounds} rounds, seed ${seed}`, async (t) => {
  const random = seeded(seed);
  const folder = await tempFolder(t);
  const data = join(folder, "data");
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, async (_, at) => {
      const work = join(folder, `work-${at}`);
      await git(["init", "-q", work]);
      return new Client(`b${at}`, work);
    }),
  );
  const within = KILL_WITHIN_PUSHES * (await firstPush(t, clients, data));
  let kept = 0;
  for (let round = 0; round < rounds; round++) {
    const server = await startLakepack(t, { data, args: ["--pool-threads", "2"] });
    const url = `${server.url}/kill/shared.git`;
    await checkShown(t, clients, url, `round ${round}`);
    t.same(
      await readdir(join(data, "incoming")),
      [],
      `round ${round}: what was under way is removed at the start`,
    );
    if (round % FSCK_STRIDE === FSCK_STRIDE - 1) await checkWhole(t, url, folder, round);
    const before = clients.map(({ told }) => told);
    await killAmidst(server, clients, url, random.below(within));
    kept += clients.filter(({ told }, at) => told !== before[at]).length;
  }
  const last = await startLakepack(t, { data });
  const url = `${last.url}/kill/shared.git`;
  await checkShown(t, clients, url, "at the end");
  await checkWhole(t, url, folder, rounds);
  t.ok(kept > rounds / 10, `${kept} pushes were reported ok before a kill`);
});

/** Each client's first push to a server that lives; how long one takes, all at once. */
async function firstPush(t: Test, clients: readonly Client[], data: string): Promise<number> {
  const server = await startLakepack(t, { data });
  const began = performance.now();
  await Promise.all(clients.map((client) => client.push(`${server.url}/kill/shared.git`)));
  const took = performance.now() - began;
  t.ok(
    clients.every(({ told }) => told !== undefined),
    "a server that lives takes all",
  );
  await server.stop();
  return Math.ceil(took);
}

async function killAmidst(
  server: Lakepack,
  clients: readonly Client[],
  url: string,
  afterMs: number,
): Promise<void> {
  const pushing = clients.map((client) => client.pushOn(url));
  await new Promise((wake) => setTimeout(wake, afterMs));
  await server.kill("SIGKILL");
  await Promise.all(pushing);
}

/** Each branch is what was reported last, or what was tried after it; nothing else is there. */
async function checkShown(
  t: Test,
  clients: readonly Client[],
  url: string,
  says: string,
): Promise<void> {
  const run = await tryGit(["ls-remote", url]);
  const isEmpty = clients.every(({ told }) => told === undefined) && /not found/.test(run.stderr);
  t.ok(run.code === 0 || isEmpty, `${says}: ${run.stderr}`);
  const shown = new Map(
    run.stdout
      .split("\n")
      .filter((line) => line.includes("refs/"))
      .map((line) => line.split("\t").reverse() as [string, string]),
  );
  for (const client of clients) {
    const name = `refs/heads/${client.branch}`;
    const oid = shown.get(name);
    t.ok(
      oid === client.told || (oid !== undefined && client.tried.includes(oid)),
      `${says}: ${client.branch} is what was reported, or tried after it`,
    );
    shown.delete(name);
    if (oid !== undefined) client.told = oid;
    client.tried = [];
  }
  t.same([...shown.keys()], [], `${says}: nothing else is shown`);
}

async function checkWhole(t: Test, url: string, folder: string, round: number): Promise<void> {
  const clone = join(folder, `clone-${round}.git`);
  await git(["clone", "-q", "--mirror", url, clone]);
  await checkFsck(t, clone);
}
