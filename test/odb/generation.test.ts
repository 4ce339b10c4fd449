/**
 * Packs that are written: stock git finds them sound, whoever helps the bytes are the same, and who
 * stops stops.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { EntryHead, readEntryHead } from "../../src/git/pack-entry.js";
import type { PackPlan } from "../../src/git/pack-plan.js";
import { PackWriter, writeBaseDistance, writeTypeAndSize } from "../../src/git/pack-writer.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { SharedDeflate } from "../../src/odb/pack-objects/shared-deflate.js";
import { batchPath, readBatch, writeBatch } from "../../src/odb/pack-objects/deflate-batch.js";
import { generatePack } from "../../src/odb/pack-objects/generation.js";
import { ObjectReader } from "../../src/odb/packs/reader.js";
import { planPack } from "../../src/odb/pack-objects/plan.js";
import { walkObjects } from "../../src/odb/walk/walk.js";
import { CONTROL_BYTES, TaskWatch } from "../../src/pool/control.js";
import type { WalkRequest } from "../../src/odb/walk/tasks.js";
import type { PackHandle } from "../../src/odb/packs/handle.js";
import { createRepository, type StockRepository } from "../support/stock-git.js";

const idle = () => new TaskWatch(new SharedArrayBuffer(CONTROL_BYTES));

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), "lakepack-generation-"));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/**
 * 200 files that change in every one of 6 commits: old versions are deltas, so that a shallow pack
 * has much to make whole.
 */
function busy(t: Test): StockRepository {
  const repository = createRepository();
  t.teardown(() => repository.remove());
  for (let version = 0; version < 6; version++) {
    for (let file = 0; file < 200; file++)
      repository.write(`folder${file % 7}/file${file}.txt`, `${ownText(file)}${version}\n`);
    repository.commit(`version ${version}`);
  }
  return repository;
}

/** Text no other file has anything of: deltas go from version to version. */
function ownText(file: number): string {
  let state = file + 1;
  const next = () => {
    state = (state * 48_271) % 2_147_483_647;
    return state.toString(36);
  };
  return Array.from({ length: 60 }, next).join("\n");
}

/** Files below a folder that this process has open. */
function openBelow(folder: string): string[] {
  const paths = readdirSync("/proc/self/fd").flatMap((file) => {
    try {
      return [readlinkSync(`/proc/self/fd/${file}`)];
    } catch {
      return []; // the one that the listing itself was read by
    }
  });
  return paths.filter((path) => path.startsWith(folder));
}

interface Made {
  readonly path: string;
  readonly plan: PackPlan;
  readonly checksum: string;
}

interface MakeOptions {
  readonly thin?: boolean;
  readonly ofsDelta?: boolean;
  readonly onBoard?: (board: SharedDeflate) => void;
  readonly watch?: TaskWatch;
}

async function make(
  t: Test,
  packs: readonly PackHandle[],
  walk: Partial<WalkRequest>,
  options: MakeOptions = {},
): Promise<Made> {
  const reader = new ObjectReader(packs, plainKernels);
  const watch = options.watch ?? idle();
  const walked = await walkObjects(
    reader,
    { wants: [], haves: [], shallow: [], tags: [], ...walk },
    watch,
    () => undefined,
  );
  const plan = await planPack(reader, walked, options.thin ?? false, watch);
  const path = join(folder(t), "out.pack");
  let told = 0;
  const { checksum, bytes } = await generatePack(reader, plan, {
    path,
    ofsDelta: options.ofsDelta ?? true,
    watch,
    onWritten: (length) => {
      told = length;
    },
    onBoard: options.onBoard ?? (() => undefined),
  });
  const pack = readFileSync(path);
  t.same(
    [pack.length, told, pack.subarray(-20).toString("hex")],
    [bytes, bytes, checksum],
    "what was told is what was written",
  );
  return { path, plan, checksum };
}

/** Ids of a pack's objects, found by stock git. */
function objectsOf(path: string, t: Test): string[] {
  const bare = folder(t);
  execFileSync("git", ["init", "-q", "--bare", bare]);
  execFileSync("git", ["index-pack", "--stdin"], {
    cwd: bare,
    input: readFileSync(path),
    stdio: ["pipe", "pipe", "pipe"],
  });
  const listed = execFileSync(
    "git",
    ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"],
    { cwd: bare },
  );
  return listed.toString().trim().split("\n").sort();
}

t.test("a pack holds what rev-list says, with bases near or by id", async (t) => {
  const repository = busy(t);
  const packs = repository.packs();
  const head = repository.git(["rev-parse", "HEAD"]);
  for (const ofsDelta of [true, false]) {
    const { path, plan } = await make(t, packs, { wants: [head] }, { ofsDelta });
    t.same(objectsOf(path, t), repository.objects(["HEAD"]));
    t.equal(plan.tally.whole, 0, "all of it is reused");
  }
});

t.test("parts of a history are made whole where their bases stay out", async (t) => {
  const repository = busy(t);
  const packs = repository.packs();
  for (const back of [0, 2, 5]) {
    const head = repository.git(["rev-parse", `HEAD~${back}`]);
    const { path } = await make(t, packs, { wants: [head], shallow: [head] });
    const tree = repository.objects([`HEAD~${back}^{tree}`]);
    t.same(objectsOf(path, t), [...tree, head].sort(), `HEAD~${back}`);
  }
});

t.test("a thin pack leaves out only what the client has", async (t) => {
  const repository = busy(t);
  repository.packs();
  repository.write("folder1/file1.txt", `${ownText(1)}5\nmore\n`);
  repository.commit("one more");
  const thinPath = join(folder(t), "thin.pack");
  writeFileSync(
    thinPath,
    repository.gitBytes(["pack-objects", "--revs", "--thin", "--stdout", "-q"], "HEAD\n^HEAD~1\n"),
  );
  repository.git(["index-pack", "--fix-thin", "--stdin"], readFileSync(thinPath));
  repository.git(["prune-packed", "-q"]);
  const packs = repository.packs({ incremental: true });
  const [head, before] = [
    repository.git(["rev-parse", "HEAD"]),
    repository.git(["rev-parse", "HEAD~1"]),
  ];
  const { path, plan } = await make(t, packs, { wants: [head], haves: [before] }, { thin: true });
  t.ok(plan.tally.thin > 0, "deltas on what is not in the pack");
  t.throws(() => objectsOf(path, t));
  repository.git(["index-pack", "--stdin", "--fix-thin", "--strict"], readFileSync(path));
  const { plan: full, path: fullPath } = await make(t, packs, { wants: [head], haves: [before] });
  t.equal(full.tally.thin, 0);
  t.same(objectsOf(fullPath, t), repository.objects(["HEAD", "^HEAD~1"]));
});

/** A shallow pack of the oldest version: every file has to be made whole. */
function hardPack(repository: StockRepository): {
  packs: PackHandle[];
  walk: Partial<WalkRequest>;
} {
  const packs = repository.packs();
  const oldest = repository.git(["rev-parse", "HEAD~5"]);
  return { packs, walk: { wants: [oldest], shallow: [oldest] } };
}

t.test("the bytes are the same with and without help", async (t) => {
  const { packs, walk } = hardPack(busy(t));
  const alone = await make(t, packs, walk);
  t.ok(alone.plan.tally.whole > 2 * LIMITS.deflateBatchObjects, "there is work to share");
  const helped = await make(t, packs, walk, {
    onBoard: (board) => {
      // Another thread's view of the same board, run here: it takes everything there is.
      const helper = new SharedDeflate(board.message);
      const reader = new ObjectReader(packs, plainKernels);
      let batches = 0;
      while (helper.help(reader, idle())) batches++;
      t.equal(batches, board.batches, "no batch is free twice");
    },
  });
  t.equal(helped.checksum, alone.checksum);
  t.same(readdirSync(join(helped.path, "..")), ["out.pack"], "no batch file is left");
  t.same(openBelow(join(helped.path, "..")), [], "nor is one open");
});

t.test("a helper that fails leaves its batch to the writer", async (t) => {
  const { packs, walk } = hardPack(busy(t));
  const alone = await make(t, packs, walk);
  const helped = await make(t, packs, walk, {
    onBoard: (board) => {
      const aborted = new SharedArrayBuffer(CONTROL_BYTES);
      new Int32Array(aborted)[0] = 1;
      t.throws(
        () =>
          new SharedDeflate(board.message).help(
            new ObjectReader(packs, plainKernels),
            new TaskWatch(aborted),
          ),
        { code: "base/aborted" },
      );
    },
  });
  t.equal(helped.checksum, alone.checksum);
});

t.test("a helper that hangs is not waited for", async (t) => {
  const { packs, walk } = hardPack(busy(t));
  const alone = await make(t, packs, walk);
  const hung = await make(t, packs, walk, {
    // The second batch claimed, and then nothing: words are [closed, state 0, done 0, state 1, …].
    onBoard: (board) => void Atomics.store(new Int32Array(board.message.words), 3, 1),
  });
  t.equal(hung.checksum, alone.checksum);
});

t.test("a generation stops when it is told to, in every stage", async (t) => {
  const { packs, walk } = hardPack(busy(t));
  const control = new SharedArrayBuffer(CONTROL_BYTES);
  new Int32Array(control)[0] = 1;
  await t.rejects(make(t, packs, walk, { watch: new TaskWatch(control) }), {
    code: "base/aborted",
  });
  const late = new SharedArrayBuffer(CONTROL_BYTES);
  await t.rejects(
    make(t, packs, walk, {
      watch: new TaskWatch(late),
      onBoard: () => void Atomics.store(new Int32Array(late), 0, 1),
    }),
    { code: "base/aborted" },
  );
});

t.test("an object that is missing is said to be, not left out", async (t) => {
  const repository = busy(t);
  repository.packs();
  const blob = repository.git(["rev-parse", "HEAD:folder0/file0.txt"]);
  const others = repository.objects(["HEAD"]).filter((oid) => oid !== blob);
  const path = join(folder(t), "pack");
  const name = repository.git(["pack-objects", "-q", path], `${others.join("\n")}\n`);
  const { packHandle } = await import("../support/stock-git.js");
  const packs = [packHandle(`${path}-${name}.pack`)];
  const head = repository.git(["rev-parse", "HEAD"]);
  const fault = await make(t, packs, { wants: [head] }).then(
    () => undefined,
    (error: unknown) => error as Fault,
  );
  t.match(fault, { code: "odb/missing", facts: { oid: blob } });
  t.ok(existsSync(packs[0]?.path ?? ""));
});

t.test("sizes and distances of every length are read back", async (t) => {
  const values = [
    0,
    1,
    15,
    16,
    127,
    128,
    129,
    2_047,
    2_048,
    16_511,
    16_512,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32,
    2 ** 32 + 1,
    2 ** 40,
    2 ** 53 - 1,
  ];
  const buffer = new Uint8Array(64);
  for (const size of values) {
    const end = writeTypeAndSize(buffer, 0, 3, size);
    const head = new EntryHead();
    t.ok(readEntryHead(buffer.subarray(0, end), 0, head));
    t.match(head, { type: 3, size, end });
    t.notOk(readEntryHead(buffer.subarray(0, end - 1), 0, head), "it is cut");
  }
  for (const distance of values.filter((value) => value > 0 && value < 2 ** 52)) {
    const end = writeBaseDistance(buffer, writeTypeAndSize(buffer, 0, 6, 100), distance);
    const origin = distance + 12;
    const head = new EntryHead();
    t.ok(readEntryHead(buffer.subarray(0, end), 0, head, origin));
    t.match(head, { type: 6, size: 100, baseOffset: 12, end });
    t.notOk(readEntryHead(buffer.subarray(0, end - 1), 0, head, origin), "it is cut");
  }
});

t.test("a writer's pieces are the same pack whatever their size", async (t) => {
  const made = [64, 65, 100, 1_000, 1 << 18].map((bufferBytes) => {
    const pieces: Buffer[] = [];
    const writer = new PackWriter(50, bufferBytes, (piece) => void pieces.push(Buffer.from(piece)));
    for (let at = 0; at < 50; at++) {
      writer.header(
        3,
        at * 7,
        at % 3 === 0 ? undefined : at % 3 === 1 ? at * 3 : new Uint8Array(20).fill(at),
      );
      writer.bytes(new Uint8Array(at * 7).fill(at));
    }
    writer.finish();
    return Buffer.concat(pieces).toString("hex");
  });
  t.equal(new Set(made).size, 1);
});

t.test("a batch comes back as it was put", async (t) => {
  const path = batchPath(join(folder(t), "x"), 3);
  const objects = [
    { type: "blob" as const, size: 2 ** 33, compressed: Buffer.from("abc") },
    { type: "tree" as const, size: 0, compressed: Buffer.alloc(0) },
    { type: "commit" as const, size: 7, compressed: Buffer.alloc(100_000, 7) },
  ];
  writeBatch(path, objects);
  t.same([...readBatch(path)], objects);
});
