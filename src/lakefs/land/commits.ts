/**
 * Shared work of landings of branches and tags: finds the new commits, makes their trees and
 * records in lakeFS, and checks that they read back as they were pushed.
 */
import { lossyText } from "../../base/bytes.js";
import { asFault, Fault, type FaultFacts } from "../../base/fault.js";
import { Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Oid } from "../../git/oid.js";
import {
  type BuildTreesResult,
  type PushedCommit,
  differenceTask,
  newCommitsTask,
  rawObjectsTask,
} from "./tasks.js";
import type { RefUpdateOptions } from "../../odb/ref-store.js";
import type { PackHandle } from "../../odb/packs/handle.js";
import { ActionsReader } from "../hooks/actions.js";
import { SealKeys } from "../rules/claim-seal.js";
import type { LakefsClient } from "../api/client.js";
import {
  hooksBehindMerges,
  hooksOnCommits,
  passedBy,
  passedByText,
  tellsOfBranch,
} from "../hooks/commit-hooks.js";
import { lakefsCommitId } from "../api/commit-id.js";
import { generationAfter, type RecordFacts, writeCommitRecord } from "../api/commit-record.js";
import { commitStaged, type StagedCommit } from "../hooks/commit-staged.js";
import { textRefusal } from "../rules/commit-text.js";
import { committerOf, describeCommit } from "../rules/described-commit.js";
import { GuardProof } from "../hooks/guard-proof.js";
import type { IsSealed } from "./commit-point.js";
import type { LandingOptions } from "./contract.js";
import { newWorkBranch, type WorkBranch } from "../api/hidden-branches.js";
import { landTrees } from "./landed-trees.js";
import { formatMapping } from "../agreed/mapping.js";
import { COMMIT_KEY, COMMIT_SEAL_KEY, PADDING_KEY } from "../rules/metadata-keys.js";
import { isProtected } from "./protection.js";
import type { RootCommit } from "../agreed/root-commit.js";
import { TagMover } from "./tag-move.js";
import type { LakefsCommit } from "../api/types.js";
import { onWorkBranch } from "../api/work-branch.js";
import type { Base, Landed, TargetBranch, WorkPlace } from "./work-place.js";

interface PushFacts {
  /** Seconds since 1970. */
  readonly creationDate: number;
  readonly pusher: string | undefined;
}

interface RecordsToWrite {
  readonly base: Base;
  readonly work: WorkBranch;
  readonly commits: readonly PushedCommit[];
  readonly built: Pick<BuildTreesResult, "metaranges" | "paddings">;
  readonly packs: readonly PackHandle[];
  readonly pusher: string | undefined;
}

/** A pushed commit's text, and the zeroes before its trees' modes. */
interface RawCommit {
  readonly raw: Uint8Array;
  readonly padding: string | undefined;
}

const FIRST_WALK = 64;
const RECORDS_AT_ONCE = 16;
/** Raw commits fetched from a thread in one message. */
const RAW_BATCH = 100;

export class CommitWriter {
  readonly options: LandingOptions;
  /** With the server's key: of what lakeFS shows not everybody who may push. */
  readonly reader: LakefsClient;
  readonly guard: GuardProof;
  readonly root: RootCommit;
  readonly actions: ActionsReader;
  readonly tagMover: TagMover;
  readonly #seals: SealKeys;

  /**
   * `server`: of the server's own key, where this one works with a person's. Knowledge of both is
   * shared, and looked after with the server's.
   */
  constructor(options: LandingOptions, server?: CommitWriter) {
    this.options = options;
    this.reader = server?.reader ?? options.client;
    this.#seals = new SealKeys(options.sealKeys);
    this.root = options.root;
    this.guard = server?.guard ?? new GuardProof(options);
    this.tagMover = new TagMover({ ...options, seals: this.#seals });
    this.actions = server?.actions ?? new ActionsReader(options.client);
  }

  sealLanding(base: string, tip: string, step: number): string | undefined {
    return this.#seals.sealLanding({ namespace: this.options.namespace, base, tip, step });
  }

  readonly isSealed: IsSealed = (seal, landing) =>
    this.#seals.isLandingSealed(seal, { namespace: this.options.namespace, ...landing });

  /** The live packs, the pushed ones among them. */
  async packs(signal: AbortSignal): Promise<readonly PackHandle[]> {
    const { packs } = await this.options.objects.packs(signal);
    return packs.map(({ checksum, path, bytes, objectCount, idx, rev }) => ({
      checksum,
      path,
      bytes,
      objectCount,
      idx,
      rev,
    }));
  }

  /**
   * Commits at or below `tip` that lakeFS does not have, parents first. Throws "lakefs/unmappable":
   * too many.
   */
  async newCommits(
    tip: Oid,
    known: readonly Oid[],
    signal: AbortSignal,
  ): Promise<readonly PushedCommit[]> {
    const { pool, commits: map, policy } = this.options;
    const commitsMax = policy.commitsMax ?? LIMITS.landingCommitsMax;
    const stops = new Set(known);
    const isNew = new Set<Oid>();
    const packs = await this.packs(signal);
    for (let max = FIRST_WALK; ; max *= 4) {
      const found = await pool.run(
        newCommitsTask,
        { packs, tip, known: [...stops], max: Math.min(max, commitsMax + 1) },
        { signal },
      );
      const before = stops.size;
      for (const { oid } of found.commits) {
        if (isNew.has(oid)) continue;
        if ((await map.toLake(oid, signal)).length > 0) stops.add(oid);
        else isNew.add(oid);
      }
      if (stops.size > before) continue;
      if (found.commits.length > commitsMax) {
        const reason = `the push has more than ${commitsMax} commits: push them in slices (git push <remote> <older commit>:<branch>)`;
        throw new Fault("lakefs/unmappable", { reason });
      }
      if (found.complete) return parentsFirst(found.commits.map(checkParents));
    }
  }

  /**
   * The lakeFS commit of a Git commit that is there; of several the base's own, else the smallest
   * id, that of a landing's merge last.
   */
  async lakeIdOf(commit: Oid, base: Base | undefined, signal: AbortSignal): Promise<string> {
    if (base?.git?.commit === commit) return base.commit.id;
    const { commits } = this.options;
    const ids = [...(await commits.toLake(commit, signal))].sort();
    const records = ids.length > 1 ? await commits.resolve(ids, signal) : undefined;
    const first = ids.find((id) => records?.get(id)?.alias !== true) ?? ids[0];
    if (first === undefined)
      throw new Fault("lakefs/bad-reply", {
        reason: "no lakeFS commit is known of a Git commit",
        commit,
      });
    return first;
  }

  /**
   * The lakeFS id of a Git commit, made with all below it where lakeFS does not have it yet.
   * `target`: the branch that is to get it.
   */
  async commitIn(
    commit: Oid,
    options: RefUpdateOptions,
    signal: AbortSignal,
    target?: TargetBranch,
  ): Promise<string> {
    const news = await this.newCommits(commit, [], signal);
    if (news.length === 0) return this.lakeIdOf(commit, undefined, signal);
    const base = await this.#baseFor(news, signal);
    const place = await this.workPlace(base.commit, options, signal, target);
    return this.onWorkBranch(
      place,
      base.commit.id,
      signal,
      async () => (await this.writeCommits(base, place, news, options, signal)).tip.id,
    );
  }

  /**
   * A commit whose tree is near: a parent of the oldest one that lakeFS has; else the repository's
   * first.
   */
  async #baseFor(news: readonly PushedCommit[], signal: AbortSignal): Promise<Base> {
    const { client, commits } = this.options;
    const own = new Set(news.map(({ oid }) => oid));
    const parent = news.flatMap(({ parents }) => parents).find((oid) => !own.has(oid));
    if (parent === undefined) return { commit: await this.root.get(signal), git: undefined };
    const commit = await client.getCommit(await this.lakeIdOf(parent, undefined, signal), signal);
    return { commit, git: (await commits.resolve([commit.id], signal)).get(commit.id) };
  }

  /**
   * A work branch that commits of a push can be made on. Its start is the push time: creation date
   * of all the push's records. `source`: where it starts; its hooks are asked. Throws
   * "lakefs/unmappable" where the push would pass a hook by, or lakeFS lets nobody commit to the
   * branch.
   */
  async workPlace(
    source: LakefsCommit,
    options: RefUpdateOptions,
    signal: AbortSignal,
    target?: TargetBranch,
    protection?: readonly string[],
  ): Promise<WorkPlace> {
    const { policy } = this.options;
    const branch = newWorkBranch();
    const [{ hooks }, patterns] = await Promise.all([
      this.actions.at(source.id, signal),
      protection ?? this.reader.branchProtection(signal),
    ]);
    const missed = target && passedBy(hooks, target.id, branch.name);
    if (target !== undefined && missed !== undefined) {
      const reason = passedByText(missed, target.short);
      if (policy.preCommit !== "pass") throw new Fault("lakefs/unmappable", { reason });
      options.onResult?.(`warning: ${reason}`);
    }
    const blocking = patterns.find((pattern) => isProtected(branch.name, [pattern]));
    if (blocking !== undefined)
      throw new Fault("lakefs/unmappable", { reason: blockedText(blocking) });
    const root = tellsOfBranch(hooks, branch.name) ? (await this.root.get(signal)).id : undefined;
    const [commits, merges] = [
      hooksOnCommits(hooks, branch.name),
      hooksBehindMerges(hooks, branch.name),
    ];
    return { branch, root, judged: commits > 0, commitIsQuieter: commits < merges };
  }

  onWorkBranch<T>(
    { branch, root }: WorkPlace,
    source: string,
    signal: AbortSignal,
    work: () => Promise<T>,
  ): Promise<T> {
    const { client, log } = this.options;
    const onLeft = (name: string, error: unknown) =>
      log.debug("a work branch stays behind", { branch: name, reason: asFault(error).message });
    return onWorkBranch({ client, source, root, branch, signal, onLeft }, work);
  }

  /** Commits what is staged on a push's work branch. */
  commitOn({ name }: WorkBranch, commit: StagedCommit, signal: AbortSignal): Promise<LakefsCommit> {
    return commitStaged(this.options.client, name, commit, signal);
  }

  /** Trees and records of `commits`, the last being the tip, checked by reading them back. */
  async writeCommits(
    base: Base,
    place: WorkPlace,
    commits: readonly PushedCommit[],
    options: RefUpdateOptions,
    signal: AbortSignal,
  ): Promise<Landed> {
    const packs = await this.packs(signal);
    const { hasGuard } = await this.actions.at(base.commit.id, signal);
    const { onProgress, pusher } = options;
    const built = await landTrees(
      this.options,
      { base, hasGuard, place, commits, packs, onProgress, pusher },
      signal,
    );
    const { headMetarange, touchesHooks } = built;
    // Hooks that the push brings would be told of the branch's end.
    if (touchesHooks) place.branch.endsAt ??= (await this.root.get(signal)).id;
    const records = await this.#writeRecords(
      { base, work: place.branch, commits, built, packs, pusher },
      signal,
    );
    await this.#readBack(commits, records, signal);
    const tip = records.at(-1) as LakefsCommit;
    if (!touchesHooks) this.actions.know(tip.id, await this.actions.at(base.commit.id, signal));
    return { tip, touchesHooks, headMetarange };
  }

  /**
   * One commit record a Git commit. Their ids are known before they are written, so many are
   * written at once.
   */
  async #writeRecords(
    { base, work, commits, built, packs, pusher }: RecordsToWrite,
    signal: AbortSignal,
  ): Promise<readonly LakefsCommit[]> {
    const { metaranges, paddings } = built;
    const { client, pool } = this.options;
    const turns = new Semaphore(RECORDS_AT_ONCE);
    const made = new Map<Oid, LakefsCommit>();
    for (let start = 0; start < commits.length; start += RAW_BATCH) {
      const batch = commits.slice(start, start + RAW_BATCH);
      const raws = await pool.run(
        rawObjectsTask,
        { packs, oids: batch.map(({ oid }) => oid) },
        { signal },
      );
      const writes: Promise<unknown>[] = [];
      for (const [at, commit] of batch.entries()) {
        const parents = await this.#parentsOf(commit, base, made, signal);
        const raw = { raw: raws[at] as Uint8Array, padding: paddings[start + at] };
        const facts = this.#recordFacts(commit, raw, metaranges[start + at] as string, parents, {
          creationDate: work.startTime,
          pusher,
        });
        made.set(commit.oid, asCommit(facts));
        writes.push(turns.run(() => writeCommitRecord(client, facts, signal), signal));
      }
      await Promise.all(writes);
    }
    return commits.map(({ oid }) => made.get(oid) as LakefsCommit);
  }

  /**
   * The seal spares other servers with the key the reading of what was staged here; what it says is
   * read back below, too.
   */
  #recordFacts(
    { tree }: PushedCommit,
    { raw, padding }: RawCommit,
    metarange: string,
    parents: readonly LakefsCommit[],
    { creationDate, pusher }: PushFacts,
  ): RecordFacts {
    const { namespace, mapping } = this.options;
    const description = describeCommit(lossyText(raw));
    const { committer, metadata: who } = committerOf(description, pusher);
    const { message } = description;
    const seal = this.#seals.sealListing({
      namespace,
      metarange,
      mapping: formatMapping(mapping),
      tree,
    });
    const metadata = {
      [COMMIT_KEY]: Buffer.from(raw).toString("base64"),
      ...who,
      ...(padding === undefined ? {} : { [PADDING_KEY]: padding }),
      ...(seal === undefined ? {} : { [COMMIT_SEAL_KEY]: seal }),
    };
    return {
      committer,
      message,
      metarangeId: metarange,
      creationDate,
      parents: parents.map(({ id }) => id),
      metadata,
      generation: generationAfter(parents),
    };
  }

  /**
   * lakeFS commits of its parents; of one without, the repository's first commit, so that lakeFS
   * finds a merge base.
   */
  async #parentsOf(
    { parents }: PushedCommit,
    base: Base,
    made: ReadonlyMap<Oid, LakefsCommit>,
    signal: AbortSignal,
  ): Promise<readonly LakefsCommit[]> {
    const { client } = this.options;
    if (parents.length === 0) return [await this.root.get(signal)];
    return Promise.all(
      parents.map(async (parent) => {
        const own = made.get(parent);
        if (own !== undefined) return own;
        const id = await this.lakeIdOf(parent, base, signal);
        return id === base.commit.id ? base.commit : client.getCommit(id, signal);
      }),
    );
  }

  /**
   * By the read rules, from what lakeFS now holds: each record must be exactly the pushed commit.
   * Throws "lakefs/unmappable".
   */
  async #readBack(
    commits: readonly PushedCommit[],
    records: readonly LakefsCommit[],
    signal: AbortSignal,
  ): Promise<void> {
    // The tip brings all below it along.
    await this.options.commits.resolve([(records.at(-1) as LakefsCommit).id], signal);
    const read = await this.options.commits.resolve(
      records.map(({ id }) => id),
      signal,
    );
    for (const [at, commit] of commits.entries()) {
      const { id } = records[at] as LakefsCommit;
      if (read.get(id)?.commit !== commit.oid)
        throw new Fault("lakefs/unmappable", await this.#whyDifferent(commit, id, signal));
    }
  }

  /**
   * The true reason: its text is not believed, a path stays in lakeFS, or the first difference of
   * the trees.
   */
  async #whyDifferent(
    { oid, tree }: PushedCommit,
    lakeId: string,
    signal: AbortSignal,
  ): Promise<FaultFacts> {
    const { pool, commits, mapping } = this.options;
    const packs = await this.packs(signal);
    const [raw] = await pool.run(rawObjectsTask, { packs, oids: [oid] }, { signal });
    const odd = raw && textRefusal("commit", raw, mapping);
    if (odd !== undefined) {
      const rule =
        mapping.version < 3
          ? "this lakeFS repository takes no commit that fsck refuses, whatever fsck_levels says"
          : "no level lets it pass";
      return { reason: `commit ${oid}: ${odd.id}: ${odd.text}; ${rule}` };
    }
    const state = await commits.listing(lakeId, signal);
    if (state === undefined) return { reason: `commit ${oid} would read back differently` };
    const { path, reason } = await pool.run(
      differenceTask,
      { packs, pushed: tree, read: state.listing },
      { signal },
    );
    const refusal = state.refusals.find(
      (line) => path !== undefined && line.startsWith(`${path}: `),
    );
    if (path === undefined) return { reason: `commit ${oid}: ${reason}` };
    return { path, reason: refusal?.slice(path.length + 2) ?? reason };
  }
}

/** lakeFS blocks uploads and commits on a protected branch, whoever's it is. */
function blockedText(pattern: string): string {
  return `lakeFS protects lakepack's work branches too (pattern '${pattern}'), so no new commit can be made: protect branches by their names, or by '[!l]*'`;
}

function asCommit(facts: RecordFacts): LakefsCommit {
  const { committer, message, metarangeId, creationDate, parents, generation, metadata } = facts;
  return {
    id: lakefsCommitId(facts),
    committer,
    message,
    meta_range_id: metarangeId,
    creation_date: creationDate,
    parents,
    generation,
    metadata,
  };
}

/** Given nearest to the tip first; the tip comes last. */
function parentsFirst(commits: readonly PushedCommit[]): readonly PushedCommit[] {
  const [tip] = commits;
  if (tip === undefined) return [];
  const byOid = new Map(commits.map((commit) => [commit.oid, commit]));
  const done = new Set<Oid>();
  const order: PushedCommit[] = [];
  const stack: PushedCommit[] = [tip];
  while (stack.length > 0) {
    const commit = stack.at(-1) as PushedCommit;
    const open = done.has(commit.oid)
      ? []
      : commit.parents.flatMap((oid) => (done.has(oid) ? [] : (byOid.get(oid) ?? [])));
    if (open.length > 0) {
      for (const parent of open.reverse()) stack.push(parent);
      continue;
    }
    stack.pop();
    if (done.has(commit.oid)) continue;
    done.add(commit.oid);
    order.push(commit);
  }
  return order;
}

/** The commit point counts on it (commit-point.ts). */
function checkParents(commit: PushedCommit): PushedCommit {
  if (commit.parents.length <= LIMITS.landingParentsMax) return commit;
  throw new Fault("lakefs/unmappable", {
    reason: `commit ${commit.oid} has more than ${LIMITS.landingParentsMax} parents`,
  });
}
