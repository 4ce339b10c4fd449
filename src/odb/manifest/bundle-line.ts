/** One bundle of a repository, as its manifest lists it: a pack behind refs, for clones. */
import type { Oid } from "../../git/oid.js";
import type { StoreKey } from "../../store/store.js";

export interface BundleLine {
  /** 40 hex digits of its own: its file is `bundles/<name>.bundle`. */
  readonly name: string;
  readonly bytes: number;
  /** Larger than that of the bundle before, which this one builds on. */
  readonly token: number;
  /** Commits of its branches. */
  readonly heads: readonly Oid[];
  /** Objects of its tags. */
  readonly tags: readonly Oid[];
}

/** Below "git/". */
export const BUNDLES_FOLDER = "bundles";

/** Returns the key of a bundle's file. `prefix`: the repository's place in the store. */
export function bundleKey(prefix: string, { name }: Pick<BundleLine, "name">): StoreKey {
  return `${prefix}/git/${BUNDLES_FOLDER}/${name}.bundle`;
}
