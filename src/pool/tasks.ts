/**
 * What pool threads can be asked to do: each task's request and result. Requests and results are
 * small messages (paths, ranges, numbers) and SharedArrayBuffers; bulk data moves as files.
 *
 * Every request carries `control`: Int32 words shared with the caller (control.ts), the first set
 * to 1 when the caller has gone. Tasks look at it by TaskWatch at least every 10 ms of work, which
 * also shows that they live, and then throw Fault "base/aborted". What computes for longer than 100
 * ms also asks `watch.shouldYield()` and gives up its turn (`watch.turn()`) where others wait.
 */
import type { TransferListItem } from "node:worker_threads";
import type { FetchTasks } from "./fetch-tasks.js";
import type { IngestTasks } from "./ingest-tasks.js";
import type { LandingTasks } from "./landing-tasks.js";
import type { LfsTasks } from "./lfs-tasks.js";
import type { PushTasks } from "./push-tasks.js";
import type { SynthesizeTasks } from "./synthesize-tasks.js";

/** One live pack as tasks see it. Cheap to post: the tables are shared, not copied. */
export interface PackHandle {
  /**
   * SHA-1 of the pack's content, hex: its name in `pack-<checksum>.pack` and its identity in
   * caches.
   */
  readonly checksum: string;
  /** Local file of the pack. */
  readonly path: string;
  readonly bytes: number;
  readonly objectCount: number;
  /** The whole .idx (version 2) in shared memory. */
  readonly idx: SharedArrayBuffer;
  /** The whole .rev: positions in pack order. */
  readonly rev: SharedArrayBuffer;
  /**
   * OBJECT_TYPE of each object by position, 0 while nobody has looked: threads fill it in. Absent:
   * every look reads the pack.
   */
  readonly types?: SharedArrayBuffer;
}

export interface TaskControl {
  readonly control: SharedArrayBuffer;
}

/**
 * Task name → request and result. Each room that adds a task declares its types in its own file in
 * this folder.
 */
export interface Tasks
  extends FetchTasks,
    IngestTasks,
    LandingTasks,
    LfsTasks,
    PushTasks,
    SynthesizeTasks {
  "hash/calibrate": { request: TaskControl; result: { readonly picks: string } };
}

export type TaskName = keyof Tasks;
/** What a caller passes; the pool adds `control`. */
export type TaskRequest<K extends TaskName> = Omit<Tasks[K]["request"], "control">;
export type TaskResult<K extends TaskName> = Tasks[K]["result"];

export type Priority = "interactive" | "background";

export type TransferList = readonly TransferListItem[];

/** Whom a task is for: each gets its fair part of the threads and of the queue. */
export interface TaskShare {
  /** Store prefix of the repository. */
  readonly repository: string;
  /** Who asks: a user, or where nobody says who he is an address. */
  readonly caller: string;
}

/** The server's own work. */
export const OWN_SHARE: TaskShare = { repository: "", caller: "" };

export interface RunOptions {
  readonly signal?: AbortSignal;
  readonly priority?: Priority;
  /** Objects whose ownership moves to the thread (MessagePorts). */
  readonly transfer?: TransferList;
  /**
   * Hears that the task leaves its thread to others while it waits for somebody else (control.ts
   * `away`), and that it has done so.
   */
  readonly onAway?: (isAway: boolean) => void;
}

/** Threads that run tasks. Saturated: throws "pool/saturated" at once, before any work. */
export interface Pool {
  /** May change at run time. */
  readonly threads: number;
  run<K extends TaskName>(
    name: K,
    request: TaskRequest<K>,
    options?: RunOptions,
  ): Promise<TaskResult<K>>;
  /** The same threads, all tasks counted for `share`. */
  sharedBy(share: TaskShare): Pool;
  /**
   * Throws "pool/saturated" where a task would be told so now: asked before a request costs
   * anything.
   */
  checkRoom(): void;
}
