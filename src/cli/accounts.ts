/**
 * Users, permissions and secrets of one data folder, opened when somebody first needs them: `auth: none` needs only
 * the key of seals, and that with lakeFS.
 */
import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import type { AccountServices } from "../api/accounts.js";
import { Accounts } from "../auth/accounts.js";
import { Authenticator } from "../auth/authenticator.js";
import { Permissions } from "../auth/permissions.js";
import { Database } from "../database/database.js";
import { keepSecret } from "../database/secrets.js";
import type { Guard } from "../serve/door.js";
import type { Settings } from "./settings.js";

const DATABASE_NAME = "lakepack.db";
const LINK_KEY_BYTES = 32;
const SEAL_KEY_BYTES = 32;

export function databasePath({ database, data }: Settings): string {
  return database === "" ? join(resolve(data), DATABASE_NAME) : resolve(database);
}

export class LazyAccounts {
  readonly #path: string;
  #opened: Promise<AccountServices & { readonly database: Database }> | undefined;

  constructor(settings: Settings) {
    this.#path = databasePath(settings);
  }

  /** Throws "database/failed". */
  open(): Promise<AccountServices & { readonly database: Database }> {
    this.#opened ??= openAccounts(this.#path);
    return this.#opened;
  }

  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined); // told to whoever asked for it
    await opened?.database.close();
  }
}

async function openAccounts(path: string): Promise<AccountServices & { readonly database: Database }> {
  const database = await Database.open(path);
  const accounts = new Accounts(database);
  return { database, accounts, permissions: new Permissions(database, accounts) };
}

/** Undefined with `auth: none`. */
export async function openGuard(settings: Settings, lazy: LazyAccounts): Promise<Guard | undefined> {
  if (settings.auth === "none") return undefined;
  const { accounts, permissions } = await lazy.open();
  return { authenticator: new Authenticator(accounts), permissions, defaultVisibility: settings.default_visibility, deniedStatus: settings.denied_status };
}

/**
 * What links of Git LFS are signed with. Kept in the database, so that uploads under way survive a restart and several servers on one database take one
 * another's links; without one (`auth: none`) a restart makes clients ask for new links, which git-lfs does by itself.
 */
export async function linkKey(settings: Settings, lazy: LazyAccounts): Promise<Uint8Array> {
  const fresh = randomBytes(LINK_KEY_BYTES);
  if (settings.auth === "none") return fresh;
  const { database } = await lazy.open();
  return Buffer.from(await keepSecret(database, "lfs-links", fresh.toString("hex")), "hex");
}

/**
 * What seals in lakeFS are made and verified with (lakefs/claim-seal.ts): the setting's keys, and the database's own,
 * with `auth: none` too. Whoever has no key of another server reads and hashes what that one has vouched for.
 */
export async function sealKeys({ seal_key: given }: Settings, lazy: LazyAccounts): Promise<readonly Uint8Array[]> {
  const { database } = await lazy.open();
  const own = await keepSecret(database, "lakefs-seals", randomBytes(SEAL_KEY_BYTES).toString("hex"));
  return [...given, Buffer.from(own, "hex")];
}
