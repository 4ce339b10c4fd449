/**
 * Keys under which lakepack keeps what Git knows and lakeFS has no place for. Reading and landing
 * share them.
 *
 * In an object's user metadata (all values ASCII, as they travel in headers):
 *   lakepack-blob      "<blob id> <size> <checksum>": the object's Git blob, for an LFS object its
 *                      pointer's
 *   lakepack-sha256    "<SHA-256> <size> <checksum>"
 *   lakepack-pointer   base64: the pointer's exact text, where it is not the canonical one
 *   lakepack-seal      "1 <key id> <MAC>": a server with the key vouches for both, at this address
 *                      (claim-seal.ts)
 *   lakepack-mode      "100755", "120000" (the content is the symlink's target), "160000" (zero
 *                      bytes, a submodule); by mapping 3 any other mode of a file that Git has,
 *                      such as "100664"
 *   lakepack-gitlink   the submodule's commit id
 * Size and checksum bind a value to the content it was written for: what does not match both is
 * ignored. Anyone who may write in lakeFS may write all of these: they are claims (claim.ts).
 *
 * In a commit's metadata:
 *   lakepack.commit    the raw Git commit, base64
 *   lakepack.seal      "1 <key id> <MAC>": a server with the key vouches that this metarange is the
 *                      raw commit's tree
 *   lakepack.padding   zeroes before the modes of the raw commit's trees (padded-modes.ts)
 *   lakepack.tag       the raw Git tag, base64; the record's only parent is what it tags
 *   lakepack.base, lakepack.tip, lakepack.step    of a landing's merge
 *   lakepack.mapping   the mapping, JSON (mapping.ts)
 *   lakepack.moving    the tag that is being moved (tag-move.ts)
 *   lakepack.pusher    the account that pushed it, where lakepack asks callers who they are
 *   lakepack.author    the author as Git has it, where the committer is the pusher
 *   lakepack.cut       a commit that is not in Git, JSON (cuts.ts)
 */
export const BLOB_KEY = "lakepack-blob";
export const SHA256_KEY = "lakepack-sha256";
export const POINTER_KEY = "lakepack-pointer";
export const SEAL_KEY = "lakepack-seal";
export const MODE_KEY = "lakepack-mode";
export const GITLINK_KEY = "lakepack-gitlink";

export const COMMIT_KEY = "lakepack.commit";
export const COMMIT_SEAL_KEY = "lakepack.seal";
export const PADDING_KEY = "lakepack.padding";
export const TAG_KEY = "lakepack.tag";
export const BASE_KEY = "lakepack.base";
export const TIP_KEY = "lakepack.tip";
export const STEP_KEY = "lakepack.step";
export const MAPPING_KEY = "lakepack.mapping";
export const MOVING_KEY = "lakepack.moving";
export const PUSHER_KEY = "lakepack.pusher";
export const AUTHOR_KEY = "lakepack.author";
export const CUT_KEY = "lakepack.cut";

/** Folder where lakeFS looks for hooks. */
export const HOOKS_FOLDER = "_lakefs_actions/";
/** The guard's constant file: part of landings only, never of a Git tree. */
export const GUARD_PATH = "_lakefs_actions/lakepack-guard.yaml";

/** lakectl's conventions. */
export const POSIX_KEY = "::lakefs::posix-permissions";
export const SYMLINK_KEY = "::lakefs::symlink-target";

/** A value bound to content. */
export function bind(id: string, size: number, checksum: string): string {
  return `${id} ${size} ${checksum}`;
}

/** The id of a bound value, if it was written for this size and checksum. */
export function boundId(
  value: string | undefined,
  size: number,
  checksum: string,
): string | undefined {
  if (value === undefined) return undefined;
  const space = value.indexOf(" ");
  const id = value.slice(0, Math.max(space, 0));
  return id !== "" && value === bind(id, size, checksum) ? id : undefined;
}

const BASE64 = /^[0-9A-Za-z+/]*={0,2}$/;

/** Bytes of a base64 value; undefined where it is not exactly what an encoder writes. */
export function decodeBase64(value: string | undefined): Uint8Array | undefined {
  if (value === undefined || !BASE64.test(value)) return undefined;
  const bytes = Buffer.from(value, "base64");
  return bytes.toString("base64") === value ? bytes : undefined;
}
