/**
 * Commits that lakeFS has and does not find by their ids. lakeFS 1.86 writes a cherry-pick's notes
 * into the cached record of the commit that was picked, and takes a full id through a hash of that
 * record: until the cache forgets it (ten minutes by default) every call that names the id is
 * answered 404. By any other way there is no hash: from a child (`<child>^1`), or from a branch,
 * which is why a hidden one is made where nothing else leads there.
 *
 * Source: lakeFS v1.86, pkg/graveler (CherryPick: `commit.Metadata = commitRecord.Metadata`) and
 * pkg/graveler/ref (revResolveCommit); test/lakefs/picked shows it.
 */
import { unlessMissing } from "./missing.js";
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { lakefsCommitId } from "./commit-id.js";
import type { LakefsCommit, LakefsPage, LakefsRef } from "./types.js";
import { MAPPING_BRANCH, newWorkBranch } from "./hidden-branches.js";

const COMMIT_ID = /^[0-9a-f]{64}$/;
const ORIGIN_KEY = "cherry-pick-origin";
/** Prefix of metadata that object ids depend on (rules/metadata-keys.ts). */
const OUR_KEYS = "lakepack.";
const COMMITTER_KEY = "cherry-pick-committer";

/** Expressions that lead to commits, by full id. */
export type Ways = Readonly<Record<string, string>>;

/** The calls of a repository that finding them takes; LakefsClient has them. */
export interface FindingCalls {
  commitAt(ref: string, signal: AbortSignal): Promise<LakefsCommit>;
  logAt(ref: string, amount: number, signal: AbortSignal): Promise<LakefsPage<LakefsCommit>>;
  listBranches(
    options: { prefix?: string; hidden?: boolean },
    signal: AbortSignal,
  ): AsyncIterable<LakefsRef>;
  listTags(options: { prefix?: string }, signal: AbortSignal): AsyncIterable<LakefsRef>;
  getBranch(branch: string, signal: AbortSignal): Promise<LakefsRef>;
  createBranch(
    branch: { name: string; source: string; hidden?: boolean },
    signal: AbortSignal,
  ): Promise<void>;
  hardReset(branch: string, ref: string, signal: AbortSignal): Promise<void>;
  deleteBranch(branch: string, signal: AbortSignal): Promise<void>;
}

/** LakefsServer. */
export interface FindingServer {
  in(repository: string): FindingCalls;
}

export class LostCommits {
  readonly #server: FindingServer;
  /** By repository, then id. */
  readonly #ways = new Map<string, Map<string, string>>();
  /**
   * Looked for and not found, by repository and id: since when. A log that ends at a commit that is
   * really gone must not search at each step.
   */
  readonly #gone = new Map<string, number>();

  constructor(server: FindingServer) {
    this.#server = server;
  }

  /** For another thread's client. */
  ways(repository: string): Ways {
    return Object.fromEntries(this.#ways.get(repository) ?? []);
  }

  know(repository: string, ways: Ways): void {
    for (const [id, way] of Object.entries(ways)) this.#remember(repository, id, way);
  }

  /** Returns the expression to name in a call: mostly the id. */
  wayTo(repository: string, ref: string): string {
    return this.#ways.get(repository)?.get(ref) ?? ref;
  }

  /** Returns whether a call that was answered 404 may be made again, by another way. */
  async find(repository: string, ref: string, signal: AbortSignal): Promise<boolean> {
    if (
      !COMMIT_ID.test(ref) ||
      this.#ways.get(repository)?.has(ref) === true ||
      (await this.#isFound(repository, ref, signal))
    )
      return false;
    const key = `${repository} ${ref}`;
    if (Date.now() - (this.#gone.get(key) ?? 0) < LIMITS.lakefsLostLookMs) return false;
    const way = await this.#search(repository, ref, signal);
    if (way !== undefined) this.#remember(repository, ref, way);
    else {
      if (this.#gone.size >= LIMITS.lakefsLostMax) this.#gone.clear();
      this.#gone.set(key, Date.now());
    }
    return way !== undefined;
  }

  #remember(repository: string, id: string, way: string): void {
    const ways = this.#ways.get(repository) ?? new Map<string, string>();
    if (ways.size >= LIMITS.lakefsLostMax) ways.clear(); // lakeFS finds most of them by now
    ways.set(id, way);
    this.#ways.set(repository, ways);
  }

  async #isFound(repository: string, id: string, signal: AbortSignal): Promise<boolean> {
    return (await unlessMissing(this.#server.in(repository).commitAt(id, signal))) !== undefined;
  }

  async #search(repository: string, id: string, signal: AbortSignal): Promise<string | undefined> {
    const names: string[] = [];
    for await (const branch of this.#server.in(repository).listBranches({ hidden: true }, signal)) {
      if (branch.commit_id === id) return this.#pinned(repository, branch.id, id, signal);
      names.push(branch.id);
      if (names.length === LIMITS.lakefsLostBranchesMax) break;
    }
    for await (const tag of this.#server.in(repository).listTags({}, signal)) {
      if (tag.commit_id === id) return this.#pinned(repository, tag.id, id, signal);
    }
    for (const name of names) {
      const log = await unlessMissing(
        this.#server.in(repository).logAt(name, LIMITS.lakefsLogPage, signal),
      );
      const through = log && wayThrough(log.results, id);
      if (through === undefined) continue;
      const from = through.isLost
        ? await this.#pinned(repository, name, through.from, signal)
        : through.from;
      if (from !== undefined) return from + through.steps;
    }
    return undefined;
  }

  /** From the mapping's parent: the first commit, whose tree is empty, so that no hook is told. */
  async #makeBranch(
    repository: string,
    name: string,
    source: string,
    signal: AbortSignal,
  ): Promise<void> {
    const first = `${MAPPING_BRANCH}^1`;
    const made = await unlessMissing(
      this.#server
        .in(repository)
        .createBranch({ name, source: first, hidden: true }, signal)
        .then(() => true),
    );
    if (made === true) await this.#server.in(repository).hardReset(name, source, signal);
    else await this.#server.in(repository).createBranch({ name, source, hidden: true }, signal);
  }

  /**
   * A name that only we move: what a branch shows may change while it is read. The sweeper takes it
   * away after a day.
   */
  async #pinned(
    repository: string,
    source: string,
    id: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { name } = newWorkBranch();
    try {
      await this.#makeBranch(repository, name, source, signal);
    } catch (error) {
      const { code } = asFault(error);
      if (code === "lakefs/denied" || code === "lakefs/missing" || code === "lakefs/bad-request")
        return undefined;
      throw error;
    }
    const { commit_id: there } = await this.#server.in(repository).getBranch(name, signal);
    if (there === id) return name;
    await this.#server.in(repository).deleteBranch(name, signal); // it has moved meanwhile
    return undefined;
  }
}

/**
 * Finds the way from a log to a commit: from its child, or, where lakeFS does not find that by its
 * id either, from the child's, and so on. `isLost`: it is the log's first commit where this ends,
 * and that is lost as well.
 */
function wayThrough(
  log: readonly LakefsCommit[],
  id: string,
): { readonly from: string; readonly steps: string; readonly isLost: boolean } | undefined {
  let steps = "";
  for (let at = id, count = 0; count < LIMITS.lakefsLostStepsMax; count++) {
    const child = log.find(({ parents }) => parents.includes(at));
    if (child === undefined) return undefined;
    steps = `^${child.parents.indexOf(at) + 1}${steps}`;
    if (!isPicked(child) || child === log[0])
      return { from: child.id, steps, isLost: isPicked(child) };
    at = child.id;
  }
  return undefined;
}

/**
 * A commit whose record bears the notes of its own cherry-pick, which no commit can be made with.
 */
function isPicked({ id, metadata }: LakefsCommit): boolean {
  return metadata?.[ORIGIN_KEY] === id;
}

/**
 * The commit as it was made. Throws "lakefs/bad-reply" where it was changed beyond what can be
 * taken back, and that decides an object id: a cherry-pick may set metadata of the caller's, and
 * they would show in the picked commit for those ten minutes.
 */
export function asMade(commit: LakefsCommit): LakefsCommit {
  if (!isPicked(commit)) return commit;
  const { [ORIGIN_KEY]: _, [COMMITTER_KEY]: __, ...metadata } = commit.metadata ?? {};
  const {
    committer,
    message,
    meta_range_id: metarangeId,
    creation_date: creationDate,
    parents,
  } = commit;
  const isWhole =
    lakefsCommitId({ committer, message, metarangeId, creationDate, parents, metadata }) ===
    commit.id;
  if (!isWhole && Object.keys(metadata).some((key) => key.startsWith(OUR_KEYS))) {
    throw new Fault("lakefs/bad-reply", {
      commit: commit.id,
      reason:
        "lakeFS shows it with the metadata of a cherry-pick of it; it forgets them within some ten minutes",
    });
  }
  return { ...commit, metadata };
}
