/**
 * Whole objects of a store as files of a local folder, bounded by bytes and files, least recently
 * asked for out first. For objects that never change. One process owns the folder.
 *
 *   <SHA-256 of the key, 64 hex>-<bytes, decimal>-<8 hex by chance>    a whole copy
 *   ~<16 hex by chance>                                                one that is being made
 *
 * A copy gets its name when all of it is there and synced, so what has a name and its size is
 * whole, after a kill and after a power cut. The last part of the name makes two copies of one key
 * two files: one that is removed while another is made takes nothing away from it.
 */
import { createHash, randomBytes } from "node:crypto";
import * as files from "node:fs/promises";
import { join } from "node:path";
import { asFault, Fault } from "../../base/fault.js";
import { checkAborted, Semaphore, SingleFlight, sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { LocalCopy } from "../blocks.js";
import type { StoreKey } from "../store.js";
import { type Download, download, type RangeSource } from "./download.js";
import { PartialCopy } from "./partial-copy.js";

export interface LocalCacheOptions {
  /** Made where it is not there. */
  readonly folder: string;
  readonly bytesMax: number;
  readonly source: RangeSource;
  /** Milliseconds that a path stays good after it was asked for. */
  readonly holdMs?: number;
  /** Milliseconds that a copy waits for room. */
  readonly roomMs?: number;
}

/** A copy that stays until it is given back. */
export interface LocalLease {
  readonly path: string;
  /** A second call does nothing. */
  release(): void;
}

export interface LocalCacheFigures {
  readonly files: number;
  readonly bytes: number;
  /** Copies that somebody holds by a lease. */
  readonly leased: number;
  readonly hits: number;
  readonly downloads: number;
  /** Files that came by a publication of ours. */
  readonly adopted: number;
  readonly evicted: number;
  /** Publications that could not be kept, and copies that failed for want of a folder or room. */
  readonly failures: number;
}

interface Copy {
  readonly name: string;
  readonly bytes: number;
  lastMs: number;
  leases: number;
  /** Path of another name of the same file: it was read while it came. */
  readonly also?: string;
}

/** A copy that is filled while it is read. */
interface Partial {
  readonly copy: PartialCopy;
  readonly path: string;
  lastMs: number;
}

const TEMPORARY_PREFIX = "~";
const COPY_NAME = /^([0-9a-f]{64})-(\d{1,15})-[0-9a-f]{8}$/;
/** Milliseconds between two looks for room. */
const ROOM_LOOK_MS = 100;
/** Files looked at together at start. */
const STATS_AT_ONCE = 64;

export class LocalCache {
  readonly #options: LocalCacheOptions;
  /** By the SHA-256 of the key; first who was asked for longest ago. */
  readonly #copies = new Map<string, Copy>();
  readonly #partials = new Map<string, Partial>();
  readonly #flights = new SingleFlight<string, void>();
  readonly #ranges = new Semaphore(LIMITS.localFileRangesAllMax);
  /** Bytes of copies, and of those that are being made. */
  #bytes = 0;
  /** Copies that are being made. */
  #making = 0;
  #counts = { hits: 0, downloads: 0, adopted: 0, evicted: 0, failures: 0 };

  constructor(options: LocalCacheOptions) {
    this.#options = options;
  }

  get figures(): LocalCacheFigures {
    let leased = 0;
    for (const { leases } of this.#copies.values()) if (leases > 0) leased++;
    return { files: this.#copies.size, bytes: this.#bytes, leased, ...this.#counts };
  }

  /**
   * Takes in what an earlier process has left, and removes what it had not finished. A folder that
   * cannot be written or read is no failure here: each copy that is asked for says so.
   */
  async open(): Promise<void> {
    try {
      await files.mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
      await this.#takeIn(await files.readdir(this.#options.folder));
    } catch {
      this.#counts.failures++;
      return;
    }
    await this.#evictTo(this.#options.bytesMax, LIMITS.localFilesMax);
  }

  /**
   * Returns the path of a copy, which stays good for `holdMs` after the last call, and longer for
   * who has opened it. Throws "store/missing" and "store/no-local-file".
   */
  async file(key: StoreKey, signal?: AbortSignal): Promise<string> {
    return this.#path((await this.#held(key, signal)).name);
  }

  /**
   * Returns a copy that is there, or one that comes as it is read. `bytes`: the object's size.
   * Throws "store/missing" and "store/no-local-file".
   */
  async copy(key: StoreKey, bytes: number, signal?: AbortSignal): Promise<LocalCopy> {
    checkAborted(signal);
    const id = idOf(key);
    const isSmall = bytes <= LIMITS.localFileWholeBytesMax;
    if (isSmall || this.#copies.has(id)) return { path: await this.file(key, signal) };
    const partial = await this.#partly(key, id, signal);
    partial.lastMs = performance.now();
    const { blocks } = partial.copy;
    const bring = (start: number, end: number, asking: AbortSignal) => {
      partial.lastMs = performance.now();
      return partial.copy.bring(start, end, asking);
    };
    return { path: partial.path, blocks, bring };
  }

  async #partly(key: StoreKey, id: string, signal: AbortSignal | undefined): Promise<Partial> {
    const known = this.#partials.get(id);
    if (known !== undefined) return known;
    await this.#flights.run(
      `partial ${id}`,
      (flight) => this.#beginPartly(key, id, flight),
      signal,
    );
    const begun = this.#partials.get(id);
    if (begun !== undefined) return begun;
    throw new Fault("store/no-local-file", { key, reason: "it was removed at once" });
  }

  async #beginPartly(key: StoreKey, id: string, signal: AbortSignal): Promise<void> {
    const { source } = this.#options;
    const start = await this.#ranges.run(
      () => source.readStart(key, LIMITS.localFileRangeBytes, signal),
      signal,
    );
    if (start === undefined) throw new Fault("store/missing", { key });
    await this.#waitForRoom(key, start.total, signal);
    const path = this.#path(TEMPORARY_PREFIX + randomBytes(8).toString("hex"));
    const onWhole = () => this.#becameWhole(id);
    try {
      const made = { source, key, start, path, ranges: this.#ranges, onWhole };
      const copy = await PartialCopy.create(made);
      this.#making--;
      this.#partials.set(id, { copy, path, lastMs: performance.now() });
    } catch (error) {
      this.#giveBack(start.total);
      await files.unlink(path).catch(() => undefined); // the failure is what counts
      throw this.#faultOf(error, key);
    }
  }

  /** It is a copy like any other now; who has its first name reads on by that. */
  async #becameWhole(id: string): Promise<void> {
    const partial = this.#partials.get(id);
    if (partial === undefined) return;
    const { bytes } = partial.copy;
    const name = nameOf(id, bytes);
    try {
      await files.link(partial.path, this.#path(name));
    } catch {
      this.#counts.failures++;
      return; // it stays a partial one, all of whose blocks are there
    }
    this.#counts.downloads++;
    this.#copies.set(id, { name, bytes, lastMs: performance.now(), leases: 0, also: partial.path });
    this.#partials.delete(id);
    void partial.copy.close();
  }

  /** The same, and it stays until it is given back. */
  async lease(key: StoreKey, signal?: AbortSignal): Promise<LocalLease> {
    const copy = await this.#held(key, signal);
    copy.leases++;
    let isHeld = true;
    const release = () => {
      if (isHeld) copy.leases--;
      isHeld = false;
    };
    return { path: this.#path(copy.name), release };
  }

  /**
   * Keeps a finished, synced local file as the copy of a key that it was published under. Nothing
   * rests on it: where it cannot be kept it is copied when it is asked for.
   */
  async adopt(key: StoreKey, path: string, bytes: number): Promise<void> {
    const id = idOf(key);
    if (this.#copies.has(id) || !(await this.#reserve(bytes))) return;
    const name = nameOf(id, bytes);
    try {
      await this.#linkOrCopy(path, this.#path(name));
    } catch {
      this.#counts.failures++;
      this.#giveBack(bytes);
      return;
    }
    this.#counts.adopted++;
    await this.#keep(id, name, bytes);
  }

  /** Removes the copy of a key that is deleted. Who has opened it may go on reading. */
  async forget(key: StoreKey): Promise<void> {
    const id = idOf(key);
    const copy = this.#copies.get(id);
    if (copy !== undefined && copy.leases === 0) await this.#remove(id, copy);
    const partial = this.#partials.get(id);
    if (partial !== undefined) await this.#removePartial(id, partial);
  }

  /** Lets go of what is being copied; whole copies stay for the next process. */
  async close(): Promise<void> {
    for (const [id, partial] of this.#partials) await this.#removePartial(id, partial);
  }

  async #held(key: StoreKey, signal: AbortSignal | undefined): Promise<Copy> {
    checkAborted(signal);
    const id = idOf(key);
    const known = this.#use(id);
    if (known !== undefined && (await this.#isThere(id, known))) {
      this.#counts.hits++;
      return known;
    }
    await this.#flights.run(id, (flight) => this.#fetch(key, id, flight), signal);
    const made = this.#use(id);
    if (made !== undefined) return made;
    throw new Fault("store/no-local-file", { key, reason: "it was removed at once" });
  }

  /** Marks a copy as asked for just now. */
  #use(id: string): Copy | undefined {
    const copy = this.#copies.get(id);
    if (copy === undefined) return undefined;
    copy.lastMs = performance.now();
    this.#copies.delete(id);
    this.#copies.set(id, copy);
    return copy;
  }

  /** False: somebody has removed the file, and the copy is forgotten. */
  async #isThere(id: string, copy: Copy): Promise<boolean> {
    const found = await files.stat(this.#path(copy.name)).catch(() => undefined);
    if (found === undefined && this.#copies.get(id) === copy) await this.#remove(id, copy);
    return found !== undefined;
  }

  async #fetch(key: StoreKey, id: string, signal: AbortSignal): Promise<void> {
    const { source } = this.#options;
    const start = await this.#ranges.run(
      () => source.readStart(key, LIMITS.localFileRangeBytes, signal),
      signal,
    );
    if (start === undefined) throw new Fault("store/missing", { key });
    const bytes = start.total;
    await this.#waitForRoom(key, bytes, signal);
    try {
      const name = nameOf(id, bytes);
      await this.#download({ source, key, start, ranges: this.#ranges }, name, signal);
      this.#counts.downloads++;
      await this.#keep(id, name, bytes);
    } catch (error) {
      this.#giveBack(bytes);
      throw this.#faultOf(error, key);
    }
  }

  /** A disk that is full of our own copies gets a second try without those that may go. */
  async #download(what: Download, name: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#make(what, name, signal);
    } catch (error) {
      if (asFault(error).code !== "store/full" || !(await this.#evictTo(0, 0))) throw error;
      await this.#make(what, name, signal);
    }
  }

  async #make(what: Download, name: string, signal: AbortSignal): Promise<void> {
    const temporary = this.#path(TEMPORARY_PREFIX + randomBytes(8).toString("hex"));
    try {
      await download(what, temporary, signal);
      await files.rename(temporary, this.#path(name));
    } catch (error) {
      await files.unlink(temporary).catch(() => undefined); // the download's failure is what counts
      throw error;
    }
  }

  async #keep(id: string, name: string, bytes: number): Promise<void> {
    this.#making--;
    const copy = { name, bytes, lastMs: performance.now(), leases: 0 };
    // It came by a publication, or a download, meanwhile, and somebody may hold that.
    if (this.#copies.has(id)) await this.#remove(id, copy);
    else this.#copies.set(id, copy);
  }

  #giveBack(bytes: number): void {
    this.#making--;
    this.#bytes -= bytes;
  }

  async #waitForRoom(key: StoreKey, bytes: number, signal: AbortSignal): Promise<void> {
    const { bytesMax, roomMs = LIMITS.localFileRoomMs } = this.#options;
    const untilMs = performance.now() + roomMs;
    while (!(await this.#reserve(bytes))) {
      const never = bytes > bytesMax;
      if (never || performance.now() > untilMs) {
        this.#counts.failures++;
        const why = never ? "larger than all of the cache" : "all others are in use";
        const reason = `${why}: raise store_cache_bytes`;
        throw new Fault("store/no-local-file", { key, bytes, bytesMax, reason });
      }
      await sleep(ROOM_LOOK_MS, signal);
    }
  }

  /** Makes room and takes it; false: there is none that may be made. */
  async #reserve(bytes: number): Promise<boolean> {
    const { bytesMax } = this.#options;
    if (bytes > bytesMax) return false;
    await this.#evictTo(bytesMax - bytes, LIMITS.localFilesMax - 1);
    // Nothing else runs between this look and the reservation.
    if (this.#bytes + bytes > bytesMax) return false;
    if (this.#copies.size + this.#making >= LIMITS.localFilesMax) return false;
    this.#making++;
    this.#bytes += bytes;
    return true;
  }

  /** Removes copies that may go until at most so much is left; whether any went. */
  async #evictTo(bytesMax: number, filesMax: number): Promise<boolean> {
    const { holdMs = LIMITS.localFileHoldMs } = this.#options;
    const before = this.#counts.evicted;
    for (const [id, copy] of this.#copies) {
      if (this.#bytes <= bytesMax && this.#copies.size + this.#making <= filesMax) break;
      if (performance.now() - copy.lastMs < holdMs) break; // all that follow were asked for later
      if (copy.leases > 0) continue;
      this.#counts.evicted++;
      await this.#remove(id, copy);
    }
    for (const [id, partial] of this.#partials) {
      if (this.#bytes <= bytesMax) break;
      if (performance.now() - partial.lastMs < holdMs) continue;
      this.#counts.evicted++;
      await this.#removePartial(id, partial);
    }
    return this.#counts.evicted > before;
  }

  async #remove(id: string, copy: Copy): Promise<void> {
    if (this.#copies.get(id) === copy) this.#copies.delete(id);
    this.#bytes -= copy.bytes;
    await files.unlink(this.#path(copy.name)).catch(() => undefined); // it is found at the next start
    if (copy.also !== undefined) await files.unlink(copy.also).catch(() => undefined);
  }

  async #removePartial(id: string, { copy, path }: Partial): Promise<void> {
    this.#partials.delete(id);
    this.#bytes -= copy.bytes;
    await copy.close();
    await files.unlink(path).catch(() => undefined);
  }

  async #takeIn(names: readonly string[]): Promise<void> {
    const found: (Copy & { readonly id: string })[] = [];
    for (let at = 0; at < names.length; at += STATS_AT_ONCE) {
      const some = names.slice(at, at + STATS_AT_ONCE).map((name) => this.#inspect(name));
      for (const copy of await Promise.all(some)) if (copy !== undefined) found.push(copy);
    }
    // Younger files last; from now on the order is that of asking. None is held.
    for (const { id, ...copy } of found.sort((left, right) => left.lastMs - right.lastMs)) {
      const twin = this.#copies.get(id);
      if (twin !== undefined) await this.#remove(id, twin);
      this.#copies.set(id, { ...copy, lastMs: Number.NEGATIVE_INFINITY });
      this.#bytes += copy.bytes;
    }
  }

  /** Removes what is not whole. What is not ours stays. */
  async #inspect(name: string): Promise<(Copy & { readonly id: string }) | undefined> {
    const [, id, digits] = COPY_NAME.exec(name) ?? [];
    if (id === undefined && !name.startsWith(TEMPORARY_PREFIX)) return undefined;
    const path = this.#path(name);
    const found = await files.stat(path).catch(() => undefined);
    const bytes = Number(digits);
    if (id !== undefined && found?.isFile() === true && found.size === bytes)
      return { id, name, bytes, lastMs: found.mtimeMs, leases: 0 };
    await files.unlink(path).catch(() => undefined);
    return undefined;
  }

  async #linkOrCopy(source: string, path: string): Promise<void> {
    try {
      await files.link(source, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
      await this.#copyAcross(source, path);
    }
  }

  async #copyAcross(source: string, path: string): Promise<void> {
    const temporary = this.#path(TEMPORARY_PREFIX + randomBytes(8).toString("hex"));
    try {
      await files.copyFile(source, temporary);
      const file = await files.open(temporary, "r");
      await file.datasync().finally(() => file.close());
      await files.rename(temporary, path);
    } catch (error) {
      await files.unlink(temporary).catch(() => undefined); // the copy's own failure is what counts
      throw error;
    }
  }

  /** Failures of the folder say so; those of the store are its own. */
  #faultOf(error: unknown, key: StoreKey): Fault {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) return asFault(error);
    this.#counts.failures++;
    return new Fault("store/no-local-file", { key, reason: `${code} in ${syscall}` }, error);
  }

  #path(name: string): string {
    return join(this.#options.folder, name);
  }
}

function idOf(key: StoreKey): string {
  return createHash("sha256").update(key).digest("hex");
}

function nameOf(id: string, bytes: number): string {
  return `${id}-${bytes}-${randomBytes(4).toString("hex")}`;
}
