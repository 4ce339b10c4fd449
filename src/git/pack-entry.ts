/**
 * The head of a pack entry, before its zlib stream.
 *
 *   type and size   1 bit "more", 3 bits type, 4 bits size; then 7 bits a byte, low bits first
 *   ofs-delta       distance back to the base: 7 bits a byte, high bits first, one added before
 *                   each shift
 *   ref-delta       20 bytes of the base's id
 *
 * Source: gitformat-pack(5) "Pack file entry". wasm/scan.ts reads the same in the hot path; tests
 * hold both together.
 */
import { Fault } from "../base/fault.js";
import { OBJECT_TYPE, OID_BYTES } from "./oid.js";

/** Filled anew by each reading: packs have millions of these. */
export class EntryHead {
  /** 1 to 4 whole objects, 6 and 7 deltas. */
  type = 0;
  /** Inflated bytes of the entry: the object, or the delta. */
  size = 0;
  /** Offset of the zlib stream in the bytes. */
  end = 0;
  /** ofs-delta: where in the pack its base starts. */
  baseOffset = 0;
  /** ref-delta: where in the bytes its base's id stands. */
  baseAt = 0;

  get isDelta(): boolean {
    return this.type >= OBJECT_TYPE.ofsDelta;
  }
}

const PACK_HEADER_BYTES = 12;

/**
 * Reads the head at `at` of a pack whose bytes from `origin` on `bytes` holds; false: it goes on
 * beyond them, and `head` is half filled. Throws "pack/bad-entry", "pack/bad-varint".
 */
export function readEntryHead(bytes: Uint8Array, at: number, head: EntryHead, origin = 0): boolean {
  if (at >= bytes.length) return false;
  let byte = bytes[at] as number;
  let next = at + 1;
  head.type = (byte >> 4) & 7;
  if (head.type === 0 || head.type === 5)
    throw new Fault("pack/bad-entry", { type: head.type, offset: origin + at });
  let size = byte & 15;
  for (let unit = 16; byte & 0x80; unit *= 128) {
    if (next >= bytes.length) return false;
    byte = bytes[next++] as number;
    size += (byte & 0x7f) * unit;
    if (size > Number.MAX_SAFE_INTEGER) throw new Fault("pack/bad-varint", { at: next });
  }
  head.size = size;
  if (head.type === OBJECT_TYPE.ofsDelta) return readBaseOffset(bytes, at, next, head, origin);
  head.baseAt = next;
  head.end = head.type === OBJECT_TYPE.refDelta ? next + OID_BYTES : next;
  return head.end <= bytes.length;
}

function readBaseOffset(
  bytes: Uint8Array,
  at: number,
  start: number,
  head: EntryHead,
  origin: number,
): boolean {
  let next = start;
  let back = -1;
  for (let byte = 0x80; byte & 0x80; ) {
    if (next >= bytes.length) return false;
    byte = bytes[next++] as number;
    back = (back + 1) * 128 + (byte & 0x7f); // not a shift: it wraps at 2 GiB
    if (back > Number.MAX_SAFE_INTEGER) throw new Fault("pack/bad-varint", { at: next });
  }
  head.end = next;
  head.baseOffset = origin + at - back;
  if (back === 0 || head.baseOffset < PACK_HEADER_BYTES)
    throw new Fault("pack/bad-entry", { offset: origin + at, back });
  return true;
}
