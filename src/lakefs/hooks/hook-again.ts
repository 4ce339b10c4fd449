/** A hook that could not be asked is asked once more: lakeFS has changed nothing then. */
import { asFault } from "../../base/fault.js";
import { sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { isWorthAnotherTry } from "../api/hook-answer.js";

/**
 * Makes a call inside of which hooks run. Throws what it throws, "lakefs/hook-failed" the second
 * time.
 */
export async function askingTwice<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!isWorthAnotherTry(asFault(error))) throw error;
    await sleep(LIMITS.hookAgainMs, signal);
    return call();
  }
}
