/**
 * Tasks of a push, after its pack is indexed: what the new tips are, and whether all they need is
 * here.
 */
import type { Oid, ObjectType } from "../git/oid.js";
import type { PackHandle, TaskControl } from "./tasks.js";

export interface ObjectSummary {
  readonly oid: Oid;
  readonly type: ObjectType;
  /** Of a tag: what it finally points at, through tags of tags. */
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
   * Whether `old` is an ancestor of `new` (or the same), each peeled to a commit; a pair of other
   * types is no.
   */
  readonly pairs: readonly { readonly old: Oid; readonly new: Oid }[];
}

export type AncestorResult = readonly boolean[];

export interface PushTasks {
  "receive-pack/describe": { request: DescribeRequest; result: DescribeResult };
  "receive-pack/connected": { request: ConnectedRequest; result: ConnectedResult };
  "receive-pack/ancestor": { request: AncestorRequest; result: AncestorResult };
}
