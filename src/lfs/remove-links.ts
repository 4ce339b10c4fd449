/**
 * Removes what repositories that are gone had of LFS objects in our own store: their links, and the
 * objects that no other repository links to.
 */
import type { Amount, Store } from "../store/store.js";
import { LINKS_FOLDER, linksFolder, objectKey } from "./own-store.js";

/**
 * `repositories`: their prefixes in the store. Objects written after `beforeMs` (since 1970) stay:
 * somebody may be about to link to them.
 */
export async function removeLinks(
  store: Store,
  repositories: readonly string[],
  beforeMs: number,
  signal: AbortSignal,
): Promise<Amount> {
  const folders = repositories.map(linksFolder);
  const oids = new Set<string>();
  for (const folder of folders)
    for await (const { key } of store.list(folder, signal)) oids.add(oidOf(key));
  const removed = { files: 0, bytes: 0 };
  if (oids.size === 0) return removed;
  for await (const { key } of store.list(LINKS_FOLDER, signal))
    if (!folders.some((folder) => key.startsWith(folder))) oids.delete(oidOf(key));
  for (const oid of oids) {
    const bytes = await store.size(objectKey(oid), signal);
    if (
      bytes === undefined ||
      (await store.deleteOlder?.(objectKey(oid), beforeMs, signal)) !== true
    )
      continue;
    removed.files++;
    removed.bytes += bytes;
  }
  // Last: a crash before it leaves the work to be found again.
  for (const folder of folders) await store.deleteAll(folder, signal);
  return removed;
}

function oidOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}
