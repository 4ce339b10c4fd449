/**
 * The ring of bases: what it answers is what was put there, whatever was written over since; what
 * is in use stays; it is bounded.
 */
import t from "tap";
import { BaseCache } from "../../src/odb/packs/base-cache.js";
import type { ObjectType } from "../../src/git/oid.js";

const TYPES: readonly ObjectType[] = ["commit", "tree", "blob", "tag"];

/** Content that tells its key. */
function contentOf(slot: number, offset: number, length: number): Uint8Array {
  const seed = Math.imul(slot + 1, 0x9e3779b1) ^ Math.imul(Math.floor(offset / 8), 0x85ebca6b);
  const content = new Uint8Array(length); // `from` with a function costs ten times as much
  for (let at = 0; at < length; at++) content[at] = (seed >>> (at % 24)) + at;
  return content;
}

t.test(
  "a million random steps: an answer is right or none, and the last one put is there",
  async (t) => {
    const cache = new BaseCache(64 * 1024);
    const lengths = new Map<string, number>();
    let state = 7;
    const random = (below: number) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    let wrong = 0;
    let lost = 0;
    let hits = 0;
    for (let step = 0; step < 1_000_000; step++) {
      const slot = random(3) * 16_000;
      // Offsets beyond 32 and 35 bits among them.
      const offset = random(400) * 9 + random(2) * 2 ** 33 + random(2) * 2 ** 39;
      const name = `${slot} ${offset}`;
      const length =
        lengths.get(name) ??
        (random(50) === 0 ? 0 : random(20) === 0 ? random(16_384) : random(300));
      lengths.set(name, length);
      const type = TYPES[length % 4] as ObjectType;
      if (random(2) === 0) {
        cache.set(slot, offset, { type, data: contentOf(slot, offset, length) });
        const held = cache.get(slot, offset);
        if (held === undefined) lost++;
      }
      const held = step % 7 === 0 ? cache.get(slot, offset) : undefined;
      if (held === undefined) continue;
      hits++;
      if (held.type !== type || Buffer.compare(held.data, contentOf(slot, offset, length)) !== 0)
        wrong++;
    }
    t.equal(wrong, 0);
    t.equal(lost, 0);
    t.ok(hits > 10_000, `${hits} answers were looked at`);
  },
);

t.test("what is asked for again and again stays, what is not goes", async (t) => {
  const cache = new BaseCache(100_000);
  const object = { type: "tree", data: new Uint8Array(1_000).fill(7) } as const;
  cache.set(0, 0, object);
  cache.set(0, 8, object);
  for (let at = 2; at < 1_000; at++) {
    cache.set(0, at * 8, object);
    t.same(cache.get(0, 0), object);
  }
  t.equal(cache.get(0, 8), undefined);
  t.same(cache.get(0, 999 * 8), object);
});

t.test(
  "tiny objects are bounded by their number, and a quarter of the room is too much for one",
  async (t) => {
    const cache = new BaseCache(19_200); // a hundred places
    for (let at = 0; at < 1_000; at++)
      cache.set(0, at * 8, { type: "blob", data: Uint8Array.of(at) });
    const there = Array.from({ length: 1_000 }, (_, at) => at).filter(
      (at) => cache.get(0, at * 8) !== undefined,
    );
    t.ok(there.length >= 50 && there.length <= 100, `${there.length} are kept`);
    t.equal(there.at(-1), 999);
    cache.set(1, 0, { type: "blob", data: new Uint8Array(4_801) });
    t.equal(cache.get(1, 0), undefined);
    cache.set(1, 0, { type: "blob", data: new Uint8Array(4_800) });
    t.equal(cache.get(1, 0)?.data.length, 4_800);
  },
);
