/**
 * The guard: a pre-merge hook of ours that travels in the tree of what is merged. lakeFS reads
 * merge hooks from the source commit and runs them inside its atomic branch update, so whoever
 * merges brings the guard along, and a merge meant for another head is refused (412). Merges
 * without our key pass. The file is never part of a Git tree; pushes that touch its path are
 * refused.
 *
 * It lies in a commit of its own, made on a branch from the repository's first commit: there is no
 * hook of the operator's in its tree, so nobody is told of it, nor of its merge into a work branch,
 * which puts the guard beside the pushed tree.
 */
import { utf8 } from "../../base/bytes.js";
import { asFault, type Fault } from "../../base/fault.js";
import type { LakefsClient } from "../api/client.js";
import { BASE_KEY, GUARD_PATH } from "../rules/metadata-keys.js";
import { GUARD_ACTION } from "../api/hidden-branches.js";
import { onWorkBranch } from "../api/work-branch.js";

/** Text of the hook; tells its refusal from that of an operator's hook. */
const GUARD_REFUSAL = "lakepack: the branch has moved";

export const GUARD_FILE: Uint8Array = utf8(`name: ${GUARD_ACTION}
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

export interface GuardPlace {
  readonly client: LakefsClient;
  /** Its first commit. */
  readonly root: string;
  readonly signal: AbortSignal;
}

export interface Guard {
  /** False: hooks are disabled in lakeFS. */
  readonly runs: boolean;
  /** A commit that has the guard and nothing else. */
  readonly commit: string;
}

/**
 * Proves on a scratch branch whether the guard runs: a merge for a wrong base is refused by it, or
 * succeeds where hooks are disabled. Leaves nothing behind but the commit. Throws every other
 * answer: somebody else's refusal says nothing of the guard.
 */
export function proveGuard({ client, root, signal }: GuardPlace): Promise<Guard> {
  return onWorkBranch({ client, source: root, root, signal }, async ({ name }) => {
    await client.uploadObject(name, GUARD_PATH, GUARD_FILE, {}, signal);
    const { id: commit } = await client.commit(
      name,
      { message: "lakepack: guard", allow_empty: true },
      signal,
    );
    const merged = client.merge(
      commit,
      name,
      { message: "lakepack: must be refused", metadata: { [BASE_KEY]: NOBODY } },
      signal,
    );
    return { runs: await merged.then(() => false, guardRefused), commit };
  });
}

/** True: the guard said no. Throws what else was said. */
function guardRefused(error: unknown): true {
  const fault = asFault(error);
  if (fault.code === "lakefs/refused" && isGuardRefusal(fault)) return true;
  throw fault;
}

export function isGuardRefusal(fault: Fault): boolean {
  return String(fault.facts["reason"] ?? "").includes(GUARD_REFUSAL);
}
