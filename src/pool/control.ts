/**
 * The control words as a task looks at them: cheap enough for inner loops. A task shows by them
 * that it lives, hears that its caller has gone, and gives up its turn where others wait:
 *
 *   for (…) {
 *     watch.step();                                   // every few µs of work
 *     if (watch.shouldYield()) await watch.turn();    // every few ms, wherever the task can wait:
 *                                                     its state stays in this thread
 *   }
 *
 * Between `turn` and its return other tasks run in the same thread: what it shares with them
 * (caches, scratch) may have changed.
 */
import { type MessagePort, parentPort } from "node:worker_threads";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";

/** Words of `control`: 0 the caller has gone, 1 counts the task's signs of life. */
export const CONTROL_ABORT = 0;
export const CONTROL_BEAT = 1;
/** Word that counts the tasks of others that wait for this thread. */
export const CONTROL_OTHERS = 2;
/** 1: the task has given up its turn; the pool sets it to 0, and notifies. */
export const CONTROL_TURN = 3;
/** When its turn began: Date.now() in 31 bits. */
export const CONTROL_SINCE = 4;
/** The task's number in its pool. */
export const CONTROL_RUN = 5;
export const CONTROL_BYTES = 24;

/**
 * Message of a thread to the pool: the task of this number gives up its turn and waits for the
 * next one, or will not want one for a while.
 */
export type PauseMessage = { readonly paused: number } | { readonly away: number };

/**
 * Work between two looks, in calls of `step`: objects read, entries copied. At a few µs each this
 * is far below 10 ms.
 */
const STEPS_PER_LOOK = 64;

/** The clock of CONTROL_SINCE. It wraps after 24 days: only differences count. */
export function clockMs(): number {
  return Date.now() & 0x7fff_ffff;
}

export class TaskWatch {
  readonly #words: Int32Array;
  #steps = 0;

  constructor(control: SharedArrayBuffer) {
    this.#words = new Int32Array(control);
  }

  /** Shows that the task lives; throws "base/aborted" when the caller has gone. */
  check(): void {
    Atomics.add(this.#words, CONTROL_BEAT, 1);
    if (Atomics.load(this.#words, CONTROL_ABORT) !== 0) throw new Fault("base/aborted");
  }

  /** `check`, once in a while. */
  step(): void {
    if (++this.#steps % STEPS_PER_LOOK === 0) this.check();
  }

  /**
   * Returns whether another caller's or repository's task waits for this thread and this one has
   * had its time slice. Ask it at least every 100 ms of work.
   */
  shouldYield(): boolean {
    if (Atomics.load(this.#words, CONTROL_OTHERS) <= 0) return false;
    return (
      ((clockMs() - Atomics.load(this.#words, CONTROL_SINCE)) & 0x7fff_ffff) >= LIMITS.taskSliceMs
    );
  }

  /**
   * Gives the thread to those who wait and comes back when it is this task's turn again. Throws
   * "base/aborted".
   */
  async turn(): Promise<void> {
    if (parentPort === null) return;
    this.#leave();
    await this.#comeBack(parentPort);
  }

  /**
   * Gives the thread to others while `work` waits for somebody who may take minutes, and comes back
   * when it is this task's turn again. `work` is little more than that wait, and hears an abort by
   * itself. Throws what `work` throws, "base/aborted".
   */
  async away<T>(work: () => Promise<T>): Promise<T> {
    if (parentPort === null) return work();
    this.#leave();
    parentPort.postMessage({ away: this.#number } satisfies PauseMessage);
    try {
      return await work();
    } finally {
      await this.#comeBack(parentPort);
    }
  }

  get #number(): number {
    return Atomics.load(this.#words, CONTROL_RUN);
  }

  #leave(): void {
    Atomics.store(this.#words, CONTROL_TURN, 1);
    this.check(); // an abort after this look resets the word
  }

  async #comeBack(port: MessagePort): Promise<void> {
    port.postMessage({ paused: this.#number } satisfies PauseMessage);
    const { async, value } = Atomics.waitAsync(this.#words, CONTROL_TURN, 1);
    if (async) await value;
    this.check();
  }
}
