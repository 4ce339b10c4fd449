/**
 * Work on a list whose length a client chooses, without holding the event loop: a set of 290,000
 * ids takes a quarter of a second to build and a third to sort. Short lists are done in one go.
 */
import { createHash } from "node:crypto";
import type { Turns } from "./flow.js";

/** Items that are sorted in one go: some milliseconds. */
const RUN_ITEMS = 4_096;
/** Bytes that are hashed in one go: a millisecond or two. */
const HASH_BYTES = 1024 * 1024;

/** Returns the items, each once, in the order they first came. Throws "base/aborted". */
export async function distinct<T>(items: Iterable<T>, turns: Turns): Promise<Set<T>> {
  const met = new Set<T>();
  for (const item of items) {
    if (turns.isDue) await turns.next();
    met.add(item);
  }
  return met;
}

/** Returns the items that `keeps` answers true for. Throws "base/aborted". */
export async function filtered<T>(
  items: Iterable<T>,
  keeps: (item: T) => boolean,
  turns: Turns,
): Promise<T[]> {
  const kept: T[] = [];
  for (const item of items) {
    if (turns.isDue) await turns.next();
    if (keeps(item)) kept.push(item);
  }
  return kept;
}

/** Negative: `left` comes first. */
type Compare<T> = (left: T, right: T) => number;

/** Orders as JavaScript's `sort` does: by code units. */
export const byCodeUnits: Compare<string> = (left, right) =>
  left < right ? -1 : left > right ? 1 : 0;

/**
 * Returns a sorted copy; equal items stay in their order. Runs are sorted in one go, then merged
 * two and two. Throws "base/aborted".
 */
export async function sorted<T>(
  items: readonly T[],
  compare: Compare<T>,
  turns: Turns,
): Promise<T[]> {
  let runs: T[][] = [];
  for (let at = 0; at < items.length; at += RUN_ITEMS) {
    if (turns.isDue) await turns.next();
    runs.push(items.slice(at, at + RUN_ITEMS).sort(compare));
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let at = 0; at < runs.length; at += 2)
      merged.push(await merge(runs[at] ?? [], runs[at + 1] ?? [], compare, turns));
    runs = merged;
  }
  return runs[0] ?? [];
}

/** Returns both in one order; of equal items those of `left` come first. */
export async function merge<T>(
  left: readonly T[],
  right: readonly T[],
  compare: Compare<T>,
  turns: Turns,
): Promise<T[]> {
  const both: T[] = [];
  let beside = 0;
  for (const item of left) {
    if (turns.isDue) await turns.next();
    for (; beside < right.length && compare(right[beside] as T, item) < 0; beside++)
      both.push(right[beside] as T);
    both.push(item);
  }
  for (; beside < right.length; beside++) {
    if (turns.isDue) await turns.next();
    both.push(right[beside] as T);
  }
  return both;
}

/** Returns all bytes as one array, to which the pieces are copied. Throws "base/aborted". */
export async function joined(pieces: readonly Uint8Array[], turns: Turns): Promise<Uint8Array> {
  // Not zeroed first: that would be a long turn by itself.
  const bytes = Buffer.allocUnsafeSlow(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    if (turns.isDue) await turns.next();
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Returns the SHA-256 of the bytes, hex. Throws "base/aborted". */
export async function sha256(bytes: Uint8Array, turns: Turns): Promise<string> {
  const hash = createHash("sha256");
  for (let at = 0; at < bytes.length; at += HASH_BYTES) {
    if (turns.isDue) await turns.next();
    hash.update(bytes.subarray(at, at + HASH_BYTES));
  }
  return hash.digest("hex");
}
