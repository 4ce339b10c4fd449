/**
 * The part of a lakeFS commit that could not be in Git: a count and the first paths, as its reading
 * found them (trees/synthesize.ts).
 */
import { LRUCache } from "lru-cache";
import { LIMITS } from "../../base/limits.js";
import type { LakefsClient } from "../api/client.js";
import type { LakefsCommitMap } from "./commit-map.js";

export interface Uncrossed {
  /** The commit that was read. */
  readonly lakeId: string;
  readonly count: number;
  /** "path: reason", the first ten. Paths are whatever lakeFS holds. */
  readonly first: readonly string[];
}

const NOBODY_KNOWS = "nobody knows";

export class UncrossedPaths {
  readonly #client: LakefsClient;
  readonly #commits: LakefsCommitMap;
  readonly #known = new LRUCache<string, Uncrossed | typeof NOBODY_KNOWS>({
    max: LIMITS.lakefsUncrossedMax,
  });

  constructor(client: LakefsClient, commits: LakefsCommitMap) {
    this.#client = client;
    this.#commits = commits;
  }

  /**
   * Returns that of this commit, or of the nearest ancestor that was read: a commit that a push
   * made here was not, and a push leaves alone what Git cannot see. Undefined: none of
   * `lakefsUncrossedLog` ancestors was read.
   */
  async of(lakeId: string, signal: AbortSignal): Promise<Uncrossed | undefined> {
    const held = this.#known.get(lakeId);
    if (held !== undefined) return held === NOBODY_KNOWS ? undefined : held;
    const found =
      (await this.#recorded(lakeId, signal)) ?? (await this.#ofAncestor(lakeId, signal));
    this.#known.set(lakeId, found ?? NOBODY_KNOWS);
    return found;
  }

  async #recorded(lakeId: string, signal: AbortSignal): Promise<Uncrossed | undefined> {
    const state = await this.#commits.listing(lakeId, signal);
    return state && { lakeId, count: state.refused, first: state.refusals };
  }

  /** Along first parents, as one page of the log shows them. */
  async #ofAncestor(lakeId: string, signal: AbortSignal): Promise<Uncrossed | undefined> {
    const { results } = await this.#client.log(lakeId, LIMITS.lakefsUncrossedLog, signal);
    const parents = new Map(results.map(({ id, parents: [first] }) => [id, first]));
    for (let id = parents.get(lakeId); id !== undefined; id = parents.get(id)) {
      const found = await this.#recorded(id, signal);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
