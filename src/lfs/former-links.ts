/**
 * Links of the layout before, which lay in the store:
 *
 *   lfs/links/<repository>/ab/<oid>   its size in decimal; the bytes at lfs/ab/cd/<oid>
 *
 * <repository> is the repository's prefix in the store, "repos/<id>".
 */
import { latin1 } from "../base/bytes.js";
import { LIMITS } from "../base/limits.js";
import { type PublishedObject, takeInLinks } from "../database/lfs.js";
import type { Store, StoreKey } from "../store/store.js";
import type { OwnLfsPlaces } from "./own-store.js";
import { objectKey } from "./publications.js";

const LINKS_FOLDER = "lfs/links/repos/";
/** Digits of the largest size. */
const LINK_BYTES_MAX = 20;

/**
 * Takes all links into the database, a repository's files going when its links are there: whatever
 * it is killed at, the next start goes on. Returns the number of links.
 */
export async function takeInFormerLinks(
  places: OwnLfsPlaces,
  signal: AbortSignal,
): Promise<number> {
  let links = 0;
  for (const name of await places.store.names(LINKS_FOLDER, signal)) {
    if (!name.endsWith("/")) continue;
    const id = name.slice(0, -1);
    links += await takeInOf(places, id, signal);
    await places.store.deleteAll(linksOf(id), signal);
  }
  return links;
}

async function takeInOf(
  { store, database }: OwnLfsPlaces,
  id: string,
  signal: AbortSignal,
): Promise<number> {
  let links = 0;
  let page: PublishedObject[] = [];
  const keep = async () => {
    await takeInLinks(database, id, page, new Date().toISOString());
    links += page.length;
    page = [];
  };
  for await (const object of formerLinks(store, id, signal)) {
    page.push(object);
    if (page.length === LIMITS.lfsLinksAtOnce) await keep();
  }
  await keep();
  return links;
}

/** Yields what a repository's files link to. */
export async function* formerLinks(
  store: Store,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<PublishedObject, void, undefined> {
  for await (const { key } of store.list(linksOf(id), signal)) {
    const oid = key.slice(key.lastIndexOf("/") + 1);
    yield { oid, publication: "", bytes: await bytesOf(store, key, oid, signal) };
  }
}

/** What the link says; where that is damaged, what is there. */
async function bytesOf(
  store: Store,
  link: StoreKey,
  oid: string,
  signal: AbortSignal,
): Promise<number> {
  const said = await store.get(link, LINK_BYTES_MAX, signal);
  const text = said === undefined ? "" : latin1(said.bytes);
  if (/^\d{1,15}$/.test(text)) return Number(text);
  return (await store.size(objectKey({ oid, publication: "" }), signal)) ?? 0;
}

function linksOf(id: string): StoreKey {
  return `${LINKS_FOLDER}${id}/`;
}
