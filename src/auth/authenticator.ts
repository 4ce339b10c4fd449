/** From an Authorization header to who asks. */
import { Fault } from "../base/fault.js";
import type { Accounts } from "./accounts.js";
import { ANONYMOUS, type Caller } from "./caller.js";
import { readCredentials } from "./credentials.js";
import { FailedLogins } from "./failed-logins.js";

export class Authenticator {
  readonly #accounts: Accounts;
  readonly #failed = new FailedLogins();

  constructor(accounts: Accounts) {
    this.#accounts = accounts;
  }

  /**
   * Credentials that do not hold are refused even where none are needed: a client must hear that
   * its stored token is dead. `source`: where it comes from, for slowing guesses down. Throws
   * "auth/failed", "auth/throttled".
   */
  async identify(header: string | undefined, source: string, signal: AbortSignal): Promise<Caller> {
    if (header === undefined) return ANONYMOUS;
    const token = readCredentials(header);
    const caller = token === undefined ? undefined : await this.#accounts.signIn(token);
    if (caller !== undefined) return caller;
    await this.#failed.failed(source, signal);
    throw new Fault("auth/failed", {
      reason:
        token === undefined ? "a token of this server begins with lpk_" : "it is not known here",
    });
  }

  /**
   * The same caller as he is now: his token may have been revoked, he may have been disabled.
   * Throws "auth/failed".
   */
  async again(caller: Caller): Promise<Caller> {
    return caller.kind === "user" ? this.#accounts.signedInBy(caller.token) : caller;
  }

  /** Finds the caller that a token's id stands for. Throws "auth/failed". */
  bearerOf(tokenId: string): Promise<Caller> {
    return this.#accounts.signedInBy(tokenId);
  }
}
