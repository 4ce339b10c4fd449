/** What SQLite and PostgreSQL do each in its own way; all queries are the same. */
import type { Kysely } from "kysely";
import type { Fault } from "../base/fault.js";
import type { Schema } from "./schema.js";

/** Queries of one unit of work. */
export type Work<T> = (db: Kysely<Schema>) => Promise<T>;

export interface Engine {
  readonly db: Kysely<Schema>;
  /** Other processes may write it while this one has it open: nothing of it is to be remembered. */
  readonly isShared: boolean;
  /**
   * Runs work all or nothing. It may run more than once, and then sees what the database holds by
   * then: it does nothing but query.
   */
  transaction<T>(work: Work<T>): Promise<T>;
  /** Asks which version it is: "SQLite 3.45.1". */
  version(): Promise<string>;
  /** Returns the failure that an exception of a query stands for. */
  faultOf(error: unknown): Fault;
}
