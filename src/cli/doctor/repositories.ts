/**
 * Checks that database and store tell the same of repositories: one that no row stands for is
 * served to nobody, one whose manifest is gone is damaged.
 */
import { asFault } from "../../base/fault.js";
import { Database } from "../../database/database.js";
import { allRepositories } from "../../database/repositories.js";
import { storePrefix } from "../../serve/conversation/repository-name.js";
import { storedRepositories } from "../../serve/repositories/stored.js";
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
  const stored = new Map(
    (await withStore(settings, storedRepositories)).map((one) => [one.id, one]),
  );
  const known = new Set(rows.map(({ id }) => id));
  const unnamed = [...stored.keys()].filter((id) => !known.has(id)).map(storePrefix);
  const gone = rows
    .filter(
      ({ id, state, leads_to: target }) =>
        state === "made" && target === null && stored.get(id)?.hasManifest !== true,
    )
    .map(({ title, id }) => title ?? id);
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

function some(names: readonly string[]): string {
  return names.length <= NAMED_MAX
    ? names.join(", ")
    : `${names.slice(0, NAMED_MAX).join(", ")} and ${names.length - NAMED_MAX} more`;
}
