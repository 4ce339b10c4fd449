/**
 * Removes a repository's files that its manifest does not name: packs that were folded into
 * another, with their lists of promised blobs, packs of pushes that failed, bundles that others
 * took the place of, ref snapshots of earlier states, leftovers of writes that died. Several nodes
 * may do it at once beside pushes, and any of them may sleep for hours between two of its steps. So
 * it is a protocol, whose steps are writes of the manifest:
 *
 *   unnamed   found in the store and named by nothing: a push that is about to name it still may
 *   dropped   named no more, or unnamed for a grace period: no manifest will name it again
 *   deleted   dropped for a grace period: who began to read by an older manifest is done
 *
 * A push that comes too late finds its pack dropped, or gone, and is refused (ManifestStore). No
 * name is used twice, so a DELETE that is late by hours hits nothing that anybody wants.
 */
import { LIMITS } from "../../base/limits.js";
import type { Amount, Store, StoreEntry } from "../../store/store.js";
import { BUNDLES_FOLDER } from "./bundle-line.js";
import { bundleStem, type Manifest, PROMISED_FOLDER, snapshotStem, stemsOf } from "./manifest.js";
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
  /** Named by nothing, and not yet as long as they must be. */
  readonly waiting: Amount;
}

/** Files of the store by the stem that they share. */
type Found = ReadonlyMap<string, readonly StoreEntry[]>;

const PACK_FILE = /\/objects\/pack\/(pack-[0-9a-f]{40})\.(?:pack|idx|rev)$/;
const PROMISED_FILE = new RegExp(`/git/${PROMISED_FOLDER}/([0-9a-f]{40})(?:\\.ids)?$`);
const SNAPSHOT_FILE = /\/git\/snapshots\/[^/]+$/;
const BUNDLE_FILE = new RegExp(`/git/${BUNDLES_FOLDER}/([0-9a-f]{40})\\.bundle$`);

export async function collectFiles(
  { store, manifests, prefix, graceMs }: CollectOptions,
  signal: AbortSignal,
): Promise<Collected> {
  const begunMs = Date.now();
  const removed = { ...(await store.sweep(`${prefix}/git/`, begunMs - graceMs, signal)) };
  const found = await filesBelow(store, `${prefix}/git`, signal);
  const isOver = (since: string | undefined) =>
    since !== undefined && Date.parse(since) <= Date.now() - graceMs;
  const manifest = await manifests.update((before) => mark(before, found, isOver), signal);
  const waiting = { files: 0, bytes: 0 };
  const named = stemsOf(manifest);
  const deleted = new Set<string>();
  for (const [stem, entries] of found) {
    if (named.has(stem)) continue;
    const isDue = isOver(manifest.dropped[stem]);
    if (isDue) for (const { key } of entries) await store.delete(key, signal);
    if (isDue) deleted.add(stem);
    add(isDue ? removed : waiting, entries);
  }
  // A stem without files was deleted by a round that ended before this line. Who has just published
  // a pack does not look whether it is there: its name is remembered until nobody trusts in that.
  const untilMs = Math.min(begunMs, Date.now() - LIMITS.droppedKnownMs);
  const gone = Object.entries(manifest.dropped)
    .filter(([stem]) => deleted.has(stem) || !found.has(stem))
    .filter(([, since]) => isOver(since) && Date.parse(since) < untilMs)
    .map(([stem]) => stem);
  await manifests.update((before) => forget(before, gone), signal);
  return { removed, waiting };
}

/** Takes every file that nothing names one step further, where it has waited long enough. */
function mark(
  before: Manifest,
  found: Found,
  isOver: (since: string | undefined) => boolean,
): Manifest | undefined {
  const named = stemsOf(before);
  const now = new Date().toISOString();
  const unnamed: Record<string, string> = {};
  const dropped: Record<string, string> = { ...before.dropped };
  for (const stem of found.keys()) {
    if (named.has(stem) || dropped[stem] !== undefined) continue;
    const since = before.unnamed[stem] ?? now;
    if (isOver(since)) dropped[stem] = now;
    else unnamed[stem] = since;
  }
  const isSame =
    sameKeys(unnamed, before.unnamed) &&
    Object.keys(dropped).length === Object.keys(before.dropped).length;
  return isSame ? undefined : { ...before, unnamed, dropped };
}

function forget(before: Manifest, stems: readonly string[]): Manifest | undefined {
  const gone = stems.filter((stem) => before.dropped[stem] !== undefined);
  if (gone.length === 0) return undefined;
  const dropped = { ...before.dropped };
  for (const stem of gone) delete dropped[stem];
  return { ...before, dropped };
}

async function filesBelow(store: Store, prefix: string, signal: AbortSignal): Promise<Found> {
  const found = new Map<string, StoreEntry[]>();
  for (const folder of ["objects/pack", PROMISED_FOLDER, BUNDLES_FOLDER, "snapshots"]) {
    for await (const entry of store.list(`${prefix}/${folder}/`, signal)) {
      const stem = stemOfKey(entry.key);
      if (stem !== undefined) found.set(stem, [...(found.get(stem) ?? []), entry]);
    }
  }
  return found;
}

/** Returns the stem of a repository's file, of its key; undefined: manifests name none such. */
export function stemOfKey(key: string): string | undefined {
  if (SNAPSHOT_FILE.test(key)) return snapshotStem(key);
  const bundle = BUNDLE_FILE.exec(key)?.[1];
  if (bundle !== undefined) return bundleStem({ name: bundle });
  const promised = PROMISED_FILE.exec(key)?.[1];
  return promised === undefined ? PACK_FILE.exec(key)?.[1] : `pack-${promised}`;
}

function add(amount: { files: number; bytes: number }, entries: readonly StoreEntry[]): void {
  for (const { bytes } of entries) {
    amount.files++;
    amount.bytes += bytes;
  }
}

function sameKeys(
  left: Readonly<Record<string, string>>,
  right: Readonly<Record<string, string>>,
): boolean {
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => right[key] !== undefined);
}
