/** What commands ask and do about users, tokens and who may what. Values are JSON. */
import type { Accounts, TokenFacts, TokenWish, UserFacts } from "../auth/accounts.js";
import type { Role } from "../auth/caller.js";
import type { AccessFacts, Permissions, Visibility } from "../auth/permissions.js";
import { Fault } from "../base/fault.js";
import { isNamespace } from "../serve/repository-name.js";

export interface AccountServices {
  readonly accounts: Accounts;
  readonly permissions: Permissions;
}

export class AccountApi {
  /** Opens the database at the first call. */
  readonly #open: () => Promise<AccountServices>;

  constructor(open: () => Promise<AccountServices>) {
    this.#open = open;
  }

  /** Throws "user/bad-name", "user/exists". */
  async createUser(name: string, isAdmin: boolean): Promise<UserFacts> {
    if (!isNamespace(name)) throw new Fault("user/bad-name", { name });
    return (await this.#accounts()).createUser(name, isAdmin);
  }

  /** By name, behind `after`: at most `listedPageMax`. */
  async users(after: string): Promise<UserFacts[]> {
    return (await this.#accounts()).users(after);
  }

  /** What is undefined stays as it is. Throws "user/missing". */
  async changeUser(name: string, change: { readonly disabled?: boolean | undefined; readonly admin?: boolean | undefined }): Promise<UserFacts> {
    const accounts = await this.#accounts();
    let user: UserFacts | undefined;
    if (change.disabled !== undefined) user = await accounts.setDisabled(name, change.disabled);
    if (change.admin !== undefined) user = await accounts.setAdmin(name, change.admin);
    if (user === undefined) throw new Fault("control/bad-request", { command: "user.change", reason: "nothing to change" });
    return user;
  }

  /** Throws "user/missing". */
  async createToken(user: string, wish: TokenWish): Promise<TokenFacts & { readonly token: string }> {
    return (await this.#accounts()).createToken(user, wish);
  }

  /** By id, behind `after`: at most `listedPageMax`. Throws "user/missing". */
  async tokens(user: string | undefined, after: string): Promise<TokenFacts[]> {
    return (await this.#accounts()).tokens(user, after);
  }

  /** Throws "token/missing". */
  async revokeToken(id: string): Promise<{ readonly id: string }> {
    await (await this.#accounts()).revokeToken(id);
    return { id };
  }

  async access(title: string): Promise<AccessFacts> {
    return (await this.#permissions()).facts(title);
  }

  async setVisibility(title: string, visibility: Visibility): Promise<AccessFacts> {
    const permissions = await this.#permissions();
    await permissions.setVisibility(title, visibility);
    return permissions.facts(title);
  }

  /** `role` null: takes what was granted away. Throws "user/missing", "grant/missing". */
  async grant(title: string, user: string, role: Role | null): Promise<AccessFacts> {
    const permissions = await this.#permissions();
    if (role === null) await permissions.revoke(title, user);
    else await permissions.grant(title, user, role);
    return permissions.facts(title);
  }

  async #accounts(): Promise<Accounts> {
    return (await this.#open()).accounts;
  }

  async #permissions(): Promise<Permissions> {
    return (await this.#open()).permissions;
  }
}
