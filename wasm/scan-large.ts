// Entries that are taken in pieces: blobs of any size, deltas nobody should keep, and small ones
// whose compressed bytes fill more than a window. Their bytes pass through a small room; what
// inflate and SHA-1 need to go on lies in memory.
import { BAD_DELTA, NEED_MORE, OK, OUTPUT_FULL, OUT_OF_MEMORY, SIZE_MISMATCH } from "./errors";
import { HASHED, allocate } from "./layout";
import {
  KNOWN,
  R_CRC,
  R_ENTRY_TYPE,
  R_FLAGS,
  R_ID,
  R_SIZE,
  R_STATE,
  UNCHECKED,
  recordAt,
} from "./records";
import { pad, writeHeader } from "./frame";
import {
  SCRATCH_BYTES,
  STATE_BYTES,
  inflateSome,
  input,
  output,
  setScratch,
  startResumable,
} from "./inflate";
import { continueStream, endStream, startStream } from "./sha1";
import { crc32 } from "./checksum";
import { checkDelta, dataStart, entrySize, entryType, fillRecord } from "./scan-entry";
import {
  IN_LARGE,
  LARGE_HASH_AT,
  LARGE_MESSAGE,
  LARGE_RECORD,
  LARGE_ROOM,
  LARGE_STATE,
  LARGE_TARGET,
  LARGE_TOTAL,
  POSITION,
  S_COUNT,
  S_UNCHECKED,
  WHOLE_BYTES,
  WHOLE_MAX,
  state,
} from "./scan-state";

const HISTORY: usize = 32 << 10;
const FRESH: usize = 256 << 10;
/** Bytes the last call made. */
export let largeMade: u64 = 0;

const SHA_STATE: usize = STATE_BYTES;
const LARGE_SCRATCH: usize = STATE_BYTES + 64;

/**
 * Begins an entry whose bytes pass through a small room: blobs of any size, and deltas nobody
 * should keep.
 */
export function startLarge(at: usize, offset: u64): i32 {
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

export function goOnLarge(at: usize, end: usize, final: bool): i32 {
  const stream: usize = load<u32>(state, LARGE_STATE);
  const room: usize = load<u32>(state, LARGE_ROOM);
  const record = recordAt(load<u32>(state, LARGE_RECORD));
  const target: usize = load<u32>(state, LARGE_TARGET);
  const total = load<u64>(state, LARGE_TOTAL);
  const before: usize = total < HISTORY ? <usize>total : HISTORY;
  setScratch(stream + LARGE_SCRATCH);
  const answer = inflateSome(
    stream,
    at,
    end,
    target,
    room + HISTORY + FRESH,
    target - before,
    final,
  );
  setScratch(ownScratch);
  largeMade = output - target;
  store<u32>(record, crc32(at, input - at, load<u32>(record, R_CRC)), R_CRC);
  store<u64>(state, load<u64>(state, POSITION) + (input - at), POSITION);
  store<u64>(state, total + largeMade, LARGE_TOTAL);
  const whole = load<u8>(record, R_ENTRY_TYPE) < 6;
  if (total + largeMade > load<u64>(record, R_SIZE)) return SIZE_MISMATCH;
  if (!whole && total == 0 && largeMade > 0) {
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
    store<u32>(state, <u32>(from + ((<usize>blocks) << 6)), LARGE_HASH_AT);
  }
  const move = room + HISTORY + (FRESH >> 1);
  if (made < move) {
    store<u32>(state, <u32>made, LARGE_TARGET); // there is room to go on where it stopped
    return;
  }
  memory.copy(room, made - HISTORY, HISTORY);
  store<u32>(
    state,
    <u32>(room + HISTORY) - (<u32>made - load<u32>(state, LARGE_HASH_AT)),
    LARGE_HASH_AT,
  );
  store<u32>(state, <u32>(room + HISTORY), LARGE_TARGET);
}

function endLarge(record: usize, stream: usize, whole: bool): i32 {
  store<u32>(state, 0, IN_LARGE);
  if (load<u64>(state, LARGE_TOTAL) != load<u64>(record, R_SIZE)) return SIZE_MISMATCH;
  if (!whole) return load<u64>(state, LARGE_TOTAL) == 0 ? BAD_DELTA : OK;
  const from: usize = load<u32>(state, LARGE_HASH_AT);
  continueStream(
    stream + SHA_STATE,
    from,
    pad(from, output - from, load<u64>(state, LARGE_MESSAGE)),
  );
  endStream(stream + SHA_STATE, record + R_ID);
  store<u8>(record, KNOWN, R_STATE);
  atomic.add<u32>(HASHED, 1);
  return OK;
}
