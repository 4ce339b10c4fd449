// Tables of the inflate kernel (RFC 1951 §3.2): canonical codes become a root table and, for long
// codes, second-level ones.
//
// Entry of 32 bits: literal     1 | byte << 16 | code bits length      0 | base << 16 | code bits
// << 8 | code and extra bits          base of a length or a distance exceptional   payload << 16 |
// EXCEPTION | flags | … : end of block, no such code, or a second-level table
import { DISTANCE_SYMBOLS, FIXED_DISTANCES, FIXED_LITERALS, LITERAL_SYMBOLS } from "./layout";

export const LITERAL: u32 = 0x80000000;
export const EXCEPTION: u32 = 0x8000;
export const BLOCK_END: u32 = 0x4000;
export const NO_CODE: u32 = 0x2000;
export const LITERAL_BITS: u32 = 10;
export const DISTANCE_BITS: u32 = 8;
const PRECODE_BITS: u32 = 7;

// Scratch of one stream: tables and what the header of a dynamic block is read into.
// 1334 entries at most (enough for 286 symbols, root 10), room for 2048
export const LITERAL_TABLE: usize = 0;
// 402 entries at most (30 symbols, root 8), room for 1024
export const DISTANCE_TABLE: usize = 8192;
export const LENGTHS: usize = 12288; // 320 code lengths and overshoot of the last repeat
const SORTED: usize = 12800; // symbols by length, u16
const COUNTS: usize = 13440; // u16 of each length, then offsets
export const PRECODE_TABLE: usize = 13568; // 128 entries
export const SCRATCH_BYTES: usize = 14336;

export let scratch: usize = 0;

export function setScratch(at: usize): void {
  scratch = at;
}

// Symbols -----------------------------------------------------------------------------------------
/**
 * Base and extra bits of each length and distance symbol (RFC 1951 §3.2.5), as table entries
 * without code bits.
 */
export function prepareInflate(spare: usize): void {
  for (let symbol: u32 = 0; symbol < 256; symbol++)
    store<u32>(LITERAL_SYMBOLS + (symbol << 2), LITERAL | (symbol << 16));
  store<u32>(LITERAL_SYMBOLS + (256 << 2), EXCEPTION | BLOCK_END);
  let base: u32 = 3;
  for (let symbol: u32 = 257; symbol < 285; symbol++) {
    const extra = symbol < 265 ? 0 : (symbol - 261) >> 2;
    store<u32>(LITERAL_SYMBOLS + (symbol << 2), (base << 16) | extra);
    base += 1 << extra;
  }
  store<u32>(LITERAL_SYMBOLS + (285 << 2), 258 << 16);
  store<u32>(LITERAL_SYMBOLS + (286 << 2), EXCEPTION | NO_CODE);
  store<u32>(LITERAL_SYMBOLS + (287 << 2), EXCEPTION | NO_CODE);
  base = 1;
  for (let symbol: u32 = 0; symbol < 30; symbol++) {
    const extra = symbol < 4 ? 0 : (symbol - 2) >> 1;
    store<u32>(DISTANCE_SYMBOLS + (symbol << 2), (base << 16) | extra);
    base += 1 << extra;
  }
  store<u32>(DISTANCE_SYMBOLS + (30 << 2), EXCEPTION | NO_CODE);
  store<u32>(DISTANCE_SYMBOLS + (31 << 2), EXCEPTION | NO_CODE);
  const before = scratch;
  scratch = spare;
  const lengths = spare + LENGTHS;
  memory.fill(lengths, 8, 144);
  memory.fill(lengths + 144, 9, 112);
  memory.fill(lengths + 256, 7, 24);
  memory.fill(lengths + 280, 8, 8);
  buildTable(FIXED_LITERALS, LITERAL_BITS, 1024, lengths, 288, LITERAL_SYMBOLS);
  memory.fill(lengths, 5, 32);
  buildTable(FIXED_DISTANCES, DISTANCE_BITS, 256, lengths, 32, DISTANCE_SYMBOLS);
  scratch = before;
}

// Tables ------------------------------------------------------------------------------------------
/**
 * Symbols with a code, sorted by length then value, into SORTED; counts of lengths into COUNTS.
 * Answers how many.
 */
export function sortSymbols(lengths: usize, count: u32): u32 {
  const counts = scratch + COUNTS;
  const offsets = counts + 64;
  memory.fill(counts, 0, 32);
  for (let symbol: u32 = 0; symbol < count; symbol++) {
    const at = counts + ((<usize>load<u8>(lengths + symbol)) << 1);
    store<u16>(at, load<u16>(at) + 1);
  }
  let sum: u32 = 0;
  for (let length: usize = 1; length < 16; length++) {
    store<u16>(offsets + (length << 1), <u16>sum);
    sum += load<u16>(counts + (length << 1));
  }
  for (let symbol: u32 = 0; symbol < count; symbol++) {
    const length: usize = load<u8>(lengths + symbol);
    if (length == 0) continue;
    const at = offsets + (length << 1);
    const place: usize = load<u16>(at);
    store<u16>(at, <u16>(place + 1));
    store<u16>(scratch + SORTED + (place << 1), <u16>symbol);
  }
  return sum;
}

/** Returns the rest of the code space after all lengths: 0 complete, negative over-subscribed. */
export function spaceLeft(): i32 {
  let left: i32 = 1;
  for (let length: usize = 1; length < 16; length++) {
    left = (left << 1) - <i32>load<u16>(scratch + COUNTS + (length << 1));
    if (left < 0) return left;
  }
  return left;
}

/** The next code of `length` bits, most significant bit last. */
// @ts-ignore: decorator
@inline
function nextCode(code: u32, length: u32): u32 {
  let bit: u32 = 1 << (length - 1);
  while (code & bit) bit >>>= 1;
  return bit ? (code & (bit - 1)) | bit : 0;
}

/**
 * Table of codes up to 15 bits with a root of `rootBits`; longer codes go to second-level tables
 * behind the root. A code of one symbol with one bit is legal (RFC 1951 §3.2.7), so is no code at
 * all: nothing may then use it.
 */
export function buildTable(
  table: usize,
  rootBits: u32,
  room: u32,
  lengths: usize,
  count: u32,
  symbols: usize,
): bool {
  const used = sortSymbols(lengths, count);
  const counts = scratch + COUNTS;
  const left = spaceLeft();
  if (left != 0) {
    if (left < 0 || used > 1 || (used == 1 && load<u16>(counts, 2) != 1)) return false;
    for (let at: usize = 0; at < 1 << rootBits; at++)
      store<u32>(table + (at << 2), EXCEPTION | NO_CODE);
    if (used == 1) {
      const entry = entryOf(load<u32>(symbols + ((<usize>load<u16>(scratch + SORTED)) << 2)), 1);
      for (let at: usize = 0; at < 1 << rootBits; at += 2) store<u32>(table + (at << 2), entry);
    }
    return true;
  }
  let sorted = scratch + SORTED;
  let code: u32 = 0;
  let length: u32 = 1;
  let size: usize = 2; // entries filled so far form a table of `length` bits
  let left0: u32 = load<u16>(counts, 2);
  // Root: fill the table for short codes, then double it with each further bit.
  while (true) {
    while (left0 == 0) {
      if (length == rootBits) break;
      memory.copy(table + (size << 2), table, size << 2);
      size <<= 1;
      length++;
      left0 = load<u16>(counts + ((<usize>length) << 1));
    }
    if (left0 == 0) break;
    store<u32>(
      table + ((<usize>code) << 2),
      entryOf(load<u32>(symbols + ((<usize>load<u16>(sorted)) << 2)), length),
    );
    sorted += 2;
    left0--;
    const following = nextCode(code, length);
    if (following == 0 && code == ((<u32>1) << length) - 1) {
      // The last code: what is left of the root is copies.
      for (; length < rootBits; length++, size <<= 1)
        memory.copy(table + (size << 2), table, size << 2);
      return true;
    }
    code = following;
  }
  return buildSecond(table, rootBits, room, code, sorted, symbols);
}

/**
 * Second-level tables for the codes longer than the root; `code` is the first of them, as a
 * root-length prefix.
 */
function buildSecond(
  table: usize,
  rootBits: u32,
  room: u32,
  first: u32,
  sortedAt: usize,
  symbols: usize,
): bool {
  const counts = scratch + COUNTS;
  const rootMask: u32 = (1 << rootBits) - 1;
  let sorted = sortedAt;
  let code = first;
  let length = rootBits + 1;
  let next: u32 = 1 << rootBits; // first free entry
  let prefix: u32 = 0xffffffff;
  let subBits: u32 = 0;
  let start: u32 = 0;
  while (length < 16) {
    let left: u32 = load<u16>(counts + ((<usize>length) << 1));
    for (; left > 0; left--) {
      if ((code & rootMask) != prefix) {
        prefix = code & rootMask;
        start = next;
        // As many bits as the codes with this prefix need: grow until they fill the table.
        subBits = length - rootBits;
        let filled: u32 = left;
        while (filled < (<u32>1) << subBits && subBits + rootBits < 15) {
          subBits++;
          filled = (filled << 1) + load<u16>(counts + ((<usize>(subBits + rootBits)) << 1));
        }
        next = start + (1 << subBits);
        if (next > room) return false;
        store<u32>(
          table + ((<usize>prefix) << 2),
          (start << 16) | EXCEPTION | (subBits << 8) | rootBits,
        );
      }
      const entry = entryOf(
        load<u32>(symbols + ((<usize>load<u16>(sorted)) << 2)),
        length - rootBits,
      );
      sorted += 2;
      const step: u32 = 1 << (length - rootBits);
      for (let at = code >>> rootBits; at < (<u32>1) << subBits; at += step)
        store<u32>(table + ((<usize>(start + at)) << 2), entry);
      code = nextCode(code, length);
    }
    length++;
  }
  return true;
}

// @ts-ignore: decorator
@inline
function entryOf(symbol: u32, length: u32): u32 {
  // Literals and exceptions carry the code's bits only; lengths carry them twice, once with the
  // extra bits.
  return symbol & (LITERAL | EXCEPTION) ? symbol | length : (symbol + length) | (length << 8);
}

/** 128 entries {symbol << 8 | bits} of the precode whose symbols were just sorted. */
export function fillPrecode(table: usize): void {
  let sorted = scratch + SORTED;
  let code: u32 = 0;
  for (let length: u32 = 1; length <= PRECODE_BITS; length++) {
    for (let left: u32 = load<u16>(scratch + COUNTS + ((<usize>length) << 1)); left > 0; left--) {
      const entry = ((<u32>load<u16>(sorted)) << 8) | length;
      sorted += 2;
      for (let at = code; at < 128; at += 1 << length)
        store<u32>(table + ((<usize>at) << 2), entry);
      code = nextCode(code, length);
    }
  }
}
