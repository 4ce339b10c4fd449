/**
 * Backs a data folder up, beside the server that serves it. Reads only there.
 *
 * The order is what makes it whole: manifests first, then the database, then the LFS objects that
 * the database names.
 *
 *   - A push links its LFS objects before its manifest is written. So a database that is younger
 *     than each manifest has all links that they need; the other way round a push that came
 *     between would be there without its large files.
 *   - A repository whose first push came after its manifest was looked for is, in the copy of the
 *     database, one that nothing was pushed to: that push is absent as a whole.
 *   - What was acknowledged before the beginning is in the manifest, as each is read after that.
 *
 * Where gc removes a file of the manifest that is being copied, there is a newer manifest.
 */
import { randomBytes } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { asFault, Fault } from "../../base/fault.js";
import { checkAborted } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { copyDatabase, markUnpushed } from "../../database/copy.js";
import { Database } from "../../database/database.js";
import { hasLfsTables, isLive, type PublishedObject } from "../../database/lfs.js";
import { findRepositoryById } from "../../database/repositories.js";
import type { RepositoryRow } from "../../database/schema.js";
import { objectKey } from "../../lfs/publications.js";
import { PROMISED_FOLDER } from "../../odb/manifest/manifest.js";
import { MANIFEST_NAME } from "../../odb/manifest/store.js";
import { storePrefix } from "../../serve/conversation/repository-name.js";
import { DiskStore, makeRoot, syncPath } from "../../store/disk.js";
import type { StoreKey, StoreTag } from "../../store/store.js";
import { VERSION } from "../server/version.js";
import { namedFiles, readable } from "./named-files.js";
import { liveObjects, places } from "./pages.js";
import { removeUnnamed } from "./prune.js";
import {
  type BackupRecord,
  DATABASE_COPY,
  filesFolder,
  readRecord,
  runFolder,
  writeRecord,
} from "./record.js";
import { Tally } from "./tally.js";

export interface BackupOptions {
  /** The data folder, absolute. */
  readonly data: string;
  /** Path of its database. */
  readonly database: string;
  /** Of the backup, locked by the caller; absolute. */
  readonly folder: string;
  /** What is missing or damaged is left out; otherwise nothing is backed up. */
  readonly withoutDamaged: boolean;
  readonly onProgress: (tally: Tally) => void;
  readonly signal: AbortSignal;
}

export interface BackedUp {
  readonly record: BackupRecord;
  readonly tally: Tally;
}

/**
 * Brings the backup up to date, or makes it; it is durable when this resolves, and until then the
 * one before is the backup. Throws "backup/…", "store/full".
 */
export async function backUp(options: BackupOptions): Promise<BackedUp> {
  const live = await openLive(options.database);
  const run = randomBytes(RUN_BYTES).toString("hex");
  try {
    const before = await readRecord(options.folder);
    await checkSame(options.folder, before, live);
    const isAfterDeath = await removeRuns(options.folder, before?.run);
    const done = await new Run(options, live, run, isAfterDeath).run();
    await removeRuns(options.folder, run);
    await removeUnnamed(options.folder, run, options.signal);
    return done;
  } catch (error) {
    // It would fill the disk until the next one; where it is the backup already, it stays.
    const kept = await readRecord(options.folder).catch(() => undefined);
    if (kept?.run !== run) await discard(runFolder(options.folder, run));
    throw error;
  } finally {
    await live.close();
  }
}

const RUN_BYTES = 8;

async function openLive(path: string): Promise<Database> {
  const database = await Database.openToRead(path);
  if (database === undefined) throw new Fault("backup/nothing", { database: path });
  if (await hasLfsTables(database)) return database;
  await database.close();
  throw new Fault("backup/nothing", { database: path });
}

/**
 * Refuses to bring the backup of other repositories up to date, as where the data folder's disk is
 * not mounted: what nothing names any more would be removed. Throws "backup/foreign".
 */
async function checkSame(
  folder: string,
  before: BackupRecord | undefined,
  live: Database,
): Promise<void> {
  if (before === undefined) return;
  const copy = await Database.openToRead(join(runFolder(folder, before.run), DATABASE_COPY));
  if (copy === undefined) return;
  try {
    let count = 0;
    for await (const page of places(copy)) {
      count += page.length;
      for (const { id } of page) if ((await findRepositoryById(live, id)) !== undefined) return;
    }
    if (count > 0) throw new Fault("backup/foreign", { folder, repositories: count, known: 0 });
  } finally {
    await copy.close();
  }
}

/** Removes all runs but `kept`. Returns whether there were any: one that died has left it. */
async function removeRuns(folder: string, kept: string | undefined): Promise<boolean> {
  const runs = join(folder, "runs");
  const names = await readdir(runs).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw asFault(error);
  });
  const old = names.filter((name) => name !== kept);
  for (const name of old) await rm(join(runs, name), { recursive: true, force: true });
  return old.length > 0;
}

async function discard(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true }).catch(() => undefined); // the next run removes it
}

class Run {
  readonly #options: BackupOptions;
  readonly #live: Database;
  readonly #id: string;
  readonly #tally: Tally;
  readonly #store: DiskStore;
  readonly #files: DiskStore;
  readonly #run: DiskStore;
  /** What is found may be a dead run's, that did not come to sync its names. */
  readonly #isAfterDeath: boolean;

  constructor(options: BackupOptions, live: Database, id: string, isAfterDeath: boolean) {
    this.#options = options;
    this.#live = live;
    this.#id = id;
    this.#tally = new Tally(options.onProgress);
    this.#store = new DiskStore(options.data);
    this.#files = new DiskStore(filesFolder(options.folder));
    this.#run = new DiskStore(this.#folder);
    this.#isAfterDeath = isAfterDeath;
  }

  get #folder(): string {
    return runFolder(this.#options.folder, this.#id);
  }

  async run(): Promise<BackedUp> {
    const { folder } = this.#options;
    const at = new Date().toISOString();
    await makeRoot(this.#folder);
    await makeRoot(filesFolder(folder));
    // Most of them before the database is copied: so little is left that may go after it.
    for await (const page of liveObjects(this.#live))
      for (const object of page) await this.#object(object);
    for await (const page of places(this.#live))
      for (const row of page) await this.#repository(row);
    await this.#database();
    this.#checkDamage();
    const record: BackupRecord = {
      format: 1,
      lakepack: VERSION,
      at,
      run: this.#id,
      repositories: this.#tally.repositories,
      lfs_objects: this.#tally.lfsObjects,
      damaged: this.#tally.damaged,
    };
    await writeRecord(folder, record);
    return { record, tally: this.#tally };
  }

  /** Throws "backup/damaged". */
  #checkDamage(): void {
    const { damaged, named } = this.#tally;
    if (damaged > 0 && !this.#options.withoutDamaged)
      throw new Fault("backup/damaged", { damaged, first: named.join(", ") });
  }

  // Repositories ----------------------------------------------------------------------------------

  /** Throws "store/conflict" where each look meets another manifest whose files go. */
  async #repository(row: RepositoryRow): Promise<void> {
    const prefix = storePrefix(row);
    const { signal } = this.#options;
    const key = `${prefix}/${MANIFEST_NAME}`;
    let seen: StoreTag | undefined;
    for (let look = 0; look < LIMITS.backupLooksMax; look++) {
      await this.#records(prefix);
      const stored = await this.#store.get(key, LIMITS.manifestBytesMax, signal);
      if (stored === undefined) return this.#withoutManifest(row);
      const isWhole = await this.#named(prefix, stored.bytes);
      if (isWhole || stored.tag === seen) {
        await this.#run.put(key, stored.bytes, signal); // damaged: lest it be taken for a new one
        return isWhole ? this.#tally.repository() : this.#tally.damage(row.title ?? row.id);
      }
      seen = stored.tag;
    }
    throw new Fault("store/conflict", { repository: row.title ?? row.id });
  }

  /** One that has had a manifest is damaged without it, unless it is gone by now. */
  async #withoutManifest({ id, title }: RepositoryRow): Promise<void> {
    const now = await findRepositoryById(this.#live, id);
    if (now?.state === "made" && now.leads_to === null) this.#tally.damage(title ?? id);
  }

  /** False: it cannot be read, or a file that it names is not there, or not as it says. */
  async #named(prefix: string, bytes: Uint8Array): Promise<boolean> {
    const manifest = readable(bytes, prefix);
    if (manifest === undefined) return false;
    for (const { key, size } of namedFiles(prefix, manifest))
      if (!(await this.#bring(key, size))) return false;
    return true;
  }

  /**
   * What was read of lakeFS: before the manifest, whose packs have the commits that they tell of.
   * They are replaced as a whole, so a link to one stays what it was.
   */
  async #records(prefix: string): Promise<void> {
    const { signal } = this.#options;
    for (const name of await this.#store.names(`${prefix}/git/`, signal)) {
      if (!name.startsWith("lake") || name === `${PROMISED_FOLDER}/`) continue;
      const key = `${prefix}/git/${name}`;
      if (!name.endsWith("/")) await this.#record(key);
      else for await (const entry of this.#store.list(key, signal)) await this.#record(entry.key);
    }
  }

  async #record(key: StoreKey): Promise<void> {
    await this.#run.delete(key, this.#options.signal); // of a look before
    const bytes = await this.#publish(this.#run, key);
    if (bytes !== undefined) this.#tally.brought(bytes);
  }

  // The database and LFS objects ------------------------------------------------------------------

  /** Copies it again where one of its LFS objects was removed while it was copied. */
  async #database(): Promise<void> {
    const path = join(this.#folder, DATABASE_COPY);
    for (let look = 0; look < LIMITS.backupLooksMax; look++) {
      checkAborted(this.#options.signal);
      await rm(path, { force: true });
      copyDatabase(this.#options.database, path);
      await this.#markUnpushed(path);
      if (!(await this.#objectsOf(path))) continue;
      await syncPath(path);
      return syncPath(this.#folder);
    }
    throw new Fault("store/conflict", { database: path, looks: LIMITS.backupLooksMax });
  }

  async #markUnpushed(path: string): Promise<void> {
    const copy = await openLive(path);
    try {
      for await (const page of places(copy)) {
        const unpushed: string[] = [];
        for (const row of page) if (await this.#isNewer(row)) unpushed.push(row.id);
        markUnpushed(path, unpushed);
      }
    } finally {
      await copy.close();
    }
  }

  /** Its first push came after its manifest was looked for. */
  async #isNewer(row: RepositoryRow): Promise<boolean> {
    const key = `${storePrefix(row)}/${MANIFEST_NAME}`;
    const { signal } = this.#options;
    if (row.state !== "made" || (await this.#run.size(key, signal)) !== undefined) return false;
    return (await this.#store.size(key, signal)) !== undefined;
  }

  /** False: one that was removed meanwhile is not here. */
  async #objectsOf(path: string): Promise<boolean> {
    const copy = await openLive(path);
    let count = 0;
    const lost: string[] = [];
    try {
      for await (const page of liveObjects(copy)) {
        for (const object of page) {
          if (await this.#object(object)) count++;
          else if (await isLive(this.#live, object)) lost.push(object.oid);
          else return false;
        }
      }
    } finally {
      await copy.close();
    }
    for (const oid of lost) this.#tally.damage(`LFS object ${oid}`);
    this.#tally.lfsObjects = count;
    return true;
  }

  #object(object: PublishedObject): Promise<boolean> {
    return this.#bring(objectKey(object), object.bytes);
  }

  // Files -----------------------------------------------------------------------------------------

  /**
   * Makes a file part of the backup, durably. False: the store does not have it, or not in this
   * size.
   */
  async #bring(key: StoreKey, bytes?: number): Promise<boolean> {
    const { signal } = this.#options;
    const there = await this.#files.size(key, signal);
    if (there !== undefined && (bytes ?? there) === there) {
      if (this.#isAfterDeath) await syncPath(dirname(join(filesFolder(this.#options.folder), key)));
      return true;
    }
    const has = await this.#store.size(key, signal);
    if (has === undefined || (bytes ?? has) !== has) return false;
    await this.#files.delete(key, signal); // cut short, by a fault of that disk
    const brought = await this.#publish(this.#files, key);
    if (brought !== undefined) this.#tally.brought(brought);
    return brought !== undefined;
  }

  /** Returns its size; undefined: it is gone. */
  async #publish(to: DiskStore, key: StoreKey): Promise<number | undefined> {
    const { signal } = this.#options;
    try {
      await to.publish(key, await this.#store.localFile(key, signal), signal);
      return await to.size(key, signal);
    } catch (error) {
      checkAborted(signal);
      if ((await this.#store.size(key, signal)) !== undefined) throw error;
      return undefined;
    }
  }
}
