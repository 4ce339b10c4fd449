/**
 * Blocks of pack files in one thread's memory, with the files they come from. Reads are synchronous: they run in pool
 * threads, where waiting is what the thread is for.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { PackHandle } from "../pool/tasks.js";
import { unopened } from "./unopened.js";

/** Open files by path, the one unused longest closed first. */
export class OpenFiles {
  readonly #files = new Map<string, number>();
  readonly #filesMax: number;

  constructor(filesMax: number = LIMITS.packFilesOpenMax) {
    this.#filesMax = filesMax;
  }

  /** A descriptor that stays valid until the next call. Throws "odb/damaged" where the file is gone. */
  descriptor(path: string): number {
    const held = this.#files.get(path);
    if (held !== undefined) {
      this.#files.delete(path);
      this.#files.set(path, held);
      return held;
    }
    if (this.#files.size >= this.#filesMax) this.#closeOldest();
    const opened = openPack(path);
    this.#files.set(path, opened);
    return opened;
  }

  close(): void {
    while (this.#files.size > 0) this.#closeOldest();
  }

  #closeOldest(): void {
    for (const [path, file] of this.#files) {
      this.#files.delete(path);
      closeSync(file);
      return;
    }
  }
}

function openPack(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw unopened(path, error);
  }
}

interface Block {
  readonly bytes: Uint8Array;
  /** Asked for since the last round of eviction. */
  used: boolean;
}

/**
 * The most recently used blocks of all packs a thread reads. A block is `LIMITS.packBlockBytes` long, the last one of
 * a file shorter. Eviction gives a block that was used since the last look a second chance, so that a hit costs one flag.
 */
export class BlockCache {
  readonly #files = new OpenFiles();
  /** Pack checksum → the high part of its blocks' keys. */
  readonly #slots = new Map<string, number>();
  readonly #blocks = new Map<number, Block>();
  readonly #blocksMax: number;
  reads = 0;

  constructor(bytesMax: number = LIMITS.packBlockCacheBytes) {
    this.#blocksMax = Math.max(1, Math.floor(bytesMax / LIMITS.packBlockBytes));
  }

  /** Packs seen so far. */
  get slots(): number {
    return this.#slots.size;
  }

  /** A number for this pack that no other pack of this cache has. */
  slot(pack: PackHandle): number {
    const held = this.#slots.get(pack.checksum);
    if (held !== undefined) return held;
    const slot = this.#slots.size;
    this.#slots.set(pack.checksum, slot);
    return slot;
  }

  /** The block that holds byte `number * packBlockBytes`. Valid as long as the caller keeps it; not to be written. */
  block(pack: PackHandle, slot: number, number: number): Uint8Array {
    const key = slot * 0x100000000 + number;
    const held = this.#blocks.get(key);
    if (held !== undefined) {
      held.used = true;
      return held.bytes;
    }
    const start = number * LIMITS.packBlockBytes;
    const bytes = Buffer.allocUnsafeSlow(Math.min(LIMITS.packBlockBytes, pack.bytes - start));
    this.readInto(pack, start, bytes);
    if (this.#blocks.size >= this.#blocksMax) this.#evict();
    this.#blocks.set(key, { bytes, used: false });
    return bytes;
  }

  /** Fills `target` from the pack, beside the cache. Throws "odb/damaged" where the file ends early. */
  readInto(pack: PackHandle, start: number, target: Uint8Array): void {
    const file = this.#files.descriptor(pack.path);
    for (let filled = 0; filled < target.length; ) {
      const read = readSync(file, target, filled, target.length - filled, start + filled);
      if (read === 0) throw new Fault("odb/damaged", { pack: pack.checksum, reason: "the file ends early", at: start + filled });
      filled += read;
      this.reads++;
    }
  }

  close(): void {
    this.#files.close();
    this.#blocks.clear();
  }

  #evict(): void {
    for (const [key, block] of this.#blocks) {
      this.#blocks.delete(key);
      if (!block.used) return;
      block.used = false;
      this.#blocks.set(key, block);
    }
  }
}
