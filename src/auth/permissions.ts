/**
 * Permissions: decides who may do what in a repository, here for Git, LFS and the API alike.
 *
 * A user's role is the most of: administrator (everywhere), owner (the namespace of the user's
 * name, but never lakeFS's own names), what was granted, and reading where it is public; then at
 * most what the token's scope allows. A repository without a row is private: lakeFS's own names,
 * and names that a hub's rule computes, are opened by nobody but an administrator. Rights belong to
 * a repository's id: one that gets its name later starts with none.
 */
import type { Database } from "../database/database.js";
import { deleteGrant, listGrants, putGrant } from "../database/grants.js";
import { seeRepository, updateRepository, type Viewer } from "../database/repositories.js";
import type { RepositoryRow } from "../database/schema.js";
import { Fault } from "../base/fault.js";
import type { Accounts } from "./accounts.js";
import { atMost, type Caller, roleIncludes, type Role, type SignedIn } from "./caller.js";

export type Visibility = "public" | "private";

/** The repository that a name leads to, and the roles there. */
export interface Look {
  /** Undefined: nothing is there. */
  readonly row: RepositoryRow | undefined;
  /**
   * Returns the caller's role; undefined: may not even read. `namespace`: whose name makes somebody
   * its owner; undefined: nobody's.
   */
  role(namespace: string | undefined): Role | undefined;
}

export interface AccessFacts {
  readonly name: string;
  readonly visibility: Visibility;
  readonly grants: readonly { readonly user: string; readonly role: Role }[];
}

export class Permissions {
  readonly #database: Database;
  readonly #accounts: Accounts;

  constructor(database: Database, accounts: Accounts) {
    this.#database = database;
    this.#accounts = accounts;
  }

  /** One query, whether it is there or not and whoever asks: the time tells nothing. */
  async look(caller: Caller, title: string): Promise<Look> {
    const seen = await seeRepository(
      this.#database,
      title,
      caller.kind === "user" ? caller.id : undefined,
    );
    return {
      row: seen?.row,
      role: (namespace) =>
        roleOf(caller, namespace, seen?.row.visibility, seen?.grant ?? undefined),
    };
  }

  /** Returns whether a push may make a repository in this namespace. */
  mayCreate(caller: Caller, namespace: string | undefined): boolean {
    if (caller.kind === "trusted") return true;
    return (
      caller.kind === "user" && isOwner(caller, namespace) && roleIncludes(caller.scope, "write")
    );
  }

  /** Returns the viewer whose list of repositories a caller sees; undefined: all of it. */
  viewerFor(caller: Caller): Viewer | undefined {
    if (caller.kind === "trusted") return undefined;
    if (caller.kind === "anonymous") return { userId: undefined, namespace: undefined };
    return caller.isAdmin ? undefined : { userId: caller.id, namespace: caller.name };
  }

  setVisibility({ id }: RepositoryRow, visibility: Visibility): Promise<void> {
    return updateRepository(this.#database, id, { visibility });
  }

  /** Throws "user/missing". */
  async grant(row: RepositoryRow, userName: string, role: Role): Promise<void> {
    const { id } = await this.#accounts.user(userName);
    await putGrant(this.#database, row.id, id, role);
  }

  /** Throws "user/missing", "grant/missing". */
  async revoke(row: RepositoryRow, userName: string): Promise<void> {
    const { id, name } = await this.#accounts.user(userName);
    if (!(await deleteGrant(this.#database, row.id, id)))
      throw new Fault("grant/missing", { repository: row.title ?? row.id, user: name });
  }

  async grants(row: RepositoryRow): Promise<AccessFacts["grants"]> {
    return (await listGrants(this.#database, row.id)).map(({ name: user, role }) => ({
      user,
      role,
    }));
  }
}

function roleOf(
  caller: Caller,
  namespace: string | undefined,
  visibility: Visibility | undefined,
  granted: Role | undefined,
): Role | undefined {
  if (caller.kind === "trusted") return "admin";
  const open = visibility === "public" ? "read" : undefined;
  if (caller.kind === "anonymous") return open;
  const role = isOwner(caller, namespace) ? "admin" : (granted ?? open);
  return role === undefined ? undefined : atMost(role, caller.scope);
}

function isOwner(caller: SignedIn, namespace: string | undefined): boolean {
  return caller.isAdmin || caller.name === namespace;
}
