/**
 * Refs by name, with the folders their names imply, so that a directory/file clash ("a" beside "a/b") is a look-up
 * whatever the number of refs. A table is changed in place by its owner and handed out only as frozen snapshots.
 */
import type { Ref, RefSnapshot } from "./ref-store.js";

export class RefTable {
  readonly #byName: Map<string, Ref>;
  /** Folder ("refs/heads/a") → refs below it. */
  readonly #folders = new Map<string, number>();

  constructor(refs: Iterable<Ref>) {
    this.#byName = new Map();
    for (const ref of refs) this.set(ref);
  }

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): Ref | undefined {
    return this.#byName.get(name);
  }

  values(): Iterable<Ref> {
    return this.#byName.values();
  }

  set(ref: Ref): void {
    if (!this.#byName.has(ref.name)) this.#count(ref.name, 1);
    this.#byName.set(ref.name, ref);
  }

  delete(name: string): void {
    if (this.#byName.delete(name)) this.#count(name, -1);
  }

  /** Name that keeps `name` from being created: a ref that is one of its folders, or `name` itself as somebody's folder. */
  clash(name: string): string | undefined {
    if (this.#folders.has(name)) return `${name}/…`;
    for (const folder of foldersOf(name)) if (this.#byName.has(folder)) return folder;
    return undefined;
  }

  snapshot(revision: string, head: string): RefSnapshot {
    const refs = [...this.#byName.values()].sort((left, right) => (left.name < right.name ? -1 : 1));
    return { revision, head, refs, byName: new Map(this.#byName) };
  }

  #count(name: string, by: number): void {
    for (const folder of foldersOf(name)) {
      const count = (this.#folders.get(folder) ?? 0) + by;
      if (count === 0) this.#folders.delete(folder);
      else this.#folders.set(folder, count);
    }
  }
}

/** "refs/heads/a/b" → "refs", "refs/heads", "refs/heads/a". */
function foldersOf(name: string): string[] {
  const folders: string[] = [];
  for (let slash = name.indexOf("/"); slash > 0; slash = name.indexOf("/", slash + 1)) folders.push(name.slice(0, slash));
  return folders;
}
