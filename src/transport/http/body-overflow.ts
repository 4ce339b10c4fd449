/**
 * A file for the bytes of a request's body that find no place in memory: uWebSockets.js reads a
 * socket again as long as its buffer of 512 KiB is filled, whether it was asked to pause or not
 * [20.51, seen as 200 MB of one upload in memory]. So a client that is faster than we copy would
 * decide how much we hold. Written at once, because no other turn comes in between.
 */
import { randomBytes } from "node:crypto";
import { closeSync, openSync, read, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";

export class BodyOverflow {
  readonly #folder: string;
  readonly #bytesMax: number;
  /** Descriptor of a file without a name, so that it goes with us. */
  #file: number | undefined;
  #isClosed = false;
  #isReading = false;
  #start = 0;
  #end = 0;

  constructor(folder: string, bytesMax: number = LIMITS.bodyOverflowBytesMax) {
    this.#folder = folder;
    this.#bytesMax = bytesMax;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#end - this.#start;
  }

  /** Throws "pool/saturated" where more would wait than may, "store/failed". */
  put(chunk: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.bytes + chunk.length > this.#bytesMax)
      throw new Fault("pool/saturated", { putAside: this.bytes });
    try {
      this.#file ??= openUnnamed(this.#folder);
      for (let at = 0; at < chunk.length; )
        at += writeSync(this.#file, chunk, at, chunk.length - at, this.#end + at);
    } catch (error) {
      throw new Fault("store/failed", { reason: "a request's body could not be put aside" }, error);
    }
    this.#end += chunk.length;
  }

  /** Fills as much of `into` as there is; the part that was filled. */
  async take(into: Uint8Array): Promise<Uint8Array> {
    const length = Math.min(into.length, this.bytes);
    this.#isReading = true;
    try {
      for (let at = 0; at < length; )
        at += await this.#read(into, at, length - at, this.#start + at);
    } finally {
      this.#isReading = false;
      if (this.#isClosed) this.#closeFile();
    }
    if (!this.#isClosed) this.#start += length;
    // The next burst begins anew, in a file that is small again.
    if (this.bytes === 0) this.#closeFile();
    return into.subarray(0, length);
  }

  /** Nobody will take the rest. */
  close(): void {
    this.#isClosed = true;
    if (!this.#isReading) this.#closeFile();
  }

  #read(into: Uint8Array, at: number, length: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.#file as number, into, at, length, position, (error, bytes) => {
        if (error === null && bytes > 0) resolve(bytes);
        else
          reject(
            new Fault(
              "store/failed",
              { reason: "a request's body that was put aside cannot be read" },
              error ?? undefined,
            ),
          );
      });
    });
  }

  #closeFile(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
    this.#start = 0;
    this.#end = 0;
  }
}

function openUnnamed(folder: string): number {
  const path = join(folder, `body-${randomBytes(12).toString("hex")}`);
  const file = openSync(path, "wx+", 0o600);
  unlinkSync(path);
  return file;
}
