/** Objects that were a delta's base or may become one, in one thread's memory: the least recently used go first. */
import { LIMITS } from "../base/limits.js";
import type { StoredObject } from "./object-reader.js";

/** What an object takes beside its data, in the map, in V8's heap and in malloc's: 400 to 590 bytes were measured. Commits are no longer than that. */
const OBJECT_BYTES = 500;

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
    const bytes = bytesOf(object);
    if (bytes > this.#bytesMax / 4) return;
    const key = keyOf(slot, offset);
    if (this.#objects.has(key)) return;
    this.#objects.set(key, object);
    this.#bytes += bytes;
    if (this.#bytes > this.#bytesMax) this.#evict();
  }

  #evict(): void {
    for (const [key, object] of this.#objects) {
      this.#objects.delete(key);
      this.#bytes -= bytesOf(object);
      if (this.#bytes <= this.#bytesMax) return;
    }
  }
}

function bytesOf({ data }: StoredObject): number {
  return data.length + OBJECT_BYTES;
}

/**
 * An entry takes nine bytes at least (one of header, eight of zlib), so no two start in the same eight: 37 bits name any entry of a
 * TiB, which leaves 16 of a double's 53 for the slot (`LIMITS.packSlotsMax`).
 */
function keyOf(slot: number, offset: number): number {
  return slot * 2 ** 37 + Math.floor(offset / 8);
}
