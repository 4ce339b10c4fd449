/**
 * PostgreSQL for tests: one server a test process, on a free port of loopback, started when a test
 * first asks for a database, and a database of its own for each that asks.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";

interface ServersScript {
  postgresFolder(): string | undefined;
  postgresCommand(name: string, args: readonly string[]): readonly [string, ...string[]];
  preparePostgres(folder: string): void;
  postgresArguments(port: number, folder: string): readonly string[];
  postgresUrl(port: number, database?: string): string;
  isPostgresReady(port: number): boolean;
}
const script = (await import(
  fileURLToPath(new URL("../../../scripts/servers.mjs", import.meta.url))
)) as ServersScript;
const { Client } = createRequire(import.meta.url)("pg") as typeof import("pg");

/** False where it is installed; otherwise why tests of it are skipped. */
export const skipPostgres: false | string =
  script.postgresFolder() === undefined
    ? "PostgreSQL is not installed (Debian: apt install postgresql)"
    : false;

const START_MS = 20_000;

export class Postgres {
  readonly port: number;
  readonly folder: string;
  readonly #options: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(port: number, folder: string, options: readonly string[]) {
    this.port = port;
    this.folder = folder;
    this.#options = options;
  }

  /**
   * A new one. `options`: more arguments, given the folder, in which the server may read what
   * `prepare` has put there.
   */
  static async start(
    options: (folder: string) => readonly string[] = () => [],
    prepare: (folder: string) => void = () => undefined,
  ): Promise<Postgres> {
    const folder = await mkdtemp(join(tmpdir(), "lakepack-postgres-"));
    prepare(folder);
    script.preparePostgres(folder);
    const server = new Postgres(await freePort(), folder, options(folder));
    await server.resume();
    return server;
  }

  /** Starts it on its data and port. */
  async resume(): Promise<void> {
    const args = [...script.postgresArguments(this.port, this.folder), ...this.#options];
    const [program, ...rest] = script.postgresCommand("postgres", [...args, "-F"]);
    const child = spawn(program, rest, { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said = (said + String(chunk)).slice(-4_096);
    });
    const deadline = Date.now() + START_MS;
    while (!script.isPostgresReady(this.port)) {
      if (child.exitCode !== null || Date.now() > deadline)
        throw new Error(`PostgreSQL has not started: ${said}`);
      await sleep(20);
    }
  }

  /** Ends it and its connections, as an operator does: SIGINT; SIGQUIT: without a last word. */
  async stop(signal: "SIGINT" | "SIGQUIT" = "SIGINT"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  async remove(): Promise<void> {
    await this.stop("SIGQUIT");
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  /** URL of its superuser. */
  get url(): string {
    return script.postgresUrl(this.port);
  }

  /** URL of a database that nobody has used. `more`: how it is made, in SQL. */
  async database(more = ""): Promise<string> {
    const name = `test_${randomBytes(6).toString("hex")}`;
    await this.sql(`CREATE DATABASE ${name} ${more}`);
    return script.postgresUrl(this.port, name);
  }

  /** Rows of one statement, on a connection of its own. */
  async sql(text: string, url: string = this.url): Promise<unknown[]> {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query(text)).rows as unknown[];
    } finally {
      await client.end();
    }
  }
}

let shared: Promise<Postgres> | undefined;

/** The one of this process. */
export function postgres(): Promise<Postgres> {
  if (shared === undefined) {
    const starting = Postgres.start();
    shared = starting;
    t.teardown(async () => (await starting).remove());
  }
  return shared;
}

/** URL of a fresh database there. */
export async function postgresDatabase(): Promise<string> {
  return (await postgres()).database();
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
