/**
 * Removes a repository's files that its manifest does not name: packs that were folded into
 * another, with their lists of promised blobs, what failed pushes have published, ref snapshots of
 * earlier states, what writes that died have left. Only after a grace period, counted from when
 * they were written or were last named: who began to read by an older manifest still finds them,
 * and a push that has published its pack has not named it yet.
 */
import type { Amount, Store } from "../../store/store.js";
import { PROMISED_FOLDER } from "./manifest.js";
import type { ManifestStore } from "./store.js";

export interface CollectOptions {
  readonly store: Store;
  readonly manifests: ManifestStore;
  /** The repository's prefix in the store ("repos/<id>"). */
  readonly prefix: string;
  readonly graceMs: number;
}

export interface Collected {
  readonly removed: Amount;
  /** Named by nothing, and younger than the grace period. */
  readonly waiting: Amount;
}

const PACK_FILE = /\/pack-([0-9a-f]{40})\.(?:pack|idx|rev)$/;
const PROMISED_FILE = /\/([0-9a-f]{40})(?:\.ids)?$/;

export async function collectFiles(
  { store, manifests, prefix, graceMs }: CollectOptions,
  signal: AbortSignal,
): Promise<Collected> {
  const beforeMs = Date.now() - graceMs;
  const removed = { ...(await store.sweep(`${prefix}/git/`, beforeMs, signal)) };
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
  const isNamedBy = (pattern: RegExp) => (key: string) => {
    const checksum = pattern.exec(key)?.[1];
    return checksum === undefined || named.has(checksum);
  };
  await collect("objects/pack", isNamedBy(PACK_FILE));
  await collect(PROMISED_FOLDER, isNamedBy(PROMISED_FILE));
  await collect("snapshots", (key) => key === snapshot?.key);
  return { removed, waiting };
}
