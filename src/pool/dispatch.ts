/**
 * The file every pool thread runs. It finds the door of a task ("index-pack/scan" is `scan` of workers/index-pack.js), runs
 * it, and turns what it throws into a record, because a message between threads drops the class of an Error.
 */
import { workerData } from "node:worker_threads";
import { asFault, type FaultRecord, toRecord } from "../base/fault.js";
import type { TaskControl, TaskName } from "./tasks.js";

export interface DispatchRequest {
  readonly name: TaskName;
  readonly request: TaskControl;
}

export interface DispatchFailure {
  readonly failure: FaultRecord;
  /** For the log: where it was thrown. */
  readonly stack: string | undefined;
}

export type DispatchReply = { readonly value: unknown } | DispatchFailure;

/** Words of `control`: 0 the caller has gone, 1 the task has begun. */
export const CONTROL_ABORT = 0;
export const CONTROL_BEGUN = 1;
export const CONTROL_BYTES = 8;

/** Folder of the doors: workers/, or where a test keeps its own. */
function doors(): string {
  const given = (workerData as { doors?: string } | undefined)?.doors;
  return given ?? new URL("../../workers/", import.meta.url).href;
}

/** Counts this thread as loaded, once whoever loads this file has done with it. (A thread that waits for tasks never reaches a
 *  timer or an immediate: it sleeps in Atomics.wait.) */
const { loaded } = (workerData ?? {}) as { readonly loaded?: SharedArrayBuffer };
if (loaded !== undefined) queueMicrotask(() => void Atomics.add(new Int32Array(loaded), 0, 1));

type Door = Readonly<Record<string, ((request: TaskControl) => unknown) | undefined>>;

export default async function dispatch({ name, request }: DispatchRequest): Promise<DispatchReply> {
  Atomics.store(new Int32Array(request.control), CONTROL_BEGUN, 1);
  try {
    const [file, exported] = name.split("/") as [string, string];
    const door = (await import(new URL(`${file}.js`, doors()).href)) as Door;
    const task = door[exported];
    if (task === undefined) throw new TypeError(`workers/${file} has no task ${exported}`);
    return { value: await task(request) };
  } catch (error) {
    const fault = asFault(error);
    const cause = fault.cause instanceof Error ? fault.cause.stack : undefined;
    return { failure: toRecord(fault), stack: cause ?? fault.stack };
  }
}
