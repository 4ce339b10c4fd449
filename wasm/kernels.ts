// The module: instances share what `prepare` wrote. See src/kernels/wasm.ts (small calls) and
// src/odb/index-pack/session.ts (ingest).
import {
  CHAIN_MAX,
  CHECKS,
  CHILDREN,
  CHILD_STARTS,
  CRYPTO_CALLS,
  DELTAS,
  DELTA_MAX,
  DIRECTORY,
  FAMILY_COUNT,
  FAULT_CODE,
  FAULT_RECORD,
  HASHED,
  HEAP_START,
  HELD_MAX,
  IS_STORED,
  KEEP_MAX,
  KEEP_SETTING,
  KEPT,
  LARGE_COUNT,
  LARGE_LIST,
  LINK_CONFLICT,
  LINK_EXPECTED,
  LINK_SETS_MAX,
  LINK_SET_LIST,
  LINK_SLOTS_MAX,
  LOOSE,
  LOOSE_COUNT,
  OBJECTS_MAX,
  PACK_END,
  PARSED_MAX,
  RECORD_CLAIM,
  RECORD_COUNT,
  REINFLATED,
  RESOLVED,
  RESOLVING,
  RESULT_MAX,
  SCAN,
  SEED,
  SESSION,
  SHA_CALLS,
  SIBLINGS,
  TOP,
  UNCHECKED_COUNT,
  UNWALKED,
  WORK,
  ZLIB_CALLS,
  allocate,
} from "./layout";
import { prepareCrc } from "./checksum";
import {
  SCRATCH_BYTES,
  input,
  inflateWhole as inflateWhole_,
  prepareInflate,
  setScratch,
} from "./inflate";
import { SCHEDULE_BYTES, setSchedule } from "./sha1";
import {
  applyDelta as applyDelta_,
  deltaBaseSize,
  deltaResultSize,
  readDeltaHeader as readDeltaHeader_,
} from "./delta";
import { CHECK_SCRATCH_BYTES, setCheckScratch } from "./check";
import { makeDirectory, makeRecord, recordAt, useRecords } from "./records";
import { openLinkSet, useFirstLinkSet, linksLost } from "./links";
import { prepareScan } from "./scan";
import { setOwnScratch } from "./scan-large";
export { adoptSegment, findGuess, openSegment } from "./segments";
export { currentLinkSet, dropLinkSet } from "./links";

/**
 * Fills the constant tables of a new memory and its header. Once per memory, before any other
 * instance sees it.
 */
export function prepare(): void {
  memory.fill(SESSION, 0, 3072);
  store<u32>(TOP, <u32>HEAP_START);
  prepareCrc();
  prepareInflate(65536);
}

/** Gives this instance its own scratch. Once per instance, before any work. */
export function start(): bool {
  const scratch = allocate(SCRATCH_BYTES + SCHEDULE_BYTES + CHECK_SCRATCH_BYTES);
  if (scratch == 0) return false;
  setScratch(scratch);
  setOwnScratch(scratch);
  setSchedule(scratch + SCRATCH_BYTES);
  setCheckScratch(scratch + SCRATCH_BYTES + SCHEDULE_BYTES);
  useRecords(load<u32>(DIRECTORY));
  return true;
}

export function reserve(bytes: u32): usize {
  return allocate(bytes);
}

// Small calls -------------------------------------------------------------------------------------
export { crc32, adler32 } from "./checksum";
export { hashJobs } from "./sha1";
export { frame } from "./frame";

export function inflateWhole(start: usize, end: usize, target: usize, size: u32): i32 {
  return inflateWhole_(start, end, target, size);
}

/** Returns where the last inflate stopped reading. */
export function inputEnd(): usize {
  return input;
}

export function readDeltaHeader(delta: usize, end: usize): i32 {
  return readDeltaHeader_(delta, end);
}

export function baseSize(): f64 {
  return <f64>deltaBaseSize;
}

export function resultSize(): f64 {
  return <f64>deltaResultSize;
}

export function applyDelta(base: usize, size: u32, end: usize, target: usize): i32 {
  return applyDelta_(base, size, end, target);
}

// Ingest ------------------------------------------------------------------------------------------
/** Makes a prepared memory an ingest's. Limits: base/limits.ts. Seeds: random. */
export function openSession(
  checks: u32,
  keepMax: u32,
  objectsMax: u32,
  chainMax: u32,
  parsedMax: f64,
  deltaMax: f64,
  resultMax: f64,
  heldMax: f64,
  seed1: u64,
  seed2: u64,
  seed3: u64,
): bool {
  store<u32>(CHECKS, checks);
  store<u32>(KEEP_SETTING, keepMax);
  store<u32>(OBJECTS_MAX, objectsMax);
  store<u32>(CHAIN_MAX, chainMax);
  store<u64>(PARSED_MAX, <u64>parsedMax);
  store<u64>(DELTA_MAX, <u64>deltaMax);
  store<u64>(RESULT_MAX, <u64>resultMax);
  store<u64>(HELD_MAX, <u64>heldMax);
  store<u64>(SEED, seed1 | 1);
  store<u64>(SEED, seed2 | 1, 8);
  store<u64>(SEED, seed3 | 1, 16);
  const sets = allocate(LINK_SETS_MAX << 2);
  if (sets == 0) return false;
  memory.fill(sets, 0, LINK_SETS_MAX << 2);
  store<u32>(LINK_SET_LIST, <u32>sets);
  const directory = makeDirectory();
  if (directory == 0) return false;
  store<u32>(DIRECTORY, <u32>directory);
  useRecords(directory);
  return prepareScan(SCAN) && openLinkSet();
}

export { openLinkSet, useFirstLinkSet };
export {
  endSegments,
  scan,
  scanDone,
  scanInLarge,
  scanLargeNext,
  scanPosition,
  flushScan,
} from "./scan";
export { addExternal, linkBases, linkChildren, setExternal, takeWaiting } from "./link";
export { openResolve, resolve } from "./resolve";
export {
  findRecord,
  openLinkCount,
  openLinks,
  sortRecords,
  specialLinkCount,
  specialLinks,
  sweepLinks,
  tableBytesEnd,
  writeIdx,
  writeRev,
  writeTips,
  writeTypes,
} from "./conclude";
export { checkObject, walkObject } from "./check";
export { recordAt, makeRecord };

/**
 * Sets the limits of what may grow with the pack's bytes: inflated data that is kept, and places of
 * link sets.
 */
export function setRoom(keepMax: u32, linkSlotsMax: u32): void {
  const most = load<u32>(KEEP_SETTING);
  store<u32>(KEEP_MAX, keepMax < most ? keepMax : most);
  atomic.store<u32>(LINK_SLOTS_MAX, linkSlotsMax);
}
export function setStored(): void {
  store<u32>(IS_STORED, 1);
}
export function isStored(): bool {
  return load<u32>(IS_STORED) != 0;
}
/** Counts work; answers all of it. */
export function addWork(units: f64): f64 {
  return <f64>(atomic.add<u64>(WORK, <u64>units) + <u64>units);
}
export function recordCount(): u32 {
  return load<u32>(RECORD_COUNT);
}
/** Drops externals or adds entries: the number of records that are entries of the pack. */
export function setRecordCount(count: u32): void {
  store<u32>(RECORD_COUNT, count);
}
export function recordClaim(): u32 {
  return load<u32>(RECORD_CLAIM);
}
export function deltaCount(): u32 {
  return load<u32>(DELTAS);
}
export function hashedCount(): u32 {
  return atomic.load<u32>(HASHED);
}
export function resolvedCount(): u32 {
  return atomic.load<u32>(RESOLVED);
}
export function addResolved(): void {
  atomic.add<u32>(RESOLVED, 1);
  atomic.add<u32>(HASHED, 1);
}
export function reinflatedCount(): u32 {
  return load<u32>(REINFLATED);
}
export function shaCalls(): u32 {
  return load<u32>(SHA_CALLS);
}
export function keptBytes(): u32 {
  return load<u32>(KEPT);
}
export function packEnd(): f64 {
  return <f64>load<u64>(PACK_END);
}
export function faultCode(): u32 {
  return atomic.load<u32>(FAULT_CODE);
}
export function setFault(code: u32): void {
  atomic.store<u32>(FAULT_CODE, code);
}
export function faultRecord(): u32 {
  return load<u32>(FAULT_RECORD);
}
export function loose(): usize {
  return load<u32>(LOOSE);
}
export function looseCount(): u32 {
  return load<u32>(LOOSE_COUNT);
}
export function largeList(): usize {
  return load<u32>(LARGE_LIST);
}
export function largeCount(): u32 {
  return load<u32>(LARGE_COUNT);
}
export function linkConflict(): u32 {
  return load<u32>(LINK_CONFLICT);
}
export function linkExpected(): u32 {
  return load<u32>(LINK_EXPECTED);
}
export function unwalkedCount(): u32 {
  return load<u32>(UNWALKED);
}
export function linksAreLost(): bool {
  return linksLost;
}
export function uncheckedCount(): u32 {
  return load<u32>(UNCHECKED_COUNT);
}
/** Counts threads inside pass 2; answers how many there are now. */
export function enterResolve(): u32 {
  return atomic.add<u32>(RESOLVING, 1) + 1;
}
export function leaveResolve(): u32 {
  return atomic.sub<u32>(RESOLVING, 1) - 1;
}
export function familyCount(): u32 {
  return load<u32>(FAMILY_COUNT);
}
export function childStarts(): usize {
  return load<u32>(CHILD_STARTS);
}
export function children(): usize {
  return load<u32>(CHILDREN);
}
export function siblingAt(record: u32): u32 {
  return load<u32>(<usize>load<u32>(SIBLINGS) + ((<usize>record) << 2));
}
export function addCalls(crypto: u32, zlib: u32): void {
  atomic.add<u32>(CRYPTO_CALLS, crypto);
  atomic.add<u32>(ZLIB_CALLS, zlib);
}
export function cryptoCalls(): u32 {
  return load<u32>(CRYPTO_CALLS);
}
export function zlibCalls(): u32 {
  return load<u32>(ZLIB_CALLS);
}
