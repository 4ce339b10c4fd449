/**
 * Answers conversations and commands about repositories: a face over the parts that find (find.ts),
 * make (make.ts), keep open (handles.ts), list (table.ts), remove (removal.ts) and look after them
 * (upkeep.ts).
 */
import { roleIncludes } from "../../auth/caller.js";
import type { Visibility } from "../../auth/permissions.js";
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { Database } from "../../database/database.js";
import type { ListedRow } from "../../database/repositories.js";
import type { RepositoryRow } from "../../database/schema.js";
import { repairNotedMapping } from "../../lakefs/repository.js";
import { relinkObjects } from "../../lfs/relink.js";
import { faultFacts, type Log } from "../../observe/log.js";
import type { Collected } from "../../odb/manifest/collect.js";
import { toHandles } from "../../odb/packs/handle.js";
import type { ObjectServices } from "../../odb/manifest/objects.js";
import type { Amount } from "../../store/store.js";
import type { Repository, RepositoryBundles } from "../conversation/conversation.js";
import { lakefsRow, LakefsRows } from "./lakefs-rows.js";
import { RepositoryMaker } from "./make.js";
import type { Maintenance } from "./maintenance.js";
import { type Asker, type Found, RepositoryFinder } from "./find.js";
import { type Handle, type LakefsSettings, RepositoryHandles } from "./handles.js";
import {
  lakefsName,
  type RepositoryName,
  storePrefix,
  titleOf,
  type TypedName,
} from "../conversation/repository-name.js";
import { RepositoryRemoval } from "./removal.js";
import {
  changeSettings,
  formatSettings,
  readSettingsOf,
  type SettingsChange,
} from "../conversation/repository-settings.js";
import type { RepositoryTable } from "./table.js";
import { RepositoryUpkeep, THOROUGHLY } from "./upkeep.js";

export type { Asker } from "./find.js";
export type { LakefsSettings, Naming } from "./handles.js";

export interface RepositoriesOptions {
  readonly services: ObjectServices;
  readonly table: RepositoryTable;
  readonly database: Database;
  readonly maintenance: Maintenance;
  /** Target of HEAD in a repository that has no branch yet. */
  readonly defaultBranch: string;
  /** A push to a name that does not exist makes the repository. */
  readonly createOnPush: boolean;
  /** Repositories of one namespace; 0 or absent: any number. */
  readonly perNamespaceMax?: number;
  /**
   * Milliseconds that nothing must have named a file, or a repository be set aside, before it is
   * removed.
   */
  readonly gcGraceMs: number;
  /** As ManifestLife's `freshMs`. Default: 0. */
  readonly manifestFreshMs?: number;
  readonly log: Log;
  /** Undefined: no lakeFS is set, and `lakefs/*` does not exist. */
  readonly lakefs?: LakefsSettings;
}

export class Repositories {
  readonly #options: RepositoriesOptions;
  readonly #handles: RepositoryHandles;
  readonly #finder: RepositoryFinder;
  readonly #maker: RepositoryMaker;
  readonly #upkeep: RepositoryUpkeep;
  readonly #lakefsRows: LakefsRows | undefined;
  readonly #mayAll: Asker;
  /** Deleting, forgetting, adopting. */
  readonly removal: RepositoryRemoval;

  constructor(options: RepositoriesOptions) {
    this.#options = options;
    const { lakefs, table, log, services } = options;
    const onChanged = (id: string) => this.#handles.drop(id);
    this.#lakefsRows =
      lakefs &&
      new LakefsRows({
        client: lakefs.client,
        table,
        log,
        onChanged,
        believedMs: lakefs.pollMs || LIMITS.lakefsPollMs,
        serveStale: lakefs.serveStale,
      });
    const confirm = async (repository: string, id: string, fresh: boolean, signal: AbortSignal) =>
      this.#lakefsRows?.confirm(repository, id, fresh, signal);
    const onRead = (id: string, handle: Handle) => this.#upkeep.planFold(id, handle);
    this.#handles = new RepositoryHandles({
      services,
      table,
      defaultBranch: options.defaultBranch,
      manifestFreshMs: options.manifestFreshMs ?? 0,
      lakefs,
      confirm,
      onRead,
      log,
    });
    const { createOnPush, perNamespaceMax = 0 } = options;
    const parts = { table, handles: this.#handles, lakefsRows: this.#lakefsRows };
    this.#finder = new RepositoryFinder({ ...parts, lakefs });
    this.#maker = new RepositoryMaker({
      ...parts,
      createOnPush: createOnPush && !this.#finder.isHub,
      perNamespaceMax,
    });
    this.removal = new RepositoryRemoval({
      table,
      store: services.store,
      database: options.database,
      relink: (row, signal) => this.#relink(row, signal),
      onSetAside: onChanged,
      log,
    });
    this.#upkeep = new RepositoryUpkeep({ ...options, removal: this.removal });
    this.#mayAll = {
      look: async (title) => ({ row: await table.find(title), role: () => "admin" }),
      mayCreate: () => true,
      viewer: undefined,
    };
  }

  /**
   * Throws "repository/missing" where there is none for this asker (`toPush`: where none may be
   * made), "repository/gone" where it is gone in lakeFS, and with `toPush` "repository/read-only"
   * and "auth/forbidden".
   */
  async resolve(
    asked: RepositoryName,
    toPush: boolean,
    signal: AbortSignal,
    asker: Asker = this.#mayAll,
  ): Promise<Repository> {
    const how = { toPush, asker, signal };
    const there = await this.#finder.find(asked, how);
    const { name, row, handle, role } = there ?? (await this.#maker.toBeMade(asked, how));
    if (toPush && !roleIncludes(role, "write"))
      throw new Fault("auth/forbidden", { name: titleOf(name) });
    if (toPush && handle.lakefs !== undefined && this.#finder.isHub)
      throw new Fault("repository/read-only", { name: titleOf(name) });
    if (there !== undefined) this.#handles.use(row.id, handle);
    const notices = asked.type === "untyped" ? await this.#finder.ambiguities(name, how) : [];
    const { refs, objects, lfs, lakefs, promised } = handle;
    const conceal =
      row.lakefs === null ? undefined : await this.#finder.conceal(name, row.lakefs, asker);
    const changed = () => this.#upkeep.plan(row.id, handle);
    const make = async (visibility: Visibility) => {
      const first = await this.#maker.make(row, visibility, asker);
      if (first.id === row.id) return repository;
      const other = await this.resolve(asked, toPush, signal, asker);
      if (other.id === first.id) return other;
      throw new Fault("store/conflict", { name: titleOf(name) });
    };
    const repository: Repository = {
      id: row.id,
      type: name.type,
      title: titleOf(name),
      role,
      settings: async () => readSettingsOf(await this.#options.table.byId(row.id)),
      refs,
      objects,
      lfs,
      lakefs,
      promised,
      bundles: this.#bundlesOf(row.id, handle),
      atomic: lakefs === undefined,
      conceal,
      notices,
      changed,
      created: there === undefined,
      ...(there === undefined ? { make } : {}),
    };
    return repository;
  }

  /**
   * The row that has the rights of a name; one that a hub's rule computes gets one with `make`.
   * Throws "repository/missing".
   */
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

  /**
   * Sets what a repository has in place of the server's settings. Throws "repository/bad-setting",
   * "repository/missing".
   */
  async changeSettings({ id, title }: Repository, change: SettingsChange): Promise<void> {
    const apply = (before: string | null) =>
      formatSettings(changeSettings(readSettingsOf({ settings: before }), change));
    if (!(await this.#options.table.changeSettings(id, apply)))
      throw new Fault("repository/missing", { name: title });
  }

  /** The row of what is there, as the database has it now. Throws "repository/missing". */
  async rowOf({ id, title }: Repository): Promise<RepositoryRow> {
    const row = await this.#options.table.read(id);
    if (row === undefined) throw new Fault("repository/missing", { name: title });
    return row;
  }

  /**
   * Puts back into lakeFS the mapping that this server has read a repository of it by. Throws
   * "lakefs/unset", "lakefs/missing", "lakefs/unmapped".
   */
  async repairMapping(
    repository: string,
    signal: AbortSignal,
  ): Promise<{ readonly mapping: string; readonly commit: string | undefined }> {
    const row = await lakefsRow(this.#lakefsRows, repository, signal);
    const { lakefs, services } = this.#options;
    return repairNotedMapping(
      (lakefs as LakefsSettings).client.in(repository),
      services.store,
      storePrefix(row),
      signal,
    );
  }

  /** Repositories behind the title `after` that the asker may read, by title: the first `count`. */
  list(after: string, count: number, asker: Asker = this.#mayAll): Promise<ListedRow[]> {
    return this.#options.table.list(after, count, asker.viewer);
  }

  /** The pool has so many threads now. */
  resized(threads: number): void {
    this.#handles.resized(threads);
  }

  /**
   * lakeFS has told of a change: the heads are read in the background, of a repository that nobody
   * has asked for yet too.
   */
  lakefsChanged(repository: string): void {
    const { lakefs } = this.#options;
    if (lakefs === undefined || this.#handles.changed(repository)) return;
    const signal = new AbortController().signal;
    this.resolve(lakefsName(repository), false, signal).then(
      () => this.#handles.changed(repository),
      (error: unknown) =>
        lakefs.log.warn("a webhook's repository could not be opened", {
          repository,
          ...faultFacts(asFault(error)),
        }),
    );
  }

  /** As RepositoryMaker.create. */
  create(
    asked: RepositoryName,
    lakefs: string | undefined,
    visibility: Visibility,
    signal: AbortSignal,
  ): Promise<TypedName> {
    return this.#maker.create(asked, lakefs, visibility, signal);
  }

  /** Ends what runs in the background. */
  close(): Promise<void> {
    return this.#handles.close();
  }

  /**
   * Removes what nothing names for longer than the grace period; packs made from lakeFS are folded
   * before, however few. Throws "repository/missing".
   */
  async collect(asked: RepositoryName, graceMs: number, signal: AbortSignal): Promise<Collected> {
    const { row, handle } = await this.#found(asked, signal);
    // In turn: without a grace period what maintenance is writing would be taken for a leaving.
    return this.#options.maintenance.inTurn(row.id, async () => {
      await handle.fold?.(THOROUGHLY, signal);
      return this.#upkeep.collect(handle, graceMs, signal);
    });
  }

  /**
   * Removes repositories that were set aside longer than the grace period ago, and LFS objects that
   * nothing leads to.
   */
  async collectSetAside(
    graceMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly repositories: number; readonly removed: Amount }> {
    await this.removal.dropStrays(graceMs, signal);
    return this.removal.collect(graceMs, signal);
  }

  async #relink(row: RepositoryRow, signal: AbortSignal): Promise<number> {
    const { services, database } = this.#options;
    const { packs } = await this.#handles.own(row).objects.packs(signal);
    return relinkObjects({ ...services, database }, row.id, toHandles(packs), signal);
  }

  #bundlesOf(id: string, { bundles }: Handle): RepositoryBundles | undefined {
    return (
      bundles && {
        list: (signal) => bundles.list(signal),
        sound: (lines, signal) => bundles.sound(lines, signal),
        add: (draft, lists, signal) => bundles.add(draft, lists, signal),
        read: (line, range, signal) => bundles.read(line, range, signal),
        isThere: async () => (await this.#options.table.byId(id))?.state === "made",
      }
    );
  }

  /** For who may see all. Throws "repository/missing". */
  async #found(asked: RepositoryName, signal: AbortSignal): Promise<Found> {
    const found = await this.#finder.find(asked, { toPush: false, asker: this.#mayAll, signal });
    if (found === undefined) throw new Fault("repository/missing", { name: titleOf(asked) });
    return found;
  }
}
