/**
 * Both kernel sets, and the mix of them that runs, pass one suite. node:crypto and node:zlib are
 * the judges.
 */
import { createHash } from "node:crypto";
import { constants, deflateRawSync, deflateSync } from "node:zlib";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { ChosenKernels, describePicks } from "../../src/kernels/choose.js";
import type { HashJob, Kernels } from "../../src/kernels/kernels.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { WasmKernels } from "../../src/kernels/wasm.js";
import { appending, copy, delta, insert } from "../support/pack-builder.js";
import { seeded } from "../support/random.js";

const wasm = new WasmKernels(await loadKernels());
const codeOf = (work: () => unknown): string => {
  try {
    work();
    return "passed";
  } catch (error) {
    return error instanceof Fault ? error.code : String(error);
  }
};

const digest = ({ type, data }: HashJob) =>
  createHash("sha1").update(`${type} ${data.length}\0`).update(data).digest("hex");

for (const [name, kernels] of [
  ["plain", plainKernels],
  ["wasm", wasm],
  ["chosen", new ChosenKernels(wasm)],
] as const) {
  t.test(name, async (t) => {
    t.test("hashes", (t) => hashes(t, kernels));
    t.test("checksums", (t) => checksums(t, kernels));
    t.test("inflates", (t) => inflates(t, kernels));
    t.test("refuses broken streams", (t) => refusesStreams(t, kernels));
    t.test("applies deltas", (t) => appliesDeltas(t, kernels));
  });
}

t.test("picks are sizes", async (t) => {
  const { picks } = new ChosenKernels(wasm);
  for (const size of Object.values(picks)) t.ok(size >= 0);
  t.match(describePicks(picks), /hashOne/);
});

async function hashes(t: Test, kernels: Kernels): Promise<void> {
  const random = seeded(11);
  const types = ["commit", "tree", "blob", "tag"] as const;
  // Every length around the padding's edges, every number of live lanes, then batches of all sizes.
  const batches: HashJob[][] = [
    [],
    ...Array.from({ length: 140 }, (_, length) => [
      { type: "blob" as const, data: random.bytes(length) },
    ]),
  ];
  for (let count = 1; count < 30; count++) {
    batches.push(
      Array.from({ length: count }, () => ({
        type: random.pick(types),
        data: random.bytes(random.below(random.below(10) === 0 ? 5_000 : 200)),
      })),
    );
  }
  batches.push(
    Array.from({ length: 9_000 }, (_, at) => ({
      type: "tree" as const,
      data: Buffer.from(String(at)),
    })),
  );
  batches.push(
    Array.from({ length: 5 }, (_, at) => ({
      type: "blob" as const,
      data: Buffer.alloc(3_000_000 + at, at),
    })),
  );
  for (const batch of batches) {
    const got = Buffer.from(kernels.hashObjects(batch)).toString("hex");
    if (got !== batch.map(digest).join(""))
      t.fail(`batch of ${batch.length}, first of ${batch[0]?.data.length}`);
  }
  t.pass(`${batches.length} batches`);
}

async function checksums(t: Test, kernels: Kernels): Promise<void> {
  const random = seeded(12);
  t.equal(kernels.crc32(Buffer.from("123456789"), 0), 0xcbf43926, "the check value of CRC-32");
  t.equal(kernels.adler32(Buffer.from("Wikipedia"), 1), 0x11e60398);
  t.equal(kernels.crc32(new Uint8Array(0), 5), 5);
  t.equal(kernels.adler32(new Uint8Array(0), 5), 5);
  for (const data of [
    random.bytes(100_000),
    Buffer.alloc(3_000_000, 0xff),
    ...Array.from({ length: 60 }, (_, length) => random.bytes(length)),
  ]) {
    const cut = random.below(data.length + 1);
    const adler = deflateSync(data).readUInt32BE(deflateSync(data).length - 4);
    t.equal(
      kernels.adler32(data.subarray(cut), kernels.adler32(data.subarray(0, cut), 1)),
      adler,
      `adler of ${data.length}, cut at ${cut}`,
    );
    t.equal(
      kernels.crc32(data.subarray(cut), kernels.crc32(data.subarray(0, cut), 0)),
      plainKernels.crc32(data, 0),
      `crc of ${data.length}, cut at ${cut}`,
    );
  }
}

async function inflates(t: Test, kernels: Kernels): Promise<void> {
  const random = seeded(13);
  const strategies = [
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_FILTERED,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
    constants.Z_FIXED,
  ];
  for (let round = 0; round < 600; round++) {
    const size = random.below(round % 40 === 0 ? 400_000 : 3_000);
    const skew = 1 + random.below(255);
    const data =
      round % 4 === 0
        ? Buffer.alloc(size, `${round}abc`)
        : Buffer.from(
            random.bytes(size).map((byte) => (random.below(3) === 0 ? byte : byte % skew)),
          );
    const stream = deflateSync(data, {
      level: round % 10,
      strategy: random.pick(strategies),
      memLevel: 1 + (round % 9),
      windowBits: 9 + (round % 7),
    });
    const before = random.below(20);
    const input = Buffer.concat([random.bytes(before), stream, random.bytes(random.below(40))]);
    const got = kernels.inflate(input, before, size);
    if (!got || got.consumed !== stream.length || !data.equals(got.data))
      t.fail(`round ${round}, ${size} bytes`);
    const cut = random.below(stream.length);
    if (kernels.inflate(stream.subarray(0, cut), 0, size) !== undefined)
      t.fail(`round ${round} cut at ${cut}`);
  }
  t.pass();
}

async function refusesStreams(t: Test, kernels: Kernels): Promise<void> {
  const data = Buffer.from("some text, some text, some more text");
  const good = deflateSync(data);
  const wrong = (at: number) =>
    Buffer.from(
      good.map((byte, index) => (index === (at + good.length) % good.length ? byte ^ 1 : byte)),
    );
  t.equal(
    codeOf(() => kernels.inflate(wrong(0), 0, data.length)),
    "pack/bad-zlib",
    "method",
  );
  t.equal(
    codeOf(() => kernels.inflate(wrong(1), 0, data.length)),
    "pack/bad-zlib",
    "header check",
  );
  t.equal(
    codeOf(() => kernels.inflate(wrong(-1), 0, data.length)),
    "pack/bad-zlib",
    "adler-32",
  );
  t.equal(
    codeOf(() => kernels.inflate(deflateRawSync(data), 0, data.length)),
    "pack/bad-zlib",
    "raw deflate",
  );
  t.equal(
    codeOf(() => kernels.inflate(good, 0, data.length - 1)),
    "pack/size-mismatch",
    "more than promised",
  );
  t.equal(
    codeOf(() => kernels.inflate(good, 0, data.length + 1)),
    "pack/size-mismatch",
    "less than promised",
  );
  t.equal(
    codeOf(() => kernels.inflate(deflateSync(Buffer.alloc(50_000_000)), 0, 10)),
    "pack/size-mismatch",
    "a bomb",
  );
  const random = seeded(14);
  for (let round = 0; round < 400; round++) {
    const flipped = Buffer.from(good);
    flipped[random.below(flipped.length)] = random.below(256);
    const both = [plainKernels, kernels].map((set) => {
      try {
        return Buffer.from(set.inflate(flipped, 0, data.length)?.data ?? "more").toString("latin1");
      } catch (error) {
        return error instanceof Fault ? "refused" : String(error);
      }
    });
    // Where the stream is damaged a reader may want more or give up; it may never yield other
    // bytes.
    const [theirs, ours] = both as [string, string];
    const settled = new Set(["refused", "more"]);
    if (theirs !== ours && !(settled.has(theirs) && settled.has(ours)))
      t.fail(`${flipped.toString("hex")}: ${theirs} / ${ours}`);
  }
}

async function appliesDeltas(t: Test, kernels: Kernels): Promise<void> {
  const random = seeded(15);
  const MAX = 1 << 24;
  for (let round = 0; round < 300; round++) {
    const base = Buffer.from(random.bytes(1 + random.below(round % 10 === 0 ? 200_000 : 500)));
    const instructions: number[][] = [];
    const parts: Buffer[] = [];
    for (let step = random.below(12); step >= 0; step--) {
      if (random.below(2) === 0) {
        const from = random.below(base.length);
        const length = 1 + random.below(Math.min(base.length - from, 0xffff));
        instructions.push(copy(from, length));
        parts.push(base.subarray(from, from + length));
      } else {
        const bytes = Buffer.from(random.bytes(1 + random.below(300)));
        instructions.push(insert(bytes));
        parts.push(bytes);
      }
    }
    const result = Buffer.concat(parts);
    if (
      !result.equals(
        kernels.applyDelta(base, delta(base.length, result.length, ...instructions), MAX),
      )
    )
      t.fail(`round ${round}`);
  }
  const base = Buffer.alloc(0x10000, "b");
  t.ok(
    base.equals(kernels.applyDelta(base, delta(base.length, base.length, [0x80]), MAX)),
    "a copy without arguments is 64 KiB from 0",
  );
  t.same(kernels.applyDelta(base, appending(base, "x"), MAX).length, base.length + 1);
  for (const [name, bytes, code] of [
    ["opcode 0", delta(base.length, 1, [0]), "pack/bad-delta"],
    ["another base", delta(base.length + 1, 1, copy(0, 1)), "pack/bad-delta"],
    ["beyond the base", delta(base.length, 2, copy(base.length - 1, 2)), "pack/bad-delta"],
    ["too much", delta(base.length, 1, copy(0, 2)), "pack/bad-delta"],
    ["too little", delta(base.length, 3, copy(0, 2)), "pack/bad-delta"],
    ["cut", delta(base.length, 3, [3, 1]), "pack/bad-delta"],
    ["empty", new Uint8Array(0), "pack/bad-delta"],
    ["a result of 32 GiB", delta(base.length, 2 ** 35, copy(0, 4)), "pack/too-large"],
  ] as const)
    t.equal(
      codeOf(() => kernels.applyDelta(base, bytes, MAX)),
      code,
      name,
    );
}
