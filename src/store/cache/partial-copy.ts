/**
 * A local copy of a large object that is filled while it is read: its first bytes go out after one
 * request, and what nobody reads is not fetched. Whoever reads on the main thread says so (`bring`)
 * and has some blocks fetched ahead; threads ask through shared memory (blocks.ts).
 */
import { type FileHandle, open } from "node:fs/promises";
import { asFault, Fault } from "../../base/fault.js";
import { orAbort, type Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { ASKED_WORD, BLOCK_STATE, type CopyBlocks, FIRST_BLOCK_WORD, GIVEN_UP } from "../blocks.js";
import type { StoreKey } from "../store.js";
import type { ObjectStart, RangeSource } from "./download.js";

export interface PartialCopyOptions {
  readonly source: RangeSource;
  readonly key: StoreKey;
  /** At most one block of it. */
  readonly start: ObjectStart;
  /** A new file. */
  readonly path: string;
  /** One permit for each range that is held in memory. */
  readonly ranges: Semaphore;
  /** Told once all of it is there and synced. */
  readonly onWhole: () => Promise<void>;
}

export class PartialCopy {
  readonly blocks: CopyBlocks;
  readonly bytes: number;
  readonly #options: PartialCopyOptions;
  readonly #file: FileHandle;
  readonly #words: Int32Array;
  readonly #fetching = new Map<number, Promise<void>>();
  readonly #closed = new AbortController();
  #left: number;

  private constructor(options: PartialCopyOptions, file: FileHandle) {
    this.#options = options;
    this.#file = file;
    this.bytes = options.start.total;
    this.#left = Math.ceil(this.bytes / LIMITS.localFileRangeBytes);
    const states = new SharedArrayBuffer(4 * (FIRST_BLOCK_WORD + this.#left));
    this.blocks = { states, blockBytes: LIMITS.localFileRangeBytes };
    this.#words = new Int32Array(states);
  }

  /** Makes the file, with the block that is known. */
  static async create(options: PartialCopyOptions): Promise<PartialCopy> {
    const file = await open(options.path, "wx", 0o600);
    const copy = new PartialCopy(options, file);
    try {
      await file.truncate(copy.bytes);
      await copy.#write(0, options.start.bytes);
    } catch (error) {
      await file.close();
      throw error;
    }
    void copy.#listen();
    return copy;
  }

  get isWhole(): boolean {
    return this.#left === 0;
  }

  /** Resolves once bytes [start, end) are there; some behind them are fetched as well. */
  async bring(start: number, end: number, signal: AbortSignal): Promise<void> {
    const { blockBytes } = this.blocks;
    const last = Math.max(start, end - 1);
    const [from, to] = [Math.floor(start / blockBytes), Math.floor(last / blockBytes)];
    const needed: Promise<void>[] = [];
    for (let block = from; block <= to; block++) needed.push(this.#fetch(block));
    for (let block = to + 1; block <= to + LIMITS.localFileAheadBlocks; block++)
      if (block * blockBytes < this.bytes) this.#fetch(block).catch(() => undefined);
    await orAbort(Promise.all(needed), signal);
  }

  /** Whoever waits is told that it has failed. The file is the caller's to remove. */
  async close(): Promise<void> {
    this.#closed.abort(new Fault("store/unreachable", { reason: "the copy was given up" }));
    Atomics.store(this.#words, ASKED_WORD, GIVEN_UP);
    Atomics.notify(this.#words, ASKED_WORD);
    for (let block = 0; block < this.#words.length - FIRST_BLOCK_WORD; block++)
      if (this.#state(block) !== BLOCK_STATE.THERE) this.#tell(block, BLOCK_STATE.FAILED);
    await Promise.allSettled(this.#fetching.values());
    await this.#file.close();
  }

  /** Serves threads. */
  async #listen(): Promise<void> {
    while (!this.#closed.signal.aborted && !this.isWhole) {
      const asked = Atomics.load(this.#words, ASKED_WORD);
      for (let word = FIRST_BLOCK_WORD; word < this.#words.length; word++)
        if (Atomics.load(this.#words, word) === BLOCK_STATE.WANTED)
          this.#fetch(word - FIRST_BLOCK_WORD).catch(() => undefined); // the word tells who asked
      const { async, value } = Atomics.waitAsync(this.#words, ASKED_WORD, asked);
      if (async) await value;
    }
  }

  #fetch(block: number): Promise<void> {
    if (this.#state(block) === BLOCK_STATE.THERE) return Promise.resolve();
    const under = this.#fetching.get(block);
    if (under !== undefined) return under;
    const fetching = this.#fetchBlock(block).finally(() => this.#fetching.delete(block));
    this.#fetching.set(block, fetching);
    return fetching;
  }

  async #fetchBlock(block: number): Promise<void> {
    const { source, key, ranges } = this.#options;
    const { blockBytes } = this.blocks;
    const start = block * blockBytes;
    const end = Math.min(start + blockBytes, this.bytes);
    const { signal } = this.#closed;
    try {
      await ranges.run(async () => {
        await this.#write(block, await source.readRange(key, start, end, signal));
      }, signal);
    } catch (error) {
      this.#tell(block, BLOCK_STATE.FAILED);
      throw asFault(error);
    }
  }

  async #write(block: number, bytes: Uint8Array): Promise<void> {
    const start = block * this.blocks.blockBytes;
    for (let at = 0; at < bytes.length; )
      at += (await this.#file.write(bytes, at, bytes.length - at, start + at)).bytesWritten;
    this.#tell(block, BLOCK_STATE.THERE);
    if (--this.#left > 0) return;
    await this.#file.datasync();
    await this.#options.onWhole();
  }

  #state(block: number): number {
    return Atomics.load(this.#words, FIRST_BLOCK_WORD + block);
  }

  #tell(block: number, state: number): void {
    Atomics.store(this.#words, FIRST_BLOCK_WORD + block, state);
    Atomics.notify(this.#words, FIRST_BLOCK_WORD + block);
  }
}
