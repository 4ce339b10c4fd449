/**
 * Claims a place in a store for one installation: the servers of one database. A second one, with a
 * database of its own, would take names and remove files of the first.
 */
import { strictText, utf8 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import type { Store } from "./store.js";

const CLAIM_KEY = "installation";
const CLAIM_HEAD = "lakepack installation 1\n";
const CLAIM_BYTES_MAX = 1_024;

/**
 * `installation`: the same for all servers of one database, and no other's; it is no secret. Throws
 * "store/claimed" where another one has the place.
 */
export async function claimStore(
  store: Store,
  installation: string,
  signal?: AbortSignal,
): Promise<void> {
  const ours = `${CLAIM_HEAD}${installation}\n`;
  const holder = await claimed(store, signal);
  if (holder === ours) return;
  if (holder === undefined) {
    const isTaken = await store.putIfAbsent(CLAIM_KEY, utf8(ours), signal).then(
      () => false,
      (error: unknown) => {
        if (error instanceof Fault && error.code === "store/exists") return true;
        throw error;
      },
    );
    // Of several that start at once one was first: it may be one of ours.
    if (!isTaken || (await claimed(store, signal)) === ours) return;
  }
  throw new Fault("store/claimed");
}

async function claimed(store: Store, signal: AbortSignal | undefined): Promise<string | undefined> {
  const stored = await store.get(CLAIM_KEY, CLAIM_BYTES_MAX, signal);
  return stored && (strictText(stored.bytes) ?? "");
}
