/**
 * Who may what in which repository: asked here for Git, LFS and the API alike.
 *
 * A user's role is the most of: administrator (everywhere), owner (the namespace of the user's name, but never lakeFS's own names), what was granted,
 * and reading where it is public; then at most what the token's scope allows. A repository without a row is private: what was there before users were, what
 * lakeFS has under its own names, and what a hub's rule computes is opened by nobody but an administrator.
 */
import type { Database } from "../database/database.js";
import { deleteGrant, findAccess, insertRepository, listGrants, putGrant, putVisibility } from "../database/access.js";
import { Fault } from "../base/fault.js";
import type { Accounts } from "./accounts.js";
import { atMost, type Caller, includes, type Role, type SignedIn } from "./caller.js";

export type Visibility = "public" | "private";

/** A repository as far as permissions know it. */
export interface Place {
  /** "ns/name", "datasets/ns/name", "lakefs/repository". */
  readonly title: string;
  /** Whose name makes somebody its owner; undefined: nobody's (names that lakeFS or a hub gave). */
  readonly namespace: string | undefined;
}

export interface AccessFacts {
  readonly name: string;
  readonly visibility: Visibility;
  readonly grants: readonly { readonly user: string; readonly role: Role }[];
}

export class Permissions {
  readonly #database: Database;
  readonly #accounts: Accounts;
  readonly #now: () => number;

  constructor(database: Database, accounts: Accounts, now: () => number = Date.now) {
    this.#database = database;
    this.#accounts = accounts;
    this.#now = now;
  }

  /** Undefined: not even reading. The repository need not exist, and whether it does makes no difference. */
  async role(caller: Caller, place: Place): Promise<Role | undefined> {
    if (caller.kind === "trusted") return "admin";
    const access = await findAccess(this.#database, place.title, caller.kind === "user" ? caller.id : undefined);
    const open = access?.visibility === "public" ? "read" : undefined;
    if (caller.kind === "anonymous") return open;
    const role = isOwner(caller, place) ? "admin" : (access?.role ?? open);
    return role === undefined ? undefined : atMost(role, caller.scope);
  }

  /** Whether a push may make a repository here. */
  mayCreate(caller: Caller, place: Place): boolean {
    if (caller.kind === "trusted") return true;
    return caller.kind === "user" && isOwner(caller, place) && includes(caller.scope, "write");
  }

  /** Takes note of a new repository; one that is known stays as it is. */
  created(title: string, visibility: Visibility): Promise<void> {
    return insertRepository(this.#database, this.#row(title, visibility));
  }

  setVisibility(title: string, visibility: Visibility): Promise<void> {
    return putVisibility(this.#database, this.#row(title, visibility));
  }

  /** Throws "user/missing". */
  async grant(title: string, userName: string, role: Role): Promise<void> {
    const { id } = await this.#accounts.user(userName);
    await putGrant(this.#database, this.#row(title, "private"), id, role);
  }

  /** Throws "user/missing", "grant/missing". */
  async revoke(title: string, userName: string): Promise<void> {
    const { id, name } = await this.#accounts.user(userName);
    if (!(await deleteGrant(this.#database, title, id))) throw new Fault("grant/missing", { repository: title, user: name });
  }

  async facts(title: string): Promise<AccessFacts> {
    const access = await findAccess(this.#database, title, undefined);
    const grants = await listGrants(this.#database, title);
    return { name: title, visibility: access?.visibility ?? "private", grants: grants.map(({ name: user, role }) => ({ user, role })) };
  }

  #row(name: string, visibility: Visibility) {
    return { name, visibility, created_at: new Date(this.#now()).toISOString() };
  }
}

function isOwner(caller: SignedIn, { namespace }: Place): boolean {
  return caller.isAdmin || caller.name === namespace;
}
