/**
 * All objects of a set of packs, numbered: object `number` is the one at position `number - start`
 * of its pack. Walks keep their marks in arrays over these numbers, so that no id becomes a string
 * on the way.
 *
 * An object that several packs hold has one number, in the first pack of the space's order. That
 * order is by object count, the largest first: nearly every look-up then ends in the first table,
 * and as it is one fixed order, a chain of deltas whose bases are taken from the pack that comes
 * first can never become a circle (each step stays in its pack, where the stored chain has none, or
 * goes to an earlier one).
 */
import { Fault } from "../../base/fault.js";
import type { Oid } from "../../git/oid.js";
import type { PackHandle } from "./handle.js";
import type { PackLookup } from "./lookup.js";

/** No object. */
export const NONE = -1;

/**
 * Most places of the memory of recent look-ups: trees of a history name the same objects again and
 * again.
 */
const RECENT_BITS_MAX = 18;

export class ObjectNumbers<
  P extends { readonly lookup: PackLookup } = { readonly lookup: PackLookup },
> {
  /** In the space's order. */
  readonly packs: readonly P[];
  /** Number of each pack's first object, and the count of all at the end. */
  readonly starts: Float64Array;
  /** Numbers are below this. Objects that several packs hold count several times. */
  readonly size: number;
  /**
   * Number + 1 of the object found last under an id's first bytes; 0: none. Checked against the
   * whole id before it is believed.
   */
  readonly #recent: Uint32Array;

  /** `recentBits`: of the memory of look-ups, which pays for itself after some thousand of them. */
  constructor(packs: readonly P[], recentBits: number = RECENT_BITS_MAX) {
    this.packs = packs;
    this.starts = new Float64Array(packs.length + 1);
    let size = 0;
    packs.forEach((pack, at) => {
      this.starts[at] = size;
      size += pack.lookup.count;
    });
    this.starts[packs.length] = size;
    this.size = size;
    this.#recent = new Uint32Array(1 << Math.min(recentBits, Math.ceil(Math.log2(size + 1))));
  }

  /** Number of the object whose id is at `at` in `bytes`; NONE where no pack holds it. */
  find(bytes: Uint8Array, at: number): number {
    const place =
      ((bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16)) &
      (this.#recent.length - 1);
    const recent = (this.#recent[place] as number) - 1;
    if (recent >= 0 && this.#isAt(recent, bytes, at)) return recent;
    const number = this.#search(bytes, at);
    if (number < 0xffffffff) this.#recent[place] = number + 1;
    return number;
  }

  #isAt(number: number, bytes: Uint8Array, at: number): boolean {
    const pack = this.packIndex(number);
    return (this.packs[pack] as P).lookup.isAt(number - (this.starts[pack] as number), bytes, at);
  }

  #search(bytes: Uint8Array, at: number): number {
    const { packs } = this;
    for (let pack = 0; pack < packs.length; pack++) {
      const position = (packs[pack] as P).lookup.find(bytes, at);
      if (position >= 0) return (this.starts[pack] as number) + position;
    }
    return NONE;
  }

  findOid(oid: Oid): number {
    return this.find(Buffer.from(oid, "hex"), 0);
  }

  /** Throws "odb/missing". */
  need(oid: Oid): number {
    const number = this.findOid(oid);
    if (number === NONE) throw new Fault("odb/missing", { oid });
    return number;
  }

  /** Index in `packs` of the pack that holds object `number`. */
  packIndex(number: number): number {
    const { starts } = this;
    let low = 0;
    let high = this.packs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((starts[middle] as number) <= number) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  pack(number: number): P {
    return this.packs[this.packIndex(number)] as P;
  }

  position(number: number): number {
    return number - (this.starts[this.packIndex(number)] as number);
  }

  oid(number: number): Oid {
    return this.pack(number).lookup.oid(this.position(number));
  }

  /** The 20 bytes of an id: a view of shared memory. */
  oidView(number: number): Buffer {
    return this.pack(number).lookup.oidView(this.position(number));
  }
}

/** The order of a space: largest first, then by checksum so that it is the same everywhere. */
export function inSpaceOrder<H extends PackHandle>(packs: readonly H[]): H[] {
  return [...packs].sort(
    (left, right) =>
      right.objectCount - left.objectCount || (left.checksum < right.checksum ? -1 : 1),
  );
}
