/** Packs made by hand: every field can be wrong. */
import { createHash } from "node:crypto";
import { deflateSync } from "node:zlib";
import { OBJECT_TYPE, type ObjectType } from "../../src/git/oid.js";
import { writeBaseDistance, writeTypeAndSize } from "../../src/git/pack-writer.js";

export interface HandEntry {
  /** 0 to 7. */
  readonly type: number;
  /** Object, or delta. */
  readonly data: Uint8Array;
  /** Size in the header, where it is not the data's length. */
  readonly size?: number;
  /** ofs-delta: number of the entry it is based on, or a distance. */
  readonly base?: number;
  readonly distance?: number;
  /** ref-delta. */
  readonly baseOid?: string;
  /** Instead of the data's zlib stream. */
  readonly zlib?: Uint8Array;
  /** Instead of all before the zlib stream. */
  readonly head?: Uint8Array;
  readonly level?: number;
}

export interface HandPack {
  readonly version?: number;
  readonly count?: number;
  readonly signature?: string;
  readonly trailer?: Uint8Array;
}

export function blob(data: string | Uint8Array): HandEntry {
  return { type: OBJECT_TYPE.blob, data: Buffer.from(data as string) };
}

export function whole(type: ObjectType, data: string | Uint8Array): HandEntry {
  return { type: OBJECT_TYPE[type], data: Buffer.from(data as string) };
}

export function oidOf(type: ObjectType, data: string | Uint8Array): string {
  const bytes = Buffer.from(data as string);
  return createHash("sha1").update(`${type} ${bytes.length}\0`).update(bytes).digest("hex");
}

export function buildPack(entries: readonly HandEntry[], shape: HandPack = {}): Buffer {
  const header = Buffer.alloc(12);
  header.write(shape.signature ?? "PACK", "latin1");
  header.writeUInt32BE(shape.version ?? 2, 4);
  header.writeUInt32BE(shape.count ?? entries.length, 8);
  const parts: Buffer[] = [header];
  const offsets: number[] = [];
  let at = 12;
  for (const entry of entries) {
    const bytes = Buffer.concat([
      head(entry, at, offsets),
      entry.zlib ?? deflateSync(entry.data, { level: entry.level ?? -1 }),
    ]);
    offsets.push(at);
    parts.push(bytes);
    at += bytes.length;
  }
  const body = Buffer.concat(parts);
  return Buffer.concat([body, shape.trailer ?? createHash("sha1").update(body).digest()]);
}

function head(entry: HandEntry, at: number, offsets: readonly number[]): Uint8Array {
  if (entry.head !== undefined) return entry.head;
  const bytes = new Uint8Array(64);
  let end = writeTypeAndSize(bytes, 0, entry.type, entry.size ?? entry.data.length);
  if (entry.baseOid !== undefined) {
    bytes.set(Buffer.from(entry.baseOid, "hex"), end);
    end += 20;
  } else if (entry.base !== undefined || entry.distance !== undefined) {
    end = writeBaseDistance(
      bytes,
      end,
      entry.distance ?? at - (offsets[entry.base as number] as number),
    );
  }
  return bytes.subarray(0, end);
}

// Deltas ------------------------------------------------------------------------------------------
export function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}

export function insert(bytes: Uint8Array): number[] {
  const parts: number[] = [];
  for (let at = 0; at < bytes.length; at += 127) {
    const part = bytes.subarray(at, at + 127);
    parts.push(part.length, ...part);
  }
  return parts;
}

/** One copy instruction, every byte spelt out. */
export function copy(from: number, length: number): number[] {
  return [
    0xff,
    from & 255,
    (from >> 8) & 255,
    (from >> 16) & 255,
    (from >> 24) & 255,
    length & 255,
    (length >> 8) & 255,
    (length >> 16) & 255,
  ];
}

export function delta(
  baseSize: number,
  resultSize: number,
  ...instructions: readonly (readonly number[])[]
): Uint8Array {
  return Uint8Array.from([...varint(baseSize), ...varint(resultSize), ...instructions.flat()]);
}

/** Delta that keeps all of the base and appends. */
export function appending(base: Uint8Array, tail: string | Uint8Array): Uint8Array {
  const added = Buffer.from(tail as string);
  const copies: number[] = [];
  for (let at = 0; at < base.length; at += 0x10000)
    copies.push(...copy(at, Math.min(0x10000, base.length - at)));
  return delta(base.length, base.length + added.length, copies, insert(added));
}
