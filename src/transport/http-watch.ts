/** Looks after the connections of one listener: cuts clients that keep us waiting, and requests that take for ever. */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { HttpTimes } from "./http.js";

export interface Watched {
  readonly startedMs: number;
  /** Since when the client owes us bytes or owes us to take some; undefined: it is our turn. */
  readonly waitingSinceMs: number | undefined;
  /** Bytes of the reply that have been handed to the system. */
  readonly sentBytes: number;
  /** The client owes us to take some. */
  readonly isSending: boolean;
  /** Resets the clock of the front end, which knows less than we do about who waits for whom. */
  touch(): void;
  /** Ends the request: nobody will be answered. */
  cut(fault: Fault): void;
}

export const DEFAULT_TIMES: HttpTimes = {
  idleMs: LIMITS.connectionIdleMs,
  totalMs: LIMITS.requestTotalMs,
  holdMs: LIMITS.replyHoldMs,
  rateWindowMs: LIMITS.replyRateWindowMs,
  rateBytesMin: LIMITS.replyRateBytesMin,
  tickMs: LIMITS.connectionClockResetMs,
};

/** How a reply leaves: what had left when it was waited for first, and for how long it was since. */
interface Pace {
  bytes: number;
  ms: number;
}

export class Watch {
  readonly #watched = new Map<Watched, Pace>();
  readonly #times: HttpTimes;
  readonly #timer: NodeJS.Timeout;
  #emptied: (() => void)[] = [];

  constructor(times: HttpTimes) {
    this.#times = times;
    this.#timer = setInterval(() => this.#tick(performance.now()), times.tickMs);
    this.#timer.unref();
  }

  get size(): number {
    return this.#watched.size;
  }

  add(entry: Watched): void {
    this.#watched.set(entry, { bytes: 0, ms: 0 });
  }

  delete(entry: Watched): void {
    if (!this.#watched.delete(entry) || this.#watched.size > 0) return;
    for (const resolve of this.#emptied.splice(0)) resolve();
  }

  /** Stops looking; waits up to `graceMs` until no request runs, then cuts those left. */
  async close(graceMs: number): Promise<void> {
    if (this.#watched.size > 0) await this.#emptiedWithin(graceMs);
    for (const entry of [...this.#watched.keys()]) entry.cut(new Fault("base/aborted", { reason: "the server stops" }));
    clearInterval(this.#timer);
  }

  #emptiedWithin(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#emptied.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Counts the time in which the client keeps us waiting, and compares at the end of each window. */
  #isTooSlow(entry: Watched, pace: Pace): boolean {
    const { rateWindowMs, rateBytesMin, tickMs } = this.#times;
    if (!entry.isSending) return false;
    pace.ms += tickMs;
    if (pace.ms < rateWindowMs) return false;
    const isSlow = entry.sentBytes - pace.bytes < (rateBytesMin * pace.ms) / 1_000;
    pace.bytes = entry.sentBytes;
    pace.ms = 0;
    return isSlow;
  }

  #tick(nowMs: number): void {
    for (const [entry, pace] of [...this.#watched]) {
      const idle = entry.waitingSinceMs !== undefined && nowMs - entry.waitingSinceMs > this.#times.idleMs;
      if (idle) entry.cut(new Fault("base/timeout", { idleMs: this.#times.idleMs }));
      else if (this.#isTooSlow(entry, pace)) entry.cut(new Fault("base/timeout", { bytesPerSecondMin: this.#times.rateBytesMin }));
      else if (nowMs - entry.startedMs > this.#times.totalMs)
        entry.cut(new Fault("base/timeout", { totalMs: this.#times.totalMs }));
      else entry.touch();
    }
  }
}
