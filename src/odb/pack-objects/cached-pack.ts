/**
 * One file of the response cache: growing, then whole; read by any number of requests through one
 * descriptor.
 */
import { type FileHandle, rm } from "node:fs/promises";
import { Fault } from "../../base/fault.js";
import { checkAborted, orAbort } from "../../base/flow.js";
import type { PlanFigures } from "./tasks.js";
import { openForReading, type PackNews, type PackStream, readViews } from "./pack-stream.js";

export class CachedPack implements PackNews {
  path: string;
  found = 0;
  plan: PlanFigures | undefined;
  objects = 0;
  bytes = 0;
  whole = false;
  /** True if the checksum holds; undefined: nobody has looked yet. */
  checked: boolean | undefined;
  readonly #abort = new AbortController();
  #failure: Fault | undefined;
  #removed = false;
  readonly #readers = new Set<CachedPackReader>();
  /** Called once nobody reads it any more and it is no one's: its bytes are free again. */
  #onFreed: (() => void) | undefined;
  #file: Promise<FileHandle> | undefined;
  #wake: (() => void)[] = [];

  private constructor(path: string) {
    this.path = path;
  }

  static growing(path: string): CachedPack {
    const pack = new CachedPack(path);
    pack.checked = true;
    return pack;
  }

  static stored(path: string, bytes: number): CachedPack {
    const pack = new CachedPack(path);
    pack.bytes = bytes;
    pack.whole = true;
    return pack;
  }

  /** Aborts when nobody reads any more. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get failure(): Fault | undefined {
    return this.#failure;
  }

  /** One more reader; undefined where there is nothing to read any more. */
  join(): PackStream | undefined {
    if (this.#removed || this.#failure !== undefined || this.#abort.signal.aborted)
      return undefined;
    const reader = new CachedPackReader(this);
    this.#readers.add(reader);
    return reader;
  }

  /** Called by each reader once. */
  async leave(reader: CachedPackReader): Promise<void> {
    this.#readers.delete(reader);
    if (this.#readers.size > 0) return;
    if (!this.whole)
      this.#abort.abort(
        new Fault("base/aborted", { reason: "nobody waits for this pack any more" }),
      );
    await this.#closeFile();
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await (await file?.catch(() => undefined))?.close();
    if (!this.#removed || this.#readers.size > 0) return;
    this.#onFreed?.();
    this.#onFreed = undefined;
  }

  /** True while anybody reads it. */
  get isRead(): boolean {
    return this.#readers.size > 0;
  }

  /** Bytes a second of its slowest reader so far. */
  get slowestRate(): number {
    let slowest = Number.POSITIVE_INFINITY;
    for (const reader of this.#readers) slowest = Math.min(slowest, reader.rate);
    return slowest;
  }

  /**
   * Ends those who read it, and frees its bytes at once: who waits for a client to take what he was
   * given holds no file.
   */
  async end(fault: Fault): Promise<void> {
    this.break(fault);
    const file = this.#file;
    this.#file = undefined;
    await (await file?.catch(() => undefined))?.close().catch(() => undefined);
    this.#onFreed?.();
    this.#onFreed = undefined;
  }

  /** The open file. */
  file(): Promise<FileHandle> {
    this.#file ??= openForReading(this.path);
    return this.#file;
  }

  /** Returns whether the file is there and as long as it was. */
  async hasLength(): Promise<boolean> {
    try {
      return (await (await this.file()).stat()).size === this.bytes;
    } catch {
      return false; // somebody removed it: it is made again
    }
  }

  foundMore(objects: number): void {
    this.found = objects;
  }

  planned(plan: PlanFigures): void {
    this.plan = plan;
    this.found = plan.objects;
    this.#changed();
  }

  written(bytes: number, objects: number): void {
    if (bytes <= this.bytes) return;
    this.bytes = bytes;
    this.objects = objects;
    this.#changed();
  }

  /** All of it is at `path` now. */
  finish(path: string, bytes: number): void {
    this.path = path;
    this.bytes = bytes;
    this.whole = true;
    this.#changed();
    if (this.#readers.size === 0) void this.#closeFile();
  }

  /** It will never be whole: readers get the failure. */
  break(failure: Fault): void {
    this.#failure = failure;
    this.#changed();
  }

  /** Takes the file away; those who read it go on, and `onFreed` hears when the last has gone. */
  remove(onFreed: () => void = () => undefined): void {
    this.#removed = true;
    if (this.isRead) this.#onFreed = onFreed;
    else onFreed();
    // An open on its way has to come first.
    void Promise.resolve(this.#file)
      .catch(() => undefined)
      .finally(() => rm(this.path, { force: true }).catch(() => undefined));
  }

  /** Resolves when there is news. */
  async changed(signal: AbortSignal): Promise<void> {
    await orAbort(new Promise<void>((resolve) => this.#wake.push(resolve)), signal);
  }

  #changed(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resume of wake) resume();
  }
}

class CachedPackReader implements PackStream {
  readonly #pack: CachedPack;
  readonly #startedMs = performance.now();
  #position = 0;
  #closed = false;

  constructor(pack: CachedPack) {
    this.#pack = pack;
  }

  get news(): PackNews {
    return this.#pack;
  }

  /** Bytes a second. */
  get rate(): number {
    return (1_000 * this.#position) / (performance.now() - this.#startedMs + 1);
  }

  async read(views: readonly Uint8Array[], signal: AbortSignal): Promise<number> {
    const pack = this.#pack;
    if (pack.failure !== undefined && pack.whole) throw pack.failure;
    while (this.#position >= pack.bytes) {
      checkAborted(signal);
      if (pack.failure !== undefined) throw pack.failure;
      if (pack.whole) return 0;
      await pack.changed(signal);
    }
    const bytes = await readViews(await pack.file(), views, this.#position, pack.bytes);
    this.#position += bytes;
    return bytes;
  }

  failure(): Fault | undefined {
    return this.#pack.failure;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#pack.leave(this);
  }
}
