/**
 * Answers of kernels in place of exceptions, and the fault each stands for. The numbers stand in
 * wasm/errors.ts too.
 */
import type { FaultCode } from "../base/fault.js";

export const CODE = { ok: 0, needMore: 1, outputFull: 2, yield: 3 } as const;

const FAULT_OF_CODE: Readonly<Record<number, FaultCode>> = {
  16: "pack/bad-signature",
  17: "pack/bad-entry",
  18: "pack/bad-varint",
  19: "pack/bad-zlib",
  20: "pack/size-mismatch",
  21: "pack/bad-delta",
  22: "pack/too-large",
  23: "pack/chain-too-long",
  24: "pack/base-missing",
  25: "pack/duplicate",
  26: "pack/too-large", // four GiB of tables: more objects than an ingest can hold
  27: "pack/bad-count",
  28: "odb/damaged", // a read of our own spool came back short
  29: "pack/fsck",
};

/** The fault a kernel's answer stands for; undefined for the answers that are none. */
export function faultOfCode(code: number): FaultCode | undefined {
  return FAULT_OF_CODE[code];
}
