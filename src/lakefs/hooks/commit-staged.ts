/**
 * Commits what is staged on a work branch. The branch is the push's own, so a commit whose answer
 * was lost may be made again: it comes to the same metarange.
 */
import { asFault } from "../../base/fault.js";
import type { LakefsClient } from "../api/client.js";
import { askingTwice } from "./hook-again.js";
import { isTimeout } from "../api/http.js";
import type { LakefsCommit } from "../api/types.js";

const TRIES_MAX = 4;

export interface StagedCommit {
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Hooks for every branch are told of it. */
export async function commitStaged(
  client: LakefsClient,
  branch: string,
  { message, metadata }: StagedCommit,
  signal: AbortSignal,
): Promise<LakefsCommit> {
  for (let attempt = 1; ; attempt++) {
    try {
      const json = { message, metadata, allow_empty: true };
      return await askingTwice(() => client.commit(branch, json, signal), signal);
    } catch (error) {
      const fault = asFault(error);
      const isLost =
        (fault.code === "lakefs/unreachable" && !isTimeout(fault)) ||
        fault.code === "lakefs/failed";
      if (attempt === TRIES_MAX || !isLost) throw fault;
    }
  }
}
