/**
 * Bytes of one object while it is made: in memory as long as it is small, in a temporary file from
 * then on.
 */
import { createHash, randomBytes } from "node:crypto";
import { closeSync, openSync, readSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../../base/fault.js";
import type { ObjectType } from "../../git/oid.js";
import { writeExactly } from "./write-exactly.js";

/** Up to here content may stay in memory. */
export const MEMORY_BYTES_MAX = 16 * 1024 * 1024;
/** Bytes gathered before they are written to the file. */
const GATHER_BYTES = 1024 * 1024;

/** Something to be read at any place; `close` frees it. */
export class Content {
  readonly size: number;
  readonly #memory: Uint8Array | undefined;
  readonly #file: number;
  readonly #path: string | undefined;

  constructor(size: number, memory: Uint8Array | undefined, file = -1, path?: string) {
    this.size = size;
    this.#memory = memory;
    this.#file = file;
    this.#path = path;
  }

  /** Bytes [at, at + length): all of them. A view where they are in memory, a copy otherwise. */
  read(at: number, length: number): Uint8Array {
    if (this.#memory !== undefined) return this.#memory.subarray(at, at + length);
    const bytes = Buffer.allocUnsafeSlow(length);
    for (let filled = 0; filled < length; ) {
      const count = readSync(this.#file, bytes, filled, length - filled, at + filled);
      if (count === 0) throw new Fault("store/failed", { reason: "a temporary file was cut" });
      filled += count;
    }
    return bytes;
  }

  close(): void {
    if (this.#file >= 0) closeSync(this.#file);
    if (this.#path !== undefined) unlinkSync(this.#path);
  }
}

/** Takes the bytes of an object one after the other and, if it is one, hashes it. */
export class ContentWriter {
  readonly #folder: string;
  readonly #size: number;
  readonly #hash;
  readonly #gathered: Buffer;
  #filled = 0;
  #written = 0;
  #memory: Uint8Array | undefined;
  #file = -1;
  #path: string | undefined;

  /**
   * `size` is known and bounded by the caller, `memoryMax` the largest that stays in memory;
   * without a type nothing is hashed (a delta).
   */
  constructor(folder: string, size: number, memoryMax: number, type?: ObjectType) {
    this.#folder = folder;
    this.#size = size;
    this.#hash = type === undefined ? undefined : createHash("sha1").update(`${type} ${size}\0`);
    this.#gathered = Buffer.allocUnsafeSlow(GATHER_BYTES);
    if (size <= memoryMax) this.#memory = new Uint8Array(size);
  }

  /** Throws "pack/size-mismatch" when more comes than was said. */
  write(bytes: Uint8Array): void {
    if (this.#written + this.#filled + bytes.length > this.#size)
      throw new Fault("pack/size-mismatch", { size: this.#size });
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + GATHER_BYTES - this.#filled);
      this.#gathered.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === GATHER_BYTES) this.#flush();
    }
  }

  #flush(): void {
    const part = this.#gathered.subarray(0, this.#filled);
    this.#filled = 0;
    this.#hash?.update(part);
    if (this.#memory !== undefined) this.#memory.set(part, this.#written);
    else writeExactly(this.#open(), part, this.#written);
    this.#written += part.length;
  }

  #open(): number {
    if (this.#file < 0) {
      this.#path = join(this.#folder, `object-${randomBytes(6).toString("hex")}`);
      this.#file = openSync(this.#path, "wx+", 0o600);
    }
    return this.#file;
  }

  /** Throws "pack/size-mismatch" when less came than was said. */
  end(): { readonly content: Content; readonly id: Uint8Array | undefined } {
    this.#flush();
    if (this.#written !== this.#size)
      throw new Fault("pack/size-mismatch", { size: this.#size, is: this.#written });
    const content = new Content(
      this.#size,
      this.#memory,
      this.#memory === undefined ? this.#open() : -1,
      this.#path,
    );
    return { content, id: this.#hash?.digest() };
  }

  /** Gives up: frees what was made. */
  abandon(): void {
    new Content(0, this.#memory, this.#file, this.#path).close();
  }
}
