/**
 * Objects to be made whole and deflated for one pack, shared between the thread that writes the
 * pack and others that help.
 *
 * The rows are cut into batches. A helper that claims a batch deflates it into a file. The writer
 * takes batches in order; one that nobody has claimed it deflates as it writes, and where a helper
 * is still at one it claims another for later instead of waiting. With nobody to help it does them
 * all; a helper that fails or stops moving is not waited for, its batch is done again. The bytes
 * are the same whoever makes them.
 *
 *   words   closed | per batch: state, objects done
 */
import { deflateSync } from "node:zlib";
import { LIMITS } from "../../base/limits.js";
import type { TaskWatch } from "../../pool/control.js";
import type { SharedDeflateMessage } from "./tasks.js";
import {
  batchPath,
  readBatch,
  removeBatch,
  writeBatch,
  type DeflatedObject,
} from "./deflate-batch.js";
import type { ObjectReader } from "../packs/reader.js";
import type { PackFile } from "../packs/entries.js";

const CLOSED = 0;
const HEAD_WORDS = 1;
const WORDS_PER_BATCH = 2;

const STATE = { free: 0, claimed: 1, done: 2, failed: 3 } as const;

/** Reads an object and deflates it: the same bytes on every thread. */
export function deflateEntry(reader: ObjectReader, pack: number, offset: number): DeflatedObject {
  const { type, data } = reader.readEntry(reader.space.packs[pack] as PackFile, offset);
  return { type, size: data.length, compressed: deflateSync(data, { level: LIMITS.deflateLevel }) };
}

export class SharedDeflate {
  readonly message: SharedDeflateMessage;
  readonly count: number;
  readonly batches: number;
  readonly #entries: Float64Array;
  readonly #words: Int32Array;
  #claimFrom = 0;

  constructor(message: SharedDeflateMessage) {
    this.message = message;
    this.#entries = new Float64Array(message.entries);
    this.#words = new Int32Array(message.words);
    this.count = this.#entries.length / 2;
    this.batches = batchesOf(this.count);
  }

  /** A board for `count` objects; the caller fills it with `set`. */
  static create(count: number, path: string): SharedDeflate {
    const words = HEAD_WORDS + batchesOf(count) * WORDS_PER_BATCH;
    return new SharedDeflate({
      entries: new SharedArrayBuffer(count * 16),
      words: new SharedArrayBuffer(words * 4),
      path,
    });
  }

  set(index: number, pack: number, offset: number): void {
    this.#entries[2 * index] = pack;
    this.#entries[2 * index + 1] = offset;
  }

  /** Nobody claims anything any more; files that are left go away. */
  close(): void {
    Atomics.store(this.#words, CLOSED, 1);
    for (let batch = 0; batch < this.batches; batch++)
      if (this.#state(batch) === STATE.done) removeBatch(this.#path(batch));
  }

  /** Deflates the next free batch: what a helper does again and again. False: none is free. */
  help(reader: ObjectReader, watch: TaskWatch): boolean {
    const batch = this.#claim();
    if (batch < 0) return false;
    this.#prepare(reader, batch, watch);
    return true;
  }

  /**
   * The objects of one batch in order, made by whoever was first. Each is valid until the next is
   * asked for.
   */
  *take(reader: ObjectReader, batch: number, watch: TaskWatch): Generator<DeflatedObject> {
    if (this.#claimOne(batch) || !this.#settle(reader, batch, watch)) {
      yield* this.#deflated(reader, batch, watch);
      return;
    }
    yield* readBatch(this.#path(batch));
    removeBatch(this.#path(batch));
    Atomics.store(this.#words, stateAt(batch), STATE.failed); // its file is gone
  }

  /**
   * Waits until a batch that a helper has is done, doing others meanwhile; false: do it yourself.
   */
  #settle(reader: ObjectReader, batch: number, watch: TaskWatch): boolean {
    for (;;) {
      const state = this.#state(batch);
      if (state !== STATE.claimed) return state === STATE.done;
      const other = this.#claim();
      if (other >= 0) this.#prepare(reader, other, watch);
      else if (!this.#moves(batch, watch)) return false;
    }
  }

  /** The next free batch, claimed; -1 where there is none. */
  #claim(): number {
    while (this.#claimFrom < this.batches && Atomics.load(this.#words, CLOSED) === 0) {
      const batch = this.#claimFrom++;
      if (this.#claimOne(batch)) return batch;
    }
    return -1;
  }

  #claimOne(batch: number): boolean {
    return (
      Atomics.compareExchange(this.#words, stateAt(batch), STATE.free, STATE.claimed) === STATE.free
    );
  }

  #state(batch: number): number {
    return Atomics.load(this.#words, stateAt(batch));
  }

  /** Waits for news of a batch; false when whoever has it has not moved for a while. */
  #moves(batch: number, watch: TaskWatch): boolean {
    const before = Atomics.load(this.#words, stateAt(batch) + 1);
    for (let waited = 0; waited < LIMITS.deflateStallMs; waited += LIMITS.controlLookMs) {
      watch.check();
      if (
        this.#state(batch) !== STATE.claimed ||
        Atomics.load(this.#words, stateAt(batch) + 1) !== before
      )
        return true;
      Atomics.wait(this.#words, stateAt(batch), STATE.claimed, LIMITS.controlLookMs);
    }
    return false;
  }

  /**
   * Deflates a claimed batch into its file. A failure is left for the writer to meet when it does
   * the batch itself.
   */
  #prepare(reader: ObjectReader, batch: number, watch: TaskWatch): void {
    let state: number = STATE.failed;
    try {
      writeBatch(this.#path(batch), this.#deflated(reader, batch, watch));
      state = STATE.done;
    } finally {
      Atomics.store(this.#words, stateAt(batch), state);
      Atomics.notify(this.#words, stateAt(batch));
      if (Atomics.load(this.#words, CLOSED) !== 0) removeBatch(this.#path(batch));
    }
  }

  *#deflated(reader: ObjectReader, batch: number, watch: TaskWatch): Generator<DeflatedObject> {
    const first = batch * LIMITS.deflateBatchObjects;
    const end = Math.min(this.count, first + LIMITS.deflateBatchObjects);
    for (let index = first; index < end; index++) {
      watch.check();
      yield deflateEntry(
        reader,
        this.#entries[2 * index] as number,
        this.#entries[2 * index + 1] as number,
      );
      Atomics.add(this.#words, stateAt(batch) + 1, 1);
    }
  }

  #path(batch: number): string {
    return batchPath(this.message.path, batch);
  }
}

function batchesOf(count: number): number {
  return Math.ceil(count / LIMITS.deflateBatchObjects);
}

function stateAt(batch: number): number {
  return HEAD_WORDS + batch * WORDS_PER_BATCH;
}
