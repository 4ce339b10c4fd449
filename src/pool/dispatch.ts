/**
 * The file every pool thread runs. It finds the door of a task ("index-pack/scan" is `scan` of
 * workers/index-pack.js), runs it, and turns what it throws into a record, because a message
 * between threads drops the class of an Error.
 */
import { workerData } from "node:worker_threads";
import { asFault, type FaultRecord, toRecord } from "../base/fault.js";
import { CONTROL_BEAT } from "./control.js";
import type { TaskControl } from "./task.js";

export interface DispatchRequest {
  readonly name: string;
  readonly request: TaskControl;
}

export interface DispatchFailure {
  readonly failure: FaultRecord;
  /** For the log: where it was thrown. */
  readonly stack: string | undefined;
}

export type DispatchReply = { readonly value: unknown } | DispatchFailure;

/**
 * Milliseconds between two signs of life of a task that waits for others (lakeFS, a disk) rather
 * than computes.
 */
const WAITING_BEAT_MS = 1_000;

/** Folder of the doors: workers/, or where a test keeps its own. */
function doors(): string {
  const given = (workerData as { doors?: string } | undefined)?.doors;
  return given ?? new URL("../../workers/", import.meta.url).href;
}

/**
 * Counts this thread as loaded, once whoever loads this file has done with it. (A thread that waits
 * for tasks never reaches a timer or an immediate: it sleeps in Atomics.wait.)
 */
const { loaded } = (workerData ?? {}) as { readonly loaded?: SharedArrayBuffer };
if (loaded !== undefined) queueMicrotask(() => void Atomics.add(new Int32Array(loaded), 0, 1));

type Door = Readonly<Record<string, ((request: TaskControl) => unknown) | undefined>>;

export default async function dispatch({ name, request }: DispatchRequest): Promise<DispatchReply> {
  try {
    const [file, exported] = name.split("/") as [string, string];
    const door = (await import(new URL(`${file}.js`, doors()).href)) as Door;
    const task = door[exported];
    if (task === undefined) throw new TypeError(`workers/${file} has no task ${exported}`);
    const result = task(request);
    return { value: result instanceof Promise ? await beating(result, request) : result };
  } catch (error) {
    const fault = asFault(error);
    const cause = fault.cause instanceof Error ? fault.cause.stack : undefined;
    return { failure: toRecord(fault), stack: cause ?? fault.stack };
  }
}

/** A thread that waits can run timers: as long as it does, it has not hung. */
async function beating(result: Promise<unknown>, { control }: TaskControl): Promise<unknown> {
  const words = new Int32Array(control);
  const timer = setInterval(() => void Atomics.add(words, CONTROL_BEAT, 1), WAITING_BEAT_MS);
  try {
    return await result;
  } finally {
    clearInterval(timer);
  }
}
