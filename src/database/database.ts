/**
 * The database of one server: users, tokens, who may what. SQLite in a file of its own, opened by
 * the one process that owns the data folder. Its calls are synchronous under their promises: a
 * query costs some 0.1 ms, a durable write some milliseconds, and writes are commands of people or
 * at most one a minute and token, so neither gets a thread.
 */
import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import type { Kysely as KyselyOf } from "kysely";
import Libsql from "libsql";
import { Fault } from "../base/fault.js";
import { Kysely, Migrator, SqliteDialect } from "./kysely.js";
import { MIGRATIONS } from "./migrations.js";
import type { Schema } from "./schema.js";

export class Database {
  readonly #db: KyselyOf<Schema>;

  private constructor(db: KyselyOf<Schema>) {
    this.#db = db;
  }

  /**
   * Opens the file, makes it where it is not there, for its owner only, and brings its schema up to
   * date. Throws "database/failed".
   */
  static async open(path: string): Promise<Database> {
    try {
      await (await open(path, "a", 0o600)).close(); // SQLite gives its other files the same rights
      const file = new Libsql(path);
      file.exec(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000",
      );
      const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: file }) });
      await migrate(db);
      return new Database(db);
    } catch (error) {
      throw failed(error, { path });
    }
  }

  /**
   * As it is, beside whoever owns it: nothing is written. Undefined: there is none. Throws
   * "database/failed".
   */
  static openToRead(path: string): Database | undefined {
    if (!existsSync(path)) return undefined;
    try {
      const file = new Libsql(path);
      file.exec("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000");
      return new Database(new Kysely<Schema>({ dialect: new SqliteDialect({ database: file }) }));
    } catch (error) {
      throw failed(error, { path });
    }
  }

  /** Queries; what they throw that is no Fault becomes "database/failed". */
  async query<T>(work: (db: KyselyOf<Schema>) => Promise<T>): Promise<T> {
    try {
      return await work(this.#db);
    } catch (error) {
      throw failed(error);
    }
  }

  /** The same, all or nothing. */
  transaction<T>(work: (db: KyselyOf<Schema>) => Promise<T>): Promise<T> {
    return this.query((db) => db.transaction().execute(work));
  }

  async close(): Promise<void> {
    await this.#db.destroy();
  }
}

async function migrate(db: KyselyOf<Schema>): Promise<void> {
  const { error } = await new Migrator({
    db,
    provider: { getMigrations: async () => ({ ...MIGRATIONS }) },
  }).migrateToLatest();
  if (error === undefined) return;
  await db.destroy();
  throw error;
}

function failed(error: unknown, facts: { readonly path?: string } = {}): Fault {
  return error instanceof Fault
    ? error
    : new Fault(
        "database/failed",
        { ...facts, reason: error instanceof Error ? error.message : String(error) },
        error,
      );
}

/** Returns whether a write failed because a row of that key is there already. */
export function isDuplicate(error: unknown): boolean {
  if (error instanceof Fault) return isDuplicate(error.cause);
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  return typeof code === "string" && /^SQLITE_CONSTRAINT(_UNIQUE|_PRIMARYKEY)?$/.test(code);
}
