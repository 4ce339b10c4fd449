/**
 * The plain writing of an idx (version 2) and a rev. Reference for wasm/conclude.ts.
 *
 *   idx  ff 74 4f 63 | 2 | fanout 256 × u32 | ids, sorted | CRC-32s | offsets | offsets of 64 bits
 *        | pack's SHA-1 | own SHA-1
 *   rev  "RIDX" | 1 | 1 (SHA-1) | idx positions in pack order | pack's SHA-1 | own SHA-1
 *
 * Source: gitformat-pack(5).
 */
import { createHash } from "node:crypto";
import { OID_BYTES, type Oid, oidBytes } from "../../src/git/oid.js";

export interface IndexedEntry {
  readonly oid: Oid;
  readonly offset: number;
  readonly crc: number;
}

/** Offsets from here on stand in the table of 64-bit offsets. */
const NEAR_OFFSETS_END = 0x80000000;

/** `checksum`: the pack's 20 last bytes. */
export function writePackIndex(entries: readonly IndexedEntry[], checksum: Uint8Array): Uint8Array {
  const sorted = sortByOid(entries);
  const far = sorted.filter(({ offset }) => offset >= NEAR_OFFSETS_END);
  const idx = Buffer.alloc(8 + 1024 + sorted.length * (OID_BYTES + 8) + far.length * 8);
  idx.writeUInt32BE(0xff744f63, 0);
  idx.writeUInt32BE(2, 4);
  const counts = new Array<number>(256).fill(0);
  for (const { oid } of sorted) {
    const byte = Number.parseInt(oid.slice(0, 2), 16);
    counts[byte] = (counts[byte] ?? 0) + 1;
  }
  let sum = 0;
  counts.forEach((count, byte) => {
    sum += count;
    idx.writeUInt32BE(sum, 8 + 4 * byte);
  });
  const crcs = 1032 + sorted.length * OID_BYTES;
  const offsets = crcs + sorted.length * 4;
  let farAt = offsets + sorted.length * 4;
  sorted.forEach(({ oid, crc, offset }, position) => {
    idx.set(oidBytes(oid), 1032 + position * OID_BYTES);
    idx.writeUInt32BE(crc, crcs + 4 * position);
    const isFar = offset >= NEAR_OFFSETS_END;
    idx.writeUInt32BE(
      isFar ? NEAR_OFFSETS_END + (farAt - offsets - sorted.length * 4) / 8 : offset,
      offsets + 4 * position,
    );
    if (!isFar) return;
    idx.writeBigUInt64BE(BigInt(offset), farAt);
    farAt += 8;
  });
  return seal(idx, checksum);
}

export function writeReverseIndex(
  entries: readonly IndexedEntry[],
  checksum: Uint8Array,
): Uint8Array {
  const positions = new Map(sortByOid(entries).map((entry, position) => [entry.offset, position]));
  const rev = Buffer.alloc(12 + 4 * entries.length);
  rev.write("RIDX", "latin1");
  rev.writeUInt32BE(1, 4);
  rev.writeUInt32BE(1, 8);
  const inPackOrder = [...positions.keys()].sort((left, right) => left - right);
  for (const [rank, offset] of inPackOrder.entries())
    rev.writeUInt32BE(positions.get(offset) as number, 12 + 4 * rank);
  return seal(rev, checksum);
}

function sortByOid(entries: readonly IndexedEntry[]): IndexedEntry[] {
  return [...entries].sort((left, right) =>
    left.oid < right.oid ? -1 : left.oid > right.oid ? 1 : left.offset - right.offset,
  );
}

function seal(table: Buffer, checksum: Uint8Array): Uint8Array {
  const whole = Buffer.concat([table, checksum]);
  return Buffer.concat([whole, createHash("sha1").update(whole).digest()]);
}
