/**
 * SHA-256 of bytes that are not kept: gathered in two buffers shared with the pool, one filled
 * while the other is hashed.
 */
import { LIMITS } from "../base/limits.js";
import type { Pool } from "../pool/task.js";
import { hashTask } from "./tasks.js";

export class HashedStream {
  readonly #pool: Pool;
  readonly #signal: AbortSignal;
  readonly #capacity: number;
  #filling: SharedArrayBuffer;
  #spare: SharedArrayBuffer | undefined;
  #filled = 0;
  #state: Uint8Array | undefined;
  #sha256: string | undefined;
  #hashing: Promise<void> = Promise.resolve();

  /** `size`: all that will come. */
  constructor(pool: Pool, size: number, signal: AbortSignal) {
    this.#pool = pool;
    this.#signal = signal;
    this.#capacity = Math.max(1, Math.min(LIMITS.lfsHeldHashBytes, size));
    this.#filling = new SharedArrayBuffer(this.#capacity);
  }

  /** Copies the bytes; resolves when more are welcome. */
  async update(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#filled === this.#capacity) await this.#hashFilled(false);
      const part = bytes.subarray(at, at + this.#capacity - this.#filled);
      new Uint8Array(this.#filling).set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
    }
  }

  async digest(): Promise<string> {
    await this.#hashFilled(true);
    await this.#hashing;
    return this.#sha256 as string;
  }

  async #hashFilled(last: boolean): Promise<void> {
    await this.#hashing;
    const memory = this.#filling;
    const request = { piece: { memory, length: this.#filled }, state: this.#state, last };
    this.#hashing = this.#pool.run(hashTask, request, { signal: this.#signal }).then((result) => {
      if ("sha256" in result) this.#sha256 = result.sha256;
      else this.#state = result.state;
    });
    this.#hashing.catch(() => undefined); // the next piece or `digest` sees it
    this.#filling = this.#spare ?? new SharedArrayBuffer(last ? 0 : this.#capacity);
    this.#spare = memory;
    this.#filled = 0;
  }
}
