/**
 * Looks at the heads of lakeFS repositories now and then, and at once when a webhook tells of a
 * change, so that new commits are synthesized before anyone asks. No hook of lakeFS tells of all
 * changes (none fires for a hard reset): polling stays.
 */
import { asFault } from "../base/fault.js";
import { Semaphore } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import { faultFacts, type Log } from "../observe/log.js";
import type { LakefsRefs } from "./refs.js";

interface Watched {
  /** lakeFS' name of it. */
  readonly repository: string;
  readonly refs: LakefsRefs;
  /** A look under way. */
  looking: Promise<void> | undefined;
  /** Something changed after that look had begun. */
  again: boolean;
}

export class LakefsWatch {
  readonly #log: Log;
  /** By our own id: two names of ours may stand for one repository of lakeFS. */
  readonly #watched = new Map<string, Watched>();
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #stop = new AbortController();
  readonly #turns = new Semaphore(LIMITS.lakefsLooksMax);

  /** `everyMs` 0: only when told to. */
  constructor(log: Log, everyMs: number = LIMITS.lakefsPollMs) {
    this.#log = log;
    if (everyMs > 0) this.#timer = setInterval(() => void this.look(), everyMs).unref();
  }

  add(id: string, repository: string, refs: LakefsRefs): void {
    this.#watched.set(id, { repository, refs, looking: undefined, again: false });
  }

  remove(id: string): void {
    this.#watched.delete(id);
  }

  /** Looks at all of them; one that is being looked at is not looked at twice. Never rejects. */
  async look(): Promise<void> {
    await Promise.all([...this.#watched.values()].map((one) => this.#lookAt(one)));
  }

  /**
   * A change was told of: looks even if a look is under way, after it. False: this repository is
   * not watched.
   */
  changed(repository: string): boolean {
    const concerned = [...this.#watched.values()].filter((one) => one.repository === repository);
    for (const one of concerned) {
      one.again = one.looking !== undefined;
      void this.#lookAt(one);
    }
    return concerned.length > 0;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await Promise.all([...this.#watched.values()].map(({ looking }) => looking));
  }

  #lookAt(one: Watched): Promise<void> {
    one.looking ??= this.#read(one).finally(() => {
      one.looking = undefined;
      if (!one.again || this.#stop.signal.aborted) return;
      one.again = false;
      void this.#lookAt(one);
    });
    return one.looking;
  }

  async #read({ repository, refs }: Watched): Promise<void> {
    const { signal } = this.#stop;
    try {
      await this.#turns.run(async () => void (await refs.read(signal)), signal);
    } catch (error) {
      if (!signal.aborted)
        this.#log.warn("a lakeFS repository could not be read ahead", {
          repository,
          ...faultFacts(asFault(error)),
        });
    }
  }
}
