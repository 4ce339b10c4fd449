/**
 * Blocks of a local copy that is filled while it is read. Threads read the copy's file; which of
 * its blocks are there stands in shared memory, and a thread that needs one that is not asks for it
 * there and sleeps until it is. Words of 32 bits: how many times somebody has asked, then the state
 * of each block.
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";

export interface CopyBlocks {
  readonly states: SharedArrayBuffer;
  readonly blockBytes: number;
}

export const BLOCK_STATE = { ABSENT: 0, WANTED: 1, THERE: 2, FAILED: 3 } as const;
/** Word that counts what was asked for; GIVEN_UP: nobody serves it any more. */
export const ASKED_WORD = 0;
export const GIVEN_UP = -1;
/** Word of the first block's state. */
export const FIRST_BLOCK_WORD = 1;

/** A local file with the content of a key. */
export interface LocalCopy {
  readonly path: string;
  /** Absent: all of it is there. */
  readonly blocks?: CopyBlocks;
  /** Resolves once bytes [start, end) are there. Absent: they are. */
  readonly bring?: (start: number, end: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Sleeps until bytes [start, end) are there: in a pool thread, never on the main thread. Throws
 * "store/unreachable".
 */
export function waitForBlocks(
  { states, blockBytes }: CopyBlocks,
  start: number,
  end: number,
): void {
  const words = new Int32Array(states);
  for (let block = Math.floor(start / blockBytes); block * blockBytes < end; block++)
    waitForBlock(words, FIRST_BLOCK_WORD + block);
}

function waitForBlock(words: Int32Array, word: number): void {
  const { WANTED, THERE } = BLOCK_STATE;
  for (let isAsked = false; ; isAsked = true) {
    const state = Atomics.load(words, word);
    if (state === THERE) return;
    const isGivenUp = Atomics.load(words, ASKED_WORD) === GIVEN_UP;
    if (isGivenUp || (isAsked && state !== WANTED))
      throw new Fault("store/unreachable", { reason: "a part of a pack could not be read" });
    if (state !== WANTED) ask(words, word, state);
    if (Atomics.wait(words, word, WANTED, LIMITS.blockWaitMs) === "timed-out")
      throw new Fault("store/unreachable", { reason: "a part of a pack did not come in time" });
  }
}

/** Of several threads that want the same block one asks. */
function ask(words: Int32Array, word: number, state: number): void {
  if (Atomics.compareExchange(words, word, state, BLOCK_STATE.WANTED) !== state) return;
  Atomics.add(words, ASKED_WORD, 1);
  Atomics.notify(words, ASKED_WORD);
}
