// The state of one scan of pass 1: a whole pack's, or that of a segment of a file that several
// threads read (segments.ts). All of it lies in memory, so that the thread that takes the next
// slice need not be the one that took the last.
import { SCAN, UNWALKED } from "./layout";
import { countUnwalkedAt } from "./check";

export const PHASE: usize = 0; // 0 the pack's header, 1 entries, 2 all entries seen
export const POSITION: usize = 8; // u64: offset in the pack of the next byte
export const JOBS: usize = 16;
export const JOB_COUNT: usize = 20;
export const JOB_BYTES: usize = 24;
export const ROOM_AT: usize = 28; // where the next object goes
export const ROOM_END: usize = 32;
export const KEEPING: usize = 36; // 1: what lies in this room stays
export const RING: usize = 40; // the room that is used again and again once the budget is spent
export const IN_LARGE: usize = 44; // 1: inside an entry that is taken in pieces
export const LARGE_RECORD: usize = 48;
export const LARGE_STATE: usize = 52; // inflate state, then sha-1 state, then inflate scratch
export const LARGE_ROOM: usize = 56; // 32 KiB of history and the fresh output
export const LARGE_TARGET: usize = 60; // where fresh output goes
export const LARGE_HASH_AT: usize = 64; // first byte not hashed
export const LARGE_TOTAL: usize = 72; // u64: bytes made so far
export const LARGE_MESSAGE: usize = 80; // u64: bytes of the message, header included
export const WHOLE_MAX: usize = 88; // u64: larger entries are taken in pieces
export const S_COUNT: usize = 96; // entries seen
export const S_CLAIM: usize = 100; // objects the pack's header promises
export const S_DELTAS: usize = 104;
export const S_REF_DELTAS: usize = 108;
export const S_UNCHECKED: usize = 112;
export const S_UNWALKED: usize = 116;
// u64s, ascending: a segment ends where its position equals one; 0: none
export const STOPS: usize = 120;
export const S_BYTES: usize = 128;

/** Entries above this are taken in pieces: whole ones must fit in the window and in a room. */
export const WHOLE_BYTES: u64 = 512 << 10;

/** Address of the scan's state that this instance works on. */
export let state: usize = SCAN;

/** The scan this instance works on from now on. */
export function useScan(at: usize): void {
  state = at;
  countUnwalkedAt(at == SCAN ? UNWALKED : at + S_UNWALKED);
}
