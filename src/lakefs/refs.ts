/**
 * Refs of a lakeFS repository. Its branches and tags are the truth for refs/heads/* and
 * refs/tags/*, always by full commit id; all other refs live in the manifest. HEAD is the default
 * branch, once it has a commit. A branch at the repository's first commit is unborn.
 */
import { createHash } from "node:crypto";
import { setMaxListeners } from "node:events";
import { LRUCache } from "lru-cache";
import { asFault, Fault } from "../base/fault.js";
import { orAbort } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type {
  Ref,
  RefChange,
  RefOutcome,
  RefSnapshot,
  RefStore,
  RefUpdateOptions,
} from "../odb/ref-store.js";
import { foldersOf } from "../git/ref-name.js";
import type { BranchHeads } from "./read/branch-heads.js";
import type { LakefsClient } from "./api/client.js";
import { type LakefsCommitMap, progressFacts } from "./read/commit-map.js";
import { isContentFault } from "./rules/content-fault.js";
import type { Landing } from "./land/contract.js";
import { fromLakefsId, type LakefsRefKind, splitRefName } from "./rules/ref-names.js";
import { RESERVED_BRANCH_PREFIX } from "./api/hidden-branches.js";
import type { StoredLakeNote } from "./read/lake-notes.js";
import { unlessAway } from "./api/stale.js";
import { TAG_MOVE_PREFIX } from "./land/tag-move.js";
import type { LakefsRef } from "./api/types.js";

export interface LakefsRefsOptions {
  readonly client: LakefsClient;
  readonly defaultBranch: string;
  readonly commits: LakefsCommitMap;
  readonly manifestRefs: RefStore;
  readonly landing: Landing;
  /** Told which commits branches are at. */
  readonly branchHeads: BranchHeads;
  /**
   * Throws where lakeFS's name leads to another repository by now, or to none. `fresh`: whatever
   * was said a moment ago. Default: it never does.
   */
  readonly confirm?: (fresh: boolean, signal: AbortSignal) => Promise<void>;
  /** Told of a branch or tag that is not served, once for each. */
  readonly onUnserved: (ref: UnservedRef) => void;
  /** Told of a half-landed push that could not be completed now. */
  readonly onIncomplete: (branch: string, fault: Fault) => void;
  /** Serves refs while lakeFS is away. Undefined: nothing. */
  readonly stale?: StaleRefs | undefined;
  /**
   * Milliseconds that `read` waits for synthesis, which goes on. Default: LIMITS.lakefsRefsWaitMs.
   */
  readonly waitMs?: number;
}

export interface StaleRefs {
  /** Returns the refs served last, by this process or one before. */
  known(signal: AbortSignal): Promise<RefSnapshot | undefined>;
  /** Told of each list that differs from the one before. */
  note(snapshot: RefSnapshot): Promise<void>;
  /** Told when lakeFS goes away and when it answers again. */
  changed(isAway: boolean): void;
}

export interface UnservedRef {
  readonly kind: LakefsRefKind;
  readonly id: string;
  readonly reason: string;
}

/** A branch or tag under its Git name. */
interface Head {
  readonly name: string;
  readonly kind: LakefsRefKind;
  /** lakeFS's own name of it. */
  readonly id: string;
  readonly lakeId: string;
}

export class LakefsRefs implements RefStore {
  readonly #options: LakefsRefsOptions;
  readonly #reported = new Set<string>();
  /** By branch, the merge that was looked at last. */
  readonly #completed = new Map<string, string>();
  #latest: RefSnapshot | undefined;
  /** lakeFS's names of the tags in the last list. */
  #tags: ReadonlySet<string> = new Set();
  #staleSnapshot: RefSnapshot | undefined;
  #isAway = false;
  /** Revision of what is noted for the time in which lakeFS is away. */
  #noted: string | undefined;
  #unreadable: LakefsRefs["unreadable"] = [];
  /** Commits that cannot be read, for a while: they are not read again for every list of refs. */
  readonly #failed = new LRUCache<string, Fault>({
    max: LIMITS.lakefsUnreadableMax,
    ttl: LIMITS.lakefsUnreadableMs,
  });
  /** Stops what goes on after its request has given up. */
  readonly #closed = new AbortController();

  constructor(options: LakefsRefsOptions) {
    this.#options = options;
    setMaxListeners(0, this.#closed.signal); // every record that waits to be written listens
  }

  /** Refs that were left out of the last list because their commits cannot be read. */
  get unreadable(): readonly { readonly name: string; readonly fault: Fault }[] {
    return this.#unreadable;
  }

  /**
   * Throws "lakefs/reading" where synthesis takes longer than `waitMs`; it goes on then. While
   * lakeFS is away and what is known may be served, that: never as new.
   */
  async read(signal: AbortSignal = this.#closed.signal): Promise<RefSnapshot> {
    const { stale, client } = this.#options;
    if (stale === undefined) return this.#readNow(signal);
    const now = async (asking: AbortSignal) => {
      const snapshot = await this.#readNow(asking);
      if (this.#noted !== snapshot.revision) await stale.note(snapshot);
      this.#noted = snapshot.revision;
      return snapshot;
    };
    const snapshot = await unlessAway(
      client.http,
      now,
      () => this.#staleNow(stale, signal),
      signal,
    );
    const isAway = snapshot.staleSinceMs !== undefined;
    if (isAway !== this.#isAway) stale.changed(isAway);
    this.#isAway = isAway;
    return snapshot;
  }

  /** The same object as long as lakeFS is away: caches hang on it. */
  async #staleNow(stale: StaleRefs, signal: AbortSignal): Promise<RefSnapshot | undefined> {
    if (this.#staleSnapshot === undefined || !this.#isAway)
      this.#staleSnapshot = await stale.known(signal);
    return this.#staleSnapshot;
  }

  async #readNow(patience: AbortSignal): Promise<RefSnapshot> {
    await this.#options.confirm?.(false, patience);
    const [heads, others] = await Promise.all([this.#heads(patience), this.#otherRefs(patience)]);
    const records = await this.#resolve(
      heads.map(({ lakeId }) => lakeId),
      patience,
    );
    this.#unreadable = heads.flatMap(({ name, lakeId }) => {
      const fault = this.#failed.get(lakeId);
      return fault === undefined ? [] : [{ name, fault }];
    });
    this.#completeLandings(heads, records);
    this.#options.branchHeads.latest = heads.flatMap(({ kind, lakeId }) => {
      const tree = kind === "branch" ? records.get(lakeId)?.tree : undefined;
      return tree === undefined ? [] : [{ lakeId, tree }];
    });
    const refs = heads.flatMap(({ name, lakeId }) => toRef(name, records.get(lakeId)));
    return this.#snapshot([...refs, ...others]);
  }

  async update(
    changes: readonly RefChange[],
    options: RefUpdateOptions,
    signal?: AbortSignal,
  ): Promise<readonly RefOutcome[]> {
    const here = changes.filter(({ name }) => splitRefName(name) === undefined);
    const there = changes.filter(({ name }) => splitRefName(name) !== undefined);
    const outcomes = new Map<string, RefOutcome>();
    const take = (made: readonly RefOutcome[]) => {
      for (const outcome of made) outcomes.set(outcome.name, outcome);
    };
    if (there.length > 0) take(await this.#options.landing.update(there, options, signal));
    if (here.length > 0) take(await this.#options.manifestRefs.update(here, options, signal));
    return changes.map(
      ({ name }) => outcomes.get(name) ?? { name, ok: false, reason: "nothing was done" },
    );
  }

  /** Ends what still runs in the background. `why` is what is told to who waits for it. */
  close(why = new Fault("base/aborted")): void {
    this.#closed.abort(why);
  }

  /**
   * A landing's merge at a head is half a landing: its Git side is whole already, so nobody waits
   * for the other to follow. Tried once for each.
   */
  #completeLandings(heads: readonly Head[], records: ReadonlyMap<string, StoredLakeNote>): void {
    for (const { kind, id, lakeId } of heads) {
      if (
        kind !== "branch" ||
        records.get(lakeId)?.alias !== true ||
        this.#completed.get(id) === lakeId
      )
        continue;
      this.#completed.set(id, lakeId);
      this.#options.landing.complete(id, lakeId, this.#closed.signal).catch((error: unknown) => {
        if (this.#completed.get(id) === lakeId) this.#completed.delete(id);
        this.#options.onIncomplete(id, asFault(error));
      });
    }
  }

  /** Synthesis belongs to nobody's request: it goes on when this one has gone. */
  async #resolve(
    lakeIds: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, StoredLakeNote>> {
    const { commits, waitMs = LIMITS.lakefsRefsWaitMs } = this.#options;
    const work = this.#resolveReadable(lakeIds, this.#closed.signal);
    const timeout = new AbortController();
    const timer = setTimeout(() => {
      timeout.abort(new Fault("lakefs/reading", progressFacts(commits.progress)));
    }, waitMs);
    try {
      return await orAbort(work, AbortSignal.any([signal, timeout.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * A commit with a content that cannot be read (gone, or not what lakeFS has recorded) takes its
   * own refs out of the list, and no others. Throws its fault where nothing else is left; then it
   * is tried again at once by whoever asks next.
   */
  async #resolveReadable(
    lakeIds: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, StoredLakeNote>> {
    const { commits } = this.#options;
    const ids = [...new Set(lakeIds)];
    let readable = ids.filter((id) => !this.#failed.has(id));
    if (readable.length === 0) {
      this.#failed.clear();
      readable = ids;
    }
    try {
      const all = await commits.resolve(readable, signal);
      if (this.#failed.size === 0) await commits.dropKept(signal);
      return all;
    } catch (error) {
      if (!isContentFault(asFault(error))) throw error;
    }
    const found = new Map<string, StoredLakeNote>();
    for (const id of readable) {
      try {
        for (const [lakeId, record] of await commits.resolve([id], signal))
          found.set(lakeId, record);
      } catch (error) {
        const fault = asFault(error);
        if (!isContentFault(fault)) throw fault;
        this.#failed.set(id, fault);
      }
    }
    const failed = ids.map((id) => this.#failed.get(id)).find((fault) => fault !== undefined);
    if (failed === undefined || found.size > 0) return found;
    this.#failed.clear();
    throw failed;
  }

  async #otherRefs(signal: AbortSignal | undefined): Promise<Ref[]> {
    const { refs } = await this.#options.manifestRefs.read(signal);
    return refs.filter(({ name }) => splitRefName(name) === undefined);
  }

  /** Branches and tags that can be served. */
  async #heads(signal: AbortSignal): Promise<Head[]> {
    let heads = await this.#listHeads(signal);
    // The branches may have been listed before a tag's move began, and the tags while it was
    // missing.
    let tags = tagsAmong(heads);
    if ([...this.#tags].some((id) => !tags.has(id))) {
      heads = await this.#listHeads(signal);
      tags = tagsAmong(heads);
    }
    this.#tags = tags;
    heads.sort((left, right) => (left.name < right.name ? -1 : 1));
    const names = new Set(heads.map(({ name }) => name));
    return heads.filter(({ name, kind, lakeId }) => {
      const file = foldersOf(name).find((folder) => names.has(folder));
      if (file !== undefined) this.#report(kind, lakeId, `${file} would be its folder`, name);
      return file === undefined;
    });
  }

  async #listHeads(signal: AbortSignal): Promise<Head[]> {
    const { client, defaultBranch } = this.#options;
    const heads: Head[] = [];
    const moves: LakefsRef[] = [];
    const tags = new Map<string, string>();
    let isWhole = false;
    for await (const branch of client.listBranches({}, signal)) {
      isWhole ||= branch.id === defaultBranch;
      if (branch.id.startsWith(TAG_MOVE_PREFIX)) moves.push(branch);
      this.#take(heads, "branch", branch.id, branch.commit_id);
    }
    if (!isWhole) await this.#explainGap(signal);
    for await (const { id, commit_id } of client.listTags({}, signal)) {
      tags.set(id, commit_id);
      this.#take(heads, "tag", id, commit_id);
    }
    if (moves.length > 0) await this.#takeMoving(heads, tags, moves, signal);
    return heads;
  }

  /**
   * A tag that is being moved is where it was while it is missing; one whose mover has died is put
   * back there. One that is elsewhere has been moved: tags are looked at after the notes.
   */
  async #takeMoving(
    heads: Head[],
    tags: Map<string, string>,
    branches: readonly LakefsRef[],
    signal: AbortSignal,
  ): Promise<void> {
    const { landing, onIncomplete } = this.#options;
    for (const move of await landing.moving(branches, signal)) {
      const at = tags.get(move.tag) ?? move.old;
      if (!tags.has(move.tag)) this.#take(heads, "tag", move.tag, move.old);
      tags.set(move.tag, at);
      const ending =
        at !== move.old
          ? landing.forget(move, this.#closed.signal)
          : move.isLeft
            ? landing.settle(move, this.#closed.signal)
            : undefined;
      ending?.catch((error: unknown) => onIncomplete(move.note, asFault(error)));
    }
  }

  /**
   * lakeFS deletes no default branch, so a list without it is that of a repository which is being
   * deleted or restored, or was a moment ago: lakeFS believes for some seconds that a deleted
   * repository is there, and shows it empty. A mirror that was told so would drop all its refs.
   */
  async #explainGap(signal: AbortSignal): Promise<never> {
    await this.#options.confirm?.(true, signal);
    throw new Fault("lakefs/unsettled", { branch: this.#options.defaultBranch });
  }

  #take(heads: Head[], kind: LakefsRefKind, id: string, lakeId: string): void {
    if (kind === "branch" && id.startsWith(RESERVED_BRANCH_PREFIX)) return;
    const short = fromLakefsId(kind, id);
    if (short === undefined)
      this.#report(kind, id, "Git cannot have this name, or another id stands for it");
    else
      heads.push({
        name: `refs/${kind === "branch" ? "heads" : "tags"}/${short}`,
        kind,
        id,
        lakeId,
      });
  }

  #report(kind: LakefsRefKind, id: string, reason: string, key = `${kind} ${id}`): void {
    if (this.#reported.has(key)) return;
    this.#reported.add(key);
    this.#options.onUnserved({ kind, id, reason });
  }

  /** The same object as long as nothing changes: caches hang on it. */
  #snapshot(refs: Ref[]): RefSnapshot {
    refs.sort((left, right) => (left.name < right.name ? -1 : 1));
    const head = headAmong(
      refs,
      `refs/heads/${fromLakefsId("branch", this.#options.defaultBranch) ?? "main"}`,
    );
    const text = refs.map(({ name, oid, peeled }) => `${oid} ${peeled ?? ""} ${name}\n`).join("");
    const revision = createHash("sha256").update(`${head}\n${text}`).digest("hex");
    if (this.#latest?.revision === revision) return this.#latest;
    this.#latest = { revision, head, refs, byName: new Map(refs.map((ref) => [ref.name, ref])) };
    return this.#latest;
  }
}

function tagsAmong(heads: readonly Head[]): ReadonlySet<string> {
  return new Set(heads.flatMap(({ kind, id }) => (kind === "tag" ? [id] : [])));
}

/**
 * lakeFS's default branch once it has a commit. Before, the branch that a first push has made:
 * lakeFS cannot be told of another default, and a HEAD that names nothing would make every clone
 * come out empty. The same rule on every node.
 */
function headAmong(refs: readonly Ref[], usual: string): string {
  const branches = refs.map(({ name }) => name).filter((name) => name.startsWith("refs/heads/"));
  const first = [usual, "refs/heads/main", "refs/heads/master"].find((name) =>
    branches.includes(name),
  );
  return first ?? branches[0] ?? usual;
}

/** Nothing where the commit maps to nothing: the ref is unborn. */
function toRef(name: string, record: StoredLakeNote | undefined): Ref[] {
  if (record === undefined) return [];
  const { tag, commit } = record;
  if (tag === undefined) return [{ name, oid: commit }];
  // Only a tag can be a tag: a branch at its record is at what it tags.
  return [
    name.startsWith("refs/tags/") ? { name, oid: tag, peeled: commit } : { name, oid: commit },
  ];
}
