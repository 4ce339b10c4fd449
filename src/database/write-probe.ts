/**
 * Shows that the database takes writes: an operator's full disk is found here and not by the next
 * person who signs in.
 */
import type { Database } from "./database.js";

const NAME = "write-probe";

/** Writes one row, durably. Throws "database/failed". */
export async function probeWrite(database: Database): Promise<void> {
  const value = Date.now().toString(16);
  await database.query((db) =>
    db
      .insertInto("secrets")
      .values({ name: NAME, value })
      .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
      .execute(),
  );
}
