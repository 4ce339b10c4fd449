/**
 * Removes a repository's files that its manifest does not name: packs that were folded into another, what failed pushes have published, ref snapshots of earlier
 * states. Only after a grace period, counted from when they were written or were last named: who began to read by an older manifest still finds them, and a
 * push that has published its pack has not named it yet.
 */
import type { Store } from "../store/store.js";
import type { ManifestStore } from "./manifest-store.js";

export interface CollectOptions {
  readonly store: Store;
  readonly manifests: ManifestStore;
  /** The repository's prefix in the store ("repos/ns/name"). */
  readonly prefix: string;
  readonly graceMs: number;
}

export interface Amount {
  readonly files: number;
  readonly bytes: number;
}

export interface Collected {
  readonly removed: Amount;
  /** Named by nothing, and younger than the grace period. */
  readonly waiting: Amount;
}

const PACK_FILE = /\/pack-([0-9a-f]{40})\.(?:pack|idx|rev)$/;

/** Not for repositories over lakeFS: records of commits name packs there. */
export async function collectFiles({ store, manifests, prefix, graceMs }: CollectOptions, signal: AbortSignal): Promise<Collected> {
  const beforeMs = Date.now() - graceMs;
  const removed = { files: 0, bytes: 0 };
  const waiting = { files: 0, bytes: 0 };
  const { packs, snapshot } = await manifests.read(signal);
  const named = new Set(packs.map(({ checksum }) => checksum));
  const collect = async (folder: string, isNamed: (key: string) => boolean) => {
    for await (const { key, bytes } of store.list(`${prefix}/git/${folder}/`, signal)) {
      if (isNamed(key)) continue;
      const tally = (await store.deleteOlder(key, beforeMs, signal)) ? removed : waiting;
      tally.files++;
      tally.bytes += bytes;
    }
  };
  await collect("objects/pack", (key) => named.has(PACK_FILE.exec(key)?.[1] ?? key) || !PACK_FILE.test(key));
  await collect("snapshots", (key) => key === snapshot?.key);
  return { removed, waiting };
}
