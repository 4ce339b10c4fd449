/** LFS objects in our own store that a repository has: each there, of its size, and hashed. */
import { createHash } from "node:crypto";
import { latin1 } from "../base/bytes.js";
import { LIMITS } from "../base/limits.js";
import type { Finding } from "../odb/manifest/verify.js";
import type { Store } from "../store/store.js";
import { objectKey } from "./own-store.js";

const ADVICE = "restore this file from a backup or another copy: its name is its SHA-256";
/** Digits of the largest size. */
const LINK_BYTES_MAX = 20;

export interface VerifiedLfs {
  readonly objects: number;
  readonly findings: readonly Finding[];
}

/** `repository`: its prefix in the store. */
export async function verifyLfsObjects(
  store: Store,
  repository: string,
  signal: AbortSignal,
): Promise<VerifiedLfs> {
  const findings: Finding[] = [];
  let objects = 0;
  for await (const { key: link } of store.list(`lfs/links/${repository}/`, signal)) {
    objects++;
    const key = objectKey(link.slice(link.lastIndexOf("/") + 1));
    const problem = await problemOf(store, link, key, signal);
    if (problem !== undefined) findings.push({ file: key, problem, advice: ADVICE });
  }
  return { objects, findings };
}

async function problemOf(
  store: Store,
  link: string,
  key: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const stored = await store.get(link, LINK_BYTES_MAX, signal);
  const size = await store.size(key, signal);
  if (size === undefined) return "missing";
  if (stored === undefined || latin1(stored.bytes) !== String(size))
    return `it has ${size} bytes, and ${link} says ${stored === undefined ? "nothing" : latin1(stored.bytes)}`;
  const hash = createHash("sha256");
  for (let at = 0; at < size; at += LIMITS.streamChunkBytes) {
    hash.update(
      await store.readRange(key, at, Math.min(size, at + LIMITS.streamChunkBytes), signal),
    );
  }
  return key.endsWith(`/${hash.digest("hex")}`) ? undefined : "its SHA-256 is not its name";
}
