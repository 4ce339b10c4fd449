/** Answers of kernels in place of exceptions, and the fault each stands for. */
import type { FaultCode } from "../base/fault.js";
import { ANSWER } from "./abi.js";

/** Answers that are no fault. */
export const CODE = {
  ok: ANSWER.OK,
  needMore: ANSWER.NEED_MORE,
  outputFull: ANSWER.OUTPUT_FULL,
  yield: ANSWER.YIELD,
} as const;

type FaultAnswer = Exclude<keyof typeof ANSWER, "OK" | "NEED_MORE" | "OUTPUT_FULL" | "YIELD">;

const FAULT_OF_ANSWER: Readonly<Record<FaultAnswer, FaultCode>> = {
  BAD_SIGNATURE: "pack/bad-signature",
  BAD_ENTRY: "pack/bad-entry",
  BAD_VARINT: "pack/bad-varint",
  BAD_ZLIB: "pack/bad-zlib",
  SIZE_MISMATCH: "pack/size-mismatch",
  BAD_DELTA: "pack/bad-delta",
  TOO_LARGE: "pack/too-large",
  CHAIN_TOO_LONG: "pack/chain-too-long",
  BASE_MISSING: "pack/base-missing",
  DUPLICATE: "pack/duplicate",
  OUT_OF_MEMORY: "pack/too-large", // four GiB of tables: more objects than an ingest can hold
  BAD_COUNT: "pack/bad-count",
  READ_FAILED: "odb/damaged", // a read of our own spool came back short
  REFUSED: "pack/fsck",
};

const FAULT_OF_CODE: ReadonlyMap<number, FaultCode> = new Map(
  Object.entries(FAULT_OF_ANSWER).map(([answer, fault]) => [ANSWER[answer as FaultAnswer], fault]),
);

/** The fault a kernel's answer stands for; undefined for the answers that are none. */
export function faultOfCode(code: number): FaultCode | undefined {
  return FAULT_OF_CODE.get(code);
}
