/**
 * The one door to repositories, whatever the transport: who may pass, and what the others are told.
 *
 *   nobody signed in, and it is private or not there     401, so that a client sends what it has
 *   signed in, may not read                              404, word for word what is said where nothing is (by setting: 403)
 *   may read and wants to write                          403
 *
 * What may not be read is not looked up either (serve/repositories), so that the time an answer takes tells no more than its words.
 */
import { ANONYMOUS, type Caller } from "../auth/caller.js";
import type { Authenticator } from "../auth/authenticator.js";
import type { Permissions, Visibility } from "../auth/permissions.js";
import { asFault, Fault } from "../base/fault.js";
import type { Repository } from "./conversation.js";
import type { Asker, Repositories } from "./repositories.js";
import { type RepositoryName, titleOf } from "./repository-name.js";

export type Wants = "read" | "write";

/** Undefined (`auth: none`): nobody is asked. */
export interface Guard {
  readonly authenticator: Authenticator;
  readonly permissions: Permissions;
  /** Of a repository that a push makes. */
  readonly defaultVisibility: Visibility;
  /** What somebody signed in is told of what is not for them. */
  readonly deniedStatus: 403 | 404;
}

export class Door {
  readonly #repositories: Repositories;
  readonly #guard: Guard | undefined;

  constructor(repositories: Repositories, guard: Guard | undefined) {
    this.#repositories = repositories;
    this.#guard = guard;
  }

  async identify(authorization: string | undefined, source: string, signal: AbortSignal): Promise<Caller> {
    return this.#guard === undefined ? { kind: "trusted" } : this.#guard.authenticator.identify(authorization, source, signal);
  }

  /** Throws "auth/required", "auth/forbidden", "repository/missing", "repository/read-only". */
  async resolve(name: RepositoryName, caller: Caller, wants: Wants, signal: AbortSignal): Promise<Repository> {
    const asker = this.#asker(caller);
    try {
      return await this.#repositories.resolve(name, wants === "write", signal, asker);
    } catch (error) {
      throw asker === undefined ? error : await this.#told(asFault(error), name, caller, signal);
    }
  }

  /** For a link whose proof was good for this name: it stands in for a caller. Throws "repository/missing", "repository/read-only". */
  resolveLinked(name: RepositoryName, wants: Wants, signal: AbortSignal): Promise<Repository> {
    return this.#repositories.resolve(name, wants === "write", signal);
  }

  /** Titles of those the caller may read, sorted; the first `count`. */
  list(count: number, caller: Caller, signal: AbortSignal): Promise<readonly string[]> {
    return this.#repositories.list(count, signal, "", this.#asker(caller));
  }

  /** Takes note of a repository that a push makes, before anybody is told that it is there. */
  async created({ title }: Repository): Promise<void> {
    const { permissions, defaultVisibility } = this.#guard ?? {};
    if (permissions !== undefined && defaultVisibility !== undefined) await permissions.created(title, defaultVisibility);
  }

  /** Undefined: may all. */
  #asker(caller: Caller): Asker | undefined {
    if (this.#guard === undefined || caller.kind === "trusted") return undefined;
    const { permissions } = this.#guard;
    return { role: (place) => permissions.role(caller, place), mayCreate: (place) => permissions.mayCreate(caller, place) };
  }

  async #told(fault: Fault, name: RepositoryName, caller: Caller, signal: AbortSignal): Promise<Fault> {
    if (fault.code !== "repository/missing" && fault.code !== "auth/forbidden") return fault;
    if (caller.kind === ANONYMOUS.kind) return new Fault("auth/required");
    if (fault.code === "auth/forbidden" || this.#guard?.deniedStatus === 404) return fault;
    return (await this.#isThere(name, signal)) ? new Fault("auth/forbidden", { name: titleOf(name) }) : fault;
  }

  async #isThere(name: RepositoryName, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#repositories.resolve(name, false, signal);
      return true;
    } catch (error) {
      if (asFault(error).code === "repository/missing") return false;
      throw error;
    }
  }
}

/** Throws "auth/required", "auth/forbidden" unless the caller may all there is. */
export function checkAdministrator(caller: Caller): void {
  if (caller.kind === "anonymous") throw new Fault("auth/required");
  if (caller.kind === "user" && !(caller.isAdmin && caller.scope === "admin")) throw new Fault("auth/forbidden", { needs: "an administrator's token of scope admin" });
}
