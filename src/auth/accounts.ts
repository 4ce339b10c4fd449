/** Users and their tokens: made, listed, taken away, and known again. */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { asFault, Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { Database } from "../database/database.js";
import { findUnseen, forgetUnseen, insertFirst, replaceUnseen } from "../database/first-token.js";
import type { TokenRow, UserRow } from "../database/schema.js";
import {
  findToken,
  findTokenById,
  insertToken,
  listTokens,
  type OwnedToken,
  revokeToken,
  touchToken,
} from "../database/tokens.js";
import { findUser, hasUsers, insertUser, listUsers, updateUser } from "../database/users.js";
import type { Role, SignedIn } from "./caller.js";
import { newToken, tokenHash } from "./token.js";

export interface UserFacts {
  readonly name: string;
  readonly admin: boolean;
  readonly created: string;
  readonly disabled: string | null;
}

export interface TokenFacts {
  readonly id: string;
  readonly user: string;
  readonly label: string;
  readonly scope: Role;
  readonly created: string;
  readonly expires: string | null;
  readonly last_used: string | null;
  readonly revoked: string | null;
}

export interface TokenWish {
  readonly scope: Role;
  readonly label: string;
  /** ISO 8601; null: never. */
  readonly expires: string | null;
}

/** The token that lets the first administrator in. */
export interface FirstToken {
  readonly token: string;
  /**
   * To be called once a person can read it. Until then the next start makes another one in its
   * place.
   */
  shown(): Promise<void>;
}

/** Name of the user that `bootstrap` makes. */
const FIRST_ADMIN = "admin";
const FIRST_WISH: TokenWish = { scope: "admin", label: "first start", expires: null };
const ID_BYTES = 8;

export class Accounts {
  readonly #database: Database;
  readonly #now: () => number;
  readonly #onUnrecorded: (fault: Fault) => void;

  /** `onUnrecorded`: hears that a token's last use could not be written. */
  constructor(
    database: Database,
    now: () => number = Date.now,
    onUnrecorded: (fault: Fault) => void = () => undefined,
  ) {
    this.#database = database;
    this.#now = now;
    this.#onUnrecorded = onUnrecorded;
  }

  /** Throws "user/exists". Whether a name can be a namespace the caller has checked. */
  async createUser(name: string, isAdmin: boolean): Promise<UserFacts> {
    const row = this.#newUser(name, isAdmin);
    await insertUser(this.#database, row);
    return userFacts(row);
  }

  /** By name, behind `after`; at most `listedPageMax`. */
  async users(after: string): Promise<UserFacts[]> {
    return (await listUsers(this.#database, after, LIMITS.listedPageMax)).map(userFacts);
  }

  /** Throws "user/missing". */
  async setDisabled(name: string, disabled: boolean): Promise<UserFacts> {
    return this.#change(name, { disabled_at: disabled ? this.#time() : null });
  }

  /** Throws "user/missing". */
  async setAdmin(name: string, isAdmin: boolean): Promise<UserFacts> {
    return this.#change(name, { is_admin: isAdmin ? 1 : 0 });
  }

  /**
   * The token is in the answer and nowhere else: it cannot be shown again. Throws "user/missing".
   */
  async createToken(
    userName: string,
    { scope, label, expires }: TokenWish,
  ): Promise<TokenFacts & { readonly token: string }> {
    const user = await this.user(userName);
    const { token, row } = this.#newToken(user.id, { scope, label, expires });
    await insertToken(this.#database, row);
    return {
      ...tokenFacts({
        ...row,
        user_name: user.name,
        is_admin: user.is_admin,
        disabled_at: user.disabled_at,
      }),
      token,
    };
  }

  /** By id, behind `after`; at most `listedPageMax`. Throws "user/missing". */
  async tokens(userName: string | undefined, after: string): Promise<TokenFacts[]> {
    const userId = userName === undefined ? undefined : (await this.user(userName)).id;
    return (await listTokens(this.#database, userId, after, LIMITS.listedPageMax)).map(tokenFacts);
  }

  /** Throws "token/missing". */
  async revokeToken(id: string): Promise<void> {
    if (!(await revokeToken(this.#database, id, this.#time())))
      throw new Fault("token/missing", { id });
  }

  /** Throws "user/missing". */
  async user(name: string): Promise<UserRow> {
    const user = await findUser(this.#database, name);
    if (user === undefined) throw new Fault("user/missing", { name });
    return user;
  }

  /**
   * Makes an administrator's token where there is no user at all, or where a start that made the
   * first one died before it could show its token.
   */
  async bootstrap(): Promise<FirstToken | undefined> {
    const unseen = await findUnseen(this.#database);
    if (unseen === undefined) return this.#makeFirst();
    const wasSeen = unseen.last_used_at !== null || unseen.revoked_at !== null;
    if (wasSeen) await forgetUnseen(this.#database, unseen.id);
    return wasSeen || this.#isOthers(unseen) ? undefined : this.#makeInPlaceOf(unseen);
  }

  async #makeFirst(): Promise<FirstToken | undefined> {
    if (await hasUsers(this.#database)) return undefined;
    const user = this.#newUser(FIRST_ADMIN, true);
    const { token, row } = this.#newToken(user.id, FIRST_WISH);
    const isMade = await insertFirst(this.#database, user, row);
    return isMade ? this.#unseen(token, row) : undefined;
  }

  /** Returns whether another node that shares the database may be about to show this token. */
  #isOthers({ created_at: made }: TokenRow): boolean {
    const ageMs = this.#now() - Date.parse(made);
    return this.#database.isShared && ageMs < LIMITS.firstTokenShownMs;
  }

  async #makeInPlaceOf({ id, user_id: userId }: TokenRow): Promise<FirstToken | undefined> {
    const { token, row } = this.#newToken(userId, FIRST_WISH);
    const isMade = await replaceUnseen(this.#database, id, row);
    return isMade ? this.#unseen(token, row) : undefined;
  }

  #unseen(token: string, { id }: TokenRow): FirstToken {
    return { token, shown: () => forgetUnseen(this.#database, id) };
  }

  /**
   * Finds whose token this is; undefined if it never was anybody's. Throws "auth/failed" where it
   * was one and is none any more.
   */
  async signIn(token: string): Promise<SignedIn | undefined> {
    const hash = tokenHash(token);
    const row = await findToken(this.#database, hash);
    if (
      row === undefined ||
      !timingSafeEqual(Buffer.from(row.hash, "hex"), Buffer.from(hash, "hex"))
    )
      return undefined;
    const caller = this.#caller(row);
    await this.#use(row);
    return caller;
  }

  /**
   * Finds the user a token stands for now, by its id: for work that was begun with it. Throws
   * "auth/failed" where it stands for nobody any more.
   */
  async signedInBy(tokenId: string): Promise<SignedIn> {
    const row = await findTokenById(this.#database, tokenId);
    if (row === undefined) throw new Fault("auth/failed", { reason: "it is not known here" });
    return this.#caller(row);
  }

  #caller(row: OwnedToken): SignedIn {
    const reason = this.#whyDead(row);
    if (reason !== undefined) throw new Fault("auth/failed", { reason });
    return {
      kind: "user",
      id: row.user_id,
      name: row.user_name,
      isAdmin: row.is_admin === 1,
      token: row.id,
      scope: row.scope,
    };
  }

  #whyDead({
    revoked_at: revoked,
    expires_at: expires,
    disabled_at: disabled,
  }: OwnedToken): string | undefined {
    if (revoked !== null) return "it was revoked";
    if (expires !== null && Date.parse(expires) <= this.#now()) return "it has expired";
    return disabled === null ? undefined : "its user is disabled";
  }

  /**
   * Notes the use where that is possible: a full disk must not keep people out of what can still be
   * read.
   */
  async #use({ id, last_used_at: before }: OwnedToken): Promise<void> {
    if (before !== null && this.#now() - Date.parse(before) < LIMITS.tokenUsedStepMs) return;
    await touchToken(this.#database, id, this.#time()).catch((error: unknown) =>
      this.#onUnrecorded(asFault(error)),
    );
  }

  async #change(
    name: string,
    change: Partial<Pick<UserRow, "is_admin" | "disabled_at">>,
  ): Promise<UserFacts> {
    const user = await updateUser(this.#database, name, change);
    if (user === undefined) throw new Fault("user/missing", { name });
    return userFacts(user);
  }

  #newUser(name: string, isAdmin: boolean): UserRow {
    return {
      id: newId(),
      name,
      name_key: name.toLowerCase(),
      is_admin: isAdmin ? 1 : 0,
      created_at: this.#time(),
      disabled_at: null,
    };
  }

  #newToken(
    userId: string,
    { scope, label, expires }: TokenWish,
  ): { readonly token: string; readonly row: TokenRow } {
    const token = newToken();
    const row = {
      id: newId(),
      user_id: userId,
      label,
      hash: tokenHash(token),
      scope,
      created_at: this.#time(),
      expires_at: expires,
      last_used_at: null,
      revoked_at: null,
    };
    return { token, row };
  }

  #time(): string {
    return new Date(this.#now()).toISOString();
  }
}

function newId(): string {
  return randomBytes(ID_BYTES).toString("hex");
}

function userFacts({
  name,
  is_admin: admin,
  created_at: created,
  disabled_at: disabled,
}: UserRow): UserFacts {
  return { name, admin: admin === 1, created, disabled };
}

function tokenFacts(row: OwnedToken): TokenFacts {
  const {
    id,
    user_name: user,
    label,
    scope,
    created_at: created,
    expires_at: expires,
    last_used_at: last_used,
    revoked_at: revoked,
  } = row;
  return { id, user, label, scope, created, expires, last_used, revoked };
}
