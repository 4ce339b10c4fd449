/** Looks at the heads of lakeFS repositories now and then, so that new commits are synthesized before anyone asks. No hook tells of all changes: polling stays. */
import { asFault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { faultFacts, type Log } from "../observe/log.js";
import type { LakefsRefs } from "./lakefs-refs.js";

export class LakefsWatch {
  readonly #log: Log;
  readonly #watched = new Map<string, LakefsRefs>();
  readonly #timer: NodeJS.Timeout;
  readonly #stop = new AbortController();
  #looking: Promise<void> | undefined;

  constructor(log: Log, everyMs: number = LIMITS.lakefsPollMs) {
    this.#log = log;
    this.#timer = setInterval(() => this.look(), everyMs);
    this.#timer.unref();
  }

  add(repository: string, refs: LakefsRefs): void {
    this.#watched.set(repository, refs);
  }

  remove(repository: string): void {
    this.#watched.delete(repository);
  }

  /** Looks now, unless it is looking: a webhook's door. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#lookAtAll().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** One after the other: nobody waits for it. */
  async #lookAtAll(): Promise<void> {
    for (const [repository, refs] of this.#watched) {
      if (this.#stop.signal.aborted) return;
      await refs.read(this.#stop.signal).catch((error: unknown) => {
        if (!this.#stop.signal.aborted) this.#log.warn("a lakeFS repository could not be read ahead", { repository, ...faultFacts(asFault(error)) });
      });
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#looking;
  }
}
