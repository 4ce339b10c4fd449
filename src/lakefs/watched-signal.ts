/** A task's control word as a signal, for work that waits for others rather than computes. */
import { setMaxListeners } from "node:events";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { TaskWatch } from "../pool/control.js";

export function watchedSignal(control: SharedArrayBuffer): { readonly signal: AbortSignal; stop(): void } {
  const watch = new TaskWatch(control);
  const abort = new AbortController();
  setMaxListeners(0, abort.signal); // every content that waits for its turn listens
  const timer = setInterval(() => {
    try {
      watch.check();
    } catch (error) {
      abort.abort(error instanceof Fault ? error : new Fault("base/aborted", {}, error));
    }
  }, LIMITS.controlLookMs);
  return { signal: abort.signal, stop: () => clearInterval(timer) };
}
