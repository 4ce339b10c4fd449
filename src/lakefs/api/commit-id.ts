/**
 * lakeFS's own id of a commit: SHA-256 over a tagged encoding of what the commit says. Commit
 * records must carry the right one.
 *
 *   bytes  00 int64(length) bytes       string  01 int64(bytes) UTF-8      int64  02 08 big-endian 8 bytes
 *   strings 03 int64(count) string …    map     04 int64(count) key value … sorted bytewise by key
 *   embedded 05 bytes(SHA-256 of the inner encoding)
 *
 *   commit = string "commit:v1", string committer, string message, string metarange id, int64
 *   creation date (s), map metadata,
 *            embedded (strings parent ids)
 *
 * Source: lakeFS v1.86, pkg/ident and pkg/graveler (Commit.Identity); test/conformance/lakefs holds
 * it against real commits.
 */
import { createHash, type Hash } from "node:crypto";
import { compareBytes, utf8 } from "../../base/bytes.js";

const TAG = { bytes: 0, string: 1, int64: 2, strings: 3, map: 4, embedded: 5 } as const;
const INT64_BYTES = 8;

export interface CommitFacts {
  readonly committer: string;
  readonly message: string;
  readonly metarangeId: string;
  /** Seconds since 1970. */
  readonly creationDate: number;
  readonly parents: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** 64 hex digits. */
export function lakefsCommitId(commit: CommitFacts): string {
  const hash = createHash("sha256");
  addString(hash, "commit:v1");
  addString(hash, commit.committer);
  addString(hash, commit.message);
  addString(hash, commit.metarangeId);
  addInt64(hash, commit.creationDate);
  addMap(hash, commit.metadata);
  hash.update(Uint8Array.of(TAG.embedded));
  addBytes(hash, parentsDigest(commit.parents));
  return hash.digest("hex");
}

function parentsDigest(parents: readonly string[]): Uint8Array {
  const hash = createHash("sha256");
  hash.update(Uint8Array.of(TAG.strings));
  addInt64(hash, parents.length);
  for (const parent of parents) addString(hash, parent);
  return hash.digest();
}

function addString(hash: Hash, text: string): void {
  const bytes = utf8(text);
  hash.update(Uint8Array.of(TAG.string));
  addInt64(hash, bytes.length);
  hash.update(bytes);
}

function addBytes(hash: Hash, bytes: Uint8Array): void {
  hash.update(Uint8Array.of(TAG.bytes));
  addInt64(hash, bytes.length);
  hash.update(bytes);
}

function addInt64(hash: Hash, value: number): void {
  const bytes = new Uint8Array(2 + INT64_BYTES);
  bytes[0] = TAG.int64;
  bytes[1] = INT64_BYTES;
  new DataView(bytes.buffer).setBigInt64(2, BigInt(value));
  hash.update(bytes);
}

function addMap(hash: Hash, map: Readonly<Record<string, string>>): void {
  const keys = Object.keys(map).sort((left, right) => compareBytes(utf8(left), utf8(right)));
  hash.update(Uint8Array.of(TAG.map));
  addInt64(hash, keys.length);
  for (const key of keys) {
    addString(hash, key);
    addString(hash, map[key] as string);
  }
}
