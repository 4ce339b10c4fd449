/**
 * Removes LFS objects of our own store. A repository that is gone loses its links; an object that
 * nothing links to any more is dropped, which lasts, and goes when the grace is over. A delete that
 * comes late, of this server or another, meets a name that nobody uses again. Costs in proportion
 * to what goes; only `dropStrays` looks at the whole store.
 */
import { checkAborted } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import {
  dropUnfinished,
  forgetDropped,
  listDropped,
  listRowless,
  noteDropped,
  type PublishedObject,
  unlink,
  withoutRow,
} from "../database/lfs.js";
import type { Amount, StoreKey } from "../store/store.js";
import type { OwnLfsPlaces } from "./own-store.js";
import { LFS_FOLDER, objectKey, readName } from "./publications.js";

const HEX_FOLDER = /^[0-9a-f]{2}\/$/;

/** Takes away all links of a repository. With `atOnce` the objects that this drops go as well. */
export async function removeLinks(
  places: OwnLfsPlaces,
  repositoryId: string,
  atOnce: boolean,
  signal: AbortSignal,
): Promise<Amount> {
  const removed = { files: 0, bytes: 0 };
  let links: number;
  do {
    checkAborted(signal);
    const page = await unlink(places.database, repositoryId, LIMITS.lfsLinksAtOnce, isoTime(0));
    if (atOnce) add(removed, await deleteObjects(places, page.dropped, signal));
    links = page.links;
  } while (links === LIMITS.lfsLinksAtOnce);
  return removed;
}

/** Removes what was dropped longer than `graceMs` ago. */
export async function deleteDropped(
  places: OwnLfsPlaces,
  graceMs: number,
  signal: AbortSignal,
): Promise<Amount> {
  const removed = { files: 0, bytes: 0 };
  const { database } = places;
  await dropUnfinished(database, isoTime(Math.max(graceMs, LIMITS.lfsUnfinishedMs)), isoTime(0));
  const before = isoTime(graceMs);
  const page = () => listDropped(database, before, LIMITS.lfsListedAtOnce);
  for (let found = await page(); found.length > 0; found = await page())
    add(removed, await deleteObjects(places, found, signal));
  return removed;
}

/**
 * Drops what no repository can come to: objects that ids without a row link to, for `graceMs` and a
 * day at least, and files that no row stands for, of a layout or a database before.
 */
export async function dropStrays(
  places: OwnLfsPlaces,
  graceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const before = isoTime(Math.max(graceMs, LIMITS.lfsUnfinishedMs));
  const page = () => listRowless(places.database, before, LIMITS.lfsListedAtOnce);
  for (let ids = await page(); ids.length > 0; ids = await page())
    for (const id of ids) await removeLinks(places, id, false, signal);
  for await (const folder of foldersOf(places, signal)) await dropStraysIn(places, folder, signal);
}

/** The bytes first: a row that a crash leaves says that they are to go. */
async function deleteObjects(
  { store, database }: OwnLfsPlaces,
  objects: readonly PublishedObject[],
  signal: AbortSignal,
): Promise<Amount> {
  const removed = { files: 0, bytes: 0 };
  for (const object of objects) {
    await store.delete(objectKey(object), signal);
    if (await forgetDropped(database, object)) add(removed, { files: 1, bytes: object.bytes });
  }
  return removed;
}

/** The folders "lfs/ab/cd/". */
async function* foldersOf(
  { store }: OwnLfsPlaces,
  signal: AbortSignal,
): AsyncGenerator<StoreKey, void, undefined> {
  for (const first of await store.names(LFS_FOLDER, signal)) {
    if (!HEX_FOLDER.test(first)) continue;
    for (const second of await store.names(LFS_FOLDER + first, signal))
      if (HEX_FOLDER.test(second)) yield LFS_FOLDER + first + second;
  }
}

async function dropStraysIn(
  { store, database }: OwnLfsPlaces,
  folder: StoreKey,
  signal: AbortSignal,
): Promise<void> {
  const found = (await store.names(folder, signal)).flatMap((name) => readName(folder, name) ?? []);
  for (let at = 0; at < found.length; at += LIMITS.lfsListedAtOnce) {
    const unknown = await withoutRow(database, found.slice(at, at + LIMITS.lfsListedAtOnce));
    const strays: PublishedObject[] = [];
    for (const one of unknown)
      strays.push({ ...one, bytes: (await store.size(objectKey(one), signal)) ?? 0 });
    await noteDropped(database, strays, isoTime(0));
  }
}

function add(sum: { files: number; bytes: number }, { files, bytes }: Amount): void {
  sum.files += files;
  sum.bytes += bytes;
}

/** So many milliseconds ago. */
function isoTime(agoMs: number): string {
  return new Date(Date.now() - agoMs).toISOString();
}
