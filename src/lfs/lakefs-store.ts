/**
 * LFS objects of a lakeFS repository, in that repository itself. Nothing of them is kept by us.
 *
 *   lakepack-lfs                   a hidden branch that is never committed: its staging keeps the
 *                                  data from being collected
 *     lfs/ab/cd/<oid>              objects that were pushed, checksum "sha256:<oid>"
 *     lfs/incoming/<random>        uploads on their way
 *
 * Objects that lakeFS shows to Git as pointers are found through `KnownObjects`. An upload goes on
 * to lakeFS while it arrives and is hashed by the way; only when its hash is right does it get its
 * name, by staging its address: no copy.
 *
 * Whoever may write in lakeFS may write this branch, any checksum and any metadata. So an object is
 * here only where its bytes are proven: one of us has hashed them, and remembers it or has sealed
 * it. An object that only somebody's word stands for is not here for uploads, pushes and verify; a
 * download may read it, because its client hashes.
 */
import { randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import { Fault } from "../base/fault.js";
import { orAbort, within } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Pool } from "../pool/task.js";
import {
  type HashedFile,
  INCOMING_FOLDER,
  type KnownObjects,
  type LakefsFile,
  type LakefsFiles,
  LFS_BRANCH,
} from "./lakefs-files.js";
import { LakefsUpload } from "./lakefs-upload.js";
import type { LfsObject, LfsStore, LfsUpload, Uploader } from "./store.js";

const INCOMING_NAME = /^lfs\/incoming\/[0-9a-f]{24}$/;

/** Also what a landing asks (LfsObjects of lakefs/contract): `address` and `sweep`. */
export class LakefsLfsStore implements LfsStore {
  readonly #files: LakefsFiles;
  readonly #filesOf: (account: string | undefined) => LakefsFiles;
  readonly #known: KnownObjects;
  readonly #pool: Pool;
  /** Uploads whose bytes have all come, by oid. */
  readonly #settling = new Map<string, Promise<void>>();
  /** Whole and hashed objects that could not be given their name, by oid. */
  readonly #unnamed = new LRUCache<string, Unnamed>({
    maxSize: LIMITS.lfsUnnamedMax,
    sizeCalculation: () => 1,
    dispose: ({ incoming }, _, reason) => reason === "evict" && this.#leave(incoming),
  });
  /**
   * Names below `lfs/incoming` that could not be taken away: with the next upload, else by the
   * sweeper.
   */
  readonly #left = new Set<string>();

  /**
   * `filesOf`: the same with the key of an account, which may throw "lakefs/no-credentials";
   * default: the server's for everybody.
   */
  constructor(
    files: LakefsFiles,
    known: KnownObjects,
    pool: Pool,
    filesOf: (account: string | undefined) => LakefsFiles = () => files,
  ) {
    this.#files = files;
    this.#filesOf = filesOf;
    this.#known = known;
    this.#pool = pool;
  }

  /**
   * Waits for an upload of it that is all but done: a client that has given up on it asks again.
   */
  async size({ oid }: LfsObject, signal: AbortSignal): Promise<number | undefined> {
    await this.#settled(oid, signal);
    return (await this.#proven(oid, signal))?.size;
  }

  async readable({ oid }: LfsObject, signal: AbortSignal): Promise<number | undefined> {
    return (await this.#readable(oid, signal))?.size;
  }

  /**
   * Returns the address of the object's bytes, one that lakeFS can stage; undefined: not here with
   * this size. Never one that only old commits name: such bytes are copied, as a collection may be
   * taking them.
   */
  async address(oid: string, size: number, signal: AbortSignal): Promise<string | undefined> {
    const found = await this.#proven(oid, signal);
    if (found?.size !== size) return undefined;
    if (found.address !== undefined) return found.address;
    const atHead = await this.#files.atHead(found.ref, found.path, signal);
    if (atHead !== undefined) return atHead;
    const copy = await this.#files.copy(
      { commit: found.ref, path: found.path },
      LFS_BRANCH,
      `${INCOMING_FOLDER}${randomBytes(12).toString("hex")}`,
      signal,
    );
    if (copy === undefined || copy.size !== size) return undefined;
    await this.#files.stage(
      LFS_BRANCH,
      objectPath(oid),
      { address: copy.address, size, sha256: oid },
      signal,
    );
    return copy.address;
  }

  /**
   * Throws "lfs/gone": the block store would say so, and lakeFS signs addresses of what is not
   * there.
   */
  async link({ oid }: LfsObject, signal: AbortSignal): Promise<string | undefined> {
    const found = await this.#readable(oid, signal);
    if (found === undefined) return undefined;
    if (found.size > 0)
      for await (const _ of this.#files.read(found.ref, found.path, 0, 1, signal)) break;
    return this.#files.presigned(found.ref, found.path, signal);
  }

  async *read(
    { oid }: LfsObject,
    start: number,
    end: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    if (start === end) return;
    const found = await this.#readable(oid, signal);
    if (found === undefined) throw new Fault("lfs/missing", { oid });
    let left = end - start;
    for await (const bytes of this.#files.read(found.ref, found.path, start, end, signal)) {
      left -= bytes.length;
      if (left < 0) break;
      yield bytes;
    }
    if (left !== 0)
      throw new Fault("lakefs/bad-reply", {
        oid,
        reason: "content of another size than asked for",
        missing: left,
      });
  }

  /**
   * Begins an upload: its bytes are stored and named by whoever uploads it, leftovers are removed
   * by the server.
   */
  async beginUpload(
    object: LfsObject,
    signal: AbortSignal,
    { account, pool }: Uploader = { account: undefined, pool: this.#pool },
  ): Promise<LfsUpload> {
    void this.#clearLeft();
    const files = this.#filesOf(account);
    const settling = {
      name: (named: LfsObject, file: LakefsFile, incoming: string) =>
        this.#name(named, { file, incoming, files }),
      clear: (incoming: string) => this.#clear(incoming),
      follow: (oid: string, work: Promise<void>) => this.#follow(oid, work),
    };
    return new LakefsUpload({ files, pool, object, signal, settling });
  }

  #follow(oid: string, work: Promise<void>): void {
    this.#settling.set(oid, work);
    const over = () => this.#settling.get(oid) === work && this.#settling.delete(oid);
    work.then(over, over);
  }

  /** Waits some seconds for an upload that is all but there. */
  async #settled(oid: string, signal: AbortSignal): Promise<void> {
    const work = this.#settling.get(oid)?.catch(() => undefined);
    if (work !== undefined) await orAbort(within(work, LIMITS.lfsSettleMs), signal);
    const unnamed = this.#unnamed.get(oid);
    if (unnamed !== undefined) await this.#name({ oid, size: unnamed.file.size }, unnamed);
  }

  /**
   * Gives whole and hashed bytes their name. Where lakeFS does not take it now, whoever asks for
   * the object next does it.
   */
  async #name({ oid, size }: LfsObject, unnamed: Unnamed): Promise<void> {
    const file: HashedFile = { address: unnamed.file.address, size, sha256: oid };
    try {
      await unnamed.files.stage(LFS_BRANCH, objectPath(oid), file, new AbortController().signal);
    } catch (error) {
      this.#unnamed.set(oid, unnamed);
      throw error;
    }
    this.#unnamed.delete(oid);
    await this.#clear(unnamed.incoming);
  }

  /**
   * Never rejects, and keeps nobody waiting for long: a lakeFS that is away is asked again later.
   */
  #clear(incoming: string): Promise<void> {
    const gone = this.#files
      .remove(LFS_BRANCH, incoming, new AbortController().signal)
      .catch(() => this.#leave(incoming));
    return within(gone, LIMITS.lfsClearMs);
  }

  /** Leaves leftovers to be removed later; beyond a limit the sweeper finds them. */
  #leave(incoming: string): void {
    if (this.#left.size < LIMITS.lfsUnnamedMax) this.#left.add(incoming);
  }

  async #clearLeft(): Promise<void> {
    const left = [...this.#left];
    this.#left.clear();
    for (const incoming of left) await this.#clear(incoming);
  }

  /**
   * Clears uploads that a crash left between their last byte and their name: older than a day, so
   * never one under way. How many.
   */
  async sweep(nowMs: number, signal: AbortSignal): Promise<number> {
    let swept = 0;
    for await (const path of this.#files.older(
      LFS_BRANCH,
      INCOMING_FOLDER,
      nowMs - LIMITS.landingLeftoverMs,
      signal,
    )) {
      if (!INCOMING_NAME.test(path)) continue;
      await this.#files.remove(LFS_BRANCH, path, signal);
      swept++;
    }
    return swept;
  }

  /** Finds its bytes where one of us knows their hash. */
  async #proven(oid: string, signal: AbortSignal): Promise<Found | undefined> {
    const path = objectPath(oid);
    const file = await this.#files.stat(LFS_BRANCH, path, signal);
    if (file?.proven === oid)
      return { ref: LFS_BRANCH, path, size: file.size, address: file.address };
    const known = await this.#known.knownObject(oid, signal);
    return known?.proven === true
      ? { ref: known.commit, path: known.path, size: known.size, address: undefined }
      : undefined;
  }

  /** The same, or what is said to be it. */
  async #readable(oid: string, signal: AbortSignal): Promise<Found | undefined> {
    const proven = await this.#proven(oid, signal);
    if (proven !== undefined) return proven;
    const known = await this.#known.knownObject(oid, signal);
    if (known !== undefined)
      return { ref: known.commit, path: known.path, size: known.size, address: undefined };
    const path = objectPath(oid);
    const file = await this.#files.stat(LFS_BRANCH, path, signal);
    return file?.checksum === `sha256:${oid}`
      ? { ref: LFS_BRANCH, path, size: file.size, address: undefined }
      : undefined;
  }
}

/** Bytes with lakeFS whose hash is known, under the name they came in by. */
interface Unnamed {
  readonly file: LakefsFile;
  readonly incoming: string;
  /** By whom they came. */
  readonly files: LakefsFiles;
}

interface Found {
  readonly ref: string;
  readonly path: string;
  readonly size: number;
  readonly address: string | undefined;
}

function objectPath(oid: string): string {
  return `lfs/${oid.slice(0, 2)}/${oid.slice(2, 4)}/${oid}`;
}
