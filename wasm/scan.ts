// Pass 1: the entries of a pack in the order they arrive. Each is inflated, its checksums taken,
// whole objects are hashed in batches of four lanes and looked at, deltas kept inflated within a
// budget. All state lies in memory: the thread that takes the next slice need not be the one that
// took the last. gitformat-pack(5) "Pack file entry".
import { BAD_SIGNATURE, NEED_MORE, OK, OUT_OF_MEMORY, REFUSED, TOO_LARGE, YIELD } from "./errors";
import {
  DELTAS,
  FAULT_RECORD,
  HASHED,
  KEEP_MAX,
  KEPT,
  OBJECTS_MAX,
  PACK_END,
  RECORD_CLAIM,
  RECORD_COUNT,
  REF_DELTAS,
  SCAN,
  SHA_CALLS,
  UNCHECKED_COUNT,
  allocate,
} from "./layout";
import { KNOWN, R_CRC, R_DATA, R_ID, R_STATE, recordAt } from "./records";
import { FRAME_AFTER, FRAME_BEFORE, frame } from "./frame";
import { inflateWhole, input } from "./inflate";
import { hashJobs } from "./sha1";
import { crc32 } from "./checksum";
import { checkObject } from "./check";
import {
  ENTRY_HEADER_MAX,
  HEADER_BYTES,
  checkDelta,
  checkSize,
  dataStart,
  entrySize,
  entryType,
  fillRecord,
  readHeader,
} from "./scan-entry";
import { goOnLarge, largeMade, startLarge } from "./scan-large";
import {
  IN_LARGE,
  JOBS,
  JOB_BYTES,
  JOB_COUNT,
  KEEPING,
  PHASE,
  POSITION,
  RING,
  ROOM_AT,
  ROOM_END,
  STOPS,
  S_BYTES,
  S_CLAIM,
  S_COUNT,
  S_DELTAS,
  S_REF_DELTAS,
  S_UNCHECKED,
  WHOLE_BYTES,
  WHOLE_MAX,
  state,
  useScan,
} from "./scan-state";

const JOBS_MAX: u32 = 2048;
const BATCH_BYTES: u32 = 4 << 20;
const ROOM_BYTES: usize = 4 << 20;
const SLICE_OUTPUT: u64 = 8 << 20;

/** Makes `at` a scan that has seen nothing, and the one this instance works on. */
export function prepareScan(at: usize): bool {
  useScan(at);
  memory.fill(at, 0, S_BYTES);
  const jobs = allocate((<usize>JOBS_MAX) << 4);
  if (jobs == 0) return false;
  store<u32>(state, <u32>jobs, JOBS);
  store<u64>(state, WHOLE_BYTES, WHOLE_MAX);
  return true;
}

/**
 * Makes the prepared scan one of a segment: from `offset` on, up to the first of `stops` (u64,
 * ascending) it meets exactly.
 */
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
 * Takes bytes of the pack that lie from `start` to `end`, the first at scanPosition(). `final`: the
 * spool ends there. YIELD: call again from scanPosition(); NEED_MORE: the next entry goes on beyond
 * `end`.
 */
export function scan(start: usize, end: usize, final: bool): i32 {
  const answer = scanSome(start, end, final);
  if (state == SCAN) publish();
  return answer;
}

/** Publishes what the later passes read of a whole pack's scan. */
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
    const large = load<u32>(state, IN_LARGE) != 0;
    const answer = large ? goOnLarge(at, end, final) : scanEntry(at, end, final);
    at += <usize>(load<u64>(state, POSITION) - before);
    if (answer != OK) {
      if (answer >= BAD_SIGNATURE && load<u32>(FAULT_RECORD) == 0)
        store<u32>(FAULT_RECORD, load<u32>(state, S_COUNT));
      return answer;
    }
    made += large ? largeMade : lastMade;
    if (made > SLICE_OUTPUT) return YIELD;
  }
  return OK;
}

/**
 * Returns whether a segment has come to where another one starts. One it ran past was a wrong
 * guess.
 */
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

// One entry ---------------------------------------------------------------------------------------
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

/**
 * Too long for the window though its size is small (much compressed data for few bytes): take it in
 * pieces.
 */
export function scanLargeNext(): void {
  store<u64>(state, 0, WHOLE_MAX);
}

/**
 * Room for `size` bytes of data with what framing needs around them; where the data goes. 0: no
 * memory.
 */
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

function keepWhole(record: usize, data: usize, size: usize): i32 {
  const index = load<u32>(state, S_COUNT) - 1;
  if (load<u32>(state, KEEPING) != 0) store<u32>(record, <u32>data, R_DATA);
  const count = load<u32>(state, JOB_COUNT);
  frame(
    <usize>load<u32>(state, JOBS) + ((<usize>count) << 4),
    entryType,
    data,
    size,
    record + R_ID,
    index,
  );
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

/**
 * Hashes what waits. Every slice ends with it, so that objects are known while the client still
 * sends.
 */
export function flushScan(): void {
  const count = load<u32>(state, JOB_COUNT);
  if (count == 0) return;
  const jobs: usize = load<u32>(state, JOBS);
  hashJobs(jobs, count);
  for (let job: u32 = 0; job < count; job++)
    store<u8>(recordAt(load<u32>(jobs + ((<usize>job) << 4), 12)), KNOWN, R_STATE);
  store<u32>(state, 0, JOB_COUNT);
  store<u32>(state, 0, JOB_BYTES);
  atomic.add<u32>(HASHED, count);
  atomic.add<u32>(SHA_CALLS, 1);
  if (load<u32>(state, KEEPING) == 0 && load<u32>(state, RING) != 0)
    store<u32>(state, load<u32>(state, RING), ROOM_AT);
}
