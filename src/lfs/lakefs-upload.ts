/**
 * One LFS object on its way to lakeFS. Its bytes go on while they arrive and are hashed by the way.
 * From the last byte on the upload belongs to nobody's request: a client that gives up (git-lfs
 * waits 30 s) finds on its next try what lakeFS has stored meanwhile.
 */
import { randomBytes } from "node:crypto";
import { Fault } from "../base/fault.js";
import { BoundedQueue, orAbort, sleep } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Pool } from "../pool/task.js";
import { type UploadHash, uploadHash } from "./hash-here.js";
import { INCOMING_FOLDER, type LakefsFile, type LakefsFiles, LFS_BRANCH } from "./lakefs-files.js";
import type { LfsObject, LfsUpload } from "./store.js";

/** Chunks between the client and lakeFS, each at most 512 KiB. */
const CHUNKS_BETWEEN_MAX = 6;

/** The part of the store that ends uploads. */
export interface UploadSettling {
  /** Gives proven bytes their name. */
  name(object: LfsObject, file: LakefsFile, incoming: string): Promise<void>;
  /** Takes a name below `lfs/incoming` away, now or later. */
  clear(incoming: string): Promise<void>;
  /** Is told of work that goes on whoever waits for it. */
  follow(oid: string, work: Promise<void>): void;
}

export interface UploadParts {
  readonly files: LakefsFiles;
  readonly pool: Pool;
  readonly object: LfsObject;
  /**
   * The client's: it ends the upload until its last byte has come, and only the waiting from then
   * on.
   */
  readonly signal: AbortSignal;
  readonly settling: UploadSettling;
}

export class LakefsUpload implements LfsUpload {
  readonly #parts: UploadParts;
  readonly #incoming = `${INCOMING_FOLDER}${randomBytes(12).toString("hex")}`;
  readonly #queue = new BoundedQueue<Piece>(CHUNKS_BETWEEN_MAX);
  readonly #stop = new AbortController();
  readonly #hash: UploadHash;
  readonly #uploaded: Promise<LakefsFile>;
  #received = 0;
  #isOver = false;

  constructor(parts: UploadParts) {
    this.#parts = parts;
    const { files, pool, object } = parts;
    const { signal } = this.#stop;
    this.#hash = uploadHash(pool, object.size, signal);
    this.#uploaded = files.upload(
      LFS_BRANCH,
      this.#incoming,
      object.size,
      drained(this.#queue, signal),
      signal,
    );
    this.#uploaded.catch((error: unknown) => this.#queue.fail(error));
  }

  async write(bytes: Uint8Array, release?: (bytes: Uint8Array) => void): Promise<void> {
    const { object, signal } = this.#parts;
    if (bytes.length > object.size - this.#received)
      throw new Fault("lfs/mismatch", { size: object.size, reason: "more bytes than announced" });
    this.#received += bytes.length;
    await orAbort(this.#hash.update(bytes), signal);
    await this.#queue.push(
      { bytes: release === undefined ? Buffer.from(bytes) : bytes, release },
      signal,
    );
  }

  async finish(): Promise<void> {
    const { object, signal, settling } = this.#parts;
    const { oid, size } = object;
    if (this.#received !== size)
      throw new Fault("lfs/mismatch", { size, received: this.#received });
    this.#queue.end();
    this.#isOver = true;
    const completed = this.#complete();
    completed.catch(() => undefined); // told below, unless nobody waits any more
    settling.follow(oid, completed);
    await orAbort(completed, signal);
  }

  async discard(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#hash.close();
    this.#queue.fail(new Fault("base/aborted"));
    this.#stop.abort();
    // An upload that was cut was never staged; one that was whole is, under a name nobody looks at.
    const staged = await this.#uploaded.then(
      () => true,
      () => this.#received === this.#parts.object.size,
    );
    if (staged) await this.#parts.settling.clear(this.#incoming);
  }

  /** All bytes have come. Ends with the object under its name, or with nothing of it. */
  async #complete(): Promise<void> {
    const { object, settling } = this.#parts;
    const [sha256, file] = await Promise.all([
      this.#hash.digest(),
      this.#uploaded.catch((error: unknown) => this.#stored(error)),
    ]).catch(async (error: unknown) => {
      this.#stop.abort();
      await settling.clear(this.#incoming);
      throw error;
    });
    const wrong = complaintOf(object, sha256, file);
    if (wrong !== undefined) {
      await settling.clear(this.#incoming);
      throw wrong;
    }
    await settling.name(object, file, this.#incoming);
  }

  /** The answer is lost, what lakeFS has stored is not. Throws `error` where that is nothing. */
  async #stored(error: unknown): Promise<LakefsFile> {
    const { files, object } = this.#parts;
    const { signal } = this.#stop;
    for (let look = 0; look < LIMITS.lfsStoredLooksMax; look++) {
      await sleep(LIMITS.lfsStoredLookMs * look, signal);
      const file = await files.stat(LFS_BRANCH, this.#incoming, signal);
      if (file?.size === object.size) return file;
    }
    throw error;
  }
}

function complaintOf(
  { oid, size }: LfsObject,
  sha256: string,
  file: LakefsFile,
): Fault | undefined {
  if (sha256 !== oid) return new Fault("lfs/mismatch", { oid, received: sha256 });
  if (file.size === size) return undefined;
  return new Fault("lakefs/bad-reply", {
    reason: "stored with another size than sent",
    size,
    stored: file.size,
  });
}

/** A chunk on its way. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly release: ((bytes: Uint8Array) => void) | undefined;
}

/**
 * Bytes that have been asked for behind a piece before its memory is used again: many times what a
 * connection takes without waiting for room.
 */
const BEHIND_BYTES = 1024 * 1024;

async function* drained(
  queue: BoundedQueue<Piece>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const sent: Piece[] = [];
  let behind = 0;
  for (
    let piece = await queue.shift(signal);
    piece !== undefined;
    piece = await queue.shift(signal)
  ) {
    yield piece.bytes;
    sent.push(piece);
    behind += piece.bytes.length;
    for (
      let first = sent[0];
      first !== undefined && behind - first.bytes.length >= BEHIND_BYTES;
      first = sent[0]
    ) {
      sent.shift();
      behind -= first.bytes.length;
      first.release?.(first.bytes);
    }
  }
}
