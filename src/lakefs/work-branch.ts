/** Hidden branches that live as long as a piece of work. What a crash leaves of them the sweeper finds, by the time in their names. */
import { randomBytes } from "node:crypto";
import { checkAborted, orAbort } from "../base/flow.js";
import type { LakefsClient } from "./client.js";
import { RESERVED_BRANCH_PREFIX } from "./ref-names.js";

export const WORK_PREFIX = `${RESERVED_BRANCH_PREFIX}work-`;
const CLEAN_UP_MS = 10_000;

/** A hidden branch of one piece of work's own. */
export interface WorkBranch {
  readonly name: string;
  /** Seconds since 1970. */
  readonly startTime: number;
}

export interface WorkBranchOptions {
  readonly client: LakefsClient;
  readonly repository: string;
  /** Where the branch starts: any ref expression. */
  readonly source: string;
  /** The caller's: an abort ends the waiting, and the branch goes all the same. */
  readonly signal: AbortSignal;
  /** Told of a branch that could not be taken away: the sweeper will. */
  readonly onLeft?: (name: string, error: unknown) => void;
}

export function newWorkBranch(): WorkBranch {
  const startTime = Math.floor(Date.now() / 1_000);
  return { name: `${WORK_PREFIX}${startTime}-${randomBytes(6).toString("hex")}`, startTime };
}

/** Makes a branch, runs `work` on it and takes it away, however `work` ends. */
export async function onWorkBranch<T>(options: WorkBranchOptions, work: (branch: WorkBranch) => Promise<T>): Promise<T> {
  const { client, repository, source, signal, onLeft } = options;
  checkAborted(signal);
  const branch = newWorkBranch();
  // Without the caller's signal: a call that is given up may still make the branch, and after its removal was asked for.
  const made = client.createBranch(repository, { name: branch.name, source, hidden: true }, new AbortController().signal);
  try {
    await orAbort(made, signal);
    return await work(branch);
  } finally {
    // Also where lakeFS gave no answer: it may have made the branch.
    const gone = made
      .catch(() => undefined)
      .then(() => client.deleteBranch(repository, branch.name, AbortSignal.timeout(CLEAN_UP_MS)))
      .catch((error: unknown) => onLeft?.(branch.name, error));
    if (!signal.aborted) await gone;
  }
}
