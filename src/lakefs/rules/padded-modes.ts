/**
 * Zeroes before the modes of tree entries ("040000"), as some tools have written them. An id
 * depends on them, and no object in lakeFS has a place for those of folders, so a landed commit's
 * metadata tell them of its whole tree:
 *
 *   "1 " <base64 of deflate(one byte for each folder's entry, then one for each other's: how many
 *   zeroes)>
 *
 * in the order of a walk that goes into a folder when it comes to it. Whole trees are padded in one
 * way by one tool, so that this is some tens of bytes.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { concat, fromLatin1 } from "../../base/bytes.js";
import { LIMITS } from "../../base/limits.js";
import { type Oid, oidBytes } from "../../git/oid.js";
import { TreeCursor } from "../../git/tree.js";
import { decodeBase64 } from "./metadata-keys.js";

export type ReadTree = (oid: Oid) => Uint8Array;

const ZERO = 0x30;
const PREFIX = "1 ";

interface PaddedEntry {
  readonly isTree: boolean;
  readonly zeroes: number;
  readonly mode: number;
  readonly name: string;
  readonly oid: Oid;
}

function* entriesOf(data: Uint8Array): Generator<PaddedEntry, void, undefined> {
  let start = 0;
  for (const cursor = new TreeCursor(data); cursor.next(); start = cursor.oidAt + 20) {
    let zeroes = 0;
    while (data[start + zeroes] === ZERO) zeroes++;
    const { isTree, mode, name, oid } = cursor;
    yield { isTree, zeroes, mode, name, oid };
  }
}

/** Trees of a push that have no padding, nor any below them: looked into once. */
export class Paddings {
  readonly #readTree: ReadTree;
  readonly #clean = new Set<Oid>();

  constructor(readTree: ReadTree) {
    this.#readTree = readTree;
  }

  /**
   * The metadata's text; undefined: nothing is padded. `before`: a tree that has no padding, so
   * that only what differs from it is looked into. Undefined as well where there is more than the
   * reader takes: it reads back differently then.
   */
  of(tree: Oid, before: Oid | undefined): string | undefined {
    if (!this.#isPadded(tree, before)) return undefined;
    const [folders, files]: [number[], number[]] = [[], []];
    const stack = [entriesOf(this.#readTree(tree))];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const { done, value: entry } = top.next();
      if (done === true) {
        stack.pop();
        continue;
      }
      if (folders.length + files.length === LIMITS.paddedEntriesMax) return undefined;
      (entry.isTree ? folders : files).push(Math.min(entry.zeroes, 0xff));
      if (entry.isTree) stack.push(entriesOf(this.#readTree(entry.oid)));
    }
    return PREFIX + deflateRawSync(Uint8Array.from(folders.concat(files))).toString("base64");
  }

  #isPadded(tree: Oid, before: Oid | undefined): boolean {
    const pending: { readonly tree: Oid; readonly before: Oid | undefined }[] = [{ tree, before }];
    const seen = new Set<Oid>();
    for (let pair = pending.pop(); pair !== undefined; pair = pending.pop()) {
      if (pair.tree === pair.before || this.#clean.has(pair.tree) || seen.has(pair.tree)) continue;
      seen.add(pair.tree);
      const old = this.#foldersOf(pair.before);
      for (const { isTree, zeroes, name, oid } of entriesOf(this.#readTree(pair.tree))) {
        if (zeroes > 0) return true;
        if (isTree) pending.push({ tree: oid, before: old.get(name) });
      }
    }
    for (const oid of seen) this.#clean.add(oid);
    return false;
  }

  #foldersOf(tree: Oid | undefined): ReadonlyMap<string, Oid> {
    const folders = new Map<string, Oid>();
    if (tree === undefined) return folders;
    for (const { isTree, name, oid } of entriesOf(this.#readTree(tree)))
      if (isTree) folders.set(name, oid);
    return folders;
  }
}

/**
 * The tree with the padding that a commit's metadata tell; the tree itself where they tell none, or
 * one that is not of this tree. `write`: adds a tree, and gives its id.
 */
export function padTree(
  root: Oid,
  text: string | undefined,
  readTree: ReadTree,
  write: (data: Uint8Array) => Oid,
): Oid {
  const zeroes = decodePadding(text);
  if (zeroes === undefined) return root;
  const folders = countFolders(root, zeroes.length, readTree);
  if (folders === undefined) return root;
  const next = { folder: 0, file: folders };
  const pad = (oid: Oid): Oid => {
    const parts: Uint8Array[] = [];
    for (const { isTree, mode, name, oid: entry } of entriesOf(readTree(oid))) {
      const padding = "0".repeat(zeroes[isTree ? next.folder++ : next.file++] as number);
      parts.push(
        fromLatin1(`${padding}${mode.toString(8)} ${name}\0`),
        oidBytes(isTree ? pad(entry) : entry),
      );
    }
    return write(concat(parts));
  };
  return pad(root); // lakeFS's 1,024 bytes of path bound how deep this goes
}

function decodePadding(text: string | undefined): Uint8Array | undefined {
  if (text?.startsWith(PREFIX) !== true || text.length > LIMITS.paddedEntriesMax) return undefined;
  const packed = decodeBase64(text.slice(PREFIX.length));
  try {
    return packed && inflateRawSync(packed, { maxOutputLength: LIMITS.paddedEntriesMax });
  } catch {
    return undefined; // anybody may write it
  }
}

/** Entries that are folders; undefined unless the tree has `total` entries in all. */
function countFolders(root: Oid, total: number, readTree: ReadTree): number | undefined {
  let [folders, entries] = [0, 0];
  const pending = [root];
  for (let oid = pending.pop(); oid !== undefined; oid = pending.pop()) {
    for (const entry of entriesOf(readTree(oid))) {
      if (++entries > total) return undefined;
      if (!entry.isTree) continue;
      folders++;
      pending.push(entry.oid);
    }
  }
  return entries === total ? folders : undefined;
}
