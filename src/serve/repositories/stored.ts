/** Reads the store's repositories, whatever the database says of them. */
import { MANIFEST_NAME } from "../../odb/manifest/store.js";
import type { Store } from "../../store/store.js";
import { REPOSITORIES_FOLDER } from "../conversation/repository-name.js";

export interface StoredRepository {
  readonly id: string;
  readonly hasManifest: boolean;
}

const FOLDER = REPOSITORIES_FOLDER;

/**
 * By id. A folder that is no id (repositories of older versions, an operator's files) is named by
 * its first part. Asks the store once or twice a repository, however many files it has.
 */
export async function storedRepositories(
  store: Store,
  signal?: AbortSignal,
): Promise<readonly StoredRepository[]> {
  const found: StoredRepository[] = [];
  for (const name of await store.names(FOLDER, signal)) {
    const id = name.replace(/\/$/, "");
    const manifest = `${FOLDER}${id}/${MANIFEST_NAME}`;
    const hasManifest = id !== name && (await store.size(manifest, signal)) !== undefined;
    if (hasManifest || id === name || (await hasFiles(store, `${FOLDER}${name}`, signal)))
      found.push({ id, hasManifest });
  }
  return found;
}

/** A push that ended before it stored anything has left its folders alone. */
async function hasFiles(store: Store, prefix: string, signal?: AbortSignal): Promise<boolean> {
  for await (const _ of store.list(prefix, signal)) return true;
  return false;
}
