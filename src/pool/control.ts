/** The control words as a task looks at them: cheap enough for inner loops. */
import { Fault } from "../base/fault.js";

/** Words of `control`: 0 the caller has gone, 1 counts the task's signs of life. */
export const CONTROL_ABORT = 0;
export const CONTROL_BEAT = 1;
export const CONTROL_BYTES = 8;

/** Work between two looks, in calls of `step`: objects read, entries copied. At a few µs each this is far below 10 ms. */
const STEPS_PER_LOOK = 64;

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
}
