/**
 * Kysely's values, from its CommonJS build: its 279 ES modules cost a start 60 ms of CPU more.
 * Types come from the package as ever.
 */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export const { Kysely, Migrator, PostgresAdapter, PostgresDialect, SqliteDialect, sql } =
  require("kysely") as typeof import("kysely");
