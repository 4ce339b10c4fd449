/** Queries on `repositories` and `grants`: who may what where. */
import type { Database } from "./database.js";
import type { GrantRole, RepositoryRow } from "./schema.js";

export interface Access {
  readonly visibility: RepositoryRow["visibility"];
  /** Null: nothing was granted to the user asked about. */
  readonly role: GrantRole | null;
}

/** Undefined: the repository has no row. `userId` undefined: of nobody in particular. */
export function findAccess(database: Database, repository: string, userId: string | undefined): Promise<Access | undefined> {
  return database.query((db) =>
    db
      .selectFrom("repositories")
      .leftJoin("grants", (join) => join.onRef("grants.repository", "=", "repositories.name").on("grants.user_id", "=", userId ?? ""))
      .select(["repositories.visibility", "grants.role"])
      .where("repositories.name", "=", repository)
      .executeTakeFirst(),
  );
}

/** Leaves a row that is there as it is. */
export async function insertRepository(database: Database, row: RepositoryRow): Promise<void> {
  await database.query((db) => db.insertInto("repositories").values(row).onConflict((conflict) => conflict.column("name").doNothing()).execute());
}

export async function putVisibility(database: Database, row: RepositoryRow): Promise<void> {
  const { visibility } = row;
  await database.query((db) => db.insertInto("repositories").values(row).onConflict((conflict) => conflict.column("name").doUpdateSet({ visibility })).execute());
}

export async function putGrant(database: Database, row: RepositoryRow, userId: string, role: GrantRole): Promise<void> {
  await database.transaction(async (db) => {
    await db.insertInto("repositories").values(row).onConflict((conflict) => conflict.column("name").doNothing()).execute();
    const grant = { repository: row.name, user_id: userId, role };
    await db.insertInto("grants").values(grant).onConflict((conflict) => conflict.columns(["repository", "user_id"]).doUpdateSet({ role })).execute();
  });
}

/** False: there was none. */
export async function deleteGrant(database: Database, repository: string, userId: string): Promise<boolean> {
  const [result] = await database.query((db) => db.deleteFrom("grants").where("repository", "=", repository).where("user_id", "=", userId).execute());
  return (result?.numDeletedRows ?? 0n) > 0n;
}

export function listGrants(database: Database, repository: string): Promise<{ readonly name: string; readonly role: GrantRole }[]> {
  return database.query((db) =>
    db.selectFrom("grants").innerJoin("users", "users.id", "grants.user_id").select(["users.name", "grants.role"]).where("grants.repository", "=", repository).orderBy("users.name_key").execute(),
  );
}
