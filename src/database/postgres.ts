/**
 * PostgreSQL: a pool of connections that many processes have beside one another. The client is
 * loaded when it is used.
 *
 * Each wait has an end: for a free connection and for a new one (`databaseConnectMs`), for a
 * statement (the server's, `databaseStatementMs`), and where the server is gone without a word
 * (ours, `databaseLateMs` more), which also ends the connection: nobody gets it again.
 * A transaction that a sleeping process holds is ended by the server.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { checkServerIdentity, type ConnectionOptions } from "node:tls";
import type { PostgresPool, PostgresPoolClient } from "kysely";
import type { Pool, PoolClient, PoolConfig } from "pg";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { Engine } from "./engine.js";
import { Kysely, PostgresDialect, sql } from "./kysely.js";
import { isLost, postgresFault } from "./postgres-faults.js";
import { transact } from "./postgres-transaction.js";
import { type PostgresAddress, readPostgresUrl } from "./postgres-url.js";
import type { Schema } from "./schema.js";

export interface PostgresPlace {
  readonly url: string;
  /** A PEM file of who signs the server's certificate; "": who the system trusts. */
  readonly caFile: string;
  /** Connections at most. */
  readonly connections: number;
  /** Hears that a connection was lost; the next query makes another one. */
  readonly onLost?: (fault: Fault) => void;
}

/** What a pool is for. */
export interface PoolUse {
  /** Nothing can be written. */
  readonly isReading?: boolean;
  /** Milliseconds of one statement. */
  readonly statementMs?: number;
}

const OLDEST_VERSION = 130_000; // pg_current_xact_id, pg_xact_status
const BIGINT = 20;

/** Throws "settings/bad-value"; whether anybody is there the first query shows. */
export async function openPostgres(place: PostgresPlace, use: PoolUse = {}): Promise<Engine> {
  const { statementMs = LIMITS.databaseStatementMs } = use;
  const config = await poolConfig(place, { ...use, statementMs });
  const pool = createPool(config, {
    answerMs: statementMs + LIMITS.databaseLateMs,
    onLost: place.onLost ?? (() => undefined),
  });
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  return {
    db,
    isShared: true,
    transaction: (work) => transact(db, work),
    version: async () => (await serverVersion(db)).text,
    faultOf: postgresFault,
  };
}

/** Throws "database/failed" where the server is too old for us. */
export async function checkServer({ db }: Engine): Promise<void> {
  const { number, text } = await serverVersion(db);
  if (number < OLDEST_VERSION)
    throw new Fault("database/failed", { reason: `${text} is too old: 13 is needed` });
}

async function serverVersion(db: Engine["db"]): Promise<{ number: number; text: string }> {
  const { rows } = await sql<{ number: string; version: string }>`
    select current_setting('server_version_num') as number,
      current_setting('server_version') as version`.execute(db);
  const [row] = rows;
  return { number: Number(row?.number), text: `PostgreSQL ${row?.version.split(" ")[0]}` };
}

async function poolConfig(
  { url, caFile, connections }: PostgresPlace,
  { isReading = false, statementMs }: PoolUse & { readonly statementMs: number },
): Promise<PoolConfig> {
  const address = readPostgresUrl(url);
  if (address === undefined)
    throw new Fault("settings/bad-value", { name: "database", reason: "no address" });
  const { host, port, user, password, name } = address;
  return {
    host,
    port,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(name === undefined ? {} : { database: name }),
    ssl: await tlsOptions(address, caFile),
    application_name: "lakepack",
    max: connections,
    connectionTimeoutMillis: LIMITS.databaseConnectMs,
    idleTimeoutMillis: LIMITS.databaseIdleMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: LIMITS.databaseKeepAliveMs,
    statement_timeout: statementMs,
    idle_in_transaction_session_timeout: statementMs,
    ...(isReading ? { options: "-c default_transaction_read_only=on" } : {}),
  };
}

/**
 * "require" keeps out who only listens; with a file of signers, also who was signed by another.
 * The server's name is compared here: the client takes "localhost" for one that is an address.
 */
async function tlsOptions(
  { host, sslMode }: PostgresAddress,
  caFile: string,
): Promise<ConnectionOptions | false> {
  if (sslMode === "disable") return false;
  const ca = caFile === "" ? {} : { ca: await readCa(caFile) };
  const isFull = sslMode === "verify-full";
  return {
    ...ca,
    rejectUnauthorized: isFull || caFile !== "",
    checkServerIdentity: (_, certificate) =>
      isFull ? checkServerIdentity(host, certificate) : undefined,
  };
}

async function readCa(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const { message: reason } = error as Error;
    throw new Fault("settings/bad-value", { name: "database_ca", value: file, reason }, error);
  }
}

interface PoolEnds {
  /** Milliseconds until a server that does not answer is given up. */
  readonly answerMs: number;
  readonly onLost: (fault: Fault) => void;
}

function createPool(config: PoolConfig, { answerMs, onLost }: PoolEnds): PostgresPool {
  const { Pool, types } = createRequire(import.meta.url)("pg") as typeof import("pg");
  const typed = {
    getTypeParser: (oid: number, format?: "text" | "binary") =>
      oid === BIGINT ? safeInteger : types.getTypeParser(oid, format as "text"),
  };
  const pool = new Pool({ ...config, types: typed as typeof types });
  const lost = (error: Error) => onLost(postgresFault(error));
  // An error that nobody hears ends the process: of a connection that waits, and of one in use.
  pool.on("error", lost);
  pool.on("connect", (client) => client.on("error", lost));
  return { connect: () => connected(pool, answerMs), end: () => pool.end() };
}

/** Throws "database/busy" where too many wait for a connection. */
async function connected(pool: Pool, answerMs: number): Promise<PostgresPoolClient> {
  const { waitingCount: waiting } = pool;
  if (waiting >= LIMITS.databaseWaitingMax) throw new Fault("database/busy", { waiting });
  const client = await pool.connect();
  let isBroken = false; // told so by the server, it may still look alive when it is given back
  const query = async (text: string, values: readonly unknown[]) => {
    try {
      return await endingAfter(client, answerMs, () => client.query(text, [...values]));
    } catch (error) {
      isBroken ||= isLost(error);
      throw error;
    }
  };
  return {
    query: query as unknown as PostgresPoolClient["query"],
    release: () => client.release(isBroken),
  };
}

/** Ends a connection that does not answer, which fails the statement; the pool drops it then. */
async function endingAfter<T>(client: PoolClient, ms: number, work: () => Promise<T>): Promise<T> {
  const end = () => void client.end().catch(() => undefined); // the statement's failure is told
  const deadline = setTimeout(end, ms);
  try {
    return await work();
  } finally {
    clearTimeout(deadline);
  }
}

/** Counts come as bigint, which text would be made of. */
function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value))
    throw new Fault("database/failed", { reason: `${text} is beyond 2^53` });
  return value;
}
