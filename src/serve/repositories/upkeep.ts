/**
 * Looks after a repository after its pushes and after lakeFS was read, and after those that were
 * set aside: derived files, folding, collection.
 */
import { LRUCache } from "lru-cache";
import { LIMITS } from "../../base/limits.js";
import type { Log } from "../../observe/log.js";
import { type Collected, collectFiles } from "../../odb/manifest/collect.js";
import { writeDerivedFiles } from "../../odb/manifest/stock-git-files.js";
import type { FoldChoice } from "../../odb/pack-objects/fold.js";
import type { ObjectServices } from "../../odb/manifest/objects.js";
import type { Maintenance } from "./maintenance.js";
import type { Handle } from "./handles.js";
import type { RepositoryRemoval } from "./removal.js";
import type { RepositoryTable } from "./table.js";

export interface UpkeepOptions {
  readonly services: ObjectServices;
  readonly maintenance: Maintenance;
  readonly table: RepositoryTable;
  readonly removal: RepositoryRemoval;
  readonly gcGraceMs: number;
  readonly log: Log;
}

/**
 * Choice of packs made from lakeFS, while more come and when nothing else happens: each has whole
 * trees that the others have as well.
 */
const WHILE_READING: FoldChoice = { fewest: LIMITS.foldMadePacksMin };
export const THOROUGHLY: FoldChoice = { fewest: 2, byBytes: true };
/** Stands for all that are set aside, beside ids of repositories. */
const SET_ASIDE = "set aside";

export class RepositoryUpkeep {
  readonly #options: UpkeepOptions;
  /** Pushed to since their derived files were written. */
  readonly #pushed = new Set<string>();
  readonly #collectedLately = new LRUCache<string, true>({
    max: LIMITS.repositoryHandlesMax,
    ttl: LIMITS.collectEveryMs,
  });

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  /** Plans what follows a push. */
  plan(id: string, handle: Handle): void {
    this.#pushed.add(id);
    this.#plan(id, handle);
  }

  /**
   * Plans what follows when packs were made from lakeFS: soon, and once more when it has become
   * quiet.
   */
  planFold(id: string, handle: Handle): void {
    this.#plan(id, handle);
    this.#options.maintenance.planQuiet(id, (signal, leaving) =>
      this.#fold(id, handle, THOROUGHLY, signal, leaving),
    );
  }

  #plan(id: string, handle: Handle): void {
    const { maintenance, table, gcGraceMs } = this.#options;
    maintenance.plan(id, async (signal, leaving) => {
      const isPushed = this.#pushed.delete(id);
      if ((await table.byId(id))?.state !== "made") return; // it was deleted meanwhile, and its files may be gone
      if (isPushed) await this.#derive(handle, signal);
      await this.#fold(id, handle, handle.fold === undefined ? {} : WHILE_READING, signal, leaving);
      if (leaving.aborted) return;
      if (this.#isDue(id)) await this.collect(handle, gcGraceMs, signal);
      if (this.#isDue(SET_ASIDE)) await this.#options.removal.collect(gcGraceMs, signal);
    });
  }

  /** A server that ends leaves a fold as it is: nothing of it counts until it is whole. */
  async #fold(
    id: string,
    handle: Handle,
    choice: FoldChoice,
    signal: AbortSignal,
    leaving: AbortSignal,
  ): Promise<void> {
    const folding = AbortSignal.any([signal, leaving]);
    if (folding.aborted || (await this.#options.table.byId(id))?.state !== "made") return;
    const folded = await (
      handle.fold?.(choice, folding) ?? handle.objects.fold(folding, choice)
    ).catch((error: unknown) => {
      if (leaving.aborted) return 0;
      throw error;
    });
    if (folded > 0) await this.#derive(handle, signal);
  }

  async collect(
    { manifests, prefix }: Handle,
    graceMs: number,
    signal: AbortSignal,
  ): Promise<Collected> {
    const { services, log } = this.#options;
    const collected = await collectFiles(
      { store: services.store, manifests, prefix, graceMs },
      signal,
    );
    const { removed, waiting } = collected;
    const later = { waitingFiles: waiting.files, waitingBytes: waiting.bytes };
    if (removed.files > 0)
      log.info("files that nothing names are removed", {
        repository: prefix,
        ...removed,
        ...later,
      });
    return collected;
  }

  async #derive({ manifests, refs, prefix }: Handle, signal: AbortSignal): Promise<void> {
    const { packs } = await manifests.read(signal);
    await writeDerivedFiles(
      this.#options.services.store,
      prefix,
      packs,
      await refs.read(signal),
      signal,
    );
  }

  #isDue(what: string): boolean {
    if (this.#collectedLately.has(what)) return false;
    this.#collectedLately.set(what, true);
    return true;
  }
}
