/**
 * The contract of the hot loops. Two sets implement it and pass the same tests: `plain`
 * (TypeScript, node:crypto, node:zlib: the reference) and `wasm` (AssemblyScript). Which one runs
 * is chosen per size at pool start (choose.ts).
 *
 * All calls are synchronous and bounded by their input. Outputs are copies the caller owns unless
 * said otherwise.
 */
export interface Kernels {
  readonly name: "plain" | "wasm";

  /**
   * SHA-1 of each object as Git hashes it: "<type> <size>\0" then the data. Digests lie end to end,
   * 20 bytes each. The batch is what makes it fast: four lanes at once.
   */
  hashObjects(objects: readonly HashJob[]): Uint8Array;

  /** CRC-32 (zlib's polynomial) of `bytes`, continued from `seed` (0 at the start). Unsigned. */
  crc32(bytes: Uint8Array, seed: number): number;

  /** Adler-32 of `bytes`, continued from `seed` (1 at the start). Unsigned. */
  adler32(bytes: Uint8Array, seed: number): number;

  /**
   * Inflates one zlib stream that starts at `input[start]` and must yield exactly `size` bytes; its
   * adler-32 is checked. Never writes past `size`, never believes it: the caller has bounded it.
   * Undefined: the stream goes on beyond `input`. Throws "pack/bad-zlib", "pack/size-mismatch".
   */
  inflate(input: Uint8Array, start: number, size: number): Inflated | undefined;

  /**
   * The object a delta makes of its base. Throws "pack/bad-delta" (base size differs, opcode 0, out
   * of bounds, result size differs), "pack/too-large" where the result's size exceeds
   * `resultBytesMax`, before anything is allocated.
   */
  applyDelta(base: Uint8Array, delta: Uint8Array, resultBytesMax: number): Uint8Array;
}

export interface HashJob {
  readonly type: "commit" | "tree" | "blob" | "tag";
  readonly data: Uint8Array;
}

export interface Inflated {
  readonly data: Uint8Array;
  /** Compressed bytes read, header and checksum included. */
  readonly consumed: number;
}
