/** Queries on `grants`: who was given a role where. */
import type { ExpressionBuilder, Kysely } from "kysely";
import type { Database } from "./database.js";
import type { GrantRole, Schema } from "./schema.js";

export async function putGrant(
  database: Database,
  repositoryId: string,
  userId: string,
  role: GrantRole,
): Promise<void> {
  await database.query((db) =>
    db
      .insertInto("grants")
      .values({
        repository_id: repositoryId,
        user_id: userId,
        role,
        title: listedTitle(db, repositoryId),
      })
      .onConflict((conflict) =>
        conflict.columns(["repository_id", "user_id"]).doUpdateSet({ role }),
      )
      .execute(),
  );
}

/** The title by which grants of a repository are listed. */
export function listedTitle(db: Kysely<Schema>, repositoryId: string) {
  return db
    .selectFrom("repositories")
    .select((select) => select.fn.coalesce("title", "former_title").as("title"))
    .where("id", "=", repositoryId)
    .where(isListed);
}

/** Not what a hub's rule computes: it may be computed no more. */
export function isListed(where: ExpressionBuilder<Schema, "repositories">) {
  return where.or([
    where("repositories.namespace", "is not", null),
    where("repositories.lakefs", "is not", null),
  ]);
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
