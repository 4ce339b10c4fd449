/** The pool as an operator sees and changes it, while the server runs. */
import type { PoolFigures, PoolSize } from "../pool/pool.js";

export interface PoolApiOptions {
  readonly pool: { figures(): PoolFigures; resize(size: PoolSize): void };
  /** Tells those who count on the number of threads. */
  readonly resized: () => void;
}

export interface PoolView {
  readonly threads: number;
  /** Tasks that may wait. */
  readonly queue: number;
  readonly running: number;
  readonly waiting: number;
  readonly completed: number;
  /** Threads that died, hung, or did not listen to an abort. */
  readonly replaced: number;
}

export class PoolApi {
  readonly #options: PoolApiOptions;

  constructor(options: PoolApiOptions) {
    this.#options = options;
  }

  show(): PoolView {
    const {
      threads,
      queueMax: queue,
      running,
      queued: waiting,
      completed,
      replaced,
    } = this.#options.pool.figures();
    return { threads, queue, running, waiting, completed, replaced };
  }

  /** Changes the pool; absent numbers stay. No task is dropped. */
  set({ threads, queue }: { readonly threads?: number; readonly queue?: number }): PoolView {
    const { pool, resized } = this.#options;
    const now = pool.figures();
    pool.resize({ threads: threads ?? now.threads, queueMax: queue ?? now.queueMax });
    if (threads !== undefined && threads !== now.threads) resized();
    return this.show();
  }
}
