/** Constants of wasm/ that its callers know too. Made by scripts/abi.mjs: do not edit. */

/** wasm/errors.ts */
export const ANSWER = {
  OK: 0,
  NEED_MORE: 1,
  OUTPUT_FULL: 2,
  YIELD: 3,
  BAD_SIGNATURE: 16,
  BAD_ENTRY: 17,
  BAD_VARINT: 18,
  BAD_ZLIB: 19,
  SIZE_MISMATCH: 20,
  BAD_DELTA: 21,
  TOO_LARGE: 22,
  CHAIN_TOO_LONG: 23,
  BASE_MISSING: 24,
  DUPLICATE: 25,
  OUT_OF_MEMORY: 26,
  BAD_COUNT: 27,
  READ_FAILED: 28,
  REFUSED: 29,
} as const;

/** wasm/records.ts */
export const RECORD = {
  R_OFFSET: 0,
  R_SIZE: 8,
  R_CRC: 16,
  R_ID: 20,
  R_DATA: 40,
  R_BASE: 44,
  R_ENTRY_TYPE: 48,
  R_TYPE: 49,
  R_HEADER: 50,
  R_FLAGS: 51,
  R_RESULT: 52,
  R_WEIGHT: 56,
  R_STATE: 60,
  RECORD_BYTES: 64,
  UNCHECKED: 1,
  KNOWN: 1,
  LINKED: 2,
  NONE: 4294967295,
} as const;

/** wasm/links.ts */
export const LINK = {
  USED: 1,
  EXPECT_COMMIT: 2,
  EXPECT_TREE: 4,
  EXPECT_BLOB: 8,
  EXPECT_TAG: 16,
  EXPECT: 30,
  IS_GITMODULES: 32,
  IS_GITATTRIBUTES: 64,
  ENTRY_BYTES: 24,
} as const;

/** wasm/frame.ts */
export const FRAME = {
  FRAME_BEFORE: 32,
  FRAME_AFTER: 96,
} as const;

/** wasm/layout.ts */
export const LAYOUT = { RESOLVED: 1080 } as const;
