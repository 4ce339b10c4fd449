/**
 * Tasks that walk stored history: what a fetch may take and where it ends, what the new tips of a
 * push are, and whether all they need is here.
 */
import type { Oid, ObjectType } from "../../git/oid.js";
import type { Filter } from "../../wire/filter.js";
import { task, type TaskControl } from "../../pool/task.js";
import type { PackHandle, PacksRequest } from "../packs/handle.js";

export interface ObjectSummary {
  readonly oid: Oid;
  readonly type: ObjectType;
  /** For a tag, the object it finally points at, through tags of tags. */
  readonly peeled?: Oid;
  readonly peeledType?: ObjectType;
}

export interface DescribeRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
  readonly oids: readonly Oid[];
}

/** One entry an id, in order; undefined: no pack holds it, or what it peels to. */
export type DescribeResult = readonly (ObjectSummary | undefined)[];

export interface ConnectedRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
  /** Checksums among `packs` whose objects have all they link to. */
  readonly closed: readonly string[];
  readonly tips: readonly Oid[];
  /** Tables of ids, each sorted, 20 bytes each, that may be missing. Default: none. */
  readonly promised?: readonly SharedArrayBuffer[];
}

/** An object below a tip that is missing, or (`found`) not of the type that a link says. */
export interface Unconnected {
  readonly oid: Oid;
  readonly expected?: ObjectType;
  readonly found?: ObjectType;
}

/** One entry a tip, in order: the first found below it, undefined where all is there. */
export type ConnectedResult = readonly (Unconnected | undefined)[];

export interface AncestorRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
  /**
   * Pairs to compare: is `old` an ancestor of `new` (or the same), each peeled to a commit? The
   * answer for other types is no.
   */
  readonly pairs: readonly { readonly old: Oid; readonly new: Oid }[];
}

export type AncestorResult = readonly boolean[];

/** The request for a pack, all of it checked and resolved. */
export interface WalkRequest {
  readonly wants: readonly Oid[];
  /** Objects the client has with all they reach; those that are not here are passed over. */
  readonly haves: readonly Oid[];
  /** Commits whose parents the client will not have after this fetch. */
  readonly shallow: readonly Oid[];
  /** `sparse:oid` with ids only. */
  readonly filter?: Filter;
  /** Annotated tags that come along if what they point at is sent. */
  readonly tags: readonly TagRef[];
  /**
   * Tips of each pack by checksum, where every pack is closed. Lets a clone of everything do
   * without reading trees.
   */
  readonly packTips?: Readonly<Record<string, readonly Oid[]>>;
}

export interface TagRef {
  readonly oid: Oid;
  readonly peeled: Oid;
}

export interface CommonAncestry {
  readonly wants: readonly Oid[];
  /** Ids both sides have. */
  readonly common: readonly Oid[];
  /** The client's boundary: it has no ancestors below. */
  readonly shallow: readonly Oid[];
}

export interface DeepenRequest {
  readonly wants: readonly Oid[];
  /** The client's boundary now. */
  readonly clientShallow: readonly Oid[];
  readonly depth: DeepenBy;
}

export type DeepenBy =
  | { readonly by: "depth"; readonly depth: number; readonly relative: boolean }
  /** `not`: ids, names being resolved. */
  | { readonly by: "revisions"; readonly since: number | undefined; readonly not: readonly Oid[] };

export interface Boundary {
  /** New boundary commits, to be told to the client. Sorted. */
  readonly shallow: readonly Oid[];
  /** Boundary commits of the client whose parents it gets now. Sorted. */
  readonly unshallow: readonly Oid[];
  /** Parents of those: wanted from now on. Sorted. */
  readonly parents: readonly Oid[];
}

export interface ReachableRequest extends PacksRequest {
  /** Objects that refs point at. */
  readonly tips: readonly Oid[];
  /**
   * Objects that no other object of their pack links to, by checksum: where all of them are
   * reachable, the whole pack is.
   */
  readonly packTips: Readonly<Record<string, readonly Oid[]>>;
  /** Bits found before, for older packs or older tips. */
  readonly before?: ReachableBits;
  /** Tips of each pack by checksum, where every pack is closed. */
  readonly closedTips?: Readonly<Record<string, readonly Oid[]>>;
  /** Blobs may be missing: lakeFS still has them alone. */
  readonly promises: boolean;
}

/** One bit an object and pack, by position in the idx. */
export interface ReachableBits {
  readonly tips: readonly Oid[];
  readonly packs: readonly { readonly checksum: string; readonly bits: SharedArrayBuffer }[];
}

/** Answers whether every want has an ancestor among the common. */
export const negotiateTask = task<PacksRequest & CommonAncestry, boolean>("pack-objects/negotiate");
export const deepenTask = task<PacksRequest & DeepenRequest, Boundary>("pack-objects/deepen");
export const reachableTask = task<ReachableRequest, ReachableBits>("pack-objects/reachable");
export const describeTask = task<DescribeRequest, DescribeResult>("receive-pack/describe");
export const connectedTask = task<ConnectedRequest, ConnectedResult>("receive-pack/connected");
export const ancestorTask = task<AncestorRequest, AncestorResult>("receive-pack/ancestor");
