/**
 * One process owns a data folder. The owner holds an exclusive SQL transaction on `<data>/lock`:
 * the kernel frees its file lock when the process dies, so there is no pid file to go stale.
 */
import { join } from "node:path";
import Database from "libsql";
import { Fault } from "../base/fault.js";

export interface DataLock {
  release(): void;
}

/** Throws "store/locked" while another process serves the folder. The folder must exist. */
export function lockDataFolder(data: string): DataLock {
  const database = new Database(join(data, "lock"));
  try {
    // Of several that start at once each may find another half way to the lock: who waits a little
    // lets one of them have it.
    database.exec("PRAGMA busy_timeout = 200; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    throw new Fault("store/locked", { data, reason: (error as Error).message }, error);
  }
  return { release: () => database.close() };
}
