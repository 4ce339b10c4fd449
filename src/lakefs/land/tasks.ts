/**
 * Tasks of the lakeFS bridge's writing half: what a push adds is read out of packs and staged in
 * lakeFS.
 */
import type { BranchHead } from "../read/branch-heads.js";
import type { MessagePort } from "node:worker_threads";
import type { Oid } from "../../git/oid.js";
import type { HashedContent, LakefsFigures, SynthesizeRequest } from "../trees/tasks.js";
import type { PackHandle } from "../../odb/packs/handle.js";
import { task, type TaskControl } from "../../pool/task.js";
import type { LakefsAccess } from "../api/http.js";

export interface PushedCommit {
  readonly oid: Oid;
  readonly tree: Oid;
  readonly parents: readonly Oid[];
}

export interface NewCommitsRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
  readonly tip: Oid;
  /** Commits that lakeFS has, and so all below them. */
  readonly known: readonly Oid[];
  /** The walk ends after so many. */
  readonly max: number;
}

export interface NewCommitsResult {
  /** Nearest to the tip first. */
  readonly commits: readonly PushedCommit[];
  /** Every way down ended at a known commit or at one without parents. */
  readonly complete: boolean;
}

export interface BuildTreesRequest extends TaskControl {
  readonly access: LakefsAccess;
  readonly repository: string;
  /** lakeFS's storage namespace of it. */
  readonly namespace: string;
  readonly mapping: SynthesizeRequest["mapping"];
  /** Keys of seals (rules/claim-seal.ts). */
  readonly sealKeys: readonly Uint8Array[];
  /**
   * Commits that branches are at, and their trees: what is there already is staged as it is there.
   */
  readonly heads: readonly BranchHead[];
  /** Hidden branch at `baseCommit`, this push's own. */
  readonly workBranch: string;
  readonly baseCommit: string;
  readonly baseMetarange: string;
  /** A branch is at it. */
  readonly isBaseHead: boolean;
  /** Tree that Git shows of the base; undefined: it is nothing in Git. */
  readonly baseTree: Oid | undefined;
  /** True if modes in it begin with zeroes (rules/padded-modes.ts). */
  readonly isBasePadded: boolean;
  /**
   * Objects of the base that Git was not shown, as lines that begin with "path: "; undefined: there
   * may be any.
   */
  readonly hidden: readonly string[] | undefined;
  readonly packs: readonly PackHandle[];
  /** In the order to be made. */
  readonly commits: readonly { readonly oid: Oid; readonly tree: Oid }[];
  readonly plainFileBytesMax: number;
  /** The account that pushes, for the metadata of commits; undefined where nobody is asked. */
  readonly pusher: string | undefined;
  /**
   * Hooks judge commits to the work branch: each pushed commit becomes one there, also where its
   * tree is known.
   */
  readonly judged: boolean;
  /** A TaskPort of LandingNews and LandingQuestions. */
  readonly port: MessagePort;
}

export type LandingNews =
  | {
      readonly kind: "progress";
      readonly commits: number;
      readonly files: number;
      readonly filesTotal: number;
    }
  /** Tells the hashes uploaded under this key: to be remembered. */
  | { readonly kind: "hashed"; readonly key: string; readonly facts: HashedContent }
  /** The same of small contents: ids of trees/proven-contents.ts. */
  | { readonly kind: "proven"; readonly ids: Uint8Array };

/** Questions of a task while it builds trees. */
export type LandingQuestions = {
  /** Returns the address of an LFS object's bytes. */
  address(sha256: string, size: number): string | undefined;
  /**
   * Returns whether one of us has found the content with this key (lakefs/trees/hash-memory.ts) to
   * be so.
   */
  proves(key: string, sha256: string): boolean;
};

export interface BuildTreesResult {
  /** One a commit, in order. Each holds what was staged, at the very addresses. */
  readonly metaranges: readonly string[];
  /** Metarange of the work branch's head in the end. */
  readonly headMetarange: string;
  /** One a commit, in order: the zeroes before modes of its tree; undefined: there are none. */
  readonly paddings: readonly (string | undefined)[];
  /** A path below _lakefs_actions/ was changed. */
  readonly touchesHooks: boolean;
  readonly files: number;
  readonly figures: LakefsFigures;
}

export const newCommitsTask = task<NewCommitsRequest, NewCommitsResult>("landing/newCommits");
export const buildTreesTask = task<BuildTreesRequest, BuildTreesResult>("landing/buildTrees");

/** Reads whole commits or tags, one an id, in order: few at a time. */
export const rawObjectsTask = task<
  TaskControl & { readonly packs: readonly PackHandle[]; readonly oids: readonly Oid[] },
  readonly Uint8Array[]
>("landing/rawObjects");

/** Says why a pushed tree is not what lakeFS shows. */
export const differenceTask = task<
  TaskControl & {
    readonly packs: readonly PackHandle[];
    readonly pushed: Oid;
    readonly read: Oid;
  },
  { readonly path: string | undefined; readonly reason: string }
>("landing/difference");
