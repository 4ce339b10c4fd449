// Memory of one session: either a private one (the small calls of `Kernels`) or one ingest, shared
// by the instances of several threads. No data segments and no mutable statics: an instance that
// starts must not overwrite what others wrote.
//
//      0  never used, so that 0 is no buffer
//   1024  session header, below
//   4096  crc-32 tables, 16 KiB          filled by `prepare`, constant afterwards
//  20480  fixed literal/length table, 4 KiB
//  24576  fixed distance table, 1 KiB
//  25600  symbol entries: literal/length 288 words, then distance 32 words
//  32768  spare: see kernels.ts for the private use
// 131072  first allocatable byte
export const SESSION: usize = 1024;
export const CRC_TABLES: usize = 4096;
export const FIXED_LITERALS: usize = 20480;
export const FIXED_DISTANCES: usize = 24576;
export const LITERAL_SYMBOLS: usize = 25600;
export const DISTANCE_SYMBOLS: usize = 25600 + 288 * 4;
export const HEAP_START: usize = 131072;

// Session header, 32-bit words unless said.
export const TOP: usize = SESSION; // next free byte, moved by atomic addition
export const RECORD_COUNT: usize = SESSION + 4; // pack entries seen
export const RECORD_CLAIM: usize = SESSION + 8; // objects the pack's header promises
export const DIRECTORY: usize = SESSION + 12; // pointer to the record directory
export const DIRECTORY_ROOM: usize = SESSION + 16; // blocks the directory can name
export const REF_DELTAS: usize = SESSION + 20;
export const DELTAS: usize = SESSION + 24;
export const KEPT: usize = SESSION + 28; // bytes of chunks that hold inflated data
export const KEEP_MAX: usize = SESSION + 32; // budget for them
// 0: fsck off; 1: on; 2: so that the host sees every odd mode and every symbolic link
export const CHECKS: usize = SESSION + 36;
export const FAULT_CODE: usize = SESSION + 40;
export const FAULT_RECORD: usize = SESSION + 44;
export const HASHED: usize = SESSION + 48; // objects whose id is known
export const REINFLATED: usize = SESSION + 52;
export const RESOLVED: usize = SESSION + 56; // deltas resolved
export const FAMILY_NEXT: usize = SESSION + 60; // shared counter of families handed out
export const FAMILY_COUNT: usize = SESSION + 64;
export const FAMILY_HEAVY: usize = SESSION + 68; // families handed out one by one
export const FAMILIES: usize = SESSION + 72; // record numbers
export const CHILD_STARTS: usize = SESSION + 76; // nodes + 1 positions in CHILDREN
export const CHILDREN: usize = SESSION + 80; // record numbers of deltas, grouped by base
// table of ref-deltas whose base is not known yet; 0: none wait
export const WAITING: usize = SESSION + 84;
export const WAITING_MASK: usize = SESSION + 88;
export const SIBLINGS: usize = SESSION + 92; // next ref-delta that waits for the same base
export const NODES: usize = SESSION + 96; // records and externals
export const LARGE_LIST: usize = SESSION + 100; // deltas and roots too large for an arena
export const LARGE_COUNT: usize = SESSION + 104;
export const LINK_SETS: usize = SESSION + 108; // link sets made so far, at most LINK_SETS_MAX
export const LINK_SET_LIST: usize = SESSION + 112;
export const SHA_CALLS: usize = SESSION + 116;
// record whose type is not what a link says; 0: none (number + 1)
export const LINK_CONFLICT: usize = SESSION + 120;
export const UNWALKED: usize = SESSION + 124;
// Limits, 64-bit (base/limits.ts says why).
export const PARSED_MAX: usize = SESSION + 128; // bytes of a commit, tree or tag
export const DELTA_MAX: usize = SESSION + 136; // bytes of a delta's instructions
export const RESULT_MAX: usize = SESSION + 144; // bytes of what a delta makes
export const HELD_MAX: usize = SESSION + 152; // bytes of an object held in memory
export const CHAIN_MAX: usize = SESSION + 160; // links of a chain, 32-bit
export const OBJECTS_MAX: usize = SESSION + 164; // 32-bit
// three random odd 64-bit numbers: hash tables must not be predictable
export const SEED: usize = SESSION + 168;
// offset of the trailer, 64-bit, once all entries are seen
export const PACK_END: usize = SESSION + 192;
// ref-deltas whose base is no whole object of this pack: list of record numbers
export const LOOSE: usize = SESSION + 204;
export const LOOSE_COUNT: usize = SESSION + 208;
export const EXTERNALS: usize = SESSION + 212;
export const UNCHECKED_COUNT: usize = SESSION + 216;
export const RESOLVING: usize = SESSION + 220; // threads inside pass 2
// calls the hosts made into node:crypto, and node:zlib
export const CRYPTO_CALLS: usize = SESSION + 224;
export const ZLIB_CALLS: usize = SESSION + 228;
export const LINK_EXPECTED: usize = SESSION + 232; // flags of the links to it, see links.ts
export const LINK_SLOTS: usize = SESSION + 236; // places of all link sets made so far
export const LINK_SLOTS_MAX: usize = SESSION + 240;
export const KEEP_SETTING: usize = SESSION + 244; // what KEEP_MAX may grow to
// 64-bit: what this pack has cost, in bytes made (session.ts)
export const WORK: usize = SESSION + 248;
export const SCAN: usize = SESSION + 256; // state of pass 1, see scan.ts
// 1: what lies in the pack was taken in before, and may cost what it costs
export const IS_STORED: usize = SESSION + 512;
export const LINK_SETS_MAX: u32 = 256;

/**
 * Reserves `bytes`, 64-byte aligned, zeroed by nature or not: the caller clears what it reads. 0:
 * four GiB are used up.
 */
export function allocate(bytes: usize): usize {
  const size = <u64>((bytes + 127) & ~63); // 64 spare bytes: kernels overshoot
  const start = <u64>atomic.add<u32>(TOP, <u32>size);
  const end = start + size;
  if (end > 0xffff0000) {
    atomic.sub<u32>(TOP, <u32>size);
    return 0;
  }
  const pages = <i32>((end + 0xffff) >> 16);
  const have = memory.size();
  if (pages > have && memory.grow(pages - have) < 0 && memory.size() < pages) {
    return 0;
  }
  return <usize>start;
}
