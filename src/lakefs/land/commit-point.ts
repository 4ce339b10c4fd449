/**
 * The commit point of a landing: branch B goes from commit E to commit record H if and only if its
 * head is still E, by what runs inside lakeFS's own atomic branch update.
 *
 *   signpost S   a record with parents [E, root × (i-2), R], R being a record whose one parent is
 *                H, and the pushed tree plus the guard
 *   merge S → B  the guard refuses it (412) unless the head is E; the head is then M with parents
 *                [E, S]
 *   reset        B to the expression B^2^i^1, which names H if and only if M is still the head:
 *                after any later commit it names nothing (400)
 *
 * i is above the number of parents that any commit of a push may have (LIMITS.landingParentsMax),
 * so the expression fits nothing but a landing's merge: merges made by lakeFS have two parents, and
 * a pushed merge whose second parent is an octopus has too few.
 */
import { randomInt } from "node:crypto";
import { asFault, Fault } from "../../base/fault.js";
import { sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { LandingStatement } from "../rules/claim-seal.js";
import type { LakefsClient } from "../api/client.js";
import { writeCommitRecord } from "../api/commit-record.js";
import { isGuardRefusal } from "../hooks/guard.js";
import { askingTwice } from "../hooks/hook-again.js";
import { refusalText } from "../api/hook-answer.js";
import { isTimeout } from "../api/http.js";
import {
  BASE_KEY,
  COMMIT_SEAL_KEY,
  GUARD_PATH,
  PUSHER_KEY,
  STEP_KEY,
  TIP_KEY,
} from "../rules/metadata-keys.js";
import type { LakefsCommit } from "../api/types.js";
import { isForward } from "../api/is-forward.js";

export interface MoveRequest {
  readonly client: LakefsClient;
  readonly branch: string;
  /** Head the branch must still have. */
  readonly base: LakefsCommit;
  /** The repository's first commit. */
  readonly root: string;
  /** The commit record the branch is to get. */
  readonly tip: LakefsCommit;
  /** Metarange of the pushed tree with the guard's file in it. */
  readonly guardedMetarange: string;
  /**
   * False: hooks do not run there. The merge then stays the head, as nothing has told it from one
   * onto another head.
   */
  readonly guarded: boolean;
  readonly committer: string;
  /** The account that pushes; undefined where nobody is asked. */
  readonly pusher?: string | undefined;
  /** Makes the seal that lets another server with the key complete it, wherever it leads. */
  readonly seal: (step: number) => string | undefined;
  /** Seconds since 1970. */
  readonly pushTime: number;
  readonly signal: AbortSignal;
}

export type MoveOutcome =
  /**
   * The branch is at the tip; `head` is it, or the merge commit somebody has built on meanwhile.
   */
  | { readonly landed: true; readonly head: string; readonly note?: string }
  | { readonly landed: false; readonly reason: string };

const STEP_MIN = LIMITS.landingParentsMax + 1;
const STEP_MAX = STEP_MIN + 31;
/** Waits for a branch whose staging somebody else is committing. */
const DIRTY_WAITS_MS = [20, 50, 100] as const;
/** Tries where lakeFS gave no answer, or failed without having done anything. */
const TRIES_MAX = 8;
/**
 * Waits for a lakeFS that has stopped answering when it must be asked what became of a merge: long
 * enough for it to be restarted.
 */
const OUTCOME_WAITS_MS = [500, 1_000, 2_000, 4_000, 8_000] as const;
const MOVED = "the branch moved in lakeFS meanwhile; fetch first";

/** Lands. Throws only what leaves the outcome unknown after every means to find it out is used. */
export async function moveBranch(point: MoveRequest): Promise<MoveOutcome> {
  const step = randomInt(STEP_MIN, STEP_MAX + 1);
  const signpost = await writeSignpost(point, step);
  return mergeSignpost(point, signpost, step);
}

async function writeSignpost(point: MoveRequest, step: number): Promise<string> {
  const { client, base, root, tip, committer, pushTime: creationDate, signal } = point;
  const generation = (tip.generation ?? 0) + 1;
  const common = { committer, creationDate, metadata: {} };
  const road = await writeCommitRecord(
    client,
    {
      ...common,
      message: "lakepack: road",
      metarangeId: tip.meta_range_id,
      parents: [tip.id],
      generation,
    },
    signal,
  );
  const parents = [base.id, ...Array<string>(step - 2).fill(root), road];
  const facts = {
    ...common,
    message: "lakepack: signpost",
    metarangeId: point.guardedMetarange,
    parents,
    generation: generation + 1,
  };
  return writeCommitRecord(client, facts, signal);
}

async function mergeSignpost(
  point: MoveRequest,
  signpost: string,
  step: number,
): Promise<MoveOutcome> {
  const { client, branch, base, tip, signal } = point;
  const seal = point.seal(step);
  const metadata = {
    [BASE_KEY]: base.id,
    [TIP_KEY]: tip.id,
    [STEP_KEY]: String(step),
    ...(point.pusher === undefined ? {} : { [PUSHER_KEY]: point.pusher }),
    ...(seal === undefined ? {} : { [COMMIT_SEAL_KEY]: seal }),
  };
  const message = tip.message === "" ? "lakepack: push" : tip.message;
  let dirty = 0;
  /** An earlier try may have landed without our hearing of it: then the guard refuses the next. */
  let uncertain = false;
  for (let attempt = 1; ; attempt++) {
    try {
      const { reference } = await askingTwice(
        () => client.merge(signpost, branch, { message, metadata }, signal),
        signal,
      );
      return await finish(point, await client.getCommit(reference, signal), step);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const refusal = refusalOf(error);
      if (refusal !== undefined && !uncertain) return { landed: false, reason: refusal };
      uncertain ||= error.code !== "lakefs/bad-request";
      // From here on it is not known whether the merge happened: the branch says.
      const seen = await outcome(point);
      if (seen === "stale")
        return {
          landed: false,
          reason:
            error.code === "lakefs/missing" ? "the branch is gone from lakeFS; fetch first" : MOVED,
        };
      if (seen !== "unmoved")
        return seen.id === tip.id
          ? { landed: true, head: seen.id }
          : finish(point, seen, Number(seen.metadata?.[STEP_KEY]));
      if (refusal !== undefined) return { landed: false, reason: refusal };
      if (error.code === "lakefs/hook-failed") throw error;
      // A hook may still be at it: another try would only ask it twice.
      if (isTimeout(error))
        throw new Fault(
          "lakefs/unknown-outcome",
          { branch, reason: "no answer in all the time that hooks may take" },
          error,
        );
      if (error.code === "lakefs/bad-request") {
        const wait = DIRTY_WAITS_MS[dirty++];
        if (wait === undefined) return { landed: false, reason: await badMergeReason(point) };
        await sleep(wait, signal);
      } else if (attempt >= TRIES_MAX) throw error;
    }
  }
}

/** Returns lakeFS's reason to refuse, where that is certain; undefined: it must be looked at. */
function refusalOf(fault: Fault): string | undefined {
  if (fault.code === "lakefs/refused") return isGuardRefusal(fault) ? MOVED : refusalText(fault);
  if (fault.code === "lakefs/conflict") return MOVED;
  if (fault.code === "lakefs/denied")
    return `lakeFS does not allow it: ${fault.facts["reason"] ?? "denied"}`;
  return undefined;
}

async function badMergeReason({ client, branch, signal }: MoveRequest): Promise<string> {
  const paths = await client.dirtyPaths(branch, 3, signal);
  return paths.length === 0
    ? "lakeFS refused the merge without saying why; try again"
    : dirtyReason(paths);
}

/**
 * Uncommitted changes would be swept into a merge; lakeFS refuses it, and so do we. `paths`: the
 * first three.
 */
export function dirtyReason(paths: readonly string[]): string {
  return `the branch has uncommitted changes in lakeFS (${paths.join(", ")}${paths.length === 3 ? ", …" : ""}): commit or reset them there`;
}

/** As `whereItIs`, from a lakeFS that may be away for a while. Throws "lakefs/unknown-outcome". */
async function outcome(point: MoveRequest): ReturnType<typeof whereItIs> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await whereItIs(point);
    } catch (error) {
      const wait = OUTCOME_WAITS_MS[attempt];
      if (wait === undefined)
        throw new Fault(
          "lakefs/unknown-outcome",
          { branch: point.branch, reason: asFault(error).message },
          error,
        );
      await sleep(wait, point.signal);
    }
  }
}

/**
 * After an answer that says nothing: the head, or a first parent of it down to the base, is the tip
 * or a merge that names it.
 */
async function whereItIs(point: MoveRequest): Promise<"unmoved" | "stale" | LakefsCommit> {
  const { client, branch, base, tip, signal } = point;
  const there = await client.findBranch(branch, signal);
  if (there === undefined) return "stale";
  let id: string | undefined = there.commit_id;
  if (id === base.id) return "unmoved";
  for (let looked = 0; looked < FIRST_PARENTS_MAX && id !== undefined && id !== base.id; looked++) {
    const commit = await client.getCommit(id, signal);
    if (commit.id === tip.id || commit.metadata?.[TIP_KEY] === tip.id) return commit;
    id = commit.parents[0];
  }
  return "stale";
}

/** Commits others may have put on top before we look. */
const FIRST_PARENTS_MAX = 1_000;

/** The merge is there. Unless it went beside a moved head, the branch goes on to the tip itself. */
async function finish(point: MoveRequest, merge: LakefsCommit, step: number): Promise<MoveOutcome> {
  if (merge.parents[0] !== point.base.id) {
    const note =
      "the branch had moved, and hooks are disabled in lakeFS: the push was merged with what was there";
    return { landed: true, head: merge.id, note };
  }
  if (!point.guarded) return { landed: true, head: merge.id };
  // It has landed, whatever becomes of this last step: whoever sees the merge next repeats it.
  const moved = await resetToTip(point.client, point.branch, step, point.signal).catch(() => false);
  if (moved) return { landed: true, head: point.tip.id };
  // Somebody has completed it before us, or has built on the merge.
  const seen = await whereItIs(point).catch(() => merge);
  return { landed: true, head: typeof seen === "string" ? merge.id : seen.id };
}

/**
 * Moves the branch from the merge to its tip if the merge is still the head. Idempotent; false:
 * somebody has built on the merge.
 */
async function resetToTip(
  client: LakefsClient,
  branch: string,
  step: number,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await client.hardReset(branch, `${branch}^2^${step}^1`, signal);
    return true;
  } catch (error) {
    if (
      error instanceof Fault &&
      (error.code === "lakefs/bad-request" || error.code === "lakefs/missing")
    )
      return false;
    throw error;
  }
}

/**
 * Whoever sees a landing's merge at a head completes it: its server may have died in between. True:
 * the branch has gone on to the tip. Not where the guard did not travel with it (there the merge
 * stays), nor where what it says of itself does not hold: anybody may write such a merge, so
 * without a seal it goes only forward, where its writer could have gone as well.
 */
export async function completeLanding(
  client: LakefsClient,
  branch: string,
  head: LakefsCommit,
  isSealed: IsSealed,
  signal: AbortSignal,
): Promise<boolean> {
  const { metadata = {}, parents } = head;
  const [base, signpost] = parents;
  const step = Number(metadata[STEP_KEY]);
  const tip = metadata[TIP_KEY];
  if (
    tip === undefined ||
    base === undefined ||
    signpost === undefined ||
    base !== metadata[BASE_KEY]
  )
    return false;
  if (!Number.isInteger(step) || step < STEP_MIN || step > STEP_MAX) return false;
  const road = (await client.getCommit(signpost, signal)).parents[step - 1];
  if (road === undefined || (await client.getCommit(road, signal)).parents[0] !== tip) return false;
  if (
    !isSealed(metadata[COMMIT_SEAL_KEY], { base, tip, step }) &&
    !(await isForward(client, base, tip, signal))
  )
    return false;
  const guard = await client.findObject(head.id, GUARD_PATH, signal);
  return guard !== undefined && resetToTip(client, branch, step, signal);
}

/** Tells whether one of us has sealed this landing. */
export type IsSealed = (
  seal: string | undefined,
  landing: Omit<LandingStatement, "namespace">,
) => boolean;
