import t from "tap";
import { concat, fromLatin1, latin1 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import {
  DELIM,
  errorPacket,
  FLUSH,
  lineText,
  LineWriter,
  type Packet,
  packet,
  PacketReader,
  readPacket,
  RESPONSE_END,
} from "../../src/wire/pkt-line.js";
import { seeded } from "../support/random.js";

const bytes = fromLatin1;

/** A packet as text, its payload copied out of the view. */
function text(packet: Packet): string {
  return packet.kind === "data" ? latin1(packet.payload) : packet.kind;
}

/** Packets of a stream that arrives in `chunks`. */
function read(...chunks: readonly Uint8Array[]): string[] {
  const reader = new PacketReader();
  const packets: string[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let next = reader.next(); next !== undefined; next = reader.next())
      packets.push(text(next));
  }
  reader.finish();
  return packets;
}

function faultOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
  return "none";
}

t.test("the examples of gitprotocol-common(5)", async (t) => {
  t.same(read(bytes("0006a\n"), bytes("0005a"), bytes("000bfoobar\n"), bytes("0004")), [
    "a\n",
    "a",
    "foobar\n",
    "",
  ]);
  t.same(read(bytes("000000010002")), ["flush", "delim", "response-end"]);
  t.same(read(bytes("000Aabcdef")), ["abcdef"], "upper-case digits");
});

t.test("a packet stream cut at any byte reads as if whole", async (t) => {
  const whole = bytes("0009hello00010005a0000");
  for (let cut = 0; cut <= whole.length; cut++)
    t.same(
      read(whole.subarray(0, cut), whole.subarray(cut)),
      ["hello", "delim", "a", "flush"],
      `cut ${cut}`,
    );
  t.same(
    read(...Array.from(whole, (byte) => Uint8Array.of(byte))),
    ["hello", "delim", "a", "flush"],
    "byte by byte",
  );
});

t.test("random packets, randomly cut, come back", async (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed);
    const sizes = [1, 2, 5, 300, 4_000, 65_515, 65_516];
    const payloads = Array.from({ length: 1 + random.below(8) }, () =>
      random.bytes(random.pick(sizes)),
    );
    const whole = concat(payloads.map(packet));
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < whole.length; ) {
      const end = at + 1 + random.below(random.pick([2, 50, 70_000]));
      chunks.push(whole.subarray(at, end));
      at = end;
    }
    t.same(read(...chunks), payloads.map(latin1), `seed ${seed}`);
  }
});

t.test("a bad length is a fault, never no line", async (t) => {
  for (const bad of ["0003", "zzzz", "00 5", "-001", "+005a", "0x05", "fff1", "ffff", "\0\0\0\0"])
    t.equal(
      faultOf(() => readPacket(bytes(`${bad}xxxx`), 0)),
      "wire/bad-length",
      bad,
    );
  t.equal(
    faultOf(() => read(bytes("0005a00"), bytes("0g"))),
    "wire/bad-length",
    "cut inside the digits",
  );
});

t.test("the longest packet is 65520 bytes", async (t) => {
  const longest = new Uint8Array(65_516).fill(0x61);
  t.same(read(packet(longest)), [latin1(longest)]);
  t.throws(() => packet(new Uint8Array(65_517)), RangeError);
  t.throws(() => packet(new Uint8Array(0)), RangeError, "0004 is never sent");
});

t.test("an end inside a packet is truncation", async (t) => {
  for (const part of ["0", "000", "0009hell", "0000000"])
    t.equal(
      faultOf(() => read(bytes(part))),
      "wire/truncated",
      part,
    );
  t.same(read(), [], "an empty stream is whole");
});

t.test("a length is no reason to allocate: memory follows what arrived", async (t) => {
  const readers = Array.from({ length: 2_000 }, () => new PacketReader());
  const before = process.memoryUsage().arrayBuffers;
  for (const reader of readers) {
    reader.push(bytes("fff0x"));
    t.equal(reader.next(), undefined);
  }
  t.ok(
    process.memoryUsage().arrayBuffers - before < 8 * 1024 * 1024,
    "2,000 claims of 64 KiB held less than 8 MiB",
  );
});

t.test("what follows the packets comes out as it lies", async (t) => {
  const reader = new PacketReader();
  reader.push(bytes("0005a0000PACKrest"));
  t.same(
    [reader.next(), reader.next()].map((packet) => packet && text(packet)),
    ["a", "flush"],
  );
  t.equal(latin1(reader.rest()), "PACKrest");
  reader.finish();
  reader.push(bytes("00"));
  t.equal(reader.next(), undefined);
  reader.push(bytes("1fPA"));
  t.equal(reader.next(), undefined);
  t.equal(latin1(reader.rest()), "001fPA", "carried bytes and the chunk");
});

t.test("lines: one LF dropped, no more", async (t) => {
  t.equal(lineText(bytes("a\n")), "a");
  t.equal(lineText(bytes("a\n\n")), "a\n");
  t.equal(lineText(bytes("a")), "a");
  t.equal(lineText(bytes("")), "");
});

t.test("the writer writes what the reader reads", async (t) => {
  const writer = new LineWriter().line("want x").delim().line("caf\xe9").flush();
  t.same(read(writer.take()), ["want x\n", "delim", "caf\xe9\n", "flush"]);
  t.equal(writer.take().length, 0, "taken once");
  t.equal(latin1(new LineWriter({ band: true }).line("a").flush().take()), "0007\x01a\n0000");
  t.same(read(FLUSH, DELIM, RESPONSE_END), ["flush", "delim", "response-end"]);
});

t.test("ERR packets are one line of bounded length", async (t) => {
  t.equal(latin1(errorPacket("no\nsuch\0thing")), "0015ERR no such thing");
  t.ok(errorPacket("é".repeat(100_000)).length < 2_100);
});
