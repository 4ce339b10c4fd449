/**
 * Types of lakeFS's answers, as far as we read them. Source: lakeFS's OpenAPI file (v1.84 to
 * v1.86).
 */

export interface LakefsRepository {
  readonly id: string;
  readonly storage_namespace: string;
  readonly default_branch: string;
  /** Seconds since 1970. */
  readonly creation_date: number;
  readonly read_only?: boolean;
}

/** A branch or a tag. */
export interface LakefsRef {
  readonly id: string;
  readonly commit_id: string;
}

export interface LakefsCommit {
  readonly id: string;
  readonly parents: readonly string[];
  readonly committer: string;
  readonly message: string;
  /** Seconds since 1970; may be zero or negative. */
  readonly creation_date: number;
  /** "": the empty tree of a repository's first commit. */
  readonly meta_range_id: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly generation?: number;
  readonly version?: number;
}

export interface LakefsObject {
  readonly path: string;
  readonly path_type: "object" | "common_prefix";
  readonly physical_address: string;
  readonly checksum: string;
  readonly size_bytes?: number;
  readonly mtime: number;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly content_type?: string;
}

export interface LakefsDifference {
  readonly type: "added" | "removed" | "changed" | "conflict" | "prefix_changed";
  readonly path: string;
  readonly path_type: string;
  readonly size_bytes?: number;
  /** The entry of an added or changed object, where it was asked for. */
  readonly right?: {
    readonly checksum: string;
    readonly metadata?: Readonly<Record<string, string>>;
  };
}

export interface LakefsPage<T> {
  readonly pagination: { readonly has_more: boolean; readonly next_offset: string };
  readonly results: readonly T[];
}

/**
 * `POST commits`: sets everything, moves no branch. Send only ids just read from a reply: unknown
 * ones are accepted.
 */
export interface LakefsCommitRecord {
  readonly commit_id: string;
  readonly version: number;
  readonly committer: string;
  readonly message: string;
  readonly metarange_id: string;
  readonly creation_date: number;
  readonly parents: readonly string[];
  /** Must be there, if empty: without it the server drops the connection. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly generation: number;
}

/**
 * `PUT branches/B/objects`: an entry of an object that is already in the block store. Nothing is
 * checked by lakeFS.
 */
export interface LakefsStage {
  readonly physical_address: string;
  readonly checksum: string;
  readonly size_bytes: number;
  readonly mtime?: number;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly content_type?: string;
}

export interface LakefsConfig {
  readonly version_config?: { readonly version?: string };
  readonly storage_config?: {
    readonly blockstore_type: string;
    readonly pre_sign_support?: boolean;
  };
}
