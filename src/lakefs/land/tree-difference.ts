/** Finds the differences between two Git trees, file by file: equal folders are not read. */
import { fromLatin1, lossyText } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { Oid } from "../../git/oid.js";
import { isTreeMode } from "../../git/tree.js";
import { parseTree, type TreeEntry } from "../../git/tree-entries.js";
import type { ObjectReader } from "../../odb/packs/reader.js";

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

/** One folder that differs, as both trees have it. */
export interface FolderPair {
  /** With its slash; "" is the root. */
  readonly path: string;
  readonly before: ReadonlyMap<string, TreeEntry>;
  readonly after: ReadonlyMap<string, TreeEntry>;
}

/**
 * Folders that differ, each ahead of those below it, with an explicit stack; undefined is the empty
 * tree.
 */
export function* differingFolders(
  reader: ObjectReader,
  left: Oid | undefined,
  right: Oid | undefined,
): Generator<FolderPair, void, undefined> {
  const waiting: Folder[] = left === right ? [] : [{ left, right, path: "" }];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    const pair = {
      path: folder.path,
      before: entriesOf(reader, folder.left),
      after: entriesOf(reader, folder.right),
    };
    yield pair;
    for (const below of foldersBelow(pair).reverse()) waiting.push(below);
  }
}

function foldersBelow({ path, before, after }: FolderPair): Folder[] {
  const below: Folder[] = [];
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [left, right] = [treeOf(before.get(name)), treeOf(after.get(name))];
    if (left !== right) below.push({ left, right, path: `${path}${name}/` });
  }
  return below;
}

/**
 * From `left` to `right`; undefined is the empty tree. Throws "lakefs/unmappable" for paths too
 * long for lakeFS.
 */
export function* treeDifference(
  reader: ObjectReader,
  left: Oid | undefined,
  right: Oid | undefined,
): Generator<TreeChange, void, undefined> {
  for (const { path: folder, before, after } of differingFolders(reader, left, right)) {
    for (const name of new Set([...before.keys(), ...after.keys()])) {
      const [old, now] = [before.get(name), after.get(name)];
      if (old?.oid === now?.oid && old?.mode === now?.mode) continue;
      const path = folder + name;
      if (path.length > LIMITS.lakefsPathBytesMax) throw tooLong(path);
      if (now !== undefined && treeOf(now) === undefined) yield { path, entry: now };
      else if (old !== undefined && treeOf(old) === undefined) yield { path, entry: undefined };
    }
  }
}

function tooLong(path: string): Fault {
  return new Fault("lakefs/unmappable", {
    path: lossyText(fromLatin1(path)),
    reason: "lakeFS has no paths of more than 1,024 bytes",
  });
}

function entriesOf(reader: ObjectReader, tree: Oid | undefined): ReadonlyMap<string, TreeEntry> {
  return tree === undefined ? new Map() : parseTree(reader.readAs("tree", reader.space.need(tree)));
}

function treeOf(entry: TreeEntry | undefined): Oid | undefined {
  return entry !== undefined && isTreeMode(entry.mode) ? entry.oid : undefined;
}

/** The place where a pushed tree and lakeFS's part, and the reason. */
export interface Difference {
  readonly path: string | undefined;
  readonly reason: string;
}

const DIFFERENT = "it would read back differently";
const SPELLING =
  "its trees are spelled in a way that lakeFS has no place for (the modes of folders, say)";

/** Explains the first difference. Names of files come before what is only about folders. */
export function explainDifference(reader: ObjectReader, pushed: Oid, read: Oid): Difference {
  const [change] = treeDifference(reader, read, pushed);
  if (change !== undefined)
    return { path: lossyText(fromLatin1(change.path)), reason: reasonOf(reader, change, read) };
  const folder = firstOddFolder(reader, pushed, read);
  return folder === undefined
    ? { path: undefined, reason: SPELLING }
    : { ...folder, path: lossyText(fromLatin1(folder.path)) };
}

function reasonOf(reader: ObjectReader, { path, entry }: TreeChange, read: Oid): string {
  if (entry === undefined) return "lakeFS has a file there that Git was not shown";
  let found: TreeEntry | undefined;
  let tree: Oid | undefined = read;
  for (const name of path.split("/")) {
    found = entriesOf(reader, tree).get(name);
    tree = treeOf(found);
  }
  if (found === undefined || found.oid !== entry.oid || found.mode === entry.mode) return DIFFERENT;
  return `its mode ${entry.mode.toString(8)} would read back as ${found.mode.toString(8)}`;
}

/** The first folder of the pushed tree that is empty, or has another mode than folders have. */
function firstOddFolder(
  reader: ObjectReader,
  pushed: Oid,
  read: Oid,
): { readonly path: string; readonly reason: string } | undefined {
  const pending = [{ left: pushed, right: read as Oid | undefined, path: "" }];
  for (let pair = pending.pop(); pair !== undefined; pair = pending.pop()) {
    const own = entriesOf(reader, pair.left);
    if (own.size === 0 && pair.path !== "")
      return {
        path: pair.path.slice(0, -1),
        reason: "it is an empty folder, which lakeFS has no place for",
      };
    const other = entriesOf(reader, pair.right);
    for (const [name, entry] of own) {
      const [left, right] = [treeOf(entry), treeOf(other.get(name))];
      const mode = other.get(name)?.mode ?? entry.mode;
      if (left !== undefined && mode !== entry.mode)
        return {
          path: pair.path + name,
          reason: `it is a folder of mode ${entry.mode.toString(8)}, which lakeFS has no place for`,
        };
      if (left !== undefined && left !== right)
        pending.push({ left, right, path: `${pair.path}${name}/` });
    }
  }
  return undefined;
}
