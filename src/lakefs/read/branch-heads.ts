/**
 * Commits that branches of a lakeFS repository are at: noted by its refs, read by whoever looks for
 * what lakeFS holds already. Made before either, so that neither needs the other.
 */
import type { Oid } from "../../git/oid.js";

/** A branch's commit in lakeFS, and its Git tree. */
export interface BranchHead {
  readonly lakeId: string;
  readonly tree: Oid;
}

export class BranchHeads {
  /** As they were when the refs were last read; none before that. */
  latest: readonly BranchHead[] = [];
}
