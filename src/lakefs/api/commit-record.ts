/** Commit records: lakeFS commits made from what they say, without moving a branch. */
import type { LakefsClient } from "./client.js";
import { type CommitFacts, lakefsCommitId } from "./commit-id.js";
import type { LakefsCommit } from "./types.js";

/** The schema version lakeFS writes today; it is not part of the id. */
const COMMIT_VERSION = 1;

export interface RecordFacts extends CommitFacts {
  /** One more than the largest of the parents'. */
  readonly generation: number;
}

/** Makes the record, or finds that it is there; its id. */
export async function writeCommitRecord(
  client: LakefsClient,
  facts: RecordFacts,
  signal: AbortSignal,
): Promise<string> {
  const id = lakefsCommitId(facts);
  await client.createCommitRecord(
    {
      commit_id: id,
      version: COMMIT_VERSION,
      committer: facts.committer,
      message: facts.message,
      metarange_id: facts.metarangeId,
      creation_date: facts.creationDate,
      parents: facts.parents,
      metadata: facts.metadata,
      generation: facts.generation,
    },
    signal,
  );
  return id;
}

export function generationAfter(parents: readonly Pick<LakefsCommit, "generation">[]): number {
  return 1 + Math.max(0, ...parents.map(({ generation }) => generation ?? 0));
}
