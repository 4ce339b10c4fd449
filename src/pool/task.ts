/**
 * Tasks of pool threads, as those see them who ask for one. Each room declares its tasks where they
 * are done (`task`), with their requests and results: small messages (paths, ranges, numbers) and
 * SharedArrayBuffers; bulk data moves as files.
 *
 * Every request carries `control`: Int32 words shared with the caller (control.ts), the first set
 * to 1 when the caller has gone. Tasks look at it by TaskWatch at least every 10 ms of work, which
 * also shows that they live, and then throw Fault "base/aborted". A task that computes for longer
 * than 100 ms also asks `watch.shouldYield()` and gives up its turn (`watch.turn()`) where others
 * wait.
 */
import type { TransferListItem } from "node:worker_threads";

export interface TaskControl {
  readonly control: SharedArrayBuffer;
}

declare const TYPES: unique symbol;

/**
 * A kind of task: what a thread is asked, and what it answers. The types are of the declaration
 * alone; across threads goes the name, "door/function" (dispatch.ts).
 */
export interface Task<Request extends TaskControl, Result> {
  readonly name: string;
  readonly [TYPES]?: (request: Request) => Result;
}

/** Declares a task. The file workers/`door`.ts exports its function. */
export function task<Request extends TaskControl, Result>(name: string): Task<Request, Result> {
  return { name };
}

/** The function that does a task in a thread. */
export type Work<T> =
  T extends Task<infer Request, infer Result>
    ? (request: Request) => Result | Promise<Result>
    : never;

/** The request as a caller passes it; the pool adds `control`. */
export type Asked<Request extends TaskControl> = Omit<Request, "control">;

export type Priority = "interactive" | "background";

export type TransferList = readonly TransferListItem[];

/**
 * The repository and caller a task is for: each gets its fair part of the threads and of the queue.
 */
export interface TaskShare {
  /** Store prefix of the repository. */
  readonly repository: string;
  /** The user who asks, or his address where nobody says who he is. */
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
  run<Request extends TaskControl, Result>(
    task: Task<Request, Result>,
    request: Asked<Request>,
    options?: RunOptions,
  ): Promise<Result>;
  /** The same threads, all tasks counted for `share`. */
  sharedBy(share: TaskShare): Pool;
  /**
   * Throws "pool/saturated" where a task would be told so now: asked before a request costs
   * anything.
   */
  checkRoom(): void;
}
