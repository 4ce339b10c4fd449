// CRC-32 (slicing by 16) and Adler-32 (SIMD). RFC 1950 §9, RFC 1952 §8.
import { CRC_TABLES } from "./layout";

const POLYNOMIAL: u32 = 0xedb88320;

export function prepareCrc(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
    store<u32>(CRC_TABLES + (byte << 2), value);
  }
  for (let slice: u32 = 1; slice < 16; slice++) {
    for (let byte: u32 = 0; byte < 256; byte++) {
      const before = load<u32>(CRC_TABLES + ((slice - 1) << 10) + (byte << 2));
      store<u32>(
        CRC_TABLES + (slice << 10) + (byte << 2),
        (before >>> 8) ^ load<u32>(CRC_TABLES + ((before & 255) << 2)),
      );
    }
  }
}

// @ts-ignore: decorator
@inline
function slice(value: u32, shift: u32, table: u32): u32 {
  return load<u32>(CRC_TABLES + (table << 10) + (((value >>> shift) & 255) << 2));
}

/** Continues `seed` (0 at the start) over `length` bytes. */
export function crc32(start: usize, length: usize, seed: u32): u32 {
  let crc = ~seed;
  const end = start + length;
  while (end - start >= 16) {
    const a = load<u32>(start) ^ crc;
    const b = load<u32>(start, 4);
    const c = load<u32>(start, 8);
    const d = load<u32>(start, 12);
    crc =
      slice(a, 0, 15) ^
      slice(a, 8, 14) ^
      slice(a, 16, 13) ^
      slice(a, 24, 12) ^
      slice(b, 0, 11) ^
      slice(b, 8, 10) ^
      slice(b, 16, 9) ^
      slice(b, 24, 8) ^
      slice(c, 0, 7) ^
      slice(c, 8, 6) ^
      slice(c, 16, 5) ^
      slice(c, 24, 4) ^
      slice(d, 0, 3) ^
      slice(d, 8, 2) ^
      slice(d, 16, 1) ^
      slice(d, 24, 0);
    start += 16;
  }
  while (start < end) {
    crc = (crc >>> 8) ^ load<u32>(CRC_TABLES + (((crc ^ load<u8>(start)) & 255) << 2));
    start++;
  }
  return ~crc;
}

const MODULUS: u32 = 65521;
/** Bytes that can be summed before `b` could pass 2^32: zlib's NMAX 5552, rounded down to 16. */
const RUN: usize = 5552 & ~15;

// @ts-ignore: decorator
@inline
function sumLanes(v: v128): u32 {
  return (
    i32x4.extract_lane(v, 0) +
    i32x4.extract_lane(v, 1) +
    i32x4.extract_lane(v, 2) +
    i32x4.extract_lane(v, 3)
  );
}

/** Continues `seed` (1 at the start) over `length` bytes. */
export function adler32(start: usize, length: usize, seed: u32): u32 {
  let a = seed & 0xffff;
  let b = seed >>> 16;
  const end = start + length;
  const highWeights = i16x8(16, 15, 14, 13, 12, 11, 10, 9);
  const lowWeights = i16x8(8, 7, 6, 5, 4, 3, 2, 1);
  const ones = i16x8.splat(1);
  while (end - start >= 16) {
    const left: usize = (end - start) & ~15;
    const run = left < RUN ? left : RUN;
    const stop = start + run;
    b += a * <u32>run;
    let sums = i32x4.splat(0); // bytes of this run so far
    let before = i32x4.splat(0); // sum over blocks of the bytes before them
    let weighted = i32x4.splat(0);
    while (start < stop) {
      const block = v128.load(start);
      const low = i16x8.extend_low_i8x16_u(block);
      const high = i16x8.extend_high_i8x16_u(block);
      before = i32x4.add(before, sums);
      sums = i32x4.add(sums, i32x4.dot_i16x8_s(i16x8.add(low, high), ones));
      weighted = i32x4.add(
        weighted,
        i32x4.add(i32x4.dot_i16x8_s(low, highWeights), i32x4.dot_i16x8_s(high, lowWeights)),
      );
      start += 16;
    }
    a += sumLanes(sums);
    b += (sumLanes(before) << 4) + sumLanes(weighted);
    a %= MODULUS;
    b %= MODULUS;
  }
  while (start < end) {
    a += load<u8>(start);
    b += a;
    start++;
  }
  return ((b % MODULUS) << 16) | (a % MODULUS);
}
