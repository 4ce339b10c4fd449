/**
 * `Kernels` on node:crypto, node:zlib and plain TypeScript: the reference the WebAssembly kernels
 * are tested against.
 */
import { createHash } from "node:crypto";
import { crc32 as zlibCrc32, inflateSync } from "node:zlib";
import { Fault } from "../base/fault.js";
import type { HashJob, Inflated, Kernels } from "./kernels.js";

const DIGEST_BYTES = 20;
const ADLER_MODULUS = 65_521;
/** Bytes whose sums stay exact in a double between two reductions (zlib's NMAX). */
const ADLER_RUN = 5_552;

export const plainKernels: Kernels = {
  name: "plain",
  hashObjects,
  crc32,
  adler32,
  inflate,
  applyDelta,
};

function hashObjects(objects: readonly HashJob[]): Uint8Array {
  const digests = new Uint8Array(objects.length * DIGEST_BYTES);
  objects.forEach(({ type, data }, index) => {
    const digest = createHash("sha1").update(`${type} ${data.length}\0`).update(data).digest();
    digests.set(digest, index * DIGEST_BYTES);
  });
  return digests;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array, seed: number): number {
  if (typeof zlibCrc32 === "function") return zlibCrc32(bytes, seed); // Node 20.15, 22.2
  let crc = ~seed;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 255]!;
  return ~crc >>> 0;
}

function adler32(bytes: Uint8Array, seed: number): number {
  let low = seed & 0xffff;
  let high = seed >>> 16;
  for (let at = 0; at < bytes.length; at += ADLER_RUN) {
    for (const byte of bytes.subarray(at, at + ADLER_RUN)) {
      low += byte;
      high += low;
    }
    low %= ADLER_MODULUS;
    high %= ADLER_MODULUS;
  }
  return ((high << 16) | low) >>> 0;
}

function inflate(input: Uint8Array, start: number, size: number): Inflated | undefined {
  try {
    // One byte more than promised may come out, so that "too much" is seen without inflating a
    // bomb.
    const { buffer, engine } = inflateSync(input.subarray(start), {
      info: true,
      maxOutputLength: size + 1,
    }) as unknown as InflateInfo;
    if (buffer.length !== size) throw new Fault("pack/size-mismatch", { size, is: buffer.length });
    return { data: new Uint8Array(buffer), consumed: engine.bytesWritten };
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (code === "Z_BUF_ERROR") return undefined;
    if (code === "ERR_BUFFER_TOO_LARGE") throw new Fault("pack/size-mismatch", { size });
    if (error instanceof Fault) throw error;
    throw new Fault("pack/bad-zlib", {}, error);
  }
}

interface InflateInfo {
  readonly buffer: Buffer;
  /** zlib counts what it read as "written to it". */
  readonly engine: { readonly bytesWritten: number };
}

/** gitformat-pack(5) "Deltified representation". */
function applyDelta(base: Uint8Array, delta: Uint8Array, resultBytesMax: number): Uint8Array {
  const header = { at: 0 };
  if (readSize(delta, header) !== base.length)
    throw new Fault("pack/bad-delta", { base: base.length });
  const size = readSize(delta, header);
  if (size > resultBytesMax) throw new Fault("pack/too-large", { size });
  const result = new Uint8Array(size);
  let out = 0;
  let at = header.at;
  while (at < delta.length) {
    const op = delta[at++]!;
    if ((op & 0x80) === 0) {
      if (op === 0 || op > delta.length - at || op > size - out)
        throw new Fault("pack/bad-delta", { at });
      result.set(delta.subarray(at, at + op), out);
      at += op;
      out += op;
      continue;
    }
    let from = 0;
    let length = 0;
    for (let bit = 0; bit < 4; bit++)
      if (op & (1 << bit)) from += (delta[at++] ?? Number.NaN) * 2 ** (8 * bit);
    for (let bit = 0; bit < 3; bit++)
      if (op & (0x10 << bit)) length += (delta[at++] ?? Number.NaN) * 2 ** (8 * bit);
    if (length === 0) length = 0x10000;
    // NaN, where the delta ended inside its arguments, fails the comparisons below.
    if (!(from + length <= base.length) || !(length <= size - out))
      throw new Fault("pack/bad-delta", { at });
    result.set(base.subarray(from, from + length), out);
    out += length;
  }
  if (out !== size) throw new Fault("pack/bad-delta", { size, is: out });
  return result;
}

function readSize(delta: Uint8Array, cursor: { at: number }): number {
  let value = 0;
  let unit = 1;
  for (;;) {
    const byte = delta[cursor.at++];
    if (byte === undefined) throw new Fault("pack/bad-delta", { at: cursor.at });
    value += (byte & 0x7f) * unit;
    if (!(byte & 0x80)) break;
    unit *= 128;
    if (unit > 2 ** 56) throw new Fault("pack/bad-varint", { at: cursor.at });
  }
  return value;
}
