/**
 * One task on its thread. An abort is passed on: the task is asked by its control word and, if it does not listen, ended with its thread (which costs
 * a new one 0.2 s). So is a task that shows no sign of life.
 */
import { LIMITS } from "../base/limits.js";
import { CONTROL_ABORT, CONTROL_BEAT, CONTROL_BYTES } from "./control.js";

export class TaskRun {
  readonly control = new SharedArrayBuffer(CONTROL_BYTES);
  readonly force = new AbortController();
  readonly #words = new Int32Array(this.control);
  readonly #signal: AbortSignal | undefined;
  #grace: NodeJS.Timeout | undefined;
  #beat = 0;
  #beatMs = performance.now();
  #hung = false;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
    if (signal?.aborted) this.#abort();
    else signal?.addEventListener("abort", this.#abort, { once: true });
  }

  /** It was ended for showing no sign of life. */
  get hung(): boolean {
    return this.#hung;
  }

  /** Ends it where nothing has moved since `hangMs`. */
  look(nowMs: number, hangMs: number): void {
    const beat = Atomics.load(this.#words, CONTROL_BEAT);
    if (beat !== this.#beat) [this.#beat, this.#beatMs] = [beat, nowMs];
    if (nowMs - this.#beatMs < hangMs || this.#hung) return;
    this.#hung = true;
    this.force.abort();
  }

  release(): void {
    clearTimeout(this.#grace);
    this.#signal?.removeEventListener("abort", this.#abort);
  }

  readonly #abort = (): void => {
    Atomics.store(this.#words, CONTROL_ABORT, 1);
    this.#grace = setTimeout(() => this.force.abort(), LIMITS.taskAbortGraceMs);
  };
}
