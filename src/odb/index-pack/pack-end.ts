/** Checks the end of a pack: its checksum stands behind the last entry, and nothing behind that. */
import { Fault } from "../../base/fault.js";
import type { ScanResult } from "./tasks.js";

const CHECKSUM_BYTES = 20;

/** All entries are here: nothing but the checksum may follow. `bytes`: so many have come. */
export function refuseExcess(scan: ScanResult, bytes: number): void {
  const end = scan.position + CHECKSUM_BYTES;
  if (scan.done && bytes > end)
    throw new Fault("pack/bad-count", { promised: scan.claimed, excess: bytes - end });
}

/** No more will come. */
export function checkEnd(scan: ScanResult, bytes: number): void {
  refuseExcess(scan, bytes);
  if (bytes < scan.position + CHECKSUM_BYTES)
    throw new Fault("pack/truncated", { bytes, objects: scan.objects });
}
