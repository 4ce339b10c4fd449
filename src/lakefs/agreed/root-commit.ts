/**
 * The commit a lakeFS repository began with: it has no parent. Looked for once, from the mapping's
 * commit, which is near it in time.
 */
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { LakefsClient } from "../api/client.js";
import { MAPPING_BRANCH } from "../api/hidden-branches.js";
import type { LakefsCommit } from "../api/types.js";

export class RootCommit {
  readonly #client: LakefsClient;
  #found: LakefsCommit | undefined;

  constructor(client: LakefsClient) {
    this.#client = client;
  }

  async get(signal: AbortSignal): Promise<LakefsCommit> {
    this.#found ??= await this.#look(signal);
    return this.#found;
  }

  /** The default branch's head where somebody has taken the mapping's branch away. */
  async #start(signal: AbortSignal): Promise<string> {
    const marked = await this.#client.findBranch(MAPPING_BRANCH, signal);
    if (marked !== undefined) return marked.commit_id;
    const { default_branch: branch } = await this.#client.getRepository(signal);
    return (await this.#client.getBranch(branch, signal)).commit_id;
  }

  async #look(signal: AbortSignal): Promise<LakefsCommit> {
    return walkToRoot(this.#client, await this.#start(signal), signal);
  }
}

/** Returns whether a repository may have begun with this commit. */
export function isFirstCommit({ parents, meta_range_id: metarange }: LakefsCommit): boolean {
  return parents.length === 0 && metarange === "";
}

/**
 * The first commit that a commit's history leads to: a call for each thousand commits. Throws
 * "lakefs/bad-reply" where it leads to none.
 */
export async function walkToRoot(
  client: LakefsClient,
  from: string,
  signal: AbortSignal,
): Promise<LakefsCommit> {
  let id = from;
  let generation = Number.POSITIVE_INFINITY;
  for (;;) {
    const { results } = await client.log(id, LIMITS.lakefsLogPage, signal);
    const root = results.find(isFirstCommit);
    if (root !== undefined) return root;
    // A page is ordered by date; its deepest commit is where to go on.
    const [first, ...others] = results;
    if (first === undefined)
      throw new Fault("lakefs/bad-reply", { call: "log", reason: "no commit is to be found" });
    const deepest = others.reduce(
      (left, right) => ((right.generation ?? 0) < (left.generation ?? 0) ? right : left),
      first,
    );
    if ((deepest.generation ?? 0) >= generation)
      throw new Fault("lakefs/bad-reply", {
        call: "log",
        reason: "no first commit is to be found",
      });
    generation = deepest.generation ?? 0;
    id = deepest.id;
  }
}
