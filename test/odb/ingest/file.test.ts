/**
 * A pack on disk, read by several threads at once: the same tables, the same verdicts, whatever its
 * bytes look like.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import t, { type Test } from "tap";
import { Fault } from "../../../src/base/fault.js";
import { indexPackFile } from "../../../src/odb/index-pack/file.js";
import type { IngestedPack } from "../../../src/odb/index-pack/contract.js";
import {
  appending,
  blob,
  buildPack,
  type HandEntry,
  oidOf,
  whole,
} from "../../support/pack-builder.js";
import { seeded } from "../../support/random.js";
import { ingestBench, plainTables } from "../../support/ingest-harness.js";

const bench = await ingestBench(t, 3);
let number = 0;

async function index(
  pack: Uint8Array,
  more: { memoryBytes?: number } = {},
): Promise<IngestedPack & { idx: Buffer; rev: Buffer }> {
  const path = join(bench.folder, `file-${number++}.pack`);
  writeFileSync(path, pack);
  const done = await indexPackFile(path, { pool: bench.pool, ...more });
  return { ...done, idx: readFileSync(done.idxPath), rev: readFileSync(done.revPath) };
}

async function same(t: Test, pack: Uint8Array, threads = 2): Promise<void> {
  const plain = plainTables(pack);
  for (const memoryBytes of [2 ** 28, 0]) {
    const ours = await index(pack, { memoryBytes });
    t.ok(ours.idx.equals(plain.idx), "idx");
    t.ok(ours.rev.equals(plain.rev), "rev");
    t.ok((ours.counters["scanTasks"] ?? 0) >= threads, "threads that read it");
    t.match(ours, { closed: true, selfContained: true, openLinks: [] });
  }
}

/**
 * About `count` × 6 KB that do not compress, with deltas of both kinds, and trees that link to
 * some.
 */
function mixed(seed: number, count: number): HandEntry[] {
  const random = seeded(seed);
  const entries: HandEntry[] = [];
  const blobs: { at: number; data: Buffer }[] = [];
  for (let at = 0; at < count; at++) {
    const kind = random.below(4);
    const base = blobs[random.below(blobs.length + 1)];
    if (kind === 0 && base !== undefined)
      entries.push({ type: 6, base: base.at, data: appending(base.data, random.bytes(1_000)) });
    else if (kind === 1 && base !== undefined)
      entries.push({
        type: 7,
        baseOid: oidOf("blob", base.data),
        data: appending(base.data, random.bytes(1_000)),
      });
    else if (kind === 2 && base !== undefined)
      entries.push(
        whole(
          "tree",
          Buffer.concat([
            Buffer.from(`100644 f${at}\0`),
            Buffer.from(oidOf("blob", base.data), "hex"),
          ]),
        ),
      );
    else {
      const data = Buffer.from(random.bytes(4_000 + random.below(16_000)));
      blobs.push({ at: entries.length, data });
      entries.push(blob(data));
    }
  }
  return entries;
}

t.test("deltas across the cuts", (t) => same(t, buildPack(mixed(1, 1_200))));

t.test("objects that are full of zlib streams and packs", async (t) => {
  const random = seeded(2);
  const inner = buildPack(Array.from({ length: 300 }, () => blob(random.bytes(300))));
  const streams = Buffer.concat(
    Array.from({ length: 500 }, (_, at) => deflateSync(random.bytes(100 + at))),
  );
  // Stored, so that the streams inside lie open in the pack, and every cut falls among them.
  const entries = Array.from({ length: 60 }, (_, at) => ({
    ...blob(Buffer.concat([Buffer.from(String(at)), inner, streams])),
    level: 0,
  }));
  await same(t, buildPack(entries));
});

t.test("one object that is larger than all parts", async (t) => {
  await same(
    t,
    buildPack([
      blob("a"),
      { ...blob(Buffer.from(seeded(3).bytes(6_000_000))), level: 0 },
      blob("b"),
    ]),
    1,
  );
});

t.test("damage is found as in one thread", { timeout: 60_000 }, async (t) => {
  const good = buildPack(mixed(4, 2_000));
  const codeOf = (pack: Uint8Array) =>
    index(pack).then(
      () => "accepted",
      (error: unknown) => (error instanceof Fault ? error.code : String(error)),
    );
  t.equal(await codeOf(good), "accepted");
  const random = seeded(5);
  for (let round = 0; round < 25; round++) {
    const bad = Buffer.from(good);
    const at = random.below(bad.length);
    bad[at] = (bad[at] as number) ^ (1 << random.below(8));
    t.match(await codeOf(bad), /^pack\//, `a bit of byte ${at}`);
  }
  t.equal(await codeOf(buildPack(mixed(4, 2_000), { count: 1_999 })), "pack/bad-count");
  t.equal(await codeOf(buildPack(mixed(4, 2_000), { count: 2_001 })), "pack/bad-count");
  t.match(await codeOf(good.subarray(0, good.length - 5_000)), /^pack\//, "cut");
  t.equal(
    await codeOf(Buffer.concat([good, Buffer.alloc(50)])).then((code) => code.startsWith("pack/")),
    true,
    "too long",
  );
});

t.test("a refused pack leaves no tables", async (t) => {
  const path = join(bench.folder, "refused.pack");
  const link = Buffer.concat([Buffer.from("100644 .gitmodules\0"), Buffer.alloc(20, 1)]);
  writeFileSync(path, buildPack([whole("tree", link)]));
  await t.rejects(indexPackFile(path, { pool: bench.pool }), {
    code: "pack/fsck",
    message: /gitmodulesMissing/,
  });
  t.same(
    readdirSync(bench.folder).filter((name) => name.startsWith("refused")),
    ["refused.pack"],
  );
});
