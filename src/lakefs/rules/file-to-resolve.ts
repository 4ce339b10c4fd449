/** A file whose blob is to be found out, and what its entry alone says of the way. */
import { fromLatin1 } from "../../base/bytes.js";
import { LIMITS } from "../../base/limits.js";
import { isSpecialName } from "../../git/fsck/protected-names.js";
import { POINTER_BYTES_MAX } from "../../git/lfs-pointer.js";
import type { Oid } from "../../git/oid.js";
import type { Claim } from "./claim.js";
import { baseName, type Crossing, FILE_MODE, type LakeEntry } from "./path-rules.js";

export interface FileToResolve {
  readonly entry: LakeEntry;
  readonly crossing: Crossing & { readonly as: "file" };
  /** Its blob in a tree in which it is the same; a pointer's too. */
  readonly unchanged: Oid | undefined;
}

/** Returns whether the entry's id alone does not say if it was plain or a pointer. */
export function isOpenClaim(claim: Claim | undefined, unchanged: Oid): boolean {
  return claim !== undefined && claim.blob === unchanged && claim.sha256 === undefined;
}

/** Returns whether facts found about a content before may be remembered. */
export function isRecalled(
  { entry, crossing: { claim, pointer, linked }, unchanged }: FileToResolve,
  believed: boolean,
): boolean {
  if (
    (unchanged !== undefined && !isOpenClaim(claim, unchanged)) ||
    (believed && claim?.sha256 !== undefined)
  )
    return false;
  return (
    (pointer && linked === undefined) ||
    claim?.pointer !== undefined ||
    (claim !== undefined && entry.size >= LIMITS.contentRecordBytesMin)
  );
}

/** Returns whether a seal may save the reading. */
export function isSealable(
  { crossing: { claim }, unchanged }: FileToResolve,
  believed: boolean,
): boolean {
  return claim?.seal !== undefined && unchanged === undefined && !believed;
}

/**
 * Returns whether the content is most likely that of a pointer, and so passes without being kept.
 */
export function isHashed({ entry, crossing: { claim, pointer } }: FileToResolve): boolean {
  return claim === undefined
    ? pointer && entry.size > POINTER_BYTES_MAX
    : claim.pointer !== undefined;
}

/** The reason why such a file stays in lakeFS. */
export const POINTER_CONTENT =
  "its content is the text of a Git LFS pointer, which git-lfs does not take for a file's";

export function isLarge({ entry }: FileToResolve): boolean {
  return entry.size > LIMITS.lakefsHeldBytesMax;
}

/** Returns the kind of a file that Git itself reads, and so refuses some contents. */
export function specialKind({
  entry,
  crossing: { mode },
}: FileToResolve): "gitmodules" | "gitattributes" | undefined {
  if (mode === FILE_MODE.symlink) return undefined;
  const name = fromLatin1(baseName(entry.path));
  if (isSpecialName(name, "gitmodules")) return "gitmodules";
  return isSpecialName(name, "gitattributes") ? "gitattributes" : undefined;
}
