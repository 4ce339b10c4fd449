/**
 * What stands before the zlib stream of a pack entry.
 *
 *   type and size   1 bit "more", 3 bits type, 4 bits size; then 7 bits a byte, low bits first
 *   ofs-delta       distance back to the base: 7 bits a byte, high bits first, one added before each shift
 *   ref-delta       20 bytes of the base's id
 *
 * Source: gitformat-pack(5) "Pack file entry". wasm/scan.ts reads the same in the hot path; tests hold both together.
 */
import { Fault } from "../base/fault.js";
import { OBJECT_TYPE, OID_BYTES, type Oid, oidAt } from "./oid.js";

export interface EntryHead {
  /** 1 to 4 whole objects, 6 and 7 deltas. */
  readonly type: number;
  /** Inflated bytes of the entry: the object, or the delta. */
  readonly size: number;
  /** Where the zlib stream starts. */
  readonly end: number;
  /** ofs-delta: where in the pack its base starts. */
  readonly baseOffset?: number;
  /** ref-delta: its base. */
  readonly baseOid?: Oid;
}

/**
 * Reads the head at `at` of a pack whose bytes from `origin` on `bytes` holds; undefined: it goes on beyond them.
 * Throws "pack/bad-entry", "pack/bad-varint".
 */
export function readEntryHead(bytes: Uint8Array, at: number, origin = 0): EntryHead | undefined {
  const first = bytes[at];
  if (first === undefined) return undefined;
  const type = (first >> 4) & 7;
  if (type === 0 || type === 5) throw new Fault("pack/bad-entry", { type, offset: origin + at });
  const length = readSize(bytes, at + 1, first);
  if (length === undefined) return undefined;
  const { size, end } = length;
  if (type === OBJECT_TYPE.refDelta) {
    if (bytes.length - end < OID_BYTES) return undefined;
    return { type, size, end: end + OID_BYTES, baseOid: oidAt(bytes, end) };
  }
  if (type !== OBJECT_TYPE.ofsDelta) return { type, size, end };
  const distance = readDistance(bytes, end);
  if (distance === undefined) return undefined;
  const baseOffset = origin + at - distance.back;
  if (distance.back === 0 || baseOffset < 12) throw new Fault("pack/bad-entry", { offset: origin + at, back: distance.back });
  return { type, size, end: distance.end, baseOffset };
}

function readSize(bytes: Uint8Array, start: number, first: number): { size: number; end: number } | undefined {
  let size = first & 15;
  let byte = first;
  let at = start;
  for (let unit = 16; byte & 0x80; unit *= 128) {
    const next = bytes[at++];
    if (next === undefined) return undefined;
    byte = next;
    size += (byte & 0x7f) * unit;
    if (size > Number.MAX_SAFE_INTEGER) throw new Fault("pack/bad-varint", { at });
  }
  return { size, end: at };
}

function readDistance(bytes: Uint8Array, start: number): { back: number; end: number } | undefined {
  let at = start;
  let back = -1;
  for (let more = true; more; ) {
    const byte = bytes[at++];
    if (byte === undefined) return undefined;
    back = (back + 1) * 128 + (byte & 0x7f); // not a shift: it wraps at 2 GiB
    if (back > Number.MAX_SAFE_INTEGER) throw new Fault("pack/bad-varint", { at });
    more = (byte & 0x80) !== 0;
  }
  return { back, end: at };
}
