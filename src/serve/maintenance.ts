/** Work that follows a push and that nobody waits for: once per repository, a little after its last change. */
import { asFault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { faultFacts, type Log } from "../observe/log.js";

/** `leaving`: the server is about to end; what can wait until the next push should. */
export type Upkeep = (signal: AbortSignal, leaving: boolean) => Promise<void>;

interface Planned {
  readonly timer: NodeJS.Timeout;
  readonly work: Upkeep;
}

export class Maintenance {
  readonly #log: Log;
  readonly #planned = new Map<string, Planned>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();
  #leaving = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Runs `work` soon; asked for again before that, it runs once. */
  plan(id: string, work: Upkeep): void {
    if (this.#stopping.signal.aborted || this.#planned.has(id)) return;
    const timer = setTimeout(() => void this.#start(id, work), LIMITS.maintenanceDelayMs).unref();
    this.#planned.set(id, { timer, work });
  }

  /** Does at once what is planned, and resolves when all of it is done. */
  async settle(): Promise<void> {
    for (const [id, { timer, work }] of [...this.#planned]) {
      clearTimeout(timer);
      void this.#start(id, work);
    }
    await Promise.all(this.#running.values());
  }

  /** As `settle`, and takes no more work. */
  async stop(): Promise<void> {
    this.#leaving = true;
    await this.settle();
    this.#stopping.abort();
  }

  #start(id: string, work: Upkeep): Promise<void> {
    this.#planned.delete(id);
    const before = this.#running.get(id) ?? Promise.resolve();
    const run = before
      .then(() => work(this.#stopping.signal, this.#leaving))
      .catch((error: unknown) => this.#log.warn("maintenance failed", { repository: id, ...faultFacts(asFault(error)) }))
      .finally(() => {
        if (this.#running.get(id) === run) this.#running.delete(id);
      });
    this.#running.set(id, run);
    return run;
  }
}
