/** The control word as a task looks at it: cheap enough for inner loops. */
import { Fault } from "../base/fault.js";

/** Work between two looks, in calls of `step`: objects read, entries copied. At a few µs each this is far below 10 ms. */
const STEPS_PER_LOOK = 64;

export class TaskWatch {
  readonly #words: Int32Array;
  #steps = 0;

  constructor(control: SharedArrayBuffer) {
    this.#words = new Int32Array(control);
  }

  /** Throws "base/aborted" when the caller has gone. */
  check(): void {
    if (Atomics.load(this.#words, 0) !== 0) throw new Fault("base/aborted");
  }

  /** `check`, once in a while. */
  step(): void {
    if (++this.#steps % STEPS_PER_LOOK === 0) this.check();
  }
}
