/**
 * Finds which lakeFS repository a name stands for. lakeFS lets a name be used again, and neither
 * its API nor any id of ours tells it by itself.
 *
 * A repository is the same as long as its creation date and storage namespace are. Where one has
 * changed, its first commit decides: a repository restored from a dump has the first commit it had
 * before, one made afresh has one of its own, from the second in which it was made. Two
 * repositories that were made in the same second with the same namespace cannot be told apart: all
 * that lakeFS says of them is equal, their first commits too.
 */
import { Fault } from "../../base/fault.js";
import type { LakefsClient, LakefsServer } from "../api/client.js";
import { lakefsCommitId } from "../api/commit-id.js";
import { isFirstCommit, walkToRoot } from "./root-commit.js";
import type { LakefsRepository } from "../api/types.js";

/**
 * Message of each repository's first commit in lakeFS. Source: lakeFS v1.86, pkg/graveler
 * (FirstCommitMsg).
 */
const FIRST_MESSAGE = "Repository created";
/**
 * Seconds between the dates of a repository and of its first commit: both are taken from the clock,
 * one after the other.
 */
const FIRST_COMMIT_SECONDS = [0, -1, 1] as const;

export interface Root {
  /** Commit id; undefined: history leads to no first commit. */
  readonly id: string | undefined;
  /** The repository began with it. False: it was restored, and the commit is older. */
  readonly isOwn: boolean;
}

/**
 * A repository's first commit. Throws "lakefs/unsettled" where it has no default branch: it is bare
 * and will be restored, or is being deleted.
 *
 * The first commit of one that was made, not restored, is found by one call, as nothing is in it
 * that is not known. It is also looked for first because it cannot be taken away: whoever may write
 * commits could make a history that leads to another repository's first commit.
 */
export async function rootOf(
  server: LakefsServer,
  facts: LakefsRepository,
  signal: AbortSignal,
): Promise<Root> {
  const client = server.in(facts.id);
  for (const seconds of FIRST_COMMIT_SECONDS) {
    const creationDate = facts.creation_date + seconds;
    const id = lakefsCommitId({
      committer: "",
      message: FIRST_MESSAGE,
      metarangeId: "",
      creationDate,
      parents: [],
      metadata: {},
    });
    const commit = await client.findCommitAt(id, signal);
    if (commit !== undefined && isFirstCommit(commit)) return { id, isOwn: true };
  }
  return { id: await historicRoot(client, facts, signal), isOwn: false };
}

/** As history leads to it from the default branch. */
async function historicRoot(
  client: LakefsClient,
  { default_branch: branch }: LakefsRepository,
  signal: AbortSignal,
): Promise<string | undefined> {
  const there = await client.findBranch(branch, signal);
  if (there === undefined) throw new Fault("lakefs/unsettled", { branch });
  try {
    return (await walkToRoot(client, there.commit_id, signal)).id;
  } catch (error) {
    if (
      error instanceof Fault &&
      (error.code === "lakefs/bad-reply" || error.code === "lakefs/missing")
    )
      return undefined;
    throw error;
  }
}
