/**
 * Proves at start that a store's conditional writes are conditional. On one where they are not, two
 * pushes could both win.
 */
import { randomBytes } from "node:crypto";
import { utf8 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import type { Store } from "./store.js";

/** Throws "store/failed" where a write that must be refused is not. Leaves nothing behind. */
export async function probeStore(store: Store, signal?: AbortSignal): Promise<void> {
  const key = `probe/${randomBytes(8).toString("hex")}`;
  try {
    const first = await store.putIfAbsent(key, utf8("1"), signal);
    await mustRefuse(store.putIfAbsent(key, utf8("2"), signal), "store/exists", "put-if-absent");
    await store.putIfMatch(key, utf8("3"), first, signal);
    await mustRefuse(
      store.putIfMatch(key, utf8("4"), first, signal),
      "store/conflict",
      "put-if-match",
    );
  } finally {
    await store.delete(key);
  }
}

async function mustRefuse(write: Promise<unknown>, code: string, what: string): Promise<void> {
  const outcome = await write.then(
    () => "done",
    (error: unknown) => (error instanceof Fault ? error.code : "failed"),
  );
  if (outcome !== code)
    throw new Fault("store/failed", { reason: `${what} is not honoured by this store`, outcome });
}
