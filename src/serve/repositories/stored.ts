/** What the store has of repositories, whatever the database says of them. */
import { MANIFEST_NAME } from "../../odb/manifest/store.js";
import type { Store } from "../../store/store.js";
import { storePrefix } from "../conversation/repository-name.js";

export interface StoredRepository {
  readonly id: string;
  readonly hasManifest: boolean;
}

const FOLDER = storePrefix("");

/**
 * By id. What lies there under something that is no id (repositories of older versions, an
 * operator's files) is named by its first folder.
 */
export async function storedRepositories(
  store: Store,
  signal?: AbortSignal,
): Promise<readonly StoredRepository[]> {
  const found = new Map<string, boolean>();
  for await (const { key } of store.list(FOLDER, signal)) {
    const [id = "", ...rest] = key.slice(FOLDER.length).split("/");
    found.set(id, found.get(id) === true || rest.join("/") === MANIFEST_NAME);
  }
  return [...found].map(([id, hasManifest]) => ({ id, hasManifest }));
}
