/**
 * Seeded random histories of a fleet: pushers make, move, force and delete refs at two nodes, others
 * clone, packs are folded and files collected, while the line to the object store fails, loses
 * answers, stalls and throttles, and nodes die. What a pusher was told is what is there at the end.
 * SEED=N runs one again, SECONDS=N runs that long (`npm run soak -- fleet [minutes]`).
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { isFull } from "../support/everyday.js";
import {
  type Fleet,
  leftovers,
  Ledger,
  Pusher,
  skipFleet,
  startFleet,
} from "../support/fleet-rig.js";
import { checkFsck, type Lakepack, tryGit } from "../support/harness.js";
import { lakepack } from "../support/lakepack-command.js";
import { type Random, seeded } from "../support/random.js";
import { operationOf, type S3Call, type S3Mishap, startS3Proxy } from "../support/s3-proxy.js";
import { tempFolder } from "../support/temp-folder.js";

const SECONDS_EVERY_DAY = 25;
const SECONDS_FULL = 120;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const seconds = Number(process.env["SECONDS"] ?? (isFull ? SECONDS_FULL : SECONDS_EVERY_DAY));
t.setTimeout(seconds * 3_000 + 300_000);

const NAME = "ns/history";
const PUSHERS = 4;
/** One request in so many meets with something. */
const MISHAP_EVERY = 12;
/** The store is silent in the middle of a request for so long at most, by setting. */
const SILENCE_SECONDS = "1";
/** A round: pushes under faults, then a death or none, then a look without faults. */
const ROUND_MS = 4_000;

const WRITES: readonly S3Mishap[] = [
  { as: "drop" },
  { as: "half" },
  { as: "lost" },
  { as: "lost" },
  { as: "silence" },
  { as: "late", ms: 30 },
  { as: "late", ms: 400 },
  { as: "answer", status: 409, code: "ConditionalRequestConflict" },
  { as: "answer", status: 503, code: "SlowDown" },
  { as: "answer", status: 500, code: "InternalError" },
];
const READS: readonly S3Mishap[] = [
  { as: "drop" },
  { as: "silence" },
  { as: "cut", bodyBytes: 3 },
  { as: "stall", bodyBytes: 3 },
  { as: "answer", status: 503, code: "SlowDown" },
  { as: "answer", status: 500, code: "InternalError" },
];

/** Two nodes whose line to the store is bad while `isBad`. */
class Rig {
  readonly #fleet: Fleet;
  readonly #own: Readonly<Record<string, string>>;
  readonly #settled: () => Promise<void>;
  readonly nodes: Lakepack[];
  isBad = false;

  private constructor(
    fleet: Fleet,
    parts: {
      nodes: Lakepack[];
      own: Readonly<Record<string, string>>;
      settled: () => Promise<void>;
    },
  ) {
    this.#fleet = fleet;
    this.#own = parts.own;
    this.#settled = parts.settled;
    this.nodes = parts.nodes;
  }

  static async begin(t: Test, random: Random): Promise<Rig> {
    const fleet = await startFleet(t, { LAKEPACK_S3_TIMEOUT_SECONDS: SILENCE_SECONDS });
    const proxy = await startS3Proxy(t, fleet.s3);
    const own = { LAKEPACK_S3_ENDPOINT: proxy.endpoint };
    const nodes = [await fleet.node(undefined, own), await fleet.node(undefined, own)];
    const rig = new Rig(fleet, { nodes, own, settled: () => proxy.settled() });
    proxy.onCall = (call: S3Call) => {
      if (!rig.isBad || random.below(MISHAP_EVERY) > 0) return undefined;
      return random.pick(operationOf(call) === "PutObject" ? WRITES : READS);
    };
    return rig;
  }

  url(at: number): string {
    return `${this.nodes[at % this.nodes.length]?.url}/${NAME}.git`;
  }

  /** Ends a node at once; another one takes its place, with its data or with none. */
  async replace(at: number, isLost: boolean): Promise<void> {
    const dead = this.nodes[at] as Lakepack;
    await dead.kill("SIGKILL");
    this.nodes[at] = await this.#fleet.node(isLost ? undefined : dead.data, this.#own);
  }

  /** Without faults: what is late has come, and what a pusher was told is so on each node. */
  async check(t: Test, ledger: Ledger, what: string): Promise<void> {
    await this.#settled();
    for (const at of this.nodes.keys()) await ledger.check(t, this.url(at));
    const copy = join(await tempFolder(t), "copy");
    const run = await tryGit(["clone", "-q", "--mirror", this.url(0), copy]);
    t.equal(run.code, 0, `${what}: ${run.stderr}`);
    await checkFsck(t, copy);
  }

  /** Nobody pushes: files that nothing names go at once, and nothing else does. */
  async collect(t: Test, what: string): Promise<void> {
    const where = ["--data", this.nodes[0]?.data as string];
    for (const args of [
      ["gc", "--all", "--grace", "0", ...where],
      ["verify", "--all", ...where],
    ]) {
      const { code, out, err } = await lakepack(args, this.#fleet.env);
      t.equal(code, 0, `${what}: ${args[0]}: ${out}${err}`);
    }
    t.same(await leftovers(this.#fleet), [], `${what}: nothing is left over`);
  }
}

t.test(`seed ${seed}, ${seconds} s`, { skip: skipFleet }, async (t) => {
  const random = seeded(seed);
  const rig = await Rig.begin(t, random);
  const ledger = new Ledger();
  const first = await Pusher.begin(t, "main", ledger);
  t.ok(await first.push(rig.url(0)));
  const pushers = await Promise.all(
    Array.from({ length: PUSHERS }, (_, at) => Pusher.begin(t, `b${at}`, ledger)),
  );
  // Each has numbers of its own: what one does depends on the seed, not on how fast the others are.
  const chances = pushers.map((_, at) => seeded(seed + 1_000 * (at + 1)));
  const until = performance.now() + seconds * 1_000;
  for (let round = 0; performance.now() < until; round++) {
    const what = `seed ${seed}, round ${round}`;
    rig.isBad = true;
    const end = performance.now() + ROUND_MS;
    const working = pushers.map((pusher, at) =>
      pushOn(
        t,
        pusher,
        chances[at] as Random,
        (to) => rig.url(to),
        () => performance.now() < end,
      ),
    );
    await sleep(random.below(ROUND_MS));
    rig.isBad = false; // a node starts only at a store that is well
    if (round % 2 === 1) await rig.replace(random.below(2), random.below(3) === 0);
    await Promise.all(working);
    await rig.check(t, ledger, what);
    if (round % 3 === 0) await rig.collect(t, what);
    if (!t.passing()) break;
  }
  await rig.collect(t, `seed ${seed}, at the end`);
  await rig.check(t, ledger, `seed ${seed}, at the end`);
  const told = (as: string) => ledger.entries.filter((entry) => entry.told === as).length;
  t.comment(`ok ${told("ok")}, refused ${told("refused")}, unknown ${told("unknown")}`);
  t.ok(told("ok") > 10, "there was something to lose");
});

/** Clones; a clone that git takes for a good one is one. */
async function cloneWell(t: Test, url: string): Promise<void> {
  const copy = join(await tempFolder(t), "copy");
  const run = await tryGit(["clone", "-q", "--mirror", url, copy]);
  if (run.code === 0) await checkFsck(t, copy);
}

/** Pushes, and clones at times, until it is time. */
async function pushOn(
  t: Test,
  pusher: Pusher,
  random: Random,
  url: (at: number) => string,
  isTime: () => boolean,
): Promise<void> {
  while (isTime()) {
    const to = url(random.below(2));
    const kind = random.below(10);
    if (kind === 0) await pusher.remove(to);
    else if (kind === 1) await pusher.force(to);
    else if (kind === 2) await pusher.share(to, "refs/heads/shared");
    else if (kind === 3) await pusher.add(to);
    else if (kind === 4) await cloneWell(t, to);
    else if (await pusher.push(to)) {
      // At once on the other node, unless that cannot be asked: a later push would cover a loss.
      const seen = await tryGit(["ls-remote", url(random.below(2)), pusher.ref]);
      if (seen.code === 0) t.equal(seen.stdout.slice(0, 40), pusher.tip, pusher.ref);
    }
  }
}
