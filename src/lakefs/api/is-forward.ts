/** Whether a branch only gains commits. */
import { Fault } from "../../base/fault.js";
import type { LakefsClient } from "./client.js";

/** Whether a branch at `base` that moves to `tip` gains commits and loses none. */
export async function isForward(
  client: LakefsClient,
  repository: string,
  base: string,
  tip: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    return (await client.mergeBase(repository, tip, base, signal)) === base;
  } catch (error) {
    if (error instanceof Fault && error.code === "lakefs/missing") return false;
    throw error;
  }
}
