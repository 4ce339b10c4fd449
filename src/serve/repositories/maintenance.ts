/**
 * Work that follows a change and that nobody waits for: once per repository, a little after its
 * first one, and where it is asked for once more when it has become quiet.
 */
import { asFault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { faultFacts, type Log } from "../../observe/log.js";

/** `leaving` aborts when the server is about to end: what can wait until the next change should. */
export type Upkeep = (signal: AbortSignal, leaving: AbortSignal) => Promise<void>;

interface Planned {
  readonly timer: NodeJS.Timeout;
  readonly work: Upkeep;
}

export class Maintenance {
  readonly #log: Log;
  readonly #planned = new Map<string, Planned>();
  readonly #quiet = new Map<string, NodeJS.Timeout>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();
  readonly #leaving = new AbortController();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Runs `work` soon; asked for again before that, it runs once. */
  plan(id: string, work: Upkeep): void {
    if (this.#stopping.signal.aborted || this.#planned.has(id)) return;
    const begin = () => {
      this.#planned.delete(id);
      void this.#start(id, work);
    };
    this.#planned.set(id, { timer: setTimeout(begin, LIMITS.maintenanceDelayMs).unref(), work });
  }

  /**
   * Runs `work` once this was not asked for any more for `maintenanceQuietMs`. A server that ends
   * does without.
   */
  planQuiet(id: string, work: Upkeep): void {
    if (this.#leaving.signal.aborted) return;
    clearTimeout(this.#quiet.get(id));
    const begin = () => {
      this.#quiet.delete(id);
      void this.#start(id, work);
    };
    this.#quiet.set(id, setTimeout(begin, LIMITS.maintenanceQuietMs).unref());
  }

  /** Does this behind what runs for the repository, and answers as it does. */
  inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      void this.#start(id, () => work().then(resolve, reject));
    });
  }

  /** Does at once what is planned, and resolves when all of it is done. */
  async settle(): Promise<void> {
    for (const [id, { timer, work }] of [...this.#planned]) {
      clearTimeout(timer);
      this.#planned.delete(id);
      void this.#start(id, work);
    }
    await Promise.all(this.#running.values());
  }

  /** As `settle`, and takes no more work. */
  async stop(): Promise<void> {
    this.#leaving.abort();
    for (const timer of this.#quiet.values()) clearTimeout(timer);
    this.#quiet.clear();
    await this.settle();
    this.#stopping.abort();
  }

  #start(id: string, work: Upkeep): Promise<void> {
    const before = this.#running.get(id) ?? Promise.resolve();
    const run = before
      .then(() => work(this.#stopping.signal, this.#leaving.signal))
      .catch((error: unknown) =>
        this.#log.warn("maintenance failed", { repository: id, ...faultFacts(asFault(error)) }),
      )
      .finally(() => {
        if (this.#running.get(id) === run) this.#running.delete(id);
      });
    this.#running.set(id, run);
    return run;
  }
}
