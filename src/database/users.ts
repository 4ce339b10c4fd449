/** Queries on `users`. */
import { Fault } from "../base/fault.js";
import { type Database, isDuplicate } from "./database.js";
import type { UserRow } from "./schema.js";

/** Throws "user/exists". */
export async function insertUser(database: Database, row: UserRow): Promise<void> {
  try {
    await database.transaction((db) => db.insertInto("users").values(row).execute());
  } catch (error) {
    if (isDuplicate(error)) throw new Fault("user/exists", { name: row.name });
    throw error;
  }
}

/** Names are found whatever their case. */
export function findUser(database: Database, name: string): Promise<UserRow | undefined> {
  return database.query((db) =>
    db
      .selectFrom("users")
      .selectAll()
      .where("name_key", "=", name.toLowerCase())
      .executeTakeFirst(),
  );
}

/** By name, those behind `after`. */
export function listUsers(database: Database, after: string, count: number): Promise<UserRow[]> {
  return database.query((db) =>
    db
      .selectFrom("users")
      .selectAll()
      .where("name_key", ">", after.toLowerCase())
      .orderBy("name_key")
      .limit(count)
      .execute(),
  );
}

export async function hasUsers(database: Database): Promise<boolean> {
  return (
    (await database.query((db) =>
      db.selectFrom("users").select("id").limit(1).executeTakeFirst(),
    )) !== undefined
  );
}

/** Returns the user as he is then. Undefined: there is none of this name. */
export function updateUser(
  database: Database,
  name: string,
  change: Partial<Pick<UserRow, "is_admin" | "disabled_at">>,
): Promise<UserRow | undefined> {
  return database.query((db) =>
    db
      .updateTable("users")
      .set(change)
      .where("name_key", "=", name.toLowerCase())
      .returningAll()
      .executeTakeFirst(),
  );
}
