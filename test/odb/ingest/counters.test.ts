/**
 * Promises of the engine about its inner life: work while bytes arrive, few calls out of
 * WebAssembly, bounded memory.
 */
import t from "tap";
import { setTimeout as pause } from "node:timers/promises";
import { startIngest } from "../../../src/odb/index-pack/spool.js";
import type { Ingest, IngestProgress } from "../../../src/odb/index-pack/contract.js";
import { join } from "node:path";
import { appending, blob, buildPack, type HandEntry } from "../../support/pack-builder.js";
import { seeded } from "../../support/random.js";
import { ingestBench } from "../../support/ingest-harness.js";

const bench = await ingestBench(t);
let number = 0;

function start(onProgress?: (progress: IngestProgress) => void): Promise<Ingest> {
  const more = onProgress === undefined ? {} : { onProgress };
  const folder = join(bench.folder, `counters-${number++}`);
  return startIngest(
    {
      folder,
      packs: [],
      closed: new Set(),
      fsck: true,
      packBytesMax: 2 ** 40,
      memoryBytes: 2 ** 26,
      signal: new AbortController().signal,
      ...more,
    },
    bench.pool,
  );
}

/** `count` objects, two thirds of them deltas, of about `size` bytes each. */
function manyObjects(count: number, size: number): Buffer {
  const random = seeded(count);
  const entries: HandEntry[] = [];
  let base = Buffer.alloc(0);
  for (let at = 0; at < count; at++) {
    if (at % 3 === 0) {
      base = Buffer.from(random.bytes(size));
      entries.push(blob(base));
    } else entries.push({ type: 6, base: at - (at % 3), data: appending(base, random.bytes(16)) });
  }
  return buildPack(entries);
}

t.test("10,000 objects cost fewer than 100 calls of node:crypto and node:zlib", async (t) => {
  const { counters, objectCount } = await bench.ingest(manyObjects(10_000, 600));
  t.equal(objectCount, 10_000);
  const { nodeCryptoCalls = Number.NaN, nodeZlibCalls = Number.NaN } = counters;
  t.ok(nodeCryptoCalls + nodeZlibCalls < 100, `${nodeCryptoCalls} + ${nodeZlibCalls}`);
});

t.test(
  "a small pack is two tasks, one of more than 64 KiB that comes in pieces is more",
  async (t) => {
    for (const [objects, tasks] of [
      [30, 2],
      [300, 5],
    ] as const) {
      const pack = manyObjects(objects, 600);
      const before = bench.pool.figures().completed;
      const ingest = await start();
      t.teardown(() => ingest.discard());
      for (let at = 0; at < pack.length; at += 40_000)
        await ingest.write(pack.subarray(at, at + 40_000));
      t.equal((await ingest.finish()).objectCount, objects);
      const taken = bench.pool.figures().completed - before;
      t.ok(tasks === 2 ? taken === 2 : taken >= tasks, `${pack.length} bytes: ${taken} tasks`);
    }
  },
);

t.test("at 8 MB/s half of the objects are hashed before the last byte arrives", async (t) => {
  const random = seeded(8);
  const pack = buildPack(Array.from({ length: 6_000 }, () => blob(random.bytes(700))));
  const seen: IngestProgress[] = [];
  const ingest = await start((progress) => seen.push(progress));
  t.teardown(() => ingest.discard());
  const chunk = 32 * 1024;
  for (let at = 0; at < pack.length; at += chunk) {
    await ingest.write(pack.subarray(at, at + chunk));
    await pause((1_000 * chunk) / 8e6);
  }
  const { counters } = await ingest.finish();
  t.ok((counters["hashedBeforeEnd"] ?? 0) >= 3_000, `${counters["hashedBeforeEnd"]} of 6,000`);
  t.ok(
    seen.some(({ stage, done, total }) => stage === "receiving" && done > 0 && total === 6_000),
    "and progress is told",
  );
});

t.test("a defect in the first bytes is told before the last", async (t) => {
  const pack = Buffer.concat([
    buildPack([{ type: 5, data: Buffer.from("x") }]).subarray(0, -20),
    Buffer.alloc(20_000_000),
  ]);
  const ingest = await start();
  t.teardown(() => ingest.discard());
  let taken = 0;
  await t.rejects(
    async () => {
      for (; taken < pack.length; taken += 65_536)
        await ingest.write(pack.subarray(taken, taken + 65_536));
    },
    { code: "pack/bad-entry" },
  );
  t.ok(taken < 10_000_000, `after ${taken} bytes`);
});

t.test("without a budget nothing is kept, and all is inflated again", async (t) => {
  const pack = manyObjects(3_000, 600);
  const { counters } = await bench.ingest(pack, { memoryBytes: 0 });
  t.equal(counters["keptBytes"], 0);
  t.ok((counters["reinflated"] ?? 0) >= 3_000, `${counters["reinflated"]}`);
  const kept = await bench.ingest(pack);
  t.equal(kept.counters["reinflated"], 0);
});

t.test("abandoned ingests leave the pool free", async (t) => {
  const pack = manyObjects(3_000, 600);
  const ingests = await Promise.all(Array.from({ length: 20 }, () => start()));
  await Promise.all(ingests.map((ingest) => ingest.write(pack.subarray(0, pack.length / 2))));
  await Promise.all(ingests.map((ingest) => ingest.discard()));
  await ingests[0]?.discard();
  t.equal((await bench.ingest(pack)).objectCount, 3_000);
});

t.test("twenty pushes at once through two threads", async (t) => {
  const packs = Array.from({ length: 20 }, (_, at) => manyObjects(300 + at, 500));
  const done = await Promise.all(packs.map((pack) => bench.ingest(pack, { chunk: 10_000 })));
  t.same(
    done.map(({ objectCount }) => objectCount),
    packs.map((_, at) => 300 + at),
  );
});
