/**
 * Trees of synthesized commits in a thread's memory: least recently used lakeFS commits go first. A
 * commit's entry holds the trees that were made or read for it; a tree that several commits share
 * is held once, as long as one of them is here. A tree that is not here is read from the packs.
 */
import { LRUCache } from "lru-cache";
import { LIMITS } from "../../base/limits.js";
import type { Oid } from "../../git/oid.js";

interface HeldTree {
  readonly data: Uint8Array;
  commits: number;
}

/** An id and its map entry, besides the tree itself. */
const TREE_OVERHEAD_BYTES = 200;

export class TreeCache {
  readonly #trees = new Map<Oid, HeldTree>();
  readonly #commits: LRUCache<string, readonly Oid[]>;

  constructor(bytesMax: number = LIMITS.lakefsTreeCacheBytes) {
    this.#commits = new LRUCache({
      maxSize: bytesMax,
      sizeCalculation: (oids) =>
        TREE_OVERHEAD_BYTES +
        oids.reduce(
          (sum, oid) => sum + (this.#trees.get(oid)?.data.length ?? 0) + TREE_OVERHEAD_BYTES,
          0,
        ),
      // Also for what is too large to be taken in, so that nothing is held that nobody counts.
      dispose: (oids) => this.#release(oids),
    });
  }

  /** Commits held, for figures. */
  get size(): number {
    return this.#commits.size;
  }

  get treeCount(): number {
    return this.#trees.size;
  }

  get(oid: Oid): Uint8Array | undefined {
    return this.#trees.get(oid)?.data;
  }

  /** Marks a commit as used. */
  touch(commit: string): void {
    this.#commits.get(commit);
  }

  /** `commit`: "<repository> <lakeFS commit id>". The cache owns the trees from now on. */
  set(commit: string, trees: ReadonlyMap<Oid, Uint8Array>): void {
    this.#commits.delete(commit);
    for (const [oid, data] of trees) {
      const held = this.#trees.get(oid);
      if (held === undefined) this.#trees.set(oid, { data, commits: 1 });
      else held.commits++;
    }
    const oids = [...trees.keys()];
    this.#commits.set(commit, oids);
    if (!this.#commits.has(commit)) this.#release(oids);
  }

  #release(oids: readonly Oid[]): void {
    for (const oid of oids) {
      const held = this.#trees.get(oid);
      if (held !== undefined && --held.commits === 0) this.#trees.delete(oid);
    }
  }
}

/** Cache of this thread: tasks of a pool thread share nothing but its modules. */
let kept: TreeCache | undefined;

/** This thread's cache. */
export function threadTreeCache(): TreeCache {
  kept ??= new TreeCache();
  return kept;
}
