/** PostgreSQL where it is unlike SQLite: several nodes, connections that die, who may in. */
import { spawnSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { Accounts } from "../../src/auth/accounts.js";
import type { Fault } from "../../src/base/fault.js";
import { Database } from "../../src/database/database.js";
import { sql } from "../../src/database/kysely.js";
import { MIGRATIONS } from "../../src/database/migrations.js";
import * as queries from "../../src/database/repositories.js";
import { keepSecret } from "../../src/database/secrets.js";
import { findUser, insertUser, listUsers } from "../../src/database/users.js";
import { RepositoryTable } from "../../src/serve/repositories/table.js";
import { onBoth, placeAt } from "../support/databases.js";
import { Postgres, postgres, postgresDatabase, skipPostgres } from "../support/postgres.js";
import { PostgresProxy } from "../support/postgres-proxy.js";
import { seeded } from "../support/random.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(180_000);
const onPostgres = { skip: skipPostgres };

const WRITERS = 8;
const WRITES = 20;

async function open(t: Test, url: string, onLost?: (fault: Fault) => void): Promise<Database> {
  const database = await Database.open(placeAt(url, onLost === undefined ? {} : { onLost }));
  t.teardown(() => database.close());
  return database;
}

const ada = (name = "ada") => ({
  id: `u-${name}`,
  name,
  name_key: name,
  is_admin: 0,
  created_at: "",
  disabled_at: null,
});

// Races -------------------------------------------------------------------------------------------
onBoth("read, change and write of many at once lose nothing", async (t, open) => {
  const database = await open();
  const table = new RepositoryTable(database);
  const row = table.newRow({ title: "ada/x", namespace: "ada" });
  await table.insert(row);
  const write = async () => {
    for (let at = 0; at < WRITES; at++)
      await table.changeSettings(row.id, (before) => String(Number(before ?? "0") + 1));
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
  t.equal((await table.read(row.id))?.settings, String(WRITERS * WRITES));
});

t.test("the same from two nodes, which agree on one secret too", onPostgres, async (t) => {
  const url = await postgresDatabase();
  const nodes = await Promise.all([open(t, url), open(t, url)]);
  const [first] = nodes;
  const row = new RepositoryTable(first).newRow({ title: "ada/x", namespace: "ada" });
  await queries.insertWithin(first, row, 0);
  const add = (before: string | null) => String(Number(before ?? "0") + 1);
  const write = async (_: unknown, writer: number) => {
    for (let at = 0; at < WRITES; at++)
      await queries.changeSettings(nodes[writer % 2] as Database, row.id, add);
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
  const { settings } = (await queries.findRepositoryById(first, row.id)) ?? {};
  t.equal(settings, String(WRITERS * WRITES));
  const kept = await Promise.all(
    Array.from({ length: WRITERS }, (_, at) =>
      keepSecret(nodes[at % 2] as Database, "key", `${at}`),
    ),
  );
  t.equal(new Set(kept).size, 1, "one of the proposals");
});

t.test("a deadlock is run again, and both transactions are kept", onPostgres, async (t) => {
  const database = await open(t, await postgresDatabase());
  for (const name of ["ada", "bob"]) await insertUser(database, ada(name));
  let [runs, held] = [0, 0];
  let met: () => void = () => undefined;
  const meeting = new Promise<void>((resolve) => {
    met = resolve;
  });
  const both = (names: readonly string[]) =>
    database.transaction(async (db) => {
      runs++;
      for (const name of names) {
        await db
          .updateTable("users")
          .set((set) => ({ is_admin: set("is_admin", "+", 1) }))
          .where("name", "=", name)
          .execute();
        if (++held === 2) met(); // each has its first row now, and wants the other's
        await meeting;
      }
    });
  await Promise.all([both(["ada", "bob"]), both(["bob", "ada"])]);
  t.ok(runs > 2, `${runs} runs: one of them ran again`);
  for (const name of ["ada", "bob"]) t.match(await findUser(database, name), { is_admin: 2 });
});

// The schema --------------------------------------------------------------------------------------
t.test("of nodes that start at once one makes the schema", onPostgres, async (t) => {
  const url = await postgresDatabase();
  const nodes = await Promise.all(Array.from({ length: 4 }, () => open(t, url)));
  for (const [at, node] of nodes.entries()) await insertUser(node, ada(`user-${at}`));
  const steps = await (await postgres()).sql("select name from kysely_migration order by 1", url);
  t.same(
    steps,
    Object.keys(MIGRATIONS).map((name) => ({ name })),
  );
});

const tables = async (url: string) =>
  (await postgres()).sql(
    "select table_name, column_name from information_schema.columns where table_schema = 'public' order by 1, 2",
    url,
  );

t.test("what a newer lakepack has changed is refused by name, untouched", onPostgres, async (t) => {
  const url = await postgresDatabase();
  await (await open(t, url)).close();
  const server = await postgres();
  await server.sql("insert into kysely_migration values ('9999-later', '')", url);
  await server.sql("drop table grants", url);
  const before = await tables(url);
  const refused = { code: "database/newer", message: /9999-later/ };
  await t.rejects(Database.open(placeAt(url)), refused);
  await t.rejects(Database.openToRead(placeAt(url)), refused);
  t.same(await tables(url), before);
});

t.test("somebody else's tables are left alone", onPostgres, async (t) => {
  const url = await postgresDatabase();
  const server = await postgres();
  await server.sql("create table users (id serial primary key, email text)", url);
  const before = await tables(url);
  await t.rejects(Database.open(placeAt(url)), { code: "database/foreign", message: /users/ });
  t.same(await tables(url), before);
  await server.sql("create schema other; drop table users", url);
  await server.sql(
    "create table other.users (id int); create table other.repositories (name text)",
    url,
  );
  const database = await open(t, url);
  await insertUser(database, ada());
  const others = await server.sql("select count(*)::int as n from other.repositories", url);
  t.same(others, [{ n: 0 }], "another schema is another program's");
});

t.test("lists are in order bytewise, whatever the database's language", onPostgres, async (t) => {
  const english = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'";
  const url = await (await postgres()).database(english);
  const [first] = await (await postgres()).sql("select 'a_b' < 'a1' as is_english", url);
  t.same(first, { is_english: true });
  const database = await open(t, url);
  const names = ["a_b", "a1", "a-b", "ab", "aa"];
  for (const name of names) await insertUser(database, ada(name));
  const listed = [
    ...(await listUsers(database, "", 2)),
    ...(await listUsers(database, "a1", 10)),
  ].map(({ name }) => name);
  t.same(listed, names.toSorted());
  const table = new RepositoryTable(database);
  for (const [at, name] of names.entries())
    await table.insert(
      table.newRow({
        title: `ada/${name}`,
        namespace: "ada",
        state: "made",
        visibility: at % 2 === 0 ? "public" : "private",
      }),
    );
  const pages: string[] = [];
  for (let after = ""; pages.length < 10; after = pages.at(-1) ?? "") {
    const page = await table.list(after, 2, { userId: undefined, namespace: "ada" });
    if (page.length === 0) break;
    pages.push(...page.map(({ title }) => title));
  }
  t.same(
    pages,
    names.toSorted().map((name) => `ada/${name}`),
  );
});

t.test("opened to read nothing is made and nothing written", onPostgres, async (t) => {
  const url = await postgresDatabase();
  t.equal(await Database.openToRead(placeAt(url)), undefined);
  t.same(await tables(url), []);
  const owner = await open(t, url);
  await insertUser(owner, ada());
  const reader = (await Database.openToRead(placeAt(url))) as Database;
  t.teardown(() => reader.close());
  t.match(await findUser(reader, "ada"), { id: "u-ada" });
  t.match(await reader.version(), /^PostgreSQL \d+/);
  await t.rejects(insertUser(reader, ada("bob")), { code: "database/failed" });
  t.equal(await findUser(owner, "bob"), undefined);
});

t.test(
  "a first token that is not shown yet is another node's affair for a minute",
  onPostgres,
  async (t) => {
    const url = await postgresDatabase();
    const started = Date.now();
    const at = (database: Database, ms: number) => new Accounts(database, () => started + ms);
    const [one, two] = [await open(t, url), await open(t, url)];
    const first = await at(one, 0).bootstrap();
    t.match(first?.token, /^lpk_/);
    t.equal(await at(two, 59_000).bootstrap(), undefined, "it may be about to show it");
    const second = await at(two, 61_000).bootstrap();
    t.match(second?.token, /^lpk_/);
    await first?.shown();
    t.equal(await at(one, 0).signIn(first?.token ?? ""), undefined, "its place was taken");
    t.match(await at(one, 0).signIn(second?.token ?? ""), { name: "admin" });
    t.equal(await at(one, 200_000).bootstrap(), undefined, "it was used, so somebody has seen it");
  },
);

// Outages -----------------------------------------------------------------------------------------
t.test("an outage is told in words, and over when it is over", onPostgres, async (t) => {
  const server = await Postgres.start();
  t.teardown(() => server.remove());
  const lost: string[] = [];
  const database = await open(t, await server.database(), ({ code }) => lost.push(code));
  await insertUser(database, ada());
  await Promise.all([1, 2, 3].map(() => findUser(database, "ada"))); // connections that wait
  let stopped: Promise<void> | undefined;
  const inUse = database.transaction(async (db) => {
    stopped ??= server.stop();
    await stopped;
    return db.selectFrom("users").selectAll().execute();
  });
  const away = { code: "database/unreachable", message: /^the database does not answer/ };
  await t.rejects(inUse, away, "a connection in use died");
  await t.rejects(findUser(database, "ada"), away);
  await t.rejects(insertUser(database, ada("bob")), away);
  t.ok(lost.length >= 2 && lost.every((code) => code === "database/unreachable"), `${lost}`);
  await server.resume();
  t.match(await findUser(database, "ada"), { id: "u-ada" });
  t.equal(await findUser(database, "bob"), undefined);
  await server.stop("SIGQUIT");
  await t.rejects(findUser(database, "ada"), away, "without a last word");
  await server.resume();
  t.match(await findUser(database, "ada"), { id: "u-ada" });
});

t.test("a connection that somebody ends fails its query, not the next", onPostgres, async (t) => {
  const url = await postgresDatabase();
  const database = await open(t, url);
  const slow = database.query((db) => sql`select pg_sleep(30)`.execute(db));
  const told = t.rejects(slow, { code: "database/unreachable" });
  const server = await postgres();
  const end =
    "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep(30)%' and datname = current_database()";
  for (let looks = 0; looks < 100 && (await server.sql(end, url)).length === 0; looks++)
    await sleep(50);
  await told;
  t.equal(await findUser(database, "ada"), undefined);
});

t.test("a statement that takes too long fails alone", onPostgres, async (t) => {
  const database = await open(t, await postgresDatabase());
  const slow = database.transaction(async (db) => {
    await sql`set local statement_timeout = 50`.execute(db);
    await sql`select pg_sleep(5)`.execute(db);
  });
  await t.rejects(slow, { code: "database/timeout", message: /took too long/ });
  for (let at = 0; at < 8; at++) t.equal(await findUser(database, "ada"), undefined);
});

// COMMIT ------------------------------------------------------------------------------------------
t.test(
  "a connection that dies at COMMIT: what became of it is found out",
  onPostgres,
  async (t) => {
    const server = await Postgres.start();
    t.teardown(() => server.remove());
    const direct = await server.database();
    const proxy = await PostgresProxy.start(t, direct);
    const database = await open(t, proxy.url);
    let runs = 0;
    const insert = (name: string) =>
      database.transaction(async (db) => {
        runs++;
        await db.insertInto("users").values(ada(name)).execute();
      });
    const users = () => server.sql("select name from users order by 1", direct);

    proxy.breakAt("commit", "after");
    await insert("after");
    t.same([runs, await users()], [1, [{ name: "after" }]], "kept: it is done");

    runs = 0;
    proxy.breakAt("commit", "before");
    await insert("before");
    t.same(
      [runs, await users()],
      [2, [{ name: "after" }, { name: "before" }]],
      "not kept: run again",
    );

    runs = 0;
    proxy.breakAt("insert into", "before");
    await insert("mid");
    t.same([runs, (await users()).length], [2, 3], "before COMMIT nothing is kept");

    await server.sql(
      `create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(1); return null; end';
     create constraint trigger slow after insert on users deferrable initially deferred for each row execute function slow()`,
      direct,
    );
    runs = 0;
    proxy.breakAt("commit", "after");
    const cutting = setTimeout(() => proxy.cut(), 400);
    await insert("slow");
    clearTimeout(cutting);
    t.same([runs, (await users()).length], [1, 4], "still under way: waited for");
    await server.sql("drop trigger slow on users", direct);

    runs = 0;
    proxy.breakAt("begin", "before");
    await insert("dead");
    t.same([runs, (await users()).length], [1, 5], "a connection that was dead already");

    runs = 0;
    const restarted = new Promise<void>((resolve, reject) => {
      proxy.breakAt("commit", "before", () => {
        server
          .stop()
          .then(() => server.resume())
          .then(resolve, reject);
      });
    });
    const unknown = { code: "database/unknown-outcome", message: /look before you repeat it/ };
    await t.rejects(insert("lost"), unknown, "a server that was started again cannot tell");
    await restarted;
    t.equal(runs, 1, "it was not run again");
  },
);

t.test("connections cut at random: what was told is so", onPostgres, async (t) => {
  const direct = await postgresDatabase();
  const proxy = await PostgresProxy.start(t, direct);
  const database = await open(t, proxy.url);
  const seed = Number(process.env["TEST_SEED"] ?? Date.now() % 1_000_000);
  t.comment(`TEST_SEED=${seed}`);
  const random = seeded(seed);
  const told = new Map<string, string>();
  let isOver = false;
  const cutting = (async () => {
    while (!isOver) {
      await sleep(random.below(100));
      proxy.cut();
    }
  })();
  const write = async (_: unknown, writer: number) => {
    for (let at = 0; at < 100; at++) {
      const name = `${writer}-${at}`;
      const done = insertUser(database, ada(name));
      told.set(
        name,
        await done.then(
          () => "kept",
          ({ code }: Fault) => code,
        ),
      );
    }
  };
  await Promise.all(Array.from({ length: 4 }, write));
  isOver = true;
  await cutting;
  const rows = await (await postgres()).sql("select name from users", direct);
  const there = new Set(rows.map((row) => (row as { name: string }).name));
  const of = (...outcomes: readonly string[]) =>
    [...told].filter(([, outcome]) => outcomes.includes(outcome)).map(([name]) => name);
  const [kept, lost] = [of("kept"), of("database/unreachable")];
  t.comment(`of ${told.size} ${kept.length} kept, ${lost.length} not`);
  t.ok(kept.length > 20, "some get through");
  t.same(
    kept.filter((name) => !there.has(name)),
    [],
    "told kept, and not there",
  );
  t.same(
    lost.filter((name) => there.has(name)),
    [],
    "told that the database does not answer, and there",
  );
  t.equal(kept.length + lost.length + of("database/unknown-outcome").length, told.size);
});

// Who may in --------------------------------------------------------------------------------------
t.test("who is not let in reads why, and no password", onPostgres, async (t) => {
  const url = await postgresDatabase();
  const other = (change: (url: URL) => void) => {
    const changed = new URL(url);
    change(changed);
    return changed.href;
  };
  const refused = async (address: string, says: RegExp, code = "database/refused") => {
    const fault = await Database.open(placeAt(address)).then(
      () => undefined,
      (error: unknown) => error as Fault,
    );
    t.match(fault, { code, message: says });
    const told = JSON.stringify([fault?.message, fault?.facts, fault?.stack, String(fault?.cause)]);
    t.notMatch(told, /sesame|for-tests-only/);
  };
  await refused(
    other((to) => {
      to.password = "sesame";
    }),
    /does not let this server in.*password authentication failed/,
  );
  await refused(
    other((to) => {
      to.username = "nobody-known";
    }),
    /does not let this server in/,
  );
  await refused(
    other((to) => {
      to.pathname = "/missing";
    }),
    /does not let this server in.*database: 127.0.0.1:\d+\/missing.*does not exist/,
  );
  await refused(
    other((to) => {
      to.port = "1";
    }),
    /does not answer.*ECONNREFUSED/,
    "database/unreachable",
  );
  await refused(`${url}?sslmode=require`, /cannot be secured/, "database/untrusted");
});

t.test("a text that PostgreSQL cannot keep is the sender's fault", onPostgres, async (t) => {
  const database = await open(t, await postgresDatabase());
  await t.rejects(findUser(database, "a\0b"), { code: "database/bad-text" });
});

const SKIP_TLS =
  skipPostgres || (spawnSync("openssl", ["version"]).status === 0 ? false : "no openssl");

/** A key and a certificate of localhost, signed by itself. */
function certificate(folder: string, name: string): void {
  const files = ["-keyout", join(folder, `${name}.key`), "-out", join(folder, `${name}.pem`)];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const made = spawnSync("openssl", [
    ..."req -x509 -newkey rsa:2048 -nodes -days 1".split(" "),
    ...files,
    ...subject,
  ]);
  if (made.status !== 0) throw new Error(String(made.stderr));
  chmodSync(join(folder, `${name}.key`), 0o600);
}

t.test("TLS: encrypted, and with whom", { skip: SKIP_TLS }, async (t) => {
  const server = await Postgres.start(
    (folder) => [
      ...["-c", "ssl=on", "-c", `ssl_cert_file=${join(folder, "own.pem")}`],
      ...["-c", `ssl_key_file=${join(folder, "own.key")}`],
    ],
    (folder) => certificate(folder, "own"),
  );
  t.teardown(() => server.remove());
  const folder = await tempFolder(t);
  certificate(folder, "other");
  const [own, other] = [join(server.folder, "own.pem"), join(folder, "other.pem")];
  const url = await server.database();
  const named = url.replace("127.0.0.1", "localhost");
  const encrypted = async (address: string, caFile: string) => {
    const database = await Database.open(placeAt(address, { caFile }));
    const { rows } = await database
      .query((db) =>
        sql<{ ssl: boolean }>`select ssl from pg_stat_ssl where pid = pg_backend_pid()`.execute(db),
      )
      .finally(() => database.close());
    return rows[0]?.ssl;
  };
  t.equal(await encrypted(url, ""), false, "loopback unless told");
  t.equal(await encrypted(`${url}?sslmode=require`, ""), true);
  t.equal(await encrypted(`${url}?sslmode=require`, own), true);
  t.equal(await encrypted(`${named}?sslmode=verify-full`, own), true);
  const untrusted = { code: "database/untrusted" };
  await t.rejects(encrypted(`${url}?sslmode=require`, other), untrusted, "another signer");
  await t.rejects(encrypted(`${url}?sslmode=verify-full`, own), untrusted, "another name");
  await t.rejects(encrypted(`${named}?sslmode=verify-full`, ""), untrusted, "nobody known");
  const absent = join(folder, "absent.pem");
  await t.rejects(encrypted(`${named}?sslmode=require`, absent), {
    code: "settings/bad-value",
    facts: { name: "database_ca", value: absent },
  });
  await writeFile(other, "no certificate");
  await t.rejects(encrypted(`${named}?sslmode=verify-full`, other), untrusted);
});
