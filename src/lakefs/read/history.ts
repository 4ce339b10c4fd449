/**
 * Finds the commits to synthesize for a head, oldest first. lakeFS's log is ordered by date, not
 * topologically, and a further page of it costs a walk from its start: so it is read from the head,
 * and again from each commit that it has not shown. Few rows at first: mostly one commit is new.
 */
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { LakefsClient } from "../api/client.js";
import { isForward } from "../api/is-forward.js";
import { BASE_KEY, GUARD_PATH, HOOKS_FOLDER, TIP_KEY } from "../rules/metadata-keys.js";
import type { LakefsCommit } from "../api/types.js";

/** A commit's part in Git. */
export type HistoryStep =
  /** A commit whose Git parents are these lakeFS commits, in order. */
  | { readonly as: "commit"; readonly source: LakefsCommit; readonly parents: readonly string[] }
  /** A landing's merge on the head it was meant for: it stands for the landing's tip. */
  | { readonly as: "alias"; readonly source: LakefsCommit; readonly of: string };

/** Rows of the first log call; each further one asks for four times as many. */
const FIRST_ROWS = 16;

export class History {
  readonly #client: LakefsClient;
  readonly #signal: AbortSignal;
  readonly #sources = new Map<string, LakefsCommit>();
  #rows = FIRST_ROWS;

  constructor(client: LakefsClient, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  /**
   * Steps for all of `heads` that `isKnown` does not know, parents first. Commits that map to
   * nothing are told to `onNothing` and left out.
   */
  async plan(
    heads: readonly string[],
    isKnown: (lakeId: string) => Promise<boolean>,
    onNothing: (lakeId: string) => void,
  ): Promise<HistoryStep[]> {
    const steps = new Map<string, HistoryStep | "open" | "nothing">();
    const order: HistoryStep[] = [];
    const stack = [...heads];
    while (stack.length > 0) {
      const id = stack.at(-1) as string;
      const seen = steps.get(id);
      if (seen === undefined) {
        if (await isKnown(id)) {
          steps.set(id, "nothing");
          continue;
        }
        const source = await this.#source(id);
        if (isEmptyRoot(source)) {
          onNothing(id);
          steps.set(id, "nothing");
          continue;
        }
        const step = await this.#step(source);
        steps.set(id, step);
        for (const parent of dependencies(step)) if (!steps.has(parent)) stack.push(parent);
        continue;
      }
      stack.pop();
      if (typeof seen === "string") continue;
      order.push(seen);
      steps.set(id, "open");
    }
    return order;
  }

  async #step(source: LakefsCommit): Promise<HistoryStep> {
    const tip = await this.#landedTip(source);
    if (tip === undefined) return { as: "commit", source, parents: source.parents };
    const [onto, signpost] = source.parents as [string, string];
    const sameTree = (await this.#source(signpost)).meta_range_id === source.meta_range_id;
    const isLanding =
      onto === source.metadata?.[BASE_KEY] &&
      sameTree &&
      (await this.#isForward(onto, tip)) &&
      (await this.#showsTip(source.id, onto, tip));
    if (isLanding) return { as: "alias", source, of: tip };
    return { as: "commit", source, parents: [onto, tip] };
  }

  /**
   * Anybody may write a merge that looks like a landing's. One that leads away from the base is a
   * merge of both: no forger takes a branch's commits out of Git.
   */
  #isForward(base: string, tip: string): Promise<boolean> {
    return isForward(this.#client, base, tip, this.#signal);
  }

  /**
   * Returns whether lakeFS shows at a landing's merge what the tip has: but for the guard, and for
   * hooks, which are still those of the base.
   */
  async #showsTip(merge: string, base: string, tip: string): Promise<boolean> {
    let hooks = false;
    for await (const { path } of this.#client.diff(tip, merge, this.#signal)) {
      if (!path.startsWith(HOOKS_FOLDER)) return false;
      hooks ||= path !== GUARD_PATH;
    }
    if (!hooks) return true;
    for await (const { path } of this.#client.diff(base, merge, this.#signal, HOOKS_FOLDER))
      if (path !== GUARD_PATH) return false;
    return true;
  }

  /**
   * The tip that a landing's merge names, if its signpost leads there: parents [head, signpost];
   * the signpost's last parent has the one parent tip.
   */
  async #landedTip(source: LakefsCommit): Promise<string | undefined> {
    const tip = source.metadata?.[TIP_KEY];
    const signpost = source.parents[1];
    if (tip === undefined || signpost === undefined || source.parents.length !== 2)
      return undefined;
    const post = await this.#source(signpost);
    const last = post.parents.at(-1);
    if (last === undefined || post.parents.length < 3) return undefined;
    const { parents } = await this.#source(last);
    return parents.length === 1 && parents[0] === tip ? tip : undefined;
  }

  async #source(id: string): Promise<LakefsCommit> {
    const held = this.#sources.get(id);
    if (held !== undefined) return held;
    for (const commit of await this.#logFrom(id)) this.#sources.set(commit.id, commit);
    const found = this.#sources.get(id);
    if (found === undefined)
      throw new Fault("lakefs/bad-reply", {
        call: "log",
        commit: id,
        reason: "it does not begin with what was asked for",
      });
    return found;
  }

  async #logFrom(id: string): Promise<readonly LakefsCommit[]> {
    const rows = this.#rows;
    this.#rows = Math.min(rows * 4, LIMITS.lakefsLogPage);
    try {
      return (await this.#client.log(id, rows, this.#signal)).results;
    } catch (error) {
      // One missing ancestor makes a whole log missing, and many large commits a reply that is too
      // long to take.
      if (
        !(
          error instanceof Fault &&
          (error.code === "lakefs/missing" || error.code === "lakefs/bad-reply")
        )
      )
        throw error;
      this.#rows = FIRST_ROWS;
      return [await this.#client.getCommit(id, this.#signal)];
    }
  }
}

/** The commit every lakeFS repository begins with: there is no Git commit for it. */
function isEmptyRoot({ parents, meta_range_id }: LakefsCommit): boolean {
  return parents.length === 0 && meta_range_id === "";
}

function dependencies(step: HistoryStep): readonly string[] {
  return step.as === "alias" ? [step.of] : step.parents;
}
