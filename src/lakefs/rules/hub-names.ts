/**
 * Names of lakeFS repositories: as they are, or by KohakuHub's rule. The rule is one-way: a lakeFS
 * name is never parsed back.
 */
import { createHash } from "node:crypto";

export type HubType = "model" | "dataset" | "space";

/** lakeFS: ^[a-z0-9][a-z0-9-]{2,62}$. */
const REPOSITORY_NAME = /^[a-z0-9][a-z0-9-]{2,62}$/;
const SANITIZED_LENGTH_MAX = 38;
const HASH_LENGTH = 22;
/** SHA3-224 is folded in two halves. */
const HALF_BYTES = 14;

export function isLakefsRepositoryName(name: string): boolean {
  return REPOSITORY_NAME.test(name);
}

/**
 * KohakuHub's name of a repository: "{m|d|s}-{sanitized id, 38}-{hash, 22}". `id` is "ns/name" as
 * its owner wrote it. Source: KohakuHub, utils/lakefs.py (2026-05).
 */
export function kohakuHubName(type: HubType, id: string): string {
  return `${type[0]}-${sanitize(id).slice(0, SANITIZED_LENGTH_MAX)}-${foldedHash(id)}`;
}

function sanitize(id: string): string {
  return id
    .replace(/[/_.]/g, "-")
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, "-")
    .replace(/-+/g, "-")
    .replace(/^-+|-+$/g, "");
}

/** SHA3-224 of the id, upper half XOR lower half, base 36, padded with "0". */
function foldedHash(id: string): string {
  const digest = createHash("sha3-224").update(id, "utf8").digest();
  let number = 0n;
  for (let at = 0; at < HALF_BYTES; at++)
    number = (number << 8n) | BigInt((digest[at] as number) ^ (digest[at + HALF_BYTES] as number));
  return number.toString(36).padStart(HASH_LENGTH, "0");
}
