/** The thread pool: Piscina behind the contract of tasks.ts. */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Piscina, queueOptionsSymbol } from "piscina";
import { Fault } from "../base/fault.js";
import { sleep } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import { CONTROL_ABORT, CONTROL_BEGUN, CONTROL_BYTES, type DispatchFailure, type DispatchReply, type DispatchRequest } from "./dispatch.js";
import { PriorityQueue } from "./task-queue.js";
import type { Pool, RunOptions, TaskControl, TaskName, TaskRequest, TaskResult } from "./tasks.js";

export interface PoolOptions {
  /** Threads; default: one a core, at least two so that one long task does not stop all others. */
  readonly threads?: number;
  /** Compiled kernels, shared by all threads (workerData.kernelsModule). */
  readonly kernelsModule: WebAssembly.Module;
  readonly queueMax?: number;
  /** Folder URL of the doors, for tests; default: workers/. */
  readonly doors?: string;
}

/** Figures for /metrics and the bench. Times in milliseconds. */
export interface PoolFigures {
  readonly threads: number;
  readonly queued: number;
  readonly completed: number;
  readonly waitMsMean: number;
  readonly waitMsMax: number;
  readonly runMsMean: number;
}

export function defaultThreads(): number {
  return Math.max(2, availableParallelism());
}

export function createPool(options: PoolOptions): ThreadPool {
  return new ThreadPool(options);
}

export class ThreadPool implements Pool {
  readonly threads: number;
  readonly #piscina: Piscina;
  readonly #queueMax: number;
  /** One word: threads that have loaded their code (dispatch.ts). */
  readonly #loaded = new Int32Array(new SharedArrayBuffer(4));
  #running = 0;

  constructor(options: PoolOptions) {
    this.threads = options.threads ?? defaultThreads();
    this.#queueMax = options.queueMax ?? LIMITS.poolQueueMax;
    this.#piscina = new Piscina({
      filename: fileURLToPath(new URL("./dispatch.js", import.meta.url)),
      minThreads: this.threads,
      maxThreads: this.threads,
      idleTimeout: Number.POSITIVE_INFINITY,
      taskQueue: new PriorityQueue(),
      workerData: { kernelsModule: options.kernelsModule, loaded: this.#loaded.buffer, doors: options.doors },
      recordTiming: true,
    });
    // A thread that dies between tasks is replaced by the library; its error belongs to no request.
    this.#piscina.on("error", () => undefined);
  }

  async run<K extends TaskName>(name: K, request: TaskRequest<K>, options: RunOptions = {}): Promise<TaskResult<K>> {
    if (this.#running >= this.threads + this.#queueMax) throw new Fault("pool/saturated", { queued: this.#running });
    this.#running++;
    const watch = new AbortWatch(options.signal);
    try {
      const message: DispatchRequest = { name, request: { ...request, control: watch.control } as TaskControl };
      const task = Object.assign(message, { [queueOptionsSymbol]: { priority: options.priority ?? "interactive" } });
      const reply = (await this.#piscina.run(task, {
        signal: watch.force.signal,
        ...(options.transfer === undefined ? {} : { transferList: options.transfer as never }),
      })) as DispatchReply;
      if ("failure" in reply) throw rebuild(reply);
      return reply.value as TaskResult<K>;
    } catch (error) {
      if (error instanceof Fault) throw error;
      if (options.signal?.aborted) throw new Fault("base/aborted", {}, error);
      throw new Fault("pool/worker-died", { task: name }, error);
    } finally {
      this.#running--;
      watch.release();
    }
  }

  figures(): PoolFigures {
    const { histogram, queueSize, completed } = this.#piscina;
    const { waitTime, runTime } = histogram;
    return {
      threads: this.threads,
      queued: queueSize,
      completed,
      waitMsMean: waitTime.average ?? 0,
      waitMsMax: waitTime.max ?? 0,
      runMsMean: runTime.average ?? 0,
    };
  }

  /** Node.js aborts the whole process when a thread is ended while it loads its modules: wait for those that have just begun. */
  async close(): Promise<void> {
    for (let waitedMs = 0; waitedMs < LIMITS.taskAbortGraceMs && Atomics.load(this.#loaded, 0) < this.threads; waitedMs += LIMITS.controlLookMs)
      await sleep(LIMITS.controlLookMs);
    await this.#piscina.destroy();
  }
}

function rebuild(reply: DispatchFailure): Fault {
  const fault = new Fault(reply.failure.fault, reply.failure.facts);
  if (reply.stack !== undefined) fault.stack = reply.stack;
  return fault;
}

/**
 * Passes an abort on: a waiting task is taken out of the queue, a running one is asked by its control word and, if
 * it does not listen, ended with its thread (which costs a new thread 0.2 s).
 */
class AbortWatch {
  readonly control = new SharedArrayBuffer(CONTROL_BYTES);
  readonly force = new AbortController();
  readonly #words = new Int32Array(this.control);
  readonly #signal: AbortSignal | undefined;
  #grace: NodeJS.Timeout | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
    if (signal?.aborted) this.#abort();
    else signal?.addEventListener("abort", this.#abort, { once: true });
  }

  release(): void {
    clearTimeout(this.#grace);
    this.#signal?.removeEventListener("abort", this.#abort);
  }

  readonly #abort = (): void => {
    Atomics.store(this.#words, CONTROL_ABORT, 1);
    if (Atomics.load(this.#words, CONTROL_BEGUN) === 0) this.force.abort();
    else this.#grace = setTimeout(() => this.force.abort(), LIMITS.taskAbortGraceMs);
  };
}
