/**
 * Reads the tables in which lakeFS keeps commits' contents. A value is: zigzag varint length,
 * identity; zigzag varint length, data (protobuf).
 *
 *   metarange   key: the range's last path; identity: the range's id in hex
 *               data: 1 min key, 2 max key, 3 estimated size, 4 count
 *   range       key: the path
 *               data: 1 address, 2 time, 3 size, 4 checksum, 5 metadata (map),
 *                     6 address type (1 relative, 2 full), 7 type
 *
 * Source: lakeFS, catalog.proto and graveler's committed ranges (v1.86); test/lakefs/ranges.test.ts
 * compares with pages.
 */
import { latin1, lossyText, strictText } from "../../base/bytes.js";
import type { LakeEntry } from "../rules/path-rules.js";
import { bad, readVarint } from "../api/snappy.js";
import { readTable } from "../api/sstable.js";

export interface RangeSummary {
  readonly id: string;
  readonly count: number;
}

export function* readMetarange(table: Uint8Array): Generator<RangeSummary, void, undefined> {
  for (const { value } of readTable(table)) {
    const { identity, data } = splitValue(value);
    let count = 0;
    for (const field of fields(data)) if (field.number === 4) count = field.value;
    yield { id: latin1(identity), count };
  }
}

export function* readRangeEntries(table: Uint8Array): Generator<LakeEntry, void, undefined> {
  for (const { key, value } of readTable(table))
    yield readEntry(latin1(key), splitValue(value).data);
}

function readEntry(path: string, data: Uint8Array): LakeEntry {
  let address: string | undefined;
  let size = 0;
  let checksum = "";
  let metadata: Record<string, string> | undefined;
  for (const field of fields(data)) {
    if (field.number === 1) address = lossyText(field.bytes);
    else if (field.number === 3) size = field.value;
    else if (field.number === 4) checksum = lossyText(field.bytes);
    else if (field.number === 5) {
      metadata ??= Object.create(null) as Record<string, string>;
      const [name, text] = mapEntry(field.bytes);
      metadata[name] = text;
    }
  }
  return { path, size, checksum, address, metadata: metadata ?? NO_METADATA };
}

const NO_METADATA: Readonly<Record<string, string>> = Object.freeze(
  Object.create(null) as Record<string, string>,
);

function mapEntry(bytes: Uint8Array): [string, string] {
  let name = "";
  let text = "";
  for (const field of fields(bytes)) {
    // As JSON shows it: pages and ranges must give the same.
    if (field.number === 1) name = strictText(field.bytes) ?? lossyText(field.bytes);
    else if (field.number === 2) text = strictText(field.bytes) ?? lossyText(field.bytes);
  }
  return [name, text];
}

function splitValue(value: Uint8Array): {
  readonly identity: Uint8Array;
  readonly data: Uint8Array;
} {
  const first = readSpan(value, 0);
  return { identity: first.bytes, data: readSpan(value, first.end).bytes };
}

/** A length as a zigzag varint, and so many bytes. */
function readSpan(
  value: Uint8Array,
  at: number,
): { readonly bytes: Uint8Array; readonly end: number } {
  const length = readVarint(value, at);
  const end = length.end + length.value / 2; // never negative, so zigzag only doubles
  if (!Number.isInteger(end) || end > value.length) throw bad("a value is cut");
  return { bytes: value.subarray(length.end, end), end };
}

interface Field {
  readonly number: number;
  readonly value: number;
  readonly bytes: Uint8Array;
}

const NO_BYTES = new Uint8Array(0);
const FIXED_BYTES: Readonly<Record<number, number>> = { 1: 8, 5: 4 };

/** Fields of a protobuf message: varints and byte strings; fixed ones are passed over. */
function* fields(data: Uint8Array): Generator<Field, void, undefined> {
  for (let at = 0; at < data.length; ) {
    const key = readVarint(data, at);
    const number = Math.floor(key.value / 8);
    const type = key.value % 8;
    if (type === 0) {
      const value = readVarint(data, key.end);
      at = value.end;
      yield { number, value: value.value, bytes: NO_BYTES };
    } else if (type === 2) {
      const length = readVarint(data, key.end);
      at = length.end + length.value;
      if (at > data.length) throw bad("a field is cut");
      yield { number, value: 0, bytes: data.subarray(length.end, at) };
    } else {
      const fixed = FIXED_BYTES[type];
      if (fixed === undefined) throw bad("a field of an unknown type");
      at = key.end + fixed;
    }
  }
}
