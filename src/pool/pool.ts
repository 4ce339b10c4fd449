/**
 * The thread pool behind the contract of tasks.ts: lanes of one thread each, a bounded queue in
 * front of them. Both can change while it works.
 */
import { availableParallelism } from "node:os";
import { Fault, fromRecord } from "../base/fault.js";
import { checkAborted, failureUnder, orAbort } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { PauseMessage } from "./control.js";
import type { DispatchFailure, DispatchRequest } from "./dispatch.js";
import { FairQueue, type Waiting } from "./fair-queue.js";
import { Lane, type LaneData } from "./lane.js";
import { type RunPlace, TaskRun } from "./task-run.js";
import {
  type Asked,
  OWN_SHARE,
  type Pool,
  type Priority,
  type RunOptions,
  type Task,
  type TaskControl,
  type TaskShare,
} from "./task.js";

export interface PoolOptions {
  /** Threads; default: one a core, at least two so that one long task does not stop all others. */
  readonly threads?: number;
  /** Compiled kernels, shared by all threads (workerData.kernelsModule). */
  readonly kernelsModule: WebAssembly.Module;
  readonly queueMax?: number;
  /** Milliseconds without a sign of life after which a task is ended; default: LIMITS has it. */
  readonly hangMs?: number;
  /** Hears how long each task waited for its thread. */
  readonly onWaited?: (priority: Priority, milliseconds: number) => void;
  /** Folder URL of the doors, for tests; default: workers/. */
  readonly doors?: string;
}

export interface PoolSize {
  readonly threads: number;
  /** Tasks that may wait. */
  readonly queueMax: number;
}

/** Figures for /metrics and the bench. Times in milliseconds. */
export interface PoolFigures extends PoolSize {
  readonly running: number;
  readonly queued: number;
  /** Tasks that have given up their turn, and wait for the next or for somebody else. */
  readonly paused: number;
  readonly completed: number;
  readonly waitMsMean: number;
  readonly waitMsMax: number;
  readonly runMsMean: number;
  /** Milliseconds of all tasks that have ended. */
  readonly runMs: number;
  /** Threads that died, hung, or did not listen to an abort, and have a successor. */
  readonly replaced: number;
}

/** Part of the queue that one repository or caller cannot fill: somebody else finds room. */
const KEPT_FOR_OTHERS = 1 / 4;

export function defaultThreads(): number {
  return Math.max(2, availableParallelism());
}

export function createPool(options: PoolOptions): ThreadPool {
  return new ThreadPool(options);
}

type Grant = (lane: Lane) => void;

/** A task that has given up its turn, and its place in the queue. */
type Paused = Waiting<Grant>;

export class ThreadPool implements Pool {
  readonly #laneData: LaneData;
  readonly #lanes = new Set<Lane>();
  readonly #queue = new FairQueue<Grant>();
  readonly #runs = new Map<number, TaskRun>();
  readonly #paused = new Map<TaskRun, Paused>();
  /** Tasks that wait for somebody else and want no turn yet. */
  readonly #away = new Set<TaskRun>();
  #lastRun = 0;
  /** Lanes that were given up, until their threads have ended. */
  readonly #closing = new Set<Promise<void>>();
  readonly #look: NodeJS.Timeout;
  readonly #onWaited: PoolOptions["onWaited"];
  #queueMax: number;
  #figures = { completed: 0, waitMs: 0, waitMsMax: 0, runMs: 0, replacedBefore: 0 };

  constructor({
    threads = defaultThreads(),
    queueMax = LIMITS.poolQueueMax,
    hangMs = LIMITS.taskHangMs,
    kernelsModule,
    doors,
    onWaited,
  }: PoolOptions) {
    this.#onWaited = onWaited;
    this.#laneData = { kernelsModule, doors, onPaused: (message) => this.#onPaused(message) };
    this.#queueMax = queueMax;
    this.#look = setInterval(
      () => this.#lookAtRuns(hangMs),
      Math.min(LIMITS.taskLookMs, hangMs / 4),
    ).unref();
    this.resize({ threads, queueMax });
  }

  get threads(): number {
    return this.#lanes.size;
  }

  run<Request extends TaskControl, Result>(
    task: Task<Request, Result>,
    request: Asked<Request>,
    options: RunOptions = {},
  ): Promise<Result> {
    return this.runFor(OWN_SHARE, task, request, options);
  }

  sharedBy(share: TaskShare): Pool {
    return new SharedPool(this, share);
  }

  checkRoom(share: TaskShare = OWN_SHARE): void {
    if (this.#idleLane() === undefined && !this.#hasRoom(share))
      throw new Fault("pool/saturated", { queued: this.#queue.size });
  }

  async runFor<Request extends TaskControl, Result>(
    share: TaskShare,
    task: Task<Request, Result>,
    request: Asked<Request>,
    options: RunOptions = {},
  ): Promise<Result> {
    const { signal, priority = "interactive", transfer } = options;
    checkAborted(signal);
    const asked = performance.now();
    const lane = this.#takeIdle() ?? (await this.#turn({ share, priority, signal }));
    this.#count(priority, performance.now() - asked);
    const run = this.#begin({ id: ++this.#lastRun, lane, share, priority }, options);
    try {
      return await execute<Result>(
        lane,
        run,
        { name: task.name, request: { ...request, control: run.control } as TaskControl },
        options.signal,
        transfer,
      );
    } finally {
      this.#end(run);
    }
  }

  #begin(place: RunPlace, options: RunOptions): TaskRun {
    this.#queue.started(place.share);
    // Wrapped after two thousand million tasks: the number lies in 32 bits, and those of then have
    // long ended.
    if (this.#lastRun === 0x7fff_ffff) this.#lastRun = 0;
    const run = new TaskRun(place, options);
    this.#runs.set(place.id, run);
    this.#tellOthers();
    return run;
  }

  #end(run: TaskRun): void {
    const { id, lane } = run.place;
    this.#runs.delete(id);
    run.release();
    this.#figures.completed++;
    const waiting = this.#paused.get(run);
    if (waiting === undefined && !this.#away.has(run)) {
      this.#charge(run);
      this.#give(lane);
      return;
    }
    // Its caller went, or its thread ended, while another had the turn.
    if (waiting === undefined) this.#back(run);
    else {
      this.#forget(run);
      this.#queue.remove(waiting);
    }
    if (lane.retired && !lane.busy && isEmpty(lane)) this.#close(lane);
  }

  /** Counts the turn that is over for whom it was. */
  #charge(run: TaskRun): void {
    this.#figures.runMs += run.turnMs;
    this.#queue.ended(run.place.share, run.turnMs);
  }

  #onPaused(message: PauseMessage): void {
    const run = this.#runs.get("away" in message ? message.away : message.paused);
    if (run === undefined) return; // it has ended meanwhile
    if ("away" in message) this.#leave(run);
    else if (this.#away.has(run)) this.#return(run);
    else if (run.pause()) this.#pause(run);
  }

  /**
   * A task has given up its turn: its thread goes to who is next, and it stands in the queue for
   * the next turn there.
   */
  #pause(run: TaskRun): void {
    this.#charge(run);
    this.#enqueue(run);
    this.#give(run.place.lane);
  }

  /**
   * A task waits for somebody else: its thread goes to who is next. Where so many do already it
   * keeps the thread.
   */
  #leave(run: TaskRun): void {
    const { lane } = run.place;
    if (lane.away >= LIMITS.taskAwayMax || !run.pause()) return;
    this.#charge(run);
    this.#away.add(run);
    lane.away++;
    run.onAway?.(true);
    this.#give(lane);
  }

  /** It has waited: it stands in the queue for the next turn there, unless it is about to end. */
  #return(run: TaskRun): void {
    if (run.isAborted) return;
    const { lane } = run.place;
    this.#back(run);
    this.#enqueue(run);
    if (lane.busy) this.#tellOthers();
    else this.#give(lane);
  }

  #back(run: TaskRun): void {
    this.#away.delete(run);
    run.place.lane.away--;
    run.onAway?.(false);
  }

  #enqueue(run: TaskRun): void {
    const { lane, share, priority } = run.place;
    const waiting = { item: () => this.#resume(run), share, priority, on: lane };
    this.#paused.set(run, waiting);
    lane.paused++;
    this.#queue.push(waiting);
  }

  #resume(run: TaskRun): void {
    this.#forget(run);
    this.#queue.started(run.place.share);
    run.resume();
  }

  #forget(run: TaskRun): void {
    this.#paused.delete(run);
    run.place.lane.paused--;
  }

  /** Tells each running task how many wait for whom it should give up its turn. */
  #tellOthers(): void {
    for (const run of this.#runs.values()) {
      const { lane, share, priority } = run.place;
      if (run.paused) continue;
      // Those that are away are not in its way, but their sockets and clocks are looked after
      // between two turns.
      run.others =
        lane.paused >= LIMITS.taskPausesMax
          ? 0
          : this.#queue.waitingBeside(share, priority) + lane.paused + lane.away;
    }
  }

  /**
   * Takes effect at once. A thread too many ends when its task does; tasks that wait stay, though
   * there be more of them now than may come.
   */
  resize({ threads, queueMax }: PoolSize): void {
    this.#queueMax = queueMax;
    while (this.#lanes.size < threads) {
      const lane = new Lane(this.#laneData);
      this.#lanes.add(lane);
      this.#give(lane);
    }
    while (this.#lanes.size > threads)
      this.#retire(this.#idleLane() ?? ([...this.#lanes].at(-1) as Lane));
  }

  figures(): PoolFigures {
    const { completed, waitMs, waitMsMax, runMs, replacedBefore } = this.#figures;
    let [running, replaced] = [0, replacedBefore];
    for (const lane of this.#lanes) {
      if (lane.busy) running++;
      replaced += lane.replaced;
    }
    const mean = (sum: number) => (completed === 0 ? 0 : sum / completed);
    return {
      threads: this.threads,
      queueMax: this.#queueMax,
      running,
      queued: this.#queue.size,
      paused: this.#paused.size + this.#away.size,
      completed,
      waitMsMean: mean(waitMs),
      waitMsMax,
      runMsMean: mean(runMs),
      runMs,
      replaced,
    };
  }

  /** Ends all threads, whatever they do. */
  async close(): Promise<void> {
    clearInterval(this.#look);
    for (const lane of [...this.#lanes]) this.#retire(lane, true);
    await Promise.all(this.#closing);
  }

  #idleLane(): Lane | undefined {
    for (const lane of this.#lanes) if (!lane.busy) return lane;
    return undefined;
  }

  #takeIdle(): Lane | undefined {
    const lane = this.#idleLane();
    if (lane !== undefined) lane.busy = true;
    return lane;
  }

  #hasRoom(share: TaskShare): boolean {
    const { size } = this.#queue;
    const forAll = this.#queueMax * (1 - KEPT_FOR_OTHERS);
    return size < forAll || (size < this.#queueMax && this.#queue.waitingOf(share) < forAll);
  }

  /** Waits for a thread. An abort leaves the queue. */
  async #turn({
    share,
    priority,
    signal,
  }: {
    readonly share: TaskShare;
    readonly priority: Waiting<Grant>["priority"];
    readonly signal: AbortSignal | undefined;
  }): Promise<Lane> {
    this.checkRoom(share);
    let grant!: Grant;
    const granted = new Promise<Lane>((resolve) => {
      grant = resolve;
    });
    const waiting = { item: grant, share, priority };
    this.#queue.push(waiting);
    this.#tellOthers();
    try {
      return await orAbort(granted, signal);
    } catch (error) {
      // The thread may have been handed over in the same turn as the abort: pass it on.
      if (!this.#queue.remove(waiting)) void granted.then((lane) => this.#give(lane));
      this.#tellOthers();
      throw error;
    }
  }

  /** A lane has nothing to do: the next task has it. */
  #give(lane: Lane): void {
    lane.busy = false;
    const next = lane.retired ? this.#queue.shiftPaused(lane) : this.#queue.shift(lane);
    if (next !== undefined) {
      lane.busy = true;
      next.item(lane);
    } else if (lane.retired && isEmpty(lane)) this.#close(lane);
    this.#tellOthers();
  }

  #retire(lane: Lane, atOnce = false): void {
    this.#lanes.delete(lane);
    lane.retired = true;
    if (atOnce || (!lane.busy && isEmpty(lane))) this.#close(lane);
  }

  #close(lane: Lane): void {
    this.#figures.replacedBefore += lane.replaced;
    const closing = lane.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  #count(priority: Waiting<Grant>["priority"], waitedMs: number): void {
    this.#onWaited?.(priority, waitedMs);
    this.#figures.waitMs += waitedMs;
    this.#figures.waitMsMax = Math.max(this.#figures.waitMsMax, waitedMs);
  }

  #lookAtRuns(hangMs: number): void {
    const now = performance.now();
    for (const run of this.#runs.values()) run.look(now, hangMs);
  }
}

/** No task waits in it. */
function isEmpty({ paused, away }: Lane): boolean {
  return paused + away === 0;
}

/** One caller's and repository's view of the pool. */
class SharedPool implements Pool {
  readonly #pool: ThreadPool;
  readonly #share: TaskShare;

  constructor(pool: ThreadPool, share: TaskShare) {
    this.#pool = pool;
    this.#share = share;
  }

  get threads(): number {
    return this.#pool.threads;
  }

  run<Request extends TaskControl, Result>(
    task: Task<Request, Result>,
    request: Asked<Request>,
    options: RunOptions = {},
  ): Promise<Result> {
    return this.#pool.runFor(this.#share, task, request, options);
  }

  sharedBy(share: TaskShare): Pool {
    return this.#pool.sharedBy(share);
  }

  checkRoom(): void {
    this.#pool.checkRoom(this.#share);
  }
}

async function execute<Result>(
  lane: Lane,
  run: TaskRun,
  task: DispatchRequest,
  signal: AbortSignal | undefined,
  transfer: RunOptions["transfer"],
): Promise<Result> {
  try {
    const reply = await lane.run(task, run.force.signal, transfer);
    if ("failure" in reply) throw failureUnder(signal, rebuild(reply));
    return reply.value as Result;
  } catch (error) {
    if (error instanceof Fault) throw error;
    if (run.hung) throw new Fault("pool/worker-hung", { task: task.name }, error);
    if (signal?.aborted) throw failureUnder(signal, new Fault("base/aborted", {}, error));
    throw new Fault("pool/worker-died", { task: task.name }, error);
  }
}

function rebuild(reply: DispatchFailure): Fault {
  const fault = fromRecord(reply.failure);
  if (reply.stack !== undefined) fault.stack = reply.stack;
  return fault;
}
