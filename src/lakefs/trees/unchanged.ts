/**
 * Blobs of entries that are the same in a tree that is known, so that nothing of them has to be
 * read again.
 */
import type { Oid } from "../../git/oid.js";
import type { ListingState } from "./tasks.js";
import { Census } from "./census.js";
import type { LakeChange } from "./listing.js";
import {
  ATTRIBUTES_NAME,
  baseName,
  type Crossing,
  FILE_MODE,
  isFileMode,
  type LakeEntry,
} from "../rules/path-rules.js";
import type { TreeLookup } from "./tree-builder.js";

/** The blob of an entry in a known tree; undefined: it is to be found out. */
export type Unchanged = (
  entry: LakeEntry,
  crossing: Crossing & { readonly as: "file" },
) => Oid | undefined;

export const NOTHING_UNCHANGED: Unchanged = () => undefined;

/**
 * The blob at an entry's path; a file that had no place there may have left its name to a folder.
 */
export function blobAt(blobs: TreeLookup, { path }: LakeEntry): Oid | undefined {
  const old = blobs.find(path);
  return old !== undefined && (isFileMode(old.mode) || old.mode === FILE_MODE.symlink)
    ? old.oid
    : undefined;
}

export function touchesAttributes(changes: readonly LakeChange[]): boolean {
  return changes.some(({ path }) => baseName(path) === ATTRIBUTES_NAME);
}

/**
 * Takes blobs of a known tree over only in the form that they have there: other attributes may make
 * a pointer of what was plain, and the other way round, unless a claim decides. `otherAttributes`:
 * whether they may be others.
 */
export function inForm(
  { census }: ListingState,
  otherAttributes: boolean,
  blobOf: (entry: LakeEntry) => Oid | undefined,
): Unchanged {
  if (!otherAttributes) return blobOf;
  const before = census && Census.of(census);
  return (entry, { claim, pointer }) => {
    const blob = blobOf(entry);
    const isKept =
      blob === undefined || claim?.blob === blob || before?.isPointer(entry.path) === pointer;
    return isKept ? blob : undefined;
  };
}
