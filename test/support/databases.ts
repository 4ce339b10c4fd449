/** The databases that the same tests run on. */
import { join } from "node:path";
import t, { type Test } from "tap";
import { Database } from "../../src/database/database.js";
import type { PostgresPlace } from "../../src/database/postgres.js";
import { postgresDatabase, skipPostgres } from "./postgres.js";
import { tempFolder } from "./temp-folder.js";

/** Opens a new one, closed after the test. */
export type OpenDatabase = () => Promise<Database>;

/** A test on SQLite, and the same on PostgreSQL. */
export function onBoth(title: string, work: (t: Test, open: OpenDatabase) => Promise<void>): void {
  const closing = (t: Test, database: Database) => {
    t.teardown(() => database.close());
    return database;
  };
  t.test(`SQLite: ${title}`, (t) =>
    work(t, async () => closing(t, await Database.open(join(await tempFolder(t), "lakepack.db")))),
  );
  t.test(`PostgreSQL: ${title}`, { skip: skipPostgres }, (t) =>
    work(t, async () => closing(t, await Database.open(placeAt(await postgresDatabase())))),
  );
}

/** Four connections, nobody's certificate. */
export function placeAt(url: string, more: Partial<PostgresPlace> = {}): PostgresPlace {
  return { url, caFile: "", connections: 4, ...more };
}
