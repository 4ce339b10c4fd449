/** Objects that were a delta's base or may become one, in one thread's memory: the least recently used go first. */
import { LIMITS } from "../base/limits.js";
import type { StoredObject } from "./object-reader.js";

export class BaseCache {
  readonly #objects = new Map<number, StoredObject>();
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number = LIMITS.deltaBaseCacheBytes) {
    this.#bytesMax = bytesMax;
  }

  /** The object whose entry starts at `offset` of the pack in this `slot`. */
  get(slot: number, offset: number): StoredObject | undefined {
    const key = keyOf(slot, offset);
    const object = this.#objects.get(key);
    if (object === undefined) return undefined;
    this.#objects.delete(key);
    this.#objects.set(key, object);
    return object;
  }

  /** Keeps `object`, unless it alone would take a quarter of the room. */
  set(slot: number, offset: number, object: StoredObject): void {
    const { length } = object.data;
    if (length > this.#bytesMax / 4) return;
    const key = keyOf(slot, offset);
    if (this.#objects.has(key)) return;
    this.#objects.set(key, object);
    this.#bytes += length;
    if (this.#bytes > this.#bytesMax) this.#evict();
  }

  #evict(): void {
    for (const [key, { data }] of this.#objects) {
      this.#objects.delete(key);
      this.#bytes -= data.length;
      if (this.#bytes <= this.#bytesMax) return;
    }
  }
}

/**
 * An entry takes nine bytes at least (one of header, eight of zlib), so no two start in the same eight: 37 bits name any entry of a
 * TiB, which leaves 16 of a double's 53 for the slot (`LIMITS.packSlotsMax`).
 */
function keyOf(slot: number, offset: number): number {
  return slot * 2 ** 37 + Math.floor(offset / 8);
}
