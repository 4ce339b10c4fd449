/**
 * Brings a schema up to date. Its history is in the database: one that a newer version has changed
 * is refused by name, and so is one that holds somebody else's tables; neither is touched. Of
 * several processes on one PostgreSQL one does it, by an advisory lock, and the others wait.
 */
import type { Kysely as KyselyOf } from "kysely";
import { Fault } from "../base/fault.js";
import { Migrator, sql } from "./kysely.js";
import { MIGRATIONS } from "./migrations.js";
import type { Schema } from "./schema.js";
import { tablesOf } from "./tables.js";

const HISTORY = "kysely_migration";
/** Tables that ours would be taken for. */
const OURS: readonly string[] = ["users", "tokens", "repositories", "grants", "secrets"];

/** Throws "database/newer", "database/foreign", and what the database throws. */
export async function migrate(db: KyselyOf<Schema>): Promise<void> {
  const done = await historyOf(db);
  if (done !== undefined && Object.keys(MIGRATIONS).every((name) => done.includes(name))) return;
  const { error } = await new Migrator({
    db,
    provider: { getMigrations: async () => ({ ...MIGRATIONS }) },
  }).migrateToLatest();
  if (error === undefined) return;
  await historyOf(db); // a newer version may have come between
  throw error;
}

/**
 * Steps that were done, by name; undefined: none ever was. Throws "database/newer",
 * "database/foreign".
 */
export async function historyOf(db: KyselyOf<Schema>): Promise<readonly string[] | undefined> {
  const tables = (await tablesOf(db)).map(({ name }) => name);
  if (!tables.includes(HISTORY)) {
    const table = OURS.find((name) => tables.includes(name));
    if (table !== undefined) throw new Fault("database/foreign", { table });
    return undefined;
  }
  const { rows } = await sql<{ name: string }>`select name from ${sql.table(HISTORY)}`.execute(db);
  const done = rows.map(({ name }) => name);
  const unknown = done.find((name) => !Object.hasOwn(MIGRATIONS, name));
  if (unknown !== undefined) throw new Fault("database/newer", { step: unknown });
  return done;
}
