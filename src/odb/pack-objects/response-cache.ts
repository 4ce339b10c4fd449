/**
 * Packs made for fetches, kept as files: a second identical request reads the file, and requests at
 * the same time share one generation, which they follow while it grows.
 *
 *   <folder>/<key>.pack            whole; the key is 64 hex digits (response-key)
 *   <folder>/<key>.<random>.part   growing, or left by a crash: removed at the start
 *
 * Bounded by bytes, the one used longest ago goes first, and those nobody reads before others. A
 * pack that has gone and is still read counts too: past the bound once more the slowest readers are
 * ended. A pack that was there before a restart is hashed once on first use; its length is compared
 * each time.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { asFault, Fault } from "../../base/fault.js";
import { SingleFlight } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { PlanFigures } from "./tasks.js";
import { CachedPack } from "./cached-pack.js";
import type { PackStream } from "./pack-stream.js";
import { SizeLimits } from "../walk/size-limits.js";

export interface ResponseCacheOptions {
  /** Made if it is not there. Nothing else may live in it. */
  readonly folder: string;
  readonly bytesMax?: number;
}

/** Makes and checks packs: the pool, behind functions so that tests can stand in. */
export interface PackMaker {
  /** Writes the pack to `path` and reports as it grows. Its end is the pack's. */
  generate(path: string, growth: Growth, signal: AbortSignal): Promise<{ readonly bytes: number }>;
  /** Returns whether the file at `path` is a whole pack. */
  check(path: string, signal: AbortSignal): Promise<boolean>;
}

export interface Growth {
  /** The file's first `bytes` are final. */
  written(bytes: number, objects: number): void;
  foundMore(objects: number): void;
  planned(plan: PlanFigures): void;
}

const KEY_FILE = /^[0-9a-f]{64}\.pack$/;

export class ResponseCache {
  readonly #folder: string;
  readonly #bytesMax: number;
  /** Whole and growing ones, the one used longest ago first. */
  readonly #packs = new Map<string, CachedPack>();
  readonly #checking = new SingleFlight<CachedPack, boolean>();
  /** Gone from the cache, and read by somebody yet; the one gone last is last. */
  readonly #lingering = new Set<CachedPack>();
  #bytes = 0;
  /** Limits of blob sizes that come to the same pack. */
  readonly sizeLimits = new SizeLimits();
  /** For metrics and tests. */
  readonly figures = { hits: 0, shared: 0, generated: 0, evicted: 0, rejected: 0, ended: 0 };
  /** Bytes of all packs made since the start. */
  bytesMade = 0;

  private constructor(folder: string, bytesMax: number) {
    this.#folder = folder;
    this.#bytesMax = bytesMax;
  }

  static async open({
    folder,
    bytesMax = LIMITS.responseCacheBytes,
  }: ResponseCacheOptions): Promise<ResponseCache> {
    const cache = new ResponseCache(folder, bytesMax);
    await mkdir(folder, { recursive: true });
    await cache.#load();
    return cache;
  }

  /** Writes a small file and removes it. Throws where the folder takes none. */
  async probeWrite(): Promise<void> {
    const path = join(this.#folder, `probe.${randomBytes(6).toString("hex")}.part`);
    try {
      await writeFile(path, "probe", { flag: "wx" });
    } finally {
      await rm(path, { force: true });
    }
  }

  /** Bytes of whole packs. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of packs that have gone and are still read. */
  get lingeringBytes(): number {
    let bytes = 0;
    for (const pack of this.#lingering) bytes += pack.bytes;
    return bytes;
  }

  get count(): number {
    return this.#packs.size;
  }

  /**
   * A stream over the pack of this key, from the file if there is one, else from a generation that
   * it shares with everybody else who asks. The caller closes it; when the last one does, a
   * generation under way stops.
   */
  async stream(key: string, maker: PackMaker, signal: AbortSignal): Promise<PackStream> {
    const held = this.#packs.get(key);
    if (held === undefined) return this.#generate(key, maker);
    const reader = await this.#readSound(held, maker, signal);
    if (reader === undefined) {
      this.#drop(key, held);
      return this.#generate(key, maker);
    }
    this.#touch(key, held);
    this.figures[held.whole ? "hits" : "shared"]++;
    return reader;
  }

  /** A reader of this pack; undefined where it is no good. */
  async #readSound(
    pack: CachedPack,
    maker: PackMaker,
    signal: AbortSignal,
  ): Promise<PackStream | undefined> {
    const reader = pack.join();
    if (reader === undefined) return undefined;
    try {
      if (await this.#isSound(pack, maker, signal)) return reader;
    } catch (error) {
      await reader.close();
      throw error;
    }
    await reader.close();
    return undefined;
  }

  /**
   * Growing packs are; whole ones have their length, and their checksum was looked at once in this
   * process.
   */
  async #isSound(pack: CachedPack, maker: PackMaker, signal: AbortSignal): Promise<boolean> {
    if (!pack.whole) return true;
    if (!(await pack.hasLength())) return false;
    pack.checked ??= await this.#checking.run(
      pack,
      (shared) => maker.check(pack.path, shared),
      signal,
    );
    return pack.checked;
  }

  #generate(key: string, maker: PackMaker): PackStream {
    // Somebody may have begun it while this request looked at a file.
    const begun = this.#packs.get(key)?.join();
    if (begun !== undefined) return begun;
    const part = join(this.#folder, `${key}.${randomBytes(6).toString("hex")}.part`);
    const pack = CachedPack.growing(part);
    const reader = pack.join();
    if (reader === undefined)
      throw new Fault("base/internal", { reason: "a new pack cannot be read" });
    this.#packs.set(key, pack);
    this.figures.generated++;
    void this.#run(key, pack, maker);
    return reader;
  }

  async #run(key: string, pack: CachedPack, maker: PackMaker): Promise<void> {
    const { path } = pack;
    try {
      const { bytes } = await maker.generate(path, pack, pack.signal);
      await pack.file(); // open before it gets another name, or goes
      const final = join(this.#folder, `${key}.pack`);
      await rename(path, final);
      pack.finish(final, bytes);
      this.#bytes += bytes;
      this.bytesMade += bytes;
      this.#evict();
    } catch (error) {
      pack.break(asFault(error));
      if (this.#packs.get(key) === pack) this.#packs.delete(key);
      await this.#removeParts(basename(path));
    }
  }

  /**
   * A file that did not become whole, and what a thread that died left beside it
   * (`<name>.<batch>`).
   */
  async #removeParts(name: string): Promise<void> {
    const left = await readdir(this.#folder).catch(() => []);
    const own = left.filter((each) => each.startsWith(name));
    await Promise.all(own.map((each) => rm(join(this.#folder, each), { force: true })));
  }

  #touch(key: string, pack: CachedPack): void {
    if (this.#packs.get(key) !== pack) return;
    this.#packs.delete(key);
    this.#packs.set(key, pack);
  }

  #evict(): void {
    this.#evictOldest();
    this.#endSlowest();
  }

  #evictOldest(): void {
    for (const read of [false, true]) {
      for (const [key, pack] of this.#packs) {
        if (this.#bytes <= this.#bytesMax) return;
        if (!pack.whole || pack.isRead !== read) continue;
        this.figures.evicted++;
        this.#remove(key, pack);
      }
    }
  }

  #remove(key: string, pack: CachedPack): void {
    this.#packs.delete(key);
    this.#bytes -= pack.bytes;
    this.#lingering.add(pack);
    pack.remove(() => this.#lingering.delete(pack));
  }

  /** The one that has gone last may be larger than the whole cache: it is always let be. */
  #endSlowest(): void {
    while (this.#lingering.size > 1 && this.lingeringBytes > this.#bytesMax) {
      const [slowest] = [...this.#lingering]
        .slice(0, -1)
        .sort((left, right) => left.slowestRate - right.slowestRate);
      if (slowest === undefined) return;
      this.#lingering.delete(slowest);
      this.figures.ended++;
      void slowest.end(new Fault("fetch/crowded-out"));
    }
  }

  /** Takes out what turned out to be no good. */
  #drop(key: string, pack: CachedPack): void {
    if (this.#packs.get(key) !== pack) return;
    if (!pack.whole) {
      this.#packs.delete(key);
      return;
    }
    this.figures.rejected++;
    this.#remove(key, pack);
  }

  async #load(): Promise<void> {
    const found: { readonly name: string; readonly bytes: number; readonly usedAt: number }[] = [];
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      if (!KEY_FILE.test(name)) await rm(path, { force: true, recursive: true });
      else {
        const { size, atimeMs, mtimeMs } = await stat(path);
        found.push({ name, bytes: size, usedAt: Math.max(atimeMs, mtimeMs) });
      }
    }
    found.sort((left, right) => left.usedAt - right.usedAt);
    for (const { name, bytes } of found) {
      this.#packs.set(name.slice(0, 64), CachedPack.stored(join(this.#folder, name), bytes));
      this.#bytes += bytes;
    }
    this.#evict();
  }
}
