// Inflate of zlib streams (RFC 1950, RFC 1951): whole into one buffer, or resumable where neither
// side fits in memory.
//
// Input is readable 16 bytes past its end and output writable 32 bytes past its own. Bits beyond
// the input's end are garbage that may be decoded: whatever comes of it, a reader that stepped past
// the end answers NEED_MORE, never "bad".
import { BAD_ZLIB, NEED_MORE, OK, OUTPUT_FULL, SIZE_MISMATCH } from "./errors";
import { DISTANCE_SYMBOLS, FIXED_DISTANCES, FIXED_LITERALS, LITERAL_SYMBOLS } from "./layout";
import { adler32 } from "./checksum";
import {
  BLOCK_END,
  DISTANCE_BITS,
  DISTANCE_TABLE,
  EXCEPTION,
  LENGTHS,
  LITERAL,
  LITERAL_BITS,
  LITERAL_TABLE,
  NO_CODE,
  PRECODE_TABLE,
  buildTable,
  fillPrecode,
  scratch,
  sortSymbols,
  spaceLeft,
} from "./inflate-tables";

export { SCRATCH_BYTES, prepareInflate, setScratch } from "./inflate-tables";

// Resumable state, in memory; `saveState` and `loadState` below.
const BEFORE_BLOCK: i32 = 0;
const IN_STORED: i32 = 1;
const IN_CODES: i32 = 2;
const ENDED: i32 = 3;
export const STATE_BYTES: usize = 64;

let bits: u64 = 0;
let bitCount: u32 = 0;
let mode: i32 = BEFORE_BLOCK;
let last: bool = false;
let storedLeft: u32 = 0;
let literals: usize = 0;
let distances: usize = 0;
/** Next byte to read and to write, after a call. */
export let input: usize = 0;
export let output: usize = 0;

// Blocks ------------------------------------------------------------------------------------------
// @ts-ignore: decorator
@inline
function refill(): void {
  bits |= load<u64>(input) << (<u64>bitCount);
  input += (63 - bitCount) >>> 3;
  bitCount |= 56;
}

// @ts-ignore: decorator
@inline
function take(count: u32): u32 {
  const value = <u32>bits & ((1 << count) - 1);
  bits >>= <u64>count;
  bitCount -= count;
  return value;
}

/** Gives whole bytes back to the input. */
function giveBack(): void {
  input -= bitCount >>> 3;
  bitCount &= 7;
  bits &= ((<u64>1) << (<u64>bitCount)) - 1;
}

// Order in which the lengths of the precode stand (RFC 1951 §3.2.7): 16 17 18 0 8 7 9 6 10 5 11 4,
// then 12 3 13 2 14 1 15.
function precodeFirst(at: u32): u32 {
  if (at < 3) return 16 + at;
  if (at == 3) return 0;
  const step = (at - 4) >>> 1;
  return at & 1 ? 7 - step : 8 + step;
}

function precodeSecond(at: u32): u32 {
  const step = at >>> 1;
  return at & 1 ? 3 - step : 12 + step;
}

/** Reads the code lengths of a dynamic block and builds its tables. */
function readDynamic(end: usize): i32 {
  refill();
  const literalCount = take(5) + 257;
  const distanceCount = take(5) + 1;
  const precodeCount = take(4) + 4;
  if (literalCount > 286 || distanceCount > 30) return BAD_ZLIB;
  const lengths = scratch + LENGTHS;
  memory.fill(lengths, 0, 19);
  for (let at: u32 = 0; at < precodeCount; at++) {
    if (bitCount < 3) refill();
    store<u8>(lengths + precodeOrder(at), <u8>take(3));
  }
  sortSymbols(lengths, 19);
  if (spaceLeft() != 0) return BAD_ZLIB; // unlike the others, the precode must be complete
  const table = scratch + PRECODE_TABLE;
  fillPrecode(table);
  const total = literalCount + distanceCount;
  let at: u32 = 0;
  while (at < total) {
    refill();
    if (input > end + 16) return NEED_MORE;
    const entry = load<u32>(table + ((<usize>bits & 127) << 2));
    take(entry & 15);
    const symbol = entry >>> 8;
    if (symbol < 16) {
      store<u8>(lengths + at, <u8>symbol);
      at++;
      continue;
    }
    let value: u32 = 0;
    let repeat: u32;
    if (symbol == 16) {
      if (at == 0) return BAD_ZLIB;
      value = load<u8>(lengths + at - 1);
      repeat = 3 + take(2);
    } else if (symbol == 17) {
      repeat = 3 + take(3);
    } else {
      repeat = 11 + take(7);
    }
    if (repeat > total - at) return BAD_ZLIB;
    memory.fill(lengths + at, <u8>value, repeat);
    at += repeat;
  }
  if (load<u8>(lengths + 256) == 0) return BAD_ZLIB; // a block that cannot end
  literals = scratch + LITERAL_TABLE;
  distances = scratch + DISTANCE_TABLE;
  // Distances first: their lengths stand behind the literals', nothing overwrites them.
  if (
    !buildTable(
      distances,
      DISTANCE_BITS,
      1024,
      lengths + literalCount,
      distanceCount,
      DISTANCE_SYMBOLS,
    )
  )
    return BAD_ZLIB;
  if (!buildTable(literals, LITERAL_BITS, 2048, lengths, literalCount, LITERAL_SYMBOLS))
    return BAD_ZLIB;
  return OK;
}

// @ts-ignore: decorator
@inline
function precodeOrder(at: u32): usize {
  return at < 12 ? precodeFirst(at) : precodeSecond(at - 12);
}

// @ts-ignore: decorator
@inline
function copyMatch(out: usize, distance: usize, length: usize): void {
  let from = out - distance;
  const end = out + length;
  if (distance >= 16) {
    do {
      v128.store(out, v128.load(from));
      out += 16;
      from += 16;
    } while (out < end);
  } else if (distance >= 8) {
    do {
      store<u64>(out, load<u64>(from));
      out += 8;
      from += 8;
    } while (out < end);
  } else if (distance == 1) {
    const value = i8x16.splat(load<u8>(from));
    do {
      v128.store(out, value);
      out += 16;
    } while (out < end);
  } else {
    do {
      store<u8>(out, load<u8>(from));
      out++;
      from++;
    } while (out < end);
  }
}

/**
 * Symbols of one block until it ends (OK), the input may end (NEED_MORE) or the output must be
 * taken (OUTPUT_FULL). `floor` is the first byte a distance may reach, `limit` the end of the
 * output, `pause` where a resumable caller wants it back (a match may pass it, never `limit`).
 */
function readCodes(floor: usize, pause: usize, limit: usize, stop: usize): i32 {
  const literalTable = literals;
  const distanceTable = distances;
  let at = input;
  let out = output;
  let word = bits;
  let count: u32 = bitCount;
  let answer: i32 = OK;
  while (true) {
    if (at > stop) {
      answer = NEED_MORE;
      break;
    }
    if (out > pause) {
      answer = out > limit ? SIZE_MISMATCH : OUTPUT_FULL;
      break;
    }
    word |= load<u64>(at) << (<u64>count);
    at += (63 - count) >>> 3;
    count |= 56;
    let entry = load<u32>(literalTable + ((<usize>word & 1023) << 2));
    if (entry & LITERAL) {
      word >>= <u64>(entry & 63);
      count -= entry & 63;
      store<u8>(out++, <u8>(entry >>> 16));
      entry = load<u32>(literalTable + ((<usize>word & 1023) << 2));
      if (entry & LITERAL) {
        word >>= <u64>(entry & 63);
        count -= entry & 63;
        store<u8>(out++, <u8>(entry >>> 16));
        entry = load<u32>(literalTable + ((<usize>word & 1023) << 2));
        if (entry & LITERAL) {
          word >>= <u64>(entry & 63);
          count -= entry & 63;
          store<u8>(out++, <u8>(entry >>> 16));
          continue;
        }
      }
    }
    if (entry & EXCEPTION) {
      if (!(entry & (BLOCK_END | NO_CODE))) {
        word >>= <u64>(entry & 63);
        count -= entry & 63;
        const sub = (entry >>> 16) + (<u32>word & ((1 << ((entry >>> 8) & 15)) - 1));
        entry = load<u32>(literalTable + ((<usize>sub) << 2));
      }
      if (entry & LITERAL) {
        word >>= <u64>(entry & 63);
        count -= entry & 63;
        store<u8>(out++, <u8>(entry >>> 16));
        continue;
      }
      if (entry & EXCEPTION) {
        word >>= <u64>(entry & 63);
        count -= entry & 63;
        answer = entry & NO_CODE ? BAD_ZLIB : OK;
        break;
      }
    }
    const lengthBits = entry & 63;
    const length =
      (entry >>> 16) + ((<u32>word & ((1 << lengthBits) - 1)) >>> ((entry >>> 8) & 15));
    word >>= <u64>lengthBits;
    count -= lengthBits;
    word |= load<u64>(at) << (<u64>count);
    at += (63 - count) >>> 3;
    count |= 56;
    entry = load<u32>(distanceTable + ((<usize>word & 255) << 2));
    if (entry & EXCEPTION) {
      if (!(entry & NO_CODE)) {
        word >>= <u64>(entry & 63);
        count -= entry & 63;
        const sub = (entry >>> 16) + (<u32>word & ((1 << ((entry >>> 8) & 15)) - 1));
        entry = load<u32>(distanceTable + ((<usize>sub) << 2));
      }
      if (entry & EXCEPTION) {
        answer = BAD_ZLIB;
        break;
      }
    }
    const distanceBits = entry & 63;
    const distance =
      (entry >>> 16) + ((<u32>word & ((1 << distanceBits) - 1)) >>> ((entry >>> 8) & 15));
    word >>= <u64>distanceBits;
    count -= distanceBits;
    if (<usize>distance > out - floor) {
      answer = BAD_ZLIB;
      break;
    }
    if (out > limit || <usize>length > limit - out) {
      answer = SIZE_MISMATCH;
      break;
    }
    copyMatch(out, distance, length);
    out += length;
  }
  input = at;
  output = out;
  bits = word;
  bitCount = count;
  if (answer == OK && out > limit) return SIZE_MISMATCH;
  return answer;
}

/** Reads one block's header. Header of a stored block: RFC 1951 §3.2.4. */
function readBlockHeader(end: usize): i32 {
  refill();
  last = take(1) != 0;
  const kind = take(2);
  if (kind == 0) {
    take(bitCount & 7);
    giveBack();
    bits = 0;
    bitCount = 0;
    if (input + 4 > end) return NEED_MORE;
    const size = load<u16>(input);
    if (size != <u16>~load<u16>(input, 2)) return BAD_ZLIB;
    input += 4;
    storedLeft = size;
    mode = IN_STORED;
    return OK;
  }
  if (kind == 3) return BAD_ZLIB;
  mode = IN_CODES;
  if (kind == 2) return readDynamic(end);
  literals = FIXED_LITERALS;
  distances = FIXED_DISTANCES;
  return OK;
}

/** Copies what is there of a stored block. */
function readStored(pause: usize, limit: usize, end: usize): i32 {
  while (storedLeft > 0) {
    if (output >= pause && storedLeft > 0 && pause < limit) return OUTPUT_FULL;
    let size: usize = storedLeft;
    if (size > limit - output) {
      if (pause == limit) return SIZE_MISMATCH;
      size = limit - output;
    }
    if (input >= end) return NEED_MORE;
    if (size > end - input) size = end - input;
    memory.copy(output, input, size);
    output += size;
    input += size;
    storedLeft -= <u32>size;
  }
  return OK;
}

// Whole -------------------------------------------------------------------------------------------
/** zlib's two bytes: deflate, window up to 32 KiB, check, no dictionary. RFC 1950 §2.2. */
// @ts-ignore: decorator
@inline
function goodHeader(at: usize): bool {
  const method: u32 = load<u8>(at);
  const flags: u32 = load<u8>(at, 1);
  return (
    (method & 15) == 8 && method >>> 4 <= 7 && ((method << 8) | flags) % 31 == 0 && !(flags & 0x20)
  );
}

/**
 * One zlib stream at `start`, whose input ends at `end`, into exactly `size` bytes at `target`. On
 * OK `input` is behind its checksum. NEED_MORE: the stream goes on beyond `end`.
 */
export function inflateWhole(start: usize, end: usize, target: usize, size: usize): i32 {
  if (end < start + 2) return NEED_MORE;
  if (!goodHeader(start)) return BAD_ZLIB;
  input = start + 2;
  output = target;
  bits = 0;
  bitCount = 0;
  const limit = target + size;
  do {
    let answer = readBlockHeader(end);
    if (answer == OK) {
      answer =
        mode == IN_STORED
          ? readStored(limit, limit, end)
          : readCodes(target, limit, limit, end + 8);
    }
    if (answer != OK) {
      // Too much output counts once its bits are known to be real; a bad code may owe itself to
      // bits behind the end.
      const seen = answer == SIZE_MISMATCH ? input - (bitCount >>> 3) : input;
      return answer == NEED_MORE || seen > end ? NEED_MORE : answer;
    }
    if (input - (bitCount >>> 3) > end) return NEED_MORE;
  } while (!last);
  giveBack();
  if (input + 4 > end) return NEED_MORE;
  if (output != limit) return SIZE_MISMATCH;
  if (bswap<u32>(load<u32>(input)) != adler32(target, size, 1)) return BAD_ZLIB;
  input += 4;
  return OK;
}

// Resumable ---------------------------------------------------------------------------------------
// State of 64 bytes: bits u64, bit count, mode, last, bytes left of a stored block, adler, zlib
// header read, fixed tables.
// The stream's tables stay in its own scratch, which must be set again with the state.

export function startResumable(state: usize): void {
  memory.fill(state, 0, STATE_BYTES);
  store<u32>(state, 1, 24); // adler-32 of nothing
}

function loadState(state: usize): void {
  bits = load<u64>(state);
  bitCount = load<u32>(state, 8);
  mode = load<i32>(state, 12);
  last = load<u32>(state, 16) != 0;
  storedLeft = load<u32>(state, 20);
  const fixed = load<u32>(state, 32) != 0;
  literals = fixed ? FIXED_LITERALS : scratch + LITERAL_TABLE;
  distances = fixed ? FIXED_DISTANCES : scratch + DISTANCE_TABLE;
}

function saveState(state: usize): void {
  store<u64>(state, bits);
  store<u32>(state, bitCount, 8);
  store<i32>(state, mode, 12);
  store<u32>(state, last ? 1 : 0, 16);
  store<u32>(state, storedLeft, 20);
  store<u32>(state, literals == FIXED_LITERALS ? 1 : 0, 32);
}

/** Input a dynamic block's header can take: 17 bits, 19 × 3, 316 × (7 + 7), rounded up. */
const HEADER_BYTES_MAX: usize = 600;

/**
 * Goes on with a stream: input from `start` to `end`, output from `target` to `limit`, of which a
 * match may reach back to `floor` (32 KiB of what came before lie there). `final`: nothing follows
 * `end`. Answers OK (stream ended, checksum good), NEED_MORE (call again from `input`), OUTPUT_FULL
 * (take what lies before `output`, call again).
 */
export function inflateSome(
  state: usize,
  start: usize,
  end: usize,
  target: usize,
  limit: usize,
  floor: usize,
  final: bool,
): i32 {
  input = start;
  output = target;
  loadState(state);
  if (load<u32>(state, 28) == 0) {
    if (end < start + 2) return NEED_MORE;
    if (!goodHeader(start)) return BAD_ZLIB;
    input += 2;
    store<u32>(state, 1, 28);
  }
  const answer = readBlocks(state, end, limit, floor, final);
  store<u32>(state, adler32(target, output - target, load<u32>(state, 24)), 24);
  if (answer == OK) return endResumable(state, end);
  saveState(state);
  return answer;
}

function readBlocks(state: usize, end: usize, limit: usize, floor: usize, final: bool): i32 {
  const pause = limit - 264; // the longest match and up to three literals fit behind it
  while (mode != ENDED) {
    if (mode == BEFORE_BLOCK) {
      if (last) break;
      if (!final && end - input < HEADER_BYTES_MAX) return NEED_MORE;
      if (input >= end) return final ? BAD_ZLIB : NEED_MORE;
      const answer = readBlockHeader(end);
      if (answer != OK) return answer == NEED_MORE || input > end ? BAD_ZLIB : answer;
      if (mode == IN_CODES) giveBack();
    }
    let answer: i32;
    if (mode == IN_STORED) answer = readStored(pause, limit, end);
    else {
      // Never decode bits that have not arrived: one symbol takes at most 48 of them, one look 8
      // bytes.
      const stop = final ? end + 8 : end - 24;
      if (!final && end < input + 24) return NEED_MORE;
      answer = readCodes(floor, pause, limit, stop);
      giveBack();
      if (input > end) return BAD_ZLIB;
      if (answer == NEED_MORE && final) return BAD_ZLIB;
    }
    if (answer != OK) return answer;
    mode = BEFORE_BLOCK;
  }
  return OK;
}

function endResumable(state: usize, end: usize): i32 {
  mode = BEFORE_BLOCK;
  if (input + 4 > end) {
    // Ended but for its checksum: as if before a block that is not there.
    saveState(state);
    return NEED_MORE;
  }
  bits = 0;
  bitCount = 0;
  if (bswap<u32>(load<u32>(input)) != load<u32>(state, 24)) return BAD_ZLIB;
  input += 4;
  return OK;
}
