// One entry's header, and the record made of it. gitformat-pack(5) "Pack file entry".
import { BAD_DELTA, BAD_ENTRY, BAD_VARINT, NEED_MORE, OK, TOO_LARGE } from "./errors";
import { DELTA_MAX, PARSED_MAX, RESULT_MAX } from "./layout";
import {
  NONE,
  R_BASE,
  R_ENTRY_TYPE,
  R_HEADER,
  R_ID,
  R_OFFSET,
  R_RESULT,
  R_SIZE,
  R_TYPE,
  makeRecord,
} from "./records";
import { S_COUNT, S_DELTAS, S_REF_DELTAS, state } from "./scan-state";
import { deltaResultSize, readDeltaHeader } from "./delta";

export const HEADER_BYTES: u32 = 12;
/** Bytes of an entry's header at most: ten of size, then ten of distance or twenty of id. */
export const ENTRY_HEADER_MAX: usize = 32;

export let entryType: u32 = 0;
export let entrySize: u64 = 0;
let baseDistance: u64 = 0;
let baseId: usize = 0;
export let dataStart: usize = 0;

/**
 * Reads an entry's header at `at`. gitformat-pack(5): type in bits 4 to 6 of the first byte, size
 * in 4 + 7 + 7 … bits.
 */
export function readHeader(at: usize, end: usize, offset: u64): i32 {
  const stop = end - at < ENTRY_HEADER_MAX ? end : at + ENTRY_HEADER_MAX;
  let byte: u32 = load<u8>(at++);
  entryType = (byte >>> 4) & 7;
  entrySize = byte & 15;
  if (entryType == 0 || entryType == 5) return BAD_ENTRY;
  let shift: u64 = 4;
  while (byte & 0x80) {
    if (at >= stop) return NEED_MORE;
    if (shift > 53) return BAD_VARINT;
    byte = load<u8>(at++);
    entrySize |= (<u64>(byte & 0x7f)) << shift;
    shift += 7;
  }
  if (entryType == 6) {
    if (at >= stop) return NEED_MORE;
    byte = load<u8>(at++);
    let distance: u64 = byte & 0x7f;
    while (byte & 0x80) {
      if (at >= stop) return NEED_MORE;
      if (distance > (<u64>1) << 55) return BAD_VARINT;
      byte = load<u8>(at++);
      // the addition leaves no distance two spellings
      distance = ((distance + 1) << 7) | (byte & 0x7f);
    }
    if (distance == 0 || distance > offset - HEADER_BYTES) return BAD_ENTRY;
    baseDistance = distance;
  } else if (entryType == 7) {
    if (stop - at < 20) return NEED_MORE;
    baseId = at;
    at += 20;
  }
  dataStart = at;
  return OK;
}

/** Refuses what is too large before anything is inflated. */
export function checkSize(): i32 {
  const max =
    entryType >= 6 ? load<u64>(DELTA_MAX) : entryType == 3 ? (<u64>1) << 53 : load<u64>(PARSED_MAX);
  return entrySize > max ? TOO_LARGE : OK;
}

/** A record for the entry whose header was just read. */
export function fillRecord(offset: u64, at: usize): usize {
  const index = load<u32>(state, S_COUNT);
  const record = makeRecord(index);
  if (record == 0) return 0;
  store<u64>(record, offset, R_OFFSET);
  store<u64>(record, entrySize, R_SIZE);
  store<u32>(record, NONE, R_BASE);
  store<u8>(record, <u8>entryType, R_ENTRY_TYPE);
  store<u8>(record, <u8>(dataStart - at), R_HEADER);
  if (entryType < 6) store<u8>(record, <u8>entryType, R_TYPE);
  else {
    store<u32>(state, load<u32>(state, S_DELTAS) + 1, S_DELTAS);
    if (entryType == 6) store<u64>(record, offset - baseDistance, R_ID);
    else {
      memory.copy(record + R_ID, baseId, 20);
      store<u32>(state, load<u32>(state, S_REF_DELTAS) + 1, S_REF_DELTAS);
    }
  }
  store<u32>(state, index + 1, S_COUNT);
  return record;
}

/** Reads what a delta says of its result; nothing is made of it yet. */
export function checkDelta(record: usize, data: usize, end: usize): i32 {
  const answer = readDeltaHeader(data, end);
  if (answer != OK) return answer == NEED_MORE ? BAD_DELTA : answer;
  if (deltaResultSize > load<u64>(RESULT_MAX)) return TOO_LARGE;
  store<u32>(record, <u32>deltaResultSize, R_RESULT);
  return OK;
}
