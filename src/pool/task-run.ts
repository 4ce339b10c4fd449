/**
 * One task on its thread. An abort is passed on: the task is asked by its control word and, if it
 * does not listen, ended with its thread (which costs a new one 0.2 s). So is a task that shows no
 * sign of life.
 */
import { LIMITS } from "../base/limits.js";
import {
  clockMs,
  CONTROL_ABORT,
  CONTROL_BEAT,
  CONTROL_BYTES,
  CONTROL_OTHERS,
  CONTROL_RUN,
  CONTROL_SINCE,
  CONTROL_TURN,
} from "./control.js";
import type { Lane } from "./lane.js";
import type { Priority, RunOptions, TaskShare } from "./task.js";

export interface RunPlace {
  readonly id: number;
  readonly lane: Lane;
  readonly share: TaskShare;
  readonly priority: Priority;
}

export class TaskRun {
  readonly place: RunPlace;
  readonly control = new SharedArrayBuffer(CONTROL_BYTES);
  readonly force = new AbortController();
  readonly onAway: RunOptions["onAway"];
  readonly #words = new Int32Array(this.control);
  readonly #signal: AbortSignal | undefined;
  #grace: NodeJS.Timeout | undefined;
  #beat = 0;
  #beatMs = performance.now();
  #turnMs = performance.now();
  #hung = false;
  #paused = false;

  constructor(place: RunPlace, { signal, onAway }: Pick<RunOptions, "signal" | "onAway">) {
    this.place = place;
    this.onAway = onAway;
    this.#words[CONTROL_RUN] = place.id;
    this.#words[CONTROL_SINCE] = clockMs();
    this.#signal = signal;
    if (signal?.aborted) this.#abort();
    else signal?.addEventListener("abort", this.#abort, { once: true });
  }

  /** It was ended for showing no sign of life. */
  get hung(): boolean {
    return this.#hung;
  }

  /** It has given up its turn and does not have it back. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Its caller has gone, and it is ending. */
  get isAborted(): boolean {
    return Atomics.load(this.#words, CONTROL_ABORT) !== 0;
  }

  /** Milliseconds of this turn. */
  get turnMs(): number {
    return performance.now() - this.#turnMs;
  }

  /** It has given up its turn. False: its caller has gone meanwhile, and it is ending. */
  pause(): boolean {
    if (this.isAborted) return false;
    this.#paused = true;
    return true;
  }

  /** It is its turn again. */
  resume(): void {
    this.#paused = false;
    this.#turnMs = performance.now();
    this.#beatMs = this.#turnMs;
    Atomics.store(this.#words, CONTROL_SINCE, clockMs());
    this.#wake();
  }

  /** So many tasks of others wait for its thread. */
  set others(count: number) {
    Atomics.store(this.#words, CONTROL_OTHERS, count);
  }

  /** Ends it where nothing has moved since `hangMs`. */
  look(nowMs: number, hangMs: number): void {
    const beat = Atomics.load(this.#words, CONTROL_BEAT);
    if (beat !== this.#beat || this.#paused) [this.#beat, this.#beatMs] = [beat, nowMs];
    if (nowMs - this.#beatMs < hangMs || this.#hung) return;
    this.#hung = true;
    this.force.abort();
  }

  release(): void {
    clearTimeout(this.#grace);
    this.#signal?.removeEventListener("abort", this.#abort);
  }

  #wake(): void {
    Atomics.store(this.#words, CONTROL_TURN, 0);
    Atomics.notify(this.#words, CONTROL_TURN);
  }

  readonly #abort = (): void => {
    Atomics.store(this.#words, CONTROL_ABORT, 1);
    this.#wake();
    // A task without its turn ends as soon as the one that has it lets go of the thread: that one
    // must not be ended with it.
    if (!this.#paused) this.#grace = setTimeout(() => this.force.abort(), LIMITS.taskAbortGraceMs);
  };
}
