/**
 * Trees as deltas on older ones: what the encoder writes, judged by stock git, and which older one
 * is the base.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { baseOf } from "../../src/git/delta-chain.js";
import { OBJECT_TYPE } from "../../src/git/oid.js";
import { treeDelta } from "../../src/git/tree-delta.js";
import { formatTree, type TreeEntry } from "../../src/git/tree-entries.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { buildPack, type HandEntry, oidOf, whole } from "../support/pack-builder.js";
import { type Random, seeded } from "../support/random.js";

const MODES = [0o100644, 0o100755, 0o120000, 0o160000, 0o40000];

function entry(random: Random, name: string): TreeEntry {
  return { name, mode: random.pick(MODES), oid: random.oid() };
}

/**
 * Names of which many begin another: a folder "a" comes behind a file "a-b", a file "a" before it.
 */
function names(random: Random, count: number): string[] {
  const found = new Set<string>();
  while (found.size < count)
    found.add(
      Array.from({ length: 1 + random.below(5) }, () =>
        random.pick(["a", "b", "-", ".", "0", "é", "~"]),
      ).join(""),
    );
  return [...found];
}

function tree(entries: ReadonlyMap<string, TreeEntry>): Buffer {
  return Buffer.from(formatTree(entries.values()));
}

/** A tree, and what became of it by some changes of every kind. */
function pairOf(random: Random, count: number, changes: number): [Buffer, Buffer] {
  const all = names(random, count + changes);
  const entries = new Map(all.slice(0, count).map((name) => [name, entry(random, name)]));
  const before = tree(entries);
  for (let change = 0; change < changes; change++) {
    const name = random.pick(all);
    const old = entries.get(name);
    const kind = random.below(4);
    if (old === undefined || kind === 0) entries.set(name, entry(random, name));
    else if (kind === 1) entries.delete(name);
    else if (kind === 2) entries.set(name, { ...old, oid: random.oid() });
    else entries.set(name, { ...old, mode: random.pick(MODES) });
  }
  return [before, tree(entries)];
}

/** Stock git takes the pack in and has these trees. */
function takenByGit(t: Test, entries: readonly HandEntry[], trees: readonly Uint8Array[]): void {
  const folder = t.testdir();
  const path = join(folder, "made.pack");
  writeFileSync(path, buildPack(entries));
  execFileSync("git", ["init", "-q", "--bare", folder]);
  execFileSync("git", ["index-pack", "made.pack"], { cwd: folder });
  execFileSync("git", ["unpack-objects", "-q"], { cwd: folder, input: readFileSync(path) });
  const ids = trees.map((data) => oidOf("tree", data));
  const shown = execFileSync("git", ["cat-file", "--batch"], {
    cwd: folder,
    input: ids.map((id) => `${id}\n`).join(""),
    maxBuffer: 1 << 30,
  });
  let at = 0;
  for (const [number, data] of trees.entries()) {
    const head = `${ids[number]} tree ${data.length}\n`;
    if (shown.toString("latin1", at, at + head.length) !== head) {
      t.fail(`git does not have tree ${number}`);
      return;
    }
    at += head.length + data.length + 1;
  }
  t.equal(at, shown.length, `stock git has all ${trees.length}`);
}

t.test("stock git makes of base and delta the tree that was meant, whatever changed", (t) => {
  const random = seeded(11);
  const entries: HandEntry[] = [];
  const trees: Buffer[] = [];
  let deltas = 0;
  for (let run = 0; run < 400; run++) {
    const [before, after] = pairOf(random, 1 + random.below(60), random.below(12));
    if (before.equals(after)) continue;
    const delta = treeDelta(before, after);
    trees.push(before);
    entries.push(whole("tree", before));
    if (delta === undefined) continue;
    t.ok(delta.length <= after.length / 2, `${delta.length} of ${after.length}`);
    t.same(Buffer.from(plainKernels.applyDelta(before, delta, 1 << 20)), after);
    trees.push(after);
    entries.push({ type: OBJECT_TYPE.ofsDelta, data: delta, base: entries.length - 1 });
    deltas++;
  }
  t.ok(deltas > 150, `${deltas} deltas`);
  const seen = new Set<string>();
  const once = entries.every(
    (_, at) =>
      !seen.has(oidOf("tree", trees[at] as Buffer)) && seen.add(oidOf("tree", trees[at] as Buffer)),
  );
  t.ok(once);
  takenByGit(t, entries, trees);
  t.end();
});

t.test("where a delta would be as long as the tree there is none", (t) => {
  const random = seeded(12);
  const files = names(random, 50).map((name) => ({ name, mode: 0o100644, oid: random.oid() }));
  const all = Buffer.from(formatTree(files));
  t.equal(treeDelta(all, Buffer.alloc(0)), undefined, "the empty tree");
  t.equal(treeDelta(Buffer.alloc(0), all), undefined, "on the empty tree");
  t.equal(
    treeDelta(all, Buffer.from(formatTree(files.map((file) => ({ ...file, oid: random.oid() }))))),
    undefined,
    "every file changed",
  );
  t.equal(
    treeDelta(Buffer.from(formatTree(files.slice(0, 20))), all),
    undefined,
    "more than half is new",
  );
  const most = treeDelta(all, Buffer.from(formatTree(files.slice(0, 40))));
  t.ok(most !== undefined && most.length < 200, "removing costs no bytes of what was removed");
  t.end();
});

t.test("bytes that are no tree come out as they went in", (t) => {
  const random = seeded(13);
  const wrong: number[] = [];
  for (let run = 0; run < 2_000; run++) {
    const [before, after] =
      run % 2 === 0
        ? pairOf(random, 20, 3)
        : [
            Buffer.from(random.bytes(random.below(300))),
            Buffer.from(random.bytes(random.below(300))),
          ];
    for (const bytes of [before, after])
      for (let flips = random.below(4); flips > 0 && bytes.length > 0; flips--)
        bytes[random.below(bytes.length)] = random.pick([0, 0x20, 0x30, 0x34, 0xff]);
    const cut = after.subarray(0, after.length - random.below(Math.min(after.length + 1, 30)));
    const delta = treeDelta(before, cut);
    if (delta !== undefined && !cut.equals(plainKernels.applyDelta(before, delta, 1 << 20)))
      wrong.push(run);
  }
  t.same(wrong, []);
  t.end();
});

t.test("one change of a large tree is a few bytes", (t) => {
  const random = seeded(14);
  const files = Array.from({ length: 400_000 }, (_, n) => ({
    name: `f${String(n).padStart(6, "0")}`,
    mode: 0o100644,
    oid: random.oid(),
  }));
  const before = Buffer.from(formatTree(files));
  t.ok(before.length > 0xffffff / 2, "copies of more than 64 KiB");
  files[399_000] = { ...(files[399_000] as TreeEntry), oid: random.oid() };
  const after = Buffer.from(formatTree(files));
  const delta = treeDelta(before, after);
  t.ok(delta !== undefined && delta.length < 64, `${delta?.length}`);
  takenByGit(
    t,
    [whole("tree", before), { type: OBJECT_TYPE.ofsDelta, data: delta as Uint8Array, base: 0 }],
    [before, after],
  );
  t.end();
});

/** A history of one path: which version each becomes a delta of. */
function historyOf(length: number): { readonly bases: number[]; readonly depth: number[] } {
  const previous = Array.from({ length }, (_, at) => at - 1);
  const place = Array.from({ length }, (_, at) => at);
  const [bases, depth]: [number[], number[]] = [[], []];
  for (let version = 0; version < length; version++) {
    const base = baseOf({ previous, place, depth }, version);
    bases.push(base);
    depth.push(base < 0 ? 0 : (depth[base] as number) + 1);
  }
  return { bases, depth };
}

t.test("chains stay short, however long a history is", (t) => {
  const { bases, depth } = historyOf(100_000);
  t.ok(depth.every((one) => one <= LIMITS.treeDeltaDepthMax));
  t.ok(
    bases.filter((base) => base < 0).length <= 3,
    `${bases.filter((base) => base < 0).length} of 100,000 are whole`,
  );
  const steps = bases.reduce((sum, base, at) => sum + (base < 0 ? 0 : at - base), 0) / bases.length;
  t.ok(steps < 5, `a delta spans ${steps.toFixed(1)} changes on average`);
  t.ok(Math.max(...historyOf(4_096).depth) <= 28, "7 for each digit");
  t.end();
});

t.test("chains are put together where what hangs on a version still fits", (t) => {
  const previous = Array.from({ length: 200 }, (_, at) => at - 1);
  const place = Array.from({ length: 200 }, (_, at) => at);
  const depth = place.map((at) => Math.min(at, LIMITS.treeDeltaDepthMax));
  t.equal(
    baseOf({ previous, place, depth }, 61),
    0,
    "a chain at its limit is not made longer: the least deep of those within a wider reach",
  );
  const hanging = baseOf({ previous, place, depth }, 61, { count: 20, height: 20 });
  t.ok(
    hanging >= 0 && (depth[hanging] as number) + 1 + 20 <= LIMITS.treeDeltaDepthMax,
    `${hanging}`,
  );
  t.equal(
    baseOf({ previous, place, depth }, 61, { count: 0, height: LIMITS.treeDeltaDepthMax }),
    -1,
    "nothing fits",
  );
  t.equal(baseOf({ previous, place, depth: depth.map(() => 255) }, 61), -1, "nothing is a base");
  t.end();
});

t.test("10,000 versions of a folder of 300 files: what stock git has to hold", (t) => {
  const random = seeded(15);
  const files = Array.from({ length: 300 }, (_, n) => ({
    name: `file-${String(n).padStart(3, "0")}.txt`,
    mode: 0o100644,
    oid: random.oid(),
  }));
  let data = Buffer.from(formatTree(files));
  const entryBytes = data.length / files.length;
  const { bases } = historyOf(10_000);
  const trees: Buffer[] = [];
  const entries: HandEntry[] = [];
  for (let version = 0; version < 10_000; version++) {
    data = Buffer.from(data);
    data.set(random.bytes(20), (random.below(files.length) + 1) * entryBytes - 20);
    const base = bases[version] as number;
    const delta = base < 0 ? undefined : treeDelta(trees[base] as Buffer, data);
    trees.push(data);
    entries.push(
      delta === undefined ? whole("tree", data) : { type: OBJECT_TYPE.ofsDelta, data: delta, base },
    );
  }
  const pack = buildPack(entries);
  t.ok(
    entries.filter(({ type }) => type === OBJECT_TYPE.tree).length <= 30,
    "those of which all has changed meanwhile",
  );
  t.ok(
    pack.length < 10_000 * 150,
    `${(pack.length / 10_000).toFixed(0)} bytes a version, of ${trees[0]?.length}`,
  );
  t.comment(`${pack.length} bytes`);
  const folder = t.testdir();
  writeFileSync(join(folder, "made.pack"), pack);
  execFileSync("git", ["init", "-q", "--bare", folder]);
  execFileSync("git", ["index-pack", "made.pack"], { cwd: folder });
  const verified = execFileSync("git", ["verify-pack", "-s", "made.pack"], {
    cwd: folder,
  }).toString();
  const longest = Math.max(
    ...[...verified.matchAll(/chain length = (\d+)/g)].map(([, length]) => Number(length)),
  );
  t.ok(longest <= LIMITS.treeDeltaDepthMax, `the longest chain is ${longest}`);
  t.same(
    execFileSync("git", ["show-index"], {
      cwd: folder,
      input: readFileSync(join(folder, "made.idx")),
    })
      .toString()
      .trim()
      .split("\n")
      .map((line) => line.split(" ")[1])
      .sort(),
    trees.map((data) => oidOf("tree", data)).sort(),
  );
  t.end();
});
