/** Commits what is staged on a work branch. The branch is the push's own, so a commit whose answer was lost may be made again: it comes to the same metarange. */
import { asFault } from "../base/fault.js";
import { sleep } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { LakefsClient } from "./client.js";
import { isWorthAnotherTry } from "./hook-answer.js";
import { isTimeout } from "./http.js";
import type { LakefsCommit } from "./types.js";

const TRIES_MAX = 4;

export interface StagedCommit {
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Hooks for every branch are told of it. A hook that could not be asked is asked once more. */
export async function commitStaged(
  client: LakefsClient,
  repository: string,
  branch: string,
  { message, metadata }: StagedCommit,
  signal: AbortSignal,
): Promise<LakefsCommit> {
  let hookFailed = false;
  for (let attempt = 1; ; attempt++) {
    try {
      return await client.commit(repository, branch, { message, metadata, allow_empty: true }, signal);
    } catch (error) {
      const fault = asFault(error);
      const isLost = (fault.code === "lakefs/unreachable" && !isTimeout(fault)) || fault.code === "lakefs/failed";
      const isAgain: boolean = isWorthAnotherTry(fault) && !hookFailed;
      if (attempt === TRIES_MAX || !(isLost || isAgain)) throw fault;
      hookFailed ||= isAgain;
      if (isAgain) await sleep(LIMITS.hookAgainMs, signal);
    }
  }
}
