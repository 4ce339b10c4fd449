import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { asFault, Fault, fromRecord } from "../../base/fault.js";
import { failureUnder, Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { OID_BYTES, type Oid } from "../../git/oid.js";
import { type Log, faultFacts } from "../../observe/log.js";
import { toHandles } from "../../odb/packs/handle.js";
import type { IngestedPack } from "../../odb/index-pack/contract.js";
import type { LivePack, PackDraft, ObjectDatabase } from "../../odb/object-database.js";
import {
  type FilesRead,
  type HashedContent,
  type ListingState,
  type PromisedIds,
  type SynthesisFailure,
  type SynthesisNews,
  type SynthesisQuestions,
  type SynthesisWord,
  type SynthesizedCommit,
  type SynthesizeItem,
  type SynthesizeResult,
  synthesizeTask,
} from "../trees/tasks.js";
import { type ServedPort, servePort } from "../../pool/port.js";
import type { Pool } from "../../pool/task.js";
import type { LakefsClient } from "../api/client.js";
import { AgreedCuts } from "./agreed-cuts.js";
import { READ_RULES } from "../rules/commit-text.js";
import type { Cut } from "../agreed/cuts.js";
import type { CommitPair, LakeNote, PathMapping } from "../rules/contract.js";
import { History, type HistoryStep } from "./history.js";
import type { LakefsAccess } from "../api/http.js";
import { LeavingOff } from "./leave-off.js";
import { LostData } from "./lost-data.js";
import { PADDING_KEY } from "../rules/metadata-keys.js";
import { promisedIds } from "./promised-blobs.js";
import { ProvenContents } from "../trees/proven-contents.js";
import type { LakeNotes, PointerPlace, StoredLakeNote } from "./lake-notes.js";
import { connectedTask } from "../../odb/walk/tasks.js";

export interface CommitMapOptions {
  readonly access: LakefsAccess;
  readonly client: LakefsClient;
  /** lakeFS's storage namespace of it. */
  readonly namespace: string;
  /** Keys of seals. */
  readonly sealKeys: readonly Uint8Array[];
  readonly mapping: PathMapping;
  readonly records: LakeNotes;
  readonly objects: ObjectDatabase;
  readonly pool: Pool;
  /** Synthesis tasks at once, over all repositories: at most one less than the pool has threads. */
  readonly tasks: Semaphore;
  /** Folder for packs under way. */
  readonly log: Log;
  /** For tests: never raw ranges. */
  readonly pagesOnly?: boolean;
  /** For tests: how often it is asked what others have cut. */
  readonly cutsLookMs?: number | undefined;
}

/** Progress of the synthesis under way; all zero: none is. */
export interface SynthesisProgress {
  readonly commits: number;
  readonly total: number;
  readonly objects: number;
  /** Files of the commit that is being read, where it is known how many it has. */
  readonly files?: FilesRead | undefined;
}

/** The figures as every place tells them. */
export function progressFacts({ commits, total, objects, files }: SynthesisProgress): {
  readonly commit: string;
  readonly objects: number;
  readonly files: string | undefined;
} {
  return { commit: `${commits}/${total}`, objects, files: files && `${files.done}/${files.total}` };
}

/** Unconfirmed claims of one task that the log names. */
const UNCONFIRMED_NAMED = 10;

const IDLE: SynthesisProgress = { commits: 0, total: 0, objects: 0 };

/** Finds commits known on both sides, and makes the Git commits that are not known yet. */
export class LakefsCommitMap {
  readonly #options: CommitMapOptions;
  // By size and not by `max`, for which 5 MB would be set aside each, in every repository.
  readonly #known = new LRUCache<string, StoredLakeNote>({
    maxSize: LIMITS.lakePairsMax,
    sizeCalculation: () => 1,
  });
  readonly #nothing = new LRUCache<string, true>({
    maxSize: LIMITS.lakePairsMax,
    sizeCalculation: () => 1,
  });
  /** One synthesis at a time for a repository: heads share their history. */
  readonly #turn = new Semaphore(1);
  #progress = IDLE;
  /** There may be contents of a failed attempt. */
  #hasKept = false;
  readonly #cuts: AgreedCuts;
  /** Small contents whose bytes are known. */
  readonly proven: ProvenContents;
  /** Lost data of the synthesis under way. */
  #lost: LostData;

  constructor(options: CommitMapOptions) {
    this.#options = options;
    this.proven = new ProvenContents(options.records, (error) =>
      options.log.debug("which small contents are known is not kept", {
        repository: options.client.repository,
        reason: asFault(error).message,
      }),
    );
    const { client, records, log, cutsLookMs: lookMs } = options;
    const onForgotten = () => {
      this.#known.clear();
      this.#nothing.clear();
    };
    this.#cuts = new AgreedCuts({ client, records, log, lookMs, onForgotten });
    this.#lost = new LostData({ client, cuts: this.#cuts });
  }

  /** Commits that are cut from Git's history, with a path of each whose data is gone. */
  get cuts(): readonly Cut[] {
    return [...this.#cuts.all.values()];
  }

  get progress(): SynthesisProgress {
    return this.#progress;
  }

  /** Git ids of these lakeFS commits, synthesizing what is not known yet. */
  async toGit(
    lakeIds: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, CommitPair>> {
    return this.resolve(lakeIds, signal);
  }

  /**
   * As `toGit`, with the tag a record stands for. Ids that map to nothing (the empty root) are left
   * out.
   */
  async resolve(
    lakeIds: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, StoredLakeNote>> {
    await this.#cuts.load(signal);
    // What another server has cut meanwhile; not behind a synthesis.
    if (this.#cuts.isDue({ first: false }) && this.#turn.idle)
      await this.#turn.run(() => this.#cuts.look(signal), signal);
    const cut = lakeIds.map((id) => this.#cuts.all.get(id)).find((found) => found !== undefined);
    if (cut !== undefined) throw new Fault("lakefs/gone", { ...cut });
    const unknown = new Set<string>();
    for (const id of new Set(lakeIds)) if (!(await this.#isKnown(id, signal))) unknown.add(id);
    if (unknown.size > 0)
      await this.#turn.run(() => this.#synthesize([...unknown], signal), signal);
    const found = new Map<string, StoredLakeNote>();
    for (const id of lakeIds) {
      const record = await this.#find(id, signal);
      if (record !== undefined) found.set(id, record);
    }
    return found;
  }

  /** Waits until nothing is read, that something was called off a moment ago included. */
  settled(signal: AbortSignal): Promise<void> {
    return this.#turn.run(async () => undefined, signal);
  }

  /** Returns the record of this commit, if it has been read; nothing is read now. */
  known(lakeId: string, signal: AbortSignal): Promise<StoredLakeNote | undefined> {
    return this.#find(lakeId, signal);
  }

  /**
   * Finds the lakeFS ids whose Git commit is this one: usually one, several after merges made by
   * lakeFS, none where it is not known here.
   */
  async toLake(commit: Oid, signal: AbortSignal): Promise<readonly string[]> {
    return this.#options.records.byGit(commit, signal);
  }

  /** Notes what a landing has made: both ids are then known without reading them back. */
  async remember(pairs: readonly LakeNote[], signal: AbortSignal): Promise<void> {
    await this.#options.records.put(pairs, signal);
    for (const pair of pairs) this.#known.set(pair.lakeId, pair);
  }

  /**
   * Returns the listing state of a commit, paths that could not cross among it. Undefined: it was
   * not read here.
   */
  async listing(lakeId: string, signal: AbortSignal): Promise<ListingState | undefined> {
    return (await this.#stored(lakeId, signal))?.state;
  }

  async #isKnown(lakeId: string, signal: AbortSignal): Promise<boolean> {
    return this.#nothing.has(lakeId) || (await this.#find(lakeId, signal)) !== undefined;
  }

  async #find(lakeId: string, signal: AbortSignal): Promise<StoredLakeNote | undefined> {
    const held = this.#known.get(lakeId);
    if (held !== undefined || this.#nothing.has(lakeId)) return held;
    const record = await this.#stored(lakeId, signal);
    if (record !== undefined) this.#hold(record);
    return record;
  }

  /**
   * A record is derived data: a damaged one counts as none, and what is made again takes its place.
   */
  async #stored(lakeId: string, signal: AbortSignal): Promise<StoredLakeNote | undefined> {
    try {
      return await this.#options.records.get(lakeId, signal);
    } catch (error) {
      const fault = asFault(error);
      if (fault.code !== "odb/damaged") throw error;
      this.#known.delete(lakeId);
      this.#options.log.warn("a record of a lakeFS commit is damaged; it is made again", {
        repository: this.#options.client.repository,
        ...faultFacts(fault),
      });
      return undefined;
    }
  }

  /** Holds a record's ids; its tree's state stays in storage. */
  #hold({ state: _, ...ids }: StoredLakeNote): void {
    this.#known.set(ids.lakeId, ids);
  }

  // Synthesis -------------------------------------------------------------------------------------

  /**
   * A commit whose data is gone is left out, with what only it leads to, if a whole one is above
   * it. Which ones that are shows as they are read, oldest first; heads are never left out.
   */
  async #synthesize(heads: readonly string[], signal: AbortSignal): Promise<void> {
    const { client } = this.#options;
    if (this.#cuts.isDue({ first: true })) await this.#cuts.look(signal);
    const lost = new LostData({ client, cuts: this.#cuts });
    this.#lost = lost;
    const history = new History(client, signal);
    for (;;) {
      const isKnown = async (id: string) => lost.has(id) || this.#isKnown(id, signal);
      const steps = await history.plan(heads, isKnown, (id) => this.#nothing.set(id, true));
      if (await lost.spread(steps, heads, signal)) continue;
      if (steps.length === 0) return;
      try {
        return await this.#synthesizeSteps(steps, signal);
      } catch (error) {
        lost.add(asFault(error), heads);
      }
    }
  }

  async #synthesizeSteps(steps: readonly HistoryStep[], signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    this.#progress = { commits: 0, total: steps.length, objects: 0 };
    const telling = setInterval(
      () =>
        log.info("reading lakeFS", {
          repository: client.repository,
          ...progressFacts(this.#progress),
        }),
      LIMITS.lakefsProgressLogMs,
    ).unref();
    try {
      for (const run of inRuns(steps)) {
        const { commits } = this.#progress;
        if (run.as === "alias") await this.#alias(run.step, signal);
        else await this.#batch(run.steps, signal);
        this.#progress = {
          ...this.#progress,
          commits: commits + (run.as === "alias" ? 1 : run.steps.length),
        };
      }
      log.info("lakeFS was read", {
        repository: client.repository,
        ...progressFacts(this.#progress),
      });
    } catch (error) {
      const facts = { repository: client.repository, ...progressFacts(this.#progress) };
      if (signal.aborted) log.info("reading lakeFS was called off", facts);
      else log.warn("synthesis failed", { ...facts, ...faultFacts(asFault(error)) });
      throw error;
    } finally {
      clearInterval(telling);
      this.#progress = IDLE;
    }
  }

  /** A landing's merge: the Git commit of the landing's tip. */
  async #alias(
    { source, of }: HistoryStep & { readonly as: "alias" },
    signal: AbortSignal,
  ): Promise<void> {
    const tip = await this.#find(of, signal);
    if (tip === undefined)
      throw new Fault("lakefs/bad-reply", {
        commit: source.id,
        reason: "it stands for a commit that maps to nothing",
        tip: of,
      });
    await this.#store(
      [
        {
          version: 2,
          lakeId: source.id,
          commit: tip.commit,
          tree: tip.tree,
          pack: undefined,
          alias: true,
        },
      ],
      signal,
    );
  }

  async #batch(steps: readonly CommitStep[], asked: AbortSignal): Promise<void> {
    const { records, objects } = this.#options;
    await this.#make(
      steps,
      undefined,
      asked,
      async ({ pack, commits, promised, failure }, signal) => {
        await this.#lost.agree(steps, commits, signal);
        if (pack !== undefined)
          await objects.adopt(pack, { origin: "synthesized", promised: countOf(promised) }, signal);
        // The pack first: a record must never name what is not there.
        await this.#store(toRecords(commits, pack), signal);
        if (failure === undefined || failure.kept.length === 0) return;
        this.#hasKept = true;
        await records.putKept(failure.kept, signal);
      },
    );
  }

  /** Drops the contents that failed attempts have read: they are in commits by now. */
  async dropKept(signal: AbortSignal): Promise<void> {
    if (!this.#hasKept) return;
    await this.#options.records.putKept(new Uint8Array(0), signal);
    this.#hasKept = false;
  }

  /** Derived data: what is damaged is read again. */
  async #kept(signal: AbortSignal): Promise<Uint8Array> {
    const kept = await this.#options.records.kept(signal).catch((error: unknown) => {
      if (asFault(error).code !== "odb/damaged") throw error;
      return new Uint8Array(0);
    });
    this.#hasKept ||= kept.length > 0;
    return kept;
  }

  /**
   * Makes the objects of these commits, beside all packs but `without`; `use` decides about the
   * result before its files go. Where it fails in the middle, `use` is given what was done before,
   * and the failure is thrown then.
   */
  async #make(
    steps: readonly CommitStep[],
    without: string | undefined,
    asked: AbortSignal,
    use: (made: Made, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const leaving = new LeavingOff(asked);
    const signal = leaving.over;
    try {
      const failure = await this.#options.objects.makePack(async (draft) => {
        const made = await this.#draft(draft, steps, without, asked, leaving);
        await use(made, signal);
        return made.failure;
      }, signal);
      await this.proven.save(signal);
      if (failure !== undefined) throw failureUnder(asked, fromRecord(failure));
    } finally {
      leaving.end();
    }
  }

  async #draft(
    draft: PackDraft,
    steps: readonly CommitStep[],
    without: string | undefined,
    asked: AbortSignal,
    leaving: LeavingOff,
  ): Promise<Made> {
    const { tasks, objects, records, client } = this.#options;
    const signal = leaving.over;
    const items = steps.map(({ source, parents }) => ({
      source,
      parents: parents.filter((id) => !this.#nothing.has(id) && !this.#lost.has(id)),
    }));
    const promisedPath = join(draft.folder, "promised");
    const present = async () =>
      (await objects.packs(signal)).packs.filter(({ checksum }) => checksum !== without);
    const result = await tasks.run(
      async () => this.#run(items, await present(), draft.path, promisedPath, leaving),
      asked,
    );
    client.http.add(result.figures);
    const { commits, failure, promised } = result;
    const pack =
      result.objects === 0
        ? undefined
        : await this.#index(draft, promised, await present(), signal);
    if (pack !== undefined && promised !== undefined)
      await records.putPromised(pack, promisedPath, promised, signal);
    return { pack, commits, promised, failure };
  }

  async #index(
    draft: PackDraft,
    own: PromisedIds | undefined,
    packs: readonly LivePack[],
    signal: AbortSignal,
  ): Promise<IngestedPack> {
    const { records, mapping } = this.#options;
    const rules = mapping.version < 3 ? {} : { rules: READ_RULES };
    const others = await promisedIds(records, packs, signal);
    // A new tree may name what an older pack has promised.
    const promised = [...(own === undefined ? [] : [own.ids]), ...others];
    return draft.index({ packs, promised, ...rules });
  }

  // Making again ----------------------------------------------------------------------------------

  /**
   * Makes the commits of a pack anew whose list of promised blobs is damaged: new packs promise, by
   * lists of their own, what it has promised. It stays, for it may be all that has what others
   * need. Throws "odb/damaged" where that would leave anything out.
   */
  remake(checksum: string, signal: AbortSignal): Promise<void> {
    return this.#turn.run(() => this.#remake(checksum, signal), signal);
  }

  async #remake(checksum: string, signal: AbortSignal): Promise<void> {
    const { client, records, objects, log } = this.#options;
    const old = (await objects.packs(signal)).packs.find((pack) => pack.checksum === checksum);
    if (old?.promised === undefined) return; // somebody has seen to it
    const found = await this.#commitsOf(checksum, signal);
    log.warn("a list of contents that are still in lakeFS is damaged; its commits are read again", {
      repository: client.repository,
      pack: checksum,
      commits: found.size,
    });
    const history = new History(client, signal);
    const steps = await history.plan(
      [...found],
      async (id) => this.#lost.has(id) || (!found.has(id) && (await this.#isKnown(id, signal))),
      (id) => this.#nothing.set(id, true),
    );
    const commits = steps.filter((step): step is CommitStep => step.as === "commit");
    if (commits.length === 0)
      throw new Fault("odb/damaged", {
        file: checksum,
        reason: "its list of promised contents is damaged, and lakeFS has none of its commits",
      });
    let without: string | undefined = checksum;
    for (let from = 0; from < commits.length; from += LIMITS.lakefsBatchCommits) {
      await this.#make(
        commits.slice(from, from + LIMITS.lakefsBatchCommits),
        without,
        signal,
        async ({ pack, commits: made, promised, failure }) => {
          if (failure !== undefined) return;
          const as = { origin: "synthesized", promised: countOf(promised) } as const;
          if (pack?.checksum === checksum) {
            // The very same objects, with a list that is good.
            await objects.supersede(checksum, pack, as, signal);
            without = undefined;
          } else if (pack !== undefined) await objects.adopt(pack, as, signal);
          await records.replace(toRecords(made, pack), signal);
        },
      );
    }
    await this.#checkWhole(without, signal);
    if (without !== undefined) await objects.keepPromise(without, signal);
    log.info("a list of contents that are still in lakeFS was made again", {
      repository: client.repository,
      pack: checksum,
    });
  }

  /**
   * Those whose objects came with this pack. Also all that may have: what came with a pack that is
   * not live any more lies in one that took its place, and this may be it; of commits that added
   * nothing, and of those whose records cannot be read, nobody knows.
   */
  async #commitsOf(checksum: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const { records, objects } = this.#options;
    const others = new Set(
      (await objects.packs(signal)).packs
        .map((pack) => pack.checksum)
        .filter((live) => live !== checksum),
    );
    const found = new Set<string>();
    for (const id of await records.ids(signal)) {
      const record = await this.#stored(id, signal);
      const isElsewhere =
        record !== undefined &&
        (record.pack === undefined
          ? record.alias === true || record.state === undefined
          : others.has(record.pack));
      if (!isElsewhere) found.add(id);
    }
    return found;
  }

  /**
   * Throws "odb/damaged" unless all that commits of records need is in packs, or promised by others
   * than the one without a list, if one is.
   */
  async #checkWhole(without: string | undefined, signal: AbortSignal): Promise<void> {
    const { objects, records, pool } = this.#options;
    const { packs } = await objects.packs(signal);
    const promised = await promisedIds(
      records,
      packs.filter(({ checksum }) => checksum !== without),
      signal,
    );
    const tips = new Set<Oid>();
    for (const id of await records.ids(signal)) {
      const record = await this.#stored(id, signal);
      if (record !== undefined) tips.add(record.tag ?? record.commit);
    }
    const missing = await pool.run(
      connectedTask,
      { packs: toHandles(packs), closed: [], tips: [...tips], promised },
      { signal, priority: "background" },
    );
    const first = missing.find((oid) => oid !== undefined);
    if (first !== undefined)
      throw new Fault("odb/damaged", {
        file: `pack-${without ?? "*"}.pack`,
        reason: `its list of promised contents is damaged, and without that ${first.oid} is missing`,
      });
  }

  async #run(
    items: readonly SynthesizeItem[],
    packs: readonly LivePack[],
    path: string,
    promisedPath: string,
    leaving: LeavingOff,
  ): Promise<SynthesizeResult> {
    const signal = leaving.over;
    const { access, client, namespace, sealKeys, mapping, pool, pagesOnly } = this.#options;
    const [known, kept] = [await this.#parentsOf(items, signal), await this.#kept(signal)];
    const before = this.#progress;
    const { served, settled } = this.#serve(({ commits, objects, files }) => {
      this.#progress = {
        ...before,
        commits: before.commits + commits,
        objects: before.objects + objects,
        files,
      };
    }, signal);
    try {
      const request = {
        access,
        ways: client.server.lost.ways(client.repository),
        repository: client.repository,
        namespace,
        sealKeys,
        mapping,
        packs: toHandles(packs),
        items,
        known,
        kept,
        path,
        promisedPath,
        port: served.port,
        pagesOnly: pagesOnly ?? false,
      };
      const result = await leaving.telling(served, () =>
        pool.run(synthesizeTask, request, {
          signal,
          priority: "background",
          transfer: [served.port],
        }),
      );
      await settled();
      this.#progress = { ...before, objects: before.objects + result.objects };
      return result;
    } finally {
      served.close();
    }
  }

  /**
   * Returns the records of the parents that are not among the items themselves, the trees' states
   * with them.
   */
  async #parentsOf(
    items: readonly SynthesizeItem[],
    signal: AbortSignal,
  ): Promise<SynthesizedCommit[]> {
    const own = new Set(items.map(({ source }) => source.id));
    const outside = new Set(
      items
        .flatMap(({ source, parents }) => [...parents, ...source.parents])
        .filter((id) => !own.has(id)),
    );
    const known: SynthesizedCommit[] = [];
    for (const id of outside) {
      const record = await this.#stored(id, signal);
      if (record === undefined) continue;
      const state = record.state ?? (await this.#landedState(record, signal));
      known.push({ lakeId: id, commit: record.commit, tree: record.tree, tag: record.tag, state });
    }
    return known;
  }

  /**
   * Returns the state of a commit that a landing made here: its listing's tree is its tree, which
   * landing has checked. Undefined: a landing's merge, or a tag.
   */
  async #landedState(
    record: StoredLakeNote,
    signal: AbortSignal,
  ): Promise<ListingState | undefined> {
    if (record.alias === true || record.tag !== undefined) return undefined;
    const { client } = this.#options;
    const { meta_range_id: metarange, metadata } = await client.getCommit(record.lakeId, signal);
    if (metadata?.[PADDING_KEY] !== undefined) return undefined; // its tree is not the listing's
    return { metarange, listing: record.tree, refused: 0, refusals: [], census: undefined };
  }

  /** Returns where lakeFS has the bytes of a file that Git sees as a pointer. */
  knownObject(sha256: string, signal: AbortSignal): Promise<PointerPlace | undefined> {
    return this.#options.records.pointer(sha256, signal);
  }

  /**
   * Returns the hashes known of a content that lies at this address: `contentKey` has the key.
   * Contents that cannot be recalled are hashed again.
   */
  hashed(key: string, signal: AbortSignal): Promise<HashedContent | undefined> {
    return this.#options.records.content(key, signal).catch((error: unknown) => {
      if (asFault(error).code === "odb/damaged") return undefined;
      throw error;
    });
  }

  /** Returns whether one of us has found the content with this key to have these bytes. */
  async proves(key: string, sha256: string, signal: AbortSignal): Promise<boolean> {
    return (
      (await this.proven.has(key, sha256, signal)) ||
      (await this.hashed(key, signal))?.sha256 === sha256
    );
  }

  /** Keeps what one of us has found out about a content. */
  rememberHashed(key: string, facts: HashedContent, signal: AbortSignal): Promise<void> {
    return this.#options.records.putContent(key, facts, signal);
  }

  /** Hears a task's news and answers its questions. `settled`: what it told is kept. */
  #serve(
    onProgress: (news: SynthesisNews & { readonly kind: "progress" }) => void,
    signal: AbortSignal,
  ): { readonly served: ServedPort<SynthesisWord>; settled(): Promise<void> } {
    const { records } = this.#options;
    const writes: Promise<void>[] = [];
    let failure: unknown;
    let unconfirmed = 0;
    const fail = (error: unknown) => {
      failure ??= error;
    };
    const onNews = (news: SynthesisNews) => {
      switch (news.kind) {
        case "progress":
          return onProgress(news);
        case "pointer":
          return void writes.push(records.putPointer(news.sha256, news, signal).catch(fail));
        case "hashed":
          return void writes.push(records.putContent(news.key, news.facts, signal).catch(fail));
        case "proven":
          return this.proven.add(news.ids);
        case "unconfirmed":
          return unconfirmed++ < UNCONFIRMED_NAMED ? this.#tellUnconfirmed(news) : undefined;
      }
    };
    // What cannot be recalled is computed again.
    const recall = (keys: readonly string[]) =>
      Promise.all(keys.map((key) => records.content(key, signal).catch(() => undefined)));
    return {
      served: servePort<SynthesisNews, SynthesisQuestions, SynthesisWord>({
        onNews,
        answers: { recall },
      }),
      async settled() {
        await Promise.all(writes);
        if (failure !== undefined) throw failure;
      },
    };
  }

  /** Somebody has written it; it changes nothing. */
  #tellUnconfirmed({
    commit,
    path,
    claimed,
    is,
  }: SynthesisNews & { readonly kind: "unconfirmed" }): void {
    const { log, client } = this.#options;
    log.warn(
      "user metadata in lakeFS claim a blob id that the content does not confirm; they are ignored",
      { repository: client.repository, commit, path, claimed, is },
    );
  }

  async #store(records: readonly StoredLakeNote[], signal: AbortSignal): Promise<void> {
    await this.#options.records.put(records, signal);
    for (const record of records) this.#hold(record);
  }
}

/** The result of some commits. */
interface Made {
  /** Indexed, not yet published; undefined: there was nothing new. */
  readonly pack: IngestedPack | undefined;
  readonly commits: readonly SynthesizedCommit[];
  readonly promised: PromisedIds | undefined;
  /** The failure that kept the commits behind these from being made. */
  readonly failure: SynthesisFailure | undefined;
}

function countOf(promised: PromisedIds | undefined): number {
  return (promised?.ids.byteLength ?? 0) / OID_BYTES;
}

function toRecords(
  commits: readonly SynthesizedCommit[],
  pack: IngestedPack | undefined,
): StoredLakeNote[] {
  return commits.map((commit) => ({ version: 2 as const, pack: pack?.checksum, ...commit }));
}

type CommitStep = HistoryStep & { readonly as: "commit" };

/** Runs of commits, each one task's work, and landings' merges between them. */
function* inRuns(
  steps: readonly HistoryStep[],
): Generator<
  { as: "batch"; steps: CommitStep[] } | { as: "alias"; step: HistoryStep & { as: "alias" } }
> {
  let batch: CommitStep[] = [];
  for (const step of steps) {
    if (step.as === "commit") batch.push(step);
    if (batch.length > 0 && (step.as === "alias" || batch.length === LIMITS.lakefsBatchCommits)) {
      yield { as: "batch", steps: batch };
      batch = [];
    }
    if (step.as === "alias") yield { as: "alias", step };
  }
  if (batch.length > 0) yield { as: "batch", steps: batch };
}
