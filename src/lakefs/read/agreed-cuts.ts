/**
 * The cuts of one repository as this server knows them: noted beside its records, compared with
 * lakeFS's, and followed where another server was first.
 */
import { unlessMissing } from "../api/missing.js";
import { LRUCache } from "lru-cache";
import { asFault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { faultFacts, type Log } from "../../observe/log.js";
import type { LakefsClient } from "../api/client.js";
import { agreeOnCut, type Cut, isGone, listCuts, readCut } from "../agreed/cuts.js";
import type { LakeNotes } from "./lake-notes.js";

export interface AgreedCutsOptions {
  readonly client: LakefsClient;
  readonly records: LakeNotes;
  readonly log: Log;
  /** Default: `lakefsCutsLookMs`. */
  readonly lookMs?: number | undefined;
  /** Default: `lakefsCutsMax`. */
  readonly cutsMax?: number;
  /**
   * Told that what was known of commits is forgotten: one of them was cut, and ids of those above
   * are others now.
   */
  readonly onForgotten: () => void;
}

/** A commit, and the commit that is the record of its cut. */
interface Listed {
  readonly commit: string;
  readonly record: string;
}

export class AgreedCuts {
  readonly #options: AgreedCutsOptions;
  #cuts: Map<string, Cut> | undefined;
  /** By commit, records that did not hold: they are not looked at again. */
  readonly #disbelieved = new LRUCache<string, string>({
    maxSize: LIMITS.lakefsCutsMax,
    sizeCalculation: () => 1,
  });
  #openedMs: number | undefined;
  #lookedMs: number | undefined;

  constructor(options: AgreedCutsOptions) {
    this.#options = options;
  }

  /** By commit; those of the last look. */
  get all(): ReadonlyMap<string, Cut> {
    return this.#cuts ?? new Map();
  }

  /** Returns whether lakeFS was not asked for a while. `first`: or never by this process. */
  isDue({ first }: { readonly first: boolean }): boolean {
    const now = performance.now();
    this.#openedMs ??= now;
    const since = this.#lookedMs ?? (first ? Number.NEGATIVE_INFINITY : this.#openedMs);
    return now - since >= (this.#options.lookMs ?? LIMITS.lakefsCutsLookMs);
  }

  /** Reads the cuts that this server has noted before; lakeFS is not asked. */
  async load(signal: AbortSignal): Promise<void> {
    if (this.#cuts !== undefined) return;
    const { records, log, client } = this.#options;
    try {
      this.#cuts = new Map((await records.cuts(signal)).map((cut) => [cut.commit, cut]));
    } catch (error) {
      const fault = asFault(error);
      if (fault.code !== "odb/damaged") throw fault;
      log.warn("the note of what is cut from a history is damaged; it is made again", {
        repository: client.repository,
        ...faultFacts(fault),
      });
      this.#cuts = new Map();
      await this.look(signal);
    }
  }

  /**
   * Asks lakeFS. A commit that another server has cut and this one has read takes all records of
   * commits with it. One that only this server knows to be cut is cut again: somebody has taken its
   * branch away.
   */
  async look(signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    const fresh: Cut[] = [];
    let looked = 0;
    await this.load(signal);
    const { found: all, end } = await this.#listed(signal);
    for (const found of all.values()) {
      if (this.all.has(found.commit) || this.#disbelieved.get(found.commit) === found.record)
        continue;
      if (++looked > LIMITS.lakefsCutsPerLook) continue; // the next look has them
      const cut = await this.#believed(found, signal);
      if (cut !== undefined) fresh.push(cut);
    }
    const isMissing = ({ commit }: Cut) => !all.has(commit) && (end === undefined || commit <= end);
    for (const cut of this.all.values()) if (isMissing(cut)) await this.#restore(cut, signal);
    if (fresh.length > 0) await this.#take(fresh, signal);
    for (const cut of fresh) log.warn(TOLD, { repository: client.repository, ...cut });
    this.#lookedMs = performance.now();
  }

  /**
   * Returns the cuts that lakeFS lists, by commit; `end`: the last that was listed, where there are
   * more than are looked at. A cut behind it is followed all the same by who finds that data gone,
   * as making its branch is a test-and-set; a server that has read that data before goes on with
   * it.
   */
  async #listed(
    signal: AbortSignal,
  ): Promise<{ readonly found: ReadonlyMap<string, Listed>; readonly end: string | undefined }> {
    const { client, log, cutsMax = LIMITS.lakefsCutsMax } = this.#options;
    const found = new Map<string, Listed>();
    let last: string | undefined;
    for await (const one of listCuts(client, signal)) {
      if (found.size === cutsMax) {
        log.warn(
          "a lakeFS repository has more branches of cuts than are looked at; delete those lakepack-cut- branches that no lakepack has made",
          { repository: client.repository, looked: cutsMax },
        );
        return { found, end: last };
      }
      found.set(one.commit, one);
      last = one.commit;
    }
    return { found, end: undefined };
  }

  /**
   * Whoever may write to lakeFS may write such a record: it counts where the data is gone that it
   * names.
   */
  async #believed(found: Listed, signal: AbortSignal): Promise<Cut | undefined> {
    const { client, log } = this.#options;
    const cut = await readCut(client, found, signal);
    // A commit or path that is not there at all is no data that was collected.
    const isBelieved =
      cut.path !== "" && (await unlessMissing(isGone(client, cut, signal))) === true;
    if (isBelieved) return cut;
    this.#disbelieved.set(found.commit, found.record);
    log.warn(
      "a record in lakeFS cuts the history at a commit whose data is there: it does not count",
      { repository: client.repository, ...cut },
    );
    return undefined;
  }

  /** Agrees on cuts that this server needs: in lakeFS first, then here. */
  async agree(cuts: readonly Cut[], signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    for (const cut of cuts) await agreeOnCut(client, cut, signal);
    await this.#note(cuts, signal);
    for (const cut of cuts) log.warn(TOLD, { repository: client.repository, ...cut });
  }

  async #take(fresh: readonly Cut[], signal: AbortSignal): Promise<void> {
    const { records, onForgotten, log, client } = this.#options;
    const known = await Promise.all(
      fresh.map(({ commit }) => records.get(commit, signal).catch(() => true)),
    );
    if (known.some((record) => record !== undefined)) {
      log.warn(
        "a commit that this server has read was cut by another; the repository is read anew",
        { repository: client.repository },
      );
      // Before the note: a crash in between forgets once more.
      await records.forgetCommits(signal);
      onForgotten();
    }
    await this.#note(fresh, signal);
  }

  async #note(cuts: readonly Cut[], signal: AbortSignal): Promise<void> {
    const all = new Map(this.all);
    for (const cut of cuts) all.set(cut.commit, cut);
    await this.#options.records.putCuts([...all.values()], signal);
    this.#cuts = all;
  }

  /** Notes the cut in lakeFS again; where lakeFS does not let us, it stays as it is here. */
  async #restore(cut: Cut, signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    await agreeOnCut(client, cut, signal).catch((error: unknown) => {
      log.warn("a cut of the history is missing in lakeFS and cannot be put back", {
        repository: client.repository,
        ...cut,
        reason: asFault(error).message,
      });
    });
  }
}

const TOLD =
  "data of an old lakeFS commit is gone: Git's history does not have it, nor what is before it";
