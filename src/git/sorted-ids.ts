/** Look-ups in a table of ids: sorted, 20 bytes each. */
import { OID_BYTES } from "./oid.js";

/** Returns whether `sorted` holds the id at `at` of `bytes`. */
export function holdsId(sorted: Uint8Array, bytes: Uint8Array, at: number): boolean {
  let low = 0;
  let high = sorted.length / OID_BYTES;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const start = middle * OID_BYTES;
    const order = Buffer.compare(
      sorted.subarray(start, start + OID_BYTES),
      bytes.subarray(at, at + OID_BYTES),
    );
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}
