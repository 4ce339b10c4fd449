/**
 * Tokens: "lpk_" and 160 random bits in base32 (RFC 4648, lower case), so that scanners for leaked
 * secrets know one by its look. Kept as SHA-256: against 160 bits nobody tries passwords, so a slow
 * hash would only slow every request down.
 */
import { createHash, randomBytes } from "node:crypto";
import { WHOLE_TOKEN } from "../base/secret-text.js";

const PREFIX = "lpk_";
const RANDOM_BYTES = 20;
const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

export function newToken(): string {
  const bits = BigInt(`0x${randomBytes(RANDOM_BYTES).toString("hex")}`);
  return (
    PREFIX +
    Array.from(
      { length: (RANDOM_BYTES * 8) / 5 },
      (_, at) => ALPHABET[Number((bits >> BigInt(at * 5)) & 31n)],
    ).join("")
  );
}

export function isToken(text: string): boolean {
  return WHOLE_TOKEN.test(text);
}

/** Hex. */
export function tokenHash(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
