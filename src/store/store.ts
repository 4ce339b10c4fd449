/**
 * The contract of storage: named immutable-or-swapped blobs under "/"-separated keys. Every
 * implementation passes test/conformance/store. Keys are validated (`checkKey`), nothing outside
 * the store's root is reachable.
 */

import type { LocalCopy } from "./blocks.js";

/**
 * "/"-separated, 1 to 1,000 bytes, components of [0-9A-Za-z._~@=+-] (not "." or ".."). Made with
 * `checkKey`.
 */
export type StoreKey = string;

/** Identifies one content of a key; compare only for equality. */
export type StoreTag = string;

export interface Stored {
  readonly bytes: Uint8Array;
  readonly tag: StoreTag;
}

export interface StoreEntry {
  readonly key: StoreKey;
  readonly bytes: number;
}

export interface Amount {
  readonly files: number;
  readonly bytes: number;
}

export interface Store {
  readonly kind: "disk" | "s3";

  /**
   * Whole content and its tag; undefined where there is nothing. Throws "store/oversized" above
   * `bytesMax`.
   */
  get(key: StoreKey, bytesMax: number, signal?: AbortSignal): Promise<Stored | undefined>;

  /**
   * The same of what may have changed since `tag` was seen; "unchanged" where it has not, which
   * costs no transfer of its bytes.
   */
  getIfChanged(
    key: StoreKey,
    tag: StoreTag,
    bytesMax: number,
    signal?: AbortSignal,
  ): Promise<Stored | "unchanged" | undefined>;

  /** Bytes [start, end) of one blob: exactly that many, or a Fault. Throws "store/missing". */
  readRange(key: StoreKey, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array>;

  /** Size in bytes, undefined where there is nothing. */
  size(key: StoreKey, signal?: AbortSignal): Promise<number | undefined>;

  /**
   * Stores `bytes` durably if nothing is there. Keys that are put so are never replaced. Throws
   * "store/exists", and "store/unknown-outcome" where nobody can tell whether it has landed. An
   * aborted call of this or the next may land all the same.
   */
  putIfAbsent(key: StoreKey, bytes: Uint8Array, signal?: AbortSignal): Promise<StoreTag>;

  /**
   * Replaces durably what `tag` names (undefined: nothing is there). Throws "store/conflict", which
   * says that these bytes were never there, or "store/unknown-outcome". Bytes that are put so must
   * never repeat under a key: equal ones have equal tags.
   */
  putIfMatch(
    key: StoreKey,
    bytes: Uint8Array,
    tag: StoreTag | undefined,
    signal?: AbortSignal,
  ): Promise<StoreTag>;

  /** Replaces whatever is there, durably. For derived files only. */
  put(key: StoreKey, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;

  /**
   * Publishes a finished local file under `key`, durably, and leaves the file where it is. Its
   * writer has synced its bytes: beside other work, and with no second sync here. The same size
   * already there is success: callers publish only under names made of a checksum.
   */
  publish(key: StoreKey, path: string, signal?: AbortSignal): Promise<void>;

  /** Every key below `prefix` (which ends in "/"), in bytewise order. */
  list(prefix: StoreKey, signal?: AbortSignal): AsyncIterable<StoreEntry>;

  /**
   * Names directly below `prefix` (which ends in "/"), in bytewise order: "b" of a key, "a/" of all
   * keys below a folder, which may be empty. Costs in proportion to them, whatever lies below.
   */
  names(prefix: StoreKey, signal?: AbortSignal): Promise<readonly string[]>;

  /** Removes; absent is success. */
  delete(key: StoreKey, signal?: AbortSignal): Promise<void>;

  /**
   * Removes all below `prefix` (which ends in "/"), whatever it is: of a repository that is gone,
   * which nobody reads or writes any more.
   */
  deleteAll(prefix: StoreKey, signal?: AbortSignal): Promise<Amount>;

  /**
   * Removes what writes below `prefix` (which ends in "/") that died before `beforeMs` have left:
   * nothing that a key names.
   */
  sweep(prefix: StoreKey, beforeMs: number, signal?: AbortSignal): Promise<Amount>;

  /**
   * A local file that holds this key's content: on disk the file itself, on S3 a cached copy.
   * Throws "store/missing".
   */
  localFile(key: StoreKey, signal?: AbortSignal): Promise<string>;

  /**
   * The same of a large content that never changes: a copy that comes as it is read. `bytes`: its
   * size. Throws "store/missing".
   */
  localCopy(key: StoreKey, bytes: number, signal?: AbortSignal): Promise<LocalCopy>;
}
