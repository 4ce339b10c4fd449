// Pass 1: the entries of a pack in the order they arrive. Each is inflated, its checksums taken, whole objects are hashed in
// batches of four lanes and looked at, deltas kept inflated within a budget. All state lies in memory: the thread that
// takes the next slice need not be the one that took the last. gitformat-pack(5) "Pack file entry".
import {
  BAD_COUNT, BAD_DELTA, BAD_ENTRY, BAD_SIGNATURE, BAD_VARINT, NEED_MORE, OK, OUT_OF_MEMORY, OUTPUT_FULL, REFUSED, SIZE_MISMATCH, TOO_LARGE, YIELD,
} from "./errors";
import {
  DELTAS, DELTA_MAX, FAULT_RECORD, HASHED, HELD_MAX, KEEP_MAX, KEPT, OBJECTS_MAX, PACK_END, PARSED_MAX, RECORD_CLAIM, RECORD_COUNT, REF_DELTAS,
  RESULT_MAX, SCAN, SHA_CALLS, UNCHECKED_COUNT, UNWALKED, allocate,
} from "./layout";
import {
  KNOWN, R_BASE, R_CRC, R_DATA, R_ENTRY_TYPE, R_FLAGS, R_HEADER, R_ID, R_OFFSET, R_RESULT, R_SIZE, R_STATE, R_TYPE, NONE, UNCHECKED, makeRecord, recordAt,
} from "./records";
import { FRAME_AFTER, FRAME_BEFORE, frame, pad, writeHeader } from "./frame";
import { SCRATCH_BYTES, STATE_BYTES, inflateSome, inflateWhole, input, output, setScratch, startResumable } from "./inflate";
import { continueStream, endStream, hashJobs, startStream } from "./sha1";
import { deltaResultSize, readDeltaHeader } from "./delta";
import { crc32 } from "./checksum";
import { checkObject, countUnwalkedAt } from "./check";

// State of one scan: a whole pack's, or that of a segment of a file that several threads read (segments.ts).
const PHASE: usize = 0; // 0 the pack's header, 1 entries, 2 all entries seen
const POSITION: usize = 8; // u64: offset in the pack of the next byte
const JOBS: usize = 16;
const JOB_COUNT: usize = 20;
const JOB_BYTES: usize = 24;
const ROOM_AT: usize = 28; // where the next object goes
const ROOM_END: usize = 32;
const KEEPING: usize = 36; // 1: what lies in this room stays
const RING: usize = 40; // the room that is used again and again once the budget is spent
const IN_LARGE: usize = 44; // 1: inside an entry that is taken in pieces
const LARGE_RECORD: usize = 48;
const LARGE_STATE: usize = 52; // inflate state, then sha-1 state, then inflate scratch
const LARGE_ROOM: usize = 56; // 32 KiB of history and the fresh output
const LARGE_TARGET: usize = 60; // where fresh output goes
const LARGE_HASH_AT: usize = 64; // first byte not hashed
const LARGE_TOTAL: usize = 72; // u64: bytes made so far
const LARGE_MESSAGE: usize = 80; // u64: bytes of the message, header included
const WHOLE_MAX: usize = 88; // u64: larger entries are taken in pieces
export const S_COUNT: usize = 96; // entries seen
export const S_CLAIM: usize = 100; // objects the pack's header promises
export const S_DELTAS: usize = 104;
export const S_REF_DELTAS: usize = 108;
export const S_UNCHECKED: usize = 112;
export const S_UNWALKED: usize = 116;
const STOPS: usize = 120; // u64s, ascending: a segment ends where its position equals one; 0: none
export const S_BYTES: usize = 128;

let state: usize = SCAN;

const JOBS_MAX: u32 = 2048;
const BATCH_BYTES: u32 = 4 << 20;
/** Entries above this are taken in pieces: whole ones must fit in the window and in a room. */
const WHOLE_BYTES: u64 = 512 << 10;
const ROOM_BYTES: usize = 4 << 20;
const HISTORY: usize = 32 << 10;
const FRESH: usize = 256 << 10;
const SLICE_OUTPUT: u64 = 8 << 20;

const HEADER_BYTES: u32 = 12;
/** Bytes of an entry's header at most: ten of size, then ten of distance or twenty of id. */
const ENTRY_HEADER_MAX: usize = 32;

/** Makes `at` a scan that has seen nothing, and the one this instance works on. */
export function prepareScan(at: usize): bool {
  useScan(at);
  memory.fill(at, 0, S_BYTES);
  const jobs = allocate(<usize>JOBS_MAX << 4);
  if (jobs == 0) return false;
  store<u32>(state, <u32>jobs, JOBS);
  store<u64>(state, WHOLE_BYTES, WHOLE_MAX);
  return true;
}

/** The scan this instance works on from now on. */
export function useScan(at: usize): void {
  state = at;
  countUnwalkedAt(at == SCAN ? UNWALKED : at + S_UNWALKED);
}

/** Makes the prepared scan one of a segment: from `offset` on, up to the first of `stops` (u64, ascending) it meets exactly. */
export function startSegment(offset: f64, stops: usize): void {
  store<u64>(state, <u64>offset, POSITION);
  store<u32>(state, <u32>stops, STOPS);
  store<u32>(state, 0xffffffff, S_CLAIM);
  if (offset > 0) store<u32>(state, 1, PHASE);
}

/** Ends the whole pack's scan at `offset`, its entries having come as segments. */
export function endSegments(offset: f64): void {
  useScan(SCAN);
  store<u64>(state, <u64>offset, POSITION);
  store<u32>(state, load<u32>(RECORD_CLAIM), S_CLAIM);
  store<u64>(PACK_END, <u64>offset);
  store<u32>(state, 2, PHASE);
  publish();
}

/** Offset of the next byte pass 1 wants. */
export function scanPosition(): f64 {
  return <f64>load<u64>(state, POSITION);
}

export function scanDone(): bool {
  return load<u32>(state, PHASE) == 2;
}

/** True inside an entry that is taken in pieces: more bytes are always welcome. */
export function scanInLarge(): bool {
  return load<u32>(state, IN_LARGE) != 0;
}

/**
 * Takes bytes of the pack that lie from `start` to `end`, the first at scanPosition(). `final`: the spool ends there.
 * YIELD: call again from scanPosition(); NEED_MORE: the next entry goes on beyond `end`.
 */
export function scan(start: usize, end: usize, final: bool): i32 {
  const answer = scanSome(start, end, final);
  if (state == SCAN) publish();
  return answer;
}

/** What the later passes read of a whole pack's scan. */
function publish(): void {
  store<u32>(RECORD_COUNT, load<u32>(state, S_COUNT));
  store<u32>(RECORD_CLAIM, load<u32>(state, S_CLAIM));
  store<u32>(DELTAS, load<u32>(state, S_DELTAS));
  store<u32>(REF_DELTAS, load<u32>(state, S_REF_DELTAS));
  store<u32>(UNCHECKED_COUNT, load<u32>(state, S_UNCHECKED));
}

function scanSome(start: usize, end: usize, final: bool): i32 {
  let at = start;
  if (load<u32>(state, PHASE) == 0) {
    const answer = scanHeader(at, end);
    if (answer != OK) return answer;
    at += HEADER_BYTES;
  }
  let made: u64 = 0;
  while (load<u32>(state, PHASE) == 1) {
    if (atStop()) {
      store<u32>(state, 2, PHASE);
      break;
    }
    if (load<u32>(state, S_COUNT) == load<u32>(state, S_CLAIM) && load<u32>(state, IN_LARGE) == 0) {
      store<u64>(PACK_END, load<u64>(state, POSITION));
      store<u32>(state, 2, PHASE);
      break;
    }
    const before = load<u64>(state, POSITION);
    const answer = load<u32>(state, IN_LARGE) != 0 ? goOnLarge(at, end, final) : scanEntry(at, end, final);
    at += <usize>(load<u64>(state, POSITION) - before);
    if (answer != OK) {
      if (answer >= BAD_SIGNATURE && load<u32>(FAULT_RECORD) == 0) store<u32>(FAULT_RECORD, load<u32>(state, S_COUNT));
      return answer;
    }
    made += lastMade;
    if (made > SLICE_OUTPUT) return YIELD;
  }
  return OK;
}

/** Whether a segment has come to where another one starts. One it ran past was a wrong guess. */
function atStop(): bool {
  let stop: usize = load<u32>(state, STOPS);
  if (stop == 0 || load<u32>(state, IN_LARGE) != 0) return false;
  const position = load<u64>(state, POSITION);
  while (load<u64>(stop) < position) stop += 8;
  store<u32>(state, <u32>stop, STOPS);
  return load<u64>(stop) == position;
}

let lastMade: u64 = 0;

function scanHeader(at: usize, end: usize): i32 {
  if (end - at < HEADER_BYTES) return NEED_MORE;
  const version = bswap<u32>(load<u32>(at, 4));
  if (load<u32>(at) != 0x4b434150 || (version != 2 && version != 3)) return BAD_SIGNATURE;
  const count = bswap<u32>(load<u32>(at, 8));
  if (count > load<u32>(OBJECTS_MAX)) return TOO_LARGE;
  if (load<u32>(state, STOPS) == 0) store<u32>(state, count, S_CLAIM);
  store<u32>(RECORD_CLAIM, count);
  store<u64>(state, HEADER_BYTES, POSITION);
  store<u32>(state, 1, PHASE);
  return OK;
}

// One entry -------------------------------------------------------------------------------------------------------------
let entryType: u32 = 0;
let entrySize: u64 = 0;
let baseDistance: u64 = 0;
let baseId: usize = 0;
let dataStart: usize = 0;

/** Reads an entry's header at `at`. gitformat-pack(5): type in bits 4 to 6 of the first byte, size in 4 + 7 + 7 … bits. */
function readHeader(at: usize, end: usize, offset: u64): i32 {
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
      if (distance > <u64>1 << 55) return BAD_VARINT;
      byte = load<u8>(at++);
      distance = ((distance + 1) << 7) | (byte & 0x7f); // the addition leaves no distance two spellings
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
function checkSize(): i32 {
  const max = entryType >= 6 ? load<u64>(DELTA_MAX) : entryType == 3 ? <u64>1 << 53 : load<u64>(PARSED_MAX);
  return entrySize > max ? TOO_LARGE : OK;
}

function scanEntry(at: usize, end: usize, final: bool): i32 {
  lastMade = 0;
  if (at >= end || (!final && end - at < ENTRY_HEADER_MAX)) return NEED_MORE;
  const offset = load<u64>(state, POSITION);
  let answer = readHeader(at, end, offset);
  if (answer == OK) answer = checkSize();
  if (answer != OK) return answer;
  if (entrySize > load<u64>(state, WHOLE_MAX)) return startLarge(at, offset);
  const size = <usize>entrySize;
  const data = findRoom(size);
  if (data == 0) return OUT_OF_MEMORY;
  answer = inflateWhole(dataStart, end, data, size);
  if (answer != OK) return answer;
  const record = fillRecord(offset, at);
  if (record == 0) return OUT_OF_MEMORY;
  store<u32>(record, crc32(at, input - at, 0), R_CRC);
  lastMade = entrySize;
  store<u64>(state, offset + (input - at), POSITION);
  return entryType >= 6 ? keepDelta(record, data, size) : keepWhole(record, data, size);
}

/** Too long for the window though its size is small (much compressed data for few bytes): take it in pieces. */
export function scanLargeNext(): void {
  store<u64>(state, 0, WHOLE_MAX);
}

/** A record for the entry whose header was just read. */
function fillRecord(offset: u64, at: usize): usize {
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

/** Room for `size` bytes of data with what framing needs around them; where the data goes. 0: no memory. */
function findRoom(size: usize): usize {
  const need = FRAME_BEFORE + ((size + FRAME_AFTER + 31) & ~31);
  let at: usize = load<u32>(state, ROOM_AT);
  if (<usize>load<u32>(state, ROOM_END) - at < need) {
    if (!nextRoom()) return 0;
    at = load<u32>(state, ROOM_AT);
  }
  store<u32>(state, <u32>(at + need), ROOM_AT);
  return at + FRAME_BEFORE;
}

/** The room that was just found is not needed. */
// @ts-ignore: decorator
@inline
function giveRoomBack(data: usize): void {
  store<u32>(state, <u32>(data - FRAME_BEFORE), ROOM_AT);
}

function nextRoom(): bool {
  const bytes: usize = ROOM_BYTES + <usize>WHOLE_BYTES;
  if (atomic.load<u32>(KEPT) + <u32>ROOM_BYTES <= load<u32>(KEEP_MAX)) {
    const room = allocate(ROOM_BYTES);
    if (room == 0) return false;
    atomic.add<u32>(KEPT, <u32>ROOM_BYTES);
    store<u32>(state, 1, KEEPING);
    store<u32>(state, <u32>room, ROOM_AT);
    store<u32>(state, <u32>(room + ROOM_BYTES), ROOM_END);
    return true;
  }
  flushScan();
  if (load<u32>(state, RING) == 0) {
    const ring = allocate(bytes);
    if (ring == 0) return false;
    store<u32>(state, <u32>ring, RING);
  }
  store<u32>(state, 0, KEEPING);
  store<u32>(state, load<u32>(state, RING), ROOM_AT);
  store<u32>(state, load<u32>(state, RING) + <u32>bytes, ROOM_END);
  return true;
}

function keepDelta(record: usize, data: usize, size: usize): i32 {
  const answer = checkDelta(record, data, data + size);
  if (load<u32>(state, KEEPING) != 0) store<u32>(record, <u32>data, R_DATA);
  else giveRoomBack(data);
  return answer;
}

/** Reads what a delta says of its result; nothing is made of it yet. */
function checkDelta(record: usize, data: usize, end: usize): i32 {
  const answer = readDeltaHeader(data, end);
  if (answer != OK) return answer == NEED_MORE ? BAD_DELTA : answer;
  if (deltaResultSize > load<u64>(RESULT_MAX)) return TOO_LARGE;
  store<u32>(record, <u32>deltaResultSize, R_RESULT);
  return OK;
}

function keepWhole(record: usize, data: usize, size: usize): i32 {
  const index = load<u32>(state, S_COUNT) - 1;
  if (load<u32>(state, KEEPING) != 0) store<u32>(record, <u32>data, R_DATA);
  const count = load<u32>(state, JOB_COUNT);
  frame(<usize>load<u32>(state, JOBS) + (<usize>count << 4), entryType, data, size, record + R_ID, index);
  store<u32>(state, count + 1, JOB_COUNT);
  const bytes = load<u32>(state, JOB_BYTES) + <u32>size;
  store<u32>(state, bytes, JOB_BYTES);
  if (!checkObject(index, entryType, data, size)) {
    store<u32>(FAULT_RECORD, index);
    return REFUSED;
  }
  if (count + 1 == JOBS_MAX || bytes >= BATCH_BYTES) flushScan();
  return OK;
}

/** Hashes what waits. Every slice ends with it, so that objects are known while the client still sends. */
export function flushScan(): void {
  const count = load<u32>(state, JOB_COUNT);
  if (count == 0) return;
  const jobs: usize = load<u32>(state, JOBS);
  hashJobs(jobs, count);
  for (let job: u32 = 0; job < count; job++) store<u8>(recordAt(load<u32>(jobs + (<usize>job << 4), 12)), KNOWN, R_STATE);
  store<u32>(state, 0, JOB_COUNT);
  store<u32>(state, 0, JOB_BYTES);
  atomic.add<u32>(HASHED, count);
  atomic.add<u32>(SHA_CALLS, 1);
  if (load<u32>(state, KEEPING) == 0 && load<u32>(state, RING) != 0) store<u32>(state, load<u32>(state, RING), ROOM_AT);
}

// Entries in pieces -------------------------------------------------------------------------------------------------------
const SHA_STATE: usize = STATE_BYTES;
const LARGE_SCRATCH: usize = STATE_BYTES + 64;

/** Begins an entry whose bytes pass through a small room: blobs of any size, and deltas nobody should keep. */
function startLarge(at: usize, offset: u64): i32 {
  if (load<u32>(state, LARGE_ROOM) == 0) {
    const room = allocate(64 + HISTORY + FRESH + 1024);
    const stream = allocate(LARGE_SCRATCH + SCRATCH_BYTES);
    if (room == 0 || stream == 0) return OUT_OF_MEMORY;
    store<u32>(state, <u32>(room + 64), LARGE_ROOM);
    store<u32>(state, <u32>stream, LARGE_STATE);
  }
  const index = load<u32>(state, S_COUNT);
  const record = fillRecord(offset, at);
  if (record == 0) return OUT_OF_MEMORY;
  if (entryType < 6 && entryType != 3) {
    store<u8>(record, UNCHECKED, R_FLAGS);
    store<u32>(state, load<u32>(state, S_UNCHECKED) + 1, S_UNCHECKED);
  }
  const stream: usize = load<u32>(state, LARGE_STATE);
  const target = <usize>load<u32>(state, LARGE_ROOM) + HISTORY;
  startResumable(stream);
  startStream(stream + SHA_STATE);
  const start = entryType < 6 ? writeHeader(target, entryType, entrySize) : target;
  store<u32>(state, <u32>target, LARGE_TARGET);
  store<u32>(state, <u32>start, LARGE_HASH_AT);
  store<u64>(state, entrySize + <u64>(target - start), LARGE_MESSAGE);
  store<u64>(state, 0, LARGE_TOTAL);
  store<u32>(state, index, LARGE_RECORD);
  store<u32>(state, 1, IN_LARGE);
  store<u64>(state, WHOLE_BYTES, WHOLE_MAX);
  store<u32>(record, crc32(at, dataStart - at, 0), R_CRC);
  store<u64>(state, offset + (dataStart - at), POSITION);
  return OK;
}

let ownScratch: usize = 0;

/** The scratch to return to after an entry in pieces used its own. */
export function setOwnScratch(at: usize): void {
  ownScratch = at;
}

function goOnLarge(at: usize, end: usize, final: bool): i32 {
  const stream: usize = load<u32>(state, LARGE_STATE);
  const room: usize = load<u32>(state, LARGE_ROOM);
  const record = recordAt(load<u32>(state, LARGE_RECORD));
  const target: usize = load<u32>(state, LARGE_TARGET);
  const total = load<u64>(state, LARGE_TOTAL);
  const before: usize = total < HISTORY ? <usize>total : HISTORY;
  setScratch(stream + LARGE_SCRATCH);
  const answer = inflateSome(stream, at, end, target, room + HISTORY + FRESH, target - before, final);
  setScratch(ownScratch);
  lastMade = output - target;
  store<u32>(record, crc32(at, input - at, load<u32>(record, R_CRC)), R_CRC);
  store<u64>(state, load<u64>(state, POSITION) + (input - at), POSITION);
  store<u64>(state, total + lastMade, LARGE_TOTAL);
  const whole = load<u8>(record, R_ENTRY_TYPE) < 6;
  if (total + lastMade > load<u64>(record, R_SIZE)) return SIZE_MISMATCH;
  if (!whole && total == 0 && lastMade > 0) {
    const checked = checkDelta(record, target, output);
    if (checked != OK) return checked;
  }
  if (answer == OK) return endLarge(record, stream, whole);
  if (answer != NEED_MORE && answer != OUTPUT_FULL) return answer;
  turnRoom(stream, room, whole);
  return answer == OUTPUT_FULL ? OK : NEED_MORE;
}

/** Hashes whole blocks of what was made and moves its last 32 KiB to the front of the room. */
function turnRoom(stream: usize, room: usize, whole: bool): void {
  const made = output;
  if (whole) {
    const from: usize = load<u32>(state, LARGE_HASH_AT);
    const blocks = <u32>((made - from) >> 6);
    continueStream(stream + SHA_STATE, from, blocks);
    store<u32>(state, <u32>(from + (<usize>blocks << 6)), LARGE_HASH_AT);
  }
  const move = room + HISTORY + (FRESH >> 1);
  if (made < move) {
    store<u32>(state, <u32>made, LARGE_TARGET); // there is room to go on where it stopped
    return;
  }
  memory.copy(room, made - HISTORY, HISTORY);
  store<u32>(state, <u32>(room + HISTORY) - (<u32>made - load<u32>(state, LARGE_HASH_AT)), LARGE_HASH_AT);
  store<u32>(state, <u32>(room + HISTORY), LARGE_TARGET);
}

function endLarge(record: usize, stream: usize, whole: bool): i32 {
  store<u32>(state, 0, IN_LARGE);
  if (load<u64>(state, LARGE_TOTAL) != load<u64>(record, R_SIZE)) return SIZE_MISMATCH;
  if (!whole) return load<u64>(state, LARGE_TOTAL) == 0 ? BAD_DELTA : OK;
  const from: usize = load<u32>(state, LARGE_HASH_AT);
  continueStream(stream + SHA_STATE, from, pad(from, output - from, load<u64>(state, LARGE_MESSAGE)));
  endStream(stream + SHA_STATE, record + R_ID);
  store<u8>(record, KNOWN, R_STATE);
  atomic.add<u32>(HASHED, 1);
  return OK;
}

/** The spool ended where pass 1 had not: what a count that is too high looks like, or a cut. */
export function scanEnd(): i32 {
  return load<u32>(state, PHASE) == 2 ? OK : BAD_COUNT;
}
