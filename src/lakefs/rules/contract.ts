/**
 * The contract between the two halves of the lakeFS bridge: reading (trees/synthesize) makes Git
 * objects of lakeFS commits, landing makes lakeFS commits of Git objects. Both must agree to the
 * byte, so the rules stand in one place each and both halves import them.
 */
import type { Oid } from "../../git/oid.js";

/**
 * Written once into the lakeFS repository and true for ever, on every node (mapping.ts). Nothing
 * else enters an object id. Each version says which files are LFS pointers where an object's own
 * metadata does not; who does not know a version must not read the repository.
 */
export type Mapping = SizeMapping | LinkedMapping;

/**
 * Pointers by .gitattributes, and else large files and those of some suffixes. Version 3 is also
 * that commits, modes and pointers are kept as they were pushed, that no component is too long for
 * a file system, and the managed block's second form. Version 1, which was this one without all
 * that, is not read any more.
 */
export interface SizeMapping {
  readonly version: 3;
  /**
   * Files at or above are LFS pointers, in bytes, where .gitattributes say nothing of their filter.
   */
  readonly threshold: number;
  /** Final suffixes whose files are always pointers; lower case, without the dot. */
  readonly suffixes: readonly string[];
}

/**
 * Pointers by a hub's links: files whose address lies outside the repository's own data (lakeFS's
 * type FULL) and whose checksum is `sha256:…`. A version of its own, because a node that only knows
 * the first would read over the field and make other ids.
 */
export interface LinkedMapping {
  readonly version: 2;
  readonly pointers: "linked";
}

/** A mapping with what its rules need to know of the repository. */
export type PathMapping =
  | (SizeMapping & { readonly namespace?: string })
  | (LinkedMapping & { /** lakeFS's storage namespace. */ readonly namespace: string });

/** Both ids of one commit, and what it took to know them. */
export interface CommitPair {
  /** lakeFS commit id: 64 hex digits. */
  readonly lakeId: string;
  readonly commit: Oid;
  readonly tree: Oid;
}

/** The durable record git/lake/<lakeFS commit id> (msgpackr, put if absent, never changes). */
export interface LakeNote extends CommitPair {
  readonly version: 2;
  /** Pack the commit's new objects are in; undefined: it added none. */
  readonly pack: string | undefined;
}

/**
 * The LFS objects of this repository. serve/ hands it in: lakefs/ and lfs/ do not know each other.
 */
export interface LfsObjects {
  /**
   * Returns the address of the object's bytes for `stageObject` (a physical address lakeFS can
   * read); undefined: not here.
   */
  address(oid: string, size: number, signal: AbortSignal): Promise<string | undefined>;

  /** Clears what crashes left of uploads, only what is old; how many. */
  sweep?(nowMs: number, signal: AbortSignal): Promise<number>;
}
