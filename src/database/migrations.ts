/**
 * The steps by which the schema came to be. A step that was released is never changed: a later one
 * corrects it. A step that a crash cut short runs again, since not every database takes a change of
 * its schema back: each must pass over what it has done.
 */
import type { Kysely, Migration, RawBuilder } from "kysely";
import { sql } from "./kysely.js";
import { isPostgres, tablesOf } from "./tables.js";

export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  "0001-users": { up: users },
  "0002-repository-ids": { up: repositoryIds },
  "0003-repository-settings": { up: repositorySettings },
  "0004-lfs-links": { up: lfsLinks },
  "0005-grant-titles": { up: grantTitles },
  "0006-repository-prefix": { up: repositoryPrefix },
};

async function users(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  const text = textOf(db);
  await schema
    .createTable("users")
    .ifNotExists()
    .addColumn("id", text, (column) => column.primaryKey())
    .addColumn("name", text, (column) => column.notNull())
    .addColumn("name_key", text, (column) => column.notNull().unique())
    .addColumn("is_admin", "integer", (column) => column.notNull())
    .addColumn("created_at", text, (column) => column.notNull())
    .addColumn("disabled_at", text)
    .execute();
  await schema
    .createTable("tokens")
    .ifNotExists()
    .addColumn("id", text, (column) => column.primaryKey())
    .addColumn("user_id", text, (column) =>
      column.notNull().references("users.id").onDelete("cascade"),
    )
    .addColumn("label", text, (column) => column.notNull())
    .addColumn("hash", text, (column) => column.notNull().unique())
    .addColumn("scope", text, (column) => column.notNull())
    .addColumn("created_at", text, (column) => column.notNull())
    .addColumn("expires_at", text)
    .addColumn("last_used_at", text)
    .addColumn("revoked_at", text)
    .execute();
  await schema.createIndex("tokens_user").ifNotExists().on("tokens").column("user_id").execute();
  await schema
    .createTable("repositories")
    .ifNotExists()
    .addColumn("name", text, (column) => column.primaryKey())
    .addColumn("visibility", text, (column) => column.notNull())
    .addColumn("created_at", text, (column) => column.notNull())
    .execute();
  await schema
    .createTable("grants")
    .ifNotExists()
    .addColumn("repository", text, (column) =>
      column.notNull().references("repositories.name").onDelete("cascade"),
    )
    .addColumn("user_id", text, (column) =>
      column.notNull().references("users.id").onDelete("cascade"),
    )
    .addColumn("role", text, (column) => column.notNull())
    .addPrimaryKeyConstraint("grants_primary", ["repository", "user_id"])
    .execute();
  await schema.createIndex("grants_user").ifNotExists().on("grants").column("user_id").execute();
  await schema
    .createTable("secrets")
    .ifNotExists()
    .addColumn("name", text, (column) => column.primaryKey())
    .addColumn("value", text, (column) => column.notNull())
    .execute();
}

/**
 * Repositories by id. Rows by name are dropped: nothing that lay under a name is served any more.
 */
async function repositoryIds(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  const text = textOf(db);
  const { length: old } = await columnsOf(db, "repositories", "name");
  if (old > 0) {
    await schema.dropTable("grants").ifExists().execute();
    await schema.dropTable("repositories").ifExists().execute();
  }
  await schema
    .createTable("repositories")
    .ifNotExists()
    .addColumn("id", text, (column) => column.primaryKey())
    .addColumn("title", text, (column) => column.unique())
    .addColumn("former_title", text)
    .addColumn("namespace", text)
    .addColumn("visibility", text, (column) => column.notNull())
    .addColumn("created_at", text, (column) => column.notNull())
    .addColumn("state", text, (column) => column.notNull())
    .addColumn("deleted_at", text)
    .addColumn("leads_to", text, (column) =>
      column.references("repositories.id").onDelete("cascade"),
    )
    .addColumn("lakefs", text)
    .addColumn("lakefs_created_at", text)
    .addColumn("lakefs_namespace", text)
    .addColumn("lakefs_root", text)
    .execute();
  for (const column of ["visibility", "namespace"]) {
    await schema
      .createIndex(`repositories_${column}`)
      .ifNotExists()
      .on("repositories")
      .columns([column, "title"])
      .execute();
  }
  for (const column of ["former_title", "deleted_at", "leads_to"]) {
    await schema
      .createIndex(`repositories_${column}`)
      .ifNotExists()
      .on("repositories")
      .column(column)
      .execute();
  }
  await schema
    .createTable("grants")
    .ifNotExists()
    .addColumn("repository_id", text, (column) =>
      column.notNull().references("repositories.id").onDelete("cascade"),
    )
    .addColumn("user_id", text, (column) =>
      column.notNull().references("users.id").onDelete("cascade"),
    )
    .addColumn("role", text, (column) => column.notNull())
    .addPrimaryKeyConstraint("grants_by_repository", ["repository_id", "user_id"])
    .execute();
  await schema.createIndex("grants_user_id").ifNotExists().on("grants").column("user_id").execute();
}

async function repositorySettings(db: Kysely<unknown>): Promise<void> {
  if ((await columnsOf(db, "repositories", "settings")).length > 0) return;
  await db.schema.alterTable("repositories").addColumn("settings", textOf(db)).execute();
}

/**
 * Returns the type of text, which is in order bytewise everywhere: PostgreSQL would take the order
 * of the language that the database was made with.
 */
function textOf(db: Kysely<unknown>): "text" | RawBuilder<string> {
  return isPostgres(db) ? sql<string>`text collate "C"` : "text";
}

async function lfsLinks(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  const text = textOf(db);
  await schema
    .createTable("lfs_objects")
    .ifNotExists()
    .addColumn("oid", text, (column) => column.notNull())
    .addColumn("publication", text, (column) => column.notNull())
    .addColumn("bytes", "bigint", (column) => column.notNull())
    .addColumn("state", text, (column) => column.notNull())
    .addColumn("created_at", text, (column) => column.notNull())
    .addColumn("dropped_at", text)
    .addPrimaryKeyConstraint("lfs_objects_by_name", ["oid", "publication"])
    .execute();
  await schema
    .createIndex("lfs_objects_live")
    .ifNotExists()
    .unique()
    .on("lfs_objects")
    .column("oid")
    .where(sql.ref("state"), "=", "live")
    .execute();
  await schema
    .createIndex("lfs_objects_state")
    .ifNotExists()
    .on("lfs_objects")
    .columns(["state", "dropped_at"])
    .execute();
  await schema
    .createTable("lfs_links")
    .ifNotExists()
    .addColumn("repository_id", text, (column) => column.notNull())
    .addColumn("oid", text, (column) => column.notNull())
    .addColumn("publication", text, (column) => column.notNull())
    .addColumn("created_at", text, (column) => column.notNull())
    .addPrimaryKeyConstraint("lfs_links_by_repository", ["repository_id", "oid"])
    .execute();
  await schema
    .createIndex("lfs_links_oid")
    .ifNotExists()
    .on("lfs_links")
    .columns(["oid", "publication"])
    .execute();
}

async function grantTitles(db: Kysely<unknown>): Promise<void> {
  if ((await columnsOf(db, "grants", "title")).length === 0)
    await db.schema.alterTable("grants").addColumn("title", textOf(db)).execute();
  await sql`update grants set title = (
    select coalesce(repositories.title, repositories.former_title) from repositories
    where repositories.id = grants.repository_id
      and (repositories.namespace is not null or repositories.lakefs is not null))`.execute(db);
  await db.schema
    .createIndex("grants_user_title")
    .ifNotExists()
    .on("grants")
    .columns(["user_id", "title"])
    .execute();
}

async function repositoryPrefix(db: Kysely<unknown>): Promise<void> {
  if ((await columnsOf(db, "repositories", "prefix")).length > 0) return;
  await db.schema.alterTable("repositories").addColumn("prefix", textOf(db)).execute();
}

/** The columns of this name that a table has: one or none. */
async function columnsOf(
  db: Kysely<unknown>,
  table: string,
  column: string,
): Promise<readonly unknown[]> {
  return (await tablesOf(db))
    .filter(({ name }) => name === table)
    .flatMap(({ columns }) => columns.filter(({ name }) => name === column));
}
