/**
 * Entries of one stored pack, read where they lie.
 *
 *   entry = head (git/pack-entry) | zlib stream
 *
 * What is read here was checked when it was ingested, so anything odd is damage ("odb/damaged"),
 * not a client's mistake.
 */
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { OBJECT_TYPE, OID_BYTES } from "../../git/oid.js";
import { EntryHead, readEntryHead } from "../../git/pack-entry.js";
import type { Kernels } from "../../kernels/kernels.js";
import type { PackHandle } from "./handle.js";
import type { Block, BlockCache } from "./block-cache.js";
import { PackLookup } from "./lookup.js";

/** The longest header: 10 bytes of size and 10 of distance, or 20 of id. */
const ENTRY_HEADER_BYTES_MAX = 32;
const CHECKSUM_BYTES = 20;
/**
 * Bytes that zlib adds to data that does not compress: 2 + 4 around it and 5 a stored block, or a
 * little more from other writers.
 */
const ZLIB_SLACK_BYTES = 64;

/** The bytes before an entry's zlib stream. Reused between reads: copy what must last. */
export class EntryHeader extends EntryHead {
  offset = 0;
  /** Offset of the zlib stream in the pack. */
  dataAt = 0;
  /** ref-delta: the base's id. */
  readonly baseOid = new Uint8Array(OID_BYTES);
}

export class PackFile {
  readonly handle: PackHandle;
  readonly lookup: PackLookup;
  readonly slot: number;
  readonly #cache: BlockCache;
  readonly #kernels: Kernels;
  #block: Block | undefined;

  constructor(handle: PackHandle, cache: BlockCache, kernels: Kernels) {
    this.handle = handle;
    this.lookup = new PackLookup(handle);
    this.slot = cache.slot(handle);
    this.#cache = cache;
    this.#kernels = kernels;
  }

  /** Reads the header of the entry at `offset` into `header`. Throws "odb/damaged". */
  readHeader(offset: number, header: EntryHeader): void {
    const bytes = this.#bytesAt(offset, ENTRY_HEADER_BYTES_MAX);
    const at = this.#viewAt;
    try {
      if (!readEntryHead(bytes, at, header, offset - at))
        throw this.damaged(offset, "header is cut");
    } catch (error) {
      throw this.#asDamage(offset, error);
    }
    header.offset = offset;
    header.dataAt = offset + header.end - at;
    if (header.type === OBJECT_TYPE.refDelta)
      header.baseOid.set(bytes.subarray(header.baseAt, header.end));
  }

  /**
   * Inflated bytes of the entry under `header`: the object, or the delta. A copy. Throws
   * "odb/damaged".
   */
  inflate(header: EntryHeader): Uint8Array {
    const { dataAt, size } = header;
    try {
      // Nearly every zlib stream is shorter than what it holds, and most end inside the block they
      // start in: then the end of the entry need not be looked up.
      const head = this.#bytesAt(dataAt, 1).subarray(
        this.#viewAt,
        this.#viewAt + size + ZLIB_SLACK_BYTES,
      );
      const whole =
        this.#kernels.inflate(head, 0, size) ??
        this.#kernels.inflate(this.compressed(header), 0, size);
      if (whole === undefined) throw this.damaged(header.offset, "zlib stream is cut");
      return whole.data;
    } catch (error) {
      throw this.#asDamage(header.offset, error);
    }
  }

  /** Turns a client's mistake in a pushed pack into damage of a stored one. */
  #asDamage(offset: number, error: unknown): unknown {
    return error instanceof Fault && error.code.startsWith("pack/")
      ? this.damaged(offset, error.message)
      : error;
  }

  /** The zlib stream of the entry under `header`: a copy. */
  compressed(header: EntryHeader): Uint8Array {
    const end = this.lookup.endAt(this.lookup.rankOf(header.offset));
    if (end <= header.dataAt) throw this.damaged(header.offset, "entry is empty");
    return this.copy(header.dataAt, end);
  }

  /** Bytes [start, end) of the pack: a copy the caller owns. */
  copy(start: number, end: number): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(end - start);
    this.copyInto(start, bytes);
    return bytes;
  }

  /**
   * Fills `target` with the pack's bytes from `start`: from blocks at hand where it is short, else
   * by one read.
   */
  copyInto(start: number, target: Uint8Array): void {
    if (start < 0 || start + target.length > this.handle.bytes) throw this.damaged(start, "range");
    if (target.length >= LIMITS.packBlockBytes) {
      this.#cache.readInto(this.handle, start, target);
      return;
    }
    for (let filled = 0; filled < target.length; ) {
      const view = this.#bytesAt(start + filled, 1);
      const piece = view.subarray(this.#viewAt, this.#viewAt + target.length - filled);
      target.set(piece, filled);
      filled += piece.length;
    }
  }

  damaged(offset: number, reason: string): Fault {
    return new Fault("odb/damaged", { pack: this.handle.checksum, offset, reason });
  }

  /** Offset of the asked byte in the view returned last. */
  #viewAt = 0;

  /**
   * Bytes around `offset`, valid until the next call, `#viewAt` pointing at it: the whole block, or
   * a joined copy where fewer than `wanted` bytes of the pack would follow in it.
   */
  #bytesAt(offset: number, wanted: number): Uint8Array {
    const limit = this.handle.bytes - CHECKSUM_BYTES;
    if (offset >= this.handle.bytes) throw this.damaged(offset, "beyond the end");
    const number = Math.floor(offset / LIMITS.packBlockBytes);
    const at = offset - number * LIMITS.packBlockBytes;
    const block = this.#blockAt(number);
    if (block.length - at >= wanted || offset + block.length - at >= limit) {
      this.#viewAt = at;
      return block;
    }
    const joined = new Uint8Array(block.length - at + wanted);
    joined.set(block.subarray(at));
    const next = this.#blockAt(number + 1).subarray(0, wanted);
    joined.set(next, block.length - at);
    this.#viewAt = 0;
    return joined.subarray(0, block.length - at + next.length);
  }

  #blockAt(number: number): Uint8Array {
    if (this.#block?.key !== this.#cache.key(this.slot, number))
      this.#block = this.#cache.block(this.handle, this.slot, number);
    return this.#block.bytes;
  }
}
