/** Queries on `secrets`. */
import type { Database } from "./database.js";

/** The secret of this name; `proposed` (hex) where there is none yet. */
export function keepSecret(database: Database, name: string, proposed: string): Promise<string> {
  return database.transaction(async (db) => {
    await db
      .insertInto("secrets")
      .values({ name, value: proposed })
      .onConflict((conflict) => conflict.column("name").doNothing())
      .execute();
    return (
      await db
        .selectFrom("secrets")
        .select("value")
        .where("name", "=", name)
        .executeTakeFirstOrThrow()
    ).value;
  });
}
