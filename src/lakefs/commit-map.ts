/** Commits known on both sides, on the main thread: looks up, and has the pool synthesize what is not known yet. */
import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { LRUCache } from "lru-cache";
import { asFault, Fault } from "../base/fault.js";
import { Semaphore } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import { OID_BYTES, type Oid } from "../git/oid.js";
import { type Log, faultFacts } from "../observe/log.js";
import { toHandles } from "../odb/fetch-pack.js";
import { indexPackFile } from "../odb/ingest-file.js";
import type { ObjectDatabase } from "../odb/object-database.js";
import type { ListingState, SynthesisAnswer, SynthesisNews, SynthesizedCommit, SynthesizeItem, SynthesizeResult } from "../pool/synthesize-tasks.js";
import type { Pool } from "../pool/tasks.js";
import type { LakefsClient } from "./client.js";
import type { CommitMap, CommitPair, LakeRecord, PathMapping } from "./contract.js";
import { History, type HistoryStep } from "./history.js";
import type { LakefsAccess } from "./http.js";
import { promisedIds } from "./promised-blobs.js";
import type { LakeRecords, PointerPlace, StoredLakeRecord } from "./records.js";

export interface CommitMapOptions {
  readonly access: LakefsAccess;
  readonly client: LakefsClient;
  readonly repository: string;
  readonly mapping: PathMapping;
  readonly records: LakeRecords;
  readonly objects: ObjectDatabase;
  readonly pool: Pool;
  /** Synthesis tasks at once, over all repositories: at most one less than the pool has threads. */
  readonly tasks: Semaphore;
  /** Folder for packs under way. */
  readonly incoming: string;
  readonly log: Log;
  /** For tests: never raw ranges. */
  readonly pagesOnly?: boolean;
}

/** How far the synthesis under way is; all zero: none is. */
export interface SynthesisProgress {
  readonly commits: number;
  readonly total: number;
  readonly objects: number;
}

/** The figures as every place tells them. */
export function progressFacts({ commits, total, objects }: SynthesisProgress): { readonly commit: string; readonly objects: number } {
  return { commit: `${commits}/${total}`, objects };
}

const IDLE: SynthesisProgress = { commits: 0, total: 0, objects: 0 };

export class LakefsCommitMap implements CommitMap {
  readonly #options: CommitMapOptions;
  // By size and not by `max`, for which 5 MB would be set aside each, in every repository.
  readonly #known = new LRUCache<string, StoredLakeRecord>({ maxSize: LIMITS.lakePairsMax, sizeCalculation: () => 1 });
  readonly #nothing = new LRUCache<string, true>({ maxSize: LIMITS.lakePairsMax, sizeCalculation: () => 1 });
  /** One synthesis at a time for a repository: heads share their history. */
  readonly #turn = new Semaphore(1);
  #progress = IDLE;

  constructor(options: CommitMapOptions) {
    this.#options = options;
  }

  get progress(): SynthesisProgress {
    return this.#progress;
  }

  async toGit(lakeIds: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, CommitPair>> {
    return this.resolve(lakeIds, signal);
  }

  /** As `toGit`, with the tag a record stands for. Ids that map to nothing (the empty root) are left out. */
  async resolve(lakeIds: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, StoredLakeRecord>> {
    const unknown = new Set<string>();
    for (const id of new Set(lakeIds)) if (!(await this.#isKnown(id, signal))) unknown.add(id);
    if (unknown.size > 0) await this.#turn.run(() => this.#synthesize([...unknown], signal), signal);
    const found = new Map<string, StoredLakeRecord>();
    for (const id of lakeIds) {
      const record = await this.#find(id, signal);
      if (record !== undefined) found.set(id, record);
    }
    return found;
  }

  /** What this commit became, if it has been read; nothing is read now. */
  known(lakeId: string, signal: AbortSignal): Promise<StoredLakeRecord | undefined> {
    return this.#find(lakeId, signal);
  }

  async toLake(commit: Oid, signal: AbortSignal): Promise<readonly string[]> {
    return this.#options.records.byGit(commit, signal);
  }

  async remember(pairs: readonly LakeRecord[], signal: AbortSignal): Promise<void> {
    await this.#options.records.put(pairs, signal);
    for (const pair of pairs) this.#known.set(pair.lakeId, pair);
  }

  /** Paths of a commit that could not cross: how many, and the first ten with their reasons. Undefined: it was not read here. */
  async uncrossed(lakeId: string, signal: AbortSignal): Promise<{ readonly count: number; readonly first: readonly string[] } | undefined> {
    const state = (await this.#options.records.get(lakeId, signal))?.state;
    return state && { count: state.refused, first: state.refusals };
  }

  async #isKnown(lakeId: string, signal: AbortSignal): Promise<boolean> {
    return this.#nothing.has(lakeId) || (await this.#find(lakeId, signal)) !== undefined;
  }

  async #find(lakeId: string, signal: AbortSignal): Promise<StoredLakeRecord | undefined> {
    const held = this.#known.get(lakeId);
    if (held !== undefined || this.#nothing.has(lakeId)) return held;
    const record = await this.#options.records.get(lakeId, signal);
    if (record !== undefined) this.#hold(record);
    return record;
  }

  /** What a record knows of its tree stays in storage: only its ids are held. */
  #hold({ state: _, ...ids }: StoredLakeRecord): void {
    this.#known.set(ids.lakeId, ids);
  }

  // Synthesis -----------------------------------------------------------------------------------------------------------

  async #synthesize(heads: readonly string[], signal: AbortSignal): Promise<void> {
    const { client, repository, log } = this.#options;
    const history = new History(client, repository, signal);
    const steps = await history.plan(heads, (id) => this.#isKnown(id, signal), (id) => this.#nothing.set(id, true));
    if (steps.length === 0) return;
    this.#progress = { commits: 0, total: steps.length, objects: 0 };
    const telling = setInterval(() => log.info("reading lakeFS", { repository, ...progressFacts(this.#progress) }), LIMITS.lakefsProgressLogMs).unref();
    try {
      for (const run of inRuns(steps)) {
        const { commits } = this.#progress;
        if (run.as === "alias") await this.#alias(run.step, signal);
        else await this.#batch(run.steps, signal);
        this.#progress = { ...this.#progress, commits: commits + (run.as === "alias" ? 1 : run.steps.length) };
      }
      log.info("lakeFS was read", { repository, ...progressFacts(this.#progress) });
    } catch (error) {
      log.warn("synthesis failed", { repository, ...progressFacts(this.#progress), ...faultFacts(asFault(error)) });
      throw error;
    } finally {
      clearInterval(telling);
      this.#progress = IDLE;
    }
  }

  /** A landing's merge: the Git commit of the landing's tip. */
  async #alias({ source, of }: HistoryStep & { readonly as: "alias" }, signal: AbortSignal): Promise<void> {
    const tip = await this.#find(of, signal);
    if (tip === undefined) throw new Fault("lakefs/bad-reply", { commit: source.id, reason: "it stands for a commit that maps to nothing", tip: of });
    await this.#store([{ version: 1, lakeId: source.id, commit: tip.commit, tree: tip.tree, pack: undefined, alias: true }], signal);
  }

  async #batch(steps: readonly CommitStep[], signal: AbortSignal): Promise<void> {
    const { pool, tasks, incoming, objects } = this.#options;
    const folder = join(incoming, randomBytes(12).toString("hex"));
    await mkdir(folder, { recursive: true });
    try {
      const items = steps.map(({ source, parents }) => ({ source, parents: parents.filter((id) => !this.#nothing.has(id)) }));
      const path = join(folder, "pack");
      const promisedPath = join(folder, "promised");
      const result = await tasks.run(async () => this.#run(items, path, promisedPath, signal), signal);
      this.#options.client.http.add(result.figures);
      const { packs } = await objects.packs(signal);
      let checksum: string | undefined;
      if (result.objects > 0) {
        const closed = new Set(packs.filter((pack) => pack.closed).map((pack) => pack.checksum));
        const { promised: own } = result;
        // A new tree may name what an older pack has promised.
        const promised = [...(own === undefined ? [] : [own]), ...(await promisedIds(this.#options.records, packs, signal))];
        const pack = await indexPackFile(path, { pool, packs: toHandles(packs), closed, sync: true, folder, signal, promised });
        if (own !== undefined) await this.#options.records.putPromised(pack.checksum, promisedPath, own, signal);
        await objects.adopt(pack, { origin: "synthesized", promised: (own?.byteLength ?? 0) / OID_BYTES }, signal);
        checksum = pack.checksum;
      }
      // The pack first: a record must never name what is not there.
      await this.#store(result.commits.map((commit) => ({ version: 1 as const, pack: checksum, ...commit })), signal);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #run(items: readonly SynthesizeItem[], path: string, promisedPath: string, signal: AbortSignal): Promise<SynthesizeResult> {
    const { access, repository, mapping, objects, pool, pagesOnly } = this.#options;
    const { packs } = await objects.packs(signal);
    const known = await this.#parentsOf(items, signal);
    const { port1, port2 } = new MessageChannel();
    const before = this.#progress;
    const told = this.#listen(port1, (commits, made) => {
      this.#progress = { ...before, commits: before.commits + commits, objects: before.objects + made };
    }, signal);
    try {
      const request = { access, repository, mapping, packs: toHandles(packs), items, known, path, promisedPath, port: port2, pagesOnly: pagesOnly ?? false };
      const result = await pool.run("synthesize/chain", request, { signal, priority: "background", transfer: [port2] });
      await told.settled();
      this.#progress = { ...before, objects: before.objects + result.objects };
      return result;
    } finally {
      port1.close();
    }
  }

  /** What is known of the parents that are not among the items themselves, the trees' states with it. */
  async #parentsOf(items: readonly SynthesizeItem[], signal: AbortSignal): Promise<SynthesizedCommit[]> {
    const own = new Set(items.map(({ source }) => source.id));
    const outside = new Set(items.flatMap(({ source, parents }) => [...parents, ...source.parents]).filter((id) => !own.has(id)));
    const known: SynthesizedCommit[] = [];
    for (const id of outside) {
      const record = await this.#options.records.get(id, signal);
      if (record === undefined) continue;
      const state = record.state ?? (await this.#landedState(record, signal));
      known.push({ lakeId: id, commit: record.commit, tree: record.tree, tag: record.tag, state });
    }
    return known;
  }

  /** Of a commit that a landing made here: its listing's tree is its tree, which landing has checked. Undefined: a landing's merge, or a tag. */
  async #landedState(record: StoredLakeRecord, signal: AbortSignal): Promise<ListingState | undefined> {
    if (record.alias === true || record.tag !== undefined) return undefined;
    const { client, repository } = this.#options;
    const { meta_range_id: metarange } = await client.getCommit(repository, record.lakeId, signal);
    return { metarange, listing: record.tree, refused: 0, refusals: [], census: undefined };
  }

  /** Where lakeFS has the bytes of a file that Git sees as a pointer. */
  knownObject(sha256: string, signal: AbortSignal): Promise<PointerPlace | undefined> {
    return this.#options.records.pointer(sha256, signal);
  }

  /** Answers a task's questions. */
  #listen(port: MessagePort, onProgress: (commits: number, objects: number) => void, signal: AbortSignal): { settled(): Promise<void> } {
    const { records } = this.#options;
    const writes: Promise<void>[] = [];
    let failure: unknown;
    const fail = (error: unknown) => {
      failure ??= error;
    };
    port.on("message", (news: SynthesisNews) => {
      if (news.kind === "contents") return;
      if (news.kind === "progress") onProgress(news.commits, news.objects);
      else if (news.kind === "pointer") writes.push(records.putPointer(news.sha256, news, signal).catch(fail));
      else if (news.kind === "hashed") writes.push(records.putHash(news.key, news.sha256, signal).catch(fail));
      else {
        // What cannot be recalled is computed again.
        const recalled = Promise.all(news.keys.map((key) => records.hash(key, signal).catch(() => undefined)));
        void recalled.then((values) => port.postMessage({ question: news.question, values } satisfies SynthesisAnswer));
      }
    });
    return {
      async settled() {
        await Promise.all(writes);
        if (failure !== undefined) throw failure;
      },
    };
  }

  async #store(records: readonly StoredLakeRecord[], signal: AbortSignal): Promise<void> {
    await this.#options.records.put(records, signal);
    for (const record of records) this.#hold(record);
  }
}

type CommitStep = HistoryStep & { readonly as: "commit" };

/** Runs of commits, each one task's work, and landings' merges between them. */
function* inRuns(steps: readonly HistoryStep[]): Generator<{ as: "batch"; steps: CommitStep[] } | { as: "alias"; step: HistoryStep & { as: "alias" } }> {
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
