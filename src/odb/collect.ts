/**
 * Removes a repository's files that its manifest does not name: packs that were folded into another, what failed pushes have published, ref snapshots of earlier
 * states, what writes that died have left. Only after a grace period, counted from when they were written or were last named: who began to read by an older manifest still finds them, and a
 * push that has published its pack has not named it yet.
 */
import type { Amount, Store } from "../store/store.js";
import type { ManifestStore } from "./manifest-store.js";

export interface CollectOptions {
  readonly store: Store;
  readonly manifests: ManifestStore;
  /** The repository's prefix in the store ("repos/<id>"). */
  readonly prefix: string;
  readonly graceMs: number;
  /** Its packs and ref snapshots all stay: over lakeFS, where records of commits name packs. */
  readonly keepsAll: boolean;
}

export interface Collected {
  readonly removed: Amount;
  /** Named by nothing, and younger than the grace period. */
  readonly waiting: Amount;
}

const PACK_FILE = /\/pack-([0-9a-f]{40})\.(?:pack|idx|rev)$/;

export async function collectFiles({ store, manifests, prefix, graceMs, keepsAll }: CollectOptions, signal: AbortSignal): Promise<Collected> {
  const beforeMs = Date.now() - graceMs;
  const removed = { ...(await store.sweep(`${prefix}/git/`, beforeMs, signal)) };
  const waiting = { files: 0, bytes: 0 };
  if (keepsAll) return { removed, waiting };
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
