/**
 * Names of repositories, and the ids they lead to. An id is made once and never used again; a name
 * that is set aside may be given to another id, which starts with no refs, no objects and no rights
 * of the one before.
 */
import { randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import { LIMITS } from "../../base/limits.js";
import type { Database } from "../../database/database.js";
import * as queries from "../../database/repositories.js";
import type { RepositoryRow } from "../../database/schema.js";
import {
  candidatesOf,
  fillTemplate,
  PREFIX_TEMPLATE,
  readRepositoryName,
  type TypedName,
} from "../conversation/repository-name.js";

const ID_BYTES = 16;
/**
 * Rows that a repository in use takes in memory: a name without a type is looked for as three, and
 * lakeFS's are found by id too. Each some 500 bytes.
 */
const ROWS_EACH = 4;

/** Facts of a new row. */
export interface NewRepository {
  readonly title: string;
  /** Undefined: nobody owns it. */
  readonly namespace: string | undefined;
  readonly visibility?: RepositoryRow["visibility"];
  readonly state?: RepositoryRow["state"];
  readonly leadsTo?: string;
  readonly lakefs?: LakefsColumns;
}

export type LakefsColumns = Pick<
  RepositoryRow,
  "lakefs" | "lakefs_created_at" | "lakefs_namespace" | "lakefs_root"
>;

const NO_LAKEFS: LakefsColumns = {
  lakefs: null,
  lakefs_created_at: null,
  lakefs_namespace: null,
  lakefs_root: null,
};

export class RepositoryTable {
  readonly #database: Database;
  readonly #now: () => number;
  /**
   * Rows by title and by id, for callers who may see all. Every write here empties it, and no other
   * process writes; undefined where one may. The right to see a row is written elsewhere
   * (auth/permissions): `visibility` is not to be read from here.
   */
  readonly #known: LRUCache<string, { readonly row: RepositoryRow | undefined }> | undefined;
  readonly #template: string;
  #writes = 0;

  /** `template`: places of new repositories in the store (conversation/repository-name.ts). */
  constructor(
    database: Database,
    now: () => number = Date.now,
    template: string = PREFIX_TEMPLATE,
  ) {
    this.#database = database;
    this.#template = template;
    this.#now = now;
    if (!database.isShared)
      this.#known = new LRUCache({ max: ROWS_EACH * LIMITS.repositoryHandlesMax });
  }

  /**
   * From memory where it can be: only for callers from whom nothing is hidden, because the time it
   * takes tells whether somebody has asked before.
   */
  find(title: string): Promise<RepositoryRow | undefined> {
    return this.#remembered(`title ${title}`, () => queries.findRepository(this.#database, title));
  }

  byId(id: string): Promise<RepositoryRow | undefined> {
    return this.#remembered(`id ${id}`, () => queries.findRepositoryById(this.#database, id));
  }

  /** As the database has it now, rights included, which others write too. */
  read(id: string): Promise<RepositoryRow | undefined> {
    return queries.findRepositoryById(this.#database, id);
  }

  list(
    after: string,
    count: number,
    viewer: queries.Viewer | undefined,
  ): Promise<queries.ListedRow[]> {
    return queries.listRepositories(this.#database, after, count, viewer);
  }

  all(): Promise<RepositoryRow[]> {
    return queries.allRepositories(this.#database);
  }

  /** Returns null where all lie by their ids alone, as the layout before had it. */
  #prefixOf(id: string, title: string): string | null {
    if (this.#template === PREFIX_TEMPLATE) return null;
    const [name] = candidatesOf(readRepositoryName(title)) as [TypedName];
    return fillTemplate(this.#template, id, name);
  }

  /** A row with a new id, not stored yet. */
  newRow({
    title,
    namespace,
    visibility = "private",
    state = "making",
    leadsTo,
    lakefs = NO_LAKEFS,
  }: NewRepository): RepositoryRow {
    const id = randomBytes(ID_BYTES).toString("hex");
    const created_at = this.#time();
    return {
      id,
      title,
      former_title: null,
      namespace: namespace ?? null,
      visibility,
      created_at,
      state,
      deleted_at: null,
      leads_to: leadsTo ?? null,
      settings: null,
      prefix: leadsTo === undefined ? this.#prefixOf(id, title) : null,
      ...lakefs,
    };
  }

  /**
   * Stores a row. False: its title leads to another one. Notes about a name that a hub's rule
   * computes make room.
   */
  async insert(row: RepositoryRow): Promise<boolean> {
    return (await this.insertWithin(row, 0)) === "inserted";
  }

  /**
   * The same where its namespace has room: `max` repositories, 0: any number. Returns how many it
   * has where that is too many.
   */
  insertWithin(row: RepositoryRow, max: number): Promise<"inserted" | "taken" | number> {
    return this.#writing(async () => {
      const outcome = await queries.insertWithin(this.#database, row, max);
      if (outcome !== "taken") return outcome;
      const there = await queries.findRepository(this.#database, row.title ?? "");
      if (there === undefined || !isComputed(there)) return outcome;
      await queries.setAside(this.#database, there.id, this.#time());
      return queries.insertWithin(this.#database, row, max);
    });
  }

  update(id: string, change: Partial<RepositoryRow>): Promise<void> {
    return this.#writing(() => queries.updateRepository(this.#database, id, change));
  }

  /** As queries.changeSettings. */
  changeSettings(id: string, change: (before: string | null) => string | null): Promise<boolean> {
    return this.#writing(() => queries.changeSettings(this.#database, id, change));
  }

  /** It has a manifest now. */
  markMade(id: string): Promise<void> {
    return this.#writing(() => queries.markMade(this.#database, id));
  }

  /** Takes its name and the names that lead to it away. Its files stay until they are collected. */
  setAside(id: string): Promise<void> {
    return this.#writing(() => queries.setAside(this.#database, id, this.#time()));
  }

  /**
   * The same, and stores another row under its name, in one. False: somebody else has set it aside
   * before.
   */
  replace(id: string, by: RepositoryRow): Promise<boolean> {
    return this.#writing(() => queries.replaceRepository(this.#database, id, this.#time(), by));
  }

  /** Those that had this name, the one set aside last first. */
  former(title: string): Promise<RepositoryRow[]> {
    return queries.listFormer(this.#database, title);
  }

  setAsideBefore(ms: number): Promise<RepositoryRow[]> {
    return queries.listSetAside(this.#database, new Date(ms).toISOString());
  }

  /** Set-aside names that led to it. */
  formerNamesOf(id: string): Promise<RepositoryRow[]> {
    return queries.listNamesOf(this.#database, id);
  }

  /** Gives a set-aside row its name back. False: the name leads to another one by now. */
  restore({ id }: RepositoryRow, change: Partial<RepositoryRow>): Promise<boolean> {
    return this.#writing(() => queries.restoreRepository(this.#database, id, change));
  }

  inheritRights(from: RepositoryRow, to: string): Promise<void> {
    return this.#writing(() => queries.inheritRights(this.#database, from, to));
  }

  /** Forgets a set-aside row, its grants and the names that led to it. */
  remove(id: string): Promise<void> {
    return this.#writing(() => queries.deleteRepository(this.#database, id));
  }

  async #remembered(
    key: string,
    query: () => Promise<RepositoryRow | undefined>,
  ): Promise<RepositoryRow | undefined> {
    const known = this.#known?.get(key);
    if (known !== undefined) return known.row;
    const writes = this.#writes;
    const row = await query();
    if (writes === this.#writes) this.#known?.set(key, { row });
    return row;
  }

  async #writing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      this.#writes++;
      this.#known?.clear();
    }
  }

  #time(): string {
    return new Date(this.#now()).toISOString();
  }
}

/** Returns whether a row only holds the rights of a name that a hub's rule computes. */
export function isComputed({ namespace, leads_to: target }: RepositoryRow): boolean {
  return namespace === null && target !== null;
}
