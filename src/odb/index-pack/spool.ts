/**
 * One push's pack on its way in: spool, pass 1 while bytes arrive, pass 2 over all threads, idx and
 * rev. This file only orders the tasks of workers/index-pack.ts; it touches no object.
 */
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Fault } from "../../base/fault.js";
import { checkAborted } from "../../base/flow.js";
import type { Pool } from "../../pool/task.js";
import type { Ingest, IngestedPack, IngestOptions } from "./contract.js";
import { PackIndexing } from "./passes.js";

/** Bytes gathered before they are written to the spool. */
const SPOOL_BUFFER_BYTES = 256 * 1024;
/** An idle pass 1 is given what there is from here on; below, a task costs more than it does. */
const IDLE_SCAN_BYTES = 64 * 1024;
/**
 * Bytes one task of pass 1 takes, so that it comes back soon and the rest can be shared once it is
 * all here.
 */
const SCAN_BYTES_MAX = 4 * 1024 * 1024;
/**
 * Bytes the client may be ahead of pass 1. They lie in a file; a fast sender is soon done, and then
 * all threads scan.
 */
const AHEAD_BYTES_MAX = 64 * 1024 * 1024;
/**
 * Bytes after which what was written is sent to the disk beside all else, so that little is left
 * when the last byte has come.
 */
const SYNC_BYTES = 64 * 1024 * 1024;
/** A pack from this size on is sent to the disk while it is indexed. */
const EARLY_SYNC_BYTES = 1024 * 1024;

export async function startIngest(options: IngestOptions, pool: Pool): Promise<Ingest> {
  checkAborted(options.signal);
  await mkdir(options.folder, { recursive: true, mode: 0o700 });
  const path = join(options.folder, "pack");
  const file = await open(path, "w+", 0o600).catch(async (error: unknown) => {
    await rm(options.folder, { recursive: true, force: true }); // nobody holds what would discard it
    throw error;
  });
  return new SpooledIngest(options, pool, path, file);
}

class SpooledIngest implements Ingest {
  readonly #options: IngestOptions;
  readonly #file: FileHandle;
  readonly #indexing: PackIndexing;
  #buffer = Buffer.allocUnsafeSlow(SPOOL_BUFFER_BYTES);
  #buffered = 0;
  #spooled = 0;
  #scanned = 0;
  #syncedTo = 0;
  #syncing: Promise<void> | undefined;
  #scanning: Promise<void> | undefined;
  /** The task of pass 1 that runs now. */
  #slice: Promise<void> | undefined;
  /** All bytes are here: what is not scanned yet is left to `finish`. */
  #ended = false;
  #failure: unknown;
  #discarded: Promise<void> | undefined;

  constructor(options: IngestOptions, pool: Pool, path: string, file: FileHandle) {
    this.#options = options;
    this.#file = file;
    const { folder } = options;
    this.#indexing = new PackIndexing(
      { ...options, idxPath: join(folder, "idx"), revPath: join(folder, "rev"), path },
      pool,
    );
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#check();
    if (this.#spooled + this.#buffered + bytes.length > this.#options.packBytesMax) {
      throw new Fault("pack/too-large", { limit: this.#options.packBytesMax });
    }
    for (let at = 0; at < bytes.length; ) {
      if (this.#buffered === 0 && bytes.length - at >= SPOOL_BUFFER_BYTES) {
        await this.#spool(bytes.subarray(at));
        break;
      }
      const part = bytes.subarray(at, at + SPOOL_BUFFER_BYTES - this.#buffered);
      this.#buffer.set(part, this.#buffered);
      this.#buffered += part.length;
      at += part.length;
      if (this.#buffered === SPOOL_BUFFER_BYTES) await this.#flush();
    }
    if (this.#scanning === undefined && this.#buffered >= IDLE_SCAN_BYTES) await this.#flush();
    while (this.#spooled - this.#scanned > AHEAD_BYTES_MAX && this.#scanning !== undefined)
      await this.#slice;
    this.#check();
  }

  async #flush(): Promise<void> {
    const part = this.#buffer.subarray(0, this.#buffered);
    this.#buffered = 0;
    if (part.length > 0) await this.#spool(part);
  }

  async #spool(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, this.#spooled);
      at += bytesWritten;
      this.#spooled += bytesWritten;
    }
    this.#scanning ??= this.#scanAhead();
    if (this.#spooled - this.#syncedTo >= SYNC_BYTES) this.#syncing ??= this.#sync();
  }

  /** Sends the spool to the disk. Failures count at the end. */
  async #sync(): Promise<void> {
    const to = this.#spooled;
    try {
      await this.#file.datasync();
      this.#syncedTo = to;
    } catch (error) {
      this.#failure ??= error;
    } finally {
      this.#syncing = undefined;
    }
  }

  /** Runs pass 1 over what the spool holds until it has caught up. One at a time. */
  async #scanAhead(): Promise<void> {
    try {
      while (this.#scanned < this.#spooled && this.#failure === undefined && !this.#ended) {
        const to = Math.min(this.#spooled, this.#scanned + SCAN_BYTES_MAX);
        this.#slice = this.#indexing.scan(to, false);
        await this.#slice;
        this.#scanned = to; // it may have left the start of an entry, but has seen all there was
      }
    } catch (error) {
      this.#failure = error;
    } finally {
      this.#scanning = undefined;
    }
  }

  async finish(): Promise<IngestedPack> {
    this.#check();
    this.#ended = true;
    await this.#flush();
    await this.#scanning;
    this.#check();
    // A small pack is synced once, at the end, because a thin one is still added to.
    const isSmall = this.#spooled < EARLY_SYNC_BYTES;
    const synced = isSmall ? undefined : this.#syncAll();
    const pack = await this.#indexing.finish(this.#spooled, isSmall);
    await synced;
    this.#check();
    await this.#file.close();
    this.#buffer = Buffer.alloc(0);
    return { ...pack, folder: this.#options.folder };
  }

  async #syncAll(): Promise<void> {
    await this.#syncing;
    this.#syncing = this.#sync();
    await this.#syncing;
  }

  discard(): Promise<void> {
    this.#discarded ??= this.#remove();
    return this.#discarded;
  }

  async #remove(): Promise<void> {
    this.#failure ??= new Fault("base/aborted");
    await Promise.all([this.#indexing.close(), this.#scanning, this.#syncing]);
    await this.#file.close().catch(() => undefined); // finish may have closed it
    await rm(this.#options.folder, { recursive: true, force: true });
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    checkAborted(this.#options.signal);
  }
}
