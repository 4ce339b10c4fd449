/**
 * Ranges and metaranges as lakeFS writes them (src/lakefs/api/sstable has the format), for listings
 * larger than a test can upload: one level of index, nothing compressed.
 */
import { createHash } from "node:crypto";
import { utf8 } from "../../src/base/bytes.js";
import { crc32c } from "../../src/lakefs/api/sstable.js";

const MAGIC = Uint8Array.of(0xf7, 0xcf, 0xf4, 0x85, 0xb7, 0x41, 0xe2, 0x88);
const BLOCK_ENTRIES = 200;
const BLOCK_TRAILER_BYTES = 5;

export interface GeneratedEntry {
  readonly path: string;
  readonly address: string;
  readonly size: number;
  readonly checksum: string;
}

/** A range; entries in bytewise order of their paths. */
export function rangeTable(entries: readonly GeneratedEntry[]): Buffer {
  return table(
    entries.map(({ path, address, size, checksum }) => ({
      key: path,
      value: tableValue("identity", [
        [1, address],
        [3, size],
        [4, checksum],
        [6, 1],
      ]),
    })),
  );
}

/** A metarange: ids of ranges, what the last path of each is, and how many entries it has. */
export function metarangeTable(
  ranges: readonly { readonly id: string; readonly last: string; readonly count: number }[],
): Buffer {
  return table(
    ranges.map(({ id, last, count }) => ({
      key: last,
      value: tableValue(id, [
        [2, last],
        [4, count],
      ]),
    })),
  );
}

/** An id as lakeFS makes them: 64 hex digits. */
export function generatedId(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

function table(entries: readonly { readonly key: string; readonly value: Uint8Array }[]): Buffer {
  const parts: Uint8Array[] = [];
  let length = 0;
  const block = (content: Buffer): Buffer => {
    const typed = Buffer.concat([content, Uint8Array.of(0)]);
    const crc = crc32c(typed);
    const masked = Buffer.alloc(4);
    masked.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
    const handle = Buffer.concat([varint(length), varint(content.length)]);
    parts.push(typed, masked);
    length += content.length + BLOCK_TRAILER_BYTES;
    return handle;
  };
  const index: { key: string; value: Uint8Array }[] = [];
  for (let at = 0; at < entries.length; at += BLOCK_ENTRIES) {
    const some = entries.slice(at, at + BLOCK_ENTRIES);
    index.push({ key: some.at(-1)?.key ?? "", value: block(blockOf(some)) });
  }
  const metaindex = block(blockOf([]));
  const footer = Buffer.alloc(53);
  footer[0] = 1; // CRC-32C
  Buffer.concat([metaindex, block(blockOf(index))]).copy(footer, 1);
  footer.writeUInt32LE(2, 41);
  footer.set(MAGIC, 45);
  return Buffer.concat([...parts, footer]);
}

/** Every key whole: one restart at the start serves. */
function blockOf(entries: readonly { readonly key: string; readonly value: Uint8Array }[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const { key, value } of entries) {
    const bytes = Buffer.concat([utf8(key), Buffer.alloc(8)]);
    parts.push(varint(0), varint(bytes.length), varint(value.length), bytes, value);
  }
  const restarts = Buffer.alloc(8);
  restarts.writeUInt32LE(1, 4);
  return Buffer.concat([...parts, restarts]);
}

function tableValue(
  identity: string,
  fields: readonly (readonly [number: number, value: string | number])[],
): Buffer {
  const data = Buffer.concat(fields.map(([number, value]) => field(number, value)));
  const name = Buffer.from(identity, "latin1");
  return Buffer.concat([varint(name.length * 2), name, varint(data.length * 2), data]);
}

function field(number: number, value: string | number): Buffer {
  if (typeof value === "number") return Buffer.concat([varint(number * 8), varint(value)]);
  const bytes = utf8(value);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const digits: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) digits.push((rest % 128) | 0x80);
  return Buffer.from([...digits, rest]);
}
