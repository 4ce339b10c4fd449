/**
 * Power loss. A history of pushes and uploads runs on the real process, recorded (recorder.ts) change by change. Then the disk is put back to what a crash
 * could have left at each moment, under many fates of what was not synced: every `ok` that was said is there and whole, nothing else is shown. And the same with the syncs of each
 * place in the code taken out in turn: the loss must be found, so a change that drops one fails here.
 */
import { createHash, randomBytes } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Manifest } from "../../src/odb/manifest.js";
import type { Beside } from "../../src/odb/verify.js";
import { createPool, type ThreadPool } from "../../src/pool/pool.js";
import type { DiskStore } from "../../src/store/disk.js";
import { commit, git, tempFolder } from "../interop/harness.js";
import { seeded } from "../random.js";
import { Acknowledgements, History, pointerTo } from "./history.js";
import type { JournalRecord } from "./journal.js";
import { type Fate, type Fates, LossyDisk } from "./lossy-disk.js";

t.setTimeout(600_000);

/** Enough refs that a snapshot holds them (limits: manifestRefsMax). */
const MANY_REFS = 405;

async function testPool(t: Test): Promise<ThreadPool> {
  const kernelsModule = new WebAssembly.Module(await readFile(new URL("../../wasm/kernels.wasm", import.meta.url)));
  const pool = createPool({ kernelsModule, threads: 2 });
  t.teardown(() => pool.close());
  return pool;
}

/** Pushes of every kind: first, thin, many refs at once and one more, a delete, two at a time, LFS, and a folder on another file system. */
async function everyKind(t: Test): Promise<History> {
  const history = await History.begin(t);
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const noise = randomBytes(20_000).toString("base64");
  const first = await commit(work, "one", { "a.txt": noise, "b/c.txt": "c\n" });
  await history.push(work, "a/one", { "refs/heads/main": first });
  // Deltas against what the server has: a thin pack, to be completed.
  const second = await commit(work, "two", { "a.txt": `${noise.slice(0, 9_000)}changed${noise.slice(9_000)}` });
  await history.push(work, "a/one", { "refs/heads/main": second, "refs/heads/gone": first });
  await history.push(work, "a/one", { "refs/heads/gone": undefined });
  const many = Object.fromEntries(Array.from({ length: MANY_REFS }, (_, n) => [`refs/tags/t${n}`, first]));
  await history.push(work, "a/one", many);
  const third = await commit(work, "three", { "b/c.txt": "d\n" });
  await Promise.all([
    history.push(work, "a/one", { "refs/heads/side": third, "refs/tags/t7": undefined }),
    history.push(work, "a/two", { "refs/heads/main": third }),
    history.push(work, "b/three", { "refs/heads/main": second }),
  ]);
  const content = randomBytes(3_000);
  t.ok(await history.upload("b/three", content), "an LFS object is taken");
  const pointing = await commit(work, "pointer", { "m.bin": pointerTo(content), ".gitattributes": "*.bin filter=lfs\n" });
  await history.push(work, "b/three", { "refs/heads/main": pointing });
  await history.order({ act: "EXDEV", site: "linkOrCopy", once: true });
  const fourth = await commit(work, "four", { "b/c.txt": "e\n" });
  await history.push(work, "b/three", { "refs/heads/main": fourth });
  t.notOk(history.isOrderOpen, "one file had to be copied");
  await history.server.stop();
  t.same(history.failedPushes(), [], "all were taken");
  return history;
}

type Beyond = (store: DiskStore, prefix: string, manifest: Manifest) => Promise<Beside>;

interface Examination {
  readonly history: History;
  readonly journal: readonly JournalRecord[];
  readonly pool: ThreadPool;
  readonly beyond?: Beyond;
}

interface Examined {
  readonly states: number;
  readonly problems: readonly string[];
}

/** Moments at which most is at stake: just before each sync is done, and when something has been acknowledged. */
function* moments(journal: readonly JournalRecord[], ignored: string | undefined): Generator<{ disk: LossyDisk; acknowledged: Acknowledgements; isAck: boolean; at: number }> {
  const disk = new LossyDisk(ignored);
  const acknowledged = new Acknowledgements();
  for (const [at, record] of journal.entries()) {
    if (record.op === "synced") yield { disk, acknowledged, isAck: false, at };
    if (record.op === "answer") {
      if (acknowledged.take(record)) yield { disk, acknowledged, isAck: true, at };
    } else disk.apply(record);
  }
}

/** Fates of what is not synced: all alike, each one alone against all others, and by chance. */
function fatesAt(disk: LossyDisk, random: () => number): Fates[] {
  const uniform = (fate: Fate): Fates => () => fate;
  const dirty = disk.dirty(({ label }) => !label.includes("/incoming/") && !label.includes("/cache"));
  const alone = dirty.flatMap((one): Fates[] => [(node) => (node === one ? "kept" : "lost"), (node) => (node === one ? "lost" : "kept")]);
  const choices: readonly Fate[] = ["kept", "lost", "zeros", "torn", "some"];
  const chosen = new Map<unknown, Fate>();
  const byChance: Fates = (node) => {
    const fate = chosen.get(node) ?? (choices[Math.floor(random() * choices.length)] as Fate);
    chosen.set(node, fate);
    return fate;
  };
  return [uniform("lost"), uniform("kept"), uniform("zeros"), ...alone, byChance];
}

function chance(seed: number): () => number {
  const random = seeded(seed);
  return () => random.below(2 ** 30) / 2 ** 30;
}

async function examineAll({ history, journal, pool, beyond }: Examination, seed: number): Promise<Examined> {
  const random = chance(seed);
  const seen = new Set<string>();
  const problems: string[] = [];
  for (const { disk, acknowledged, at } of moments(journal, undefined)) {
    for (const [index, fates] of fatesAt(disk, random).entries()) {
      const folder = join(history.folder, "crashed");
      disk.crash("data", folder, fates, random);
      const state = `${await digest(folder)} ${acknowledged.refs.size} ${[...acknowledged.refs.values()].join()} ${acknowledged.lfs.size}`;
      if (!seen.has(state)) {
        const found = await history.problems(folder, acknowledged, pool, beyond);
        problems.push(...found.map((problem) => `record ${at}, fate ${index}: ${problem}`));
      }
      seen.add(state);
      await rm(folder, { recursive: true, force: true });
    }
  }
  return { states: seen.size, problems };
}

/** Whether a crash right after something was acknowledged is found to have lost it, with this site's syncs taken out. */
async function losesWithout({ history, journal, pool, beyond }: Examination, site: string): Promise<string | undefined> {
  for (const { disk, acknowledged, isAck } of moments(journal, site)) {
    if (!isAck) continue;
    const folder = join(history.folder, "crashed");
    disk.crash("data", folder, () => "lost", () => 0);
    const problems = await history.problems(folder, acknowledged, pool, beyond);
    await rm(folder, { recursive: true, force: true });
    if (problems.length > 0) return problems[0];
  }
  return undefined;
}

async function digest(folder: string): Promise<string> {
  const { readdir } = await import("node:fs/promises");
  const hash = createHash("sha1");
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries.sort((left, right) => (join(left.parentPath, left.name) < join(right.parentPath, right.name) ? -1 : 1))) {
    hash.update(join(entry.parentPath, entry.name));
    if (entry.isFile()) hash.update(await readFile(join(entry.parentPath, entry.name)));
  }
  return hash.digest("hex");
}

function sitesOf(journal: readonly JournalRecord[]): string[] {
  const disk = new LossyDisk();
  const sites = new Set<string>();
  for (const record of journal) {
    if (record.op === "answer") continue;
    disk.apply(record);
    if (record.op === "sync") sites.add(disk.siteOf(record));
  }
  return [...sites].sort();
}

t.test("every kind of push", { timeout: 500_000 }, async (t) => {
  const history = await everyKind(t);
  const examination = { history, journal: history.journal(), pool: await testPool(t) };
  t.comment(sitesOf(examination.journal).join("\n"));
  const { states, problems } = await examineAll(examination, 1);
  t.comment(`${examination.journal.length} records, ${states} states`);
  t.same(problems, []);
  for (const site of sitesOf(examination.journal)) {
    const loss = await losesWithout(examination, site);
    t.ok(loss !== undefined, `without ${site}: ${loss}`);
  }
});
