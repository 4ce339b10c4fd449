/**
 * Ref names: bytes, held as latin1 text (base/bytes), so that order is bytewise and nothing is
 * lost. Source: git-check-ref-format(1), rules 1 to 10; the numbers below are its.
 */

/**
 * Rules 3, 4, 5, 8, 10: control characters, space and ~^:?*[\ anywhere, "..", "@{". Bytes above
 * 0x7f are fine.
 */
const FORBIDDEN = /[\x00-\x20\x7f~^:?*[\\]|\.\.|@\{/;
const LOCK = ".lock";

/**
 * Returns whether `git check-ref-format <name>` accepts the name: at least two components (rule
 * 2). "HEAD" alone is none. "refs/heads/-x" and non-UTF-8 bytes are legal.
 */
export function isRefName(name: string): boolean {
  return name.includes("/") && isWellFormed(name);
}

/**
 * Returns whether a push may create the ref: under "refs/", and the rest is itself a name of two
 * components or more. Git's receive-pack calls the others "funny refname" ("refs/x" among them).
 */
export function isPushableRefName(name: string): boolean {
  return name.startsWith("refs/") && isRefName(name.slice("refs/".length));
}

function isWellFormed(name: string): boolean {
  if (FORBIDDEN.test(name) || name.endsWith(".") || name === "@") return false; // rules 3-5, 7-10
  return name.split("/").every(isComponent);
}

/** Rules 1 and 6: not empty, no leading dot, no ".lock" at its end. */
function isComponent(part: string): boolean {
  return part !== "" && !part.startsWith(".") && !part.endsWith(LOCK);
}

/**
 * A name and the names it is a folder of cannot both be refs: "refs/heads/a" beside
 * "refs/heads/a/b".
 */
export function foldersOf(name: string): readonly string[] {
  const folders: string[] = [];
  for (let at = name.indexOf("/"); at >= 0; at = name.indexOf("/", at + 1))
    folders.push(name.slice(0, at));
  return folders;
}

interface Named {
  readonly name: string;
}

/** Index of the first of `sorted` that is not before `name`. */
export function lowerBound(sorted: readonly Named[], name: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle]?.name ?? "") < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The names of a ref set while a push changes it, to find directory/file conflicts: a sorted base
 * that is never copied and the changes on top. Each question costs the name's depth times log of
 * the base, however many commands a push has.
 */
export class RefNames {
  readonly #base: readonly Named[];
  readonly #added = new Set<string>();
  /** Folder → how many added names lie beneath. */
  readonly #addedFolders = new Map<string, number>();
  readonly #removed = new Set<string>();
  /** Folder → how many base names beneath it are removed. */
  readonly #removedFolders = new Map<string, number>();

  /** `base`: sorted bytewise by name, unchanged while this is in use. */
  constructor(base: readonly Named[]) {
    this.#base = base;
  }

  has(name: string): boolean {
    return this.#added.has(name) || (!this.#removed.has(name) && this.#inBase(name));
  }

  add(name: string): void {
    if (this.has(name)) return;
    if (this.#removed.delete(name)) count(this.#removedFolders, name, -1);
    else {
      this.#added.add(name);
      count(this.#addedFolders, name, 1);
    }
  }

  remove(name: string): void {
    if (this.#added.delete(name)) count(this.#addedFolders, name, -1);
    else if (!this.#removed.has(name) && this.#inBase(name)) {
      this.#removed.add(name);
      count(this.#removedFolders, name, 1);
    }
  }

  /**
   * A ref that cannot stand beside `name`: one it is a folder of, or one beneath it. Undefined:
   * none. `name` itself is none.
   */
  conflict(name: string): string | undefined {
    const above = foldersOf(name).find((folder) => this.has(folder));
    if (above !== undefined) return above;
    if ((this.#addedFolders.get(name) ?? 0) > 0) return `${name}/`;
    return this.#baseBeneath(name) > (this.#removedFolders.get(name) ?? 0) ? `${name}/` : undefined;
  }

  #inBase(name: string): boolean {
    return this.#base[lowerBound(this.#base, name)]?.name === name;
  }

  /** Returns how many base names lie beneath the folder: "0" follows "/" in ASCII. */
  #baseBeneath(folder: string): number {
    return lowerBound(this.#base, `${folder}0`) - lowerBound(this.#base, `${folder}/`);
  }
}

function count(folders: Map<string, number>, name: string, by: 1 | -1): void {
  for (const folder of foldersOf(name)) folders.set(folder, (folders.get(folder) ?? 0) + by);
}
