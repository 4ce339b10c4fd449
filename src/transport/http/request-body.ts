/** A request's body between the socket that delivers it and the conversation that reads it. */
import type { ByteSource } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { BodyOverflow } from "./body-overflow.js";

/** Pauses and resumes the socket of a body. */
export interface BodyFlow {
  pause(): void;
  resume(): void;
}

interface Reader {
  readonly resolve: (chunk: Uint8Array | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** The most that a front end has at a time: memory that is given back fits every chunk to come. */
const CHUNK_BYTES = 512 * 1024;
/** Number of chunks given back of a body that are kept for those to come. */
const FREE_MAX = 12;

/**
 * Chunks wait here, `bodyBufferBytesMax` and one chunk at most: then the socket is paused until
 * half of it is read. A front end that goes on reading all the same has `bodyBurstBytesMax` of
 * memory, and what comes then is put into a file.
 */
export class RequestBody implements ByteSource {
  readonly #flow: BodyFlow;
  readonly #overflow: BodyOverflow | undefined;
  /** Memory of chunks that were given back. */
  readonly #free: ArrayBuffer[] = [];
  /** Memory of chunks that were made here: no other may come back. */
  readonly #own = new WeakSet<ArrayBufferLike>();
  #isRecycling = false;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #reader: Reader | undefined;
  #paused = false;
  #discarding = false;
  #complete = false;
  #failure: unknown;

  /** `overflow`: of a front end that may give more than it is asked for. */
  constructor(flow: BodyFlow, overflow?: BodyOverflow) {
    this.#flow = flow;
    this.#overflow = overflow;
  }

  /** The last byte has arrived. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Somebody waits for the client to send. */
  get awaited(): boolean {
    return this.#reader !== undefined;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /**
   * True if a chunk pushed now is written to a file before `push` returns, so that it need be
   * nobody's own memory.
   */
  get putsAside(): boolean {
    if (this.#overflow === undefined || this.#reader !== undefined) return false;
    return this.#overflow.bytes > 0 || this.#bytes >= LIMITS.bodyBurstBytesMax;
  }

  /** Memory for a chunk of so many bytes, to be filled and pushed. */
  take(bytes: number): Buffer {
    const memory =
      this.#fitting(bytes) ??
      new ArrayBuffer(this.#isRecycling ? Math.max(bytes, CHUNK_BYTES) : bytes);
    this.#own.add(memory);
    return Buffer.from(memory, 0, bytes);
  }

  release({ buffer }: Uint8Array): void {
    this.#isRecycling = true;
    if (this.#own.has(buffer) && this.#free.length < FREE_MAX)
      this.#free.push(buffer as ArrayBuffer);
  }

  /**
   * Finds a kept chunk that is large enough; smaller ones, made before the first came back, give
   * their place to those that come back later.
   */
  #fitting(bytes: number): ArrayBuffer | undefined {
    const at = this.#free.findIndex(({ byteLength }) => byteLength >= bytes);
    if (at < 0) this.#free.length = 0;
    return at < 0 ? undefined : this.#free.splice(at, 1)[0];
  }

  /** Takes a chunk that nobody else will change. */
  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined || this.#discarding || chunk.length === 0) return;
    if (this.#reader !== undefined) {
      this.#answer((reader) => reader.resolve(chunk));
      return;
    }
    if (this.#overflow !== undefined && this.putsAside) {
      this.#put(chunk, this.#overflow);
      return;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < LIMITS.bodyBufferBytesMax || this.#paused) return;
    this.#paused = true;
    this.#flow.pause();
  }

  /**
   * Writes a chunk to the file where others wait there: it comes behind all that waits in memory.
   */
  #put(chunk: Uint8Array, overflow: BodyOverflow): void {
    try {
      overflow.put(chunk);
    } catch (error) {
      this.fail(error);
    }
  }

  /** The body is whole. */
  end(): void {
    this.#complete = true;
    this.#answer((reader) => reader.resolve(undefined));
  }

  /** The body will never be whole: readers get `error`, what waited is dropped. */
  fail(error: unknown): void {
    if (this.#complete && this.#bytes === 0 && (this.#overflow?.bytes ?? 0) === 0) return;
    this.#failure = error;
    this.#drop();
    this.#answer((reader) => reader.reject(error));
  }

  /** Nobody will read the rest: let it come and forget it, so that the connection stays in step. */
  discard(): void {
    this.#discarding = true;
    this.#drop();
    this.#resume();
  }

  read(): Promise<Uint8Array | undefined> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#bytes -= chunk.length;
      if (this.#bytes < LIMITS.bodyBufferBytesMax / 2 && (this.#overflow?.bytes ?? 0) === 0)
        this.#resume();
      return Promise.resolve(chunk);
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#overflow !== undefined && this.#overflow.bytes > 0)
      return this.#fetch(this.#overflow);
    if (this.#complete) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  async #fetch(overflow: BodyOverflow): Promise<Uint8Array> {
    const chunk = await overflow.take(this.take(Math.min(CHUNK_BYTES, overflow.bytes)));
    if (this.#failure !== undefined) throw this.#failure;
    if (overflow.bytes === 0 && this.#bytes < LIMITS.bodyBufferBytesMax / 2) this.#resume();
    return chunk;
  }

  #answer(give: (reader: Reader) => void): void {
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader !== undefined) give(reader);
  }

  #drop(): void {
    this.#overflow?.close();
    this.#chunks = [];
    this.#bytes = 0;
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#flow.resume();
  }
}
