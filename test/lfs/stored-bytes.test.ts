/** Bytes of an LFS object on their way out of a store: in order, read ahead, and left off. */
import { randomBytes } from "node:crypto";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { storedBytes } from "../../src/lfs/stored-bytes.js";
import type { Store } from "../../src/store/store.js";

const STEP = LIMITS.lfsRangeBytes;

/** A store of one content, each read of which takes some milliseconds. */
function storeOf(kind: Store["kind"], content: Uint8Array) {
  const reads: { start: number; end: number; signal: AbortSignal }[] = [];
  let [active, most] = [0, 0];
  const store = {
    kind,
    async readRange(_: string, start: number, end: number, signal: AbortSignal) {
      reads.push({ start, end, signal });
      most = Math.max(most, ++active);
      await new Promise((wake) => setTimeout(wake, 5));
      active--;
      if (signal.aborted) throw new Fault("base/aborted", {}, signal.reason);
      if (end > content.length) throw new Fault("store/failed");
      return content.subarray(start, end);
    },
  };
  return { store: store as unknown as Store, reads, most: () => most };
}

const { signal } = new AbortController();

t.test("every range comes whole, by few requests of object storage, one ahead", async (t) => {
  const content = randomBytes(3 * STEP + 5);
  for (const [start, end] of [
    [0, content.length],
    [0, 0],
    [7, 7],
    [STEP - 1, STEP + 1],
    [STEP, 2 * STEP],
    [content.length - 1, content.length],
  ] as const) {
    const { store, reads, most } = storeOf("s3", content);
    const pieces: Uint8Array[] = [];
    for await (const piece of storedBytes(store, "k", { start, end }, signal)) pieces.push(piece);
    t.ok(Buffer.concat(pieces).equals(content.subarray(start, end)), `${start} to ${end}`);
    t.equal(reads.length, Math.ceil((end - start) / STEP));
    t.ok(most() <= 2);
  }
  const { store, reads } = storeOf("disk", content);
  for await (const piece of storedBytes(store, "k", { start: 0, end: STEP }, signal))
    t.ok(piece.length <= LIMITS.streamChunkBytes);
  t.equal(reads.length, STEP / LIMITS.streamChunkBytes);
});

t.test("who takes no more leaves nothing reading", async (t) => {
  const { store, reads } = storeOf("s3", randomBytes(3 * STEP));
  for await (const _ of storedBytes(store, "k", { start: 0, end: 3 * STEP }, signal)) break;
  t.equal(reads.length, 2);
  t.ok(reads[1]?.signal.aborted);
});

t.test("a piece that fails, and an abort, end it where they stand", async (t) => {
  const { store } = storeOf("s3", randomBytes(STEP + 5));
  const pieces = storedBytes(store, "k", { start: 0, end: 2 * STEP }, signal);
  t.equal((await pieces.next()).value?.length, STEP);
  await new Promise((wake) => setTimeout(wake, 20)); // the next has failed, and nobody is told yet
  await t.rejects(pieces.next(), { code: "store/failed" });
  const going = new AbortController();
  const aborted = storedBytes(
    storeOf("s3", randomBytes(2 * STEP)).store,
    "k",
    { start: 0, end: 2 * STEP },
    going.signal,
  );
  await aborted.next();
  going.abort(new Fault("base/timeout"));
  await t.rejects(aborted.next(), { code: "base/aborted", cause: { code: "base/timeout" } });
});
