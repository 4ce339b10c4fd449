/** One object of a store into one new local file, by ranges of which some are in flight. */
import { type FileHandle, open } from "node:fs/promises";
import { asFault } from "../../base/fault.js";
import { checkAborted, type Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Store, StoreKey } from "../store.js";

/** The beginning of an object. */
export interface ObjectStart {
  readonly bytes: Uint8Array;
  /** Bytes of all of it. */
  readonly total: number;
}

/** The part of a store that copies are made by. */
export interface RangeSource extends Pick<Store, "readRange"> {
  /** Reads at most `bytesMax` bytes from the beginning; undefined where there is no object. */
  readStart(
    key: StoreKey,
    bytesMax: number,
    signal?: AbortSignal,
  ): Promise<ObjectStart | undefined>;
}

export interface Download {
  readonly source: RangeSource;
  readonly key: StoreKey;
  readonly start: ObjectStart;
  /** One permit for each range that is held in memory. */
  readonly ranges: Semaphore;
}

/**
 * Resolves when all of it is in a new file at `path`, and synced. The first range that fails stops
 * the others.
 */
export async function download(what: Download, path: string, signal: AbortSignal): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await writeAll(file, what.start.bytes, 0);
    await copyRanges(what, file, signal);
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function copyRanges(what: Download, file: FileHandle, signal: AbortSignal): Promise<void> {
  const { total } = what.start;
  const failed = new AbortController();
  const either = AbortSignal.any([failed.signal, signal]);
  let failure: unknown;
  let next = what.start.bytes.length;
  const work = async () => {
    for (let start = next; start < total; start = next) {
      next = Math.min(start + LIMITS.localFileRangeBytes, total);
      await copyRange(what, file, { start, end: next }, either);
    }
  };
  const workers = Array.from({ length: LIMITS.localFileRangesMax }, () =>
    work().catch((error: unknown) => {
      failure ??= error;
      failed.abort(asFault(error));
    }),
  );
  await Promise.all(workers);
  checkAborted(signal);
  if (failure !== undefined) throw failure;
}

function copyRange(
  { source, key, ranges }: Download,
  file: FileHandle,
  { start, end }: { readonly start: number; readonly end: number },
  signal: AbortSignal,
): Promise<void> {
  return ranges.run(async () => {
    const bytes = await source.readRange(key, start, end, signal);
    await writeAll(file, bytes, start);
  }, signal);
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; )
    at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
}
