/**
 * Examines what a lakeFS repository's hooks are told of pushes, and whether lakeFS runs the guard.
 * Leaves nothing behind but the guard's commit, which no branch leads to.
 */
import { ActionsReader } from "./actions.js";
import type { LakefsClient } from "../api/client.js";
import { GuardProof, type GuardState } from "./guard-proof.js";
import { type HookFinding, reportHooks } from "./hook-report.js";
import { RootCommit } from "../agreed/root-commit.js";

export interface HookExamination {
  /** Tried just now. */
  readonly guard: GuardState;
  /** lakeFS's default branch: its head's actions are looked at. */
  readonly branch: string;
  readonly hooks: readonly HookFinding[];
}

/** Throws "lakefs/missing". */
export async function examineHooks(
  client: LakefsClient,
  signal: AbortSignal,
): Promise<HookExamination> {
  const { default_branch: branch, read_only: isReadOnly } = await client.getRepository(signal);
  const { commit_id: head } = await client.getBranch(branch, signal);
  const hooks = reportHooks((await new ActionsReader(client).at(head, signal)).hooks);
  if (isReadOnly === true)
    return {
      guard: { guard: "unknown", reason: "the repository is read-only in lakeFS" },
      branch,
      hooks,
    };
  const quiet = { info: () => undefined, warn: () => undefined };
  const proof = new GuardProof({
    client,
    root: new RootCommit(client),
    log: quiet,
  });
  await proof.get(signal).catch(() => undefined); // its state says why not
  return { guard: proof.state, branch, hooks };
}
