/**
 * Transactions of PostgreSQL, which end in one of three ways: kept, not kept, or the connection
 * died while COMMIT was under way. The last is made one of the first two: the transaction's id was
 * read inside it, and another connection asks what became of it.
 *
 * Not kept because of others beside it (a deadlock, a serialization failure) or of a connection
 * that died: it runs again, some times.
 */
import type { Kysely } from "kysely";
import { Fault } from "../base/fault.js";
import { sleep } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Work } from "./engine.js";
import { sql } from "./kysely.js";
import { isLost, isRaced } from "./postgres-faults.js";
import type { Schema } from "./schema.js";

/** A transaction that nothing was kept of and that may run again. */
class NotKept extends Error {}

/** An id means nothing once the server was started again: ids not kept on disk are given anew. */
interface TransactionId {
  readonly id: string;
  /** When the server was started. */
  readonly started: string;
}

/** Throws "database/unknown-outcome". */
export async function transact<T>(db: Kysely<Schema>, work: Work<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await transactOnce(db, work);
    } catch (error) {
      if (!(error instanceof NotKept)) throw error;
      if (attempt >= LIMITS.databaseAttemptsMax) throw error.cause;
      await sleep(Math.random() * LIMITS.databaseRetryMs * attempt);
    }
  }
}

/**
 * Kysely's own transaction hides the failure of a COMMIT behind that of the ROLLBACK which it runs
 * next.
 */
async function transactOnce<T>(db: Kysely<Schema>, work: Work<T>): Promise<T> {
  const progress: Progress<T> = {};
  try {
    return await db.connection().execute((own) => beginToEnd(own, work, progress));
  } catch (error) {
    if (isRaced(error)) throw new NotKept("raced", { cause: error });
    const { begun, done } = progress;
    if (begun === undefined || !isLost(error)) throw error;
    if (done !== undefined && (await wasKept(db, begun, error))) return done.result;
    throw new NotKept("lost", { cause: error });
  }
}

/** How far a transaction came. */
interface Progress<T> {
  begun?: TransactionId;
  /** COMMIT is all that is left. */
  done?: { readonly result: T };
}

async function beginToEnd<T>(
  own: Kysely<Schema>,
  work: Work<T>,
  progress: Progress<T>,
): Promise<T> {
  await sql`begin`.execute(own);
  try {
    progress.begun = await readId(own);
    const result = await work(own);
    progress.done = { result };
    await sql`commit`.execute(own);
    return result;
  } catch (error) {
    await sql`rollback`.execute(own).catch(() => undefined); // gone with its connection
    throw error;
  }
}

async function readId(db: Kysely<Schema>): Promise<TransactionId> {
  const { rows } = await sql<TransactionId>`
    select pg_current_xact_id()::text as id, pg_postmaster_start_time()::text as started`.execute(
    db,
  );
  return rows[0] as TransactionId;
}

/** Asks until there is an answer, or it has taken too long. Throws "database/unknown-outcome". */
async function wasKept(db: Kysely<Schema>, of: TransactionId, cause: unknown): Promise<boolean> {
  const giveUpAt = Date.now() + LIMITS.databaseOutcomeMs;
  while (Date.now() < giveUpAt) {
    const status = await statusOf(db, of).catch((error: unknown) => {
      if (isLost(error)) return "away";
      throw unknownOutcome(error);
    });
    if (status === "committed") return true;
    if (status === "aborted") return false;
    if (status === undefined) break;
    await sleep(LIMITS.databaseOutcomeLookMs); // the server has not noticed yet, or is away
  }
  throw unknownOutcome(cause);
}

/** "committed", "aborted", "in progress"; undefined: it can be told no more. */
async function statusOf(
  db: Kysely<Schema>,
  { id, started }: TransactionId,
): Promise<string | undefined> {
  const { rows } = await sql<{ status: string | null }>`
    select case when pg_postmaster_start_time()::text = ${started}
      then pg_xact_status(${id}::xid8) end as status`.execute(db);
  return rows[0]?.status ?? undefined;
}

function unknownOutcome(cause: unknown): Fault {
  return new Fault("database/unknown-outcome", {}, cause);
}
