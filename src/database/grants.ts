/** Queries on `grants`: who was given a role where. */
import type { Database } from "./database.js";
import type { GrantRole } from "./schema.js";

export async function putGrant(
  database: Database,
  repositoryId: string,
  userId: string,
  role: GrantRole,
): Promise<void> {
  const grant = { repository_id: repositoryId, user_id: userId, role };
  await database.query((db) =>
    db
      .insertInto("grants")
      .values(grant)
      .onConflict((conflict) =>
        conflict.columns(["repository_id", "user_id"]).doUpdateSet({ role }),
      )
      .execute(),
  );
}

/** False: there was none. */
export async function deleteGrant(
  database: Database,
  repositoryId: string,
  userId: string,
): Promise<boolean> {
  const [result] = await database.transaction((db) =>
    db
      .deleteFrom("grants")
      .where("repository_id", "=", repositoryId)
      .where("user_id", "=", userId)
      .execute(),
  );
  return (result?.numDeletedRows ?? 0n) > 0n;
}

export function listGrants(
  database: Database,
  repositoryId: string,
): Promise<{ readonly name: string; readonly role: GrantRole }[]> {
  return database.query((db) =>
    db
      .selectFrom("grants")
      .innerJoin("users", "users.id", "grants.user_id")
      .select(["users.name", "grants.role"])
      .where("grants.repository_id", "=", repositoryId)
      .orderBy("users.name_key")
      .execute(),
  );
}
