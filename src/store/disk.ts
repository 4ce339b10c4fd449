/**
 * Storage in a folder. Conditional writes are as true as the single writer: one process owns the
 * folder (database/data-lock). Durable means: the file's bytes are fsynced before its name appears,
 * and the folder is fsynced after. A name that is found counts as durable only after a sync of its
 * folder by this very process: one that died may have made it and not come to sync it. Each fsync
 * here is needed, and test/crash/power-loss fails without it.
 *
 * A sync that failed is never merely repeated: Linux drops what it could not write, calls it clean,
 * and the next sync succeeds with nothing done. So a name is made anew before its folder is synced
 * again, here and where a name is found that may be an earlier failure's.
 */
import { randomBytes } from "node:crypto";
import type { Dirent } from "node:fs";
import * as files from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Fault, asFault } from "../base/fault.js";
import { checkAborted, Semaphore, Turns } from "../base/flow.js";
import { sha256 } from "../base/long-lists.js";
import { LIMITS } from "../base/limits.js";
import type { LocalCopy } from "./blocks.js";
import { checkKey } from "./key.js";
import type { Amount, Store, Stored, StoreEntry, StoreKey, StoreTag } from "./store.js";

const TEMPORARY_PREFIX = "~tmp-";

/** Makes the folder a store shall lie in, durably. */
export async function makeRoot(root: string): Promise<void> {
  const first = await files.mkdir(root, { recursive: true });
  for (let made = resolve(root); made !== dirname(made); made = dirname(made)) {
    await syncPath(dirname(made)).catch(async (error: unknown) => {
      // An operator's folder whose parent we may not read: then it was not us who made it.
      if (first === undefined && (error as NodeJS.ErrnoException).code === "EACCES") return;
      if (first !== undefined) await files.rmdir(root).catch(() => undefined); // the next start makes it anew
      throw storeFault(error, root);
    });
    if (first === undefined || made === first) return;
  }
}

export class DiskStore implements Store {
  readonly kind = "disk";
  readonly #root: string;
  readonly #writing = new Map<StoreKey, Semaphore>();
  /** Folders that are there, durably, or on their way to it. */
  readonly #folders = new Map<string, Promise<void>>();
  /**
   * Number of failed syncs of each folder: each may have dropped what others had changed in it
   * meanwhile.
   */
  readonly #failedSyncs = new Map<string, number>();
  /**
   * Files with a content that may not last: the disk failed when it was replaced. Nobody is shown
   * it before it is written again.
   */
  readonly #unsettled = new Set<string>();

  constructor(root: string) {
    this.#root = resolve(root);
  }

  async get(key: StoreKey, bytesMax: number, signal?: AbortSignal): Promise<Stored | undefined> {
    checkAborted(signal);
    await this.#settle(key, signal);
    const bytes = await this.#readIfThere(this.#path(key), bytesMax);
    if (bytes === undefined) return undefined;
    return { bytes, tag: await tagOf(bytes) };
  }

  async getIfChanged(
    key: StoreKey,
    tag: StoreTag,
    bytesMax: number,
    signal?: AbortSignal,
  ): Promise<Stored | "unchanged" | undefined> {
    const stored = await this.get(key, bytesMax, signal);
    return stored?.tag === tag ? "unchanged" : stored;
  }

  async readRange(
    key: StoreKey,
    start: number,
    end: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    checkAborted(signal);
    const file = await this.#opened(key, () => files.open(this.#path(key), "r"));
    try {
      const bytes = new Uint8Array(end - start);
      let filled = 0;
      while (filled < bytes.length) {
        const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, start + filled);
        if (bytesRead === 0)
          throw new Fault("store/failed", {
            key,
            reason: "shorter than expected",
            at: start + filled,
          });
        filled += bytesRead;
      }
      return bytes;
    } finally {
      await file.close();
    }
  }

  async size(key: StoreKey, signal?: AbortSignal): Promise<number | undefined> {
    checkAborted(signal);
    await this.#settle(key, signal);
    return sizeOf(this.#path(key)).catch((error: unknown) => {
      throw storeFault(error, key);
    });
  }

  putIfAbsent(key: StoreKey, bytes: Uint8Array, signal?: AbortSignal): Promise<StoreTag> {
    return this.#exclusively(key, signal, async () => {
      await this.#putNew(key, bytes);
      return await tagOf(bytes);
    });
  }

  putIfMatch(
    key: StoreKey,
    bytes: Uint8Array,
    tag: StoreTag | undefined,
    signal?: AbortSignal,
  ): Promise<StoreTag> {
    return this.#exclusively(key, signal, async () => {
      const path = this.#path(key);
      const current = await this.#readIfThere(path, LIMITS.manifestBytesMax);
      if ((current && (await tagOf(current))) !== tag) throw new Fault("store/conflict", { key });
      await this.#replace(path, bytes);
      return await tagOf(bytes);
    });
  }

  async put(key: StoreKey, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#exclusively(key, signal, () => this.#replace(this.#path(key), bytes));
  }

  publish(key: StoreKey, source: string, signal?: AbortSignal): Promise<void> {
    return this.#exclusively(key, signal, () => this.#publishFile(this.#path(key), source));
  }

  async *list(prefix: StoreKey, signal?: AbortSignal): AsyncIterable<StoreEntry> {
    const folder = this.#path(prefix.replace(/\/$/, ""));
    const { keys } = await this.#collect(folder, prefix, signal);
    for (const key of keys.sort()) {
      const bytes = await this.size(key, signal);
      if (bytes !== undefined) yield { key, bytes };
    }
  }

  async names(prefix: StoreKey, signal?: AbortSignal): Promise<readonly string[]> {
    checkAborted(signal);
    const entries = await this.#entries(this.#path(prefix.replace(/\/$/, "")), prefix);
    return entries
      .filter((entry) => entry.isDirectory() || !entry.name.startsWith(TEMPORARY_PREFIX))
      .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
      .sort();
  }

  async delete(key: StoreKey, signal?: AbortSignal): Promise<void> {
    checkAborted(signal);
    try {
      await files.unlink(this.#path(key));
    } catch (error) {
      if (!isAbsent(error)) throw storeFault(error, key);
    }
  }

  async deleteAll(prefix: StoreKey, signal?: AbortSignal): Promise<Amount> {
    const removed = { files: 0, bytes: 0 };
    for await (const { bytes } of this.list(prefix, signal)) {
      removed.files++;
      removed.bytes += bytes;
    }
    checkAborted(signal);
    await files
      .rm(this.#path(prefix.replace(/\/$/, "")), {
        recursive: true,
        force: true,
        maxRetries: DELETE_RETRIES_MAX,
      })
      .catch((error: unknown) => {
        throw storeFault(error, prefix);
      });
    return removed;
  }

  async sweep(prefix: StoreKey, beforeMs: number, signal?: AbortSignal): Promise<Amount> {
    const swept = { files: 0, bytes: 0 };
    const { temporaries } = await this.#collect(
      this.#path(prefix.replace(/\/$/, "")),
      prefix,
      signal,
    );
    for (const path of temporaries) {
      try {
        const { mtimeMs, size } = await files.stat(path);
        if (mtimeMs >= beforeMs) continue;
        await files.unlink(path);
        swept.files++;
        swept.bytes += size;
      } catch (error) {
        if (!isAbsent(error)) throw storeFault(error, prefix); // absent: its write has ended meanwhile
      }
    }
    return swept;
  }

  async localFile(key: StoreKey, signal?: AbortSignal): Promise<string> {
    if ((await this.size(key, signal)) === undefined) throw new Fault("store/missing", { key });
    return this.#path(key);
  }

  async localCopy(key: StoreKey, _bytes: number, signal?: AbortSignal): Promise<LocalCopy> {
    return { path: await this.localFile(key, signal) };
  }

  #path(key: StoreKey): string {
    return join(this.#root, checkKey(key));
  }

  /** Throws "store/oversized" by the file's size, before a byte of it is read. */
  async #readIfThere(path: string, bytesMax: number): Promise<Uint8Array | undefined> {
    let file: files.FileHandle | undefined;
    try {
      file = await files.open(path, "r");
      const { size } = await file.stat();
      if (size > bytesMax)
        throw new Fault("store/oversized", { file: path, bytes: size, bytesMax });
      return await file.readFile();
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw storeFault(error, path);
    } finally {
      await file?.close();
    }
  }

  async #opened<T>(key: StoreKey, open: () => Promise<T>): Promise<T> {
    try {
      return await open();
    } catch (error) {
      if (isAbsent(error)) throw new Fault("store/missing", { key });
      throw storeFault(error, key);
    }
  }

  async #exclusively<T>(
    key: StoreKey,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    const writing = this.#writing.get(key) ?? new Semaphore(1);
    this.#writing.set(key, writing);
    try {
      return await writing.run(work, signal);
    } catch (error) {
      throw storeFault(error, key);
    } finally {
      if (writing.idle) this.#writing.delete(key);
    }
  }

  /**
   * Throws "store/unknown-outcome" where the new content is in place and may not last; any other
   * failure leaves the old one.
   */
  async #replace(path: string, bytes: Uint8Array): Promise<void> {
    await this.#ensureFolder(dirname(path));
    const temporary = await this.#writeTemporary(path, bytes);
    try {
      const since = this.#failures(path);
      await this.#rename(temporary, path);
      await this.#syncFolderOf(path, since);
    } catch (error) {
      if (!(await this.#mayHold(path, bytes))) throw error;
      await this.#replaceAgain(path, bytes);
    }
    this.#unsettled.delete(path);
  }

  /** Returns whether these bytes are there now, or nobody can tell. */
  async #mayHold(path: string, bytes: Uint8Array): Promise<boolean> {
    const there = await this.#readIfThere(path, bytes.length).catch(() => bytes);
    return there !== undefined && (await tagOf(there)) === (await tagOf(bytes));
  }

  async #replaceAgain(path: string, bytes: Uint8Array): Promise<void> {
    try {
      const since = this.#failures(path);
      await this.#rename(await this.#writeTemporary(path, bytes), path);
      await this.#syncFolderOf(path, since);
    } catch (error) {
      this.#unsettled.add(path);
      throw new Fault("store/unknown-outcome", { reason: reasonOf(error) }, error);
    }
  }

  async #putNew(key: StoreKey, bytes: Uint8Array): Promise<void> {
    const path = this.#path(key);
    await this.#ensureFolder(dirname(path));
    const temporary = await this.#writeTemporary(path, bytes);
    const since = this.#failures(path);
    try {
      await files.link(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      await this.#settleFound(path);
      throw new Fault("store/exists", { key });
    } finally {
      await files.unlink(temporary).catch(() => undefined); // a name too many, which nobody reads
    }
    await this.#orForget(path, this.#syncFolderOf(path, since));
  }

  async #publishFile(path: string, source: string): Promise<void> {
    await this.#ensureFolder(dirname(path));
    const since = this.#failures(path);
    if (!(await this.#linkOrCopy(source, path))) return this.#publishOver(path, source);
    await this.#orForget(path, this.#syncFolderOf(path, since));
  }

  /** Removes a new name again where its sync fails, lest somebody take it for durable. */
  async #orForget(path: string, sync: Promise<void>): Promise<void> {
    try {
      await sync;
    } catch (error) {
      await files.unlink(path).catch(() => this.#unsettled.add(path));
      throw error;
    }
  }

  /**
   * Makes last what may not, before anybody is shown it. Throws "store/unsettled" as long as that
   * cannot be done.
   */
  async #settle(key: StoreKey, signal: AbortSignal | undefined): Promise<void> {
    const path = this.#path(key);
    if (!this.#unsettled.has(path)) return;
    await this.#exclusively(key, signal, async () => {
      if (!this.#unsettled.has(path)) return; // somebody was first
      await this.#settleFound(path).catch((error: unknown) => {
        throw new Fault("store/unsettled", { reason: reasonOf(error) }, error);
      });
      this.#unsettled.delete(path);
    });
  }

  /**
   * Makes a file that is there already count for the caller as if it had put it. Its writer may
   * have died before its sync, or its sync may have failed.
   */
  async #settleFound(path: string): Promise<void> {
    const since = this.#failures(path);
    await this.#copyAcross(path, path);
    await this.#syncFolderOf(path, since);
  }

  #failures(path: string): number {
    return this.#failedSyncs.get(dirname(path)) ?? 0;
  }

  /**
   * Makes last what was changed in the folder of `path` since there were so many failures: one that
   * came meanwhile may have dropped it.
   */
  async #syncFolderOf(path: string, since: number): Promise<void> {
    const folder = dirname(path);
    try {
      await syncPath(folder);
    } catch (error) {
      this.#failedSyncs.set(folder, this.#failures(path) + 1);
      throw error;
    }
    if (this.#failures(path) !== since)
      throw new Fault("store/failed", { reason: "a sync of the folder failed meanwhile" });
  }

  async #rename(temporary: string, path: string): Promise<void> {
    try {
      await files.rename(temporary, path);
    } catch (error) {
      await files.unlink(temporary).catch(() => undefined); // the rename's own failure is what counts
      throw error;
    }
  }

  async #writeTemporary(path: string, bytes: Uint8Array): Promise<string> {
    const temporary = join(dirname(path), TEMPORARY_PREFIX + randomBytes(8).toString("hex"));
    const file = await files.open(temporary, "wx");
    try {
      await file.writeFile(bytes);
      await file.datasync();
    } catch (error) {
      await files.unlink(temporary).catch(() => undefined); // the write's own failure is what counts
      throw storeFault(error, path);
    } finally {
      await file.close();
    }
    return temporary;
  }

  /** False: something has this name, and nothing was done. */
  async #linkOrCopy(source: string, path: string): Promise<boolean> {
    try {
      await files.link(source, path);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST" || (code === "EXDEV" && (await sizeOf(path)) !== undefined))
        return false;
      if (code !== "EXDEV") throw error;
      await this.#copyAcross(source, path);
      return true;
    }
  }

  /**
   * In place of what an earlier attempt left, whose sync may have failed: a copy, because to rename
   * a file to another name of its own does nothing.
   */
  async #publishOver(path: string, source: string): Promise<void> {
    const [there, ours] = await Promise.all([files.stat(path), files.stat(source)]);
    if (there.size !== ours.size)
      throw new Fault("store/conflict", { bytes: there.size, expected: ours.size });
    const since = this.#failures(path);
    await this.#copyAcross(source, path);
    await this.#syncFolderOf(path, since);
  }

  /** The incoming folder lies on another file system: copy, sync, and give it its name last. */
  async #copyAcross(source: string, path: string): Promise<void> {
    const temporary = join(dirname(path), TEMPORARY_PREFIX + randomBytes(8).toString("hex"));
    try {
      await files.copyFile(source, temporary);
      await syncPath(temporary);
    } catch (error) {
      await files.unlink(temporary).catch(() => undefined); // the copy's own failure is what counts
      throw error;
    }
    await this.#rename(temporary, path);
  }

  /** Makes a folder. It, and all above it, is durable when this resolves, whoever made it. */
  #ensureFolder(path: string): Promise<void> {
    if (path.length <= this.#root.length) return Promise.resolve();
    const known = this.#folders.get(path);
    if (known !== undefined) return known;
    if (this.#folders.size > KNOWN_FOLDERS_MAX) this.#folders.clear();
    const making = this.#makeFolder(path);
    this.#folders.set(path, making);
    making.catch(() => this.#folders.delete(path));
    return making;
  }

  async #makeFolder(path: string): Promise<void> {
    await this.#ensureFolder(dirname(path));
    const since = this.#failures(path);
    try {
      await files.mkdir(path, { recursive: true });
      await this.#syncFolderOf(path, since);
    } catch (error) {
      await files.rmdir(path).catch(() => undefined); // it is made anew by who comes next; one that is in use stays
      throw storeFault(error, path);
    }
  }

  /** Keys below a folder, and paths of temporary files beside them. */
  async #collect(
    folder: string,
    prefix: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly keys: string[]; readonly temporaries: string[] }> {
    const keys: string[] = [];
    const temporaries: string[] = [];
    const pending = [{ folder, prefix }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      checkAborted(signal);
      for (const entry of await this.#entries(next.folder, prefix)) {
        const key = next.prefix + entry.name;
        if (entry.isDirectory())
          pending.push({ folder: join(next.folder, entry.name), prefix: `${key}/` });
        else if (entry.name.startsWith(TEMPORARY_PREFIX))
          temporaries.push(join(next.folder, entry.name));
        else keys.push(key);
      }
    }
    return { keys, temporaries };
  }

  /** None where the folder is not there. */
  async #entries(folder: string, prefix: string): Promise<readonly Dirent[]> {
    try {
      return await files.readdir(folder, { withFileTypes: true });
    } catch (error) {
      if (isAbsent(error)) return [];
      throw storeFault(error, prefix);
    }
  }
}

/**
 * A write that was under way may put a file into a folder that is being removed: it is emptied
 * again, each time 100 ms later than before.
 */
const DELETE_RETRIES_MAX = 5;

/** Folders remembered as made, so that a write does not ask again; a bound, not a tuning knob. */
const KNOWN_FOLDERS_MAX = 10_000;

/** Makes last what is written to a file, or what names a folder has. */
export async function syncPath(path: string): Promise<void> {
  const file = await files.open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await files.stat(path)).size;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function tagOf(bytes: Uint8Array): Promise<StoreTag> {
  return sha256(bytes, new Turns());
}

function isAbsent(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ENOTDIR";
}

function storeFault(error: unknown, key: string): Fault {
  const fault = asFault(error);
  return fault.code === "base/internal"
    ? new Fault("store/failed", { key, reason: reasonOf(error) }, error)
    : fault;
}

/** "EIO in fsync": without the path, which is the server's own. */
function reasonOf(error: unknown): string {
  if (error instanceof Fault) return String(error.facts.reason ?? error.row.says);
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  return code === undefined ? message : `${code}${syscall === undefined ? "" : ` in ${syscall}`}`;
}
