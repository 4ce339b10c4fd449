/**
 * The passes over one pack file, in order, as tasks of the pool: what a push and `lakepack
 * index-pack` share.
 */
import { randomBytes } from "node:crypto";
import { Fault, fromRecord } from "../../base/fault.js";
import { checkAborted, sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { FsckWarning } from "../../git/fsck/levels.js";
import { resolvedDeltas } from "../../kernels/module.js";
import {
  type IngestMarks,
  type LinkResult,
  type ResolveResult,
  type ScanResult,
  type SegmentResult,
  type SessionSettings,
  type TrailerResult,
  concludeTask,
  cutTask,
  joinTask,
  largeTask,
  linkTask,
  resolveTask,
  scanTask,
  segmentsTask,
  smallTask,
  trailerTask,
} from "./tasks.js";
import type { Pool, Asked, Task, TaskControl } from "../../pool/task.js";
import type { IngestedPack, IngestOptions, IngestProgress } from "./contract.js";
import { returnMemory, takeMemory } from "./memories.js";
import { checkEnd, refuseExcess } from "./pack-end.js";
import { syncFiles } from "./sync-files.js";

export interface IndexingOptions extends Omit<IngestOptions, "packBytesMax"> {
  readonly path: string;
  readonly idxPath: string;
  readonly revPath: string;
  /** Threads for pass 2; all of the pool's unless said. */
  readonly threads?: number;
}

/** After this long a thread that was ended writes no more. */
const KILLED_MS = 10_000;
const PROGRESS_MS = 100;
/** Milliseconds between two reports of pass 2 on its progress. */
const RESOLVING_MS = 250;
/**
 * A pass that finds the pool full asks again: the client has sent its pack, and others' requests
 * are short.
 */
const FULL_POOL_MS = 100;
const FULL_POOL_TRIES = 300;
const CHECKSUM_BYTES = 20;
const PACK_NAME_BYTES = 20;
/** Families below which one thread does them all: a second one would cost more to start. */
const PARALLEL_FAMILIES_MIN = 64;

/** Some milliseconds of work in all. */
const SMALL_BYTES = 256 * 1024;
/** Less than this is scanned by one thread. */
const SEGMENTED_BYTES_MIN = 4 * 1024 * 1024;
/**
 * Parts even out the threads' work; more cost memory each, and a hostile pack can have each read to
 * the end.
 */
const PARTS_A_THREAD = 4;
const PARTS_MAX = 16;

type Marks = {
  readonly gitmodules: string[];
  readonly gitattributes: string[];
  readonly warnings: FsckWarning[];
  warned: number;
};

export class PackIndexing {
  readonly #options: IndexingOptions;
  readonly #pool: Pool;
  readonly #memory = takeMemory();
  readonly #abort = new AbortController();
  readonly #signal: AbortSignal;
  readonly #running = new Set<Promise<unknown>>();
  readonly #marks: Marks = { gitmodules: [], gitattributes: [], warnings: [], warned: 0 };
  #session: SessionSettings | number;
  #scan: ScanResult | undefined;
  #lastProgress = 0;
  /** A thread may have been ended in the middle of its work. */
  #killed = false;
  #hashedBeforeEnd = 0;
  #scanTasks = 0;

  constructor(options: IndexingOptions, pool: Pool) {
    this.#options = options;
    this.#pool = pool;
    this.#session = {
      fsck: options.fsck,
      stored: options.stored ?? false,
      keepBytes: Math.min(options.memoryBytes, 2 ** 31),
    };
    this.#signal = AbortSignal.any([options.signal, this.#abort.signal]);
  }

  /** Pass 1 over the file's first `to` bytes, from where the last call stopped. */
  async scan(to: number, final: boolean): Promise<void> {
    if (!final && this.#scan !== undefined) refuseExcess(this.#scan, to);
    const { path } = this.#options;
    const session = this.#session;
    const result = await this.#run(scanTask, {
      memory: this.#memory,
      path,
      to,
      final,
      session,
    });
    this.#scanned(result, to);
    refuseExcess(result, to);
  }

  #scanned(result: ScanResult, to: number): void {
    this.#session = result.session;
    this.#scan = result;
    this.#scanTasks++;
    this.#take(result.marks);
    this.#progress({ stage: "receiving", done: result.objects, total: result.claimed, bytes: to });
  }

  /**
   * Pass 1 over what is left, which is all here, by all threads. False: it was not worth it, or not
   * possible.
   */
  async #scanSegments(bytes: number): Promise<boolean> {
    const threads = this.#options.threads ?? this.#pool.threads;
    const from = this.#scan?.position ?? 0;
    if (threads < 2 || bytes - from < SEGMENTED_BYTES_MIN || this.#scan?.inside) return false;
    const common = { memory: this.#memory, path: this.#options.path, bytes };
    const { session, starts, stops } = await this.#run(cutTask, {
      ...common,
      from,
      parts: Math.min(threads * PARTS_A_THREAD, PARTS_MAX),
      session: this.#session,
    });
    this.#session = session;
    if (starts.length < 2) return false;
    const next = new SharedArrayBuffer(4);
    const tasks = Array.from({ length: threads }, () =>
      this.#run(segmentsTask, { ...common, starts, stops, next }),
    );
    const results = (await allOrFirst(tasks)).flat();
    const chain = followChain(results, from, bytes - CHECKSUM_BYTES);
    for (const { marks } of chain) this.#take(marks);
    const dropped = results.filter((one) => !chain.includes(one)).map(({ linkSet }) => linkSet);
    this.#scan = await this.#run(joinTask, {
      memory: this.#memory,
      bytes,
      chain: chain.map(({ segment }) => segment),
      droppedLinkSets: dropped,
    });
    this.#scanTasks += threads;
    return true;
  }

  /**
   * Everything after the last byte. The tables are synced, a thin pack that was completed too, and
   * `syncPack`: any pack.
   */
  async finish(bytes: number, syncPack: boolean): Promise<Omit<IngestedPack, "folder">> {
    this.#hashedBeforeEnd = this.#scan?.hashed ?? 0;
    const isSmall = this.#scan === undefined && bytes <= (this.#options.smallBytes ?? SMALL_BYTES);
    const [{ checksum, calls }, link] = await (isSmall
      ? this.#passSmall(bytes)
      : this.#pass(bytes));
    const pack = await this.#conclude(checksum, calls, link);
    const { path, idxPath, revPath } = this.#options;
    await syncFiles([...(syncPack || pack.appendedCount > 0 ? [path] : []), idxPath, revPath]);
    return pack;
  }

  async #pass(bytes: number): Promise<[TrailerResult, LinkResult]> {
    if (!this.#scan?.done && !(await this.#scanSegments(bytes))) await this.scan(bytes, true);
    const scan = this.#scan as ScanResult;
    checkEnd(scan, bytes);
    const {
      memory,
      options: { path, packs, memoryBytes },
    } = { memory: this.#memory, options: this.#options };
    const trailer = this.#run(trailerTask, { path, bytes: scan.position });
    const linked = this.#run(linkTask, { memory, path, packs, keepBytes: memoryBytes });
    return this.#both(
      trailer,
      linked.then((result) => this.#resolveAll(result)),
    );
  }

  /** The same in one task. */
  async #passSmall(bytes: number): Promise<[TrailerResult, LinkResult]> {
    const { path, folder, packs, memoryBytes } = this.#options;
    const request = { memory: this.#memory, path, folder, packs };
    const { scanned, checked, linked, resolved } = await this.#run(smallTask, {
      ...request,
      bytes,
      session: this.#session,
      keepBytes: memoryBytes,
    });
    this.#scanned(scanned, bytes);
    this.#take(linked.marks);
    if (resolved === undefined) return [checked, linked];
    this.#take(resolved.marks);
    await this.#resolveLarge(resolved.large, linked);
    return [checked, linked];
  }

  /** Waits for two; the failure of one stops the other. */
  async #both<A, B>(left: Promise<A>, right: Promise<B>): Promise<[A, B]> {
    const stop = (error: unknown): never => {
      this.#abort.abort(error);
      throw error;
    };
    const settled = await Promise.allSettled([left.catch(stop), right.catch(stop)]);
    const failed = settled
      .filter((one) => one.status === "rejected")
      .map((one) => one.reason as unknown);
    // The other's "aborted" follows from the first failure and says nothing.
    const first =
      failed.find((reason) => !(reason instanceof Fault && reason.code === "base/aborted")) ??
      failed[0];
    if (first !== undefined) throw first;
    return settled.map((one) => (one as PromiseFulfilledResult<unknown>).value) as [A, B];
  }

  async #resolveAll(link: LinkResult): Promise<LinkResult> {
    this.#take(link.marks);
    if (link.families === 0) return link;
    const threads =
      link.families < PARALLEL_FAMILIES_MIN ? 1 : (this.#options.threads ?? this.#pool.threads);
    this.#progress({ stage: "resolving", done: 0, total: link.deltas, bytes: 0 });
    const { path, folder, packs } = this.#options;
    const request = { memory: this.#memory, path, folder, packs };
    const queued = new AbortController();
    const signal = AbortSignal.any([this.#signal, queued.signal]);
    const large = { count: 0 };
    const told = setInterval(() => {
      this.#progress({
        stage: "resolving",
        done: resolvedDeltas(this.#memory),
        total: link.deltas,
        bytes: 0,
      });
    }, RESOLVING_MS);
    const tasks = Array.from({ length: threads }, async () => {
      const result: ResolveResult = await this.#run(resolveTask, request, signal);
      this.#take(result.marks);
      large.count = Math.max(large.count, result.large);
      if (result.over) queued.abort(new Fault("base/aborted"));
    });
    try {
      await settle(tasks, queued.signal);
    } finally {
      clearInterval(told);
    }
    await this.#resolveLarge(large.count, link);
    return link;
  }

  /** Resolves the objects that pass 2 has left over, and ends it. */
  async #resolveLarge(count: number, { deltas }: LinkResult): Promise<void> {
    const { path, folder, packs } = this.#options;
    const request = { memory: this.#memory, path, folder, packs };
    if (count > 0) this.#take(await this.#run(largeTask, request));
    this.#progress({ stage: "resolving", done: deltas, total: deltas, bytes: 0 });
  }

  async #conclude(
    checksum: string,
    trailerCalls: number,
    link: LinkResult,
  ): Promise<Omit<IngestedPack, "folder">> {
    const { path, idxPath, revPath, fsck, stored = false, packs, closed, promised } = this.#options;
    this.#progress({ stage: "connectivity", done: 0, total: 0, bytes: 0 });
    const { counters, marks, ...pack } = await this.#run(concludeTask, {
      memory: this.#memory,
      path,
      idxPath,
      revPath,
      checksum,
      externals: link.externals,
      fsck,
      stored,
      packs,
      closed: [...closed],
      marks: this.#marks,
      ...(promised === undefined ? {} : { promised }),
    });
    this.#take(marks);
    const { warnings, warned } = this.#marks;
    const own = { hashedBeforeEnd: this.#hashedBeforeEnd, scanTasks: this.#scanTasks };
    return {
      ...pack,
      warnings,
      warned,
      name: randomBytes(PACK_NAME_BYTES).toString("hex"),
      packPath: path,
      idxPath,
      revPath,
      counters: {
        ...counters,
        ...own,
        nodeCryptoCalls: (counters["nodeCryptoCalls"] ?? 0) + trailerCalls,
      },
    };
  }

  /** Stops whatever runs; resolves when nothing does. Once. */
  async close(): Promise<void> {
    this.#abort.abort(new Fault("base/aborted"));
    await Promise.allSettled(this.#running);
    if (this.#killed) setTimeout(() => returnMemory(this.#memory), KILLED_MS).unref();
    else returnMemory(this.#memory);
  }

  #run<Request extends TaskControl, Result>(
    task: Task<Request, Result>,
    request: Asked<Request>,
    signal = this.#signal,
  ): Promise<Result> {
    const running = this.#runPatiently(task, request, signal);
    this.#running.add(running);
    const done = () => this.#running.delete(running);
    const started = Date.now();
    running.then(done, (error: unknown) => {
      this.#killed ||= wasKilled(error, started);
      done();
    });
    return running;
  }

  /** The first pass may be told "busy"; once bytes were taken, later ones wait for their turn. */
  async #runPatiently<Request extends TaskControl, Result>(
    task: Task<Request, Result>,
    request: Asked<Request>,
    signal: AbortSignal,
  ): Promise<Result> {
    for (let tries = 1; ; tries++) {
      checkAborted(signal);
      try {
        return await this.#pool.run(task, this.#ruled(request), { signal });
      } catch (error) {
        const full = error instanceof Fault && error.code === "pool/saturated";
        if (!full || this.#scanTasks === 0 || tries === FULL_POOL_TRIES) throw error;
        await sleep(FULL_POOL_MS, signal);
      }
    }
  }

  /** With the rules, which every task that judges must know. */
  #ruled<T>(request: T): T {
    const { rules } = this.#options;
    return rules === undefined ? request : { ...request, rules };
  }

  #take({ gitmodules, gitattributes, warnings, warned }: IngestMarks): void {
    for (const oid of gitmodules) this.#marks.gitmodules.push(oid);
    for (const oid of gitattributes) this.#marks.gitattributes.push(oid);
    this.#marks.warnings.push(
      ...warnings.slice(0, LIMITS.fsckWarningsMax - this.#marks.warnings.length),
    );
    this.#marks.warned += warned;
  }

  #progress(progress: IngestProgress): void {
    const now = Date.now();
    const final = progress.total > 0 && progress.done === progress.total;
    if (!final && now - this.#lastProgress < PROGRESS_MS) return;
    this.#lastProgress = now;
    this.#options.onProgress?.(progress);
  }
}

/**
 * Returns whether a task may have been ended with its thread: it never answered (a fault that
 * came back as a message has no cause), and long enough after its start for the pool to have lost
 * patience. One that was taken out of the queue did not run at all.
 */
function wasKilled(error: unknown, started: number): boolean {
  if (!(error instanceof Fault)) return true;
  return (
    error.cause !== undefined &&
    (error.code === "pool/worker-died" ||
      error.code === "pool/worker-hung" ||
      Date.now() - started >= LIMITS.taskAbortGraceMs)
  );
}

/**
 * Waits for tasks of which some may have been called off, or never got a thread. At least one must
 * have run to its end.
 */
async function settle(tasks: readonly Promise<void>[], calledOff: AbortSignal): Promise<void> {
  const failed: unknown[] = [];
  let done = 0;
  for (const one of await Promise.allSettled(tasks)) {
    if (one.status === "fulfilled") done++;
    else failed.push(one.reason);
  }
  const idle = (reason: unknown) =>
    reason instanceof Fault &&
    (reason.code === "pool/saturated" || (reason.code === "base/aborted" && calledOff.aborted));
  const first = failed.find((reason) => !idle(reason)) ?? (done === 0 ? failed[0] : undefined);
  if (first !== undefined) throw first;
}

/** All results, once all have come to an end; or the first failure, likewise. */
async function allOrFirst<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
}

/**
 * The segments that lead from where all is known to the pack's end. Throws what the first broken
 * one of them found.
 */
function followChain(
  results: readonly SegmentResult[],
  from: number,
  end: number,
): SegmentResult[] {
  const byStart = new Map(results.map((one) => [one.start, one]));
  const chain: SegmentResult[] = [];
  for (let at = from; at !== end; ) {
    const one = byStart.get(at);
    if (one === undefined) throw new Fault("pack/truncated", { offset: at });
    if (one.failure !== undefined) throw fromRecord(one.failure);
    chain.push(one);
    at = one.landed;
  }
  return chain;
}
