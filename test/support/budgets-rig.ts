/**
 * Measures what one user's requests cost everybody else: a real server with one thread fewer than
 * it has cores, an attack in a loop, and beside it another user who clones and pushes. Measured are
 * the longest turns of the event loop, the memory and the disk that the attack takes, and the
 * other's waits.
 */
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { type Lakepack, startLakepack } from "./harness.js";
import { isFull } from "./everyday.js";
import { tempFolder } from "./temp-folder.js";
import { pkts, rawFetch } from "./raw-fetch.js";
import { command, parseReport } from "./raw-push.js";
import { blob, buildPack, type HandEntry, oidOf, whole } from "./pack-builder.js";
import { RawClient } from "./raw-client.js";

const MONITOR = fileURLToPath(new URL("./loop-monitor.js", import.meta.url));
const MIB = 1024 * 1024;
const ZERO = "0".repeat(40);
const WHO = "A <a@example.com> 1700000000 +0000";

/** Reason why these tests are skipped; false: they run. */
export const skipBudgets: false | string = process.platform === "linux" ? false : "reads /proc";
/**
 * Seconds that each attack goes on, and at least one whole attack. The figures of the closing notes
 * are of 30.
 */
const SECONDS = Number(process.env["LAKEPACK_BUDGET_SECONDS"] ?? (isFull ? 5 : 2));

/**
 * Every attack on every front end; else those alone on both whose cost lies in what reads requests
 * and writes answers.
 */
export const onEveryFrontEnd = process.env["LAKEPACK_BUDGET_SECONDS"] !== undefined;

/**
 * Bytes of memory that one attack may take: the 200 MB that a limit may cost, and what a collector
 * leaves for a while.
 */
const MEMORY_MAX = 224 * MIB;

/** Threads of the pool: one fewer than there are cores. */
const THREADS = Math.max(1, availableParallelism() - 1);

/**
 * Bytes that threads keep in their caches, up to their own limits: a run of half a minute fills
 * them by whatever is read, and no single attack.
 */
const KEPT_BYTES =
  SECONDS < 10 ? 0 : THREADS * (LIMITS.packBlockCacheBytes + LIMITS.deltaBaseCacheBytes);

/** Milliseconds for a test of so many attacks, beside `beside` seconds for what is around them. */
export function timeFor(attacks: number, beside = 60): number {
  return (beside + attacks * (SECONDS + 5)) * 1_000;
}

/** One in a thousand of fewer is the longest one. */
const FEW_TURNS = 3_000;

/**
 * By the clock of a machine that runs other tests as well. It was minutes before there were
 * budgets.
 */
const WAIT_MS_MAX = 10_000;

export interface Cost {
  /**
   * Milliseconds of the longest turn of the event loop, and of that which one in a thousand is
   * longer than.
   */
  readonly loopMax: number;
  readonly loopP999: number;
  /** Bytes of the process, above what it had before. */
  readonly memory: number;
  /** Bytes below the data folder, above what was there before. */
  readonly disk: number;
  /** The longest milliseconds that the other user waited for a clone, and for a push. */
  readonly clone: number;
  readonly push: number;
  /** The longest attack, and how many there were. */
  readonly attack: number;
  readonly attacks: number;
}

export interface Bounds {
  /**
   * Bytes. Default: MEMORY_MAX.
   */
  readonly memory?: number;
  /** Bytes. Default: 64 MiB. */
  readonly disk?: number;
  /**
   * Milliseconds of one attack, by the clock of a machine that others use as well. Default: 30 s.
   */
  readonly attack?: number;
}

export interface Measured<R> {
  readonly cost: Cost;
  /** Answer of the last round. */
  readonly last: R;
}

export interface BudgetRig {
  readonly server: Lakepack;
  /**
   * Runs the attack again and again, beside another user, and holds what it cost against the
   * bounds. `attack`: one round of it.
   */
  cost<R>(
    t: Test,
    name: string,
    attack: (round: number) => Promise<R>,
    bounds?: Bounds,
  ): Promise<Measured<R>>;
}

export async function budgetRig(
  t: Test,
  transport: "uws" | "node",
  env: Readonly<Record<string, string>> = {},
): Promise<BudgetRig> {
  const file = join(await tempFolder(t), "loop.json");
  const server = await startLakepack(t, {
    args: ["--transport", transport],
    env: { ...loopSettings(file), LAKEPACK_POOL_THREADS: String(THREADS), ...env },
  });
  const other = new OtherUser(server);
  await other.begin();
  return {
    server,
    cost: (of, name, attack, bounds = {}) =>
      cost({ t: of, name, server, file, other, bounds }, attack),
  };
}

/** Environment of a server whose event loop is watched. */
export function loopSettings(file: string): Readonly<Record<string, string>> {
  return { NODE_OPTIONS: `--import ${MONITOR}`, LOOP_MONITOR_FILE: file };
}

interface Measuring {
  readonly t: Test;
  readonly name: string;
  readonly server: Lakepack;
  readonly file: string;
  readonly other: OtherUser;
  readonly bounds: Bounds;
}

async function cost<R>(
  { t, name, server, file, other, bounds }: Measuring,
  attack: (round: number) => Promise<R>,
): Promise<Measured<R>> {
  await loopTurns(file); // what was before
  const before = { memory: memoryNow(server), disk: await diskUsed(server.data) };
  writeFileSync(`/proc/${server.pid}/clear_refs`, "5"); // the peak starts at what it has now
  const until = performance.now() + SECONDS * 1_000;
  let [over, longest, attacks] = [false, 0, 0];
  let last: R | undefined;
  const attacking = (async () => {
    while (performance.now() < until) {
      const started = performance.now();
      last = await attack(attacks++);
      longest = Math.max(longest, performance.now() - started);
    }
  })().finally(() => {
    over = true;
  });
  const waits = await other.goOn(() => over);
  await attacking;
  const { turns, count } = await loopTurns(file);
  const found: Cost = {
    loopMax: turns[0] ?? 0,
    loopP999: turns[Math.floor(count / 1_000)] ?? 0,
    memory: memoryPeak(server) - before.memory,
    disk: (await diskUsed(server.data)) - before.disk,
    ...waits,
    attack: longest,
    attacks,
  };
  t.comment(`${name}: ${told(found)}`);
  t.ok(
    found.loopMax <= 250 && (count < FEW_TURNS || found.loopP999 <= 50),
    `${name}: the event loop was free (${ms(found.loopMax)}, ${ms(found.loopP999)})`,
  );
  t.ok(
    found.memory <= (bounds.memory ?? MEMORY_MAX) + KEPT_BYTES,
    `${name}: ${mib(found.memory)} of memory`,
  );
  t.ok(found.disk <= (bounds.disk ?? 64 * MIB), `${name}: ${mib(found.disk)} of disk`);
  t.ok(found.attack <= (bounds.attack ?? 30_000), `${name}: ${ms(found.attack)} for one`);
  t.ok(
    Math.max(found.clone, found.push) <= WAIT_MS_MAX,
    `${name}: others waited ${ms(found.clone)} for a clone, ${ms(found.push)} for a push`,
  );
  return { cost: found, last: last as R };
}

const ms = (value: number) => `${Math.round(value)} ms`;
const mib = (value: number) => `${Math.round(value / MIB)} MiB`;

function told(found: Cost): string {
  const { loopMax, loopP999, memory, disk, clone, push, attack, attacks } = found;
  const loop = `event loop ${loopMax.toFixed(1)} ms at most, ${loopP999.toFixed(1)} ms at 99.9 %`;
  return `${loop}; ${mib(memory)}, disk ${mib(disk)}; another's clone ${ms(clone)}, push ${ms(push)}; ${attacks} of ${ms(attack)} at most`;
}

/**
 * Milliseconds of the event loop's turns since the last call, the longest first, and how many there
 * were.
 */
export async function loopTurns(
  file: string,
): Promise<{ readonly turns: readonly number[]; readonly count: number }> {
  rmSync(file, { force: true });
  for (;;) {
    await sleep(20);
    try {
      return JSON.parse(readFileSync(file, "utf8"));
    } catch {
      // not there yet
    }
  }
}

const memoryOf = ({ pid }: Lakepack, field: string) =>
  Number(
    new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1],
  ) * 1024;
const memoryNow = (server: Lakepack) => memoryOf(server, "VmRSS");
const memoryPeak = (server: Lakepack) => memoryOf(server, "VmHWM");

async function diskUsed(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder, { recursive: true })) {
    const found = statSync(join(folder, name), { throwIfNoEntry: false });
    if (found?.isFile()) bytes += found.blocks * 512;
  }
  return bytes;
}

/** Clones a small repository whole and pushes to another, without pause. */
class OtherUser {
  readonly #server: Lakepack;
  #tip = "";
  #pushes = 0;

  constructor(server: Lakepack) {
    this.#server = server;
  }

  async begin(): Promise<void> {
    const entries: HandEntry[] = Array.from({ length: 20 }, (_, at) => blob(`file ${at}\n`));
    const tree = Buffer.concat(
      entries.map(({ data }, at) =>
        entry("100644", `file-${String(at).padStart(2, "0")}`, oidOf("blob", data)),
      ),
    );
    const text = `tree ${oidOf("tree", tree)}\nauthor ${WHO}\ncommitter ${WHO}\n\nm\n`;
    this.#tip = oidOf("commit", text);
    await pushTo(
      this.#server,
      "other/clones",
      [...entries, whole("tree", tree), whole("commit", text)],
      [[this.#tip, "refs/heads/main"]],
    );
  }

  async goOn(isOver: () => boolean): Promise<{ readonly clone: number; readonly push: number }> {
    const longest = { clone: 0, push: 0 };
    do {
      for (const what of ["clone", "push"] as const) {
        const started = performance.now();
        await this[what]();
        longest[what] = Math.max(longest[what], performance.now() - started);
      }
    } while (!isOver());
    return longest;
  }

  private async clone(): Promise<void> {
    const { pack, lines } = await rawFetch(
      this.#server,
      "other/clones",
      2,
      pkts("command=fetch", "0001", `want ${this.#tip}`, "done", "0000"),
    );
    if (pack.readUInt32BE(8) !== 22) throw new Error(`the clone failed: ${lines.join()}`);
  }

  private async push(): Promise<void> {
    const entry = blob(`of the other user ${this.#pushes++}`);
    const said = await pushTo(
      this.#server,
      "other/pushes",
      [entry],
      [[oidOf("blob", entry.data), `refs/tags/t${this.#pushes}`]],
    );
    if (!said.startsWith("unpack ok, ok ")) throw new Error(`the push failed: ${said}`);
  }
}

/** A tree's entry. */
export function entry(mode: string, name: string | Buffer, oid: string): Buffer {
  return Buffer.concat([
    Buffer.from(`${mode} `),
    Buffer.from(name as string),
    Buffer.of(0),
    Buffer.from(oid, "hex"),
  ]);
}

export function commitOf(tree: string, more = ""): string {
  return `tree ${tree}\n${more}author ${WHO}\ncommitter ${WHO}\n\nm\n`;
}

/** `old`: what the ref was; absent: it is new. */
export type Created = readonly [tip: string, ref: string, old?: string];

/** Pushes refs; what was said of the pack and of each ref. */
export function pushTo(
  server: Lakepack,
  repository: string,
  entries: readonly HandEntry[],
  refs: readonly Created[],
): Promise<string> {
  return pushPack(server, repository, buildPack(entries), refs);
}

/** The same of a pack that was built before. */
export async function pushPack(
  server: Lakepack,
  repository: string,
  pack: Uint8Array,
  refs: readonly Created[],
): Promise<string> {
  const lines = refs.map(([tip, ref, old = ZERO], at) =>
    command(old, tip, ref, at === 0 ? "report-status" : undefined),
  );
  const body = Buffer.concat([Buffer.from(`${lines.join("")}0000`, "latin1"), pack]);
  const type = "Content-Type: application/x-git-receive-pack-request";
  const head = `POST /${repository}.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\n${type}\r\nContent-Length: ${body.length}\r\n\r\n`;
  const client = new RawClient(server.port).send(
    Buffer.concat([Buffer.from(head, "latin1"), body]),
  );
  try {
    const reply = (await client.response()).body;
    const { unpack, refs: told } = parseReport(reply);
    return unpack === "" ? reply.toString("latin1") : `unpack ${unpack}, ${told.join()}`;
  } finally {
    client.close();
  }
}
