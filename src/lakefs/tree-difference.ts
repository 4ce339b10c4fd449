/** What differs between two Git trees, file by file: equal folders are not read. */
import { fromLatin1, lossyText } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { Oid } from "../git/oid.js";
import { MODE_TREE } from "../git/tree.js";
import { parseTree, type TreeEntry } from "../git/tree-text.js";
import type { ObjectReader } from "../odb/object-reader.js";

export interface TreeChange {
  /** Latin1 text of the path's bytes. */
  readonly path: string;
  /** Undefined: it is removed. */
  readonly entry: TreeEntry | undefined;
}

interface Folder {
  readonly left: Oid | undefined;
  readonly right: Oid | undefined;
  /** With its slash; "" is the root. */
  readonly path: string;
}

/** From `left` to `right`; undefined is the empty tree. Folders with an explicit stack. Throws "lakefs/unmappable" for paths too long for lakeFS. */
export function* treeDifference(reader: ObjectReader, left: Oid | undefined, right: Oid | undefined): Generator<TreeChange, void, undefined> {
  const waiting: Folder[] = left === right ? [] : [{ left, right, path: "" }];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    const before = entriesOf(reader, folder.left);
    const after = entriesOf(reader, folder.right);
    const below: Folder[] = [];
    for (const name of new Set([...before.keys(), ...after.keys()])) {
      const [old, now] = [before.get(name), after.get(name)];
      if (old?.oid === now?.oid && old?.mode === now?.mode) continue;
      const path = folder.path + name;
      if (path.length > LIMITS.lakefsPathBytesMax) throw tooLong(path);
      const [leftTree, rightTree] = [treeOf(old), treeOf(now)];
      if (leftTree !== rightTree) below.push({ left: leftTree, right: rightTree, path: `${path}/` });
      if (now !== undefined && rightTree === undefined) yield { path, entry: now };
      else if (old !== undefined && leftTree === undefined) yield { path, entry: undefined };
    }
    waiting.push(...below.reverse());
  }
}

function tooLong(path: string): Fault {
  return new Fault("lakefs/unmappable", { path: lossyText(fromLatin1(path)), reason: "lakeFS has no paths of more than 1,024 bytes" });
}

function entriesOf(reader: ObjectReader, tree: Oid | undefined): ReadonlyMap<string, TreeEntry> {
  return tree === undefined ? new Map() : parseTree(reader.readAs("tree", reader.space.need(tree)));
}

function treeOf(entry: TreeEntry | undefined): Oid | undefined {
  return entry?.mode === MODE_TREE ? entry.oid : undefined;
}
