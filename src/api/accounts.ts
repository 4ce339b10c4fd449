/** Answers commands about users, tokens and permissions. Values are JSON. */
import type { Accounts, TokenFacts, TokenWish, UserFacts } from "../auth/accounts.js";
import type { Role } from "../auth/caller.js";
import type { AccessFacts, Permissions, Visibility } from "../auth/permissions.js";
import { Fault } from "../base/fault.js";
import type { RepositoryRow } from "../database/schema.js";
import { isNamespace } from "../serve/conversation/repository-name.js";

export interface AccountServices {
  readonly accounts: Accounts;
  readonly permissions: Permissions;
}

/** A name, and the row that has its rights; undefined: nothing is noted of it, it is private. */
export interface Rights {
  readonly title: string;
  readonly row: RepositoryRow | undefined;
}

export class AccountApi {
  readonly #services: AccountServices;

  constructor(services: AccountServices) {
    this.#services = services;
  }

  /** Throws "user/bad-name", "user/exists". */
  async createUser(name: string, isAdmin: boolean): Promise<UserFacts> {
    if (!isNamespace(name)) throw new Fault("user/bad-name", { name });
    return this.#accounts.createUser(name, isAdmin);
  }

  /** By name, behind `after`: at most `listedPageMax`. */
  async users(after: string): Promise<UserFacts[]> {
    return this.#accounts.users(after);
  }

  /** Changes a user; undefined properties stay as they are. Throws "user/missing". */
  async changeUser(
    name: string,
    change: { readonly disabled?: boolean | undefined; readonly admin?: boolean | undefined },
  ): Promise<UserFacts> {
    const accounts = this.#accounts;
    let user: UserFacts | undefined;
    if (change.disabled !== undefined) user = await accounts.setDisabled(name, change.disabled);
    if (change.admin !== undefined) user = await accounts.setAdmin(name, change.admin);
    if (user === undefined)
      throw new Fault("control/bad-request", {
        command: "user.change",
        reason: "nothing to change",
      });
    return user;
  }

  /** Throws "user/missing". */
  async createToken(
    user: string,
    wish: TokenWish,
  ): Promise<TokenFacts & { readonly token: string }> {
    return this.#accounts.createToken(user, wish);
  }

  /** By id, behind `after`: at most `listedPageMax`. Throws "user/missing". */
  async tokens(user: string | undefined, after: string): Promise<TokenFacts[]> {
    return this.#accounts.tokens(user, after);
  }

  /** Throws "token/missing". */
  async revokeToken(id: string): Promise<{ readonly id: string }> {
    await this.#accounts.revokeToken(id);
    return { id };
  }

  async access({ title, row }: Rights): Promise<AccessFacts> {
    const grants = row === undefined ? [] : await this.#permissions.grants(row);
    return { name: title, visibility: row?.visibility ?? "private", grants };
  }

  async setVisibility({ title, row }: Rights, visibility: Visibility): Promise<AccessFacts> {
    const there = noted(title, row);
    await this.#permissions.setVisibility(there, visibility);
    return this.access({ title, row: { ...there, visibility } });
  }

  /** `role` null: takes what was granted away. Throws "user/missing", "grant/missing". */
  async grant({ title, row }: Rights, user: string, role: Role | null): Promise<AccessFacts> {
    const there = noted(title, row);
    const permissions = this.#permissions;
    if (role === null) await permissions.revoke(there, user);
    else await permissions.grant(there, user, role);
    return this.access({ title, row: there });
  }

  get #accounts(): Accounts {
    return this.#services.accounts;
  }

  get #permissions(): Permissions {
    return this.#services.permissions;
  }
}

/** Throws "repository/missing": it went while the command ran. */
function noted(title: string, row: RepositoryRow | undefined): RepositoryRow {
  if (row === undefined) throw new Fault("repository/missing", { name: title });
  return row;
}
