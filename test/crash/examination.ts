/** Holds a recorded history against a disk that loses what was not synced. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import type { Manifest } from "../../src/odb/manifest/manifest.js";
import type { Beside } from "../../src/odb/manifest/verify.js";
import { createPool, type ThreadPool } from "../../src/pool/pool.js";
import type { DiskStore } from "../../src/store/disk.js";
import { isFull } from "../support/everyday.js";
import { seeded } from "../support/random.js";
import { Acknowledgements, digest, type History } from "./history.js";
import type { JournalRecord } from "./journal.js";
import { type Fate, type Fates, LossyDisk } from "./lossy-disk.js";

export async function testPool(t: Test): Promise<ThreadPool> {
  const kernelsModule = new WebAssembly.Module(
    await readFile(new URL("../../wasm/kernels.wasm", import.meta.url)),
  );
  const pool = createPool({ kernelsModule, threads: 2 });
  t.teardown(() => pool.close());
  return pool;
}

export type Beyond = (store: DiskStore, prefix: string, manifest: Manifest) => Promise<Beside>;

export interface Examination {
  readonly history: History;
  readonly journal: readonly JournalRecord[];
  readonly pool: ThreadPool;
  readonly beyond?: Beyond;
  /** Fewer fates at each moment: for histories about something else than single losses. */
  readonly isBrief?: boolean;
  /** Called with each state that is good, numbered. */
  readonly onState?: (data: string, number: number) => Promise<void>;
}

export interface Examined {
  readonly states: number;
  readonly problems: readonly string[];
}

/**
 * Moments at which most is at stake: just before each sync is done, when something has been
 * answered, and the end.
 */
export function* moments(
  journal: readonly JournalRecord[],
  ignored: string | undefined,
): Generator<{ disk: LossyDisk; acknowledged: Acknowledgements; isAnswered: boolean; at: number }> {
  const disk = new LossyDisk(ignored);
  const acknowledged = new Acknowledgements();
  for (const [at, record] of journal.entries()) {
    if (record.op === "synced") yield { disk, acknowledged, isAnswered: false, at };
    if (record.op === "answer") {
      if (acknowledged.take(record) || record.last)
        yield { disk, acknowledged, isAnswered: true, at };
    } else disk.apply(record);
  }
  yield { disk, acknowledged, isAnswered: true, at: journal.length };
}

/** Share of the fates of one against all others that an ordinary day looks at, of each moment. */
const ALONE_STRIDE = isFull ? 1 : 6;

/** Fates of what is not synced: all alike, each one alone against all others, and by chance. */
function fatesAt(disk: LossyDisk, random: () => number, isBrief: boolean): Fates[] {
  const uniform =
    (fate: Fate): Fates =>
    () =>
      fate;
  const dirty = disk.dirty(
    ({ label }) => !label.includes("/incoming/") && !label.includes("/cache"),
  );
  const alone = dirty
    .flatMap((one): Fates[] => [
      (node) => (node === one ? "kept" : "lost"),
      (node) => (node === one ? "lost" : "kept"),
    ])
    .filter(() => ALONE_STRIDE === 1 || random() * ALONE_STRIDE < 1);
  const choices: readonly Fate[] = ["kept", "lost", "zeros", "torn", "some"];
  const chosen = new Map<unknown, Fate>();
  const byChance: Fates = (node) => {
    const fate = chosen.get(node) ?? (choices[Math.floor(random() * choices.length)] as Fate);
    chosen.set(node, fate);
    return fate;
  };
  return isBrief
    ? [uniform("lost"), uniform("kept"), byChance]
    : [uniform("lost"), uniform("kept"), uniform("zeros"), ...alone, byChance];
}

export function chance(seed: number): () => number {
  const random = seeded(seed);
  return () => random.below(2 ** 30) / 2 ** 30;
}

export async function examineAll(
  { history, journal, pool, beyond, onState, isBrief }: Examination,
  seed: number,
): Promise<Examined> {
  const random = chance(seed);
  const seen = new Set<string>();
  const problems: string[] = [];
  for (const { disk, acknowledged, at } of moments(journal, undefined)) {
    for (const [index, fates] of fatesAt(disk, random, isBrief ?? false).entries()) {
      const folder = join(history.folder, "crashed");
      disk.crash("data", folder, fates, random);
      const state = `${await digest(folder)} ${acknowledged.refs.size} ${[...acknowledged.refs.values()].join()} ${[...acknowledged.refusals.values()].join()} ${acknowledged.lfs.size}`;
      if (!seen.has(state)) {
        const found = await history.problems(folder, acknowledged, pool, beyond);
        problems.push(...found.map((problem) => `record ${at}, fate ${index}: ${problem}`));
        if (found.length === 0) await onState?.(folder, seen.size);
      }
      seen.add(state);
      await rm(folder, { recursive: true, force: true });
    }
  }
  return { states: seen.size, problems };
}

/**
 * Returns what a crash right after an answer is found to have lost, with this site's syncs taken
 * out; undefined: nothing.
 */
export async function losesWithout(
  { history, journal, pool, beyond }: Examination,
  site: string,
): Promise<string | undefined> {
  for (const { disk, acknowledged, isAnswered } of moments(journal, site)) {
    if (!isAnswered) continue;
    const folder = join(history.folder, "crashed");
    disk.crash(
      "data",
      folder,
      () => "lost",
      () => 0,
    );
    const problems = await history.problems(folder, acknowledged, pool, beyond);
    await rm(folder, { recursive: true, force: true });
    if (problems.length > 0) return problems[0];
  }
  return undefined;
}

export function sitesOf(journal: readonly JournalRecord[]): string[] {
  const disk = new LossyDisk();
  const sites = new Set<string>();
  for (const record of journal) {
    if (record.op === "answer") continue;
    disk.apply(record);
    if (record.op === "sync") sites.add(disk.siteOf(record));
  }
  return [...sites].sort();
}
