/**
 * Objects that lakeFS has and Git was not shown, in the way of a push: a file beside a folder of
 * its name, or one that Git refuses. A write at such a path would overwrite what the pusher has
 * never seen, and where the folder goes the file would come to light.
 */
import { fromLatin1, lossyText } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import type { Oid } from "../../git/oid.js";
import { parseTree, type TreeEntry } from "../../git/tree-entries.js";
import { isTreeMode } from "../../git/tree.js";
import type { ObjectReader } from "../../odb/packs/reader.js";
import type { ListingSource } from "../trees/listing.js";
import { locateThere } from "../trees/locate.js";
import { GUARD_PATH } from "../rules/metadata-keys.js";

const OVERWRITTEN =
  "lakeFS has an object there that Git was not shown; rename or remove it in lakeFS first";
const SHOWN =
  "it is also a file in lakeFS, which Git was not shown beside the folder of its name: rename or remove the file in lakeFS first";

export interface HiddenBase {
  readonly source: ListingSource;
  /** The lakeFS commit that the push starts from, and the tree that Git was shown of it. */
  readonly commit: string;
  readonly tree: Oid | undefined;
  /**
   * All that Git was not shown, as lines that begin with "path: "; undefined: lakeFS is asked for
   * each path.
   */
  readonly hidden: readonly string[] | undefined;
}

/**
 * Throws "lakefs/unmappable" where going from `before` to `tree` meets an object of the base that
 * Git was not shown.
 */
export async function checkHidden(
  reader: ObjectReader,
  base: HiddenBase,
  before: Oid | undefined,
  tree: Oid,
): Promise<void> {
  const reasons = new Map<string, string>();
  for (const { path, reason } of uncovered(reader, before, tree)) {
    if (path !== GUARD_PATH && mayBeHidden(base.hidden, path) && !isFileIn(reader, base.tree, path))
      reasons.set(path, reason);
  }
  const [first] = await locateThere(base.source, base.commit, [...reasons.keys()]);
  if (first === undefined) return;
  throw new Fault("lakefs/unmappable", {
    path: lossyText(fromLatin1(first.path)),
    reason: reasons.get(first.path) ?? OVERWRITTEN,
  });
}

function mayBeHidden(hidden: readonly string[] | undefined, path: string): boolean {
  const text = `${lossyText(fromLatin1(path))}: `;
  return hidden === undefined || hidden.some((line) => line.startsWith(text));
}

/** Paths that are files now and were none, and folders that are none any more. */
function* uncovered(
  reader: ObjectReader,
  before: Oid | undefined,
  tree: Oid,
): Generator<{ readonly path: string; readonly reason: string }, void, undefined> {
  const pending: {
    readonly left: Oid | undefined;
    readonly right: Oid | undefined;
    readonly folder: string;
  }[] = [];
  pending.push({ left: before, right: tree, folder: "" });
  for (let pair = pending.pop(); pair !== undefined; pair = pending.pop()) {
    if (pair.left === pair.right) continue;
    const [old, now] = [entriesOf(reader, pair.left), entriesOf(reader, pair.right)];
    for (const name of new Set([...old.keys(), ...now.keys()])) {
      const path = pair.folder + name;
      const [was, is] = [old.get(name), now.get(name)];
      if (was?.oid === is?.oid && was?.mode === is?.mode) continue;
      if (isFile(is) && !isFile(was)) yield { path, reason: OVERWRITTEN };
      else if (isFolder(was) && !isFolder(is)) yield { path, reason: SHOWN };
      const [left, right] = [
        isFolder(was) ? was.oid : undefined,
        isFolder(is) ? is.oid : undefined,
      ];
      if (left !== right) pending.push({ left, right, folder: `${path}/` });
    }
  }
}

function isFileIn(reader: ObjectReader, root: Oid | undefined, path: string): boolean {
  let tree = root;
  const names = path.split("/");
  for (const [at, name] of names.entries()) {
    const entry = entriesOf(reader, tree).get(name);
    if (at === names.length - 1) return isFile(entry);
    if (!isFolder(entry)) return false;
    tree = entry.oid;
  }
  return false;
}

function isFile(entry: TreeEntry | undefined): boolean {
  return entry !== undefined && !isTreeMode(entry.mode);
}

function isFolder(entry: TreeEntry | undefined): entry is TreeEntry {
  return entry !== undefined && isTreeMode(entry.mode);
}

function entriesOf(reader: ObjectReader, tree: Oid | undefined): ReadonlyMap<string, TreeEntry> {
  return tree === undefined ? new Map() : parseTree(reader.readAs("tree", reader.space.need(tree)));
}
