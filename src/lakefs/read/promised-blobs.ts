/**
 * Brings what synthesis has left in lakeFS: contents of files whose blob ids were known. Refs and
 * `--filter=blob:none` do without them; any other fetch has those brought that its commits reach, a
 * fetch that asks for some by id has these, and a push whatever can be brought. A content that
 * cannot be brought (it is gone, or has other bytes than were promised) fails those who need it, by
 * name, and nobody else: it may stand on another branch, and anybody may have written that.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { asFault, fromRecord } from "../../base/fault.js";
import { failureUnder, Semaphore, SingleFlight } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { OID_BYTES, type Oid } from "../../git/oid.js";
import { OidSet } from "../../git/oid-set.js";
import type { Log } from "../../observe/log.js";
import { toHandles } from "../../odb/packs/handle.js";
import type { IngestedPack } from "../../odb/index-pack/contract.js";
import type { LivePack, PackDraft, ObjectDatabase } from "../../odb/object-database.js";
import { holdsId } from "../../git/sorted-ids.js";
import {
  type PromisedIds,
  type SynthesisNews,
  type SynthesisQuestions,
  type SynthesisWord,
  contentsTask,
  reachedTask,
} from "../trees/tasks.js";
import { servePort } from "../../pool/port.js";
import type { Pool } from "../../pool/task.js";
import type { LakefsClient } from "../api/client.js";
import { READ_RULES } from "../rules/commit-text.js";
import { LostContents } from "./lost-contents.js";
import type { LakefsAccess } from "../api/http.js";
import { LeavingOff } from "./leave-off.js";
import type { LakeNotes } from "./lake-notes.js";

export interface PromisedBlobsOptions {
  readonly access: LakefsAccess;
  readonly client: LakefsClient;
  /** lakeFS's storage namespace of it. */
  readonly namespace: string;
  readonly records: LakeNotes;
  readonly objects: ObjectDatabase;
  readonly pool: Pool;
  /** Tasks of the bridge at once, over all repositories. */
  readonly tasks: Semaphore;
  readonly log: Log;
  /** Has the commits of a pack made anew whose list cannot be believed. */
  readonly remake: (pack: string, signal: AbortSignal) => Promise<void>;
}

/** Blobs brought so far of those under way. */
export interface BringProgress {
  readonly blobs: number;
  readonly total: number;
}

/** The task of one run: the contents to bring. */
interface Errand {
  readonly pack: LivePack;
  /** Sorted ids, 20 bytes each. Undefined: all, and the new pack takes the place of `pack`. */
  readonly wanted: SharedArrayBuffer | undefined;
  /** True if contents that cannot be brought are passed over, and stay promised. */
  readonly isLenient: boolean;
}

/** Commits that a fetch is about. */
export interface WantedCommits {
  readonly wants: readonly Oid[];
  readonly haves: readonly Oid[];
  /** The client's boundary now, and the commits that become one. */
  readonly clientShallow: readonly Oid[];
  readonly shallow: readonly Oid[];
}

/** Unreadable contents of one run that the log names. */
const LEFT_NAMED = 10;
/** Fetches whose contents are known to be here: 100 bytes each. */
const BROUGHT_MAX = 1_000;

export class PromisedBlobs {
  readonly #options: PromisedBlobsOptions;
  readonly #lost: LostContents;
  readonly #flights = new SingleFlight<string, void>();
  readonly #turn = new Semaphore(1);
  #progress: BringProgress = { blobs: 0, total: 0 };
  #smallPacks = 0;
  readonly #brought = new LRUCache<string, true>({ max: BROUGHT_MAX });

  constructor(options: PromisedBlobsOptions) {
    this.#options = options;
    this.#lost = new LostContents(options);
  }

  get progress(): BringProgress {
    return this.#progress;
  }

  /** Waits until nothing is brought, that something was called off a moment ago included. */
  settled(signal: AbortSignal): Promise<void> {
    return this.#turn.run(async () => undefined, signal);
  }

  /**
   * All that can be brought becomes part of the packs. Others who come meanwhile wait for the same.
   */
  bringAll(signal: AbortSignal): Promise<void> {
    return this.#flights.run(
      "all",
      (shared) => this.#inTurn(() => this.#all(shared), shared),
      signal,
    );
  }

  /**
   * Brings those of these ids that are promised. The others are nobody's promise: they stay
   * missing.
   */
  async bring(oids: readonly Oid[], signal: AbortSignal): Promise<void> {
    if (this.#smallPacks >= LIMITS.promisedPacksMax) await this.bringAll(signal);
    const wanted = new OidSet();
    for (const oid of oids) wanted.add(oid);
    const ids = wanted.sorted();
    const key = createHash("sha256").update(new Uint8Array(ids)).digest("hex");
    return this.#flights.run(
      key,
      (shared) => this.#inTurn(() => this.#some(ids, shared), shared),
      signal,
    );
  }

  /** Brings what these commits reach. */
  async bringFor(commits: WantedCommits, signal: AbortSignal): Promise<void> {
    const promising = (await this.#promisingPacks(signal)).map(({ checksum }) => checksum).sort();
    const lists = [commits.wants, commits.haves, commits.clientShallow, commits.shallow].map(
      (list) => [...new Set(list)].sort(),
    );
    const key = createHash("sha256")
      .update(JSON.stringify([lists, promising]))
      .digest("hex");
    if (promising.length === 0 || this.#brought.has(key)) return;
    await this.#flights.run(
      key,
      (shared) => this.#inTurn(() => this.#reached(commits, shared), shared),
      signal,
    );
    this.#brought.set(key, true);
  }

  #inTurn(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    return this.#turn.run(() => this.mending(work, signal), signal);
  }

  /** Lists are derived data: one that `work` finds damaged is made again, once each. */
  async mending<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const mended = new Set<unknown>();
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const { promisedOf } = asFault(error).facts;
        if (typeof promisedOf !== "string" || mended.has(promisedOf)) throw error;
        mended.add(promisedOf);
        await this.#options.remake(promisedOf, signal);
      }
    }
  }

  async #all(signal: AbortSignal): Promise<void> {
    const packs = await this.#promisingPacks(signal);
    this.#progress = {
      blobs: 0,
      total: packs.reduce((sum, { promised = 0 }) => sum + promised, 0),
    };
    // Oldest first: trees of newer packs name what older ones have promised.
    for (const pack of [...packs].reverse())
      await this.#run({ pack, wanted: undefined, isLenient: true }, signal);
    this.#smallPacks = 0;
  }

  async #some(wanted: SharedArrayBuffer, signal: AbortSignal): Promise<void> {
    this.#progress = { blobs: 0, total: wanted.byteLength / OID_BYTES };
    for (const pack of await this.#promisingPacks(signal))
      await this.#run({ pack, wanted, isLenient: false }, signal);
  }

  /**
   * A pack of which everything is reached is replaced by a whole one, which can be sent as it lies.
   */
  async #reached(commits: WantedCommits, signal: AbortSignal): Promise<void> {
    const { objects, records, pool } = this.#options;
    const { packs } = await objects.packs(signal);
    const promised = await promisedIds(records, packs, signal);
    const { ids } = await pool.run(
      reachedTask,
      { packs: toHandles(packs), promised, ...commits },
      { signal },
    );
    this.#progress = { blobs: 0, total: ids.byteLength / OID_BYTES };
    const reached = new Uint8Array(ids);
    for (const pack of (await this.#promisingPacks(signal)).reverse()) {
      const own = new Uint8Array(await records.promisedIds(pack, pack.promised ?? 0, signal));
      const count = countIn(own, reached);
      if (count > 0)
        await this.#run(
          { pack, wanted: count === pack.promised ? undefined : ids, isLenient: false },
          signal,
        );
    }
  }

  async #promisingPacks(signal: AbortSignal): Promise<LivePack[]> {
    const { packs } = await this.#options.objects.packs(signal);
    return packs.filter(({ promised }) => promised !== undefined);
  }

  async #run(errand: Errand, asked: AbortSignal): Promise<void> {
    const { objects, log, client } = this.#options;
    const say = () =>
      log.info("reading contents from lakeFS", {
        repository: client.repository,
        files: `${this.#progress.blobs}/${this.#progress.total}`,
      });
    const telling = setInterval(say, LIMITS.lakefsProgressLogMs).unref();
    const leaving = new LeavingOff(asked);
    try {
      await objects.makePack((draft) => this.#fill(draft, errand, asked, leaving), leaving.over);
    } finally {
      clearInterval(telling);
      leaving.end();
    }
  }

  async #fill(
    draft: PackDraft,
    errand: Errand,
    asked: AbortSignal,
    leaving: LeavingOff,
  ): Promise<void> {
    const { tasks, client, objects } = this.#options;
    const signal = leaving.over;
    const leftPath = errand.isLenient ? join(draft.folder, "left") : undefined;
    const { blobs, left, failure, figures } = await tasks.run(
      () => this.#read(errand, draft.path, leftPath, leaving),
      asked,
    );
    client.http.add(figures);
    if (failure !== undefined) {
      await this.#lost.note({ code: failure.fault, facts: failure.facts }, signal);
      // What was read need not be read again.
      if (blobs > 0)
        await objects.adopt(await this.#index(draft, signal), { origin: "synthesized" }, signal);
      throw failureUnder(asked, fromRecord(failure));
    }
    if (left === undefined) await this.#lost.look(signal);
    if (blobs > 0)
      await this.#adopt(
        errand,
        await this.#index(draft, signal),
        left && { ids: left, path: leftPath as string },
        signal,
      );
    else if (errand.wanted === undefined && left === undefined)
      await objects.keepPromise(errand.pack.checksum, signal);
  }

  async #adopt(
    { pack, wanted }: Errand,
    made: IngestedPack,
    left: { readonly ids: PromisedIds; readonly path: string } | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { objects, records } = this.#options;
    if (wanted === undefined) {
      if (left !== undefined) await records.putPromised(made, left.path, left.ids, signal);
      return objects.supersede(
        pack.checksum,
        made,
        { origin: "synthesized", promised: (left?.ids.ids.byteLength ?? 0) / OID_BYTES },
        signal,
      );
    }
    this.#smallPacks++;
    return objects.adopt(made, { origin: "synthesized" }, signal);
  }

  async #read(
    { pack, wanted }: Errand,
    path: string,
    leftPath: string | undefined,
    leaving: LeavingOff,
  ) {
    const signal = leaving.over;
    const { access, client, namespace, records, objects, pool, log } = this.#options;
    const list = await records.promisedList(pack, pack.promised ?? 0, signal);
    const packs = toHandles((await objects.packs(signal)).packs);
    const base = wanted === undefined ? toHandles([pack])[0] : undefined;
    const before = this.#progress.blobs;
    let left = 0;
    const served = servePort<SynthesisNews, SynthesisQuestions, SynthesisWord>({
      onNews: (news) => {
        if (news.kind === "contents")
          this.#progress = { ...this.#progress, blobs: before + news.blobs };
        else if (news.kind === "left" && left++ < LEFT_NAMED) {
          const { commit, path: file, code, reason } = news;
          void this.#lost.note({ code, facts: { commit, path: file } }, signal);
          log.warn("a content in lakeFS cannot be read; only who needs it is refused", {
            repository: client.repository,
            commit,
            path: file,
            reason,
          });
        }
      },
      answers: { recall: (keys) => keys.map(() => undefined) },
    });
    try {
      const request = {
        access,
        ways: client.server.lost.ways(client.repository),
        repository: client.repository,
        namespace,
        packs,
        list,
        wanted,
        leftPath,
        base,
        path,
        port: served.port,
      };
      const result = await leaving.telling(served, () =>
        pool.run(contentsTask, request, { signal, transfer: [served.port] }),
      );
      this.#progress = { ...this.#progress, blobs: before + result.blobs };
      return result;
    } finally {
      served.close();
    }
  }

  async #index(draft: PackDraft, signal: AbortSignal): Promise<IngestedPack> {
    const { objects, records } = this.#options;
    const { packs } = await objects.packs(signal);
    const promised = await promisedIds(records, packs, signal);
    return draft.index({ packs, promised, rules: READ_RULES });
  }
}

/** Counts the ids that are in the other table. */
function countIn(ids: Uint8Array, table: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < ids.length; at += OID_BYTES) if (holdsId(table, ids, at)) count++;
  return count;
}

/** Returns what live packs still promise: a table of ids each. */
export function promisedIds(
  records: LakeNotes,
  packs: readonly LivePack[],
  signal: AbortSignal,
): Promise<SharedArrayBuffer[]> {
  const promising = packs.flatMap((pack) =>
    pack.promised === undefined ? [] : [{ pack, promised: pack.promised }],
  );
  return Promise.all(
    promising.map(({ pack, promised }) => records.promisedIds(pack, promised, signal)),
  );
}
