// Pass 2: families of deltas, depth first on an explicit stack, in an arena of this thread. Threads
// share the tables and one counter; nobody waits for anybody. Results are hashed in batches of four
// lanes; what lies above the last live frame is free after each batch.
//
//   arena   [ frame data | frame data | … | results that wait to be hashed | free ]
import {
  BAD_DELTA,
  BASE_MISSING,
  CHAIN_TOO_LONG,
  OK,
  OUT_OF_MEMORY,
  READ_FAILED,
  REFUSED,
  YIELD,
} from "./errors";
import {
  CHAIN_MAX,
  CHILDREN,
  CHILD_STARTS,
  FAMILIES,
  FAMILY_COUNT,
  FAMILY_HEAVY,
  FAMILY_NEXT,
  FAULT_CODE,
  FAULT_RECORD,
  HASHED,
  HELD_MAX,
  LARGE_COUNT,
  LARGE_LIST,
  PACK_END,
  RECORD_COUNT,
  REINFLATED,
  RESOLVED,
  SHA_CALLS,
  SIBLINGS,
  WAITING,
  allocate,
} from "./layout";
import {
  KNOWN,
  R_BASE,
  R_DATA,
  R_ENTRY_TYPE,
  R_HEADER,
  R_ID,
  R_OFFSET,
  R_RESULT,
  R_SIZE,
  R_STATE,
  R_TYPE,
  recordAt,
} from "./records";
import { FRAME_AFTER, FRAME_BEFORE, frame } from "./frame";
import { inflateWhole } from "./inflate";
import { hashJobs } from "./sha1";
import { applyDelta, readDeltaHeader } from "./delta";
import { checkObject } from "./check";
import { takeWaiting } from "./link";
import { loadExternal, readPack, spill, unspill } from "./host";

const JOBS_MAX: u32 = 2048;
const BATCH_BYTES: usize = 4 << 20;
const WINDOW_BYTES: usize = 128 << 10;
/** Families of ordinary weight a thread takes at once: one atomic addition each time. */
const FAMILIES_AT_ONCE: u32 = 32;
/** Compressed bytes of one entry beyond which it counts as large, whatever it inflates to. */
const ENTRY_BYTES_MAX: u64 = 17 << 20;
const GAP: usize = FRAME_BEFORE + FRAME_AFTER + 64;

// Frame of 32 bytes: node, data, size, next child, end of children, waiting ref-delta (number + 1),
// depth, where the data is.
const F_NODE: usize = 0;
const F_DATA: usize = 4;
const F_SIZE: usize = 8;
const F_NEXT: usize = 12;
const F_END: usize = 16;
const F_WAITING: usize = 20;
const F_DEPTH: usize = 24;
const F_PLACE: usize = 28;
const FRAME_SIZE: usize = 32;
const IN_ARENA: u32 = 0;
const KEPT_BY_SCAN: u32 = 1;
const SPILLED: u32 = 2;

let arenaStart: usize = 0;
let arenaEnd: usize = 0;
let arenaAt: usize = 0;
let stack: usize = 0;
let depth: u32 = 0; // frames on the stack
let jobs: usize = 0;
let jobCount: u32 = 0;
let jobBytes: usize = 0;
let windowAt: usize = 0;
let windowOffset: u64 = 0;
let windowLength: usize = 0;
let windowRoom: usize = 0;
let currentNode: u32 = 0; // what a failure is about
let familyNext: u32 = 0;
let familyEnd: u32 = 0;

/** Memory of one thread: an arena of `arenaBytes`, a stack, a window on the pack. */
export function openResolve(arenaBytes: u32): bool {
  const frames = <usize>(load<u32>(CHAIN_MAX) + 2) * FRAME_SIZE;
  arenaStart = allocate(arenaBytes);
  stack = allocate(frames);
  jobs = allocate((<usize>JOBS_MAX) << 4);
  windowAt = allocate(WINDOW_BYTES + 64);
  if (arenaStart == 0 || stack == 0 || jobs == 0 || windowAt == 0) return false;
  arenaEnd = arenaStart + arenaBytes;
  arenaAt = arenaStart;
  windowRoom = WINDOW_BYTES;
  windowLength = 0;
  depth = 0;
  jobCount = 0;
  jobBytes = 0;
  familyNext = 0;
  familyEnd = 0;
  return true;
}

/** Works until about `bytes` of results are made: YIELD, or OK when no family is left. */
export function resolve(bytes: u32): i32 {
  let made: usize = 0;
  while (made < bytes) {
    if (depth == 0) {
      const answer = nextFamily();
      if (answer == BASE_MISSING) {
        flush();
        return OK;
      }
      if (answer != OK) return fail(answer);
      continue;
    }
    const top = stack + <usize>(depth - 1) * FRAME_SIZE;
    const child = nextChild(top);
    if (child == 0) {
      depth--;
      continue;
    }
    const answer = resolveChild(top, child - 1);
    if (answer != OK) return fail(answer);
    made += lastResult + 64;
  }
  return load<u32>(FAULT_CODE) != 0 ? OK : YIELD;
}

function fail(answer: i32): i32 {
  store<u32>(FAULT_RECORD, currentNode);
  store<u32>(FAULT_CODE, answer);
  return answer;
}

// Memory ------------------------------------------------------------------------------------------
/** Makes sure `bytes` lie free at arenaAt. False: not even with everything else moved out. */
function ensure(bytes: usize): bool {
  if (arenaEnd - arenaAt >= bytes) return true;
  flush();
  arenaAt = liveEnd();
  if (arenaEnd - arenaAt >= bytes) return true;
  compact();
  if (arenaEnd - arenaAt >= bytes) return true;
  return spillFrames(bytes);
}

/** Behind the data of the highest frame that lies in the arena. */
function liveEnd(): usize {
  for (let at = depth; at > 0; at--) {
    const one = stack + <usize>(at - 1) * FRAME_SIZE;
    if (load<u32>(one, F_PLACE) == IN_ARENA)
      return behind(<usize>load<u32>(one, F_DATA), load<u32>(one, F_SIZE));
  }
  return arenaStart;
}

// @ts-ignore: decorator
@inline
function behind(data: usize, size: usize): usize {
  return (data + size + FRAME_AFTER + 15) & ~15;
}

/** Moves live data together: what was between it belongs to nobody. */
function compact(): void {
  let to = arenaStart;
  for (let at: u32 = 0; at < depth; at++) {
    const one = stack + <usize>at * FRAME_SIZE;
    if (load<u32>(one, F_PLACE) != IN_ARENA) continue;
    const data: usize = load<u32>(one, F_DATA);
    const size: usize = load<u32>(one, F_SIZE);
    const target = to + FRAME_BEFORE;
    if (target < data) {
      memory.copy(target, data, size);
      store<u32>(one, <u32>target, F_DATA);
    }
    to = behind(load<u32>(one, F_DATA), size);
  }
  arenaAt = to;
}

/**
 * Moves the lowest frames' data to a file until there is room; the top frame stays: its child is
 * being made.
 */
function spillFrames(bytes: usize): bool {
  for (let at: u32 = 0; at + 1 < depth; at++) {
    const one = stack + <usize>at * FRAME_SIZE;
    if (load<u32>(one, F_PLACE) != IN_ARENA) continue;
    if (spill(load<u32>(one, F_DATA), load<u32>(one, F_SIZE)) != 0) return false;
    store<u32>(one, SPILLED, F_PLACE);
    let live: usize = 0;
    for (let other = at + 1; other < depth; other++) {
      const next = stack + <usize>other * FRAME_SIZE;
      if (load<u32>(next, F_PLACE) == IN_ARENA) live += <usize>load<u32>(next, F_SIZE) + GAP;
    }
    if (arenaEnd - arenaStart >= live + bytes) {
      compact();
      return arenaEnd - arenaAt >= bytes;
    }
  }
  return false;
}

/** The data of `top`, back from the file if it went there. 0: no room. */
function frameData(top: usize): usize {
  if (load<u32>(top, F_PLACE) != SPILLED) return load<u32>(top, F_DATA);
  const size: usize = load<u32>(top, F_SIZE);
  // Frames spill from the bottom and return from the top, so nothing of a lower one is in the
  // arena.
  flush();
  arenaAt = arenaStart;
  const data = arenaAt + FRAME_BEFORE;
  if (unspill(data, <u32>size) != 0) return 0;
  store<u32>(top, <u32>data, F_DATA);
  store<u32>(top, IN_ARENA, F_PLACE);
  arenaAt = behind(data, size);
  return data;
}

/** Hashes what waits; its space is free from then on. */
function flush(): void {
  if (jobCount == 0) return;
  hashJobs(jobs, jobCount);
  for (let job: u32 = 0; job < jobCount; job++)
    store<u8>(recordAt(load<u32>(jobs + ((<usize>job) << 4), 12)), KNOWN, R_STATE);
  atomic.add<u32>(HASHED, jobCount);
  atomic.add<u32>(RESOLVED, jobCount);
  atomic.add<u32>(SHA_CALLS, 1);
  jobCount = 0;
  jobBytes = 0;
}

// Families ----------------------------------------------------------------------------------------
/** Puts the next family's root on the stack. BASE_MISSING here: no family is left. */
function nextFamily(): i32 {
  if (familyNext == familyEnd) {
    const heavy = load<u32>(FAMILY_HEAVY);
    const count = load<u32>(FAMILY_COUNT);
    const at = atomic.load<u32>(FAMILY_NEXT);
    const want: u32 = at < heavy ? 1 : FAMILIES_AT_ONCE;
    familyNext = atomic.add<u32>(FAMILY_NEXT, want);
    familyEnd = familyNext + want;
    if (familyEnd > count) familyEnd = count;
    if (familyNext >= count) {
      familyNext = familyEnd = 0;
      return BASE_MISSING;
    }
  }
  const node = load<u32>(<usize>load<u32>(FAMILIES) + ((familyNext++ as usize) << 2));
  const record = recordAt(node);
  currentNode = node;
  const size64 = load<u64>(record, R_SIZE);
  if (size64 > load<u64>(HELD_MAX)) return addLarge(node);
  const size = <usize>size64;
  const kept: usize = load<u32>(record, R_DATA);
  if (kept != 0) {
    push(node, kept, size, KEPT_BY_SCAN, 0, 0);
    return OK;
  }
  if (!ensure(size + GAP)) return OUT_OF_MEMORY;
  const data = arenaAt + FRAME_BEFORE;
  const count = load<u32>(RECORD_COUNT);
  if (node >= count) {
    if (loadExternal(node - count, data, <u32>size) == 0) return READ_FAILED;
  } else {
    if (isLong(node)) return addLarge(node);
    const answer = inflateEntry(node, record, data, size);
    if (answer != OK) return answer;
  }
  arenaAt = behind(data, size);
  push(node, data, size, IN_ARENA, 0, 0);
  return OK;
}

function push(node: u32, data: usize, size: usize, place: u32, chain: u32, waiting: u32): void {
  const one = stack + <usize>depth * FRAME_SIZE;
  const starts = <usize>load<u32>(CHILD_STARTS) + ((<usize>node) << 2);
  store<u32>(one, node, F_NODE);
  store<u32>(one, <u32>data, F_DATA);
  store<u32>(one, <u32>size, F_SIZE);
  store<u32>(one, load<u32>(starts), F_NEXT);
  store<u32>(one, load<u32>(starts, 4), F_END);
  store<u32>(one, waiting, F_WAITING);
  store<u32>(one, chain, F_DEPTH);
  store<u32>(one, place, F_PLACE);
  depth++;
}

/** Next delta on this base, number + 1; 0: none is left. */
function nextChild(top: usize): u32 {
  const next = load<u32>(top, F_NEXT);
  if (next < load<u32>(top, F_END)) {
    store<u32>(top, next + 1, F_NEXT);
    return load<u32>(<usize>load<u32>(CHILDREN) + ((<usize>next) << 2)) + 1;
  }
  const waiting = load<u32>(top, F_WAITING);
  if (waiting != 0)
    store<u32>(
      top,
      load<u32>(<usize>load<u32>(SIBLINGS) + ((<usize>(waiting - 1)) << 2)),
      F_WAITING,
    );
  return waiting;
}

// @ts-ignore: decorator
@inline
function hasChildren(node: u32): bool {
  const starts = <usize>load<u32>(CHILD_STARTS) + ((<usize>node) << 2);
  return load<u32>(starts) != load<u32>(starts, 4);
}

/** Leaves a node to the slow path, with all that is made from it. */
function addLarge(node: u32): i32 {
  const at = atomic.add<u32>(LARGE_COUNT, 1);
  store<u32>(<usize>load<u32>(LARGE_LIST) + ((<usize>at) << 2), node);
  return OK;
}

// Deltas ------------------------------------------------------------------------------------------
let lastResult: usize = 0;

function resolveChild(top: usize, node: u32): i32 {
  const record = recordAt(node);
  const chain = load<u32>(top, F_DEPTH) + 1;
  currentNode = node;
  lastResult = 0;
  if (chain > load<u32>(CHAIN_MAX)) return CHAIN_TOO_LONG;
  const resultSize: usize = load<u32>(record, R_RESULT);
  const deltaSize64 = load<u64>(record, R_SIZE);
  const held = load<u64>(HELD_MAX);
  let delta: usize = load<u32>(record, R_DATA);
  if (resultSize > held || deltaSize64 > held || (delta == 0 && isLong(node))) {
    store<u32>(record, load<u32>(top, F_NODE), R_BASE); // one that waited does not know it yet
    return addLarge(node);
  }
  const deltaSize = <usize>deltaSize64;
  if (frameData(top) == 0) return OUT_OF_MEMORY;
  if (!ensure(resultSize + GAP + (delta == 0 ? deltaSize + GAP : 0))) return OUT_OF_MEMORY;
  const data = arenaAt + FRAME_BEFORE;
  const end = behind(data, resultSize);
  if (delta == 0) {
    delta = end;
    const answer = inflateEntry(node, record, delta, deltaSize);
    if (answer != OK) return answer;
  }
  let answer = readDeltaHeader(delta, delta + deltaSize);
  if (answer == OK)
    answer = applyDelta(frameData(top), load<u32>(top, F_SIZE), delta + deltaSize, data);
  if (answer != OK) return answer < 16 ? BAD_DELTA : answer;
  arenaAt = end;
  lastResult = resultSize;
  return takeResult(top, node, record, data, resultSize, chain);
}

/** Queues a result to be hashed, looks at it, and goes down to its children. */
function takeResult(
  top: usize,
  node: u32,
  record: usize,
  data: usize,
  size: usize,
  chain: u32,
): i32 {
  const type: u32 = load<u8>(recordAt(load<u32>(top, F_NODE)), R_TYPE);
  store<u8>(record, <u8>type, R_TYPE);
  frame(jobs + ((<usize>jobCount) << 4), type, data, size, record + R_ID, node);
  jobCount++;
  jobBytes += size;
  if (!checkObject(node, type, data, size)) return REFUSED;
  let waiting: u32 = 0;
  if (load<u32>(WAITING) != 0) {
    flush(); // somebody may wait for this very id
    waiting = takeWaiting(record + R_ID);
  }
  // A base whose last child this was is not needed any more: a chain stays one frame deep.
  if (load<u32>(top, F_NEXT) == load<u32>(top, F_END) && load<u32>(top, F_WAITING) == 0) depth--;
  if (waiting != 0 || hasChildren(node)) push(node, data, size, IN_ARENA, chain, waiting);
  if (jobCount == JOBS_MAX || jobBytes >= BATCH_BYTES) {
    flush();
    arenaAt = liveEnd();
  }
  return OK;
}

// Entries again -----------------------------------------------------------------------------------
// @ts-ignore: decorator
@inline
function entryEnd(node: u32): u64 {
  return node + 1 < load<u32>(RECORD_COUNT)
    ? load<u64>(recordAt(node + 1), R_OFFSET)
    : load<u64>(PACK_END);
}

function isLong(node: u32): bool {
  return entryEnd(node) - load<u64>(recordAt(node), R_OFFSET) > ENTRY_BYTES_MAX;
}

/** Inflates an entry that was not kept. Reads run ahead: neighbours are often wanted next. */
function inflateEntry(node: u32, record: usize, target: usize, size: usize): i32 {
  const start = load<u64>(record, R_OFFSET) + load<u8>(record, R_HEADER);
  const end = entryEnd(node);
  if (start < windowOffset || end > windowOffset + windowLength) {
    const need = <usize>(end - start);
    if (need > windowRoom) {
      windowLength = 0;
      windowRoom = need + (need >> 1);
      windowAt = allocate(windowRoom + 64);
      if (windowAt == 0) return OUT_OF_MEMORY;
    }
    const left = load<u64>(PACK_END) - start;
    const want: usize = left < windowRoom ? <usize>left : windowRoom;
    windowOffset = start;
    windowLength = readPack(<f64>start, windowAt, <u32>want);
    if (windowLength < need) return READ_FAILED;
  }
  atomic.add<u32>(REINFLATED, 1);
  const from = windowAt + <usize>(start - windowOffset);
  return inflateWhole(from, from + <usize>(end - start), target, size);
}
