/**
 * The changes that staging one tree makes on a work branch: the difference to the tree before it,
 * and paths that lakeFS has otherwise than that tree says.
 */
import type { Oid } from "../../git/oid.js";
import { isTreeMode } from "../../git/tree.js";
import { parseTree } from "../../git/tree-entries.js";
import type { ObjectReader } from "../../odb/packs/reader.js";
import { type TreeChange, treeDifference } from "./tree-difference.js";

/** A path of the root at which lakeFS has something else than the tree before, or nothing. */
export interface OtherPath {
  readonly path: string;
  readonly isThere: boolean;
}

export function* stagedChanges(
  reader: ObjectReader,
  before: Oid | undefined,
  tree: Oid,
  other: OtherPath | undefined,
): Generator<TreeChange, void, undefined> {
  for (const change of treeDifference(reader, before, tree))
    if (change.path !== other?.path) yield change;
  if (other === undefined) return;
  const entry = parseTree(reader.readAs("tree", reader.space.need(tree))).get(other.path);
  const isFile = entry !== undefined && !isTreeMode(entry.mode);
  if (isFile || other.isThere) yield { path: other.path, entry: isFile ? entry : undefined };
}
