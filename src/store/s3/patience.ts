/** Waits between the tries of one call: doubled each time, in part by chance, within a budget. */
import { sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Outcome } from "./outcome.js";

export class Patience {
  readonly #untilMs: number;
  #tries = 1;

  constructor(patienceMs: number) {
    this.#untilMs = performance.now() + patienceMs;
  }

  /** Waits before the next try; false: there is none. Throws "base/aborted". */
  async again(
    failure: Extract<Outcome, { as: "undone" | "unknown" }>,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const { fault, afterMs = 0 } = failure;
    const firstMs = fault.code === "store/throttled" ? LIMITS.s3ThrottledMs : LIMITS.s3RetryMs;
    const mostMs = Math.min(firstMs * 2 ** (this.#tries - 1), LIMITS.s3RetryMsMax);
    const ms = Math.max(afterMs, mostMs * (0.5 + Math.random() / 2));
    if (this.#tries >= LIMITS.s3TriesMax || performance.now() + ms > this.#untilMs) return false;
    this.#tries++;
    await sleep(ms, signal);
    return true;
  }
}
