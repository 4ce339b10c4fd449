/**
 * SHA-256 of an upload, computed where its bytes pass anyway. node:crypto is three times as fast as
 * the hash whose state moves between threads (690 against 190 MB/s), and the bytes need not be
 * copied for another thread; but it takes the event loop 1.4 ms a MiB. So only a few uploads at
 * once are hashed here, and others in the pool.
 */
import { createHash, type Hash } from "node:crypto";
import { LIMITS } from "../base/limits.js";
import type { Pool } from "../pool/task.js";
import { HashedStream } from "./hashed-stream.js";

export interface UploadHash {
  /** Takes the bytes in before it resolves. */
  update(bytes: Uint8Array): Promise<void>;
  digest(): Promise<string>;
  /** Gives up its place. Safe any number of times. */
  close(): void;
}

/** Uploads that are hashed here, on the event loop that all of this thread share. */
let hashedHere = 0;

/** `size`: all that will come. */
export function uploadHash(pool: Pool, size: number, signal: AbortSignal): UploadHash {
  if (hashedHere < LIMITS.lfsHashedHereMax) return new HashHere();
  const hash = new HashedStream(pool, size, signal);
  return {
    update: (bytes) => hash.update(bytes),
    digest: () => hash.digest(),
    close: () => undefined,
  };
}

class HashHere implements UploadHash {
  readonly #hash: Hash = createHash("sha256");
  #isOpen = true;

  constructor() {
    hashedHere++;
  }

  async update(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
  }

  async digest(): Promise<string> {
    this.close();
    return this.#hash.digest("hex");
  }

  close(): void {
    if (this.#isOpen) hashedHere--;
    this.#isOpen = false;
  }
}
