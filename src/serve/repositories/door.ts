/**
 * The one door to repositories, whatever the transport: who may pass, and what the others are told.
 *
 *   nobody signed in, and it is private or not there     401, so that a client sends what it has
 *   signed in, may not read                              404, word for word what is said where
 *                                                        nothing is (by setting: 403)
 *   may read and wants to write                          403
 *
 * What may not be read is not looked up either (serve/repositories), so that the time an answer
 * takes tells no more than its words.
 *
 * Rights end while requests run: `stillMay` asks all of it again, for the same caller as he is now.
 * A link of LFS says who got it, and is worth what he is.
 */
import { ANONYMOUS, type Caller, roleIncludes, TRUSTED } from "../../auth/caller.js";
import type { Authenticator } from "../../auth/authenticator.js";
import type { Permissions, Visibility } from "../../auth/permissions.js";
import { asFault, Fault } from "../../base/fault.js";
import { ANONYMOUS_HOLDER, type LinkHolder, TRUSTED_HOLDER } from "../../lfs/proof.js";
import type { Repository } from "../conversation/conversation.js";
import type { Asker, Repositories } from "./repositories.js";
import { type RepositoryName, titleOf } from "../conversation/repository-name.js";

export type Wants = "read" | "write" | "admin";

/** A caller's work that has begun. */
export interface Begun {
  readonly name: RepositoryName;
  readonly caller: Caller;
  readonly repository: Repository;
  readonly wants: Wants;
}

/** Undefined (`auth: none`): nobody is asked. */
export interface Guard {
  readonly authenticator: Authenticator;
  readonly permissions: Permissions;
  /** Visibility of a repository that a push makes. */
  readonly defaultVisibility: Visibility;
  /** Status for callers with a name who ask for what is not for them. */
  readonly deniedStatus: 403 | 404;
}

export class Door {
  readonly #repositories: Repositories;
  readonly #guard: Guard | undefined;

  constructor(repositories: Repositories, guard: Guard | undefined) {
    this.#repositories = repositories;
    this.#guard = guard;
  }

  /**
   * Finds the caller who shows these credentials. `source`: the address it comes from. Throws
   * "auth/failed", "auth/throttled".
   */
  async identify(
    authorization: string | undefined,
    source: string,
    signal: AbortSignal,
  ): Promise<Caller> {
    return this.#guard === undefined
      ? { kind: "trusted" }
      : this.#guard.authenticator.identify(authorization, source, signal);
  }

  /**
   * Throws "auth/required", "auth/forbidden", "repository/missing", "repository/read-only"; to
   * write, a repository that the caller may make by a push is not missing.
   */
  async resolve(
    name: RepositoryName,
    caller: Caller,
    wants: Wants,
    signal: AbortSignal,
  ): Promise<Repository> {
    const asker = this.#asker(caller);
    try {
      const repository = await this.#repositories.resolve(name, wants === "write", signal, asker);
      if (
        wants === "admin" &&
        !(repository.role !== undefined && roleIncludes(repository.role, "admin"))
      )
        throw new Fault("auth/forbidden", {
          name: titleOf(name),
          needs: "the role admin here, and a token of scope admin",
        });
      return repository;
    } catch (error) {
      throw asker === undefined ? error : await this.#told(asFault(error), name, caller, signal);
    }
  }

  /** Returns the present caller of a link's holder. Throws "lfs/link-ended", "lfs/proof". */
  async bearerOf(holder: LinkHolder): Promise<Caller> {
    const isOpen = this.#guard === undefined;
    if (isOpen || holder === TRUSTED_HOLDER) {
      if (isOpen && holder === TRUSTED_HOLDER) return TRUSTED;
      throw new Fault("lfs/proof"); // made under another setting of `auth`
    }
    if (holder === ANONYMOUS_HOLDER) return ANONYMOUS;
    try {
      return await this.#guard.authenticator.bearerOf(holder);
    } catch (error) {
      throw linkEnded(asFault(error));
    }
  }

  /**
   * The repository for a link whose proof was good for this name. Throws "lfs/link-ended",
   * "repository/missing", "repository/read-only".
   */
  async resolveLinked(
    name: RepositoryName,
    bearer: Caller,
    wants: Wants,
    signal: AbortSignal,
  ): Promise<Repository> {
    try {
      return await this.resolve(name, bearer, wants, signal);
    } catch (error) {
      throw linkEnded(asFault(error));
    }
  }

  /**
   * Checks that a caller may still do what he began. Throws "push/no-longer" where he may not, and
   * as they are failures to find out.
   */
  async stillMay(begun: Begun, signal: AbortSignal): Promise<void> {
    try {
      await this.#recheck(begun, signal);
    } catch (error) {
      const fault = asFault(error);
      throw isEnded(fault) ? new Fault("push/no-longer", { reason: fault.message }, fault) : fault;
    }
  }

  async #recheck({ name, caller, repository, wants }: Begun, signal: AbortSignal): Promise<void> {
    const now = this.#guard === undefined ? caller : await this.#guard.authenticator.again(caller);
    const { id } = await this.#repositories.resolve(
      name,
      wants === "write",
      signal,
      this.#asker(now),
    );
    if (id !== repository.id)
      throw new Fault("repository/missing", {
        name: titleOf(name),
        reason: "another one has its name now",
      });
  }

  /** Those behind the title `after` that the caller may read, by title: the first `count`. */
  async list(after: string, count: number, caller: Caller): Promise<readonly string[]> {
    return (await this.#repositories.list(after, count, this.#asker(caller))).map(
      ({ title }) => title,
    );
  }

  /**
   * Takes note of a repository that a push makes, before anything of it is stored. Returns the one
   * to go on with: another node may have made one of this name meanwhile. Throws as its `make`.
   */
  async created(repository: Repository): Promise<Repository> {
    const visibility = this.#guard?.defaultVisibility ?? "private";
    return (await repository.make?.(visibility)) ?? repository;
  }

  /** Undefined: may all. */
  #asker(caller: Caller): Asker | undefined {
    if (this.#guard === undefined || caller.kind === "trusted") return undefined;
    const { permissions } = this.#guard;
    return {
      look: (title) => permissions.look(caller, title),
      mayCreate: (namespace) => permissions.mayCreate(caller, namespace),
      isAdministrator: caller.kind === "user" && caller.isAdmin,
      viewer: permissions.viewerFor(caller),
    };
  }

  async #told(
    fault: Fault,
    name: RepositoryName,
    caller: Caller,
    signal: AbortSignal,
  ): Promise<Fault> {
    if (fault.code !== "repository/missing" && fault.code !== "auth/forbidden") return fault;
    if (caller.kind === ANONYMOUS.kind) return new Fault("auth/required");
    if (fault.code === "auth/forbidden" || this.#guard?.deniedStatus === 404) return fault;
    return (await this.#isThere(name, signal))
      ? new Fault("auth/forbidden", { name: titleOf(name) })
      : fault;
  }

  async #isThere(name: RepositoryName, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#repositories.resolve(name, false, signal);
      return true;
    } catch (error) {
      const { code } = asFault(error);
      if (code === "repository/missing" || code === "repository/gone") return false;
      throw error;
    }
  }
}

/** The part of the door that the routes use. */
export type RouteDoor = Omit<Door, never>;

/** Returns whether a right has ended, or its object has. */
function isEnded({ code }: Fault): boolean {
  return (
    code.startsWith("auth/") ||
    code.startsWith("repository/") ||
    code === "lakefs/replaced" ||
    code === "lakefs/missing"
  );
}

/** Throws "auth/required", "auth/forbidden" unless the caller may all there is. */
export function checkAdministrator(caller: Caller): void {
  if (caller.kind === "anonymous") throw new Fault("auth/required");
  if (!isAdministrator(caller))
    throw new Fault("auth/forbidden", { needs: "an administrator's token of scope admin" });
}

export function isAdministrator(caller: Caller): boolean {
  return (
    caller.kind === "trusted" ||
    (caller.kind === "user" && caller.isAdmin && caller.scope === "admin")
  );
}

/** Returns the holder of a link that a caller asks for. */
export function holderOf(caller: Caller): LinkHolder {
  if (caller.kind === "user") return caller.token;
  return caller.kind === "anonymous" ? ANONYMOUS_HOLDER : TRUSTED_HOLDER;
}

/**
 * Tells a link's user that the link has ended, where rights have; other failures stay as they are.
 */
function linkEnded(fault: Fault): Fault {
  if (fault.code === "auth/required")
    return new Fault("lfs/link-ended", {
      reason: "the repository is not open to everybody any more; ask for a new link, signed in",
    });
  return fault.code.startsWith("auth/")
    ? new Fault("lfs/link-ended", { reason: fault.message })
    : fault;
}
