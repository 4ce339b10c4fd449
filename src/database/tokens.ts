/** Queries on `tokens`. */
import type { Database } from "./database.js";
import type { NewToken, TokenRow, UserRow } from "./schema.js";

/** A token and whose it is. */
export interface OwnedToken extends TokenRow, Pick<UserRow, "is_admin" | "disabled_at"> {
  readonly user_name: string;
}

export async function insertToken(database: Database, row: NewToken): Promise<void> {
  await database.transaction((db) => db.insertInto("tokens").values(row).execute());
}

export function findToken(database: Database, hash: string): Promise<OwnedToken | undefined> {
  return database.query((db) => owned(db).where("tokens.hash", "=", hash).executeTakeFirst());
}

export function findTokenById(database: Database, id: string): Promise<OwnedToken | undefined> {
  return database.query((db) => owned(db).where("tokens.id", "=", id).executeTakeFirst());
}

/** By id, those behind `after`; `userId`: of this user only. */
export function listTokens(
  database: Database,
  userId: string | undefined,
  after: string,
  count: number,
): Promise<OwnedToken[]> {
  return database.query((db) => {
    const rows = owned(db).where("tokens.id", ">", after).orderBy("tokens.id").limit(count);
    return (userId === undefined ? rows : rows.where("tokens.user_id", "=", userId)).execute();
  });
}

/** False: there is no token of this id that was not revoked before. */
export async function revokeToken(database: Database, id: string, at: string): Promise<boolean> {
  const [result] = await database.transaction((db) =>
    db
      .updateTable("tokens")
      .set({ revoked_at: at })
      .where("id", "=", id)
      .where("revoked_at", "is", null)
      .execute(),
  );
  return (result?.numUpdatedRows ?? 0n) > 0n;
}

export async function touchToken(database: Database, id: string, at: string): Promise<void> {
  await database.query((db) =>
    db.updateTable("tokens").set({ last_used_at: at }).where("id", "=", id).execute(),
  );
}

function owned(db: Parameters<Parameters<Database["query"]>[0]>[0]) {
  return db
    .selectFrom("tokens")
    .innerJoin("users", "users.id", "tokens.user_id")
    .selectAll("tokens")
    .select(["users.name as user_name", "users.is_admin", "users.disabled_at"]);
}
