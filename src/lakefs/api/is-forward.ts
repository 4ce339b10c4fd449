import type { LakefsClient } from "./client.js";

/** Whether a branch at `base` that moves to `tip` gains commits and loses none. */
export async function isForward(
  client: LakefsClient,
  repository: string,
  base: string,
  tip: string,
  signal: AbortSignal,
): Promise<boolean> {
  return (await client.findMergeBase(repository, tip, base, signal)) === base;
}
