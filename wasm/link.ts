// Between the passes, one thread, a few milliseconds: each delta finds its base, each base its
// children, and the families (an object that is no delta, and all that is made from it) are ordered
// so that the heaviest start first.
import { BAD_ENTRY, OK, OUT_OF_MEMORY } from "./errors";
import {
  CHILDREN,
  CHILD_STARTS,
  DELTAS,
  EXTERNALS,
  FAMILIES,
  FAMILY_COUNT,
  FAMILY_HEAVY,
  FAMILY_NEXT,
  FAULT_RECORD,
  LARGE_LIST,
  LOOSE,
  LOOSE_COUNT,
  NODES,
  RECORD_COUNT,
  REF_DELTAS,
  SIBLINGS,
  WAITING,
  WAITING_MASK,
  WORK,
  allocate,
} from "./layout";
import {
  NONE,
  R_BASE,
  R_ENTRY_TYPE,
  R_ID,
  R_OFFSET,
  R_RESULT,
  R_SIZE,
  R_TYPE,
  R_WEIGHT,
  makeRecord,
  recordAt,
  sameId,
} from "./records";
import { hashId } from "./links";

/**
 * Finds the base of every ofs-delta, and of ref-deltas whose base is a whole object here; the rest
 * stand in LOOSE.
 */
export function linkBases(): i32 {
  const count = load<u32>(RECORD_COUNT);
  store<u32>(LOOSE_COUNT, 0);
  countWork(count);
  if (load<u32>(REF_DELTAS) != 0) {
    const answer = linkRefs(count);
    if (answer != OK) return answer;
  }
  for (let index: u32 = 0; index < count; index++) {
    const record = recordAt(index);
    if (load<u8>(record, R_ENTRY_TYPE) != 6) continue;
    const base = findOffset(load<u64>(record, R_ID), index);
    if (base == NONE) {
      store<u32>(FAULT_RECORD, index);
      return BAD_ENTRY;
    }
    store<u32>(record, base, R_BASE);
  }
  return OK;
}

/** Bytes that the deltas say they make. */
function countWork(count: u32): void {
  let made: u64 = 0;
  for (let index: u32 = 0; index < count; index++) {
    const record = recordAt(index);
    if (load<u8>(record, R_ENTRY_TYPE) >= 6) made += load<u32>(record, R_RESULT);
  }
  atomic.add<u64>(WORK, made);
}

/**
 * Number of the entry that starts at `offset`, before entry `below`. Entries stand in the order of
 * their offsets.
 */
function findOffset(offset: u64, below: u32): u32 {
  let low: u32 = 0;
  let high = below;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = load<u64>(recordAt(middle), R_OFFSET);
    if (at == offset) return middle;
    if (at < offset) low = middle + 1;
    else high = middle;
  }
  return NONE;
}

function linkRefs(count: u32): i32 {
  let slots: u32 = 16;
  while (slots < count << 1) slots <<= 1;
  const table = allocate((<usize>slots) << 2);
  const loose = allocate(((<usize>load<u32>(REF_DELTAS)) << 2) + 4);
  if (table == 0 || loose == 0) return OUT_OF_MEMORY;
  memory.fill(table, 0, (<usize>slots) << 2);
  store<u32>(LOOSE, <u32>loose);
  for (let index: u32 = 0; index < count; index++) {
    const record = recordAt(index);
    if (load<u8>(record, R_ENTRY_TYPE) >= 6) continue;
    let slot = hashId(record + R_ID) & (slots - 1);
    while (load<u32>(table + ((<usize>slot) << 2)) != 0) slot = (slot + 1) & (slots - 1);
    store<u32>(table + ((<usize>slot) << 2), index + 1);
  }
  let left: u32 = 0;
  for (let index: u32 = 0; index < count; index++) {
    const record = recordAt(index);
    if (load<u8>(record, R_ENTRY_TYPE) != 7) continue;
    let slot = hashId(record + R_ID) & (slots - 1);
    let found: u32 = 0;
    while ((found = load<u32>(table + ((<usize>slot) << 2))) != 0) {
      if (sameId(recordAt(found - 1) + R_ID, record + R_ID)) break;
      slot = (slot + 1) & (slots - 1);
    }
    if (found != 0) store<u32>(record, found - 1, R_BASE);
    else store<u32>(loose + ((left++ as usize) << 2), index);
  }
  store<u32>(LOOSE_COUNT, left);
  return OK;
}

/** The host has found the base of `record` elsewhere: number `external`. */
export function setExternal(record: u32, external: u32): void {
  store<u32>(recordAt(record), load<u32>(RECORD_COUNT) + external, R_BASE);
}

/** A record for an external: what it is, and where its bytes lie (0: to be asked for). */
export function addExternal(external: u32, type: u32, size: f64, data: usize, id: usize): bool {
  const record = makeRecord(load<u32>(RECORD_COUNT) + external);
  if (record == 0) return false;
  store<u64>(record, <u64>size, R_SIZE);
  store<u32>(record, <u32>data, 40);
  store<u32>(record, NONE, R_BASE);
  store<u8>(record, <u8>type, R_ENTRY_TYPE);
  store<u8>(record, <u8>type, R_TYPE);
  memory.copy(record + R_ID, id, 20);
  store<u32>(EXTERNALS, external + 1);
  return true;
}

/** Children arrays, waiting ref-deltas, families. */
export function linkChildren(): i32 {
  const count = load<u32>(RECORD_COUNT);
  const nodes = count + load<u32>(EXTERNALS);
  store<u32>(NODES, nodes);
  const starts = allocate((<usize>nodes + 2) << 2);
  const children = allocate(((<usize>load<u32>(DELTAS)) << 2) + 4);
  const families = allocate((<usize>nodes) << 2);
  const large = allocate((<usize>nodes) << 2);
  if (starts == 0 || children == 0 || families == 0 || large == 0) return OUT_OF_MEMORY;
  store<u32>(CHILD_STARTS, <u32>starts);
  store<u32>(CHILDREN, <u32>children);
  store<u32>(FAMILIES, <u32>families);
  store<u32>(LARGE_LIST, <u32>large);
  fillChildren(count, nodes, starts, children);
  if (load<u32>(LOOSE_COUNT) != 0 && !fillWaiting(count)) return OUT_OF_MEMORY;
  orderFamilies(nodes, starts, families, weigh(count));
  return OK;
}

/** Prefix sums: the children of node i are children[starts[i] … starts[i + 1]), in pack order. */
function fillChildren(count: u32, nodes: u32, starts: usize, children: usize): void {
  memory.fill(starts, 0, (<usize>nodes + 2) << 2);
  for (let index: u32 = 0; index < count; index++) {
    const base = load<u32>(recordAt(index), R_BASE);
    if (base != NONE)
      store<u32>(starts + ((<usize>base) << 2), load<u32>(starts + ((<usize>base) << 2), 8) + 1, 8);
  }
  for (let node: usize = 1; node <= <usize>nodes + 1; node++) {
    store<u32>(
      starts + (node << 2),
      load<u32>(starts + (node << 2)) + load<u32>(starts + ((node - 1) << 2)),
    );
  }
  // starts[i + 1] is the first place of node i here and the first of node i + 1 when all are
  // placed.
  for (let index: u32 = 0; index < count; index++) {
    const base = load<u32>(recordAt(index), R_BASE);
    if (base == NONE) continue;
    const slot = starts + ((<usize>base) << 2);
    const place = load<u32>(slot, 4);
    store<u32>(children + ((<usize>place) << 2), index);
    store<u32>(slot, place + 1, 4);
  }
}

/**
 * Ref-deltas whose base must be what another delta makes: by the base's id, chained by SIBLINGS.
 */
function fillWaiting(count: u32): bool {
  const loose: usize = load<u32>(LOOSE);
  const looseCount = load<u32>(LOOSE_COUNT);
  let slots: u32 = 16;
  while (slots < looseCount << 1) slots <<= 1;
  const table = allocate(<usize>slots * 24);
  const siblings = allocate((<usize>count) << 2);
  if (table == 0 || siblings == 0) return false;
  memory.fill(table, 0, <usize>slots * 24);
  let waiting: u32 = 0;
  for (let at: u32 = 0; at < looseCount; at++) {
    const index = load<u32>(loose + ((<usize>at) << 2));
    const record = recordAt(index);
    if (load<u32>(record, R_BASE) != NONE) continue; // an external
    let slot = hashId(record + R_ID) & (slots - 1);
    while (true) {
      const entry = table + <usize>slot * 24;
      const head = load<u32>(entry, 20);
      if (head == 0 || sameId(entry, record + R_ID)) {
        if (head == 0) memory.copy(entry, record + R_ID, 20);
        store<u32>(siblings + ((<usize>index) << 2), head);
        store<u32>(entry, index + 1, 20);
        break;
      }
      slot = (slot + 1) & (slots - 1);
    }
    waiting++;
  }
  store<u32>(SIBLINGS, <u32>siblings);
  store<u32>(WAITING_MASK, slots - 1);
  if (waiting != 0) store<u32>(WAITING, <u32>table);
  return true;
}

/**
 * First ref-delta (number + 1) that waits for the object `id`, and takes them all off the table. 0:
 * none.
 */
export function takeWaiting(id: usize): u32 {
  const table: usize = load<u32>(WAITING);
  if (table == 0) return 0;
  const mask = load<u32>(WAITING_MASK);
  let slot = hashId(id) & mask;
  while (true) {
    const entry = table + <usize>slot * 24;
    const head = atomic.load<u32>(entry, 20);
    if (head == 0) return 0;
    if (sameId(entry, id)) return head == NONE ? 0 : taken(atomic.xchg<u32>(entry, NONE, 20));
    slot = (slot + 1) & mask;
  }
}

function taken(head: u32): u32 {
  return head == NONE ? 0 : head;
}

/**
 * Weight of a family: bytes its deltas make, in units of 64, added child to base from the pack's
 * end. Answers the sum.
 */
function weigh(count: u32): u64 {
  let total: u64 = 0;
  for (let left = count; left > 0; left--) {
    const record = recordAt(left - 1);
    const base = load<u32>(record, R_BASE);
    if (base == NONE) continue;
    const own = (load<u32>(record, R_RESULT) >>> 6) + 1;
    total += own;
    const sum = load<u32>(record, R_WEIGHT) + own;
    const above = recordAt(base);
    store<u32>(above, load<u32>(above, R_WEIGHT) + sum, R_WEIGHT);
  }
  return total;
}

function orderFamilies(nodes: u32, starts: usize, families: usize, total: u64): void {
  const limit = <u32>(total >> 8) + 1;
  let heavy: u32 = 0;
  let found: u32 = 0;
  // Heavy ones first; their order follows.
  for (let turn = 0; turn < 2; turn++) {
    for (let node: u32 = 0; node < nodes; node++) {
      const at = starts + ((<usize>node) << 2);
      if (load<u32>(at) == load<u32>(at, 4)) continue;
      const record = recordAt(node);
      if (load<u8>(record, R_ENTRY_TYPE) >= 6) continue;
      if (load<u32>(record, R_WEIGHT) >= limit == (turn == 0))
        store<u32>(families + ((found++ as usize) << 2), node);
    }
    if (turn == 0) heavy = found;
  }
  for (let first: u32 = 0; first < heavy; first++) {
    let best = first;
    for (let other = first + 1; other < heavy; other++)
      if (weightOf(families, other) > weightOf(families, best)) best = other;
    const node = load<u32>(families + ((<usize>best) << 2));
    store<u32>(families + ((<usize>best) << 2), load<u32>(families + ((<usize>first) << 2)));
    store<u32>(families + ((<usize>first) << 2), node);
  }
  store<u32>(FAMILY_HEAVY, heavy);
  store<u32>(FAMILY_COUNT, found);
  store<u32>(FAMILY_NEXT, 0);
}

// @ts-ignore: decorator
@inline
function weightOf(families: usize, at: u32): u32 {
  return load<u32>(recordAt(load<u32>(families + ((<usize>at) << 2))), R_WEIGHT);
}
