/** Resolves a name to everything a conversation needs. One handle per repository, kept while it is used. */
import { LRUCache } from "lru-cache";
import { Fault } from "../base/fault.js";
import { Semaphore, SingleFlight } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Mapping } from "../lakefs/contract.js";
import type { LakefsAccess } from "../lakefs/http.js";
import { createLanding, type LandingPolicy } from "../lakefs/landing.js";
import { LakefsLfsStore } from "../lfs/lakefs-store.js";
import type { LfsStore } from "../lfs/store.js";
import { type LandingParts, openLakefsRepository } from "../lakefs/repository.js";
import type { Log } from "../observe/log.js";
import { writeDerivedFiles } from "../odb/derived-files.js";
import { ManifestObjects, type ObjectServices } from "../odb/manifest-objects.js";
import { ManifestRefs } from "../odb/manifest-refs.js";
import { ManifestStore } from "../odb/manifest-store.js";
import type { RefStore } from "../odb/ref-store.js";
import type { Repository } from "./conversation.js";
import { lakefsFiles } from "./lfs-lakefs.js";
import type { Maintenance } from "./maintenance.js";
import { type RepositoryName, storePrefix, titleOf } from "./repository-name.js";

interface Handle {
  readonly manifests: ManifestStore;
  readonly refs: RefStore;
  readonly objects: ManifestObjects;
  /** Where its LFS objects are; undefined: in our own store. */
  readonly lfs?: LfsStore | undefined;
}

export interface RepositoriesOptions {
  readonly services: ObjectServices;
  readonly maintenance: Maintenance;
  /** Where HEAD points in a repository that has no branch yet. */
  readonly defaultBranch: string;
  /** A push to a name that does not exist makes the repository. */
  readonly createOnPush: boolean;
  /** Undefined: no lakeFS is set, and `lakefs/*` does not exist. */
  readonly lakefs?: LakefsSettings;
}

export interface LakefsSettings {
  readonly access: LakefsAccess;
  readonly mappingSeed: Mapping;
  readonly landing: LandingPolicy;
  /** Threads that synthesis may take. */
  readonly threads: number;
  readonly log: Log;
}

const MANIFEST_SUFFIX = "/git/manifest";

export class Repositories {
  readonly #options: RepositoriesOptions;
  /** Keeps the handles of repositories in use from being collected. */
  readonly #recent = new LRUCache<string, Handle>({ max: LIMITS.repositoryHandlesMax });
  /** Every handle alive: there is never a second one beside it, so nobody reads a manifest somebody else here has replaced. */
  readonly #alive = new Map<string, WeakRef<Handle>>();
  readonly #collected = new FinalizationRegistry<string>((id) => {
    if (this.#alive.get(id)?.deref() === undefined) this.#alive.delete(id);
  });

  readonly #opening = new SingleFlight<string, Handle>();
  readonly #synthesisTasks: Semaphore;

  constructor(options: RepositoriesOptions) {
    this.#options = options;
    this.#synthesisTasks = new Semaphore(options.lakefs?.threads ?? 1);
  }

  /** Throws "repository/missing" where there is none (`toPush`: where none may be made). */
  async resolve(name: RepositoryName, toPush: boolean, signal: AbortSignal): Promise<Repository> {
    const id = storePrefix(name);
    const handle = await this.#handle(id, name, signal);
    const exists = name.type === "lakefs" || (await handle.manifests.exists(signal));
    if (!exists && !(toPush && this.#options.createOnPush)) throw missing(name);
    // Kept only when real: names that do not exist must not push others out.
    if (exists) this.#recent.set(id, handle);
    const { refs, objects, lfs } = handle;
    return { id, title: titleOf(name), refs, objects, lfs, atomic: name.type !== "lakefs", created: !exists, changed: () => this.#planUpkeep(id, handle) };
  }

  #handle(id: string, name: RepositoryName, signal: AbortSignal): Promise<Handle> | Handle {
    const alive = this.#alive.get(id)?.deref();
    if (alive !== undefined) return alive;
    if (name.type !== "lakefs") return this.#open(id);
    // Opening asks lakeFS: once for all who come meanwhile.
    return this.#opening.run(id, (shared) => this.#openLakefs(id, name, shared), signal);
  }

  /** Titles of the repositories, sorted; the first `count`. */
  async list(count: number, signal?: AbortSignal): Promise<string[]> {
    const titles: string[] = [];
    for await (const { key } of this.#options.services.store.list("repos/", signal)) {
      if (key.endsWith(MANIFEST_SUFFIX)) titles.push(key.slice("repos/".length, -MANIFEST_SUFFIX.length));
      if (titles.length === count) break;
    }
    return titles;
  }

  #planUpkeep(id: string, { manifests, refs }: Handle): void {
    const { services, maintenance } = this.#options;
    maintenance.plan(id, async (signal) => {
      const { packs } = await manifests.read(signal);
      await writeDerivedFiles(services.store, id, packs, await refs.read(signal), signal);
    });
  }

  #open(id: string): Handle {
    const { services, defaultBranch } = this.#options;
    const manifests = new ManifestStore(services.store, id, `refs/heads/${defaultBranch}`);
    const refs = new ManifestRefs(manifests, services.store, id);
    return this.#remember(id, { manifests, refs, objects: new ManifestObjects(services, manifests, id) });
  }

  /** Branches and tags in lakeFS, objects and all other refs in our store. Throws "repository/missing". */
  async #openLakefs(id: string, name: RepositoryName, signal: AbortSignal): Promise<Handle> {
    const { services, lakefs } = this.#options;
    if (lakefs === undefined) throw missing(name);
    const manifests = new ManifestStore(services.store, id, "refs/heads/main");
    const objects = new ManifestObjects(services, manifests, id);
    const { store, pool, incoming } = services;
    const { access, mappingSeed, log } = lakefs;
    const manifestRefs = new ManifestRefs(manifests, store, id);
    const synthesisTasks = this.#synthesisTasks;
    let lfs: LakefsLfsStore | undefined;
    const landing = (made: LandingParts) => {
      // What was pushed by git-lfs lies in the lakeFS repository itself; what lakeFS had before is found by what was read.
      lfs = new LakefsLfsStore(lakefsFiles({ client: made.client, access, repository: made.repository }), made.commits, pool);
      return createLanding({ ...made, access, objects, pool, log, lfs, tasks: synthesisTasks, policy: lakefs.landing });
    };
    const parts = { access, mappingSeed, log, store, pool, incoming, objects, manifestRefs, synthesisTasks, landing, repository: name.name, prefix: id };
    try {
      const { refs } = await openLakefsRepository(parts, signal);
      return this.#remember(id, { manifests, refs, objects, lfs });
    } catch (error) {
      throw error instanceof Fault && error.code === "lakefs/missing" ? missing(name) : error;
    }
  }

  #remember(id: string, handle: Handle): Handle {
    this.#alive.set(id, new WeakRef(handle));
    this.#collected.register(handle, id);
    return handle;
  }
}

function missing(name: RepositoryName): Fault {
  return new Fault("repository/missing", { name: titleOf(name) });
}
