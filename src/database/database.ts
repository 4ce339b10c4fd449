/**
 * The database of one server, or of a fleet: users, tokens, who may what, names of repositories.
 * SQLite in a file, or PostgreSQL; the same schema and the same queries.
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { Engine, Work } from "./engine.js";
import { historyOf, migrate } from "./migrate.js";
import { checkServer, openPostgres, type PostgresPlace } from "./postgres.js";
import { placeOf } from "./postgres-url.js";
import { openSqlite, openSqliteToRead, sqliteFault } from "./sqlite.js";

/** A file's path, or PostgreSQL. */
export type DatabasePlace = string | PostgresPlace;

export class Database {
  readonly #engine: Engine;

  private constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Other processes may write it while it is open: nothing of it is to be remembered. */
  get isShared(): boolean {
    return this.#engine.isShared;
  }

  /**
   * Opens it, a file is made where it is not there, and brings its schema up to date. Throws
   * "database/…" with the place in its facts, never with a password.
   */
  static async open(place: DatabasePlace): Promise<Database> {
    try {
      if (typeof place === "string") {
        const engine = await openSqlite(place);
        await closingOnFailure(engine, () => migrate(engine.db));
        return new Database(engine);
      }
      await migratePostgres(place);
      return new Database(await openPostgres(place));
    } catch (error) {
      throw failedAt(place, error);
    }
  }

  /**
   * As it is, beside whoever owns it: nothing is written. Undefined: there is none, or nothing in
   * it. Throws as `open`.
   */
  static async openToRead(place: DatabasePlace): Promise<Database | undefined> {
    try {
      if (typeof place === "string") {
        const engine = openSqliteToRead(place);
        return engine && new Database(engine);
      }
      const engine = await openPostgres({ ...place, connections: 1 }, { isReading: true });
      const done = await closingOnFailure(engine, () => historyOf(engine.db));
      if (done !== undefined) return new Database(engine);
      await engine.db.destroy();
      return undefined;
    } catch (error) {
      throw failedAt(place, error);
    }
  }

  /** Asks which database it is: "SQLite 3.45.1". Throws as `query`. */
  version(): Promise<string> {
    return this.#asFaults(() => this.#engine.version());
  }

  /** Queries; what they throw that is no Fault becomes "database/…". */
  query<T>(work: Work<T>): Promise<T> {
    return this.#asFaults(() => work(this.#engine.db));
  }

  /**
   * The same, all or nothing. The work may run more than once, and does nothing but query. Throws
   * "database/unknown-outcome" where it cannot be found out whether it was kept.
   */
  transaction<T>(work: Work<T>): Promise<T> {
    return this.#asFaults(() => this.#engine.transaction(work));
  }

  async close(): Promise<void> {
    await this.#engine.db.destroy();
  }

  async #asFaults<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#engine.faultOf(error);
    }
  }
}

/** On connections of its own, whose statements may take as long as a change of the schema does. */
async function migratePostgres(place: PostgresPlace): Promise<void> {
  const engine = await openPostgres(
    { ...place, connections: MIGRATING_CONNECTIONS },
    { statementMs: LIMITS.databaseMigrateMs },
  );
  try {
    await checkServer(engine);
    await migrate(engine.db);
  } catch (error) {
    throw engine.faultOf(error);
  } finally {
    await engine.db.destroy();
  }
}

/** One has the lock and the transaction; what is looked up beside them has another. */
const MIGRATING_CONNECTIONS = 2;

async function closingOnFailure<T>({ db, faultOf }: Engine, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await db.destroy();
    throw faultOf(error);
  }
}

function failedAt(place: DatabasePlace, error: unknown): Fault {
  const fault = sqliteFault(error);
  return new Fault(fault.code, { ...factsOf(place), ...fault.facts }, fault.cause ?? fault);
}

function factsOf(place: DatabasePlace): { path: string } | { database: string } {
  if (typeof place === "string") return { path: place };
  return { database: placeOf(place.url) };
}

/** Returns whether a write failed because a row of that key is there already. */
export function isDuplicate(error: unknown): boolean {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  const duplicate = /^(SQLITE_CONSTRAINT(_UNIQUE|_PRIMARYKEY)?|23505)$/;
  if (error instanceof Fault) return isDuplicate(error.cause);
  return typeof code === "string" && duplicate.test(code);
}
