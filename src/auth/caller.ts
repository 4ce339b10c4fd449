/** The caller of a request, as every room above sees it. */

/**
 * Roles: the most that a token allows, and that a user has in a repository. Each includes those
 * before it.
 */
export const ROLES = ["read", "write", "admin"] as const;
export type Role = (typeof ROLES)[number];

export type Caller =
  /** Nobody is asked: `auth: none`, or whoever may open the data folder. May everything. */
  { readonly kind: "trusted" } | { readonly kind: "anonymous" } | SignedIn;

export interface SignedIn {
  readonly kind: "user";
  readonly id: string;
  /** Also the namespace that is theirs. */
  readonly name: string;
  readonly isAdmin: boolean;
  /** Id of the token that was shown: it names it, and is no secret. */
  readonly token: string;
  /** Scope of that token. */
  readonly scope: Role;
}

export const TRUSTED: Caller = { kind: "trusted" };
export const ANONYMOUS: Caller = { kind: "anonymous" };

/** For the log: "user ada", "anonymous"; undefined where nobody is asked. */
export function nameOf(caller: Caller): string | undefined {
  if (caller.kind === "trusted") return undefined;
  return caller.kind === "user" ? `user ${caller.name}` : caller.kind;
}

/** The account's own name; undefined where there is none. */
export function accountOf(caller: Caller): string | undefined {
  return caller.kind === "user" ? caller.name : undefined;
}

/**
 * Returns the part of the pool that a caller's work counts to: a user's, from wherever; or that of
 * the address, for callers without a name. No user is called as an address is.
 */
export function shareOf(caller: Caller, source: string): string {
  return caller.kind === "user" ? `user ${caller.id}` : `address ${source}`;
}

/** Returns whether `role` is at least `wanted`; undefined is less than any. */
export function roleIncludes(role: Role | undefined, wanted: Role): boolean {
  return role !== undefined && ROLES.indexOf(role) >= ROLES.indexOf(wanted);
}

/** The lesser of two. */
export function atMost(role: Role, limit: Role): Role {
  return roleIncludes(limit, role) ? role : limit;
}
