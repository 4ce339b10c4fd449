/** Makes repositories: by a command, or by the first push to a name. */
import { LRUCache } from "lru-cache";
import { roleIncludes } from "../../auth/caller.js";
import type { Visibility } from "../../auth/permissions.js";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { RepositoryRow } from "../../database/schema.js";
import {
  candidatesOf,
  ownerOf,
  type RepositoryName,
  titleOf,
  type TypedName,
} from "../conversation/repository-name.js";
import type { Asked, Asker, Found } from "./find.js";
import type { RepositoryHandles } from "./handles.js";
import { lakefsRow, type LakefsRows } from "./lakefs-rows.js";
import { isComputed, type RepositoryTable } from "./table.js";

export interface MakerOptions {
  readonly table: RepositoryTable;
  readonly handles: RepositoryHandles;
  /** Undefined: no lakeFS is set. */
  readonly lakefsRows: LakefsRows | undefined;
  /**
   * True if a push to a name that does not exist makes the repository. A hub makes its repositories
   * itself.
   */
  readonly createOnPush: boolean;
  /** Repositories of one namespace; 0: any number. */
  readonly perNamespaceMax: number;
}

export class RepositoryMaker {
  readonly #options: MakerOptions;
  /**
   * Rows of repositories that pushes under way will make, by title: those that come meanwhile make
   * the same one.
   */
  readonly #pending = new LRUCache<string, RepositoryRow>({ max: LIMITS.repositoryHandlesMax });

  constructor(options: MakerOptions) {
    this.#options = options;
  }

  /**
   * Makes an empty repository, or with `lakefs` another name of that lakeFS repository. A name
   * without a type makes a model. Throws "repository/exists", "repository/bad-name",
   * "repository/too-many", "lakefs/unset", "lakefs/missing".
   */
  async create(
    asked: RepositoryName,
    lakefs: string | undefined,
    visibility: Visibility,
    signal: AbortSignal,
  ): Promise<TypedName> {
    const [name] = candidatesOf(asked) as [TypedName];
    if (name.type === "lakefs")
      throw new Fault("repository/bad-name", {
        name: titleOf(name),
        reason: "the names below lakefs/ are lakeFS's own",
      });
    const place = { title: titleOf(name), namespace: ownerOf(name), visibility } as const;
    const target =
      lakefs === undefined ? undefined : await lakefsRow(this.#options.lakefsRows, lakefs, signal);
    const { table } = this.#options;
    if (target !== undefined) {
      await this.#clearMaking(place.title, signal);
      await this.#insert(table.newRow({ ...place, state: "made", leadsTo: target.id }));
      return name;
    }
    const begun = await table.find(place.title);
    const row = begun?.state === "making" ? begun : table.newRow(place);
    if (row === begun) await table.update(row.id, { visibility });
    else await this.#insert(row);
    await this.#options.handles.own(row).manifests.update((manifest) => {
      if (manifest.revision > 0) throw new Fault("repository/exists", { name: place.title });
      return manifest;
    }, signal);
    return name;
  }

  /**
   * Throws "repository/missing" unless a push may make it, "auth/forbidden" where its owner shows
   * too weak a token.
   */
  async toBeMade(asked: RepositoryName, { toPush, asker }: Asked): Promise<Found> {
    const [name] = candidatesOf(asked) as [TypedName];
    const missing = new Fault("repository/missing", { name: titleOf(asked) });
    if (!toPush || !this.#options.createOnPush || name.type === "lakefs") throw missing;
    const [title, namespace] = [titleOf(name), ownerOf(name)];
    const look = await asker.look(title);
    const role = look.role(namespace);
    if (role === undefined) throw missing;
    // Who makes it may be done since it was not found: then it is that one, and no second.
    const begun = look.row?.leads_to === null ? look.row : undefined;
    if (begun?.state !== "made" && !asker.mayCreate(namespace))
      throw roleIncludes(role, "write") ? missing : new Fault("auth/forbidden", { name: title });
    const row =
      begun ?? this.#pending.get(title) ?? this.#options.table.newRow({ title, namespace });
    if (begun === undefined) this.#pending.set(title, row);
    return { name, row, named: row, handle: this.#options.handles.own(row), role };
  }

  /**
   * Notes a repository that a push makes, before anything of it is stored. Returns the row that has
   * the name now: this one, or that of another node whose push came first. Throws
   * "repository/too-many", "store/conflict".
   */
  async make(row: RepositoryRow, visibility: Visibility, asker: Asker): Promise<RepositoryRow> {
    const title = row.title as string;
    const there = await this.#options.table.find(title);
    const made = there?.id === row.id ? row : await this.#firstOf({ ...row, visibility }, asker);
    this.#pending.delete(title);
    return made;
  }

  /** Stores a row unless its title leads to another one. Returns the one that it leads to. */
  async #firstOf(row: RepositoryRow, { isAdministrator = false }: Asker): Promise<RepositoryRow> {
    const { table, perNamespaceMax } = this.#options;
    const title = row.title as string;
    const outcome = await table.insertWithin(row, isAdministrator ? 0 : perNamespaceMax);
    if (outcome === "inserted") return row;
    // Before it is one too many: who came first may have taken the last place for this very name.
    const first = await table.find(title);
    if (first !== undefined && !isComputed(first)) return first;
    if (typeof outcome === "number") throw this.#tooMany(row, outcome);
    throw new Fault("store/conflict", { name: title });
  }

  /**
   * Sets aside what a push has begun under a name and not yet made: the push is refused when it
   * comes to move refs.
   */
  async #clearMaking(title: string, signal: AbortSignal): Promise<void> {
    const { table } = this.#options;
    const row = await table.find(title);
    if (row?.state !== "making" || (await this.#options.handles.own(row).manifests.exists(signal)))
      return;
    await table.setAside(row.id);
    this.#options.handles.drop(row.id);
  }

  /** Throws "repository/exists", "repository/too-many". */
  async #insert(row: RepositoryRow): Promise<void> {
    const { table, perNamespaceMax } = this.#options;
    const outcome = await table.insertWithin(row, perNamespaceMax);
    if (outcome === "taken") throw new Fault("repository/exists", { name: row.title ?? row.id });
    if (typeof outcome === "number") throw this.#tooMany(row, outcome);
  }

  #tooMany({ namespace }: RepositoryRow, repositories: number): Fault {
    const { perNamespaceMax: max } = this.#options;
    return new Fault("repository/too-many", {
      namespace: namespace ?? "",
      repositories,
      repositories_per_user: max,
    });
  }
}
