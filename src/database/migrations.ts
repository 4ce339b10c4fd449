/**
 * How the schema came to be, step by step. A step that was released is never changed: a later one corrects it. A step that a crash cut short runs again, since
 * not every database takes a change of its schema back: each must pass over what it has done.
 */
import type { Kysely, Migration } from "kysely";

export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  "0001-users": { up: users },
};

async function users(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  await schema
    .createTable("users")
    .ifNotExists()
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("name", "text", (column) => column.notNull())
    .addColumn("name_key", "text", (column) => column.notNull().unique())
    .addColumn("is_admin", "integer", (column) => column.notNull())
    .addColumn("created_at", "text", (column) => column.notNull())
    .addColumn("disabled_at", "text")
    .execute();
  await schema
    .createTable("tokens")
    .ifNotExists()
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("user_id", "text", (column) => column.notNull().references("users.id").onDelete("cascade"))
    .addColumn("label", "text", (column) => column.notNull())
    .addColumn("hash", "text", (column) => column.notNull().unique())
    .addColumn("scope", "text", (column) => column.notNull())
    .addColumn("created_at", "text", (column) => column.notNull())
    .addColumn("expires_at", "text")
    .addColumn("last_used_at", "text")
    .addColumn("revoked_at", "text")
    .execute();
  await schema.createIndex("tokens_user").ifNotExists().on("tokens").column("user_id").execute();
  await schema
    .createTable("repositories")
    .ifNotExists()
    .addColumn("name", "text", (column) => column.primaryKey())
    .addColumn("visibility", "text", (column) => column.notNull())
    .addColumn("created_at", "text", (column) => column.notNull())
    .execute();
  await schema
    .createTable("grants")
    .ifNotExists()
    .addColumn("repository", "text", (column) => column.notNull().references("repositories.name").onDelete("cascade"))
    .addColumn("user_id", "text", (column) => column.notNull().references("users.id").onDelete("cascade"))
    .addColumn("role", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("grants_primary", ["repository", "user_id"])
    .execute();
  await schema.createIndex("grants_user").ifNotExists().on("grants").column("user_id").execute();
  await schema
    .createTable("secrets")
    .ifNotExists()
    .addColumn("name", "text", (column) => column.primaryKey())
    .addColumn("value", "text", (column) => column.notNull())
    .execute();
}
