/** Tasks of a push, after its pack is indexed: what the new tips are, and whether all they need is here. */
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

/** One entry a tip, in order: the first object found missing below it, undefined where nothing is. */
export type ConnectedResult = readonly (Oid | undefined)[];

export interface AncestorRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
  /** Whether `old` is an ancestor of `new` (or the same), each peeled to a commit; a pair of other types is no. */
  readonly pairs: readonly { readonly old: Oid; readonly new: Oid }[];
}

export type AncestorResult = readonly boolean[];

export interface PushTasks {
  "receive-pack/describe": { request: DescribeRequest; result: DescribeResult };
  "receive-pack/connected": { request: ConnectedRequest; result: ConnectedResult };
  "receive-pack/ancestor": { request: AncestorRequest; result: AncestorResult };
}
