/**
 * Links of a repository whose rows were lost with a database: by the pointers in its packs. A push
 * brings a pointer only with its object, where .gitattributes make it one; a text that only looks
 * like a pointer is linked too, if somebody has brought that object to this store.
 */
import { checkAborted } from "../base/flow.js";
import {
  findLinked,
  linkToLive,
  type PublishedObject,
  takeInLinks,
  withoutRow,
} from "../database/lfs.js";
import type { PackHandle } from "../odb/packs/handle.js";
import type { Pool } from "../pool/task.js";
import type { OwnLfsPlaces } from "./own-store.js";
import { folderOf, objectKey, readName } from "./publications.js";
import { type FindPointersResult, type FoundPointer, pointersTask } from "./tasks.js";

/** Returns the number of new links. An object that is not in the store gets none. */
export async function relinkObjects(
  places: OwnLfsPlaces & { readonly pool: Pool },
  repositoryId: string,
  packs: readonly PackHandle[],
  signal: AbortSignal,
): Promise<number> {
  let links = 0;
  for (const { checksum: pushed } of packs) {
    for (let from: number | undefined = 0; from !== undefined; ) {
      const { found, next }: FindPointersResult = await places.pool.run(
        pointersTask,
        { packs, pushed, from },
        { signal, priority: "background" },
      );
      for (const pointer of found) if (await relink(places, repositoryId, pointer, signal)) links++;
      from = next;
    }
  }
  return links;
}

async function relink(
  places: OwnLfsPlaces,
  repositoryId: string,
  { sha256: oid, size }: FoundPointer,
  signal: AbortSignal,
): Promise<boolean> {
  checkAborted(signal);
  const { database } = places;
  const now = new Date().toISOString();
  if ((await findLinked(database, repositoryId, oid)) !== undefined) return false;
  if ((await linkToLive(database, repositoryId, oid, now)) !== undefined) return true;
  const lying = await findLying(places, oid, size, signal);
  if (lying === undefined) return false;
  await takeInLinks(database, repositoryId, [lying], now);
  return true;
}

/** Finds the bytes of an object that no row stands for. */
async function findLying(
  { store, database }: OwnLfsPlaces,
  oid: string,
  bytes: number,
  signal: AbortSignal,
): Promise<PublishedObject | undefined> {
  const folder = folderOf(oid);
  const names = (await store.names(folder, signal)).filter((name) => name.startsWith(oid));
  const lying = names.flatMap((name) => readName(folder, name) ?? []);
  for (const one of await withoutRow(database, lying))
    if ((await store.size(objectKey(one), signal)) === bytes) return { ...one, bytes };
  return undefined;
}
