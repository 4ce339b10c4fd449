/** A request's body between the socket that delivers it and the conversation that reads it. */
import type { ByteSource } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";

/** How the socket is asked to wait. */
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
/** Of a body whose chunks are given back, kept for those to come. */
const FREE_MAX = 12;

/** Chunks wait here, `bodyBufferBytesMax` and one chunk at most: then the socket is paused until half of it is read. */
export class RequestBody implements ByteSource {
  readonly #flow: BodyFlow;
  /** Memory of chunks that were given back. */
  readonly #free: ArrayBuffer[] = [];
  /** Of chunks that were made here: no other memory may come back. */
  readonly #own = new WeakSet<ArrayBufferLike>();
  #isRecycling = false;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #reader: Reader | undefined;
  #paused = false;
  #discarding = false;
  #complete = false;
  #failure: unknown;

  constructor(flow: BodyFlow) {
    this.#flow = flow;
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

  /** Memory for a chunk of so many bytes, to be filled and pushed. */
  take(bytes: number): Buffer {
    const at = this.#free.findIndex(({ byteLength }) => byteLength >= bytes);
    const memory = (at < 0 ? undefined : this.#free.splice(at, 1)[0]) ?? new ArrayBuffer(this.#isRecycling ? Math.max(bytes, CHUNK_BYTES) : bytes);
    this.#own.add(memory);
    return Buffer.from(memory, 0, bytes);
  }

  release({ buffer }: Uint8Array): void {
    this.#isRecycling = true;
    if (this.#own.has(buffer) && this.#free.length < FREE_MAX) this.#free.push(buffer as ArrayBuffer);
  }

  /** Takes a chunk that nobody else will change. */
  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined || this.#discarding || chunk.length === 0) return;
    if (this.#reader !== undefined) {
      this.#answer((reader) => reader.resolve(chunk));
      return;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < LIMITS.bodyBufferBytesMax || this.#paused) return;
    this.#paused = true;
    this.#flow.pause();
  }

  /** The body is whole. */
  end(): void {
    this.#complete = true;
    this.#answer((reader) => reader.resolve(undefined));
  }

  /** The body will never be whole: readers get `error`, what waited is dropped. */
  fail(error: unknown): void {
    if (this.#complete && this.#bytes === 0) return;
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
      if (this.#bytes < LIMITS.bodyBufferBytesMax / 2) this.#resume();
      return Promise.resolve(chunk);
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#complete) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  #answer(give: (reader: Reader) => void): void {
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader !== undefined) give(reader);
  }

  #drop(): void {
    this.#chunks = [];
    this.#bytes = 0;
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#flow.resume();
  }
}
