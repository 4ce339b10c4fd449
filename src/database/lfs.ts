/**
 * Queries on `lfs_objects` and `lfs_links`. An object goes one way: announced, live, dropped, and
 * then its row. Whoever links to a live one, and whoever drops it, holds its row first; so the
 * links that are looked at before it is dropped are all there are, at read committed too.
 */
import type { Kysely } from "kysely";
import { Fault } from "../base/fault.js";
import { type Database, isDuplicate } from "./database.js";
import type { LfsObjectsTable, Schema } from "./schema.js";
import { tablesOf } from "./tables.js";

/** The name of some object's bytes. */
export interface Publication {
  readonly oid: string;
  readonly publication: string;
}

export interface PublishedObject extends Publication {
  readonly bytes: number;
}

/** Returns what a repository's link leads to; undefined: it has no such object. */
export async function findLinked(
  database: Database,
  repositoryId: string,
  oid: string,
): Promise<PublishedObject | undefined> {
  const [found] = await database.query((db) =>
    linked(db, repositoryId).where("lfs_links.oid", "=", oid).execute(),
  );
  return found && withBytes(found);
}

/** Returns the first `count` objects of a repository behind `after`, by oid. */
export async function listLinked(
  database: Database,
  repositoryId: string,
  after: string,
  count: number,
): Promise<PublishedObject[]> {
  const found = await database.query((db) =>
    linked(db, repositoryId)
      .where("lfs_links.oid", ">", after)
      .orderBy("lfs_links.oid")
      .limit(count)
      .execute(),
  );
  return found.map(withBytes);
}

function linked(db: Kysely<Schema>, repositoryId: string) {
  return db
    .selectFrom("lfs_links")
    .innerJoin("lfs_objects", (join) =>
      join
        .onRef("lfs_objects.oid", "=", "lfs_links.oid")
        .onRef("lfs_objects.publication", "=", "lfs_links.publication"),
    )
    .select(["lfs_objects.oid", "lfs_objects.publication", "lfs_objects.bytes"])
    .where("lfs_links.repository_id", "=", repositoryId);
}

/** Returns the first `count` objects behind `after`, by oid, that repositories have. */
export async function listLive(
  database: Database,
  after: string,
  count: number,
): Promise<PublishedObject[]> {
  const found = await database.query((db) =>
    db
      .selectFrom("lfs_objects")
      .select(["oid", "publication", "bytes"])
      .where("state", "=", "live")
      .where("oid", ">", after)
      .orderBy("oid")
      .limit(count)
      .execute(),
  );
  return found.map(withBytes);
}

/** Returns whether repositories have an object under this very name. */
export async function isLive(
  database: Database,
  { oid, publication }: Publication,
): Promise<boolean> {
  const found = await database.query((db) =>
    db
      .selectFrom("lfs_objects")
      .select("oid")
      .where("oid", "=", oid)
      .where("publication", "=", publication)
      .where("state", "=", "live")
      .executeTakeFirst(),
  );
  return found !== undefined;
}

/** PostgreSQL gives integers of 64 bits as text. */
function withBytes<T extends { readonly bytes: number }>(row: T): T {
  return { ...row, bytes: Number(row.bytes) };
}

// To link -----------------------------------------------------------------------------------------

/**
 * Links a repository to the live publication of an object, and returns that; undefined: there is
 * none.
 */
export function linkToLive(
  database: Database,
  repositoryId: string,
  oid: string,
  at: string,
): Promise<Publication | undefined> {
  return database.transaction(async (db) => {
    const live = await hold(db, oid);
    if (live === undefined) return undefined;
    await putLink(db, repositoryId, live, at);
    return live;
  });
}

/** Says that bytes are about to be published under a new name. */
export async function announce(
  database: Database,
  object: PublishedObject,
  at: string,
): Promise<void> {
  const row = { ...object, state: "announced", created_at: at, dropped_at: null } as const;
  await database.query((db) => db.insertInto("lfs_objects").values(row).execute());
}

/**
 * Makes an announced publication live, and links a repository to it. False, and nothing is done:
 * another one of the object is live, or this one was dropped meanwhile.
 */
export async function linkToAnnounced(
  database: Database,
  repositoryId: string,
  published: Publication,
  at: string,
): Promise<boolean> {
  try {
    return await database.transaction(async (db) => {
      if (!(await change(db, published, "announced", { state: "live" }))) return false;
      await putLink(db, repositoryId, published, at);
      return true;
    });
  } catch (error) {
    if (isDuplicate(error)) return false; // the index of live ones allows one
    throw error;
  }
}

/** Drops what was announced and is not needed. One that is live stays. */
export async function dropAnnounced(
  database: Database,
  published: Publication,
  at: string,
): Promise<void> {
  await database.query((db) => change(db, published, "announced", dropped(at)));
}

/**
 * Holds the row of the live publication of an object until the transaction ends, by a change that
 * changes nothing: `FOR UPDATE` is not every database's.
 */
function hold(db: Kysely<Schema>, oid: string): Promise<Publication | undefined> {
  return db
    .updateTable("lfs_objects")
    .set({ state: "live" })
    .where("oid", "=", oid)
    .where("state", "=", "live")
    .returning(["oid", "publication"])
    .executeTakeFirst();
}

async function putLink(
  db: Kysely<Schema>,
  repositoryId: string,
  { oid, publication }: Publication,
  at: string,
): Promise<void> {
  const link = { repository_id: repositoryId, oid, publication, created_at: at };
  await db
    .insertInto("lfs_links")
    .values(link)
    .onConflict((conflict) =>
      conflict.columns(["repository_id", "oid"]).doUpdateSet({ publication, created_at: at }),
    )
    .execute();
}

/** False: it is not in the state `from`. */
async function change(
  db: Kysely<Schema>,
  { oid, publication }: Publication,
  from: LfsObjectsTable["state"],
  to: Partial<LfsObjectsTable>,
): Promise<boolean> {
  const [result] = await db
    .updateTable("lfs_objects")
    .set(to)
    .where("oid", "=", oid)
    .where("publication", "=", publication)
    .where("state", "=", from)
    .execute();
  return (result?.numUpdatedRows ?? 0n) > 0n;
}

function dropped(at: string) {
  return { state: "dropped", dropped_at: at } as const;
}

// To remove ---------------------------------------------------------------------------------------

export interface Unlinked {
  /** Number of links taken away: fewer than asked for are the last. */
  readonly links: number;
  /** Those that nothing links to any more. */
  readonly dropped: readonly PublishedObject[];
}

/**
 * Takes up to `count` links of a repository away, and drops the objects that no other one links to,
 * in one. By oid, so that two who do the same wait for each other in one order.
 */
export function unlink(
  database: Database,
  repositoryId: string,
  count: number,
  at: string,
): Promise<Unlinked> {
  return database.transaction(async (db) => {
    const links = await linked(db, repositoryId).orderBy("lfs_links.oid").limit(count).execute();
    const gone: PublishedObject[] = [];
    for (const object of links.map(withBytes))
      if (await unlinkOne(db, repositoryId, object, at)) gone.push(object);
    return { links: links.length, dropped: gone };
  });
}

/** Returns whether the object was dropped. */
async function unlinkOne(
  db: Kysely<Schema>,
  repositoryId: string,
  object: Publication,
  at: string,
): Promise<boolean> {
  const { oid, publication } = object;
  await hold(db, oid);
  await db
    .deleteFrom("lfs_links")
    .where("repository_id", "=", repositoryId)
    .where("oid", "=", oid)
    .execute();
  const other = await db
    .selectFrom("lfs_links")
    .select("repository_id")
    .where("oid", "=", oid)
    .where("publication", "=", publication)
    .limit(1)
    .executeTakeFirst();
  return other === undefined && change(db, object, "live", dropped(at));
}

/** Drops what was announced before this time: whoever did it has died. */
export async function dropUnfinished(
  database: Database,
  before: string,
  at: string,
): Promise<void> {
  await database.query((db) =>
    db
      .updateTable("lfs_objects")
      .set(dropped(at))
      .where("state", "=", "announced")
      .where("created_at", "<=", before)
      .execute(),
  );
}

/** Returns up to `count` objects that were dropped before this time. */
export async function listDropped(
  database: Database,
  before: string,
  count: number,
): Promise<PublishedObject[]> {
  const found = await database.query((db) =>
    db
      .selectFrom("lfs_objects")
      .select(["oid", "publication", "bytes"])
      .where("state", "=", "dropped")
      .where("dropped_at", "<=", before)
      .orderBy("dropped_at")
      .limit(count)
      .execute(),
  );
  return found.map(withBytes);
}

/** Removes the row of a dropped object. False: another has done so. */
export async function forgetDropped(
  database: Database,
  { oid, publication }: Publication,
): Promise<boolean> {
  const [result] = await database.query((db) =>
    db
      .deleteFrom("lfs_objects")
      .where("oid", "=", oid)
      .where("publication", "=", publication)
      .where("state", "=", "dropped")
      .execute(),
  );
  return (result?.numDeletedRows ?? 0n) > 0n;
}

/**
 * Returns up to `count` ids that have links, none made after this time, and no row: uploads that
 * ended when their repository was gone. Reads all links.
 */
export async function listRowless(
  database: Database,
  before: string,
  count: number,
): Promise<string[]> {
  const found = await database.query((db) =>
    db
      .selectFrom("lfs_links")
      .leftJoin("repositories", "repositories.id", "lfs_links.repository_id")
      .select("lfs_links.repository_id")
      .where("repositories.id", "is", null)
      .groupBy("lfs_links.repository_id")
      .having((having) => having.fn.max("lfs_links.created_at"), "<=", before)
      .limit(count)
      .execute(),
  );
  return found.map(({ repository_id: id }) => id);
}

/** Returns those of these publications that have no row. */
export async function withoutRow<T extends Publication>(
  database: Database,
  found: readonly T[],
): Promise<T[]> {
  if (found.length === 0) return [];
  const oids = found.map(({ oid }) => oid);
  const rows = await database.query((db) =>
    db.selectFrom("lfs_objects").select(["oid", "publication"]).where("oid", "in", oids).execute(),
  );
  const known = new Set(rows.map(nameOf));
  return found.filter((one) => !known.has(nameOf(one)));
}

/** Notes as dropped what lies in the store and had no row. One that has got a row keeps it. */
export async function noteDropped(
  database: Database,
  objects: readonly PublishedObject[],
  at: string,
): Promise<void> {
  if (objects.length === 0) return;
  const rows = objects.map((object) => ({ ...rowOf(object), ...dropped(at), created_at: at }));
  await database.query((db) =>
    db
      .insertInto("lfs_objects")
      .values(rows)
      .onConflict((conflict) => conflict.columns(["oid", "publication"]).doNothing())
      .execute(),
  );
}

function rowOf({ oid, publication, bytes }: PublishedObject): PublishedObject {
  return { oid, publication, bytes };
}

function nameOf({ oid, publication }: Publication): string {
  return `${oid} ${publication}`;
}

// Links of the layout before ----------------------------------------------------------------------

/**
 * Takes in links that lay in the store: to the live publication of each object, which is made of
 * these bytes where there is none. May be done again. Throws "store/conflict" where those bytes are
 * about to go.
 */
export async function takeInLinks(
  database: Database,
  repositoryId: string,
  objects: readonly PublishedObject[],
  at: string,
): Promise<void> {
  await database.transaction(async (db) => {
    for (const object of objects) {
      await db
        .insertInto("lfs_objects")
        .values({ ...rowOf(object), state: "live", created_at: at, dropped_at: null })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      const live = await hold(db, object.oid);
      if (live === undefined)
        throw new Fault("store/conflict", { oid: object.oid, reason: "dropped, and linked to" });
      await putLink(db, repositoryId, live, at);
    }
  });
}

/** Returns whether the database has these tables: one that is only read may be older. */
export function hasLfsTables(database: Database): Promise<boolean> {
  return database.query(async (db) =>
    (await tablesOf(db)).some(({ name }) => name === "lfs_links"),
  );
}
