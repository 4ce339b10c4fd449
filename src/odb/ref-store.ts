/**
 * The contract of refs: a snapshot to read and a compare-and-swap to move them. Two implementations
 * share one conformance suite: the manifest (manifest/refs.ts) and lakeFS (lakefs/refs.ts).
 */
import type { Fault } from "../base/fault.js";
import type { Oid } from "../git/oid.js";
import type { PackLine } from "./pack-line.js";

export interface Ref {
  /** Full name ("refs/heads/main"), one UTF-16 unit per byte (base/bytes `latin1`). */
  readonly name: string;
  readonly oid: Oid;
  /** The object an annotated tag finally points at; absent where `oid` is no tag. */
  readonly peeled?: Oid;
}

export interface RefSnapshot {
  /** Changes whenever anything in the snapshot does. */
  readonly revision: string;
  /** Full name HEAD points at; the ref may not exist yet (unborn). */
  readonly head: string;
  /** Sorted bytewise by name. */
  readonly refs: readonly Ref[];
  /** By name. */
  readonly byName: ReadonlyMap<string, Ref>;
  /**
   * When it was so (since 1970), where that is not now: where the refs are kept does not answer.
   */
  readonly staleSinceMs?: number;
}

/** One command: old id → new id; ZERO_OID on the old side creates, on the new side deletes. */
export interface RefChange {
  readonly name: string;
  readonly old: Oid;
  readonly new: Oid;
  /** Peeled target of `new` where it is an annotated tag. */
  readonly peeled?: Oid;
}

/**
 * The outcome of one change: `ng` carries the reason the client reads, and for the log the
 * failure where the change was not refused.
 */
export type RefOutcome =
  | { readonly name: string; readonly ok: true }
  | { readonly name: string; readonly ok: false; readonly reason: string; readonly fault?: Fault };

export interface RefUpdateOptions {
  /** All or nothing. */
  readonly atomic: boolean;
  /**
   * Git's receive.denyDeleteCurrent, receive.denyDeletes. Fast-forwards are checked before, by who
   * can walk.
   */
  readonly denyDeletes: boolean;
  readonly denyDeleteCurrent: boolean;
  /** Published packs that become live in the same commit point; not if no change lands. */
  readonly packs?: readonly PackLine[];
  /** Asked before refs move, as late as can be: throws where the pusher may not any more. */
  readonly stillMay?: () => Promise<void>;
  /** The account that moves them; undefined where nobody is asked who they are. */
  readonly pusher?: string | undefined;
  /** Told of work that takes long, in lines a person reads; `done`: the last about its subject. */
  readonly onProgress?: (line: string, done: boolean) => void;
  /** Told what the pusher should know of the result, however quiet it wants it. */
  readonly onResult?: (line: string) => void;
}

export interface RefStore {
  /** The refs as last committed. Never a stale read after this process's own update. */
  read(signal?: AbortSignal): Promise<RefSnapshot>;

  /**
   * Moves refs whose old ids still hold, in one commit point: deletes first, then the rest; D/F
   * clashes, stale old ids and denied deletes are `ng` for their own ref (for all with `atomic`).
   * An outcome per change, in order; `ok` is durable. HEAD follows the first branch ever pushed.
   */
  update(
    changes: readonly RefChange[],
    options: RefUpdateOptions,
    signal?: AbortSignal,
  ): Promise<readonly RefOutcome[]>;
}
