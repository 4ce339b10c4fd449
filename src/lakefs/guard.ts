/**
 * The guard: a pre-merge hook of ours that travels in the tree of what is merged. lakeFS reads merge hooks from the source commit and runs
 * them inside its atomic branch update, so whoever merges brings the guard along, and a merge meant for another head is refused (412). Merges
 * without our key pass. The file is never part of a Git tree; pushes that touch its path are refused.
 */
import { utf8 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import type { LakefsClient } from "./client.js";
import { BASE_KEY, GUARD_PATH } from "./metadata-keys.js";
import { onWorkBranch } from "./work-branch.js";

/** What the hook says; how its refusal is told from that of an operator's hook. */
export const GUARD_REFUSAL = "lakepack: the branch has moved";

export const GUARD_FILE: Uint8Array = utf8(`name: lakepack guard
description: refuses a merge made by lakepack for a head that is not there any more
on:
  pre-merge:
hooks:
  - id: lakepack_guard
    type: lua
    properties:
      script: |
        local base = action.commit.metadata["${BASE_KEY}"]
        if base ~= nil and action.commit.parents[1] ~= base then
          error("${GUARD_REFUSAL}")
        end
`);

const NOBODY = "0".repeat(64);

/**
 * Proves on two scratch branches that the guard runs: a merge for a wrong base must be refused by it. False: hooks are disabled there.
 * Leaves nothing behind but a commit nobody refers to.
 */
export async function guardRuns(client: LakefsClient, repository: string, commit: string, signal: AbortSignal): Promise<boolean> {
  const place = { client, repository, source: commit, signal };
  const prove = async (scratch: string, target: string): Promise<boolean> => {
    await client.uploadObject(repository, scratch, GUARD_PATH, GUARD_FILE, {}, signal);
    const made = await client.commit(repository, scratch, { message: "lakepack: does the guard run?", allow_empty: true }, signal);
    const metadata = { [BASE_KEY]: NOBODY };
    await client.merge(repository, made.id, target, { message: "lakepack: must be refused", metadata }, signal);
    return false;
  };
  try {
    return await onWorkBranch(place, (scratch) => onWorkBranch(place, (target) => prove(scratch.name, target.name)));
  } catch (error) {
    if (error instanceof Fault && error.code === "lakefs/refused") return isGuardRefusal(error);
    throw error;
  }
}

export function isGuardRefusal(fault: Fault): boolean {
  return String(fault.facts["reason"] ?? "").includes(GUARD_REFUSAL);
}
