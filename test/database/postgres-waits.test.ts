/** Waits for PostgreSQL that end: for one that is silent, for a free connection. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { Database } from "../../src/database/database.js";
import { sql } from "../../src/database/kysely.js";
import {
  changeSettings,
  findRepositoryById,
  insertWithin,
} from "../../src/database/repositories.js";
import { RepositoryTable } from "../../src/serve/repositories/table.js";
import type { Fault } from "../../src/base/fault.js";
import { findUser } from "../../src/database/users.js";
import { placeAt } from "../support/databases.js";
import { postgresDatabase, skipPostgres } from "../support/postgres.js";
import { PostgresProxy } from "../support/postgres-proxy.js";

t.setTimeout(120_000);

t.test(
  "a server that falls silent is given up, and so is its connection",
  { skip: skipPostgres },
  async (t) => {
    const proxy = await PostgresProxy.start(t, await postgresDatabase());
    const database = await Database.open(placeAt(proxy.url, { connections: 1 }));
    t.teardown(() => database.close());
    await findUser(database, "ada");
    proxy.silence(true);
    const began = Date.now();
    const away = { code: "database/unreachable" };
    await t.rejects(findUser(database, "ada"), away);
    const waited = Date.now() - began;
    const most = LIMITS.databaseStatementMs + LIMITS.databaseLateMs;
    t.ok(waited >= most - 100 && waited < most + 5_000, `${waited} ms`);
    await t.rejects(findUser(database, "ada"), away, "a new connection hears nothing either");
    t.ok(Date.now() - began - waited < LIMITS.databaseConnectMs + 3_000);
    proxy.silence(false);
    for (let at = 0; at < 3; at++) t.equal(await findUser(database, "ada"), undefined);
  },
);

t.test(
  "who waits for one that sleeps in a transaction gets its turn in time",
  { skip: skipPostgres },
  async (t) => {
    const url = await postgresDatabase();
    const nodes = await Promise.all([Database.open(placeAt(url)), Database.open(placeAt(url))]);
    t.teardown(() => Promise.all(nodes.map((node) => node.close())));
    const [sleeping, waiting] = nodes;
    const row = new RepositoryTable(sleeping).newRow({ title: "ada/x", namespace: "ada" });
    await insertWithin(sleeping, row, 0);
    let runs = 0;
    const asleep = sleeping.transaction(async (db) => {
      const rows = db.updateTable("repositories").where("id", "=", row.id);
      await rows.set({ visibility: "public" }).execute();
      if (++runs === 1) await sleep(LIMITS.databaseIdleTransactionMs + 1_000);
      await rows.set({ lakefs: "x" }).execute();
    });
    await sleep(200);
    const began = Date.now();
    t.ok(await changeSettings(waiting, row.id, () => "{}"));
    t.ok(Date.now() - began < LIMITS.databaseStatementMs);
    await asleep;
    t.equal(runs, 2, "it ran again");
    t.match(await findRepositoryById(waiting, row.id), {
      settings: "{}",
      visibility: "public",
      lakefs: "x",
    });
  },
);

t.test("so many wait for a connection, and no more", { skip: skipPostgres }, async (t) => {
  const database = await Database.open(placeAt(await postgresDatabase(), { connections: 1 }));
  t.teardown(() => database.close());
  const holding = database.query((db) => sql`select pg_sleep(1)`.execute(db));
  await sleep(100);
  const asking = Array.from({ length: LIMITS.databaseWaitingMax + 3 }, () =>
    findUser(database, "ada").catch(({ code }: Fault) => code),
  );
  const answers = await Promise.all(asking);
  await holding;
  t.same(
    answers.filter((answer) => answer !== undefined),
    ["database/busy", "database/busy", "database/busy"],
  );
});

t.test("who finds no connection free is told so", { skip: skipPostgres }, async (t) => {
  const database = await Database.open(placeAt(await postgresDatabase(), { connections: 1 }));
  t.teardown(() => database.close());
  const seconds = LIMITS.databaseConnectMs / 1_000 + 1;
  const holding = database.query((db) => sql`select pg_sleep(${seconds})`.execute(db));
  const busy = { code: "database/busy", message: /no connection free/ };
  await t.rejects(findUser(database, "ada"), busy);
  await holding;
  t.equal(await findUser(database, "ada"), undefined);
});
