// One record of 64 bytes for every entry of the pack, in pack order, then one for every base taken
// from elsewhere (externals of a thin pack). In blocks that are made as entries are seen: the count
// in a pack's header is a claim.
//
// 0 offset u64      16 crc u32      40 data, 0: not kept    48 entry type u8     52 result size u32
// (deltas) 8 size u64        20 id, 20 B     44 base record          49 final type u8     56 weight
// u32 of the entry       (see below)                          50 header length u8  60 state u8:
// hashed, linked… 51 flags u8 Before a delta is resolved `id` holds what names its base: the base's
// offset (u64) or its object id.
import { OBJECTS_MAX, allocate } from "./layout";

export const R_OFFSET: usize = 0;
export const R_SIZE: usize = 8;
export const R_CRC: usize = 16;
export const R_ID: usize = 20;
export const R_DATA: usize = 40;
export const R_BASE: usize = 44;
export const R_ENTRY_TYPE: usize = 48;
export const R_TYPE: usize = 49;
export const R_HEADER: usize = 50;
export const R_FLAGS: usize = 51;
export const R_RESULT: usize = 52;
export const R_WEIGHT: usize = 56;
export const R_STATE: usize = 60;

export const RECORD_BYTES: u32 = 64;
const BLOCK_SHIFT: u32 = 12;
const BLOCK_MASK: u32 = (1 << BLOCK_SHIFT) - 1;

/** Flag: a commit, tree or tag too large to be checked as it came. */
export const UNCHECKED: u8 = 1;
/** State bits. */
export const KNOWN: u8 = 1; // its id is known
export const LINKED: u8 = 2; // another object of this pack links to it

export const NONE: u32 = 0xffffffff;

/** Pointers to blocks: the pack's, or a segment's own while it is scanned. */
let directory: usize = 0;

export function useRecords(at: usize): void {
  directory = at;
}

/** A new, empty directory; 0: no memory. */
export function makeDirectory(): usize {
  // twice the objects: externals come on top
  const blocks: u32 = (load<u32>(OBJECTS_MAX) >>> (BLOCK_SHIFT - 1)) + 2;
  const at = allocate((<usize>blocks) << 2);
  if (at != 0) memory.fill(at, 0, (<usize>blocks) << 2);
  return at;
}

// @ts-ignore: decorator
@inline
export function recordAt(index: u32): usize {
  const block: usize = load<u32>(directory + ((<usize>(index >>> BLOCK_SHIFT)) << 2));
  return block + ((<usize>(index & BLOCK_MASK)) << 6);
}

/** A cleared record; its block is made if it is the first of it. 0: no memory. */
export function makeRecord(index: u32): usize {
  const slot = directory + ((<usize>(index >>> BLOCK_SHIFT)) << 2);
  if (load<u32>(slot) == 0) {
    const block = allocate((<usize>RECORD_BYTES) << BLOCK_SHIFT);
    if (block == 0) return 0;
    store<u32>(slot, <u32>block);
  }
  const record = recordAt(index);
  memory.fill(record, 0, RECORD_BYTES);
  return record;
}

// @ts-ignore: decorator
@inline
export function sameId(left: usize, right: usize): bool {
  return (
    load<u64>(left) == load<u64>(right) &&
    load<u64>(left, 8) == load<u64>(right, 8) &&
    load<u32>(left, 16) == load<u32>(right, 16)
  );
}

/** Order of two ids, bytewise: negative, zero, positive. */
// @ts-ignore: decorator
@inline
export function compareIds(left: usize, right: usize): i32 {
  let a = bswap<u64>(load<u64>(left));
  let b = bswap<u64>(load<u64>(right));
  if (a != b) return a < b ? -1 : 1;
  a = bswap<u64>(load<u64>(left, 8));
  b = bswap<u64>(load<u64>(right, 8));
  if (a != b) return a < b ? -1 : 1;
  const c = bswap<u32>(load<u32>(left, 16));
  const d = bswap<u32>(load<u32>(right, 16));
  return c == d ? 0 : c < d ? -1 : 1;
}
