/** What is done for a repository after its pushes, and for those that were set aside: derived files, folding, collection. */
import { LRUCache } from "lru-cache";
import { LIMITS } from "../base/limits.js";
import type { Log } from "../observe/log.js";
import { type Collected, collectFiles } from "../odb/collect.js";
import { writeDerivedFiles } from "../odb/derived-files.js";
import type { ObjectServices } from "../odb/manifest-objects.js";
import type { Maintenance } from "./maintenance.js";
import type { Handle } from "./repository-handles.js";
import { storePrefix } from "./repository-name.js";
import type { RepositoryRemoval } from "./repository-removal.js";
import type { RepositoryTable } from "./repository-table.js";

export interface UpkeepOptions {
  readonly services: ObjectServices;
  readonly maintenance: Maintenance;
  readonly table: RepositoryTable;
  readonly removal: RepositoryRemoval;
  readonly gcGraceMs: number;
  readonly log: Log;
}

/** Stands for all that are set aside, beside ids of repositories. */
const SET_ASIDE = "set aside";

export class RepositoryUpkeep {
  readonly #options: UpkeepOptions;
  readonly #collectedLately = new LRUCache<string, true>({ max: LIMITS.repositoryHandlesMax, ttl: LIMITS.collectEveryMs });

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  /** Plans what follows a push. */
  plan(id: string, handle: Handle): void {
    const { maintenance, table, gcGraceMs } = this.#options;
    const { objects, lakefs } = handle;
    maintenance.plan(id, async (signal, leaving) => {
      if ((await table.byId(id))?.state !== "made") return; // it was deleted meanwhile, and its files may be gone
      await this.#derive(id, handle, signal);
      if (leaving) return;
      // What comes from lakeFS stays: records there name their packs.
      if (lakefs === undefined && (await objects.fold(signal)) > 0) await this.#derive(id, handle, signal);
      if (this.#isDue(id)) await this.collect(id, handle, gcGraceMs, signal);
      if (this.#isDue(SET_ASIDE)) await this.#options.removal.collect(gcGraceMs, signal);
    });
  }

  async collect(id: string, { manifests, lakefs }: Handle, graceMs: number, signal: AbortSignal): Promise<Collected> {
    const { services, log } = this.#options;
    const prefix = storePrefix(id);
    const collected = await collectFiles(
      { store: services.store, manifests, prefix, graceMs, keepsAll: lakefs !== undefined },
      signal,
    );
    const { removed, waiting } = collected;
    const later = { waitingFiles: waiting.files, waitingBytes: waiting.bytes };
    if (removed.files > 0) log.info("files that nothing names are removed", { repository: prefix, ...removed, ...later });
    return collected;
  }

  async #derive(id: string, { manifests, refs }: Handle, signal: AbortSignal): Promise<void> {
    const { packs } = await manifests.read(signal);
    await writeDerivedFiles(this.#options.services.store, storePrefix(id), packs, await refs.read(signal), signal);
  }

  #isDue(what: string): boolean {
    if (this.#collectedLately.has(what)) return false;
    this.#collectedLately.set(what, true);
    return true;
  }
}
