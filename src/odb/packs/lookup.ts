/**
 * Finds where an object lies in one pack: look-ups in an .idx (version 2) and a .rev that sit in
 * shared memory. Pure reads, usable on any thread.
 *
 *   idx   ff 74 4f 63 | 00000002 | fanout 256 × u32 | ids n × 20 | CRC-32 n × u32 | offsets n × u32
 *         | far offsets m × u64 | 2 × SHA-1
 *   rev   "RIDX" | 00000001 | 00000001 | idx positions in pack order n × u32 | 2 × SHA-1
 *
 * All numbers big-endian. An offset with its top bit set is a number in the far table.
 * gitformat-pack(5).
 *
 * "Position" is the place in id order, "rank" the place in pack order.
 */
import { Fault } from "../../base/fault.js";
import { OID_BYTES, type Oid } from "../../git/oid.js";
import type { PackHandle } from "./handle.js";

const IDX_SIGNATURE = 0xff744f63;
const IDX_VERSION = 2;
const FANOUT_AT = 8;
const IDS_AT = FANOUT_AT + 256 * 4;
const REV_SIGNATURE = 0x52494458;
const REV_RANKS_AT = 12;
const FAR = 0x80000000;
const CHECKSUM_BYTES = 20;
/**
 * So many entries' offsets are read for one look-up of a rank, which takes some 17 steps of its
 * own.
 */
const RANKS_WORTH = 64;
/** Header of a pack: "PACK", version, count. */
const PACK_HEADER_BYTES = 12;

export class PackLookup {
  readonly handle: PackHandle;
  readonly count: number;
  /** As PackHandle has it: read, and filled in. */
  readonly types: Uint8Array | undefined;
  readonly #idx: DataView;
  readonly #ids: Uint8Array;
  readonly #rev: DataView;
  readonly #offsetsAt: number;
  readonly #farAt: number;
  readonly #farCount: number;
  /** Rank → offset, and what stands behind the last: made once enough has been asked for. */
  #offsets: Float64Array | undefined;
  #ranksAsked = 0;

  /** Throws "odb/damaged" where the tables do not belong to a pack of this size. */
  constructor(handle: PackHandle) {
    const { idx, rev, types, objectCount: count } = handle;
    this.types = types === undefined ? undefined : new Uint8Array(types);
    this.handle = handle;
    this.count = count;
    this.#idx = new DataView(idx);
    this.#ids = new Uint8Array(idx);
    this.#rev = new DataView(rev);
    this.#offsetsAt = IDS_AT + count * (OID_BYTES + 4);
    this.#farAt = this.#offsetsAt + count * 4;
    this.#farCount = Math.floor((idx.byteLength - 2 * CHECKSUM_BYTES - this.#farAt) / 8);
    this.#checkShape();
  }

  #checkShape(): void {
    const { handle, count } = this;
    const idx = this.#idx;
    const rev = this.#rev;
    const idxFits =
      this.#farCount >= 0 &&
      idx.getUint32(0) === IDX_SIGNATURE &&
      idx.getUint32(4) === IDX_VERSION &&
      idx.getUint32(IDS_AT - 4) === count;
    const revFits =
      rev.byteLength === REV_RANKS_AT + count * 4 + 2 * CHECKSUM_BYTES &&
      rev.getUint32(0) === REV_SIGNATURE;
    if (!idxFits || !revFits)
      throw new Fault("odb/damaged", {
        pack: handle.name ?? handle.checksum,
        file: idxFits ? "rev" : "idx",
      });
  }

  /** Position of the id at `at` in `bytes`, -1 where this pack does not hold it. */
  find(bytes: Uint8Array, at: number): number {
    const idx = this.#idx;
    const first = bytes[at] as number;
    let low = first === 0 ? 0 : idx.getUint32(FANOUT_AT + (first - 1) * 4);
    let high = idx.getUint32(FANOUT_AT + first * 4);
    if (high > this.count) throw this.damaged("fanout");
    const word =
      ((first << 24) |
        ((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number)) >>>
      0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const there = idx.getUint32(IDS_AT + middle * OID_BYTES);
      const order = there === word ? this.#compareRest(middle, bytes, at) : there - word;
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return -1;
  }

  /**
   * Order of the id at `position` against the one in `bytes`, their first four bytes being equal.
   */
  #compareRest(position: number, bytes: Uint8Array, at: number): number {
    const ids = this.#ids;
    const start = IDS_AT + position * OID_BYTES;
    for (let byte = 4; byte < OID_BYTES; byte++) {
      const order = (ids[start + byte] as number) - (bytes[at + byte] as number);
      if (order !== 0) return order;
    }
    return 0;
  }

  /** Returns whether the object at `position` has the id at `at` in `bytes`. */
  isAt(position: number, bytes: Uint8Array, at: number): boolean {
    const ids = this.#ids;
    const start = IDS_AT + position * OID_BYTES;
    for (let byte = 0; byte < OID_BYTES; byte++) {
      if (ids[start + byte] !== bytes[at + byte]) return false;
    }
    return true;
  }

  /** Position in id order of the object that `find` would look for under this hex id. */
  findOid(oid: Oid): number {
    return this.find(Buffer.from(oid, "hex"), 0);
  }

  oid(position: number): Oid {
    return this.oidView(position).toString("hex");
  }

  /** The 20 bytes of an id: a view of shared memory, never to be written. */
  oidView(position: number): Buffer {
    return Buffer.from(this.handle.idx, IDS_AT + position * OID_BYTES, OID_BYTES);
  }

  /** Returns the offset of the entry in the pack. Throws "odb/damaged". */
  offset(position: number): number {
    const near = this.#idx.getUint32(this.#offsetsAt + position * 4);
    const offset = near < FAR ? near : this.#farOffset(near - FAR);
    if (offset < PACK_HEADER_BYTES || offset >= this.handle.bytes - CHECKSUM_BYTES)
      throw this.damaged("idx");
    return offset;
  }

  #farOffset(at: number): number {
    if (at >= this.#farCount) throw this.damaged("idx");
    const offset = this.#idx.getBigUint64(this.#farAt + at * 8);
    if (offset > BigInt(Number.MAX_SAFE_INTEGER)) throw this.damaged("idx");
    return Number(offset);
  }

  /** Position of the object at `rank` in pack order. */
  positionAt(rank: number): number {
    const position = this.#rev.getUint32(REV_RANKS_AT + rank * 4);
    if (position >= this.count) throw this.damaged("rev");
    return position;
  }

  /** Rank of the entry that starts at `offset`. Throws "odb/damaged" where none does. */
  rankOf(offset: number): number {
    if (this.#offsets === undefined && ++this.#ranksAsked * RANKS_WORTH > this.count)
      this.offsets();
    const offsets = this.#offsets;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((offsets === undefined ? this.#startAt(middle) : (offsets[middle] as number)) < offset)
        low = middle + 1;
      else high = middle;
    }
    if (low === this.count || this.#startAt(low) !== offset) throw this.damaged("rev");
    return low;
  }

  #startAt(rank: number): number {
    return this.offset(this.positionAt(rank));
  }

  /**
   * Returns the offsets of all entries, in pack order, and the end of the last one: for callers who
   * ask about many. Throws "odb/damaged".
   */
  offsets(): Float64Array {
    if (this.#offsets !== undefined) return this.#offsets;
    const offsets = new Float64Array(this.count + 1);
    for (let rank = 0; rank < this.count; rank++) offsets[rank] = this.#startAt(rank);
    offsets[this.count] = this.handle.bytes - CHECKSUM_BYTES;
    this.#offsets = offsets;
    return offsets;
  }

  /** Position of the entry that starts at `offset`. */
  positionOf(offset: number): number {
    return this.positionAt(this.rankOf(offset));
  }

  /** Returns the end of the entry at `rank`: where the next starts, or the pack's trailer. */
  endAt(rank: number): number {
    return rank + 1 < this.count
      ? this.offset(this.positionAt(rank + 1))
      : this.handle.bytes - CHECKSUM_BYTES;
  }

  damaged(file: string): Fault {
    return new Fault("odb/damaged", { pack: this.handle.name ?? this.handle.checksum, file });
  }
}
