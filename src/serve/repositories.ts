/** Resolves a name to everything a conversation needs. One handle per repository, kept while it is used. */
import { LRUCache } from "lru-cache";
import { includes, type Role } from "../auth/caller.js";
import type { Place } from "../auth/permissions.js";
import { asFault, Fault } from "../base/fault.js";
import { Semaphore, SingleFlight } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Mapping } from "../lakefs/contract.js";
import type { LakefsClient } from "../lakefs/client.js";
import type { LakefsAccess } from "../lakefs/http.js";
import type { LakefsRefs } from "../lakefs/lakefs-refs.js";
import { createLanding, type LandingPolicy } from "../lakefs/landing.js";
import { UncrossedPaths } from "../lakefs/uncrossed.js";
import { LakefsLfsStore } from "../lfs/lakefs-store.js";
import type { LfsStore } from "../lfs/store.js";
import { type LandingParts, openLakefsRepository, repairNotedMapping } from "../lakefs/repository.js";
import { fromLakefsId } from "../lakefs/ref-names.js";
import { isLakefsRepositoryName, kohakuHubName } from "../lakefs/repository-names.js";
import { LakefsWatch } from "../lakefs/watch.js";
import { faultFacts, type Log } from "../observe/log.js";
import { type Collected, collectFiles } from "../odb/collect.js";
import { writeDerivedFiles } from "../odb/derived-files.js";
import { ManifestObjects, type ObjectServices } from "../odb/manifest-objects.js";
import { ManifestRefs } from "../odb/manifest-refs.js";
import { ManifestStore } from "../odb/manifest-store.js";
import type { RefStore } from "../odb/ref-store.js";
import type { LakefsSide, PromisedContents, Repository } from "./conversation.js";
import { lakefsFiles } from "./lfs-lakefs.js";
import type { Maintenance } from "./maintenance.js";
import { candidatesOf, kindOf, lakefsName, placeOf, readRepositoryName, type RepositoryName, storePrefix, titleOf, type TypedName } from "./repository-name.js";

interface Handle {
  readonly manifests: ManifestStore;
  readonly refs: RefStore;
  readonly objects: ManifestObjects;
  /** Where its LFS objects are; undefined: in our own store. */
  readonly lfs?: LfsStore | undefined;
  readonly lakefs?: LakefsSide | undefined;
  /** Of a lakeFS repository: read ahead of requests. */
  readonly watched?: LakefsRefs;
  readonly promised?: PromisedContents;
}

/** What a name leads to. */
interface Found {
  readonly name: TypedName;
  /** Store prefix of what is there: of a second name of a lakeFS repository, that of the repository itself. */
  readonly id: string;
  readonly handle: Handle;
  /** Of the one who asks. */
  readonly role: Role;
}

/** What the one who asks may. What may not even be read is passed over as if it were not there, and nothing is looked up for it. */
export interface Asker {
  role(place: Place): Promise<Role | undefined>;
  mayCreate(place: Place): boolean;
}

const MAY_ALL: Asker = { role: async () => "admin", mayCreate: () => true };

/**
 * How lakeFS repositories are named here. "identity": /lakefs/<repository> only. "kohakuhub": also by the name a KohakuHub gave them, and
 * none of them can be pushed to, under whichever name: a push would be missing in the hub's tables.
 */
export type Naming = "identity" | "kohakuhub";

export interface RepositoriesOptions {
  readonly services: ObjectServices;
  readonly maintenance: Maintenance;
  /** Where HEAD points in a repository that has no branch yet. */
  readonly defaultBranch: string;
  /** A push to a name that does not exist makes the repository. */
  readonly createOnPush: boolean;
  /** How long nothing must have named a file before it is removed. */
  readonly gcGraceMs: number;
  readonly log: Log;
  /** Undefined: no lakeFS is set, and `lakefs/*` does not exist. */
  readonly lakefs?: LakefsSettings;
}

export interface LakefsSettings {
  readonly access: LakefsAccess;
  /** The one client of this server: it counts every call, those of pool threads too. */
  readonly client: LakefsClient;
  readonly naming: Naming;
  /** Keys of seals: the first signs, all verify. */
  readonly sealKeys: readonly Uint8Array[];
  /** How long a list of refs waits for what lakeFS has new; undefined: LIMITS.lakefsRefsWaitMs. */
  readonly refsWaitMs?: number;
  readonly mappingSeed: Mapping;
  readonly landing: LandingPolicy;
  /** Distance of two looks at the heads of repositories in use; 0: only webhooks tell. */
  readonly pollMs: number;
  readonly log: Log;
}

const MANIFEST_SUFFIX = "/git/manifest";

export class Repositories {
  readonly #options: RepositoriesOptions;
  /** Keeps the handles of repositories in use from being collected. */
  readonly #recent = new LRUCache<string, Handle>({ max: LIMITS.repositoryHandlesMax, dispose: (_, id, reason) => reason === "evict" && this.#watch?.remove(id) });
  /** Every handle alive: there is never a second one beside it, so nobody reads a manifest somebody else here has replaced. */
  readonly #alive = new Map<string, WeakRef<Handle>>();
  readonly #collected = new FinalizationRegistry<string>((id) => {
    if (this.#alive.get(id)?.deref() === undefined) this.#alive.delete(id);
  });

  /** Handles of names that nothing is under: as long as one lives here, that is known without a look at the store. */
  readonly #absent = new LRUCache<string, Handle>({ max: LIMITS.repositoryHandlesMax });
  /** Whether lakeFS has a repository, for warnings. */
  readonly #looked = new LRUCache<string, boolean>({ max: LIMITS.repositoryHandlesMax, ttl: LIMITS.lakefsLookMs });
  readonly #collectedLately = new LRUCache<string, true>({ max: LIMITS.repositoryHandlesMax, ttl: LIMITS.collectEveryMs });
  readonly #opening = new SingleFlight<string, Handle | undefined>();
  readonly #synthesisTasks: Semaphore;
  readonly #walks = new Semaphore(1);
  readonly #watch: LakefsWatch | undefined;

  constructor(options: RepositoriesOptions) {
    this.#options = options;
    const { lakefs } = options;
    this.#synthesisTasks = new Semaphore(synthesisTasks(options.services.pool.threads));
    this.#watch = lakefs && new LakefsWatch(lakefs.log, lakefs.pollMs);
  }

  /**
   * Throws "repository/missing" where there is none for this asker (`toPush`: where none may be made), and with `toPush` "repository/read-only" and
   * "auth/forbidden".
   */
  async resolve(asked: RepositoryName, toPush: boolean, signal: AbortSignal, asker: Asker = MAY_ALL): Promise<Repository> {
    const found = (await this.#find(asked, signal, asker)) ?? (await this.#toBeMade(asked, toPush, asker));
    const { name, id, handle, role } = found;
    if (toPush && !includes(role, "write")) throw new Fault("auth/forbidden", { name: titleOf(name) });
    if (toPush && handle.lakefs !== undefined && this.#isHub()) throw new Fault("repository/read-only", { name: titleOf(name) });
    const exists = handle.lakefs !== undefined || (await handle.manifests.exists(signal));
    // Kept among the real ones only when real: names that do not exist must not push others out.
    if (exists) this.#use(id, handle);
    else this.#absent.set(id, handle);
    const notices = asked.type === "untyped" ? await this.#ambiguities(name, signal, asker) : [];
    const { refs, objects, lfs, lakefs, promised } = handle;
    const changed = () => this.#planUpkeep(id, handle);
    return { id, type: name.type, title: titleOf(name), refs, objects, lfs, lakefs, promised, atomic: lakefs === undefined, notices, created: !exists, changed };
  }

  /**
   * Makes an empty repository, or with `lakefs` another name of that lakeFS repository. A name without a type makes a model. Throws
   * "repository/exists", "repository/bad-name", "lakefs/unset", "lakefs/missing".
   */
  async create(asked: RepositoryName, lakefs: string | undefined, signal: AbortSignal): Promise<TypedName> {
    const [name] = candidatesOf(asked) as [TypedName];
    if (name.type === "lakefs") throw new Fault("repository/bad-name", { name: titleOf(name), reason: "the names below lakefs/ are lakeFS's own" });
    if (lakefs !== undefined) await this.#checkLakefs(lakefs, signal);
    const id = storePrefix(name);
    const { manifests } = this.#own(id);
    await manifests.update((manifest) => {
      if (manifest.revision > 0) throw new Fault("repository/exists", { name: titleOf(name) });
      return { ...manifest, ...(lakefs === undefined ? {} : { lakefs }) };
    }, signal);
    return name;
  }

  #use(id: string, handle: Handle): void {
    const { lakefs, watched } = handle;
    if (lakefs !== undefined && watched !== undefined && !this.#recent.has(id)) this.#watch?.add(id, lakefs.repository, watched);
    this.#recent.set(id, handle);
  }

  /** What a name leads to: the first of those it may mean that exists. */
  async #find(asked: RepositoryName, signal: AbortSignal, asker: Asker): Promise<Found | undefined> {
    for (const name of candidatesOf(asked)) {
      const found = await this.#findTyped(name, signal, asker);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** What stands in our store under this very name comes before what the hub's rule computes. */
  async #findTyped(name: TypedName, signal: AbortSignal, asker: Asker): Promise<Found | undefined> {
    if (name.type === "lakefs") return this.#findGiven(name, name.name, signal, asker);
    const role = await asker.role(placeOf(name, "ours"));
    if (role === undefined) return undefined; // a computed name is for fewer still
    const id = storePrefix(name);
    const handle = this.#own(id);
    if (await handle.manifests.exists(signal)) {
      const { lakefs } = await handle.manifests.read(signal);
      if (lakefs === undefined) return { name, id, handle, role };
      this.#recent.set(id, handle);
      const bound = await this.#findLakefs(lakefs, signal);
      if (bound === undefined) throw new Fault("lakefs/missing", { name: titleOf(name), repository: lakefs });
      return { name, role, ...bound };
    }
    this.#absent.set(id, handle); // asked for again, nobody looks at the disk
    return this.#isHub() ? this.#findGiven(name, hubName(name), signal, asker) : undefined;
  }

  /** By a name that lakeFS or a hub gave: it has no owner here. */
  async #findGiven(name: TypedName, repository: string, signal: AbortSignal, asker: Asker): Promise<Found | undefined> {
    const role = await asker.role(placeOf(name, "given"));
    const found = role && (await this.#findLakefs(repository, signal));
    return role && found && { name, role, ...found };
  }

  async #findLakefs(repository: string, signal: AbortSignal): Promise<Pick<Found, "id" | "handle"> | undefined> {
    const id = storePrefix(lakefsName(repository));
    // Opening asks lakeFS: once for all who come meanwhile.
    const handle = this.#alive.get(id)?.deref() ?? (await this.#opening.run(id, (shared) => this.#openLakefs(id, repository, shared), signal));
    return handle && { id, handle };
  }

  /** Throws "repository/missing" unless a push may make it, "auth/forbidden" where its owner shows too weak a token. A hub makes its repositories itself. */
  async #toBeMade(asked: RepositoryName, toPush: boolean, asker: Asker): Promise<Found> {
    const [name] = candidatesOf(asked) as [TypedName];
    const missing = new Fault("repository/missing", { name: titleOf(asked) });
    if (!toPush || !this.#options.createOnPush || name.type === "lakefs" || this.#isHub()) throw missing;
    const place = placeOf(name, "ours");
    const role = await asker.role(place);
    if (role === undefined) throw missing;
    if (!asker.mayCreate(place)) throw includes(role, "write") ? missing : new Fault("auth/forbidden", { name: titleOf(name) });
    const id = storePrefix(name);
    return { name, id, handle: this.#own(id), role };
  }

  /** Which other repositories a name without a type could have meant. */
  async #ambiguities(found: TypedName, signal: AbortSignal, asker: Asker): Promise<string[]> {
    const candidates = candidatesOf({ ...found, type: "untyped" });
    const others = candidates.slice(candidates.findIndex(({ type }) => type === found.type) + 1);
    const also: TypedName[] = [];
    for (const other of others) if (await this.#isThere(other, signal, asker)) also.push(other);
    if (also.length === 0) return [];
    const urls = also.map((other) => `the ${kindOf(other.type)} is at /${titleOf(other)}.git`);
    return [`warning: ${found.namespace}/${found.name} is several repositories, and this is the ${kindOf(found.type)}; ${urls.join(", ")}`];
  }

  /** As `#findTyped`, for a warning: nothing is opened, and what lakeFS said some seconds ago will do. */
  async #isThere(name: TypedName, signal: AbortSignal, asker: Asker): Promise<boolean> {
    if ((await asker.role(placeOf(name, "ours"))) === undefined) return false;
    const handle = this.#own(storePrefix(name));
    if (await handle.manifests.exists(signal)) return true;
    this.#absent.set(storePrefix(name), handle);
    const { lakefs } = this.#options;
    if (lakefs === undefined || !this.#isHub() || (await asker.role(placeOf(name, "given"))) === undefined) return false;
    const repository = hubName(name);
    const known = this.#looked.get(repository);
    if (known !== undefined) return known;
    const there = await lakefs.client.getRepository(repository, signal).then(() => true, missingIsFalse);
    this.#looked.set(repository, there);
    return there;
  }

  async #checkLakefs(repository: string, signal: AbortSignal): Promise<void> {
    const { lakefs } = this.#options;
    if (lakefs === undefined) throw new Fault("lakefs/unset", { repository });
    const there = isLakefsRepositoryName(repository) && (await lakefs.client.getRepository(repository, signal).then(() => true, missingIsFalse));
    if (!there) throw new Fault("lakefs/missing", { repository });
  }

  /**
   * Puts back into lakeFS the mapping that this server has read a repository of it by. Throws "lakefs/unset",
   * "lakefs/missing", "lakefs/unmapped".
   */
  async repairMapping(repository: string, signal: AbortSignal): Promise<{ readonly mapping: string; readonly commit: string | undefined }> {
    await this.#checkLakefs(repository, signal);
    const { lakefs, services } = this.#options;
    return repairNotedMapping((lakefs as LakefsSettings).client, services.store, storePrefix(lakefsName(repository)), repository, signal);
  }

  #isHub(): boolean {
    return this.#options.lakefs?.naming === "kohakuhub";
  }

  /** The lakeFS repository this is another name of; undefined: none. */
  async boundTo(name: TypedName, signal: AbortSignal): Promise<string | undefined> {
    return (await this.#own(storePrefix(name)).manifests.read(signal)).lakefs;
  }

  /** Titles of the repositories in our store behind `after` that the asker may read, sorted; the first `count`, and none beyond `listedScanMax`. */
  async list(count: number, signal?: AbortSignal, after = "", asker: Asker = MAY_ALL): Promise<string[]> {
    // One such walk at a time: whoever asks for the front page again and again keeps only others who ask for it waiting.
    return asker === MAY_ALL ? this.#walk(count, signal, after, asker) : this.#walks.run(() => this.#walk(count, signal, after, asker), signal);
  }

  async #walk(count: number, signal: AbortSignal | undefined, after: string, asker: Asker): Promise<string[]> {
    const titles: string[] = [];
    let seen = 0;
    for await (const { key } of this.#options.services.store.list("repos/", signal)) {
      if (!key.endsWith(MANIFEST_SUFFIX)) continue;
      const title = key.slice("repos/".length, -MANIFEST_SUFFIX.length);
      if (title <= after) continue;
      if (asker !== MAY_ALL && ++seen > LIMITS.listedScanMax) break;
      if (await mayList(title, asker)) titles.push(title);
      if (titles.length === count) break;
    }
    return titles;
  }

  /** The pool has so many threads now. */
  resized(threads: number): void {
    this.#synthesisTasks.resize(synthesisTasks(threads));
  }

  /** lakeFS has told of a change: the heads are read in the background, of a repository that nobody has asked for yet too. */
  lakefsChanged(repository: string): void {
    const { lakefs } = this.#options;
    if (lakefs === undefined || this.#watch?.changed(repository) !== false) return;
    const signal = AbortSignal.timeout(LIMITS.lakefsCallMs);
    this.resolve(lakefsName(repository), false, signal).then(
      () => this.#watch?.changed(repository),
      (error: unknown) => lakefs.log.warn("a webhook's repository could not be opened", { repository, ...faultFacts(asFault(error)) }),
    );
  }

  /** Ends what runs in the background. */
  async close(): Promise<void> {
    await this.#watch?.close();
    for (const { watched } of this.#recent.values()) watched?.close();
  }

  /** Removes what nothing names for longer than the grace period. Throws "repository/missing". */
  async collect(asked: RepositoryName, graceMs: number, signal: AbortSignal): Promise<Collected> {
    const found = await this.#find(asked, signal, MAY_ALL);
    if (found === undefined) throw new Fault("repository/missing", { name: titleOf(asked) });
    return this.#collect(found.id, found.handle, graceMs, signal);
  }

  async #collect(id: string, { manifests, lakefs }: Handle, graceMs: number, signal: AbortSignal): Promise<Collected> {
    const { services, log } = this.#options;
    const collected = await collectFiles({ store: services.store, manifests, prefix: id, graceMs, keepsAll: lakefs !== undefined }, signal);
    const { removed, waiting } = collected;
    if (removed.files > 0) log.info("files that nothing names are removed", { repository: id, ...removed, waitingFiles: waiting.files, waitingBytes: waiting.bytes });
    return collected;
  }

  #planUpkeep(id: string, handle: Handle): void {
    const { services, maintenance, gcGraceMs } = this.#options;
    const { manifests, refs, objects, lakefs } = handle;
    const derive = async (signal: AbortSignal) => {
      const { packs } = await manifests.read(signal);
      await writeDerivedFiles(services.store, id, packs, await refs.read(signal), signal);
    };
    maintenance.plan(id, async (signal, leaving) => {
      await derive(signal);
      // What comes from lakeFS stays: records there name their packs.
      if (leaving) return;
      if (lakefs === undefined && (await objects.fold(signal)) > 0) await derive(signal);
      if (this.#collectedLately.has(id)) return;
      this.#collectedLately.set(id, true);
      await this.#collect(id, handle, gcGraceMs, signal);
    });
  }

  /** The handle of what is, or may come to be, in our own store. */
  #own(id: string): Handle {
    const alive = this.#alive.get(id)?.deref();
    if (alive !== undefined) return alive;
    const { services, defaultBranch } = this.#options;
    const manifests = new ManifestStore(services.store, id, `refs/heads/${defaultBranch}`);
    const refs = new ManifestRefs(manifests, services.store, id);
    return this.#remember(id, { manifests, refs, objects: new ManifestObjects(services, manifests, id) });
  }

  /** Branches and tags in lakeFS, objects and all other refs in our store. Undefined: lakeFS has no such repository. */
  async #openLakefs(id: string, repository: string, signal: AbortSignal): Promise<Handle | undefined> {
    const { services, lakefs } = this.#options;
    if (lakefs === undefined) return undefined;
    const manifests = new ManifestStore(services.store, id, "refs/heads/main");
    const { store, incoming } = services;
    const pool = services.pool.sharedBy({ repository: id, caller: id }); // what is read for all, or landed for one
    const objects = new ManifestObjects({ ...services, pool }, manifests, id);
    const { access, client: shared, mappingSeed, sealKeys, log } = lakefs;
    const manifestRefs = new ManifestRefs(manifests, store, id);
    const synthesisTasks = this.#synthesisTasks;
    let lfs: LakefsLfsStore | undefined;
    const landing = (made: LandingParts) => {
      // What was pushed by git-lfs lies in the lakeFS repository itself; what lakeFS had before is found by what was read.
      lfs = new LakefsLfsStore(lakefsFiles(made), made.commits, pool);
      return createLanding({ ...made, access, objects, pool, log, lfs, tasks: synthesisTasks, policy: lakefs.landing });
    };
    const parts = { access, client: shared, mappingSeed, sealKeys, log, store, pool, incoming, objects, manifestRefs, synthesisTasks, landing, repository, prefix: id };
    try {
      const { refs, client, commits, promised, defaultBranch } = await openLakefsRepository({ ...parts, ...waitOf(lakefs) }, signal);
      const head = `refs/heads/${fromLakefsId("branch", defaultBranch) ?? "main"}`;
      const side = { repository, head, client, commits, uncrossed: new UncrossedPaths(client, repository, commits), unreadable: () => refs.unreadable };
      return this.#remember(id, { manifests, refs, objects, lfs, lakefs: side, watched: refs, promised });
    } catch (error) {
      if (error instanceof Fault && error.code === "lakefs/missing") return undefined;
      throw error;
    }
  }

  #remember(id: string, handle: Handle): Handle {
    this.#alive.set(id, new WeakRef(handle));
    this.#collected.register(handle, id);
    return handle;
  }
}

async function mayList(title: string, asker: Asker): Promise<boolean> {
  if (asker === MAY_ALL) return true;
  const [name] = candidatesOf(readRepositoryName(title)) as [TypedName];
  return (await asker.role(placeOf(name, "ours"))) !== undefined;
}

/** One thread is left for requests. */
function synthesisTasks(threads: number): number {
  return Math.max(1, threads - 1);
}

function hubName({ type, namespace, name }: TypedName): string {
  const kind = kindOf(type);
  if (kind === "lakefs") throw new Fault("base/internal", { reason: "a name of lakeFS's own is not computed" });
  return kohakuHubName(kind, `${namespace}/${name}`);
}

function waitOf({ refsWaitMs }: LakefsSettings): { readonly refsWaitMs?: number } {
  return refsWaitMs === undefined ? {} : { refsWaitMs };
}

function missingIsFalse(error: unknown): false {
  if (error instanceof Fault && error.code === "lakefs/missing") return false;
  throw error;
}
