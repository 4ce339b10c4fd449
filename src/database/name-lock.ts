/**
 * A lock on a name until the transaction ends, for a decision that hangs on rows that are not there
 * yet. SQLite needs none: one process has it, and one transaction at a time.
 */
import type { Kysely } from "kysely";
import { sql } from "./kysely.js";
import type { Schema } from "./schema.js";
import { isPostgres } from "./tables.js";

export async function lockName(db: Kysely<Schema>, name: string): Promise<void> {
  if (!isPostgres(db)) return;
  await sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`.execute(db);
}
