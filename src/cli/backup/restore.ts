/**
 * Makes a data folder of a backup. All is brought into a folder that servers empty at their start,
 * and moved to its place at the end, the database last: what a restore that died has left is no
 * data folder.
 */
import { constants } from "node:fs";
import { chmod, copyFile, mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { asFault, Fault } from "../../base/fault.js";
import { checkAborted } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { Database } from "../../database/database.js";
import type { RepositoryRow } from "../../database/schema.js";
import { objectKey } from "../../lfs/publications.js";
import { ManifestRefs } from "../../odb/manifest/refs.js";
import { writeDerivedFiles } from "../../odb/manifest/stock-git-files.js";
import { MANIFEST_NAME, ManifestStore } from "../../odb/manifest/store.js";
import { storePrefix } from "../../serve/conversation/repository-name.js";
import { DiskStore, makeRoot, syncPath } from "../../store/disk.js";
import type { StoreKey } from "../../store/store.js";
import { namedFiles, readable } from "./named-files.js";
import { liveObjects, places } from "./pages.js";
import { type BackupRecord, DATABASE_COPY, filesFolder, readRecord, runFolder } from "./record.js";
import { Tally } from "./tally.js";

export interface RestoreOptions {
  /** Of the backup, locked by the caller; absolute. */
  readonly folder: string;
  /** The data folder, empty, locked by the caller; absolute. */
  readonly data: string;
  /** Path that its database gets, where nothing may be. */
  readonly database: string;
  /** What the backup should have and has not is left out; otherwise nothing is restored. */
  readonly withoutDamaged: boolean;
  readonly onProgress: (tally: Tally) => void;
  readonly signal: AbortSignal;
}

export interface Restored {
  readonly record: BackupRecord;
  readonly tally: Tally;
}

/** What a command that holds the folder, or a restore that died, has left there. */
const NOTHING: ReadonlySet<string> = new Set(["lock", "lock-journal", "incoming"]);

/** Throws "restore/not-empty". */
export async function checkEmpty(data: string): Promise<void> {
  const names = (await readdir(data)).filter((name) => !NOTHING.has(name));
  if (names.length > 0) throw new Fault("restore/not-empty", { data, holds: names[0] });
}

/** What it has restored is durable when it resolves. Throws "backup/…", "store/full". */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const record = await readRecord(options.folder);
  if (record === undefined) throw new Fault("backup/none", { folder: options.folder });
  const incoming = join(options.data, "incoming");
  await rm(incoming, { recursive: true, force: true });
  try {
    return await new Restoring(options, record, incoming).run();
  } finally {
    await rm(incoming, { recursive: true, force: true });
  }
}

class Restoring {
  readonly #options: RestoreOptions;
  readonly #record: BackupRecord;
  readonly #tally: Tally;
  readonly #incoming: string;
  readonly #staging: string;
  readonly #run: DiskStore;
  readonly #files: DiskStore;
  readonly #store: DiskStore;

  constructor(options: RestoreOptions, record: BackupRecord, incoming: string) {
    this.#options = options;
    this.#record = record;
    this.#tally = new Tally(options.onProgress);
    this.#incoming = incoming;
    this.#staging = join(incoming, "restored");
    this.#run = new DiskStore(runFolder(options.folder, record.run));
    this.#files = new DiskStore(filesFolder(options.folder));
    this.#store = new DiskStore(this.#staging);
  }

  async run(): Promise<Restored> {
    await makeRoot(this.#staging);
    const copy = join(runFolder(this.#options.folder, this.#record.run), DATABASE_COPY);
    const database = await Database.openToRead(copy);
    if (database === undefined) throw new Fault("backup/unreadable", { file: copy });
    try {
      for await (const page of places(database))
        for (const row of page) await this.#repository(row);
      for await (const page of liveObjects(database))
        for (const object of page) await this.#object(objectKey(object), object.bytes);
    } finally {
      await database.close();
    }
    const { damaged, named } = this.#tally;
    if (damaged > 0 && !this.#options.withoutDamaged)
      throw new Fault("backup/damaged", { damaged, first: named.join(", ") });
    await this.#moveIn(copy);
    return { record: this.#record, tally: this.#tally };
  }

  /** Nothing lies under a row that nothing was pushed to. */
  async #repository(row: RepositoryRow): Promise<void> {
    const { signal } = this.#options;
    const prefix = storePrefix(row);
    const key = `${prefix}/${MANIFEST_NAME}`;
    const stored = await this.#run.get(key, LIMITS.manifestBytesMax, signal);
    const manifest = stored && readable(stored.bytes, key);
    let isWhole = manifest !== undefined;
    if (manifest !== undefined)
      for (const { key: file, size } of namedFiles(prefix, manifest))
        isWhole = (await this.#bring(this.#files, file, size)) && isWhole;
    // Records of lakeFS, and the manifest as it is.
    for await (const entry of this.#run.list(`${prefix}/git/`, signal))
      await this.#bring(this.#run, entry.key);
    if (isWhole) await this.#derive(prefix);
    if (isWhole) this.#tally.repository();
    else if (stored !== undefined || row.state === "made") this.#tally.damage(row.title ?? row.id);
  }

  /** What stock Git reads is made anew: a push may have come between it and the manifest. */
  async #derive(prefix: string): Promise<void> {
    const { signal } = this.#options;
    const manifests = new ManifestStore(this.#store, prefix, "refs/heads/main", { isMade: true });
    const refs = await new ManifestRefs(manifests, this.#store, prefix).read(signal);
    const { packs } = await manifests.read(signal);
    await writeDerivedFiles(this.#store, prefix, packs, refs, signal);
  }

  async #object(key: StoreKey, bytes: number): Promise<void> {
    if (await this.#bring(this.#files, key, bytes)) this.#tally.lfsObjects++;
    else this.#tally.damage(key);
  }

  /**
   * Copies a file, sharing its blocks where the file system can: never its name, so that a fault
   * in one of the two is none in the other. False: it is not there, or not in this size.
   */
  async #bring(from: DiskStore, key: StoreKey, bytes?: number): Promise<boolean> {
    const { signal } = this.#options;
    const there = await from.size(key, signal);
    if (there === undefined || (bytes ?? there) !== there) return false;
    const copy = join(this.#incoming, "copy");
    await copyPrivately(await from.localFile(key, signal), copy);
    checkAborted(signal);
    await this.#store.publish(key, copy, signal);
    await rm(copy);
    this.#tally.brought(there);
    return true;
  }

  async #moveIn(copy: string): Promise<void> {
    const { data, database } = this.#options;
    const arriving = `${database}.restored`;
    await mkdir(dirname(database), { recursive: true });
    await copyPrivately(copy, arriving);
    try {
      for (const name of await readdir(this.#staging))
        await rename(join(this.#staging, name), join(data, name));
      await syncPath(data);
      await rename(arriving, database);
      await syncPath(dirname(database));
    } catch (error) {
      await rm(arriving, { force: true });
      throw asFault(error);
    }
  }
}

/** Copies a file for its owner alone, whatever the rights of the one it is copied from. */
async function copyPrivately(from: string, to: string): Promise<void> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE);
    await chmod(to, 0o600);
    await syncPath(to);
  } catch (error) {
    await rm(to, { force: true });
    throw asFault(error);
  }
}
