/** From a name to the repository that it leads to for whoever asks. */
import { LRUCache } from "lru-cache";
import type { Role } from "../../auth/caller.js";
import type { Look } from "../../auth/permissions.js";
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { Viewer } from "../../database/repositories.js";
import type { RepositoryRow } from "../../database/schema.js";
import { kohakuHubName } from "../../lakefs/rules/hub-names.js";
import { type Conceal, concealed, concealing } from "../conversation/conceal.js";
import type { LakefsRows } from "./lakefs-rows.js";
import type { Handle, LakefsSettings, RepositoryHandles } from "./handles.js";
import {
  candidatesOf,
  kindOf,
  lakefsName,
  ownerOf,
  type RepositoryName,
  titleOf,
  type TypedName,
} from "../conversation/repository-name.js";
import { isComputed, type RepositoryTable } from "./table.js";

/** The repository that a name leads to. */
export interface Found {
  readonly name: TypedName;
  /**
   * Row of what is there: of a second name of a lakeFS repository, that of the repository itself.
   */
  readonly row: RepositoryRow;
  /**
   * Row of the name that was asked for, which has the rights; undefined: nothing is noted of it, as
   * of a name that a hub's rule computes.
   */
  readonly named: RepositoryRow | undefined;
  readonly handle: Handle;
  /** Role of the caller. */
  readonly role: Role;
}

/**
 * Rights of the caller. A repository that may not even be read is passed over as if it were not
 * there, and nothing is looked up for it.
 */
export interface Asker {
  look(title: string): Promise<Look>;
  mayCreate(namespace: string | undefined): boolean;
  /** Makes repositories wherever there are as many as may be. Absent: no. */
  readonly isAdministrator?: boolean;
  /** Undefined: sees all. */
  readonly viewer: Viewer | undefined;
}

/** The question, and how sure its answer must be. */
export interface Asked {
  readonly toPush: boolean;
  readonly asker: Asker;
  readonly signal: AbortSignal;
}

export interface FinderOptions {
  readonly table: RepositoryTable;
  readonly handles: RepositoryHandles;
  /** Undefined: no lakeFS is set. */
  readonly lakefs: LakefsSettings | undefined;
  readonly lakefsRows: LakefsRows | undefined;
}

export class RepositoryFinder {
  readonly #options: FinderOptions;
  /** Answers of lakeFS about the existence of repositories, for warnings. */
  readonly #looked = new LRUCache<string, boolean>({
    max: LIMITS.repositoryHandlesMax,
    ttl: LIMITS.lakefsLookMs,
  });

  constructor(options: FinderOptions) {
    this.#options = options;
  }

  /** lakeFS's repositories are a KohakuHub's, and have its names. */
  get isHub(): boolean {
    return this.#options.lakefs?.naming === "kohakuhub";
  }

  /** Finds what a name leads to: the first of those it may mean that exists. */
  async find(asked: RepositoryName, how: Asked): Promise<Found | undefined> {
    for (const name of candidatesOf(asked)) {
      const found = await this.#findTyped(name, how);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * Finds a name with a type: a repository of our store under this very name comes before what the
   * hub's rule computes.
   */
  async #findTyped(name: TypedName, how: Asked): Promise<Found | undefined> {
    const look = await how.asker.look(titleOf(name));
    if (name.type === "lakefs") return this.#findGiven(name, name.name, look, how);
    const role = look.role(ownerOf(name));
    if (role === undefined) return undefined; // a computed name is for fewer still
    const { row } = look;
    if (row === undefined || isComputed(row))
      return this.isHub ? this.#findGiven(name, hubName(name), look, how) : undefined;
    return row.leads_to === null
      ? this.#findOwn(name, row, role, how)
      : this.#findBound(name, row, role, how);
  }

  /** One whose maker died behind the first manifest is made; before it, it is not there yet. */
  async #findOwn(
    name: TypedName,
    row: RepositoryRow,
    role: Role,
    { signal }: Asked,
  ): Promise<Found | undefined> {
    const handle = this.#options.handles.own(row);
    if (row.state === "making") {
      if (!(await handle.manifests.exists(signal))) return undefined;
      await this.#options.table.markMade(row.id);
    }
    return { name, row, named: row, handle, role };
  }

  /** Another name of a lakeFS repository. */
  async #findBound(
    name: TypedName,
    named: RepositoryRow,
    role: Role,
    how: Asked,
  ): Promise<Found | undefined> {
    const target = await this.#options.table.byId(named.leads_to as string);
    const row =
      target?.lakefs == null ? undefined : await this.#lakefsNow(name, target.lakefs, how);
    if (row === undefined) throw new Fault("repository/gone", { name: titleOf(name) });
    // Otherwise the name has just been set aside, with the repository it led to.
    return row.id === named.leads_to
      ? { name, row, named, role, handle: await this.#openLakefs(name, row, how) }
      : undefined;
  }

  /** By a name that lakeFS or a hub gave: it has no owner here. */
  async #findGiven(
    name: TypedName,
    repository: string,
    look: Look,
    how: Asked,
  ): Promise<Found | undefined> {
    if (look.role(undefined) === undefined) return undefined;
    const row = await this.#lakefsNow(name, repository, how);
    if (row === undefined && look.row !== undefined)
      throw new Fault("repository/gone", { name: titleOf(name) });
    if (row === undefined) return undefined;
    // Rights in the old repository are none in the one that has just taken its name.
    const isOld = look.row !== undefined && look.row.id !== row.id && look.row.leads_to !== row.id;
    const now = isOld ? await how.asker.look(titleOf(name)) : look;
    const role = now.role(undefined);
    if (role === undefined) return undefined;
    return {
      name,
      row,
      named: name.type === "lakefs" ? row : now.row,
      role,
      handle: await this.#openLakefs(name, row, how),
    };
  }

  /** The row that lakeFS's name leads to now; undefined: lakeFS has none, or is not set. */
  #lakefsNow(name: TypedName, repository: string, how: Asked): Promise<RepositoryRow | undefined> {
    const asked = async () => this.#options.lakefsRows?.current(repository, how.toPush, how.signal);
    return this.#concealing(name, repository, how, asked);
  }

  #openLakefs(name: TypedName, row: RepositoryRow, how: Asked): Promise<Handle> {
    return this.#concealing(name, row.lakefs ?? "", how, () =>
      this.#options.handles.lakefs(row, how.signal),
    );
  }

  /** Failures of `work` do not tell lakeFS's name to whom it is not for. */
  async #concealing<T>(
    name: TypedName,
    repository: string,
    { asker }: Asked,
    work: () => Promise<T>,
  ): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw concealed(asFault(error), await this.conceal(name, repository, asker));
    }
  }

  /**
   * Returns how to conceal lakeFS's name from callers who may not read it by that name. Undefined:
   * there is nothing to hide.
   */
  async conceal(
    { type }: TypedName,
    repository: string,
    asker: Asker,
  ): Promise<Conceal | undefined> {
    if (type === "lakefs") return undefined;
    const { role } = await asker.look(titleOf(lakefsName(repository)));
    return role(undefined) === undefined ? concealing(repository) : undefined;
  }

  /** Returns the other repositories that a name without a type could have meant. */
  async ambiguities(found: TypedName, how: Asked): Promise<string[]> {
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

  /**
   * As `#findTyped`, for a warning: nothing is opened, and what lakeFS said some seconds ago will
   * do.
   */
  async #isThere(name: TypedName, { asker, signal }: Asked): Promise<boolean> {
    const look = await asker.look(titleOf(name));
    if (look.role(ownerOf(name)) === undefined) return false;
    if (look.row !== undefined && !isComputed(look.row)) return look.row.state === "made";
    const { lakefs } = this.#options;
    if (lakefs === undefined || !this.isHub || look.role(undefined) === undefined) return false;
    const repository = hubName(name);
    const known = this.#looked.get(repository);
    if (known !== undefined) return known;
    const there = (await lakefs.client.findRepository(repository, signal)) !== undefined;
    this.#looked.set(repository, there);
    return there;
  }
}

function hubName({ type, namespace, name }: TypedName): string {
  const kind = kindOf(type);
  if (kind === "lakefs")
    throw new Fault("base/internal", { reason: "a name of lakeFS's own is not computed" });
  return kohakuHubName(kind, `${namespace}/${name}`);
}
