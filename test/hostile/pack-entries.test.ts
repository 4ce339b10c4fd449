/**
 * Packs no client should send. Each has its fault, allocates nothing it merely claims, and leaves
 * nothing behind (the harness looks). Stock git's verdict on each is compared where git can be
 * asked.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { deflateRawSync, deflateSync } from "node:zlib";
import t from "tap";
import { ingestBench, type RunOptions } from "../support/ingest-harness.js";
import {
  appending,
  blob,
  buildPack,
  copy,
  delta,
  type HandEntry,
  insert,
  oidOf,
  varint,
} from "../support/pack-builder.js";

const bench = await ingestBench(t);
const base = Buffer.from("a base of some length, to be copied from");
const one = blob(base);

const bare = join(bench.folder, "bare.git");
execFileSync("git", ["init", "-q", "--bare", bare]);

function gitAccepts(pack: Uint8Array): boolean {
  return (
    spawnSync("git", ["-C", bare, "index-pack", "--stdin", "--strict"], {
      input: pack,
      stdio: "pipe",
    }).status === 0
  );
}

interface Case {
  readonly name: string;
  readonly pack: Uint8Array;
  readonly fault: string | RegExp;
  readonly options?: RunOptions;
  /** Git takes it, or would try to allocate what it claims. */
  readonly gitDiffers?: boolean;
}

const ofs = (data: Uint8Array, more: Partial<HandEntry> = {}): HandEntry => ({
  type: 6,
  base: 0,
  data,
  ...more,
});
const sized = (type: number, size: number[]): Uint8Array =>
  Uint8Array.from([0x80 | (type << 4) | ((size[0] ?? 0) & 15), ...size.slice(1)]);
const claim = (bytes: number): Uint8Array =>
  sized(3, [bytes % 16, ...varint(Math.floor(bytes / 16))]);
const good = buildPack([one, ofs(appending(base, "x"))]);
const TIB = 2 ** 40;

const CASES: readonly Case[] = [
  {
    name: "a bad signature",
    pack: buildPack([one], { signature: "PUCK" }),
    fault: "pack/bad-signature",
  },
  { name: "version 4", pack: buildPack([one], { version: 4 }), fault: "pack/bad-signature" },
  {
    name: "one object more than promised",
    pack: buildPack([one, blob("b")], { count: 1 }),
    fault: "pack/bad-count",
  },
  {
    name: "one object fewer than promised",
    pack: buildPack([one], { count: 2 }),
    fault: /pack\/(bad-count|bad-entry|truncated|bad-zlib)/,
  },
  {
    name: "four billion objects promised",
    pack: buildPack([one], { count: 0xffffffff }),
    fault: "pack/too-large",
  },
  {
    name: "fifteen million objects promised, one sent",
    pack: buildPack([one], { count: 15_000_000 }),
    fault: /pack\/(bad-count|bad-entry|truncated|bad-zlib)/,
  },
  {
    name: "a wrong checksum",
    pack: buildPack([one], { trailer: Buffer.alloc(20, 1) }),
    fault: "pack/bad-trailer",
  },
  { name: "no checksum", pack: good.subarray(0, -20), fault: /pack\/(truncated|bad-count)/ },
  { name: "half a checksum", pack: good.subarray(0, -10), fault: "pack/truncated" },
  { name: "nothing at all", pack: new Uint8Array(0), fault: "pack/truncated" },
  { name: "half a header", pack: good.subarray(0, 7), fault: "pack/truncated" },
  {
    name: "bytes behind the checksum",
    pack: Buffer.concat([good, Buffer.from("x")]),
    fault: "pack/bad-count",
    gitDiffers: true,
  },
  { name: "entry type 0", pack: buildPack([{ type: 0, data: base }]), fault: "pack/bad-entry" },
  { name: "entry type 5", pack: buildPack([{ type: 5, data: base }]), fault: "pack/bad-entry" },
  {
    name: "a size of 70 bits",
    pack: buildPack([{ ...one, head: sized(3, [1, ...Array<number>(10).fill(0xff), 1]) }]),
    fault: "pack/bad-varint",
  },
  {
    name: "a size smaller than the object",
    pack: buildPack([{ ...one, size: base.length - 1 }]),
    fault: "pack/size-mismatch",
  },
  {
    name: "a size larger than the object",
    pack: buildPack([{ ...one, size: base.length + 1 }]),
    fault: "pack/size-mismatch",
  },
  {
    name: "a claim of 1 TiB",
    pack: buildPack([{ ...one, head: claim(TIB) }]),
    fault: "pack/size-mismatch",
    gitDiffers: true,
  },
  {
    name: "a tree of 1 TiB",
    pack: buildPack([{ ...one, head: sized(2, [0, ...varint(TIB / 16)]) }]),
    fault: "pack/too-large",
    gitDiffers: true,
  },
  {
    name: "a delta of 1 TiB",
    pack: buildPack([
      one,
      { ...ofs(base), head: Uint8Array.from([...sized(6, [0, ...varint(TIB / 16)]), 30]) },
    ]),
    fault: "pack/too-large",
    gitDiffers: true,
  },
  {
    name: "no zlib stream",
    pack: buildPack([{ ...one, zlib: Buffer.from("this is not zlib, whatever it is") }]),
    fault: "pack/bad-zlib",
  },
  {
    name: "raw deflate",
    pack: buildPack([{ ...one, zlib: deflateRawSync(base) }]),
    fault: "pack/bad-zlib",
  },
  {
    name: "a preset dictionary",
    pack: buildPack([{ ...one, zlib: deflateSync(base, { dictionary: base.subarray(0, 9) }) }]),
    fault: "pack/bad-zlib",
  },
  {
    name: "a wrong adler-32",
    pack: buildPack([{ ...one, zlib: flipped(deflateSync(base), -1) }]),
    fault: "pack/bad-zlib",
  },
  {
    name: "a wrong adler-32 of a large object",
    pack: buildPack([
      { ...blob(Buffer.alloc(2_000_000)), zlib: flipped(deflateSync(Buffer.alloc(2_000_000)), -1) },
    ]),
    fault: "pack/bad-zlib",
  },
  {
    name: "a stored block whose lengths disagree",
    pack: buildPack([{ ...one, zlib: Uint8Array.from([0x78, 0x01, 1, 4, 0, 4, 0, 1, 2, 3, 4]) }]),
    fault: "pack/bad-zlib",
  },
  {
    name: "a reserved block type",
    pack: buildPack([
      { ...one, zlib: Uint8Array.from([0x78, 0x01, 7, ...Array<number>(20).fill(0)]) },
    ]),
    fault: "pack/bad-zlib",
  },
  {
    name: "a match that reaches before the object",
    pack: buildPack([{ ...one, zlib: reachingBack() }]),
    fault: "pack/bad-zlib",
  },
  {
    name: "a bomb: 60 MB of zeros as 4 bytes",
    pack: buildPack([{ ...blob(Buffer.alloc(60_000_000)), size: 4 }]),
    fault: "pack/size-mismatch",
  },
  {
    name: "a base before the pack",
    pack: buildPack([one, ofs(base, { distance: 10_000 })]),
    fault: "pack/bad-entry",
  },
  {
    name: "a base in the pack's header",
    pack: buildPack([{ type: 6, distance: 4, data: base }]),
    fault: "pack/bad-entry",
  },
  {
    name: "a base in the middle of an entry",
    pack: buildPack([one, blob("b"), ofs(appending(base, "x"), { distance: 13 })]),
    fault: "pack/bad-entry",
  },
  {
    name: "itself as base",
    pack: buildPack([one, ofs(base, { distance: 0 })]),
    fault: "pack/bad-entry",
  },
  {
    name: "a distance of 70 bits",
    pack: buildPack([
      one,
      { ...ofs(base), head: Uint8Array.from([0x65, ...Array<number>(10).fill(0xff), 1]) },
    ]),
    fault: /pack\/bad-(varint|entry)/,
  },
  {
    name: "a base nobody has",
    pack: buildPack([one, { type: 7, baseOid: "f".repeat(40), data: appending(base, "x") }]),
    fault: "pack/base-missing",
  },
  { name: "a delta on what only itself could make", pack: cycle(), fault: "pack/base-missing" },
  {
    name: "an empty delta",
    pack: buildPack([one, ofs(new Uint8Array(0))]),
    fault: "pack/bad-delta",
  },
  {
    name: "a delta cut in its sizes",
    pack: buildPack([one, ofs(Uint8Array.from([0x80]))]),
    fault: "pack/bad-delta",
  },
  {
    name: "a result of 32 GiB in ten bytes",
    pack: buildPack([one, ofs(delta(base.length, 2 ** 35, copy(0, 4)))]),
    fault: "pack/too-large",
    gitDiffers: true,
  },
  {
    name: "a result size of 80 bits",
    pack: buildPack([one, ofs(Uint8Array.from([base.length, ...Array<number>(12).fill(0xff), 1]))]),
    fault: "pack/bad-varint",
    gitDiffers: true,
  },
  {
    name: "another base's size",
    pack: buildPack([one, ofs(delta(base.length + 1, 4, copy(0, 4)))]),
    fault: "pack/bad-delta",
  },
  {
    name: "opcode 0",
    pack: buildPack([one, ofs(delta(base.length, 4, copy(0, 4), [0]))]),
    fault: "pack/bad-delta",
  },
  {
    name: "a copy beyond the base",
    pack: buildPack([one, ofs(delta(base.length, 8, copy(base.length - 4, 8)))]),
    fault: "pack/bad-delta",
  },
  {
    name: "a copy from 4 GiB on",
    pack: buildPack([one, ofs(delta(base.length, 8, copy(0xfffffffe, 8)))]),
    fault: "pack/bad-delta",
  },
  {
    name: "more than the result's size",
    pack: buildPack([one, ofs(delta(base.length, 4, copy(0, 8)))]),
    fault: "pack/bad-delta",
  },
  {
    name: "less than the result's size",
    pack: buildPack([one, ofs(delta(base.length, 9, copy(0, 8)))]),
    fault: "pack/bad-delta",
  },
  {
    name: "an insertion beyond the delta",
    pack: buildPack([one, ofs(delta(base.length, 50, [50, 1, 2]))]),
    fault: "pack/bad-delta",
  },
  {
    name: "a copy cut in its arguments",
    pack: buildPack([one, ofs(delta(base.length, 4, [0x91]))]),
    fault: "pack/bad-delta",
  },
  { name: "the same object twice", pack: buildPack([one, one]), fault: "pack/duplicate" },
  {
    name: "an object twice, once as a delta",
    pack: buildPack([
      one,
      blob(Buffer.concat([base, Buffer.from("x")])),
      ofs(appending(base, "x")),
    ]),
    fault: "pack/duplicate",
  },
  {
    name: "a pack above the limit",
    pack: good,
    fault: "pack/too-large",
    options: { packBytesMax: good.length - 1 },
    gitDiffers: true,
  },
];

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  const index = (at + copy.length) % copy.length;
  copy[index] = (copy[index] as number) ^ 1;
  return copy;
}

/** A fixed block: literal "a", then length 3 at distance 4. RFC 1951 §3.2.6. */
function reachingBack(): Uint8Array {
  const bits = "1" + "10" + "10010001" + "0000001" + "00011";
  const bytes = new Uint8Array(40);
  [...bits].forEach((bit, at) => {
    bytes[at >> 3] = (bytes[at >> 3] as number) | (Number(bit) << (at & 7));
  });
  return Uint8Array.from([0x78, 0x01, ...bytes]);
}

/**
 * Two ref-deltas, each on what the other would make: no ids can really do that, so their names are
 * simply unknown.
 */
function cycle(): Buffer {
  return buildPack([
    { type: 7, baseOid: oidOf("blob", "second"), data: delta(6, 5, insert(Buffer.from("first"))) },
    { type: 7, baseOid: oidOf("blob", "first"), data: delta(5, 6, insert(Buffer.from("second"))) },
  ]);
}

for (const { name, pack, fault, options = {}, gitDiffers = false } of CASES) {
  t.test(name, async (t) => {
    const before = process.memoryUsage().rss;
    for (const chunk of [65_536, 13]) {
      if (chunk === 13 && pack.length > 20_000) continue;
      const code = await bench.refuse(pack, { ...options, chunk });
      if (typeof fault === "string") t.equal(code, fault, `in pieces of ${chunk}`);
      else t.match(code, fault, `in pieces of ${chunk}`);
    }
    t.ok(process.memoryUsage().rss - before < 200e6, "no memory for what is only claimed");
    if (!gitDiffers) t.equal(gitAccepts(pack), false, "git refuses it too");
  });
}

t.test("the good pack of these cases is good", async (t) => {
  t.equal(await bench.refuse(good), "accepted");
  t.equal(gitAccepts(good), true, "git takes it");
  t.equal(
    await bench.refuse(buildPack([one, one]), { fsck: false }),
    "accepted",
    "duplicates without fsck",
  );
});

t.test("a pack cut anywhere is refused", async (t) => {
  for (let cut = 0; cut < good.length; cut += 3) {
    const code = await bench.refuse(good.subarray(0, cut));
    t.match(
      code,
      /^pack\/(truncated|bad-count|bad-entry|bad-zlib|bad-varint)$/,
      `after ${cut} bytes`,
    );
  }
});

t.test(
  "any flipped bit is refused or leaves the objects as they were",
  { timeout: 120_000 },
  async (t) => {
    for (let at = 0; at < good.length; at++) {
      const code = await bench.refuse(flipped(good, at));
      t.match(code, /^(pack\/|base\/)/, `bit 0 of byte ${at}: ${code}`);
    }
  },
);

t.test("a chain longer than the limit", { timeout: 60_000 }, async (t) => {
  const entries: HandEntry[] = [one];
  for (let link = 0; link <= 50_000; link++)
    entries.push({
      type: 6,
      base: link,
      data: delta(link === 0 ? base.length : 6, 6, insert(Buffer.from(String(100_000 + link)))),
    });
  t.equal(await bench.refuse(buildPack(entries)), "pack/chain-too-long");
  t.equal(await bench.refuse(buildPack(entries.slice(0, 50_001))), "accepted", "one link less");
});

t.test("an ingest that is abandoned stops, and its folder goes", async (t) => {
  const abort = new AbortController();
  const large = buildPack([blob(Buffer.alloc(30_000_000, "x")), blob("b")]);
  const running = bench.refuse(large, { signal: abort.signal, chunk: 1_000 });
  setImmediate(() => abort.abort());
  t.equal(await running, "base/aborted");
  t.equal(await bench.refuse(good), "accepted", "and the next one works");
});
