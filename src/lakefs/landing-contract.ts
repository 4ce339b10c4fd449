/** What the refs of a lakeFS repository need of the writing half. */
import type { RefChange, RefOutcome, RefUpdateOptions } from "../odb/ref-store.js";

/** Moves lakeFS branches and tags: an outcome per change, in order; `ok` is durable. */
export interface Landing {
  update(changes: readonly RefChange[], options: RefUpdateOptions, signal?: AbortSignal): Promise<readonly RefOutcome[]>;

  /** A reader has seen a landing's merge (`lakeId`) at the head of a branch: its server may have died before the last step. Idempotent, and harmless
   *  beside a landing under way. */
  complete(branch: string, lakeId: string, signal: AbortSignal): Promise<void>;
}

/** For repositories that are read-only, whoever pushes. */
export function refusingLanding(reason: string): Landing {
  return { update: async (changes) => changes.map(({ name }) => ({ name, ok: false, reason })), complete: async () => undefined };
}
