/**
 * Random nonsense in valid wrapping: the ingest and the plain reference agree on every pack, on the
 * tables or on refusing it.
 */
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { ingestBench, plainTables } from "../support/ingest-harness.js";
import {
  blob,
  buildPack,
  copy,
  delta,
  type HandEntry,
  insert,
  oidOf,
} from "../support/pack-builder.js";
import { type Random, seeded } from "../support/random.js";

const bench = await ingestBench(t);

/** Instructions that mostly fit a base of `size` bytes; now and then one that does not. */
function randomDelta(random: Random, size: number): Uint8Array {
  const instructions: number[][] = [];
  let result = 0;
  for (let step = 1 + random.below(5); step > 0; step--) {
    const from = random.below(size + 1);
    const length = random.below(size - from + 1 + (random.below(40) === 0 ? 3 : 0));
    if (random.below(3) > 0 && length > 0) {
      instructions.push(copy(from, length));
      result += length;
    } else {
      const bytes = random.bytes(1 + random.below(200));
      instructions.push(insert(bytes));
      result += bytes.length;
    }
    if (random.below(60) === 0) instructions.push([random.below(256)]);
  }
  return delta(
    size + (random.below(60) === 0 ? 1 : 0),
    result + (random.below(60) === 0 ? random.below(3) : 0),
    ...instructions,
  );
}

function randomPack(random: Random): Buffer {
  const entries: HandEntry[] = [];
  const sizes: number[] = [];
  const count = 1 + random.below(25);
  for (let at = 0; at < count; at++) {
    const base = random.below(at + 1);
    if (base === at || random.below(3) === 0) {
      const data = random.bytes(random.below(400));
      entries.push(blob(data));
      sizes.push(data.length);
      continue;
    }
    const data = randomDelta(random, sizes[base] as number);
    const known = entries[base]?.type === 3 && random.below(4) === 0;
    entries.push(
      known
        ? { type: 7, baseOid: oidOf("blob", entries[base]?.data as Uint8Array), data }
        : { type: 6, base, data },
    );
    sizes.push(resultSize(data));
  }
  return buildPack(entries);
}

/** Second number of a delta. */
function resultSize(bytes: Uint8Array): number {
  let at = 0;
  while ((bytes[at++] as number) & 0x80);
  let size = 0;
  for (let unit = 1; ; unit *= 128) {
    const byte = bytes[at++] as number;
    size += (byte & 0x7f) * unit;
    if (byte < 0x80) return size;
  }
}

const settle = async <T>(work: () => T | Promise<T>): Promise<T | string> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
};

t.test("800 random packs", { timeout: 120_000 }, async (t) => {
  let good = 0;
  for (let seed = 0; seed < 800; seed++) {
    const pack = randomPack(seeded(seed));
    const plain = await settle(() => plainTables(pack));
    const ours = await settle(() =>
      bench.ingest(pack, { fsck: false, memoryBytes: seed % 2 === 0 ? 0 : 2 ** 22 }),
    );
    if (typeof plain === "string" || typeof ours === "string") {
      if (typeof plain !== typeof ours)
        t.fail(
          `seed ${seed}: plain ${typeof plain === "string" ? plain : "accepts"}, ours ${typeof ours === "string" ? ours : "accepts"}`,
        );
      continue;
    }
    good++;
    if (!ours.idx.equals(plain.idx) || !ours.rev.equals(plain.rev))
      t.fail(`seed ${seed}: other tables`);
  }
  t.ok(good > 100 && good < 700, `${good} good, ${800 - good} refused by both`);
});
