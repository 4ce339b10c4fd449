/** Whether histories of lakeFS repositories are whole in Git, as this data folder has noted it: lakeFS is not asked. */
import { resolve } from "node:path";
import { asFault } from "../base/fault.js";
import { Database } from "../database/database.js";
import { allRepositories } from "../database/repositories.js";
import { LakeRecords } from "../lakefs/records.js";
import { storePrefix } from "../serve/repository-name.js";
import { DiskStore } from "../store/disk.js";
import { databasePath } from "./accounts.js";
import type { Check } from "./doctor-checks.js";
import type { Settings } from "./settings.js";

const ADVICE =
  "lakeFS's garbage collection has removed data of old commits; they stay out of Git for good. " +
  "Give its rules a longer retention; lakepack doctor --lakefs REPOSITORY lists all";
/** In one line. */
const NAMED_MAX = 3;

/** Never rejects. */
export async function checkHistories(settings: Settings): Promise<Check> {
  try {
    const cuts = await notedCuts(settings);
    if (cuts.length === 0) return { name: "history", good: true, found: "none is known to be cut" };
    const more = cuts.length > NAMED_MAX ? ` and ${cuts.length - NAMED_MAX} more` : "";
    return { name: "history", good: false, found: `${cuts.slice(0, NAMED_MAX).join(", ")}${more}`, advice: ADVICE };
  } catch (error) {
    return {
      name: "history",
      good: false,
      found: asFault(error).message,
      advice: "see the database and the data folder",
    };
  }
}

/** "repository: cut at commit … (path)". */
async function notedCuts(settings: Settings): Promise<string[]> {
  const database = Database.openToRead(databasePath(settings));
  const rows = database === undefined ? [] : await allRepositories(database).finally(() => database.close());
  const store = new DiskStore(resolve(settings.data));
  const found: string[] = [];
  for (const { id, lakefs, title } of rows) {
    if (lakefs === null || title === null) continue;
    for (const { commit, path } of await new LakeRecords(store, storePrefix(id)).cuts())
      found.push(`${lakefs}: cut at lakeFS commit ${commit.slice(0, 12)} (${path})`);
  }
  return found;
}
