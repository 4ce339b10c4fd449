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
   * Credentials that do not hold are refused even where none are needed: a client must hear that its stored token is dead. `source`: where it comes from, for
   * slowing guesses down. Throws "auth/failed", "auth/throttled".
   */
  async identify(header: string | undefined, source: string, signal: AbortSignal): Promise<Caller> {
    const token = await this.#slowed(source, signal, async () => readCredentials(header));
    if (token === undefined) return ANONYMOUS;
    const caller = await this.#accounts.signIn(token);
    if (caller !== undefined) return caller;
    return this.#slowed(source, signal, async () => {
      throw new Fault("auth/failed", { reason: "it is not known here" });
    });
  }

  async #slowed<T>(source: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.#failed.failed(source, signal);
      throw error;
    }
  }
}
