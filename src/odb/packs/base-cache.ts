/**
 * Objects that were a delta's base or may become one, in one thread's memory. They lie in one ring,
 * the new ones written over those kept longest: as arrays of their own each would take some 500
 * bytes beside its data, and all of them lie in ever more places.
 */
import { LIMITS } from "../../base/limits.js";
import { OBJECT_TYPE, typeName, type ObjectType } from "../../git/oid.js";
import type { StoredObject } from "./stored-object.js";

/**
 * Bytes of the ring for an object on average, its place in the tables aside; where there are more
 * smaller ones, some room stays unused.
 */
const OBJECT_BYTES = 192;
const NONE = -1;

export class BaseCache {
  readonly #bytesMax: number;
  #ring: Ring | undefined;

  constructor(bytesMax: number = LIMITS.deltaBaseCacheBytes) {
    this.#bytesMax = bytesMax;
  }

  /**
   * The object whose entry starts at `offset` of the pack in this `slot`. Its data is a view, valid
   * until the next call.
   */
  get(slot: number, offset: number): StoredObject | undefined {
    return this.#ring?.get(highOf(slot, offset), lowOf(offset));
  }

  /** Keeps a copy of `object`, unless it alone would take a quarter of the room. */
  set(slot: number, offset: number, object: StoredObject): void {
    if (object.data.length > this.#bytesMax / 4) return;
    this.#ring ??= new Ring(this.#bytesMax); // threads that read no packs have none
    this.#ring.set(highOf(slot, offset), lowOf(offset), object.type, object.data);
  }
}

/**
 * An entry takes nine bytes at least (one of header, eight of zlib), so no two start in the same
 * eight: 37 bits name any entry of a TiB, which leaves 27 of 64 for the slot (`LIMITS.packSlotsMax`
 * needs 16).
 */
function highOf(slot: number, offset: number): number {
  return slot * 32 + Math.floor(offset / 2 ** 35);
}

function lowOf(offset: number): number {
  return Math.floor(offset / 8) >>> 0;
}

/**
 * Data in a ring of bytes, and a ring of records that tell where; records are found by their key in
 * buckets of chained ones. The oldest record's data is what is written over next. A record that is
 * asked for in the older half is written anew, so that what is in use stays.
 */
class Ring {
  readonly #bytes: Uint8Array;
  readonly #places: number;
  readonly #high: Uint32Array;
  readonly #low: Uint32Array;
  readonly #start: Uint32Array;
  readonly #length: Uint32Array;
  readonly #type: Uint8Array;
  /** Bucket → its first record, record → the next of its bucket. */
  readonly #heads: Int32Array;
  readonly #next: Int32Array;
  readonly #shift: number;
  /** Record numbers run on and on; modulo `#places` they are places. */
  #first = 0;
  #end = 0;
  #writeAt = 0;

  constructor(bytesMax: number) {
    this.#bytes = new Uint8Array(bytesMax);
    this.#places = Math.ceil(bytesMax / OBJECT_BYTES);
    [this.#high, this.#low, this.#start, this.#length] = [
      this.#column(),
      this.#column(),
      this.#column(),
      this.#column(),
    ];
    this.#type = new Uint8Array(this.#places);
    const bits = Math.max(1, Math.ceil(Math.log2(this.#places)));
    this.#heads = new Int32Array(2 ** bits).fill(NONE);
    this.#next = new Int32Array(this.#places);
    this.#shift = 32 - bits;
  }

  #column(): Uint32Array {
    return new Uint32Array(this.#places);
  }

  get(high: number, low: number): StoredObject | undefined {
    const place = this.#find(high, low);
    if (place === NONE) return undefined;
    const type = typeName(this.#type[place] as number) as ObjectType;
    const start = this.#start[place] as number;
    const data = this.#bytes.subarray(start, start + (this.#length[place] as number));
    if (!this.#isOld(place)) return { type, data };
    const copy = data.slice();
    this.#remove(place);
    this.#add(high, low, OBJECT_TYPE[type], copy);
    return { type, data: copy };
  }

  set(high: number, low: number, type: ObjectType, data: Uint8Array): void {
    if (this.#find(high, low) === NONE) this.#add(high, low, OBJECT_TYPE[type], data);
  }

  #add(high: number, low: number, type: number, data: Uint8Array): void {
    const start = this.#makeRoom(data.length);
    const place = this.#end++ % this.#places;
    const bucket = this.#bucketOf(high, low);
    this.#high[place] = high;
    this.#low[place] = low;
    this.#start[place] = start;
    this.#length[place] = data.length;
    this.#type[place] = type;
    this.#next[place] = this.#heads[bucket] as number;
    this.#heads[bucket] = place;
    this.#bytes.set(data, start);
    this.#writeAt = start + data.length;
  }

  /** Finds room for `length` bytes in a row, and a free place; records that were kept there go. */
  #makeRoom(length: number): number {
    if (this.#end - this.#first === this.#places) this.#dropFirst();
    let start = this.#writeAt;
    if (start + length > this.#bytes.length) {
      // Around: what lies behind is older than all that lies at the start.
      while (this.#first < this.#end && this.#firstStart >= start) this.#dropFirst();
      start = 0;
    }
    while (
      this.#first < this.#end &&
      this.#firstStart >= start &&
      this.#firstStart < start + length
    )
      this.#dropFirst();
    return start;
  }

  get #firstStart(): number {
    return this.#start[this.#first % this.#places] as number;
  }

  #dropFirst(): void {
    this.#remove(this.#first % this.#places);
    this.#first++;
  }

  /** Returns whether as many records are newer as older. */
  #isOld(place: number): boolean {
    const age = (((this.#end - 1 - place) % this.#places) + this.#places) % this.#places;
    return age > (this.#end - this.#first) / 2;
  }

  #find(high: number, low: number): number {
    let place = this.#heads[this.#bucketOf(high, low)] as number;
    while (place !== NONE && (this.#low[place] !== low || this.#high[place] !== high))
      place = this.#next[place] as number;
    return place;
  }

  /** From its bucket: once only, a record removed before its turn is in none. */
  #remove(place: number): void {
    const bucket = this.#bucketOf(this.#high[place] as number, this.#low[place] as number);
    if (this.#heads[bucket] === place) {
      this.#heads[bucket] = this.#next[place] as number;
      return;
    }
    for (let at = this.#heads[bucket] as number; at !== NONE; at = this.#next[at] as number) {
      if (this.#next[at] !== place) continue;
      this.#next[at] = this.#next[place] as number;
      return;
    }
  }

  #bucketOf(high: number, low: number): number {
    return (Math.imul(low, 0x9e3779b1) ^ Math.imul(high + 1, 0x85ebca6b)) >>> this.#shift;
  }
}
