/** The contract of LFS with a lakeFS repository; serve/lfs/lakefs-files implements it. */
/** The hidden branch and commits of one lakeFS repository. */
export interface LakefsFiles {
  /** Undefined where there is no such file, or no such ref. */
  stat(ref: string, path: string, signal: AbortSignal): Promise<LakefsFile | undefined>;
  /** Undefined where the server does not presign. */
  presigned(ref: string, path: string, signal: AbortSignal): Promise<string | undefined>;
  /** Throws "lfs/gone" where lakeFS names a file whose data is gone from its storage. */
  read(
    ref: string,
    path: string,
    start: number,
    end: number,
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>;
  /**
   * Stages a content that arrives in exactly `size` bytes, making the hidden branch where it is
   * missing.
   */
  upload(
    branch: string,
    path: string,
    size: number,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<LakefsFile>;
  /** Gives a name to bytes that are there and have been hashed: it is sealed, and remembered. */
  stage(branch: string, path: string, file: HashedFile, signal: AbortSignal): Promise<void>;
  /**
   * Finds the bytes of a commit's file, if a branch's head has the same ones there: others may be
   * collected at any time.
   */
  atHead(commit: string, path: string, signal: AbortSignal): Promise<string | undefined>;
  /**
   * Copies a commit's file to a branch, making the hidden branch where it is missing. Undefined: it
   * is gone.
   */
  copy(
    from: { readonly commit: string; readonly path: string },
    branch: string,
    path: string,
    signal: AbortSignal,
  ): Promise<LakefsFile | undefined>;
  /**
   * Paths below `folder` ("a/b/") that were written before `beforeMs` (since 1970). None where
   * there is no such branch.
   */
  older(
    branch: string,
    folder: string,
    beforeMs: number,
    signal: AbortSignal,
  ): AsyncIterable<string>;
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

/**
 * Objects that commits of the repository show as pointers: an index that the reading half writes.
 */
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
export const INCOMING_FOLDER = "lfs/incoming/";
