// After both passes: the idx (version 2) and rev tables, and what the links say. gitformat-pack(5)
// "Version 2 pack-*.idx files", "pack-*.rev files have the format".
import { DUPLICATE, OK, OUT_OF_MEMORY } from "./errors";
import {
  CHECKS,
  FAULT_RECORD,
  LINK_CONFLICT,
  LINK_EXPECTED,
  LINK_SETS,
  LINK_SETS_MAX,
  LINK_SET_LIST,
  RECORD_COUNT,
  allocate,
} from "./layout";
import {
  LINKED,
  R_CRC,
  R_ID,
  R_OFFSET,
  R_STATE,
  R_TYPE,
  compareIds,
  recordAt,
  sameId,
} from "./records";
import { EXPECT, IS_GITATTRIBUTES, IS_GITMODULES } from "./links";

const BUCKETS: usize = 65536;
const INSERTION_MAX: u32 = 48;
/** Offsets from here on go through the table of 64-bit offsets. */
const SMALL_OFFSET_END: u64 = 0x80000000;

let order: usize = 0; // record numbers by id
let bucketStarts: usize = 0; // first place in `order` of each first-two-bytes value

// @ts-ignore: decorator
@inline
function idAt(place: u32): usize {
  return recordAt(load<u32>(order + ((<usize>place) << 2))) + R_ID;
}

// @ts-ignore: decorator
@inline
function firstTwo(id: usize): usize {
  return ((<usize>load<u8>(id)) << 8) | load<u8>(id, 1);
}

/** Sorts record numbers by id. DUPLICATE (with fsck): two records have one id. */
export function sortRecords(): i32 {
  const count = load<u32>(RECORD_COUNT);
  order = allocate(((<usize>count) << 2) + 4);
  bucketStarts = allocate((BUCKETS + 2) << 2);
  if (order == 0 || bucketStarts == 0) return OUT_OF_MEMORY;
  const starts = bucketStarts;
  memory.fill(starts, 0, (BUCKETS + 2) << 2);
  for (let index: u32 = 0; index < count; index++) {
    const slot = starts + (firstTwo(recordAt(index) + R_ID) << 2);
    store<u32>(slot, load<u32>(slot, 8) + 1, 8);
  }
  for (let bucket: usize = 1; bucket <= BUCKETS + 1; bucket++) {
    store<u32>(
      starts + (bucket << 2),
      load<u32>(starts + (bucket << 2)) + load<u32>(starts + ((bucket - 1) << 2)),
    );
  }
  for (let index: u32 = 0; index < count; index++) {
    const slot = starts + (firstTwo(recordAt(index) + R_ID) << 2);
    const place = load<u32>(slot, 4);
    store<u32>(order + ((<usize>place) << 2), index);
    store<u32>(slot, place + 1, 4);
  }
  for (let bucket: usize = 0; bucket < BUCKETS; bucket++) {
    sortRange(load<u32>(starts + (bucket << 2)), load<u32>(starts + (bucket << 2), 4));
  }
  if (load<u32>(CHECKS) == 0) return OK;
  for (let place: u32 = 1; place < count; place++) {
    if (!sameId(idAt(place - 1), idAt(place))) continue;
    store<u32>(FAULT_RECORD, load<u32>(order + ((<usize>place) << 2)));
    return DUPLICATE;
  }
  return OK;
}

function sortRange(first: u32, end: u32): void {
  if (end - first > INSERTION_MAX) {
    heapSort(first, end - first);
    return;
  }
  for (let at = first + 1; at < end; at++) {
    const index = load<u32>(order + ((<usize>at) << 2));
    const id = recordAt(index) + R_ID;
    let to = at;
    while (to > first && compareIds(idAt(to - 1), id) > 0) {
      store<u32>(order + ((<usize>to) << 2), load<u32>(order + ((<usize>(to - 1)) << 2)));
      to--;
    }
    store<u32>(order + ((<usize>to) << 2), index);
  }
}

/**
 * For a bucket somebody filled on purpose (sixteen bits of an id are cheap to choose): never
 * quadratic.
 */
function heapSort(first: u32, count: u32): void {
  for (let node = count >>> 1; node > 0; node--) sink(first, node - 1, count);
  for (let last = count - 1; last > 0; last--) {
    swapPlaces(first, first + last);
    sink(first, 0, last);
  }
}

function sink(first: u32, start: u32, count: u32): void {
  let node = start;
  while (true) {
    let child = (node << 1) + 1;
    if (child >= count) return;
    if (child + 1 < count && compareIds(idAt(first + child), idAt(first + child + 1)) < 0) child++;
    if (compareIds(idAt(first + node), idAt(first + child)) >= 0) return;
    swapPlaces(first + node, first + child);
    node = child;
  }
}

function swapPlaces(left: u32, right: u32): void {
  const kept = load<u32>(order + ((<usize>left) << 2));
  store<u32>(order + ((<usize>left) << 2), load<u32>(order + ((<usize>right) << 2)));
  store<u32>(order + ((<usize>right) << 2), kept);
}

/** Number of the record with this id, -1 if there is none. Only once the records are sorted. */
export function findRecord(id: usize): i32 {
  const bucket = bucketStarts + (firstTwo(id) << 2);
  let low = load<u32>(bucket);
  let high = load<u32>(bucket, 4);
  while (low < high) {
    const middle = (low + high) >>> 1;
    const found = compareIds(idAt(middle), id);
    if (found == 0) return load<u32>(order + ((<usize>middle) << 2));
    if (found < 0) low = middle + 1;
    else high = middle;
  }
  return -1;
}

// Files -------------------------------------------------------------------------------------------
let tableEnd: usize = 0;

export function tableBytesEnd(): usize {
  return tableEnd;
}

/** The idx up to its two checksums; answers where it starts, 0: no memory. */
export function writeIdx(): usize {
  const count = load<u32>(RECORD_COUNT);
  let large: u32 = 0;
  for (let index: u32 = 0; index < count; index++)
    if (load<u64>(recordAt(index), R_OFFSET) >= SMALL_OFFSET_END) large++;
  const start = allocate(8 + 1024 + <usize>count * 28 + ((<usize>large) << 3) + 64);
  if (start == 0) return 0;
  store<u32>(start, 0x634f74ff); // "\377tOc"
  store<u32>(start, bswap<u32>(2), 4);
  const fan = start + 8;
  for (let byte: usize = 0; byte < 256; byte++) {
    store<u32>(fan + (byte << 2), bswap<u32>(load<u32>(bucketStarts + (((byte + 1) << 8) << 2))));
  }
  const ids = fan + 1024;
  const crcs = ids + <usize>count * 20;
  const offsets = crcs + ((<usize>count) << 2);
  const larges = offsets + ((<usize>count) << 2);
  large = 0;
  for (let place: u32 = 0; place < count; place++) {
    const record = recordAt(load<u32>(order + ((<usize>place) << 2)));
    memory.copy(ids + <usize>place * 20, record + R_ID, 20);
    store<u32>(crcs + ((<usize>place) << 2), bswap<u32>(load<u32>(record, R_CRC)));
    const offset = load<u64>(record, R_OFFSET);
    if (offset < SMALL_OFFSET_END) {
      store<u32>(offsets + ((<usize>place) << 2), bswap<u32>(<u32>offset));
    } else {
      store<u32>(offsets + ((<usize>place) << 2), bswap<u32>(0x80000000 | large));
      store<u64>(larges + ((<usize>large) << 3), bswap<u64>(offset));
      large++;
    }
  }
  tableEnd = larges + ((<usize>large) << 3);
  return start;
}

/**
 * The rev up to its two checksums: "RIDX", version 1, hash id 1 (SHA-1), then index positions in
 * pack order.
 */
export function writeRev(): usize {
  const count = load<u32>(RECORD_COUNT);
  const start = allocate(12 + ((<usize>count) << 2) + 64);
  if (start == 0) return 0;
  store<u32>(start, 0x58444952);
  store<u32>(start, bswap<u32>(1), 4);
  store<u32>(start, bswap<u32>(1), 8);
  for (let place: u32 = 0; place < count; place++) {
    store<u32>(
      start + 12 + ((<usize>load<u32>(order + ((<usize>place) << 2))) << 2),
      bswap<u32>(place),
    );
  }
  tableEnd = start + 12 + ((<usize>count) << 2);
  return start;
}

// Links -------------------------------------------------------------------------------------------
let openCount: u32 = 0;
let openRoom: u32 = 0;
let openList: usize = 0;

export function openLinks(): usize {
  return openList;
}

export function openLinkCount(): u32 {
  return openCount;
}

let specialList: usize = 0;
let specialCount: u32 = 0;
let specialRoom: u32 = 0;

/** Ids that trees call .gitmodules or .gitattributes: entries {id, flags} of 24 bytes. */
export function specialLinks(): usize {
  return specialList;
}

export function specialLinkCount(): u32 {
  return specialCount;
}

/**
 * Looks every link up among the records: those found are marked, the others listed as entries {id,
 * flags} of 24 bytes.
 */
export function sweepLinks(): i32 {
  let sets = load<u32>(LINK_SETS);
  if (sets > LINK_SETS_MAX) sets = LINK_SETS_MAX;
  openCount = openRoom = specialCount = specialRoom = 0;
  for (let number: u32 = 0; number < sets; number++) {
    const set: usize = load<u32>(<usize>load<u32>(LINK_SET_LIST) + ((<usize>number) << 2));
    if (set == 0) continue;
    const table: usize = load<u32>(set);
    const slots = load<u32>(set, 4) + 1;
    for (let slot: u32 = 0; slot < slots; slot++) {
      const entry = table + <usize>slot * 24;
      const flags = load<u32>(entry, 20);
      if (flags == 0) continue;
      if (!sweepOne(entry, flags)) return OUT_OF_MEMORY;
    }
  }
  return OK;
}

function sweepOne(entry: usize, flags: u32): bool {
  if (flags & (IS_GITMODULES | IS_GITATTRIBUTES)) {
    if (specialCount == specialRoom) {
      specialRoom = specialRoom == 0 ? 256 : specialRoom << 1;
      specialList = regrow(specialList, specialCount, specialRoom);
      if (specialList == 0) return false;
    }
    memory.copy(specialList + <usize>specialCount * 24, entry, 24);
    specialCount++;
  }
  const found = findRecord(entry);
  if (found >= 0) return markLinked(found, flags);
  if (openCount == openRoom) {
    openRoom = openRoom == 0 ? 1024 : openRoom << 1;
    openList = regrow(openList, openCount, openRoom);
    if (openList == 0) return false;
  }
  memory.copy(openList + <usize>openCount * 24, entry, 24);
  openCount++;
  return true;
}

function regrow(list: usize, count: u32, room: u32): usize {
  const next = allocate(<usize>room * 24);
  if (next != 0 && count != 0) memory.copy(next, list, <usize>count * 24);
  return next;
}

function markLinked(index: u32, flags: u32): bool {
  const record = recordAt(index);
  store<u8>(record, load<u8>(record, R_STATE) | LINKED, R_STATE);
  const expected = flags & EXPECT;
  if (expected & ~((<u32>1) << load<u8>(record, R_TYPE)) && load<u32>(LINK_CONFLICT) == 0) {
    store<u32>(LINK_CONFLICT, index + 1);
    store<u32>(LINK_EXPECTED, expected);
  }
  return true;
}

/** Types of all objects in the order of ids, a byte each. */
export function writeTypes(to: usize): void {
  const count = load<u32>(RECORD_COUNT);
  for (let place: u32 = 0; place < count; place++) {
    store<u8>(to + place, load<u8>(recordAt(load<u32>(order + ((<usize>place) << 2))), R_TYPE));
  }
}

/**
 * Ids no link leads to, sorted, 20 bytes each; at most `max` are written. Answers how many there
 * are.
 */
export function writeTips(to: usize, max: u32): u32 {
  const count = load<u32>(RECORD_COUNT);
  let found: u32 = 0;
  for (let place: u32 = 0; place < count; place++) {
    const record = recordAt(load<u32>(order + ((<usize>place) << 2)));
    if (load<u8>(record, R_STATE) & LINKED) continue;
    if (found < max) memory.copy(to + <usize>found * 20, record + R_ID, 20);
    found++;
  }
  return found;
}
