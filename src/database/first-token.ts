/**
 * The token of the administrator that a first start makes, as long as nobody can be known to have
 * seen it: its id stands in `secrets` from the moment it is made until it was shown. A start that
 * finds one there comes after a crash in between, or beside another node that is about to show it.
 */
import type { Database } from "./database.js";
import { lockName } from "./name-lock.js";
import type { NewToken, TokenRow, UserRow } from "./schema.js";

const NAME = "first-token";

export function findUnseen(database: Database): Promise<TokenRow | undefined> {
  return database.query((db) =>
    db
      .selectFrom("tokens")
      .innerJoin("secrets", "secrets.value", "tokens.id")
      .selectAll("tokens")
      .where("secrets.name", "=", NAME)
      .executeTakeFirst(),
  );
}

/** User and token, or neither. False: there is a user by now. */
export function insertFirst(database: Database, user: UserRow, token: NewToken): Promise<boolean> {
  return database.transaction(async (db) => {
    await lockName(db, NAME);
    const somebody = await db.selectFrom("users").select("id").limit(1).executeTakeFirst();
    if (somebody !== undefined) return false;
    await db.insertInto("users").values(user).execute();
    await db.insertInto("tokens").values(token).execute();
    await db.insertInto("secrets").values({ name: NAME, value: token.id }).execute();
    return true;
  });
}

/**
 * Another one in place of one that was not shown, which is gone then. False: it was shown by now,
 * or replaced.
 */
export function replaceUnseen(
  database: Database,
  unseen: string,
  token: NewToken,
): Promise<boolean> {
  return database.transaction(async (db) => {
    const [noted] = await db
      .updateTable("secrets")
      .set({ value: token.id })
      .where("name", "=", NAME)
      .where("value", "=", unseen)
      .execute();
    if (noted?.numUpdatedRows !== 1n) return false;
    await db.deleteFrom("tokens").where("id", "=", unseen).execute();
    await db.insertInto("tokens").values(token).execute();
    return true;
  });
}

/** Notes that the token of this id was shown. */
export async function forgetUnseen(database: Database, id: string): Promise<void> {
  await database.query((db) =>
    db.deleteFrom("secrets").where("name", "=", NAME).where("value", "=", id).execute(),
  );
}
