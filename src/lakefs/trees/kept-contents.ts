/**
 * Contents that a synthesis has read which failed or was called off, so that the next attempt goes
 * on from there: their blobs are in a pack, and this table says which content is which. Rows of 84
 * bytes, in no order:
 *
 *   content key (hash-memory.ts), 32 bytes | SHA-256, 32 bytes | blob id, 20 bytes
 */
import { toHex } from "../../base/bytes.js";
import { LIMITS } from "../../base/limits.js";
import { OID_BYTES } from "../../git/oid.js";
import type { ContentFacts } from "../rules/claim.js";

const HASH_BYTES = 32;
const ROW_BYTES = 2 * HASH_BYTES + OID_BYTES;
const KEY_DIGITS = 2 * HASH_BYTES;
/** Bytes of the largest table. */
export const KEPT_BYTES_MAX = LIMITS.lakefsContentsMax * ROW_BYTES;

/** `known`: facts by content key, or by blob id; of the latter nothing is kept. */
export function formatKept(
  known: Iterable<readonly [string, ContentFacts]>,
  isHere: (blob: string) => boolean,
): Uint8Array {
  const rows: string[] = [];
  for (const [key, { sha256, blob }] of known)
    if (key.length === KEY_DIGITS && blob !== undefined && isHere(blob))
      rows.push(key + sha256 + blob);
  return Buffer.from(rows.join(""), "hex");
}

export function* readKept(
  table: Uint8Array,
): Generator<readonly [string, ContentFacts], void, undefined> {
  for (let at = 0; at + ROW_BYTES <= table.length; at += ROW_BYTES) {
    const part = (start: number, bytes: number) =>
      toHex(table.subarray(at + start, at + start + bytes));
    yield [
      part(0, HASH_BYTES),
      { sha256: part(HASH_BYTES, HASH_BYTES), blob: part(2 * HASH_BYTES, OID_BYTES) },
    ];
  }
}
