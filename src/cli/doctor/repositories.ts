/**
 * Checks that database and store tell the same of repositories: one that no row stands for is
 * served to nobody, one whose manifest is gone is damaged.
 */
import { asFault } from "../../base/fault.js";
import { Database } from "../../database/database.js";
import { MANIFEST_NAME } from "../../odb/manifest/store.js";
import type { RepositoryRow } from "../../database/schema.js";
import type { Store } from "../../store/store.js";
import { allRepositories } from "../../database/repositories.js";
import { REPOSITORIES_FOLDER } from "../../serve/conversation/repository-name.js";
import { type StoredRepository, storedRepositories } from "../../serve/repositories/stored.js";
import { withStore } from "../server/store.js";
import { databasePlace } from "../server/accounts.js";
import type { Check } from "./check.js";
import type { Settings } from "../server/settings.js";

export const UNNAMED_ADVICE =
  "lakepack repo recover gives it the name that its manifest tells; what must not come back is removed by hand";
const GONE_ADVICE =
  "restore git/manifest of these from a backup, or give them up with lakepack repo delete";
/** Names shown of each kind, in one line. */
const NAMED_MAX = 5;

/** Never rejects. */
export async function checkRepositories(settings: Settings): Promise<Check> {
  try {
    return await compare(settings);
  } catch (error) {
    return {
      name: "repositories",
      good: false,
      found: asFault(error).message,
      advice: "see the database and the data folder",
    };
  }
}

async function compare(settings: Settings): Promise<Check> {
  const database = await Database.openToRead(databasePlace(settings));
  const rows =
    database === undefined ? [] : await allRepositories(database).finally(() => database.close());
  const known = new Set(rows.map(({ id }) => id));
  const { unnamed, gone } = await withStore(settings, async (store) => {
    const stored = await storedRepositories(store);
    return {
      unnamed: stored.filter(({ id }) => !known.has(id)).map(({ id }) => REPOSITORIES_FOLDER + id),
      gone: await withoutManifest(store, rows, stored),
    };
  });
  if (unnamed.length === 0 && gone.length === 0)
    return {
      name: "repositories",
      good: true,
      found: `${known.size} in the database, and the store has no others`,
    };
  const found = [
    ...(unnamed.length === 0 ? [] : [`no name leads to ${some(unnamed)}`]),
    ...(gone.length === 0 ? [] : [`the manifest is gone of ${some(gone)}`]),
  ];
  const advice = [
    ...(unnamed.length === 0 ? [] : [UNNAMED_ADVICE]),
    ...(gone.length === 0 ? [] : [GONE_ADVICE]),
  ];
  return { name: "repositories", good: false, found: found.join("; "), advice: advice.join("; ") };
}

/** Names of repositories that have had a manifest, and have none. */
async function withoutManifest(
  store: Store,
  rows: readonly RepositoryRow[],
  stored: readonly StoredRepository[],
): Promise<string[]> {
  const found = new Set(stored.filter(({ hasManifest }) => hasManifest).map(({ id }) => id));
  const gone: string[] = [];
  for (const row of rows) {
    if (row.state !== "made" || row.leads_to !== null || found.has(row.id)) continue;
    const isElsewhere = row.prefix !== null;
    if (isElsewhere && (await store.size(`${row.prefix}/${MANIFEST_NAME}`)) !== undefined) continue;
    gone.push(row.title ?? row.id);
  }
  return gone;
}

function some(names: readonly string[]): string {
  return names.length <= NAMED_MAX
    ? names.join(", ")
    : `${names.slice(0, NAMED_MAX).join(", ")} and ${names.length - NAMED_MAX} more`;
}
