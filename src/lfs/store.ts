/**
 * The store of one repository's LFS objects. Two implementations: our own store (own-store.ts) and
 * the lakeFS repository itself (lakefs-store.ts). `size` is the one existence test: batch, verify
 * and push all ask it.
 */
import type { Pool } from "../pool/task.js";

/** An object as clients name it: the SHA-256 of its content in lower-case hex, and its bytes. */
export interface LfsObject {
  readonly oid: string;
  readonly size: number;
}

export interface LfsStore {
  /**
   * Bytes of an object that this repository has, whole and durable; undefined: it does not have it.
   * `size`: what is expected, for stores that look elsewhere too. Another repository's object is
   * not here, even where both share their bytes.
   */
  size(object: LfsObject, signal: AbortSignal): Promise<number | undefined>;

  /**
   * Bytes of an object that can be downloaded, though nobody here has hashed it; default: `size`.
   */
  readable?(object: LfsObject, signal: AbortSignal): Promise<number | undefined>;

  /**
   * An address from which a client reads the object without us, good for `LIMITS.lfsLinkSeconds`;
   * undefined: it reads through us. Throws "lfs/gone".
   */
  link(object: LfsObject, signal: AbortSignal): Promise<string | undefined>;

  /**
   * Bytes [start, end) of an object, in pieces that are the reader's own. Exactly so many, or a
   * Fault. Throws "lfs/missing", "lfs/gone".
   */
  read(
    object: LfsObject,
    start: number,
    end: number,
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>;

  /** Begins to take an object's content. Throws "lakefs/no-credentials". */
  beginUpload(object: LfsObject, signal: AbortSignal, uploader?: Uploader): Promise<LfsUpload>;
}

/** The caller of an upload. */
export interface Uploader {
  /** The account; undefined: nobody was asked. */
  readonly account: string | undefined;
  /** Its part of the pool. */
  readonly pool: Pool;
}

/** One content on its way in. Nothing of it is to be seen before `finish` has resolved. */
export interface LfsUpload {
  /**
   * Resolves when more is welcome; the bytes are copied or stored by then, unless `release` is
   * given and called later: until then they must stay what they are. Throws "lfs/mismatch" once
   * there are too many.
   */
  write(bytes: Uint8Array, release?: (bytes: Uint8Array) => void): Promise<void>;
  /** Checks size and hash, then keeps it, durably. Throws "lfs/mismatch". */
  finish(): Promise<void>;
  /** Frees all of it that was not kept. Safe at any time, any number of times. */
  discard(): Promise<void>;
}
