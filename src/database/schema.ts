/**
 * The tables, as every dialect has them: text, integer, nothing of one database's own. Times are
 * ISO 8601 in UTC with milliseconds (they sort as text), flags 0 or 1, ids random text. The meaning
 * of a row is said here once; migrations.ts has how it came to be.
 */
import type { Insertable, Selectable } from "kysely";

export interface UsersTable {
  readonly id: string;
  /** Also the namespace the user owns. */
  readonly name: string;
  /** `name` in lower case, unique: nobody is to be taken for somebody else. */
  readonly name_key: string;
  readonly is_admin: number;
  readonly created_at: string;
  /** Null: enabled. */
  readonly disabled_at: string | null;
}

export interface TokensTable {
  /** Names the token to people; no part of its secret. */
  readonly id: string;
  readonly user_id: string;
  readonly label: string;
  /** SHA-256 of the token, hex. The token itself is nowhere. */
  readonly hash: string;
  readonly scope: "read" | "write" | "admin";
  readonly created_at: string;
  /** Null: never. */
  readonly expires_at: string | null;
  /** Not more exact than LIMITS.tokenUsedStepMs. */
  readonly last_used_at: string | null;
  readonly revoked_at: string | null;
}

/**
 * A repository, or another name of one. Its files lie under its id, which is never used again; its
 * name leads to it until it is set aside. One that has no row is not there.
 */
export interface RepositoriesTable {
  /** 128 random bits, hex. */
  readonly id: string;
  /**
   * "ns/name", "datasets/ns/name", "lakefs/repository": unique. Null: set aside, its name is free.
   */
  readonly title: string | null;
  /** The title it had before it was set aside. */
  readonly former_title: string | null;
  /**
   * Namespace whose user is its owner; null: nobody is, because lakeFS or a hub's rule gave the
   * name.
   */
  readonly namespace: string | null;
  readonly visibility: "public" | "private";
  readonly created_at: string;
  /**
   * "making": it has no manifest yet. "made": it has had one, so without one it is damaged.
   * "deleted": set aside.
   */
  readonly state: "making" | "made" | "deleted";
  /** Its place in the store; null: "repos/<id>". */
  readonly prefix: string | null;
  /** When it was set aside. */
  readonly deleted_at: string | null;
  /**
   * Id of the lakeFS repository that this is another name of: it holds nothing itself, but has its
   * own rights.
   */
  readonly leads_to: string | null;
  /**
   * lakeFS's name of it. The four below say which repository of that name it is
   * (lakefs/agreed/identity.ts).
   */
  readonly lakefs: string | null;
  readonly lakefs_created_at: string | null;
  readonly lakefs_namespace: string | null;
  /** Id of its first commit; null: it could not be found. */
  readonly lakefs_root: string | null;
  /**
   * Settings of its own in place of the server's, as JSON
   * (serve/conversation/repository-settings.ts); null: none.
   */
  readonly settings: string | null;
}

export interface GrantsTable {
  readonly repository_id: string;
  readonly user_id: string;
  readonly role: "read" | "write" | "admin";
  /**
   * Title of the repository, the former one while that is set aside: a user's grants are listed by
   * it. It stays as long as the id. Null: one that is not listed, because a hub's rule computes it.
   */
  readonly title: string | null;
}

/**
 * Bytes of an LFS object in our own store. Each publication has a name of its own: an object that
 * is dropped and brought again lies under another one, so that a late delete meets nothing.
 */
export interface LfsObjectsTable {
  /** SHA-256 of the bytes, hex. */
  readonly oid: string;
  /** 128 random bits, hex, never used again; "" before publications had names. */
  readonly publication: string;
  readonly bytes: number;
  /**
   * "announced": its bytes are on their way. "live": it is linked to; at most one of an oid.
   * "dropped": nothing links to it, nothing ever will, and its bytes go. Never back.
   */
  readonly state: "announced" | "live" | "dropped";
  readonly created_at: string;
  readonly dropped_at: string | null;
}

/** Proof that a repository has an LFS object: only of one that is live. */
export interface LfsLinksTable {
  /**
   * No foreign key: who recovers a repository links before its row is back. One that an upload made
   * while its repository went is found by its id, which has no row.
   */
  readonly repository_id: string;
  readonly oid: string;
  readonly publication: string;
  readonly created_at: string;
}

/** Keys that all processes on one database share. */
export interface SecretsTable {
  readonly name: string;
  /** Hex. */
  readonly value: string;
}

export interface Schema {
  readonly users: UsersTable;
  readonly tokens: TokensTable;
  readonly repositories: RepositoriesTable;
  readonly grants: GrantsTable;
  readonly lfs_objects: LfsObjectsTable;
  readonly lfs_links: LfsLinksTable;
  readonly secrets: SecretsTable;
}

export type UserRow = Selectable<UsersTable>;
export type TokenRow = Selectable<TokensTable>;
export type NewToken = Insertable<TokensTable>;
export type RepositoryRow = Selectable<RepositoriesTable>;
export type GrantRole = GrantsTable["role"];
