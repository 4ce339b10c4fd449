/**
 * One thread of the pool: a Piscina of its own. The library changes its number of threads only by
 * what it keeps private, and puts every task with an abort signal into a list of its own in front
 * of the queue it was given, so that no order but that of arrival is possible; of one thread it is
 * asked for one task at a time (beside those that have given up their turn and wait in it), and
 * does what it does well: start, abort, replace. The thread starts with its first task: a command
 * that needs none has none.
 */
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import { sleep } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { PauseMessage } from "./control.js";
import type { DispatchReply, DispatchRequest } from "./dispatch.js";
import type { TransferList } from "./task.js";

const CODE = fileURLToPath(new URL("./dispatch.js", import.meta.url));

export interface LaneData {
  readonly kernelsModule: WebAssembly.Module;
  readonly doors?: string | undefined;
  /**
   * Hears that a task of the lane has given up its turn, or wants none for a while (control.ts).
   */
  readonly onPaused: (message: PauseMessage) => void;
}

export class Lane {
  readonly #data: LaneData;
  #piscina: Piscina | undefined;
  /** One word: threads of this lane that have loaded their code (dispatch.ts). */
  readonly #loaded = new Int32Array(new SharedArrayBuffer(4));
  /** Threads it has had: the first, and one for each that was ended or died. */
  #threads = 0;
  /** A task has its turn here. */
  busy = false;
  /** Tasks that have given it up and wait here. */
  paused = 0;
  /** Tasks that have given it up and do not want it yet. */
  away = 0;
  /** It gets no more tasks. */
  retired = false;

  constructor(data: LaneData) {
    this.#data = data;
  }

  #start({ kernelsModule, doors, onPaused }: LaneData): Piscina {
    this.#threads++;
    const piscina = new Piscina({
      filename: CODE,
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      workerData: { kernelsModule, loaded: this.#loaded.buffer, doors },
      recordTiming: false,
      concurrentTasksPerWorker: LIMITS.taskPausesMax + LIMITS.taskAwayMax + 2,
      // The library gives a thread no second task beside one with an abort signal. Whose turn it
      // is, is ours to say.
      loadBalancer: (_task, [worker]) => worker ?? null,
    });
    piscina.on("message", onPaused);
    // A thread that dies between tasks is replaced by the library; its error belongs to no request.
    piscina.on("error", () => undefined);
    piscina.on("workerDestroy", () => {
      this.#threads++;
    });
    return piscina;
  }

  /** Threads of it that were ended or died. */
  get replaced(): number {
    return Math.max(0, this.#threads - 1);
  }

  /** Rejects with the library's own errors; `force` ends the thread under the task. */
  async run(
    task: DispatchRequest,
    force: AbortSignal,
    transfer: TransferList | undefined,
  ): Promise<DispatchReply> {
    this.#piscina ??= this.#start(this.#data);
    return (await this.#piscina.run(task, {
      signal: force,
      ...(transfer === undefined ? {} : { transferList: transfer as never }),
    })) as DispatchReply;
  }

  /**
   * Node.js aborts the whole process when a thread is ended while it loads its modules: waits for
   * one that has just begun.
   */
  async close(): Promise<void> {
    this.retired = true;
    for (
      let waitedMs = 0;
      waitedMs < LIMITS.taskAbortGraceMs && Atomics.load(this.#loaded, 0) < this.#threads;
      waitedMs += LIMITS.controlLookMs
    )
      await sleep(LIMITS.controlLookMs);
    await this.#piscina?.destroy();
  }
}
