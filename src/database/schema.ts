/**
 * The tables, as every dialect has them: text, integer, nothing of one database's own. Times are ISO 8601 in UTC with milliseconds (they sort as text),
 * flags 0 or 1, ids random text. What a row means is said here once; migrations.ts has how it came to be.
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

/** What is known of a repository beside its store. One that has no row is private to its namespace's owner and administrators. */
export interface RepositoriesTable {
  /** Its title: "ns/name", "datasets/ns/name", "lakefs/repository". */
  readonly name: string;
  readonly visibility: "public" | "private";
  readonly created_at: string;
}

export interface GrantsTable {
  readonly repository: string;
  readonly user_id: string;
  readonly role: "read" | "write" | "admin";
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
  readonly secrets: SecretsTable;
}

export type UserRow = Selectable<UsersTable>;
export type TokenRow = Selectable<TokensTable>;
export type NewToken = Insertable<TokensTable>;
export type RepositoryRow = Selectable<RepositoriesTable>;
export type GrantRole = GrantsTable["role"];
