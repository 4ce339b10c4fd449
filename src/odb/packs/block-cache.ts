/**
 * Blocks of pack files in one thread's memory, with the files they come from. Reads are
 * synchronous: they run in pool threads, where waiting is what the thread is for.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { waitForBlocks } from "../../store/blocks.js";
import type { PackHandle } from "./handle.js";
import { unopened } from "./unopened.js";

/** Open files by path, the one unused longest closed first. */
class OpenFiles {
  readonly #files = new Map<string, number>();
  #filesMax: number;

  constructor(filesMax: number = LIMITS.packFilesOpenMax) {
    this.#filesMax = filesMax;
  }

  /**
   * A descriptor that stays valid until the next call. Throws "odb/damaged" where the file is gone.
   */
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

  /** A task that has given up its turn may read on: it opens one file at a time from here on. */
  close(): void {
    this.#filesMax = 1;
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

export interface Block {
  /**
   * Not to be written. Another's once `key` is not what was asked for: an evicted block's memory
   * serves the next one.
   */
  readonly bytes: Uint8Array;
  readonly key: number;
}

interface Held extends Block {
  bytes: Uint8Array;
  key: number;
  /** Asked for since the last round of eviction. */
  used: boolean;
}

const NO_KEY = -1;

/**
 * The most recently used blocks of all packs a thread reads. A block is `LIMITS.packBlockBytes`
 * long, the last one of a file shorter. Their memory is asked for once and used again: freed and
 * taken anew, it would lie in ever more places. Eviction gives a block that was used since the last
 * look a second chance, so that a hit costs one flag.
 */
export class BlockCache {
  readonly #files = new OpenFiles();
  /** Pack checksum → the high part of its blocks' keys. */
  readonly #slots = new Map<string, number>();
  readonly #blocks = new Map<number, Held>();
  readonly #blocksMax: number;
  #spare: Held | undefined;
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

  key(slot: number, number: number): number {
    return slot * 0x100000000 + number;
  }

  /** The block that holds byte `number * packBlockBytes`, valid as long as its key is. */
  block(pack: PackHandle, slot: number, number: number): Block {
    const key = this.key(slot, number);
    const held = this.#blocks.get(key);
    if (held !== undefined) {
      held.used = true;
      return held;
    }
    const start = number * LIMITS.packBlockBytes;
    const block = this.#take();
    block.bytes = new Uint8Array(
      block.bytes.buffer,
      0,
      Math.min(LIMITS.packBlockBytes, pack.bytes - start),
    );
    try {
      this.readInto(pack, start, block.bytes);
    } catch (error) {
      this.#spare = block;
      throw error;
    }
    block.key = key;
    this.#blocks.set(key, block);
    return block;
  }

  /**
   * Fills `target` from the pack, beside the cache. Throws "odb/damaged" where the file ends early.
   */
  readInto(pack: PackHandle, start: number, target: Uint8Array): void {
    if (pack.blocks !== undefined) waitForBlocks(pack.blocks, start, start + target.length);
    const file = this.#files.descriptor(pack.path);
    for (let filled = 0; filled < target.length; ) {
      const read = readSync(file, target, filled, target.length - filled, start + filled);
      if (read === 0)
        throw new Fault("odb/damaged", {
          pack: pack.checksum,
          reason: "the file ends early",
          at: start + filled,
        });
      filled += read;
      this.reads++;
    }
  }

  close(): void {
    this.#files.close();
    for (const block of this.#blocks.values()) block.key = NO_KEY;
    this.#blocks.clear();
  }

  /** A block that nobody reads: new while there is room, else an evicted one. */
  #take(): Held {
    const spare = this.#spare ?? (this.#blocks.size < this.#blocksMax ? undefined : this.#evict());
    this.#spare = undefined;
    return (
      spare ?? { bytes: Buffer.allocUnsafeSlow(LIMITS.packBlockBytes), key: NO_KEY, used: false }
    );
  }

  #evict(): Held | undefined {
    for (const [key, block] of this.#blocks) {
      this.#blocks.delete(key);
      if (!block.used) {
        block.key = NO_KEY;
        return block;
      }
      block.used = false;
      this.#blocks.set(key, block);
    }
    return undefined;
  }
}
