// Sets of object ids that objects link to: one for pass 1, one for each thread that resolves.
// Entries of 24 bytes {id, flags}; flags 0 is a free place. All 20 bytes go into the hash with a
// random seed: the ids in a tree are whatever its author wrote.
import {
  LINK_SETS,
  LINK_SETS_MAX,
  LINK_SET_LIST,
  LINK_SLOTS,
  LINK_SLOTS_MAX,
  SEED,
  allocate,
} from "./layout";
import { sameId } from "./records";

/** Flags: 1 << type for the type the link expects, and what the entry's name makes of it. */
export const USED: u32 = 1;
export const EXPECT_COMMIT: u32 = 2;
export const EXPECT_TREE: u32 = 4;
export const EXPECT_BLOB: u32 = 8;
export const EXPECT_TAG: u32 = 16;
export const EXPECT: u32 = 30;
export const IS_GITMODULES: u32 = 32;
export const IS_GITATTRIBUTES: u32 = 64;
export const ENTRY_BYTES: usize = 24;
const FIRST_SLOTS: u32 = 4096;

// A set: {table, slots - 1, entries, last id's place}.
let current: usize = 0;
let currentNumber: u32 = 0;

// @ts-ignore: decorator
@inline
export function hashId(id: usize): u32 {
  const mixed =
    (load<u64>(id) * load<u64>(SEED)) ^
    (load<u64>(id, 8) * load<u64>(SEED, 8)) ^
    (<u64>load<u32>(id, 16) * load<u64>(SEED, 16));
  return <u32>(mixed >> 32);
}

/** Makes a new set the current one of this instance. */
export function openLinkSet(): bool {
  const number = atomic.add<u32>(LINK_SETS, 1);
  if (number >= LINK_SETS_MAX) return false;
  const set = allocate(64 + <usize>FIRST_SLOTS * ENTRY_BYTES);
  if (set == 0) return false;
  store<u32>(set, <u32>(set + 64));
  store<u32>(set, FIRST_SLOTS - 1, 4);
  store<u32>(set, 0, 8);
  memory.fill(set + 64, 0, <usize>FIRST_SLOTS * ENTRY_BYTES);
  store<u32>(<usize>load<u32>(LINK_SET_LIST) + ((<usize>number) << 2), <u32>set);
  current = set;
  currentNumber = number;
  return true;
}

/** Number of the set this instance opened last. */
export function currentLinkSet(): u32 {
  return currentNumber;
}

/** A set nobody shall believe. */
export function dropLinkSet(number: u32): void {
  store<u32>(<usize>load<u32>(LINK_SET_LIST) + ((<usize>number) << 2), 0);
}

/** Goes on with the first set, that of pass 1. */
export function useFirstLinkSet(): void {
  current = load<u32>(<usize>load<u32>(LINK_SET_LIST));
}

/**
 * A set that may not grow, or has no memory left, takes no more links: whoever reads it must not
 * believe it complete.
 */
export let linksLost: bool = false;

export function addLink(id: usize, flags: u32): void {
  if (linksLost) return;
  const set = current;
  const mask = load<u32>(set, 4);
  const table: usize = load<u32>(set);
  let slot = hashId(id) & mask;
  while (true) {
    const entry = table + <usize>slot * ENTRY_BYTES;
    const have = load<u32>(entry, 20);
    if (have == 0) {
      memory.copy(entry, id, 20);
      store<u32>(entry, flags | USED, 20);
      const count = load<u32>(set, 8) + 1;
      store<u32>(set, count, 8);
      if (count > mask - (mask >>> 2)) grow(set);
      return;
    }
    if (sameId(entry, id)) {
      if ((have | flags) != have) store<u32>(entry, have | flags, 20);
      return;
    }
    slot = (slot + 1) & mask;
  }
}

function grow(set: usize): void {
  const oldTable: usize = load<u32>(set);
  const oldSlots = load<u32>(set, 4) + 1;
  const slots = oldSlots << 1;
  const isTooMany = atomic.add<u32>(LINK_SLOTS, slots) + slots > atomic.load<u32>(LINK_SLOTS_MAX);
  let table: usize = 0;
  if (!isTooMany) table = allocate(<usize>slots * ENTRY_BYTES);
  if (table == 0) {
    linksLost = true;
    return;
  }
  memory.fill(table, 0, <usize>slots * ENTRY_BYTES);
  const mask = slots - 1;
  for (let old: u32 = 0; old < oldSlots; old++) {
    const from = oldTable + <usize>old * ENTRY_BYTES;
    if (load<u32>(from, 20) == 0) continue;
    let slot = hashId(from) & mask;
    while (load<u32>(table + <usize>slot * ENTRY_BYTES, 20) != 0) slot = (slot + 1) & mask;
    memory.copy(table + <usize>slot * ENTRY_BYTES, from, ENTRY_BYTES);
  }
  store<u32>(set, <u32>table);
  store<u32>(set, mask, 4);
}
