/**
 * Looks after the connections of one listener: cuts clients that keep us waiting, and requests that
 * take for ever.
 */
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { HttpTimes } from "./contract.js";

export interface Watched {
  readonly startedMs: number;
  /** Since when the client owes us bytes or owes us to take some; undefined: it is our turn. */
  readonly waitingSinceMs: number | undefined;
  /** Bytes of the reply that have been handed to the system. */
  readonly sentBytes: number;
  /** Bytes of the body that have come. */
  readonly receivedBytes: number;
  /** The client owes us to take some. */
  readonly isSending: boolean;
  /** The client owes us some of the body. */
  readonly isReceiving: boolean;
  /** Resets the clock of the front end, which knows less than we do about who waits for whom. */
  touch(): void;
  /** Ends the request: nobody will be answered. */
  cut(fault: Fault): void;
}

export const DEFAULT_TIMES: HttpTimes = {
  idleMs: LIMITS.connectionIdleMs,
  silentMs: LIMITS.requestSilentMs,
  unreadBodyMs: LIMITS.unreadBodyMs,
  holdMs: LIMITS.replyHoldMs,
  rateWindowMs: LIMITS.replyRateWindowMs,
  rateBytesMin: LIMITS.replyRateBytesMin,
  bodyRateBytesMin: LIMITS.bodyRateBytesMin,
  tickMs: LIMITS.connectionClockResetMs,
};

/**
 * Progress in one direction: the bytes when the client was waited for first, and the time it was
 * since.
 */
interface Pace {
  bytes: number;
  ms: number;
}

interface Progress {
  readonly sending: Pace;
  readonly receiving: Pace;
  /** Bytes in both directions when they were counted last, and since when they are so many. */
  bytes: number;
  sinceMs: number;
}

export class Watch {
  readonly #watched = new Map<Watched, Progress>();
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
    const pace = () => ({ bytes: 0, ms: 0 });
    this.#watched.set(entry, {
      sending: pace(),
      receiving: pace(),
      bytes: 0,
      sinceMs: entry.startedMs,
    });
  }

  delete(entry: Watched): void {
    if (!this.#watched.delete(entry) || this.#watched.size > 0) return;
    for (const resolve of this.#emptied.splice(0)) resolve();
  }

  /** Stops looking; waits up to `graceMs` until no request runs, then cuts those left. */
  async close(graceMs: number): Promise<void> {
    if (this.#watched.size > 0) await this.#emptiedWithin(graceMs);
    for (const entry of [...this.#watched.keys()])
      entry.cut(new Fault("base/aborted", { reason: "the server stops" }));
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

  #tick(nowMs: number): void {
    for (const [entry, progress] of [...this.#watched]) {
      const complaint = this.#complaint(entry, progress, nowMs);
      if (complaint === undefined) entry.touch();
      else entry.cut(new Fault("base/timeout", complaint));
    }
  }

  #complaint(
    entry: Watched,
    progress: Progress,
    nowMs: number,
  ): Readonly<Record<string, number>> | undefined {
    const { idleMs, rateBytesMin, bodyRateBytesMin, silentMs } = this.#times;
    const { waitingSinceMs, isSending, isReceiving, sentBytes, receivedBytes } = entry;
    if (waitingSinceMs !== undefined && nowMs - waitingSinceMs > idleMs) return { idleMs };
    if (isSending && this.#isTooSlow(progress.sending, sentBytes, rateBytesMin))
      return { bytesPerSecondMin: rateBytesMin };
    if (isReceiving && this.#isTooSlow(progress.receiving, receivedBytes, bodyRateBytesMin))
      return { bytesPerSecondMin: bodyRateBytesMin };
    const bytes = sentBytes + receivedBytes;
    if (bytes !== progress.bytes) [progress.bytes, progress.sinceMs] = [bytes, nowMs];
    return nowMs - progress.sinceMs > silentMs ? { silentMs } : undefined;
  }

  /**
   * Counts the time in which the client keeps us waiting, and compares at the end of each window.
   */
  #isTooSlow(pace: Pace, bytes: number, bytesPerSecondMin: number): boolean {
    const { rateWindowMs, tickMs } = this.#times;
    pace.ms += tickMs;
    if (pace.ms < rateWindowMs) return false;
    const isSlow = bytes - pace.bytes < (bytesPerSecondMin * pace.ms) / 1_000;
    pace.bytes = bytes;
    pace.ms = 0;
    return isSlow;
  }
}
