/** A task's control word as a signal, for work that waits for others rather than computes. */
import { setMaxListeners } from "node:events";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { TaskWatch } from "../../pool/control.js";

/**
 * `gone`: aborted when the caller has gone. `signal`: then too, or when the task is to leave off.
 */
export function watchedSignal(
  control: SharedArrayBuffer,
  leftOff?: AbortSignal,
): { readonly gone: AbortSignal; readonly signal: AbortSignal; stop(): void } {
  const watch = new TaskWatch(control);
  const abort = new AbortController();
  const timer = setInterval(() => {
    try {
      watch.check();
    } catch (error) {
      abort.abort(error instanceof Fault ? error : new Fault("base/aborted", {}, error));
    }
  }, LIMITS.controlLookMs);
  const signal = leftOff === undefined ? abort.signal : AbortSignal.any([abort.signal, leftOff]);
  setMaxListeners(0, signal); // every content that waits for its turn listens
  return { gone: abort.signal, signal, stop: () => clearInterval(timer) };
}
