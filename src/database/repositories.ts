/** Queries on `repositories`: names, what they lead to, and who may see them. */
import type { Kysely } from "kysely";
import { type Database, isDuplicate } from "./database.js";
import { sql } from "./kysely.js";
import { lockName } from "./name-lock.js";
import { isListed, listedTitle } from "./grants.js";
import type { GrantRole, RepositoryRow, Schema } from "./schema.js";

export interface Seen {
  readonly row: RepositoryRow;
  /** Null: nothing was granted to the user asked about. */
  readonly grant: GrantRole | null;
}

export function findRepository(
  database: Database,
  title: string,
): Promise<RepositoryRow | undefined> {
  return database.query((db) =>
    db.selectFrom("repositories").selectAll().where("title", "=", title).executeTakeFirst(),
  );
}

export function findRepositoryById(
  database: Database,
  id: string,
): Promise<RepositoryRow | undefined> {
  return database.query((db) =>
    db.selectFrom("repositories").selectAll().where("id", "=", id).executeTakeFirst(),
  );
}

/**
 * With what was granted there to a user; `userId` undefined: to nobody in particular. One query,
 * whether it is there or not.
 */
export async function seeRepository(
  database: Database,
  title: string,
  userId: string | undefined,
): Promise<Seen | undefined> {
  const found = await database.query((db) =>
    db
      .selectFrom("repositories")
      .leftJoin("grants", (join) =>
        join
          .onRef("grants.repository_id", "=", "repositories.id")
          .on("grants.user_id", "=", userId ?? ""),
      )
      .selectAll("repositories")
      .select("grants.role as grant_role")
      .where("repositories.title", "=", title)
      .executeTakeFirst(),
  );
  if (found === undefined) return undefined;
  const { grant_role: grant, ...row } = found;
  return { row, grant };
}

/**
 * Inserts a row where its namespace has room: `max` repositories, 0: any number. Of several at once
 * none is one too many. Returns how many the namespace has, where that is too many.
 */
export async function insertWithin(
  database: Database,
  row: RepositoryRow,
  max: number,
): Promise<"inserted" | "taken" | number> {
  try {
    return await database.transaction(async (db) => {
      const count = max === 0 || row.namespace === null ? 0 : await countLocked(db, row.namespace);
      if (max > 0 && count >= max) return count;
      await db.insertInto("repositories").values(row).execute();
      return "inserted";
    });
  } catch (error) {
    if (isDuplicate(error)) return "taken";
    throw error;
  }
}

/** Nobody else inserts into this namespace before the transaction ends. */
async function countLocked(db: Kysely<Schema>, namespace: string): Promise<number> {
  await lockName(db, `namespace ${namespace}`);
  return countIn(db, namespace);
}

export async function updateRepository(
  database: Database,
  id: string,
  change: Partial<RepositoryRow>,
): Promise<void> {
  await database.query((db) =>
    db.updateTable("repositories").set(change).where("id", "=", id).execute(),
  );
}

/** Those that are set aside do not count. */
async function countIn(db: Kysely<Schema>, namespace: string): Promise<number> {
  const counted = await db
    .selectFrom("repositories")
    .select((select) => select.fn.countAll().as("count"))
    .where("namespace", "=", namespace)
    .where("state", "<>", "deleted")
    .executeTakeFirstOrThrow();
  return Number(counted.count);
}

/**
 * Replaces the settings by the result of `change`, in one step; an exception of it changes nothing.
 * False: there is no such row.
 */
export function changeSettings(
  database: Database,
  id: string,
  change: (before: string | null) => string | null,
): Promise<boolean> {
  return database.transaction(async (db) => {
    // Written before it is read: so the row is this transaction's until it ends, in every dialect.
    const row = await db
      .updateTable("repositories")
      .set((set) => ({ settings: set.ref("settings") }))
      .where("id", "=", id)
      .returning("settings")
      .executeTakeFirst();
    if (row === undefined) return false;
    await db
      .updateTable("repositories")
      .set({ settings: change(row.settings) })
      .where("id", "=", id)
      .execute();
    return true;
  });
}

/** It has a manifest now. One that was set aside meanwhile stays so. */
export async function markMade(database: Database, id: string): Promise<void> {
  await database.query((db) =>
    db
      .updateTable("repositories")
      .set({ state: "made" })
      .where("id", "=", id)
      .where("state", "=", "making")
      .execute(),
  );
}

// Set aside ---------------------------------------------------------------------------------------

/** Takes its name, and the names that lead to it, away. */
export async function setAside(database: Database, id: string, at: string): Promise<void> {
  await database.transaction((db) => setAsideIn(db, id, at));
}

/**
 * The same, and puts another in its place, which takes the name. False: it was set aside before, by
 * somebody else.
 */
export function replaceRepository(
  database: Database,
  id: string,
  at: string,
  by: RepositoryRow,
): Promise<boolean> {
  return database.transaction(async (db) => {
    if ((await setAsideIn(db, id, at)) === 0n) return false;
    await db.insertInto("repositories").values(by).execute();
    return true;
  });
}

/** Returns how many rows it set aside. */
async function setAsideIn(db: Kysely<Schema>, id: string, at: string): Promise<bigint> {
  const [result] = await db
    .updateTable("repositories")
    .set({ former_title: sql<string>`title`, title: null, state: "deleted", deleted_at: at })
    .where((where) => where.or([where("id", "=", id), where("leads_to", "=", id)]))
    .where("state", "<>", "deleted")
    .execute();
  return result?.numUpdatedRows ?? 0n;
}

/** Those that had this name, the one set aside last first. */
export function listFormer(database: Database, title: string): Promise<RepositoryRow[]> {
  return database.query((db) =>
    db
      .selectFrom("repositories")
      .selectAll()
      .where("former_title", "=", title)
      .orderBy("deleted_at", "desc")
      .orderBy("id")
      .execute(),
  );
}

/** Those set aside before this time. */
export function listSetAside(database: Database, before: string): Promise<RepositoryRow[]> {
  return database.query((db) =>
    db
      .selectFrom("repositories")
      .selectAll()
      .where("deleted_at", "<=", before)
      .orderBy("deleted_at")
      .execute(),
  );
}

/** With its grants and the set-aside names that led to it. */
export async function deleteRepository(database: Database, id: string): Promise<void> {
  await database.query((db) =>
    db.deleteFrom("repositories").where("id", "=", id).where("state", "=", "deleted").execute(),
  );
}

/** Gives a set-aside row its name back. False: the name leads to another one by now. */
export async function restoreRepository(
  database: Database,
  id: string,
  change: Partial<RepositoryRow>,
): Promise<boolean> {
  const named = { title: sql<string>`former_title`, former_title: null, deleted_at: null };
  try {
    const [result] = await database.transaction((db) =>
      db
        .updateTable("repositories")
        .set({ ...change, ...named })
        .where("id", "=", id)
        .where("state", "=", "deleted")
        .execute(),
    );
    return (result?.numUpdatedRows ?? 0n) > 0n;
  } catch (error) {
    if (isDuplicate(error)) return false;
    throw error;
  }
}

/**
 * Gives what one repository was granted and how it may be seen to another, whose own grants stay.
 */
export async function inheritRights(
  database: Database,
  from: RepositoryRow,
  to: string,
): Promise<void> {
  await database.transaction(async (db) => {
    await db
      .updateTable("repositories")
      .set({ visibility: from.visibility })
      .where("id", "=", to)
      .execute();
    const granted = db
      .selectFrom("grants")
      .select([
        sql<string>`${to}`.as("repository_id"),
        "user_id",
        "role",
        listedTitle(db, to).as("title"),
      ])
      .where("repository_id", "=", from.id);
    await db
      .insertInto("grants")
      .columns(["repository_id", "user_id", "role", "title"])
      .expression(granted)
      .onConflict((conflict) => conflict.columns(["repository_id", "user_id"]).doNothing())
      .execute();
  });
}

/** Set-aside names that led to it. */
export function listNamesOf(database: Database, id: string): Promise<RepositoryRow[]> {
  return database.query((db) =>
    db
      .selectFrom("repositories")
      .selectAll()
      .where("leads_to", "=", id)
      .where("state", "=", "deleted")
      .orderBy("former_title")
      .execute(),
  );
}

// Lists -------------------------------------------------------------------------------------------

/** The viewer of a list: undefined may see all. */
export interface Viewer {
  /** Undefined: nobody who is signed in. */
  readonly userId: string | undefined;
  readonly namespace: string | undefined;
}

export interface ListedRow {
  readonly id: string;
  readonly title: string;
  /** lakeFS's name of it, or of what it leads to. */
  readonly lakefs: string | null;
}

/**
 * By title, those behind `after` that have been made: at most `count`. Reads along indexes, three
 * times as many rows at most, and what is set aside between them.
 */
export async function listRepositories(
  database: Database,
  after: string,
  count: number,
  viewer: Viewer | undefined,
): Promise<ListedRow[]> {
  return database.query(async (db) => {
    const rows = () =>
      db
        .selectFrom("repositories")
        .leftJoin("repositories as target", "target.id", "repositories.leads_to")
        .select([
          "repositories.id",
          "repositories.title",
          sql<string | null>`coalesce(repositories.lakefs, target.lakefs)`.as("lakefs"),
        ])
        .where("repositories.state", "=", "made")
        .where(isListed)
        .limit(count);
    const titled = () =>
      rows().where("repositories.title", ">", after).orderBy("repositories.title");
    if (viewer === undefined) return named(await titled().execute());
    const parts = [await titled().where("repositories.visibility", "=", "public").execute()];
    if (viewer.namespace !== undefined)
      parts.push(await titled().where("repositories.namespace", "=", viewer.namespace).execute());
    if (viewer.userId !== undefined) {
      const granted = rows()
        .innerJoin("grants", "grants.repository_id", "repositories.id")
        .where("grants.user_id", "=", viewer.userId)
        .where("grants.title", ">", after)
        .orderBy("grants.title");
      parts.push(await granted.execute());
    }
    const merged = new Map(named(parts.flat()).map((row) => [row.title, row]));
    return [...merged.values()]
      .sort((left, right) => (left.title < right.title ? -1 : 1))
      .slice(0, count);
  });
}

/** Every row, for those who compare them with the store. */
export function allRepositories(database: Database): Promise<RepositoryRow[]> {
  return database.query((db) =>
    db.selectFrom("repositories").selectAll().orderBy("title").orderBy("id").execute(),
  );
}

/** Returns the first `count` rows behind `after`, by id, that have a place in the store. */
export function listPlaces(
  database: Database,
  after: string,
  count: number,
): Promise<RepositoryRow[]> {
  return database.query((db) =>
    db
      .selectFrom("repositories")
      .selectAll()
      .where("leads_to", "is", null)
      .where("id", ">", after)
      .orderBy("id")
      .limit(count)
      .execute(),
  );
}

function named(
  rows: readonly (Omit<ListedRow, "title"> & { readonly title: string | null })[],
): ListedRow[] {
  return rows.flatMap(({ title, ...row }) => (title === null ? [] : [{ ...row, title }]));
}
