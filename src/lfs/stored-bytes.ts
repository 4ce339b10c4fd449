/** Reads an LFS object's bytes from our own store. */
import { LIMITS } from "../base/limits.js";
import type { Store, StoreKey } from "../store/store.js";

/**
 * Yields bytes [start, end) of a key in pieces, the next of which is read while one is used. In
 * object storage a piece is a request, so it is larger there. Throws "store/missing".
 */
export async function* storedBytes(
  store: Store,
  key: StoreKey,
  { start, end }: { readonly start: number; readonly end: number },
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const step = store.kind === "disk" ? LIMITS.streamChunkBytes : LIMITS.lfsRangeBytes;
  const left = new AbortController();
  const read = (at: number): Promise<Uint8Array> | undefined => {
    if (at >= end) return undefined;
    const reading = AbortSignal.any([signal, left.signal]);
    const piece = store.readRange(key, at, Math.min(at + step, end), reading);
    piece.catch(() => undefined); // told when its turn comes
    return piece;
  };
  try {
    let next = read(start);
    for (let at = start; next !== undefined; at += step) {
      const piece: Uint8Array = await next;
      next = read(at + step);
      yield piece;
    }
  } finally {
    left.abort();
  }
}
