/**
 * Removes repositories. A row is set aside first: its name is free at once, for a repository with
 * another id, and nothing leads to it any more. Its files go after the grace, when whoever had
 * begun to read is done; the row last, so that a crash in between is made good by the next look.
 */
import { asFault, Fault } from "../../base/fault.js";
import { checkAborted } from "../../base/flow.js";
import type { RepositoryRow } from "../../database/schema.js";
import type { Database } from "../../database/database.js";
import { deleteDropped, dropStrays, removeLinks } from "../../lfs/remove-links.js";
import { faultFacts, type Log } from "../../observe/log.js";
import { MANIFEST_NAME, ManifestStore } from "../../odb/manifest/store.js";
import { checkKey } from "../../store/key.js";
import type { Amount, Store } from "../../store/store.js";
import {
  badName,
  candidatesOf,
  ownerOf,
  readRepositoryName,
  type RepositoryName,
  REPOSITORIES_FOLDER,
  storePrefix,
  titleOf,
  type TypedName,
} from "../conversation/repository-name.js";
import type { RepositoryTable } from "./table.js";
import { storedRepositories } from "./stored.js";

export interface RemovalOptions {
  readonly table: RepositoryTable;
  readonly store: Store;
  readonly database: Database;
  /** Links a repository to the LFS objects that its pointers name, and returns how many. */
  readonly relink: (row: RepositoryRow, signal: AbortSignal) => Promise<number>;
  /** Whoever has it open lets go of it. */
  readonly onSetAside: (id: string) => void;
  readonly log: Log;
}

/** The outcome of a set-aside repository. */
export interface Adopted {
  readonly name: string;
  /**
   * "restored": it has its name again. "inherited": the one that has its name now got its
   * visibility, grants and other names. "taken in": it lay in the store, and no name led to it.
   */
  readonly outcome: "restored" | "inherited" | "taken in";
  /** Other names that lead to it again. */
  readonly names: readonly string[];
  /** Other names that lead elsewhere by now, and stay there. */
  readonly taken: readonly string[];
}

/** A repository of the store that no name led to. */
export interface Recovered {
  readonly id: string;
  /** Its name by its manifest; null: nothing that can be read. */
  readonly name: string | null;
  /** Reason why it has no name still; null: it has that one again. */
  readonly reason: string | null;
  /** Number of its LFS objects; null: they could not be found out, and the log says why. */
  readonly lfsObjects: number | null;
}

export class RepositoryRemoval {
  readonly #options: RemovalOptions;

  constructor(options: RemovalOptions) {
    this.#options = options;
  }

  /**
   * Sets aside what a name leads to; of a second name, only the name. Whether lakeFS answers makes
   * no difference. Throws "repository/missing".
   */
  async setAside(asked: RepositoryName): Promise<string> {
    const { table, onSetAside, log } = this.#options;
    for (const name of candidatesOf(asked)) {
      const row = await table.find(titleOf(name));
      if (row === undefined) continue;
      await table.setAside(row.id);
      onSetAside(row.id);
      log.info("a repository is set aside", { name: titleOf(name), id: row.id });
      return titleOf(name);
    }
    throw new Fault("repository/missing", { name: titleOf(asked) });
  }

  /**
   * Removes all that had this name and are set aside, at once. Throws "repository/not-set-aside".
   */
  async forget(
    asked: RepositoryName,
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly repositories: number; readonly removed: Amount }> {
    const { title, rows } = await this.#former(asked);
    return { name: title, repositories: rows.length, removed: await this.#remove(rows, 0, signal) };
  }

  /**
   * Removes those set aside longer than `graceMs` ago, and LFS objects dropped longer ago.
   */
  async collect(
    graceMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly repositories: number; readonly removed: Amount }> {
    const rows = await this.#options.table.setAsideBefore(Date.now() - graceMs);
    const removed = await this.#remove(rows, graceMs, signal);
    return {
      repositories: rows.length,
      removed: sum(removed, await deleteDropped(this.#options, graceMs, signal)),
    };
  }

  /**
   * Drops LFS objects that nothing leads to, which `collect` then removes. Looks through the whole
   * store; where that has repositories that no row stands for, a database was lost, and every
   * object may be one of theirs: all stay.
   */
  async dropStrays(graceMs: number, signal: AbortSignal): Promise<void> {
    const { table, store, log } = this.#options;
    const known = new Set((await table.all()).map(({ id }) => id));
    const stored = await storedRepositories(store, signal);
    const unnamed = stored.find(({ id, hasManifest }) => hasManifest && !known.has(id));
    if (unnamed === undefined) return dropStrays(this.#options, graceMs, signal);
    log.warn("LFS objects that nothing leads to stay: a repository has lost its row", {
      repository: unnamed.id,
      advice: "lakepack repo recover",
    });
  }

  /**
   * Gives the one that was set aside last its name again, or where that leads to another one by
   * now, gives that one its visibility, grants and other names. Throws "repository/not-set-aside",
   * "repository/gone" where a second name's repository is gone.
   */
  async adopt(asked: RepositoryName, signal: AbortSignal): Promise<Adopted> {
    const { table } = this.#options;
    const { title, rows } = await this.#former(asked);
    const [old] = rows as [RepositoryRow];
    const heir = await table.find(title);
    if (heir !== undefined) {
      await table.inheritRights(old, heir.id);
      return { name: title, outcome: "inherited", ...(await this.#adoptNames(old.id, heir.id)) };
    }
    await table.restore(
      old,
      old.leads_to === null
        ? { state: await this.#stateOf(old, signal) }
        : { state: "made", leads_to: await this.#targetOf(old) },
    );
    return { name: title, outcome: "restored", ...(await this.#adoptNames(old.id, old.id)) };
  }

  /**
   * Gives repositories of the store that no row stands for the names that their manifests hint at,
   * private: where the database was lost. Those that came from lakeFS stay without: nothing tells
   * whether lakeFS still means the same ones, and it has all that is in them but refs beyond
   * branches and tags.
   */
  async recover(signal: AbortSignal): Promise<readonly Recovered[]> {
    const { table, store } = this.#options;
    const known = new Set((await table.all()).map(({ id }) => id));
    const recovered: Recovered[] = [];
    for (const { id } of await storedRepositories(store, signal)) {
      if (!known.has(id)) recovered.push(await this.#recoverOne(id, signal));
    }
    return recovered;
  }

  async #recoverOne(id: string, signal: AbortSignal): Promise<Recovered> {
    const { table, store } = this.#options;
    const failed = (name: string | null, reason: string) => ({ id, name, reason, lfsObjects: 0 });
    const manifest = await new ManifestStore(
      store,
      `${REPOSITORIES_FOLDER}${id}`,
      "refs/heads/main",
      {
        isMade: true,
      },
    )
      .read(signal)
      .catch(asFault);
    if (manifest instanceof Fault) return failed(null, manifest.message);
    const name = manifest.name ?? null;
    const typed = name === null ? undefined : readableName(name);
    if (name === null || typed === undefined) return failed(name, "its manifest tells no name");
    if (typed.type === "lakefs")
      return failed(name, "it came from lakeFS, and is read again from there");
    const made = table.newRow({ title: name, namespace: ownerOf(typed), state: "made" });
    const row = { ...made, id, prefix: null };
    const lfsObjects = await this.#relink(row, signal); // before anybody can know that it is back
    return (await table.insert(row))
      ? { id, name, reason: null, lfsObjects }
      : failed(name, "another repository has this name");
  }

  /**
   * Takes in a repository that lies in the store below `prefix` and stands in no row, private,
   * under a name that is free. Throws "store/bad-key", "manifest/damaged", "repository/exists".
   */
  async takeIn(prefix: string, asked: RepositoryName, signal: AbortSignal): Promise<string> {
    const { table, store, log } = this.#options;
    const place = checkKey(prefix.replace(/\/+$/, ""));
    const [name] = candidatesOf(asked) as [TypedName];
    const title = titleOf(name);
    if (name.type === "lakefs") throw badName(title, "it is lakeFS's, and is read from there");
    await new ManifestStore(store, place, "refs/heads/main", { isMade: true }).read(signal);
    const holder = (await table.all()).find((row) => storePrefix(row) === place);
    if (holder !== undefined)
      throw new Fault("repository/exists", { name: holder.title ?? holder.former_title ?? place });
    const made = table.newRow({ title, namespace: ownerOf(name), state: "made" });
    const row = { ...made, prefix: place };
    await this.#relink(row, signal);
    if (!(await table.insert(row))) throw new Fault("repository/exists", { name: title });
    log.info("a repository of the store is taken in", { name: title, prefix: place });
    return title;
  }

  async #relink(row: RepositoryRow, signal: AbortSignal): Promise<number | null> {
    const { relink, log } = this.#options;
    try {
      return await relink(row, signal);
    } catch (error) {
      checkAborted(signal);
      const facts = faultFacts(asFault(error));
      log.warn("LFS objects of a recovered repository are not linked", { id: row.id, ...facts });
      return null;
    }
  }

  async #adoptNames(from: string, to: string): Promise<Pick<Adopted, "names" | "taken">> {
    const names: string[] = [];
    const taken: string[] = [];
    for (const row of await this.#options.table.formerNamesOf(from)) {
      const given = await this.#options.table.restore(row, { state: "made", leads_to: to });
      (given ? names : taken).push(row.former_title ?? row.id);
    }
    return { names, taken };
  }

  async #stateOf(row: RepositoryRow, signal: AbortSignal): Promise<RepositoryRow["state"]> {
    return (await this.#options.store.size(`${storePrefix(row)}/${MANIFEST_NAME}`, signal)) ===
      undefined
      ? "making"
      : "made";
  }

  /**
   * Returns the target of a second name: the repository it led to, or the one that has its name
   * now. Throws "repository/gone".
   */
  async #targetOf({ leads_to: id, former_title: name }: RepositoryRow): Promise<string> {
    const { table } = this.#options;
    const target = await table.byId(id as string);
    const now =
      target?.title === null && target.former_title !== null
        ? await table.find(target.former_title)
        : target;
    if (now === undefined) throw new Fault("repository/gone", { name: name ?? undefined });
    return now.id;
  }

  async #former(
    asked: RepositoryName,
  ): Promise<{ readonly title: string; readonly rows: readonly RepositoryRow[] }> {
    for (const name of candidatesOf(asked)) {
      const rows = await this.#options.table.former(titleOf(name));
      if (rows.length > 0) return { title: titleOf(name), rows };
    }
    throw new Fault("repository/not-set-aside", { name: titleOf(asked) });
  }

  async #remove(
    rows: readonly RepositoryRow[],
    graceMs: number,
    signal: AbortSignal,
  ): Promise<Amount> {
    const { table, store, log } = this.#options;
    let removed: Amount = { files: 0, bytes: 0 };
    for (const row of rows.filter(({ leads_to: target }) => target === null)) {
      const objects = await removeLinks(this.#options, row.id, graceMs === 0, signal);
      const files = await store.deleteAll(`${storePrefix(row)}/`, signal);
      removed = sum(removed, sum(objects, files));
    }
    for (const { id } of rows) await table.remove(id);
    if (rows.length > 0)
      log.info("repositories that were set aside are removed", {
        repositories: rows.length,
        ...removed,
      });
    return removed;
  }
}

function sum(one: Amount, other: Amount): Amount {
  return { files: one.files + other.files, bytes: one.bytes + other.bytes };
}

/** Undefined: nothing can be called so. */
function readableName(text: string): TypedName | undefined {
  try {
    return candidatesOf(readRepositoryName(text))[0];
  } catch {
    return undefined; // said by the caller
  }
}
