/** What the refs of a lakeFS repository need of the writing half. */
import type { GuardState } from "../hooks/guard-proof.js";
import type { MovingTag } from "./tag-move.js";
import type { LakefsRef } from "../api/types.js";
import type { RefChange, RefOutcome, RefUpdateOptions } from "../../odb/ref-store.js";

/** Moves lakeFS branches and tags: an outcome per change, in order; `ok` is durable. */
export interface Landing {
  update(
    changes: readonly RefChange[],
    options: RefUpdateOptions,
    signal?: AbortSignal,
  ): Promise<readonly RefOutcome[]>;

  /** What is known of the guard that keeps pushes from landing on a moved head. */
  readonly guard: GuardState;

  /**
   * Of branches (`lakepack-tag-…`) the moves of tags that they note: such a tag is where it was
   * while it is missing.
   */
  moving(branches: readonly LakefsRef[], signal: AbortSignal): Promise<readonly MovingTag[]>;

  /**
   * Ends a move whose server has died: the tag is put back where it was, unless there is one, and
   * the note goes.
   */
  settle(move: MovingTag, signal: AbortSignal): Promise<void>;

  /** Takes away the note of a move that has ended, whose server died before it did. */
  forget(move: MovingTag, signal: AbortSignal): Promise<void>;

  /**
   * A reader has seen a landing's merge (`lakeId`) at the head of a branch: its server may have
   * died before the last step. Idempotent, and harmless beside a landing under way.
   */
  complete(branch: string, lakeId: string, signal: AbortSignal): Promise<void>;
}

/** For repositories that are read-only, whoever pushes. */
export function refusingLanding(reason: string): Landing {
  const guard = { guard: "unknown" } as const;
  const nothing = async () => undefined;
  return {
    guard,
    update: async (changes) => changes.map(({ name }) => ({ name, ok: false, reason })),
    moving: async () => [],
    settle: nothing,
    forget: nothing,
    complete: nothing,
  };
}
