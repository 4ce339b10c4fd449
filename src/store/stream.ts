/** Reads a large content piece by piece, one read ahead where each costs a request. */
import { lookAhead } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Store, StoreKey } from "./store.js";

export interface Range {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/**
 * Bytes of `range` in pieces that are the reader's own: exactly so many, or a Fault. Throws
 * "store/missing".
 */
export async function* readPieces(
  store: Store,
  key: StoreKey,
  { start, end }: Range,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const step = store.kind === "disk" ? LIMITS.streamChunkBytes : LIMITS.lfsRangeBytes;
  const read = (piece: Range) => store.readRange(key, piece.start, piece.end, signal);
  for await (const { result } of lookAhead(piecesOf(start, end, step), read)) yield result;
}

async function* piecesOf(start: number, end: number, step: number): AsyncGenerator<Range> {
  for (let from = start; from < end; from += step)
    yield { start: from, end: Math.min(from + step, end) };
}
