/**
 * Writes a pack from its first byte to its trailer.
 *
 *   "PACK" | version 2 | count | entries | SHA-1 of all before
 *   entry = type and size | [distance back to the base, or its id] | zlib stream
 *
 * Source: gitformat-pack(5).
 */
import { createHash, type Hash } from "node:crypto";
import { OBJECT_TYPE, OID_BYTES } from "./oid.js";

/** Type and size: 4 bits, then 7 a byte, so 9 bytes for 2^53. A distance: 8. An id: 20. */
export const ENTRY_HEADER_BYTES_MAX = 32;
const VERSION = 2;

/** Writes type and size of an entry at `at`; where the next byte goes. Size may pass 32 bits. */
export function writeTypeAndSize(
  target: Uint8Array,
  at: number,
  type: number,
  size: number,
): number {
  let rest = Math.floor(size / 16);
  let byte = (type << 4) | (size % 16);
  let to = at;
  while (rest > 0) {
    target[to++] = byte | 0x80;
    byte = rest % 128;
    rest = Math.floor(rest / 128);
  }
  target[to++] = byte;
  return to;
}

/**
 * Writes the distance back to an ofs-delta's base; each continued byte stands for one more than it
 * says. gitformat-pack(5) "offset encoding".
 */
export function writeBaseDistance(target: Uint8Array, at: number, distance: number): number {
  const digits = [distance % 128];
  for (let rest = Math.floor(distance / 128); rest > 0; rest = Math.floor(rest / 128)) {
    rest--;
    digits.push((rest % 128) | 0x80);
  }
  let to = at;
  for (let digit = digits.length - 1; digit >= 0; digit--) target[to++] = digits[digit] as number;
  return to;
}

/** Takes over `bytes` until it returns. */
export type PackSink = (bytes: Uint8Array) => void;

/** Gathers a pack in one buffer, hashes it in large pieces and hands them on. */
export class PackWriter {
  readonly #sink: PackSink;
  readonly #buffer: Buffer;
  readonly #hash: Hash = createHash("sha1");
  #filled = 0;
  #handedOn = 0;

  /**
   * `bufferBytes`: size of the pieces; at least 64 KiB, below which hashing costs more than it
   * must.
   */
  constructor(count: number, bufferBytes: number, sink: PackSink) {
    this.#sink = sink;
    this.#buffer = Buffer.allocUnsafeSlow(bufferBytes);
    this.#buffer.write("PACK", 0, "latin1");
    this.#buffer.writeUInt32BE(VERSION, 4);
    this.#buffer.writeUInt32BE(count, 8);
    this.#filled = 12;
  }

  /** Bytes of the pack so far: where the next entry starts. */
  get offset(): number {
    return this.#handedOn + this.#filled;
  }

  /**
   * Lets `fill` write up to `length` bytes piece by piece: it is given where, and how many bytes
   * were written before.
   */
  copy(length: number, fill: (target: Uint8Array, done: number) => void): void {
    for (let done = 0; done < length; ) {
      if (this.#filled === this.#buffer.length) this.#handOn();
      const piece = this.#buffer.subarray(this.#filled, this.#filled + length - done);
      fill(piece, done);
      this.#filled += piece.length;
      done += piece.length;
    }
  }

  bytes(bytes: Uint8Array): void {
    this.copy(bytes.length, (target, done) =>
      target.set(bytes.subarray(done, done + target.length)),
    );
  }

  /**
   * Header of a whole object of `type`, or with `base` of a delta: a distance back in this pack, or
   * an id's 20 bytes.
   */
  header(type: number, size: number, base?: number | Uint8Array): void {
    if (this.#buffer.length - this.#filled < ENTRY_HEADER_BYTES_MAX) this.#handOn();
    const buffer = this.#buffer;
    if (base === undefined) this.#filled = writeTypeAndSize(buffer, this.#filled, type, size);
    else if (typeof base === "number") {
      this.#filled = writeBaseDistance(
        buffer,
        writeTypeAndSize(buffer, this.#filled, OBJECT_TYPE.ofsDelta, size),
        base,
      );
    } else {
      const at = writeTypeAndSize(buffer, this.#filled, OBJECT_TYPE.refDelta, size);
      buffer.set(base, at);
      this.#filled = at + OID_BYTES;
    }
  }

  /** Writes the trailer; the pack's checksum, hex. */
  finish(): string {
    this.#handOn();
    const checksum = this.#hash.digest();
    this.#sink(checksum);
    return checksum.toString("hex");
  }

  #handOn(): void {
    const piece = this.#buffer.subarray(0, this.#filled);
    this.#hash.update(piece);
    this.#sink(piece);
    this.#handedOn += this.#filled;
    this.#filled = 0;
  }
}
