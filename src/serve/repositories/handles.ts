/**
 * Handles: the parts that a repository's conversations work on, put together once and kept while
 * they are used, one handle for each id.
 */
import { LRUCache } from "lru-cache";
import { asFault, Fault } from "../../base/fault.js";
import { Semaphore, SingleFlight } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { RepositoryRow } from "../../database/schema.js";
import type { Mapping } from "../../lakefs/rules/contract.js";
import type { LakefsServer } from "../../lakefs/api/client.js";
import type { LakefsCredentials } from "../../lakefs/api/credentials.js";
import type { LakefsAccess } from "../../lakefs/api/http.js";
import type { LakefsRefs } from "../../lakefs/refs.js";
import { createLanding } from "../../lakefs/land/landing.js";
import type { LandingPolicy } from "../../lakefs/land/contract.js";
import { UncrossedPaths } from "../../lakefs/read/uncrossed.js";
import { LakefsLfsStore } from "../../lfs/lakefs-store.js";
import type { LfsStore } from "../../lfs/store.js";
import { openLakefsReading, openLakefsRefs } from "../../lakefs/repository.js";
import { fromLakefsId } from "../../lakefs/rules/ref-names.js";
import { LakefsWatch } from "../../lakefs/watch.js";
import { faultFacts, type Log } from "../../observe/log.js";
import type { FoldChoice } from "../../odb/pack-objects/fold.js";
import { ManifestBundles } from "../../odb/manifest/bundles.js";
import { ManifestObjects, type ObjectServices } from "../../odb/manifest/objects.js";
import { ManifestRefs } from "../../odb/manifest/refs.js";
import { ManifestStore } from "../../odb/manifest/store.js";
import type { RefStore } from "../../odb/ref-store.js";
import type { LakefsSide, PromisedContents } from "../conversation/conversation.js";
import { lakefsFiles, personalFiles } from "../lfs/lakefs-files.js";
import { storePrefix } from "../conversation/repository-name.js";
import type { RepositoryTable } from "./table.js";

export interface Handle {
  /** Its place in the store. */
  readonly prefix: string;
  readonly manifests: ManifestStore;
  readonly refs: RefStore;
  readonly objects: ManifestObjects;
  /** The store of its LFS objects; undefined: our own. */
  readonly lfs?: LfsStore | undefined;
  readonly lakefs?: LakefsSide | undefined;
  /** Undefined: it is in lakeFS. */
  readonly bundles?: ManifestBundles;
  /** Refs of a lakeFS repository that are read ahead of requests. */
  readonly watched?: LakefsRefs;
  readonly promised?: PromisedContents;
  /** Folds packs of a lakeFS repository (as ManifestObjects.fold), with what they promise. */
  readonly fold?: (choice: FoldChoice, signal: AbortSignal) => Promise<number>;
}

/**
 * Names of lakeFS repositories here. "identity": /lakefs/<repository> only. "kohakuhub": also by
 * the name a KohakuHub gave them, and none of them can be pushed to, under whichever name: a push
 * would be missing in the hub's tables.
 */
export type Naming = "identity" | "kohakuhub";

export interface LakefsSettings {
  readonly access: LakefsAccess;
  /** The one client of this server: it counts every call, those of pool threads too. */
  readonly client: LakefsServer;
  readonly naming: Naming;
  /** Keys of seals: the first signs, all verify. */
  readonly sealKeys: readonly Uint8Array[];
  /**
   * Milliseconds that a list of refs waits for what lakeFS has new; undefined:
   * LIMITS.lakefsRefsWaitMs.
   */
  readonly refsWaitMs?: number;
  readonly mappingSeed: Mapping;
  readonly landing: LandingPolicy;
  /** While lakeFS is away, what is known is served for reading. */
  readonly serveStale: boolean;
  /** Keys by who pushes; undefined: our own for everybody. */
  readonly credentials?: LakefsCredentials | undefined;
  /** Distance of two looks at the heads of repositories in use; 0: only webhooks tell. */
  readonly pollMs: number;
  readonly log: Log;
}

export interface HandlesOptions {
  readonly services: ObjectServices;
  readonly table: RepositoryTable;
  /** Target of HEAD in a repository that has no branch yet. */
  readonly defaultBranch: string;
  readonly lakefs: LakefsSettings | undefined;
  /** As ManifestLife's `freshMs`. */
  readonly manifestFreshMs: number;
  /**
   * Throws where lakeFS's name leads to another repository than `id` by now. `fresh`: whatever was
   * said a moment ago.
   */
  readonly confirm: (
    repository: string,
    id: string,
    fresh: boolean,
    signal: AbortSignal,
  ) => Promise<void>;
  /** Told when packs were made of what lakeFS has. */
  readonly onRead: (id: string, handle: Handle) => void;
  readonly log: Log;
}

export class RepositoryHandles {
  readonly #options: HandlesOptions;
  /** Keeps the handles of repositories in use from being collected. By id, as all below. */
  readonly #recent = new LRUCache<string, Handle>({
    max: LIMITS.repositoryHandlesMax,
    dispose: (_, id, reason) => reason === "evict" && this.#watch?.remove(id),
  });
  /**
   * Every handle alive: there is never a second one beside it, so nobody reads a manifest somebody
   * else here has replaced.
   */
  readonly #alive = new Map<string, WeakRef<Handle>>();
  readonly #collected = new FinalizationRegistry<string>((id) => {
    if (this.#alive.get(id)?.deref() === undefined) this.#alive.delete(id);
  });
  readonly #opening = new SingleFlight<string, Handle>();
  readonly #synthesisTasks: Semaphore;
  readonly #watch: LakefsWatch | undefined;

  constructor(options: HandlesOptions) {
    this.#options = options;
    const { lakefs, services } = options;
    this.#synthesisTasks = new Semaphore(synthesisTasks(services.pool.threads));
    this.#watch = lakefs && new LakefsWatch(lakefs.log, lakefs.pollMs);
  }

  /** Returns the handle of a repository that is, or may come to be, in our own store. */
  own(row: RepositoryRow): Handle {
    const alive = this.#alive.get(row.id)?.deref();
    if (alive !== undefined) return alive;
    const { services, defaultBranch } = this.#options;
    const prefix = storePrefix(row);
    const manifests = this.#manifests(row, defaultBranch);
    const refs = new ManifestRefs(manifests, services.store, prefix);
    return this.#remember(row.id, {
      prefix,
      manifests,
      refs,
      objects: new ManifestObjects({ ...services, isLed: true }, manifests, prefix),
      bundles: new ManifestBundles(services, manifests, prefix),
    });
  }

  /**
   * Returns the handle of a lakeFS repository. Opening asks lakeFS: once for all who come
   * meanwhile. Throws "lakefs/missing".
   */
  async lakefs(row: RepositoryRow, signal: AbortSignal): Promise<Handle> {
    return (
      this.#alive.get(row.id)?.deref() ??
      this.#opening.run(row.id, (shared) => this.#openLakefs(row, shared), signal)
    );
  }

  /** Keeps a handle, and reads what lakeFS has new for it ahead of requests. */
  use(id: string, handle: Handle): void {
    const { lakefs, watched } = handle;
    if (lakefs !== undefined && watched !== undefined && !this.#recent.has(id))
      this.#watch?.add(id, lakefs.client.repository, watched);
    this.#recent.set(id, handle);
  }

  /**
   * Lets go of a handle: who holds it goes on with what was read for it, nobody else gets it. `why`
   * is told to who waits for more to be read.
   */
  drop(id: string, why = new Fault("lakefs/replaced")): void {
    this.#recent.get(id)?.watched?.close(why);
    this.#watch?.remove(id);
    this.#recent.delete(id);
    this.#alive.delete(id);
  }

  /** lakeFS has told of a change. False: nobody watches this repository. */
  changed(repository: string): boolean {
    return this.#watch?.changed(repository) === true;
  }

  resized(threads: number): void {
    this.#synthesisTasks.resize(synthesisTasks(threads));
  }

  /** Ends what runs in the background, and waits until what was read is kept. */
  async close(): Promise<void> {
    await this.#watch?.close();
    const handles = [...this.#alive.values()].flatMap((alive) => alive.deref() ?? []);
    for (const { watched } of handles) watched?.close();
    const patience = AbortSignal.timeout(2 * LIMITS.lakefsLeaveOffMs);
    await Promise.allSettled(
      handles.flatMap(({ lakefs, promised }) => [
        lakefs?.commits.settled(patience),
        promised?.settled(patience),
      ]),
    );
  }

  /** Branches and tags in lakeFS, objects and all other refs in our store. */
  async #openLakefs(row: RepositoryRow, signal: AbortSignal): Promise<Handle> {
    const { services, lakefs, confirm, log } = this.#options;
    if (lakefs === undefined || row.lakefs === null)
      throw new Fault("base/internal", { reason: "this repository is not in lakeFS" });
    const [id, prefix, repository] = [row.id, storePrefix(row), row.lakefs];
    const manifests = this.#manifests(row, "main");
    const { store, incoming } = services;
    const pool = services.pool.sharedBy({ repository: prefix, caller: prefix }); // what is read for all, or landed for one
    const onAdopted = () => {
      const handle = this.#alive.get(id)?.deref();
      if (handle !== undefined) this.#options.onRead(id, handle);
    };
    const objects = new ManifestObjects({ ...services, pool }, manifests, prefix, onAdopted);
    const { access, mappingSeed, sealKeys, serveStale, credentials } = lakefs;
    const client = lakefs.client.in(repository);
    const tasks = this.#synthesisTasks;
    const onBack = () =>
      this.drop(id, new Fault("lakefs/unreachable", { reason: "it was away until a moment ago" }));
    const parts = { access, client, sealKeys, log, store, pool, incoming, objects };
    const reading = await openLakefsReading(
      { ...parts, mappingSeed, synthesisTasks: tasks, prefix, serveStale, onBack },
      signal,
    );
    const { commits, promised, lists, defaultBranch } = reading;
    // What was pushed by git-lfs lies in the lakeFS repository itself; what lakeFS had before is
    // found by what was read.
    const files = lakefsFiles(reading);
    const lfs = new LakefsLfsStore(
      files,
      commits,
      pool,
      personalFiles(reading, files, credentials),
    );
    const landing = createLanding({
      ...reading,
      access,
      objects,
      pool,
      log,
      lfs,
      tasks,
      policy: lakefs.landing,
      credentials,
    });
    const refs = openLakefsRefs(reading, {
      manifestRefs: new ManifestRefs(manifests, store, prefix),
      landing,
      confirm: (fresh, asking) => confirm(repository, id, fresh, asking),
      ...(lakefs.refsWaitMs === undefined ? {} : { waitMs: lakefs.refsWaitMs }),
      log,
    });
    const side = {
      head: `refs/heads/${fromLakefsId("branch", defaultBranch) ?? "main"}`,
      client,
      commits,
      uncrossed: new UncrossedPaths(client, commits),
      guard: () => landing.guard,
      unreadable: () => refs.unreadable,
    };
    const fold = (choice: FoldChoice, folding: AbortSignal) =>
      promised.mending(() => objects.fold(folding, { ...choice, promises: lists }), folding);
    return this.#remember(id, {
      prefix,
      manifests,
      refs,
      objects,
      lfs,
      lakefs: side,
      watched: refs,
      promised,
      fold,
    });
  }

  #manifests(row: RepositoryRow, defaultBranch: string): ManifestStore {
    const { id, title, state } = row;
    const { services, table, log, manifestFreshMs: freshMs } = this.#options;
    const made = () =>
      table.markMade(id).catch((error: unknown) => {
        // It is found out again when the repository is next asked for.
        log.warn("that a repository has its first manifest could not be noted", {
          repository: id,
          ...faultFacts(asFault(error)),
        });
      });
    const named = title === null ? {} : { name: title };
    const life = { isMade: state === "made", made, freshMs, ...named };
    return new ManifestStore(services.store, storePrefix(row), `refs/heads/${defaultBranch}`, life);
  }

  #remember(id: string, handle: Handle): Handle {
    this.#alive.set(id, new WeakRef(handle));
    this.#collected.register(handle, id);
    return handle;
  }
}

/** One thread is left for requests. */
function synthesisTasks(threads: number): number {
  return Math.max(1, threads - 1);
}
