/**
 * Checks that histories of lakeFS repositories are whole in Git, as this data folder has noted it:
 * lakeFS is not asked.
 */
import { asFault } from "../../base/fault.js";
import { Database } from "../../database/database.js";
import { allRepositories } from "../../database/repositories.js";
import { LakeNotes } from "../../lakefs/read/lake-notes.js";
import { storePrefix } from "../../serve/conversation/repository-name.js";
import type { RepositoryRow } from "../../database/schema.js";
import type { Store } from "../../store/store.js";
import { withStore } from "../server/store.js";
import { databasePlace } from "../server/accounts.js";
import type { Check } from "./check.js";
import type { Settings } from "../server/settings.js";

const ADVICE =
  "lakeFS's garbage collection has removed data of old commits. Those made in lakeFS stay out of Git for good; those that were pushed keep their place, and " +
  "who needs such a file is refused: git clone --depth=1 and --filter=blob:none do without. Restore the data, push it again from a whole clone to a new " +
  "repository, or give the rules a longer retention; lakepack doctor --lakefs REPOSITORY lists all cuts";
/** In one line. */
const NAMED_MAX = 3;

/** Never rejects. */
export async function checkHistories(settings: Settings): Promise<Check> {
  try {
    const cuts = await noted(settings);
    if (cuts.length === 0)
      return { name: "history", good: true, found: "none is known to be cut, or to miss data" };
    const more = cuts.length > NAMED_MAX ? ` and ${cuts.length - NAMED_MAX} more` : "";
    return {
      name: "history",
      good: false,
      found: `${cuts.slice(0, NAMED_MAX).join(", ")}${more}`,
      advice: ADVICE,
    };
  } catch (error) {
    return {
      name: "history",
      good: false,
      found: asFault(error).message,
      advice: "see the database and the data folder",
    };
  }
}

/** "repository: cut at lakeFS commit … (path)", "repository: data of pushed commit …". */
async function noted(settings: Settings): Promise<string[]> {
  const database = await Database.openToRead(databasePlace(settings));
  const rows =
    database === undefined ? [] : await allRepositories(database).finally(() => database.close());
  return withStore(settings, (store) => notedIn(store, rows));
}

async function notedIn(store: Store, rows: readonly RepositoryRow[]): Promise<string[]> {
  const found: string[] = [];
  for (const row of rows) {
    const { lakefs, title } = row;
    if (lakefs === null || title === null) continue;
    const records = new LakeNotes(store, storePrefix(row));
    for (const { commit, path } of await records.cuts())
      found.push(`${lakefs}: cut at lakeFS commit ${commit.slice(0, 12)} (${path})`);
    for (const { commit, path } of await records.lost())
      found.push(
        `${lakefs}: data of a pushed file is gone at lakeFS commit ${commit.slice(0, 12)} (${path})`,
      );
  }
  return found;
}
