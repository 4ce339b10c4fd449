// Pass 1 of a file that is all here, by several threads. The file is cut in equal parts; behind
// each cut the first zlib stream that inflates whole and whose adler-32 agrees is looked for, and
// its end is a guess at where an entry starts. From each guess on entries are read until another
// guess is met exactly. What counts is the chain from byte 12: segments it does not reach were
// wrong guesses (a pack holds files that hold zlib streams) and are dropped, so a hostile pack only
// loses the parallelism.
import { OK, OUT_OF_MEMORY } from "./errors";
import { DIRECTORY, SCAN, UNWALKED, allocate } from "./layout";
import { RECORD_BYTES, makeDirectory, makeRecord, recordAt, useRecords } from "./records";
import { prepareScan, startSegment } from "./scan";
import { S_BYTES, S_COUNT, S_DELTAS, S_REF_DELTAS, S_UNCHECKED, S_UNWALKED } from "./scan-state";
import { inflateSome, input, output, startResumable, STATE_BYTES } from "./inflate";
import { openLinkSet } from "./links";

/** Output a guess may have: larger streams are not tried further. */
const PROBE_BYTES: usize = 256 << 10;

// A segment: the scan's state, then its directory.
const G_DIRECTORY: usize = S_BYTES;
const SEGMENT_BYTES: usize = S_BYTES + 64;

/**
 * Work one search may cost, in bytes made and 256 a try: bytes can be arranged so that every place
 * looks like a stream.
 */
const PROBE_WORK_MAX: usize = 8 << 20;

/**
 * Looks from `start` on for a zlib stream that ends before `end`; answers where it ends, 0: none
 * found.
 */
export function findGuess(start: usize, end: usize): usize {
  const state = allocate(STATE_BYTES);
  const room = allocate(PROBE_BYTES + 1024);
  if (state == 0 || room == 0) return 0;
  let work: usize = 0;
  for (let at = start; at + 32 < end && work < PROBE_WORK_MAX; at++) {
    const first: u32 = load<u8>(at);
    if (
      (first & 15) != 8 ||
      first > 0x78 ||
      ((first << 8) | load<u8>(at, 1)) % 31 != 0 ||
      load<u8>(at, 1) & 0x20
    )
      continue;
    startResumable(state);
    if (inflateSome(state, at, end, room, room + PROBE_BYTES, room, false) == OK) return input;
    work += 256 + (output - room);
  }
  return 0;
}

/**
 * A segment that starts at `offset`; the calling instance works on it until it works on another. 0:
 * no memory.
 */
export function openSegment(offset: f64, stops: usize): usize {
  const segment = allocate(SEGMENT_BYTES);
  const directory = makeDirectory();
  if (segment == 0 || directory == 0 || !prepareScan(segment) || !openLinkSet()) return 0;
  startSegment(offset, stops);
  store<u32>(segment, <u32>directory, G_DIRECTORY);
  useRecords(directory);
  return segment;
}

/** Appends a segment's entries to the pack's. In the order of the chain, by one thread. */
export function adoptSegment(segment: usize): i32 {
  const from: usize = load<u32>(segment, G_DIRECTORY);
  const main: usize = load<u32>(DIRECTORY);
  const before = load<u32>(SCAN, S_COUNT);
  const count = load<u32>(segment, S_COUNT);
  for (let index: u32 = 0; index < count; index++) {
    useRecords(from);
    const record = recordAt(index);
    useRecords(main);
    const copy = makeRecord(before + index);
    if (copy == 0) return OUT_OF_MEMORY;
    memory.copy(copy, record, RECORD_BYTES);
  }
  useRecords(main);
  store<u32>(SCAN, before + count, S_COUNT);
  store<u32>(SCAN, load<u32>(SCAN, S_DELTAS) + load<u32>(segment, S_DELTAS), S_DELTAS);
  store<u32>(SCAN, load<u32>(SCAN, S_REF_DELTAS) + load<u32>(segment, S_REF_DELTAS), S_REF_DELTAS);
  store<u32>(SCAN, load<u32>(SCAN, S_UNCHECKED) + load<u32>(segment, S_UNCHECKED), S_UNCHECKED);
  store<u32>(UNWALKED, load<u32>(UNWALKED) + load<u32>(segment, S_UNWALKED));
  return OK;
}
