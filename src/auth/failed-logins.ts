/**
 * Slows guessing down without locking anybody out: only logins that failed wait, one behind the
 * other per source, so whoever has a real token is never kept waiting by others at the same
 * address. A token that has ended (expired, revoked) is no guess and does not come here.
 */
import { LRUCache } from "lru-cache";
import { Fault } from "../base/fault.js";
import { Semaphore, sleep } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";

interface Source {
  failures: number;
  waiting: number;
  readonly turn: Semaphore;
}

export class FailedLogins {
  readonly #sources = new LRUCache<string, Source>({
    max: LIMITS.failedLoginSourcesMax,
    ttl: LIMITS.failedLoginForgetMs,
  });

  /** Number of sources that are remembered. */
  get sources(): number {
    return this.#sources.size;
  }

  /**
   * Waits as long as a failed login of this source has to. Throws "auth/throttled" where too many
   * wait already.
   */
  async failed(source: string, signal: AbortSignal): Promise<void> {
    const state = this.#sources.get(source) ?? { failures: 0, waiting: 0, turn: new Semaphore(1) };
    state.failures += 1;
    this.#sources.set(source, state);
    const waitMs = failedLoginWait(state.failures);
    if (waitMs === 0) return;
    if (state.waiting >= LIMITS.failedLoginQueueMax) throw new Fault("auth/throttled");
    state.waiting += 1;
    try {
      await state.turn.run(() => sleep(waitMs, signal), signal);
    } finally {
      state.waiting -= 1;
    }
  }
}

/** Milliseconds, of the failure with this number, from 1. */
export function failedLoginWait(failures: number): number {
  const { failedLoginsFree, failedLoginWaitMs, failedLoginWaitMsMax } = LIMITS;
  return failures <= failedLoginsFree
    ? 0
    : Math.min(failedLoginWaitMs * 2 ** (failures - failedLoginsFree - 1), failedLoginWaitMsMax);
}
