/**
 * Large objects of a store are copied as they are read: by the main thread, which says what it
 * needs, and by others, which ask through shared memory.
 */
import { randomBytes } from "node:crypto";
import { readdir, readFile, unlink } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import type { LocalCopy } from "../../src/store/blocks.js";
import { LocalCache } from "../../src/store/cache/local-cache.js";
import { tempFolder } from "../support/temp-folder.js";

const BLOCK = LIMITS.localFileRangeBytes;
const BLOCKS = 6;
const content = randomBytes(BLOCK * (BLOCKS - 1) + 12_345);
const { signal } = new AbortController();

interface Rig {
  readonly cache: LocalCache;
  readonly folder: string;
  /** First bytes of the ranges that were asked for. */
  readonly asked: number[];
  /** Ranges that begin here fail. */
  failing: number | undefined;
}

async function rig(t: Test, more: { bytesMax?: number; holdMs?: number } = {}): Promise<Rig> {
  const folder = await tempFolder(t);
  const asked: number[] = [];
  const made: Rig = { cache: undefined as never, folder, asked, failing: undefined };
  const source = {
    async readStart(_key: string, bytesMax: number) {
      asked.push(0);
      return { bytes: content.subarray(0, bytesMax), total: content.length };
    },
    async readRange(_key: string, start: number, end: number) {
      asked.push(start);
      await new Promise((wake) => setTimeout(wake, 5));
      if (start === made.failing) throw new Fault("store/unreachable");
      return content.subarray(start, end);
    },
  };
  const cache = new LocalCache({ folder, bytesMax: 10 * content.length, source, ...more });
  await cache.open();
  t.teardown(() => cache.close());
  return Object.assign(made, { cache });
}

const copyOf = ({ cache }: Rig) => cache.copy("packs/one", content.length, signal);

/** Reads bytes [start, end) in a thread of its own, as a task does. */
function readInThread({ path, blocks }: LocalCopy, start: number, end: number): Promise<unknown> {
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { openSync, readSync } = require("node:fs");
    const { module, path, blocks, start, end } = workerData;
    import(module).then(({ waitForBlocks }) => {
      const bytes = Buffer.alloc(end - start);
      waitForBlocks(blocks, start, end);
      const file = openSync(path, "r");
      for (let at = 0; at < bytes.length; ) at += readSync(file, bytes, at, bytes.length - at, start + at);
      parentPort.postMessage(bytes);
    }).catch((error) => parentPort.postMessage(error.code));`;
  const module = new URL("../../src/store/blocks.js", import.meta.url).href;
  const worker = new Worker(code, {
    eval: true,
    workerData: { module, path, blocks, start, end },
  });
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

t.test("the first block comes with one request, others as they are read, some ahead", async (t) => {
  const made = await rig(t);
  const copy = await copyOf(made);
  t.same(made.asked, [0]);
  await copy.bring?.(0, 1_000, signal);
  await copy.bring?.(0, 2_000, signal);
  t.same(
    [...made.asked].sort((a, b) => a - b),
    [0, 1, 2, 3].map((block) => block * BLOCK),
    "each once",
  );
  t.equal((await copyOf(made)).path, copy.path, "the same for all");
  const late = 4 * BLOCK + 10;
  await copy.bring?.(late, late + 100, signal);
  const bytes = (await readFile(copy.path)).subarray(late, late + 100);
  t.ok(bytes.equals(content.subarray(late, late + 100)));
  t.equal(await copy.bring?.(0, 1, AbortSignal.abort()).catch(() => "aborted"), "aborted");
});

t.test("threads get the block that they wait for, and no zeros", async (t) => {
  const made = await rig(t);
  const copy = await copyOf(made);
  const places = [3 * BLOCK - 50, 10, 5 * BLOCK + 1_000, 3 * BLOCK - 50];
  const read = await Promise.all(places.map((at) => readInThread(copy, at, at + 100)));
  for (const [index, at] of places.entries())
    t.ok(Buffer.from(read[index] as Uint8Array).equals(content.subarray(at, at + 100)), `${at}`);
  t.equal(new Set(made.asked).size, made.asked.length, "no block twice");
});

t.test("a block that cannot be read fails who waits, and is asked for again later", async (t) => {
  const made = await rig(t);
  const copy = await copyOf(made);
  made.failing = 2 * BLOCK;
  t.equal(await readInThread(copy, 2 * BLOCK, 2 * BLOCK + 5), "store/unreachable");
  await t.rejects(async () => copy.bring?.(2 * BLOCK, 2 * BLOCK + 5, signal), {
    code: "store/unreachable",
  });
  made.failing = undefined;
  const read = (await readInThread(copy, 2 * BLOCK, 2 * BLOCK + 5)) as Uint8Array;
  t.ok(Buffer.from(read).equals(content.subarray(2 * BLOCK, 2 * BLOCK + 5)));
});

t.test("once all is there it is a copy like any other, for the next process too", async (t) => {
  const made = await rig(t);
  const copy = await copyOf(made);
  for (let at = 0; at < content.length; at += BLOCK)
    await copy.bring?.(at, Math.min(at + BLOCK, content.length), signal);
  const whole = await copyOf(made);
  t.equal(whole.blocks, undefined);
  t.not(whole.path, copy.path);
  for (const { path } of [copy, whole]) t.ok((await readFile(path)).equals(content), path);
  t.equal(made.cache.figures.bytes, content.length, "counted once");
  await made.cache.close();
  const next = new LocalCache({
    folder: made.folder,
    bytesMax: 10 * content.length,
    source: {
      readStart: async () => t.fail("asked again") as never,
      readRange: async () => t.fail("asked again") as never,
    },
  });
  await next.open();
  t.equal((await next.copy("packs/one", content.length, signal)).path, whole.path);
  t.same(await readdir(made.folder), [whole.path.slice(made.folder.length + 1)]);
});

t.test("one that nobody has read for a while makes room", async (t) => {
  const made = await rig(t, { bytesMax: content.length + 1_000, holdMs: 30 });
  const copy = await copyOf(made);
  await new Promise((wake) => setTimeout(wake, 60));
  const other = await made.cache.copy("packs/two", content.length, signal);
  t.not(other.path, copy.path);
  t.equal((await readdir(made.folder)).length, 1, "the first is gone");
  t.equal(
    await readInThread(copy, 4 * BLOCK, 4 * BLOCK + 5).catch(() => "gone"),
    "store/unreachable",
  );
  await made.cache.close();
  t.same(await readdir(made.folder), [], "what is not whole goes with the process");
});

t.test(
  "one that cannot get its own name stays as it is, and no copy that is not there",
  async (t) => {
    const made = await rig(t);
    const copy = await copyOf(made);
    await unlink(copy.path); // so that nothing can be linked
    for (let at = 0; at < content.length; at += BLOCK)
      await copy.bring?.(at, Math.min(at + BLOCK, content.length), signal);
    t.equal((await copyOf(made)).path, copy.path);
    t.match(made.cache.figures, { files: 0, failures: 1, bytes: content.length });
  },
);
