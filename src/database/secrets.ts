/**
 * Secrets that all servers of one database share: as they are, in hex, or wrapped by a key that is
 * not in the database, so that its dump alone gives none of them away.
 *
 *   wrapped 1 <nonce, 24 hex> <AES-256-GCM of the value and its tag, hex>
 *
 * The name is authenticated too: no secret can be put in the place of another.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { latin1, utf8 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import type { Database } from "./database.js";

const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const WRAPPED = /^wrapped 1 ([0-9a-f]{24}) ([0-9a-f]+)$/;

/**
 * Returns the secret of this name; `proposed` (hex) where there is none yet. `keys`: the first
 * wraps, all unwrap; none: it stands as it is. A value that is not wrapped by the first key is
 * wrapped anew. Throws "database/wrapped" where no key opens it.
 */
export function keepSecret(
  database: Database,
  name: string,
  proposed: string,
  keys: readonly Uint8Array[] = [],
): Promise<string> {
  return database.transaction(async (db) => {
    await db
      .insertInto("secrets")
      .values({ name, value: wrap(name, proposed, keys[0]) })
      .onConflict((conflict) => conflict.column("name").doNothing())
      .execute();
    const { value: stored } = await db
      .selectFrom("secrets")
      .select("value")
      .where("name", "=", name)
      .executeTakeFirstOrThrow();
    const { value, isByFirst } = unwrap(name, stored, keys);
    if (!isByFirst)
      await db
        .updateTable("secrets")
        .set({ value: wrap(name, value, keys[0]) })
        .where("name", "=", name)
        .where("value", "=", stored)
        .execute();
    return value;
  });
}

function wrap(name: string, value: string, key: Uint8Array | undefined): string {
  if (key === undefined) return value;
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, cipherKey(key), nonce).setAAD(utf8(name));
  const sealed = Buffer.concat([cipher.update(value, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return `wrapped 1 ${nonce.toString("hex")} ${sealed.toString("hex")}`;
}

/** `isByFirst`: it is wrapped as it would be now. */
function unwrap(
  name: string,
  stored: string,
  keys: readonly Uint8Array[],
): { readonly value: string; readonly isByFirst: boolean } {
  const [, nonce, sealed] = WRAPPED.exec(stored) ?? [];
  if (nonce === undefined || sealed === undefined)
    return { value: stored, isByFirst: keys.length === 0 };
  for (const [at, key] of keys.entries()) {
    const value = opened(name, Buffer.from(nonce, "hex"), Buffer.from(sealed, "hex"), key);
    if (value !== undefined) return { value, isByFirst: at === 0 };
  }
  throw new Fault("database/wrapped", { secret: name });
}

/** Undefined: it was wrapped by another key, or changed. */
function opened(
  name: string,
  nonce: Uint8Array,
  sealed: Uint8Array,
  key: Uint8Array,
): string | undefined {
  const end = sealed.length - TAG_BYTES;
  if (end < 0) return undefined;
  const cipher = createDecipheriv(CIPHER, cipherKey(key), nonce)
    .setAAD(utf8(name))
    .setAuthTag(sealed.subarray(end));
  try {
    return latin1(Buffer.concat([cipher.update(sealed.subarray(0, end)), cipher.final()]));
  } catch {
    return undefined; // said by the caller
  }
}

function cipherKey(key: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key, "", "lakepack secrets 1", 32));
}
