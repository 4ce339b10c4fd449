/** Goes through tables of any length, a page in memory at a time. */
import { LIMITS } from "../../base/limits.js";
import type { Database } from "../../database/database.js";
import { listLive, type PublishedObject } from "../../database/lfs.js";
import { listPlaces } from "../../database/repositories.js";
import type { RepositoryRow } from "../../database/schema.js";

/** Repositories that have a place in the store, by id. */
export function places(database: Database): AsyncGenerator<readonly RepositoryRow[]> {
  return pages(
    (after) => listPlaces(database, after, LIMITS.listedPageMax),
    ({ id }) => id,
  );
}

/** LFS objects that repositories have, by oid. */
export function liveObjects(database: Database): AsyncGenerator<readonly PublishedObject[]> {
  return pages(
    (after) => listLive(database, after, LIMITS.listedPageMax),
    ({ oid }) => oid,
  );
}

async function* pages<T>(
  next: (after: string) => Promise<readonly T[]>,
  keyOf: (item: T) => string,
): AsyncGenerator<readonly T[]> {
  for (let after = ""; ; ) {
    const page = await next(after);
    yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < LIMITS.listedPageMax) return;
    after = keyOf(last);
  }
}
