import type { LakefsClient } from "./client.js";

/** Returns whether a branch at `base` that moves to `tip` gains commits and loses none. */
export async function isForward(
  client: LakefsClient,
  base: string,
  tip: string,
  signal: AbortSignal,
): Promise<boolean> {
  return (await client.findMergeBase(tip, base, signal)) === base;
}
