/**
 * One batch of deflated objects on its way from the thread that made it to the thread that writes
 * the pack.
 *
 *   per object: u32 type | u32 compressed bytes | f64 inflated bytes | zlib stream          little-endian
 */
import { closeSync, openSync, readSync, rmSync, writevSync } from "node:fs";
import { Fault } from "../../base/fault.js";
import { OBJECT_TYPE, type ObjectType, typeName } from "../../git/oid.js";

export interface DeflatedObject {
  readonly type: ObjectType;
  readonly size: number;
  readonly compressed: Uint8Array;
}

const HEAD_BYTES = 16;

export function batchPath(path: string, batch: number): string {
  return `${path}.${batch}`;
}

export function writeBatch(path: string, objects: Iterable<DeflatedObject>): void {
  const file = openSync(path, "w");
  try {
    const head = new DataView(new ArrayBuffer(HEAD_BYTES));
    for (const { type, size, compressed } of objects) {
      head.setUint32(0, OBJECT_TYPE[type], true);
      head.setUint32(4, compressed.length, true);
      head.setFloat64(8, size, true);
      writeAll(file, [new Uint8Array(head.buffer), compressed]);
    }
  } finally {
    closeSync(file);
  }
}

function writeAll(file: number, parts: readonly Uint8Array[]): void {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  const written = writevSync(file, parts as Uint8Array[]);
  if (written < bytes)
    throw new Fault("store/full", { reason: "a write was cut short", written, bytes });
}

export function* readBatch(path: string): Generator<DeflatedObject> {
  const file = openSync(path, "r");
  try {
    const head = new DataView(new ArrayBuffer(HEAD_BYTES));
    for (
      let at = 0;
      readSync(file, new Uint8Array(head.buffer), 0, HEAD_BYTES, at) === HEAD_BYTES;
    ) {
      const compressed = Buffer.allocUnsafe(head.getUint32(4, true));
      at += HEAD_BYTES;
      if (readSync(file, compressed, 0, compressed.length, at) !== compressed.length)
        throw new Fault("base/internal", { reason: "a batch is cut", path });
      at += compressed.length;
      yield {
        type: typeName(head.getUint32(0, true)) as ObjectType,
        size: head.getFloat64(8, true),
        compressed,
      };
    }
  } finally {
    closeSync(file);
  }
}

export function removeBatch(path: string): void {
  rmSync(path, { force: true });
}
