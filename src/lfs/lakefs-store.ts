/**
 * LFS objects of a lakeFS repository, in that repository itself. Nothing of them is kept by us.
 *
 *   lakepack-lfs                   a hidden branch that is never committed: its staging keeps the data from being collected
 *     lfs/ab/cd/<oid>              objects that were pushed, checksum "sha256:<oid>"
 *     lfs/incoming/<random>        uploads on their way
 *
 * Objects that lakeFS shows to Git as pointers are found through `KnownObjects`. An upload goes on to lakeFS while it arrives and is hashed by the way;
 * only when its hash is right does it get its name, by staging its address: no copy.
 *
 * Whoever may write in lakeFS may write this branch, any checksum and any metadata. So an object is here only where
 * its bytes are proven: one of us has hashed them, and remembers it or has sealed it. What only somebody's word
 * stands for is not here for uploads, pushes and verify; a download may read it, because its client hashes.
 */
import { randomBytes } from "node:crypto";
import { Fault } from "../base/fault.js";
import { BoundedQueue, checkAborted, orAbort } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Pool } from "../pool/tasks.js";
import { HashedStream } from "./hashed-stream.js";
import type { LfsObject, LfsStore, LfsUpload } from "./store.js";

/** What the hidden branch and commits of one lakeFS repository are asked; serve/lfs-lakefs implements it. */
export interface LakefsFiles {
  /** Undefined where there is no such file, or no such ref. */
  stat(ref: string, path: string, signal: AbortSignal): Promise<LakefsFile | undefined>;
  /** Undefined where the server does not presign. */
  presigned(ref: string, path: string, signal: AbortSignal): Promise<string | undefined>;
  read(ref: string, path: string, start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Stages a content that arrives in exactly `size` bytes, making the hidden branch where it is missing. */
  upload(branch: string, path: string, size: number, body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<LakefsFile>;
  /** Gives a name to bytes that are there and have been hashed: it is sealed, and remembered. */
  stage(branch: string, path: string, file: HashedFile, signal: AbortSignal): Promise<void>;
  /** Where the bytes of a commit's file lie, if a branch's head has the same ones there: others may be collected at any time. */
  atHead(commit: string, path: string, signal: AbortSignal): Promise<string | undefined>;
  /** Copies a commit's file to a branch, making the hidden branch where it is missing. Undefined: it is gone. */
  copy(from: { readonly commit: string; readonly path: string }, branch: string, path: string, signal: AbortSignal): Promise<LakefsFile | undefined>;
  /** Paths below `folder` ("a/b/") that were written before `beforeMs` (since 1970). None where there is no such branch. */
  older(branch: string, folder: string, beforeMs: number, signal: AbortSignal): AsyncIterable<string>;
  /** Absent is success. */
  remove(branch: string, path: string, signal: AbortSignal): Promise<void>;
}

export interface LakefsFile {
  /** One that lakeFS can stage. */
  readonly address: string;
  readonly checksum: string;
  readonly size: number;
  /** SHA-256 of the bytes, where one of us has hashed them. */
  readonly proven?: string | undefined;
}

/** Bytes in lakeFS whose SHA-256 has been computed by this server. */
export interface HashedFile {
  readonly address: string;
  readonly size: number;
  readonly sha256: string;
}

/** Objects that commits of the repository show as pointers: an index that the reading half writes. */
export interface KnownObjects {
  knownObject(oid: string, signal: AbortSignal): Promise<KnownObject | undefined>;
}

export interface KnownObject {
  /** Full lakeFS commit id. */
  readonly commit: string;
  readonly path: string;
  readonly size: number;
  /** One of us has hashed the bytes; else a hub's link says what they are. */
  readonly proven: boolean;
}

export const LFS_BRANCH = "lakepack-lfs";
const INCOMING_FOLDER = "lfs/incoming/";
const INCOMING_NAME = /^lfs\/incoming\/[0-9a-f]{24}$/;
/** Chunks between the client and lakeFS: 16 of a socket's usual 64 KiB. */
const CHUNKS_BETWEEN_MAX = 16;

/** Also what a landing asks (LfsObjects of lakefs/contract): `address` and `sweep`. */
export class LakefsLfsStore implements LfsStore {
  readonly #files: LakefsFiles;
  readonly #known: KnownObjects;
  readonly #pool: Pool;

  constructor(files: LakefsFiles, known: KnownObjects, pool: Pool) {
    this.#files = files;
    this.#known = known;
    this.#pool = pool;
  }

  async size({ oid }: LfsObject, signal: AbortSignal): Promise<number | undefined> {
    return (await this.#proven(oid, signal))?.size;
  }

  async readable({ oid }: LfsObject, signal: AbortSignal): Promise<number | undefined> {
    return (await this.#readable(oid, signal))?.size;
  }

  /**
   * Where the object's bytes lie, an address that lakeFS can stage; undefined: not here with this size. Never one
   * that only old commits name: such bytes are copied, as a collection may be taking them.
   */
  async address(oid: string, size: number, signal: AbortSignal): Promise<string | undefined> {
    const found = await this.#proven(oid, signal);
    if (found?.size !== size) return undefined;
    if (found.address !== undefined) return found.address;
    const atHead = await this.#files.atHead(found.ref, found.path, signal);
    if (atHead !== undefined) return atHead;
    const copy = await this.#files.copy({ commit: found.ref, path: found.path }, LFS_BRANCH, `${INCOMING_FOLDER}${randomBytes(12).toString("hex")}`, signal);
    if (copy === undefined || copy.size !== size) return undefined;
    await this.#files.stage(LFS_BRANCH, objectPath(oid), { address: copy.address, size, sha256: oid }, signal);
    return copy.address;
  }

  async link({ oid }: LfsObject, signal: AbortSignal): Promise<string | undefined> {
    const found = await this.#readable(oid, signal);
    return found && this.#files.presigned(found.ref, found.path, signal);
  }

  async *read({ oid }: LfsObject, start: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    if (start === end) return;
    const found = await this.#readable(oid, signal);
    if (found === undefined) throw new Fault("lfs/missing", { oid });
    let left = end - start;
    for await (const bytes of this.#files.read(found.ref, found.path, start, end, signal)) {
      left -= bytes.length;
      if (left < 0) break;
      yield bytes;
    }
    if (left !== 0) throw new Fault("lakefs/bad-reply", { oid, reason: "content of another size than asked for", missing: left });
  }

  async beginUpload(object: LfsObject, signal: AbortSignal, pool = this.#pool): Promise<LfsUpload> {
    return new LakefsUpload(this.#files, pool, object, signal);
  }

  /** Clears uploads that a crash left between their last byte and their name: older than a day, so never one under way. How many. */
  async sweep(nowMs: number, signal: AbortSignal): Promise<number> {
    let swept = 0;
    for await (const path of this.#files.older(LFS_BRANCH, INCOMING_FOLDER, nowMs - LIMITS.landingLeftoverMs, signal)) {
      if (!INCOMING_NAME.test(path)) continue;
      await this.#files.remove(LFS_BRANCH, path, signal);
      swept++;
    }
    return swept;
  }

  /** Where its bytes are, of which one of us knows the hash. */
  async #proven(oid: string, signal: AbortSignal): Promise<Found | undefined> {
    const path = objectPath(oid);
    const file = await this.#files.stat(LFS_BRANCH, path, signal);
    if (file?.proven === oid) return { ref: LFS_BRANCH, path, size: file.size, address: file.address };
    const known = await this.#known.knownObject(oid, signal);
    return known?.proven === true ? { ref: known.commit, path: known.path, size: known.size, address: undefined } : undefined;
  }

  /** The same, or what is said to be it. */
  async #readable(oid: string, signal: AbortSignal): Promise<Found | undefined> {
    const proven = await this.#proven(oid, signal);
    if (proven !== undefined) return proven;
    const known = await this.#known.knownObject(oid, signal);
    if (known !== undefined) return { ref: known.commit, path: known.path, size: known.size, address: undefined };
    const path = objectPath(oid);
    const file = await this.#files.stat(LFS_BRANCH, path, signal);
    return file?.checksum === `sha256:${oid}` ? { ref: LFS_BRANCH, path, size: file.size, address: undefined } : undefined;
  }
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

class LakefsUpload implements LfsUpload {
  readonly #files: LakefsFiles;
  readonly #object: LfsObject;
  readonly #incoming = `${INCOMING_FOLDER}${randomBytes(12).toString("hex")}`;
  readonly #queue = new BoundedQueue<Uint8Array>(CHUNKS_BETWEEN_MAX);
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #hash: HashedStream;
  readonly #uploaded: Promise<LakefsFile>;
  #received = 0;
  #discarded = false;

  constructor(files: LakefsFiles, pool: Pool, object: LfsObject, signal: AbortSignal) {
    this.#files = files;
    this.#object = object;
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
    this.#hash = new HashedStream(pool, object.size, this.#signal);
    this.#uploaded = files.upload(LFS_BRANCH, this.#incoming, object.size, drained(this.#queue, this.#signal), this.#signal);
    this.#uploaded.catch((error: unknown) => this.#queue.fail(error));
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { size } = this.#object;
    if (bytes.length > size - this.#received) throw new Fault("lfs/mismatch", { size, reason: "more bytes than announced" });
    this.#received += bytes.length;
    await this.#hash.update(bytes);
    await this.#queue.push(Buffer.from(bytes), this.#signal);
  }

  async finish(): Promise<void> {
    const { oid, size } = this.#object;
    if (this.#received !== size) throw new Fault("lfs/mismatch", { size, received: this.#received });
    this.#queue.end();
    const [sha256, file] = await orAbort(Promise.all([this.#hash.digest(), this.#uploaded]), this.#signal);
    if (sha256 !== oid) throw new Fault("lfs/mismatch", { oid, received: sha256 });
    if (file.size !== size) throw new Fault("lakefs/bad-reply", { reason: "stored with another size than sent", size, stored: file.size });
    checkAborted(this.#signal);
    await this.#files.stage(LFS_BRANCH, objectPath(oid), { address: file.address, size, sha256 }, this.#signal);
    await this.discard();
  }

  async discard(): Promise<void> {
    if (this.#discarded) return;
    this.#discarded = true;
    this.#queue.fail(new Fault("base/aborted"));
    this.#stop.abort();
    // An upload that was cut was never staged; one that was whole is, under a name nobody looks at.
    const staged = await this.#uploaded.then(() => true, () => false);
    if (staged) await this.#files.remove(LFS_BRANCH, this.#incoming, new AbortController().signal);
  }
}

async function* drained(queue: BoundedQueue<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  for (let bytes = await queue.shift(signal); bytes !== undefined; bytes = await queue.shift(signal)) yield bytes;
}
