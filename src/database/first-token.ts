/**
 * The token of the administrator that a first start makes, as long as nobody can be known to have
 * seen it: its id stands in `secrets` from the moment it is made until it was shown. A start that
 * finds one there comes after a crash in between.
 */
import type { Database } from "./database.js";
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

/** User and token, or neither. */
export async function insertFirst(
  database: Database,
  user: UserRow,
  token: NewToken,
): Promise<void> {
  await database.transaction(async (db) => {
    await db.insertInto("users").values(user).execute();
    await db.insertInto("tokens").values(token).execute();
    await db.insertInto("secrets").values({ name: NAME, value: token.id }).execute();
  });
}

/** Another one in place of one that was not shown, which is gone then. */
export async function replaceUnseen(
  database: Database,
  unseen: string,
  token: NewToken,
): Promise<void> {
  await database.transaction(async (db) => {
    await db.deleteFrom("tokens").where("id", "=", unseen).execute();
    await db.insertInto("tokens").values(token).execute();
    await db.updateTable("secrets").set({ value: token.id }).where("name", "=", NAME).execute();
  });
}

export async function forgetUnseen(database: Database): Promise<void> {
  await database.query((db) => db.deleteFrom("secrets").where("name", "=", NAME).execute());
}
