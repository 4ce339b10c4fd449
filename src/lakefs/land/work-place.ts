/** The start of a push, the place where its commits are made, and its result. */
import type { Oid } from "../../git/oid.js";
import type { WorkBranch } from "../api/hidden-branches.js";
import type { LakefsCommit } from "../api/types.js";

/** The start of a push. */
export interface Base {
  readonly commit: LakefsCommit;
  /** Undefined: it is nothing in Git. */
  readonly git: { readonly commit: Oid; readonly tree: Oid } | undefined;
}

export interface Landed {
  readonly tip: LakefsCommit;
  readonly touchesHooks: boolean;
  /** Metarange of the work branch's head. */
  readonly headMetarange: string;
}

/** A branch that a push is for. */
export interface TargetBranch {
  /** lakeFS's name of it. */
  readonly id: string;
  /** Git's, behind refs/heads/. */
  readonly short: string;
}

/** The place where a push's commits are made. */
export interface WorkPlace {
  readonly branch: WorkBranch;
  /** The repository's first commit, where hooks would be told of the branch's beginning and end. */
  readonly root: string | undefined;
  /** Hooks judge commits to the branch. */
  readonly judged: boolean;
  /** Fewer hooks are told of a commit to it than of a merge into it. */
  readonly commitIsQuieter: boolean;
}
