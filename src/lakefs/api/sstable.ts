/**
 * Sorted tables as lakeFS stores ranges and metaranges in (RocksDB's block-based format, written by
 * Pebble), reading only.
 *
 *   blocks | footer (last 53 bytes): checksum type 1 (CRC-32C), metaindex handle, index handle
 *   (varints), padding to 41, version u32 LE 2, magic
 *   handle = varint offset, varint size;  after each block: 1 byte compression (0 none, 1 Snappy),
 *                                         4 bytes masked CRC-32C of block and that byte
 *   block  = entries (varint shared, varint unshared, varint value length, key tail, value),
 *          restart offsets u32 LE, their count
 *   a key  = user key and 8 bytes;  an index value = the handle of a block;  two levels of index
 *            where rocksdb.block.based.table.index.type is 2 (always from 10,000 entries on)
 *
 * Source: RocksDB's wiki "BlockBasedTable Format"; the checks against real ranges are in
 * test/lakefs/ranges.test.ts.
 */
import { compareBytes, latin1 } from "../../base/bytes.js";
import { bad, readVarint, unsnappy } from "./snappy.js";

export interface TableEntry {
  /** A copy. */
  readonly key: Uint8Array;
  /** A view of the table or of a block. */
  readonly value: Uint8Array;
}

const FOOTER_BYTES = 53;
const MAGIC = Uint8Array.of(0xf7, 0xcf, 0xf4, 0x85, 0xb7, 0x41, 0xe2, 0x88);
const CHECKSUM_CRC32C = 1;
const VERSION = 2;
const BLOCK_TRAILER_BYTES = 5;
const KEY_TRAILER_BYTES = 8;
const INDEX_TYPE = "rocksdb.block.based.table.index.type";
const PROPERTIES = "rocksdb.properties";
/**
 * One block inflated: lakeFS writes 4 KiB to some hundred; a single entry with large metadata may
 * fill one alone.
 */
const BLOCK_BYTES_MAX = 64 * 1024 * 1024;

interface Handle {
  readonly offset: number;
  readonly size: number;
}

/**
 * Entries of a table in key order. Throws "lakefs/bad-reply" where it is not one, is cut, or a
 * checksum differs.
 */
export function* readTable(table: Uint8Array): Generator<TableEntry, void, undefined> {
  const { metaindex, index } = readFooter(table);
  const twoLevels = isTwoLevel(table, metaindex);
  for (const entry of readBlock(table, index)) {
    const handle = readHandle(entry.value, 0).handle;
    if (!twoLevels) yield* userEntries(table, handle);
    else
      for (const inner of readBlock(table, handle))
        yield* userEntries(table, readHandle(inner.value, 0).handle);
  }
}

function* userEntries(table: Uint8Array, handle: Handle): Generator<TableEntry, void, undefined> {
  for (const { key, value } of readBlock(table, handle)) {
    if (key.length < KEY_TRAILER_BYTES) throw bad("a key is cut");
    yield { key: key.subarray(0, key.length - KEY_TRAILER_BYTES), value };
  }
}

function readFooter(table: Uint8Array): { readonly metaindex: Handle; readonly index: Handle } {
  const footer = table.subarray(-FOOTER_BYTES);
  if (footer.length < FOOTER_BYTES || compareBytes(footer.subarray(45), MAGIC) !== 0)
    throw bad("not a sorted table");
  if (footer[0] !== CHECKSUM_CRC32C || u32(footer, 41) !== VERSION)
    throw bad("a sorted table of an unknown version");
  const first = readHandle(footer, 1);
  return { metaindex: first.handle, index: readHandle(footer, first.end).handle };
}

function isTwoLevel(table: Uint8Array, metaindex: Handle): boolean {
  for (const { key, value } of readBlock(table, metaindex)) {
    if (latin1(key) !== PROPERTIES) continue;
    for (const property of readBlock(table, readHandle(value, 0).handle)) {
      if (latin1(property.key) !== INDEX_TYPE) continue;
      const type = u32(property.value, 0);
      if (type !== 0 && type !== 2) throw bad("an index of an unknown type");
      return type === 2;
    }
  }
  return false;
}

function readHandle(
  bytes: Uint8Array,
  at: number,
): { readonly handle: Handle; readonly end: number } {
  const offset = readVarint(bytes, at);
  const size = readVarint(bytes, offset.end);
  return { handle: { offset: offset.value, size: size.value }, end: size.end };
}

function* readBlock(table: Uint8Array, handle: Handle): Generator<TableEntry, void, undefined> {
  const block = openBlock(table, handle);
  const restarts = block.length < 4 ? -1 : u32(block, block.length - 4);
  const end = block.length - 4 - 4 * restarts;
  if (restarts < 0 || end < 0) throw bad("a block is cut");
  let key: Uint8Array = new Uint8Array(0);
  for (let at = 0; at < end; ) {
    const shared = readVarint(block, at);
    const unshared = readVarint(block, shared.end);
    const length = readVarint(block, unshared.end);
    const tail = length.end;
    const value = tail + unshared.value;
    at = value + length.value;
    if (shared.value > key.length || at > end) throw bad("an entry runs over its block");
    const next = new Uint8Array(shared.value + unshared.value);
    next.set(key.subarray(0, shared.value));
    next.set(block.subarray(tail, value), shared.value);
    key = next;
    yield { key, value: block.subarray(value, at) };
  }
}

function openBlock(table: Uint8Array, { offset, size }: Handle): Uint8Array {
  const end = offset + size;
  if (end + BLOCK_TRAILER_BYTES > table.length) throw bad("a block lies outside of its table");
  if (maskedCrc32c(table.subarray(offset, end + 1)) !== u32(table, end + 1))
    throw bad("a block's checksum differs");
  const stored = table.subarray(offset, end);
  switch (table[end]) {
    case 0:
      return stored;
    case 1:
      return unsnappy(stored, BLOCK_BYTES_MAX);
    default:
      throw bad("a block is compressed in an unknown way");
  }
}

function u32(bytes: Uint8Array, at: number): number {
  if (bytes.length - at < 4) throw bad("a number is cut");
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
}

/** Castagnoli's polynomial, reflected. */
const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** CRC-32C of `bytes`. RFC 3720, appendix B.4. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let at = 0; at < bytes.length; at++)
    crc = (crc >>> 8) ^ (CRC32C_TABLE[(crc ^ (bytes[at] as number)) & 0xff] as number);
  return (crc ^ 0xffffffff) >>> 0;
}

/** As stored: rotated by 15 and shifted, so that a checksum of checksums is none. */
function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
