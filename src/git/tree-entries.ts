/**
 * Trees written: entries in Git's order, which takes a folder's name as if it ended in "/".
 * gitglossary(7) "tree object"; tree.c base_name_compare.
 */
import { concat, fromLatin1 } from "../base/bytes.js";
import { type Oid, oidBytes } from "./oid.js";
import { MODE_TREE, TreeCursor } from "./tree.js";

/** `name`: latin1 text of its bytes. */
export interface TreeEntry {
  readonly name: string;
  readonly mode: number;
  readonly oid: Oid;
}

/** The bytes of a tree of these entries, in any order; each name once. */
export function formatTree(entries: Iterable<TreeEntry>): Uint8Array {
  const sorted = [...entries].map((entry) => ({
    entry,
    key: entry.mode === MODE_TREE ? `${entry.name}/` : entry.name,
  }));
  sorted.sort((left, right) => (left.key < right.key ? -1 : 1));
  return concat(
    sorted.flatMap(({ entry: { mode, name, oid } }) => [
      fromLatin1(`${mode.toString(8)} ${name}\0`),
      oidBytes(oid),
    ]),
  );
}

/** Entries by name, in the tree's order. Throws "odb/bad-object". */
export function parseTree(data: Uint8Array): Map<string, TreeEntry> {
  const entries = new Map<string, TreeEntry>();
  for (const cursor = new TreeCursor(data); cursor.next(); ) {
    const { name, mode, oid } = cursor;
    entries.set(name, { name, mode, oid });
  }
  return entries;
}
