import t from "tap";
import { concat, fromLatin1, latin1 } from "../../src/base/bytes.js";
import { PacketReader } from "../../src/wire/pkt-line.js";
import {
  banded,
  bandedText,
  type BandMode,
  KEEP_ALIVE,
  PackFrame,
} from "../../src/wire/sideband.js";
import { seeded } from "../support/random.js";

/** Data by band, and the largest packet seen. */
function unband(stream: Uint8Array) {
  const reader = new PacketReader();
  const bands: Record<number, Uint8Array[]> = { 1: [], 2: [], 3: [] };
  let longest = 0;
  reader.push(stream);
  for (let next = reader.next(); next !== undefined; next = reader.next()) {
    if (next.kind !== "data") throw new Error(`unexpected ${next.kind}`);
    bands[next.payload[0] ?? 0]?.push(next.payload.slice(1));
    longest = Math.max(longest, next.payload.length + 4);
  }
  reader.finish();
  return { data: (band: number) => concat(bands[band] ?? []), longest };
}

t.test("every size comes back, no packet above its mode's limit", async (t) => {
  const random = seeded(7);
  for (const [mode, packetMax] of [
    ["side-band", 1_000],
    ["side-band-64k", 65_520],
  ] as const)
    for (const size of [0, 1, 994, 995, 996, 1_990, 65_514, 65_515, 65_516, 200_000]) {
      const data = random.bytes(size);
      const whole = unband(banded(mode, 1, data));
      t.ok(Buffer.compare(whole.data(1), data) === 0, `${mode} ${size}`);
      t.ok(whole.longest <= packetMax, `${mode} ${size} longest ${whole.longest}`);
    }
});

t.test("without a side band there is data only", async (t) => {
  t.equal(latin1(banded("none", 1, fromLatin1("PACK"))), "PACK");
  t.equal(bandedText("none", 2, "progress").length, 0);
  t.equal(bandedText("none", 3, "error").length, 0);
});

t.test("progress and errors travel in their bands", async (t) => {
  const stream = unband(
    concat([
      bandedText("side-band-64k", 2, "one"),
      KEEP_ALIVE,
      bandedText("side-band-64k", 3, "two"),
    ]),
  );
  t.equal(latin1(stream.data(2)), "one");
  t.equal(latin1(stream.data(3)), "two");
  t.equal(stream.data(1).length, 0);
});

t.test("a pack read into a frame needs no copy and comes back", async (t) => {
  const random = seeded(11);
  for (const mode of [
    "none",
    "side-band",
    "side-band-64k",
  ] as const satisfies readonly BandMode[]) {
    const frame = new PackFrame(mode);
    t.ok(
      frame.capacity <= 256 * 1024 && frame.capacity > 190_000,
      `${mode} holds ${frame.capacity}`,
    );
    for (const size of [frame.capacity, 1, 995, 996, 65_515, 65_516, 100_000, 0]) {
      const data = random.bytes(size);
      const sent = frame.fill(data);
      const back = mode === "none" ? sent : unband(sent).data(1);
      t.ok(Buffer.compare(back, data) === 0, `${mode} ${size}`);
    }
    t.throws(() => frame.frame(frame.capacity + 1), RangeError);
    for (const bytes of [0, 1, frame.capacity, frame.capacity + 1, 5 * frame.capacity, 1_000_003]) {
      let framed = 0;
      for (let left = bytes; left > 0; left -= frame.capacity)
        framed += frame.frame(Math.min(left, frame.capacity)).length;
      t.equal(frame.framedBytes(bytes), framed, `${mode}: ${bytes} bytes as they leave`);
    }
  }
});
