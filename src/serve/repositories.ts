/** Resolves a name to everything a conversation needs: which repository it leads to for whoever asks, and the handle of that. */
import { LRUCache } from "lru-cache";
import { includes, type Role } from "../auth/caller.js";
import type { Look, Visibility } from "../auth/permissions.js";
import { asFault, Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { ListedRow, Viewer } from "../database/repositories.js";
import type { RepositoryRow } from "../database/schema.js";
import { isLakefsRepositoryName, kohakuHubName } from "../lakefs/repository-names.js";
import { faultFacts, type Log } from "../observe/log.js";
import type { Collected } from "../odb/collect.js";
import type { ObjectServices } from "../odb/manifest-objects.js";
import type { Amount } from "../store/store.js";
import { type Conceal, concealed, concealing } from "./conceal.js";
import type { Repository } from "./conversation.js";
import { LakefsRows } from "./lakefs-rows.js";
import type { Maintenance } from "./maintenance.js";
import { type Handle, type LakefsSettings, RepositoryHandles } from "./repository-handles.js";
import {
  candidatesOf,
  kindOf,
  lakefsName,
  ownerOf,
  type RepositoryName,
  storePrefix,
  titleOf,
  type TypedName,
} from "./repository-name.js";
import { RepositoryRemoval } from "./repository-removal.js";
import { isComputed, type RepositoryTable } from "./repository-table.js";
import { RepositoryUpkeep } from "./repository-upkeep.js";

export type { LakefsSettings, Naming } from "./repository-handles.js";

/** What a name leads to. */
interface Found {
  readonly name: TypedName;
  /** Row of what is there: of a second name of a lakeFS repository, that of the repository itself. */
  readonly row: RepositoryRow;
  /**
   * Row of the name that was asked for, which has the rights; undefined: nothing is noted of it, as of a name that a hub's rule
   * computes.
   */
  readonly named: RepositoryRow | undefined;
  readonly handle: Handle;
  /** Of the one who asks. */
  readonly role: Role;
}

/** What the one who asks may. What may not even be read is passed over as if it were not there, and nothing is looked up for it. */
export interface Asker {
  look(title: string): Promise<Look>;
  mayCreate(namespace: string | undefined): boolean;
  /** Undefined: sees all. */
  readonly viewer: Viewer | undefined;
}

export interface RepositoriesOptions {
  readonly services: ObjectServices;
  readonly table: RepositoryTable;
  readonly maintenance: Maintenance;
  /** Where HEAD points in a repository that has no branch yet. */
  readonly defaultBranch: string;
  /** A push to a name that does not exist makes the repository. */
  readonly createOnPush: boolean;
  /** How long nothing must have named a file, or a repository be set aside, before it is removed. */
  readonly gcGraceMs: number;
  readonly log: Log;
  /** Undefined: no lakeFS is set, and `lakefs/*` does not exist. */
  readonly lakefs?: LakefsSettings;
}

/** What is asked for, and how sure it must be. */
interface Asked {
  readonly toPush: boolean;
  readonly asker: Asker;
  readonly signal: AbortSignal;
}

export class Repositories {
  readonly #options: RepositoriesOptions;
  readonly #handles: RepositoryHandles;
  readonly #upkeep: RepositoryUpkeep;
  readonly #lakefsRows: LakefsRows | undefined;
  /** Rows of repositories that pushes under way will make, by title: those that come meanwhile make the same one. */
  readonly #pending = new LRUCache<string, RepositoryRow>({ max: LIMITS.repositoryHandlesMax });
  /** Whether lakeFS has a repository, for warnings. */
  readonly #looked = new LRUCache<string, boolean>({ max: LIMITS.repositoryHandlesMax, ttl: LIMITS.lakefsLookMs });
  readonly #mayAll: Asker;
  /** Deleting, forgetting, adopting. */
  readonly removal: RepositoryRemoval;

  constructor(options: RepositoriesOptions) {
    this.#options = options;
    const { lakefs, table, log, services } = options;
    const onChanged = (id: string) => this.#handles.drop(id);
    this.#lakefsRows =
      lakefs && new LakefsRows({ client: lakefs.client, table, log, onChanged, believedMs: lakefs.pollMs || LIMITS.lakefsPollMs });
    const confirm = async (repository: string, id: string, fresh: boolean, signal: AbortSignal) =>
      this.#lakefsRows?.confirm(repository, id, fresh, signal);
    this.#handles = new RepositoryHandles({ services, table, defaultBranch: options.defaultBranch, lakefs, confirm, log });
    this.removal = new RepositoryRemoval({ table, store: services.store, onSetAside: onChanged, log });
    this.#upkeep = new RepositoryUpkeep({ ...options, removal: this.removal });
    this.#mayAll = {
      look: async (title) => ({ row: await table.find(title), role: () => "admin" }),
      mayCreate: () => true,
      viewer: undefined,
    };
  }

  /**
   * Throws "repository/missing" where there is none for this asker (`toPush`: where none may be made), "repository/gone" where
   * it is gone in lakeFS, and with
   * `toPush` "repository/read-only" and "auth/forbidden".
   */
  async resolve(asked: RepositoryName, toPush: boolean, signal: AbortSignal, asker: Asker = this.#mayAll): Promise<Repository> {
    const how = { toPush, asker, signal };
    const there = await this.#find(asked, how);
    const { name, row, handle, role } = there ?? (await this.#toBeMade(asked, how));
    if (toPush && !includes(role, "write")) throw new Fault("auth/forbidden", { name: titleOf(name) });
    if (toPush && handle.lakefs !== undefined && this.#isHub()) throw new Fault("repository/read-only", { name: titleOf(name) });
    if (there !== undefined) this.#handles.use(row.id, handle);
    const notices = asked.type === "untyped" ? await this.#ambiguities(name, how) : [];
    const { refs, objects, lfs, lakefs, promised } = handle;
    const id = storePrefix(row.id);
    const conceal = row.lakefs === null ? undefined : await this.#conceal(name, row.lakefs, asker);
    const changed = () => this.#upkeep.plan(row.id, handle);
    const made =
      there === undefined ? { created: true, make: (visibility: Visibility) => this.#make(row, visibility) } : { created: false };
    return {
      id,
      type: name.type,
      title: titleOf(name),
      refs,
      objects,
      lfs,
      lakefs,
      promised,
      atomic: lakefs === undefined,
      conceal,
      notices,
      changed,
      ...made,
    };
  }

  /**
   * Makes an empty repository, or with `lakefs` another name of that lakeFS repository. A name without a type makes a model. Throws
   * "repository/exists", "repository/bad-name", "lakefs/unset", "lakefs/missing".
   */
  async create(asked: RepositoryName, lakefs: string | undefined, visibility: Visibility, signal: AbortSignal): Promise<TypedName> {
    const [name] = candidatesOf(asked) as [TypedName];
    if (name.type === "lakefs")
      throw new Fault("repository/bad-name", { name: titleOf(name), reason: "the names below lakefs/ are lakeFS's own" });
    const place = { title: titleOf(name), namespace: ownerOf(name), visibility } as const;
    const target = lakefs === undefined ? undefined : await this.#lakefsRow(lakefs, signal);
    const { table } = this.#options;
    if (target !== undefined) {
      await this.#clearMaking(place.title, signal);
      if (!(await table.insert(table.newRow({ ...place, state: "made", leadsTo: target.id }))))
        throw new Fault("repository/exists", { name: place.title });
      return name;
    }
    const begun = await table.find(place.title);
    const row = begun?.state === "making" ? begun : table.newRow(place);
    if (row === begun) await table.update(row.id, { visibility });
    else if (!(await table.insert(row))) throw new Fault("repository/exists", { name: place.title });
    await this.#handles.own(row).manifests.update((manifest) => {
      if (manifest.revision > 0) throw new Fault("repository/exists", { name: place.title });
      return manifest;
    }, signal);
    return name;
  }

  /** The row that has the rights of a name; one that a hub's rule computes gets one with `make`. Throws "repository/missing". */
  async rightsOf(
    asked: RepositoryName,
    make: boolean,
    signal: AbortSignal,
  ): Promise<{ readonly title: string; readonly row: RepositoryRow | undefined }> {
    const found = await this.#found(asked, signal);
    const title = titleOf(found.name);
    const { table } = this.#options;
    if (found.named !== undefined) return { title, row: await table.read(found.named.id) };
    if (!make) return { title, row: undefined };
    const row = table.newRow({ title, namespace: undefined, state: "made", leadsTo: found.row.id });
    return { title, row: (await table.insert(row)) ? row : await table.find(title) };
  }

  /** What a name leads to: the first of those it may mean that exists. */
  async #find(asked: RepositoryName, how: Asked): Promise<Found | undefined> {
    for (const name of candidatesOf(asked)) {
      const found = await this.#findTyped(name, how);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** What stands in our store under this very name comes before what the hub's rule computes. */
  async #findTyped(name: TypedName, how: Asked): Promise<Found | undefined> {
    const look = await how.asker.look(titleOf(name));
    if (name.type === "lakefs") return this.#findGiven(name, name.name, look, how);
    const role = look.role(ownerOf(name));
    if (role === undefined) return undefined; // a computed name is for fewer still
    const { row } = look;
    if (row === undefined || isComputed(row)) return this.#isHub() ? this.#findGiven(name, hubName(name), look, how) : undefined;
    return row.leads_to === null ? this.#findOwn(name, row, role, how) : this.#findBound(name, row, role, how);
  }

  /** One whose maker died behind the first manifest is made; before it, it is not there yet. */
  async #findOwn(name: TypedName, row: RepositoryRow, role: Role, { signal }: Asked): Promise<Found | undefined> {
    const handle = this.#handles.own(row);
    if (row.state === "making") {
      if (!(await handle.manifests.exists(signal))) return undefined;
      await this.#options.table.markMade(row.id);
    }
    return { name, row, named: row, handle, role };
  }

  /** Another name of a lakeFS repository. */
  async #findBound(name: TypedName, named: RepositoryRow, role: Role, how: Asked): Promise<Found | undefined> {
    const target = await this.#options.table.byId(named.leads_to as string);
    const row = target?.lakefs == null ? undefined : await this.#lakefsNow(name, target.lakefs, how);
    if (row === undefined) throw new Fault("repository/gone", { name: titleOf(name) });
    // Otherwise the name has just been set aside, with the repository it led to.
    return row.id === named.leads_to ? { name, row, named, role, handle: await this.#openLakefs(name, row, how) } : undefined;
  }

  /** By a name that lakeFS or a hub gave: it has no owner here. */
  async #findGiven(name: TypedName, repository: string, look: Look, how: Asked): Promise<Found | undefined> {
    if (look.role(undefined) === undefined) return undefined;
    const row = await this.#lakefsNow(name, repository, how);
    if (row === undefined && look.row !== undefined) throw new Fault("repository/gone", { name: titleOf(name) });
    if (row === undefined) return undefined;
    // Rights in the old repository are none in the one that has just taken its name.
    const isOld = look.row !== undefined && look.row.id !== row.id && look.row.leads_to !== row.id;
    const now = isOld ? await how.asker.look(titleOf(name)) : look;
    const role = now.role(undefined);
    if (role === undefined) return undefined;
    return { name, row, named: name.type === "lakefs" ? row : now.row, role, handle: await this.#openLakefs(name, row, how) };
  }

  /** The row that lakeFS's name leads to now; undefined: lakeFS has none, or is not set. */
  #lakefsNow(name: TypedName, repository: string, how: Asked): Promise<RepositoryRow | undefined> {
    const asked = async () => this.#lakefsRows?.current(repository, how.toPush, how.signal);
    return this.#concealing(name, repository, how, asked);
  }

  #openLakefs(name: TypedName, row: RepositoryRow, how: Asked): Promise<Handle> {
    return this.#concealing(name, row.lakefs ?? "", how, () => this.#handles.lakefs(row, how.signal));
  }

  /** Failures of `work` do not tell lakeFS's name to whom it is not for. */
  async #concealing<T>(name: TypedName, repository: string, { asker }: Asked, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw concealed(asFault(error), await this.#conceal(name, repository, asker));
    }
  }

  /** What lakeFS calls it is for those who may read it by that name. Undefined: there is nothing to hide. */
  async #conceal({ type }: TypedName, repository: string, asker: Asker): Promise<Conceal | undefined> {
    if (type === "lakefs") return undefined;
    const { role } = await asker.look(titleOf(lakefsName(repository)));
    return role(undefined) === undefined ? concealing(repository) : undefined;
  }

  /** Throws "repository/missing" unless a push may make it, "auth/forbidden" where its owner shows too weak a token. A hub makes its repositories itself. */
  async #toBeMade(asked: RepositoryName, { toPush, asker }: Asked): Promise<Found> {
    const [name] = candidatesOf(asked) as [TypedName];
    const missing = new Fault("repository/missing", { name: titleOf(asked) });
    if (!toPush || !this.#options.createOnPush || name.type === "lakefs" || this.#isHub()) throw missing;
    const [title, namespace] = [titleOf(name), ownerOf(name)];
    const look = await asker.look(title);
    const role = look.role(namespace);
    if (role === undefined) throw missing;
    if (!asker.mayCreate(namespace)) throw includes(role, "write") ? missing : new Fault("auth/forbidden", { name: title });
    const begun = look.row?.state === "making" ? look.row : undefined;
    const row = begun ?? this.#pending.get(title) ?? this.#options.table.newRow({ title, namespace });
    if (begun === undefined) this.#pending.set(title, row);
    return { name, row, named: row, handle: this.#handles.own(row), role };
  }

  /**
   * Notes a repository that a push makes, before anything of it is stored. Throws "store/conflict" where the name has gone to
   * another one meanwhile.
   */
  async #make(row: RepositoryRow, visibility: Visibility): Promise<void> {
    const { table } = this.#options;
    const title = row.title as string;
    if (!(await table.insert({ ...row, visibility })) && (await table.find(title))?.id !== row.id)
      throw new Fault("store/conflict", { name: title });
    this.#pending.delete(title);
  }

  /** Which other repositories a name without a type could have meant. */
  async #ambiguities(found: TypedName, how: Asked): Promise<string[]> {
    const candidates = candidatesOf({ ...found, type: "untyped" });
    const others = candidates.slice(candidates.findIndex(({ type }) => type === found.type) + 1);
    const also: TypedName[] = [];
    for (const other of others) if (await this.#isThere(other, how)) also.push(other);
    if (also.length === 0) return [];
    const urls = also.map((other) => `the ${kindOf(other.type)} is at /${titleOf(other)}.git`);
    return [
      `warning: ${found.namespace}/${found.name} is several repositories, and this is the ${kindOf(found.type)}; ${urls.join(", ")}`,
    ];
  }

  /** As `#findTyped`, for a warning: nothing is opened, and what lakeFS said some seconds ago will do. */
  async #isThere(name: TypedName, { asker, signal }: Asked): Promise<boolean> {
    const look = await asker.look(titleOf(name));
    if (look.role(ownerOf(name)) === undefined) return false;
    if (look.row !== undefined && !isComputed(look.row)) return look.row.state === "made";
    const { lakefs } = this.#options;
    if (lakefs === undefined || !this.#isHub() || look.role(undefined) === undefined) return false;
    const repository = hubName(name);
    const known = this.#looked.get(repository);
    if (known !== undefined) return known;
    const there = await lakefs.client.getRepository(repository, signal).then(() => true, missingIsFalse);
    this.#looked.set(repository, there);
    return there;
  }

  /** Throws "lakefs/unset", "lakefs/missing". */
  async #lakefsRow(repository: string, signal: AbortSignal): Promise<RepositoryRow> {
    if (this.#lakefsRows === undefined) throw new Fault("lakefs/unset", { repository });
    const row = isLakefsRepositoryName(repository) ? await this.#lakefsRows.current(repository, true, signal) : undefined;
    if (row === undefined) throw new Fault("lakefs/missing", { repository });
    return row;
  }

  /** Sets aside what a push has begun under a name and not yet made: the push is refused when it comes to move refs. */
  async #clearMaking(title: string, signal: AbortSignal): Promise<void> {
    const { table } = this.#options;
    const row = await table.find(title);
    if (row?.state !== "making" || (await this.#handles.own(row).manifests.exists(signal))) return;
    await table.setAside(row.id);
    this.#handles.drop(row.id);
  }

  #isHub(): boolean {
    return this.#options.lakefs?.naming === "kohakuhub";
  }

  /** Repositories behind the title `after` that the asker may read, by title: the first `count`. */
  list(after: string, count: number, asker: Asker = this.#mayAll): Promise<ListedRow[]> {
    return this.#options.table.list(after, count, asker.viewer);
  }

  /** The pool has so many threads now. */
  resized(threads: number): void {
    this.#handles.resized(threads);
  }

  /** lakeFS has told of a change: the heads are read in the background, of a repository that nobody has asked for yet too. */
  lakefsChanged(repository: string): void {
    const { lakefs } = this.#options;
    if (lakefs === undefined || this.#handles.changed(repository)) return;
    const signal = AbortSignal.timeout(LIMITS.lakefsCallMs);
    this.resolve(lakefsName(repository), false, signal).then(
      () => this.#handles.changed(repository),
      (error: unknown) =>
        lakefs.log.warn("a webhook's repository could not be opened", { repository, ...faultFacts(asFault(error)) }),
    );
  }

  /** Ends what runs in the background. */
  close(): Promise<void> {
    return this.#handles.close();
  }

  /** Removes what nothing names for longer than the grace period. Throws "repository/missing". */
  async collect(asked: RepositoryName, graceMs: number, signal: AbortSignal): Promise<Collected> {
    const { row, handle } = await this.#found(asked, signal);
    return this.#upkeep.collect(row.id, handle, graceMs, signal);
  }

  /** Removes repositories that were set aside longer than the grace period ago. */
  collectSetAside(graceMs: number, signal: AbortSignal): Promise<{ readonly repositories: number; readonly removed: Amount }> {
    return this.removal.collect(graceMs, signal);
  }

  /** For who may see all. Throws "repository/missing". */
  async #found(asked: RepositoryName, signal: AbortSignal): Promise<Found> {
    const found = await this.#find(asked, { toPush: false, asker: this.#mayAll, signal });
    if (found === undefined) throw new Fault("repository/missing", { name: titleOf(asked) });
    return found;
  }
}

function hubName({ type, namespace, name }: TypedName): string {
  const kind = kindOf(type);
  if (kind === "lakefs") throw new Fault("base/internal", { reason: "a name of lakeFS's own is not computed" });
  return kohakuHubName(kind, `${namespace}/${name}`);
}

function missingIsFalse(error: unknown): false {
  if (error instanceof Fault && error.code === "lakefs/missing") return false;
  throw error;
}
