/** Waits for PostgreSQL that end: for one that is silent, for a free connection. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { Database } from "../../src/database/database.js";
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

t.test("who finds no connection free is told so", { skip: skipPostgres }, async (t) => {
  const database = await Database.open(placeAt(await postgresDatabase(), { connections: 1 }));
  t.teardown(() => database.close());
  const holding = database.transaction(async () => sleep(LIMITS.databaseConnectMs + 1_000));
  const busy = { code: "database/busy", message: /no connection free/ };
  await t.rejects(findUser(database, "ada"), busy);
  await holding;
  t.equal(await findUser(database, "ada"), undefined);
});
