/** Copies of an SQLite database, made beside whoever owns it. */
import Libsql from "libsql";
import { Fault } from "../base/fault.js";
import { sqliteFault } from "./sqlite.js";

/**
 * Writes one consistent state of the database `from` into the new file `to`, which is not synced.
 * It reads in one transaction, so that writers go on meanwhile. Throws "store/full",
 * "database/failed".
 */
export function copyDatabase(from: string, to: string): void {
  changing(from, (file) => {
    file.prepare("VACUUM INTO ?").run(to);
  });
}

/** Makes repositories of a copy, by id, ones that nothing was pushed to yet. */
export function markUnpushed(copy: string, ids: readonly string[]): void {
  if (ids.length === 0) return;
  changing(copy, (file) => {
    const change = file.prepare("UPDATE repositories SET state = 'making' WHERE id = ?");
    file.transaction(() => {
      for (const id of ids) change.run(id);
    })();
  });
}

function changing(path: string, work: (file: Libsql.Database) => void): void {
  const file = new Libsql(path);
  try {
    file.exec("PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL");
    work(file);
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    throw code === "SQLITE_FULL" ? new Fault("store/full", {}, error) : sqliteFault(error);
  } finally {
    file.close();
  }
}
