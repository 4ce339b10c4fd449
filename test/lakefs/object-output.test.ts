/**
 * Packs of a synthesis: trees as deltas on those they came of, and what a failure leaves is a whole
 * pack.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { formatTree } from "../../src/git/tree-entries.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { ObjectOutput } from "../../src/lakefs/trees/object-output.js";
import { TreeCache } from "../../src/lakefs/trees/tree-cache.js";
import { ObjectReader } from "../../src/odb/packs/reader.js";
import type { PackHandle } from "../../src/odb/packs/handle.js";
import { packHandle } from "../support/stock-git.js";
import { seeded } from "../support/random.js";

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), "lakepack-output-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  execFileSync("git", ["init", "-q", "--bare", folder]);
  return folder;
}

function outputTo(path: string, packs: readonly PackHandle[] = []): ObjectOutput {
  return new ObjectOutput(path, new ObjectReader(packs, plainKernels), new TreeCache());
}

/**
 * Ids of what stock git finds in the pack; and of its trees, how many are deltas and how long
 * chains are.
 */
function verified(path: string): { ids: string[]; deltas: number; longest: number } {
  execFileSync("git", ["index-pack", path], {
    cwd: join(path, ".."),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const rows = execFileSync("git", ["verify-pack", "-v", path], {
    encoding: "latin1",
    maxBuffer: 1 << 26,
  })
    .split("\n")
    .filter((line) => /^[0-9a-f]{40} /.test(line))
    .map((line) => line.split(/ +/));
  return {
    ids: rows.map(([id]) => id as string).sort(),
    deltas: rows.filter((row) => row.length === 7).length,
    longest: Math.max(0, ...rows.map((row) => Number(row[5] ?? 0))),
  };
}

/** Versions of a folder, one change after the other. */
function* versions(seed: number, files = 200): Generator<Buffer, never, undefined> {
  const random = seeded(seed);
  const entries = Array.from({ length: files }, (_, n) => ({
    name: `f${n}`,
    mode: 0o100644,
    oid: random.oid(),
  }));
  for (;;) {
    entries[random.below(files)] = { name: "", mode: 0o100644, oid: random.oid() };
    entries.forEach((entry, n) => {
      if (entry.name === "") entries[n] = { ...entry, name: `f${n}` };
    });
    yield Buffer.from(formatTree(entries));
  }
}

t.test("trees of a batch are deltas on each other, in short chains", async (t) => {
  const path = join(folderOf(t), "batch.pack");
  const output = outputTo(path);
  const trees = versions(31);
  const ids: string[] = [];
  for (let commit = 0; commit < LIMITS.lakefsBatchCommits; commit++) {
    ids.push(output.addTree(trees.next().value, ids.at(-1)));
    output.add("blob", Buffer.from(`between ${commit}`));
    output.mark();
  }
  output.finish();
  const { ids: found, deltas, longest } = verified(path);
  t.same(
    found.filter((id) => ids.includes(id)),
    [...ids].sort(),
  );
  t.equal(deltas, ids.length - 1, "one is whole");
  t.ok(longest <= LIMITS.treeDeltaDepthMax && longest < 25, `${longest}`);
});

t.test("what a failure leaves out takes no base away", async (t) => {
  const folder = folderOf(t);
  const trees = versions(32);
  const path = join(folder, "failed.pack");
  const output = outputTo(path);
  const kept: string[] = [];
  for (let commit = 0; commit < 10; commit++) {
    kept.push(
      output.addTree(trees.next().value, kept.at(-1)),
      output.add("blob", Buffer.from(`kept ${commit}`)),
    );
    kept.push(kept.splice(-2, 1)[0] as string);
  }
  output.mark();
  const lost: string[] = [];
  for (let commit = 0; commit < 5; commit++) {
    lost.push(output.addTree(trees.next().value, lost.at(-1) ?? kept.at(-1)));
    kept.unshift(output.add("blob", Buffer.from(`read before the failure ${commit}`)));
  }
  t.equal(output.finishWhole(), kept.length);
  const { ids, deltas } = verified(path);
  t.same(ids, kept.sort(), "blobs that were read, and nothing else of what failed");
  t.equal(deltas, 9);
  t.notOk(lost.some((id) => ids.includes(id)));
});

t.test("a pack with deltas that another begins with, whole or without it", async (t) => {
  const folder = folderOf(t);
  const trees = versions(33);
  const first = join(folder, "first.pack");
  const output = outputTo(first);
  const ids: string[] = [];
  for (let commit = 0; commit < 20; commit++)
    ids.push(output.addTree(trees.next().value, ids.at(-1)));
  output.finish();
  verified(first);
  const handle = packHandle(first);
  const more = (path: string) => {
    const next = outputTo(path, [handle]);
    next.copyPack(handle);
    return { next, blob: next.add("blob", Buffer.from("brought")) };
  };
  const [wholePath, cutPath] = [join(folder, "whole.pack"), join(folder, "cut.pack")];
  const { next, blob } = more(wholePath);
  next.finish();
  const { ids: found, deltas } = verified(wholePath);
  t.same([found, deltas], [[...ids, blob].sort(), 19]);
  t.equal(more(cutPath).next.finishWhole(), 1);
  t.same(verified(cutPath).ids, [blob]);
});

t.test("a tree whose predecessor is in another pack is written whole", async (t) => {
  const folder = folderOf(t);
  const trees = versions(34);
  const first = join(folder, "first.pack");
  const before = outputTo(first);
  const old = before.addTree(trees.next().value);
  before.finish();
  verified(first);
  const path = join(folder, "second.pack");
  const output = outputTo(path, [packHandle(first)]);
  const one = output.addTree(trees.next().value, old);
  const two = output.addTree(trees.next().value, one);
  output.finish();
  t.match(verified(path), { ids: [one, two].sort(), deltas: 1 });
  const none = join(folder, "none.pack");
  outputTo(none).finish();
  t.notOk(existsSync(none));
});
