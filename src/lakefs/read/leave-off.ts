/**
 * Work that is called off, and has a moment to keep what it has: a first reading takes minutes, and
 * whoever waits for it may go away, or the server be stopped. Its task hears of it over its port
 * and ends with what it has; what does not end in that moment is thrown away.
 */
import { setMaxListeners } from "node:events";
import { LIMITS } from "../../base/limits.js";
import type { ServedPort } from "../../pool/port.js";
import type { SynthesisWord } from "../trees/tasks.js";

export class LeavingOff {
  /** Aborted when the moment is over. */
  readonly over: AbortSignal;
  readonly #asked: AbortSignal;
  readonly #end = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  /** `asked`: when it is called off. */
  constructor(asked: AbortSignal) {
    this.#asked = asked;
    this.over = this.#end.signal;
    setMaxListeners(0, this.over);
    if (asked.aborted) this.#end.abort(asked.reason);
    else asked.addEventListener("abort", this.#begin, { once: true });
  }

  /** Runs a task that listens on the other end of `port` (HashMemory). */
  async telling<T>(
    port: Pick<ServedPort<SynthesisWord>, "say">,
    task: () => Promise<T>,
  ): Promise<T> {
    const tell = () => port.say("leave off");
    if (this.#asked.aborted) tell();
    else this.#asked.addEventListener("abort", tell, { once: true });
    try {
      return await task();
    } finally {
      this.#asked.removeEventListener("abort", tell);
    }
  }

  /** The work has ended. */
  end(): void {
    clearTimeout(this.#timer);
    this.#asked.removeEventListener("abort", this.#begin);
  }

  readonly #begin = (): void => {
    this.#timer = setTimeout(() => this.#end.abort(this.#asked.reason), LIMITS.lakefsLeaveOffMs);
  };
}
