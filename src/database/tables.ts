/** What a database holds beside rows. */
import type { Kysely, TableMetadata } from "kysely";
import { PostgresAdapter, sql } from "./kysely.js";

/** The tables where ours are made: of PostgreSQL those of the schema that comes first. */
export async function tablesOf(
  db: Pick<Kysely<unknown>, "introspection" | "getExecutor">,
): Promise<TableMetadata[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!isPostgres(db)) return tables;
  const { rows } = await sql<{ name: string }>`select current_schema() as name`.execute(db);
  return tables.filter(({ schema }) => schema === rows[0]?.name);
}

export function isPostgres(db: Pick<Kysely<unknown>, "getExecutor">): boolean {
  return db.getExecutor().adapter instanceof PostgresAdapter;
}
