/**
 * Snappy's raw block format, reading only.
 *
 *   varint length of the result, then elements by their first byte's low two bits
 *   00 literal: length-1 in 6 bits, or 60…63: in the next 1…4 bytes    01 copy: 3 bits length-4, 11 bits distance
 *   10 copy: 6 bits length-1, distance u16 LE                          11 copy: 6 bits length-1, distance u32 LE
 *
 * Source: google/snappy format_description.txt.
 */
import { Fault } from "../../base/fault.js";

/** The result, never more than `bytesMax`. Throws "lakefs/bad-reply". */
export function unsnappy(input: Uint8Array, bytesMax: number): Uint8Array {
  const { value: length, end } = readVarint(input, 0);
  if (length > bytesMax) throw bad("a block is larger than it may be");
  const output = new Uint8Array(length);
  let to = 0;
  for (let at = end; at < input.length; ) {
    const tag = input[at++] as number;
    if ((tag & 3) === 0) {
      const extra = Math.max((tag >> 2) - 59, 0);
      const size = (extra === 0 ? tag >> 2 : littleEndian(input, at, extra)) + 1;
      at += extra;
      if (size > input.length - at || size > length - to) throw bad("a literal runs over");
      output.set(input.subarray(at, at + size), to);
      at += size;
      to += size;
      continue;
    }
    const bytes = [0, 1, 2, 4][tag & 3] as number;
    const size = bytes === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const distance = littleEndian(input, at, bytes) + (bytes === 1 ? (tag >> 5) * 256 : 0);
    at += bytes;
    if (distance === 0 || distance > to || size > length - to) throw bad("a copy runs over");
    for (const stop = to + size; to < stop; to++) output[to] = output[to - distance] as number; // may overlap itself: byte by byte
  }
  if (to !== length) throw bad("a block ends early");
  return output;
}

function littleEndian(input: Uint8Array, at: number, bytes: number): number {
  if (bytes > input.length - at) throw bad("a block is cut");
  let value = 0;
  for (let digit = bytes - 1; digit >= 0; digit--)
    value = value * 256 + (input[at + digit] as number);
  return value;
}

/**
 * An unsigned varint: 7 bits a byte, low bits first. Throws "lakefs/bad-reply" where it is cut or
 * passes 2^53.
 */
export function readVarint(
  input: Uint8Array,
  start: number,
): { readonly value: number; readonly end: number } {
  let value = 0;
  let unit = 1;
  for (let at = start; at < input.length; at++, unit *= 128) {
    const byte = input[at] as number;
    value += (byte & 0x7f) * unit;
    if (value > Number.MAX_SAFE_INTEGER) break;
    if (byte < 0x80) return { value, end: at + 1 };
  }
  throw bad("a number is cut or too large");
}

export function bad(reason: string): Fault {
  return new Fault("lakefs/bad-reply", { call: "readRange", reason });
}
