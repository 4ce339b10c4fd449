// What kernels answer instead of throwing. src/kernels/codes.ts turns them into faults; it has the
// numbers from here (scripts/abi.mjs).
export const OK: i32 = 0;
export const NEED_MORE: i32 = 1; // the input ends before the stream does
export const OUTPUT_FULL: i32 = 2; // resumable inflate only: take the output and call again
export const YIELD: i32 = 3; // a slice of work is done, there is more
export const BAD_SIGNATURE: i32 = 16;
export const BAD_ENTRY: i32 = 17;
export const BAD_VARINT: i32 = 18;
export const BAD_ZLIB: i32 = 19;
export const SIZE_MISMATCH: i32 = 20;
export const BAD_DELTA: i32 = 21;
export const TOO_LARGE: i32 = 22;
export const CHAIN_TOO_LONG: i32 = 23;
export const BASE_MISSING: i32 = 24;
export const DUPLICATE: i32 = 25;
export const OUT_OF_MEMORY: i32 = 26;
export const BAD_COUNT: i32 = 27;
export const READ_FAILED: i32 = 28;
export const REFUSED: i32 = 29; // the host judged an object and keeps the reason
