/**
 * Trees out of paths. A listing comes in bytewise order, so a folder is complete as soon as a path
 * outside of it comes: only open folders are held.
 */
import { LRUCache } from "lru-cache";
import type { Oid } from "../../git/oid.js";
import { MODE_TREE } from "../../git/tree.js";
import { formatTree, parseTree, type TreeEntry } from "../../git/tree-entries.js";
import type { ObjectOutput } from "./object-output.js";

interface Folder {
  /** With its slash; "" is the root. */
  readonly path: string;
  readonly files: Map<string, TreeEntry>;
  readonly folders: Map<string, TreeEntry>;
}

export class TreeBuilder {
  readonly #output: ObjectOutput;
  readonly #onShadowed: (path: string, mode: number) => void;
  readonly #open: Folder[] = [openFolder("")];

  /** `onShadowed`: a file that stands beside a folder of its name; it is left out. */
  constructor(output: ObjectOutput, onShadowed: (path: string, mode: number) => void) {
    this.#output = output;
    this.#onShadowed = onShadowed;
  }

  /** Paths in bytewise order, each once. */
  add(path: string, mode: number, oid: Oid): void {
    while (!path.startsWith(this.#top.path)) this.#close();
    for (
      let slash = path.indexOf("/", this.#top.path.length);
      slash >= 0;
      slash = path.indexOf("/", slash + 1)
    ) {
      this.#open.push(openFolder(path.slice(0, slash + 1)));
    }
    const name = path.slice(this.#top.path.length);
    this.#top.files.set(name, { name, mode, oid });
  }

  /** The root tree, of which there is one even if it is empty. */
  finish(): Oid {
    while (this.#open.length > 1) this.#close();
    return this.#write(this.#top);
  }

  get #top(): Folder {
    return this.#open.at(-1) as Folder;
  }

  #close(): void {
    const folder = this.#open.pop() as Folder;
    const name = folder.path.slice(this.#top.path.length, -1);
    this.#top.folders.set(name, { name, mode: MODE_TREE, oid: this.#write(folder) });
  }

  #write({ path, files, folders }: Folder): Oid {
    for (const name of folders.keys()) {
      const file = files.get(name);
      if (file !== undefined) this.#onShadowed(path + name, file.mode);
      files.delete(name);
    }
    return this.#output.addTree(formatTree([...files.values(), ...folders.values()]));
  }
}

function openFolder(path: string): Folder {
  return { path, files: new Map(), folders: new Map() };
}

/** One path's new entry; undefined: it is removed. */
export type PathChanges = ReadonlyMap<
  string,
  { readonly mode: number; readonly oid: Oid } | undefined
>;

/**
 * The tree after `changes`; "clash": a file would stand beside a folder of its name, which only a
 * whole listing can judge. `onFile` is told of each file that was at a changed path.
 */
export function changeTree(
  output: ObjectOutput,
  root: Oid,
  changes: PathChanges,
  onFile: (path: string, mode: number) => void,
): Oid | "clash" {
  try {
    const changed = changeFolder(output, root, "", [...changes.keys()].sort(), changes, onFile);
    return changed ?? output.addTree(formatTree([]));
  } catch (error) {
    if (error === CLASH) return "clash";
    throw error;
  }
}

const CLASH = Symbol("clash");

/**
 * `paths`: those below `folder` (with its slash). Undefined: nothing is left. Nesting is bounded by
 * lakeFS's 1,024 bytes of path.
 */
function changeFolder(
  output: ObjectOutput,
  oid: Oid | undefined,
  folder: string,
  paths: readonly string[],
  changes: PathChanges,
  onFile: (path: string, mode: number) => void,
): Oid | undefined {
  const entries =
    oid === undefined ? new Map<string, TreeEntry>() : parseTree(output.readTree(oid));
  for (const [name, below] of groupByName(paths, folder.length)) {
    const path = folder + name;
    const old = entries.get(name);
    const oldTree = old?.mode === MODE_TREE ? old.oid : undefined;
    const tree =
      below.length === 0
        ? oldTree
        : changeFolder(output, oldTree, `${path}/`, below, changes, onFile);
    let file = old !== undefined && oldTree === undefined ? old : undefined;
    if (changes.has(path)) {
      if (file !== undefined) onFile(path, file.mode);
      const change = changes.get(path);
      file = change === undefined ? undefined : { name, ...change };
    }
    if (file !== undefined && tree !== undefined) throw CLASH;
    if (tree !== undefined) entries.set(name, { name, mode: MODE_TREE, oid: tree });
    else if (file !== undefined) entries.set(name, file);
    else entries.delete(name);
  }
  return entries.size === 0 ? undefined : output.addTree(formatTree(entries.values()), oid);
}

/** First component behind `start` → the paths that go on below it. */
function groupByName(paths: readonly string[], start: number): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const path of paths) {
    const slash = path.indexOf("/", start);
    const name = slash < 0 ? path.slice(start) : path.slice(start, slash);
    const group = groups.get(name) ?? [];
    if (slash >= 0) group.push(path);
    groups.set(name, group);
  }
  return groups;
}

/** Folders whose entries are at hand: paths mostly come in order. */
const FOLDERS_HELD = 64;

/** Looks paths up in one tree. */
export class TreeLookup {
  readonly #output: ObjectOutput;
  readonly #root: Oid;
  readonly #folders = new LRUCache<string, ReadonlyMap<string, TreeEntry>>({ max: FOLDERS_HELD });

  constructor(output: ObjectOutput, root: Oid) {
    this.#output = output;
    this.#root = root;
  }

  find(path: string): TreeEntry | undefined {
    const slash = path.lastIndexOf("/");
    return this.#folder(path.slice(0, Math.max(slash, 0)))?.get(path.slice(slash + 1));
  }

  #folder(path: string): ReadonlyMap<string, TreeEntry> | undefined {
    const held = this.#folders.get(path);
    if (held !== undefined) return held;
    const own = path === "" ? { mode: MODE_TREE, oid: this.#root } : this.find(path);
    if (own?.mode !== MODE_TREE) return undefined;
    const entries = parseTree(this.#output.readTree(own.oid));
    this.#folders.set(path, entries);
    return entries;
  }
}
