/** The database of a server, and what stands on it: users, permissions, names of repositories. */
import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import type { AccountServices } from "../../api/accounts.js";
import { Accounts } from "../../auth/accounts.js";
import { Authenticator } from "../../auth/authenticator.js";
import { Permissions } from "../../auth/permissions.js";
import { Database, type DatabasePlace } from "../../database/database.js";
import { isPostgresUrl } from "../../database/postgres-url.js";
import type { Fault } from "../../base/fault.js";
import { keepSecret } from "../../database/secrets.js";
import { faultFacts, type Log } from "../../observe/log.js";
import type { Guard } from "../../serve/repositories/door.js";
import type { Settings } from "./settings.js";

const DATABASE_NAME = "lakepack.db";
const LINK_KEY_BYTES = 32;
const SEAL_KEY_BYTES = 32;
const INSTALLATION_BYTES = 16;

/** Returns the absolute path of a file, or PostgreSQL. */
export function databasePlace(settings: Settings): DatabasePlace {
  const { database, data, database_ca: caFile, database_connections: connections } = settings;
  if (isPostgresUrl(database)) return { url: database, caFile, connections };
  return database === "" ? join(resolve(data), DATABASE_NAME) : resolve(database);
}

export interface OpenedAccounts extends AccountServices {
  readonly database: Database;
}

/** Throws "database/…". */
export async function openAccounts(settings: Settings, log: Log): Promise<OpenedAccounts> {
  const place = databasePlace(settings);
  const onLost = (fault: Fault) =>
    log.warn("a connection to the database was lost", faultFacts(fault));
  const database = await Database.open(typeof place === "string" ? place : { ...place, onLost });
  const accounts = new Accounts(database, Date.now, (fault) =>
    log.warn("a token's last use could not be noted", faultFacts(fault)),
  );
  return { database, accounts, permissions: new Permissions(database, accounts) };
}

/** Undefined with `auth: none`. */
export function guardOf(
  settings: Settings,
  { accounts, permissions }: OpenedAccounts,
): Guard | undefined {
  if (settings.auth === "none") return undefined;
  return {
    authenticator: new Authenticator(accounts),
    permissions,
    defaultVisibility: settings.default_visibility,
    deniedStatus: settings.denied_status,
  };
}

/**
 * Returns the key that links of Git LFS are signed with. Kept in the database, so that uploads
 * under way survive a restart and several servers on one database take one another's links.
 */
export async function linkKey(
  { secrets_key: keys }: Settings,
  { database }: OpenedAccounts,
): Promise<Uint8Array> {
  const proposed = randomBytes(LINK_KEY_BYTES).toString("hex");
  return Buffer.from(await keepSecret(database, "lfs-links", proposed, keys), "hex");
}

/** Returns what tells this database's servers from those of another: claimStore. */
export function installationId({ database }: OpenedAccounts): Promise<string> {
  return keepSecret(database, "installation", randomBytes(INSTALLATION_BYTES).toString("hex"));
}

/**
 * Returns the keys that seals in lakeFS are made and verified with (lakefs/rules/claim-seal.ts):
 * the setting's keys, and the database's own, with `auth: none` too. A server without another one's
 * key reads and hashes what that one has vouched for.
 */
export async function sealKeys(
  { seal_key: given, secrets_key: keys }: Settings,
  { database }: OpenedAccounts,
): Promise<readonly Uint8Array[]> {
  const proposed = randomBytes(SEAL_KEY_BYTES).toString("hex");
  const own = await keepSecret(database, "lakefs-seals", proposed, keys);
  return [...given, Buffer.from(own, "hex")];
}
