/**
 * SQLite in a file of its own, written by the one process that owns the data folder. Its calls are
 * synchronous under their promises: a query costs some 0.1 ms, a durable write some milliseconds,
 * and writes are commands of people or at most one a minute and token, so neither gets a thread.
 */
import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import type { Kysely as KyselyOf } from "kysely";
import Libsql from "libsql";
import { Fault } from "../base/fault.js";
import type { Engine } from "./engine.js";
import { Kysely, sql, SqliteDialect } from "./kysely.js";
import type { Schema } from "./schema.js";

/** Opens the file, makes it where it is not there, for its owner only. */
export async function openSqlite(path: string): Promise<Engine> {
  await (await open(path, "a", 0o600)).close(); // SQLite gives its other files the same rights
  return opened(
    path,
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000",
  );
}

/** As it is, beside whoever owns it: nothing is written. Undefined: there is none. */
export function openSqliteToRead(path: string): Engine | undefined {
  if (!existsSync(path)) return undefined;
  return opened(path, "PRAGMA query_only = ON; PRAGMA busy_timeout = 5000");
}

function opened(path: string, pragmas: string): Engine {
  const file = new Libsql(path);
  file.exec(pragmas);
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: file }) });
  return {
    db,
    isShared: false,
    transaction: (work) => db.transaction().execute(work),
    version: () => version(db),
    faultOf: sqliteFault,
  };
}

async function version(db: KyselyOf<Schema>): Promise<string> {
  const { rows } = await sql<{ version: string }>`select sqlite_version() as version`.execute(db);
  return `SQLite ${rows[0]?.version ?? "of an unknown version"}`;
}

export function sqliteFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new Fault("database/failed", { reason }, error);
}
