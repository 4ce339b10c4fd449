/**
 * Removes the files of a backup that its run does not name: of packs made one with others, of
 * repositories that are gone, of a run that died. After the record: nobody restores what had them.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Database } from "../../database/database.js";
import { isLive } from "../../database/lfs.js";
import { LIMITS } from "../../base/limits.js";
import { readName } from "../../lfs/publications.js";
import { stemOfKey } from "../../odb/manifest/collect.js";
import { stemsOf } from "../../odb/manifest/manifest.js";
import { MANIFEST_NAME } from "../../odb/manifest/store.js";
import { DiskStore } from "../../store/disk.js";
import type { StoreKey } from "../../store/store.js";
import { readable } from "./named-files.js";
import { DATABASE_COPY, filesFolder, runFolder } from "./record.js";

export async function removeUnnamed(
  folder: string,
  run: string,
  signal: AbortSignal,
): Promise<void> {
  const database = await Database.openToRead(join(runFolder(folder, run), DATABASE_COPY));
  if (database === undefined) return;
  try {
    const pruning = new Pruning(folder, run, database, signal);
    for (const name of await readdir(filesFolder(folder))) await pruning.folder(`${name}/`);
  } finally {
    await database.close();
  }
}

class Pruning {
  readonly #files: DiskStore;
  readonly #run: DiskStore;
  readonly #database: Database;
  readonly #signal: AbortSignal;
  /** The repository whose files were looked at last. */
  #last: { readonly prefix: string; readonly stems: ReadonlySet<string> } | undefined;

  constructor(folder: string, run: string, database: Database, signal: AbortSignal) {
    this.#files = new DiskStore(filesFolder(folder));
    this.#run = new DiskStore(runFolder(folder, run));
    this.#database = database;
    this.#signal = signal;
  }

  /** What a write that died has left goes too: the backup's lock is ours. */
  async folder(prefix: StoreKey): Promise<void> {
    for (const name of await this.#files.names(prefix, this.#signal)) {
      if (name.endsWith("/")) await this.folder(prefix + name);
      else if (!(await this.#isNamed(prefix, name)))
        await this.#files.delete(prefix + name, this.#signal);
    }
  }

  async #isNamed(folder: StoreKey, name: string): Promise<boolean> {
    const object = readName(folder, name);
    if (object !== undefined) return isLive(this.#database, object);
    const key = folder + name;
    const stem = stemOfKey(key);
    const end = key.indexOf("/git/");
    return stem !== undefined && (await this.#stems(key.slice(0, end))).has(stem);
  }

  async #stems(prefix: string): Promise<ReadonlySet<string>> {
    if (this.#last?.prefix === prefix) return this.#last.stems;
    const key = `${prefix}/${MANIFEST_NAME}`;
    const stored = await this.#run.get(key, LIMITS.manifestBytesMax, this.#signal);
    const manifest = stored && readable(stored.bytes, key);
    const stems = manifest === undefined ? new Set<string>() : stemsOf(manifest);
    this.#last = { prefix, stems };
    return stems;
  }
}
