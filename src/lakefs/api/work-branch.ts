/**
 * Hidden branches that live as long as a piece of work. The sweeper finds those that a crash
 * leaves, by the time in their names.
 *
 * lakeFS reads the hooks of a branch's beginning and end from the commit it is at then. The
 * repository's first commit has no file, so a branch that begins and ends there is nobody's event:
 * moving it in between (a reset) is none either.
 */
import { asFault } from "../../base/fault.js";
import { checkAborted, orAbort } from "../../base/flow.js";
import type { LakefsClient } from "./client.js";
import { newWorkBranch, type WorkBranch } from "./hidden-branches.js";

const CLEAN_UP_MS = 10_000;

export interface WorkBranchOptions {
  readonly client: LakefsClient;
  /** Start of the branch: any ref expression. */
  readonly source: string;
  /** The repository's first commit: then no hook is told of the branch's beginning and end. */
  readonly root?: string | undefined;
  /** Default: a new one. */
  readonly branch?: WorkBranch;
  /** The caller's: an abort ends the waiting, and the branch goes all the same. */
  readonly signal: AbortSignal;
  /** Told of a branch that could not be taken away: the sweeper will. */
  readonly onLeft?: (name: string, error: unknown) => void;
}

/** Makes a branch, runs `work` on it and takes it away, however `work` ends. */
export async function onWorkBranch<T>(
  options: WorkBranchOptions,
  work: (branch: WorkBranch) => Promise<T>,
): Promise<T> {
  const { client, source, root, signal, onLeft } = options;
  checkAborted(signal);
  const branch = options.branch ?? newWorkBranch();
  branch.endsAt ??= root;
  // Without the caller's signal: a call that is given up may still make the branch, and after its
  // removal was asked for.
  const making = new AbortController().signal;
  const made = client.createBranch(
    { name: branch.name, source: root ?? source, hidden: true },
    making,
  );
  try {
    await orAbort(made, signal);
    if (root !== undefined && source !== root) await client.hardReset(branch.name, source, signal);
    return await work(branch);
  } finally {
    // Also where lakeFS gave no answer: it may have made the branch.
    const gone = made
      .catch(() => undefined)
      .then(() =>
        removeQuietly(client, branch.name, branch.endsAt, AbortSignal.timeout(CLEAN_UP_MS)),
      )
      .catch((error: unknown) => onLeft?.(branch.name, error));
    if (!signal.aborted) await gone;
  }
}

/**
 * A new hidden branch at `source`, of which no hook is told. `root`: the repository's first commit.
 * Throws "lakefs/conflict".
 */
export async function createQuietly(
  client: LakefsClient,
  { name, source, root }: { readonly name: string; readonly source: string; readonly root: string },
  signal: AbortSignal,
): Promise<void> {
  await client.createBranch({ name, source: root, hidden: true }, signal);
  if (source !== root) await client.hardReset(name, source, signal);
}

/**
 * Takes a hidden branch away; no hook is told where `root`, the repository's first commit, is
 * given. Absent is success.
 */
export async function removeQuietly(
  client: LakefsClient,
  name: string,
  root: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  // Where it cannot be moved (it is gone, or protected) hooks may be told of its end.
  if (root !== undefined) await client.hardReset(name, root, signal).catch(orThrow);
  await client.deleteBranch(name, signal);
}

function orThrow(error: unknown): void {
  const { code } = asFault(error);
  if (code !== "lakefs/missing" && code !== "lakefs/denied" && code !== "lakefs/bad-request")
    throw error;
}
