/** LFS objects in our own store that a repository has: each there, of its size, and hashed. */
import { createHash } from "node:crypto";
import { LIMITS } from "../base/limits.js";
import { type PublishedObject, hasLfsTables, listLinked } from "../database/lfs.js";
import type { Finding } from "../odb/manifest/verify.js";
import { readPieces } from "../store/stream.js";
import type { Store } from "../store/store.js";
import { formerLinks } from "./former-links.js";
import type { OwnLfsPlaces } from "./own-store.js";
import { objectKey } from "./publications.js";

const ADVICE =
  "restore this file from a backup or another copy (its SHA-256 is the 64 digits its name begins with), or run where its bytes are: git lfs push --all";

export interface VerifiedLfs {
  readonly objects: number;
  readonly findings: readonly Finding[];
}

export async function verifyLfsObjects(
  places: OwnLfsPlaces,
  repositoryId: string,
  signal: AbortSignal,
): Promise<VerifiedLfs> {
  const findings: Finding[] = [];
  let objects = 0;
  for await (const object of objectsOf(places, repositoryId, signal)) {
    objects++;
    const problem = await problemOf(places.store, object, signal);
    if (problem !== undefined) findings.push({ file: objectKey(object), problem, advice: ADVICE });
  }
  return { objects, findings };
}

/** Those of the layout before too: a data folder that was not served since has no others. */
async function* objectsOf(
  { store, database }: OwnLfsPlaces,
  repositoryId: string,
  signal: AbortSignal,
): AsyncGenerator<PublishedObject, void, undefined> {
  if (await hasLfsTables(database)) {
    const page = (after: string) =>
      listLinked(database, repositoryId, after, LIMITS.lfsListedAtOnce);
    for (let found = await page(""); found.length > 0; found = await page(lastOf(found)))
      yield* found;
  }
  yield* formerLinks(store, repositoryId, signal);
}

function lastOf(found: readonly PublishedObject[]): string {
  return found.at(-1)?.oid ?? "";
}

async function problemOf(
  store: Store,
  object: PublishedObject,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { oid, bytes } = object;
  const key = objectKey(object);
  const size = await store.size(key, signal);
  if (size === undefined) return "missing";
  if (bytes !== size) return `it has ${size} bytes, and the link to it says ${bytes}`;
  const hash = createHash("sha256");
  for await (const piece of readPieces(store, key, { start: 0, end: size }, signal))
    hash.update(piece);
  return hash.digest("hex") === oid ? undefined : "its SHA-256 is not its name";
}
