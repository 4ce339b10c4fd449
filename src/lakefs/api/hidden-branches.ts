/**
 * Names in lakeFS that are ours: branches nobody is shown, which are never refs, and the action of
 * the guard.
 */
import { randomBytes } from "node:crypto";

/** Branches of ours (work, mapping, kept heads): never refs. */
export const RESERVED_BRANCH_PREFIX = "lakepack-";
/** The one of them whose first record is the mapping (agreed/mapping.ts). */
export const MAPPING_BRANCH = `${RESERVED_BRANCH_PREFIX}mapping`;
export const WORK_PREFIX = `${RESERVED_BRANCH_PREFIX}work-`;

/** Name of the guard's file as an action (hooks/guard.ts). */
export const GUARD_ACTION = "lakepack guard";

/** A hidden branch of one piece of work's own. */
export interface WorkBranch {
  readonly name: string;
  /** Seconds since 1970. */
  readonly startTime: number;
  /**
   * The commit that the branch is moved to before it is taken away: the repository's first one, so
   * that no hook is told. Undefined: nowhere.
   */
  endsAt?: string | undefined;
}

export function newWorkBranch(): WorkBranch {
  const startTime = Math.floor(Date.now() / 1_000);
  return { name: `${WORK_PREFIX}${startTime}-${randomBytes(6).toString("hex")}`, startTime };
}
