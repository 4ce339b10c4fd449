/**
 * Names and ids in the database: one live title leads to one id, ids stay, rights go with the id.
 */
import { join } from "node:path";
import Libsql from "libsql";
import t from "tap";
import { Database } from "../../src/database/database.js";
import { listGrants, putGrant } from "../../src/database/grants.js";
import * as queries from "../../src/database/repositories.js";
import { insertUser } from "../../src/database/users.js";
import { RepositoryTable } from "../../src/serve/repositories/table.js";
import { onBoth, type OpenDatabase } from "../support/databases.js";
import { tempFolder } from "../support/temp-folder.js";

async function tableIn(
  open: OpenDatabase,
): Promise<{ readonly database: Database; readonly table: RepositoryTable }> {
  const database = await open();
  for (const name of ["ada", "bob"]) {
    await insertUser(database, {
      id: `u-${name}`,
      name,
      name_key: name,
      is_admin: 0,
      created_at: "",
      disabled_at: null,
    });
  }
  return { database, table: new RepositoryTable(database) };
}

onBoth(
  "a title leads to one id; set aside it is free, and the old id has no title",
  async (t, open) => {
    const { table } = await tableIn(open);
    const [first, second] = [
      table.newRow({ title: "a/b", namespace: "a" }),
      table.newRow({ title: "a/b", namespace: "a" }),
    ];
    t.match(first.id, /^[0-9a-f]{32}$/);
    t.not(first.id, second.id);
    t.equal(await table.find("a/b"), undefined);
    t.ok(await table.insert(first));
    t.notOk(await table.insert(second), "taken");
    t.equal(
      (await table.find("a/b"))?.id,
      first.id,
      "what was not there is not remembered as missing",
    );
    await table.setAside(first.id);
    t.equal(await table.find("a/b"), undefined);
    t.match(await table.byId(first.id), { title: null, former_title: "a/b", state: "deleted" });
    t.ok(await table.insert(second));
    t.equal((await table.find("a/b"))?.id, second.id);
    await table.markMade(first.id);
    t.equal(
      (await table.byId(first.id))?.state,
      "deleted",
      "a push that was under way does not bring it back",
    );
    t.notOk(await table.restore(first, { state: "made" }), "its name leads elsewhere");
    await table.setAside(second.id);
    const former = await table.former("a/b");
    t.same(new Set(former.map(({ id }) => id)), new Set([first.id, second.id]));
    t.ok(await table.restore(former.find(({ id }) => id === first.id) ?? first, { state: "made" }));
    t.match(await table.find("a/b"), {
      id: first.id,
      state: "made",
      former_title: null,
      deleted_at: null,
    });
  },
);

onBoth(
  "names that lead to a repository go and come with it; rights stay with the old id until they are given on",
  async (t, open) => {
    const { database, table } = await tableIn(open);
    const old = table.newRow({ title: "lakefs/demo", namespace: undefined, state: "made" });
    await table.insert(old);
    const name = table.newRow({
      title: "ada/demo",
      namespace: "ada",
      state: "made",
      leadsTo: old.id,
      visibility: "public",
    });
    await table.insert(name);
    await putGrant(database, old.id, "u-bob", "write");
    const fresh = table.newRow({ title: "lakefs/demo", namespace: undefined, state: "made" });
    await table.replace(old.id, fresh);
    t.match(
      [await table.find("lakefs/demo"), await table.find("ada/demo")],
      [{ id: fresh.id, visibility: "private" }, undefined],
    );
    t.same(await listGrants(database, fresh.id), []);
    t.same(await queries.seeRepository(database, "lakefs/demo", "u-bob"), {
      row: await table.byId(fresh.id),
      grant: null,
    });
    await putGrant(database, fresh.id, "u-bob", "read");
    await putGrant(database, old.id, "u-ada", "admin");
    await table.inheritRights({ ...old, visibility: "public" }, fresh.id);
    t.same(
      await listGrants(database, fresh.id),
      [
        { name: "ada", role: "admin" },
        { name: "bob", role: "read" },
      ],
      "what it was given itself stays",
    );
    t.equal((await table.read(fresh.id))?.visibility, "public");
    t.match(await table.formerNamesOf(old.id), [
      { former_title: "ada/demo", visibility: "public" },
    ]);
    await table.remove(fresh.id);
    t.ok(await table.byId(fresh.id), "only what is set aside can be forgotten");
    await table.remove(old.id);
    t.same(
      [await table.byId(old.id), await table.byId(name.id), await listGrants(database, old.id)],
      [undefined, undefined, []],
    );
  },
);

onBoth("a replacement is all or nothing", async (t, open) => {
  const { table } = await tableIn(open);
  const old = table.newRow({ title: "a/b", namespace: "a", state: "made" });
  await table.insert(old);
  await t.rejects(
    table.replace(old.id, { ...table.newRow({ title: "a/b", namespace: "a" }), id: old.id }),
    {
      code: "database/failed",
    },
  );
  t.match(await table.find("a/b"), { id: old.id, state: "made" });
});

onBoth("what a hub's rule computes makes room for what is made under its name", async (t, open) => {
  const { table } = await tableIn(open);
  const lake = table.newRow({ title: "lakefs/m-x", namespace: undefined, state: "made" });
  await table.insert(lake);
  await table.insert(
    table.newRow({
      title: "org/x",
      namespace: undefined,
      state: "made",
      leadsTo: lake.id,
      visibility: "public",
    }),
  );
  const own = table.newRow({ title: "org/x", namespace: "org" });
  t.ok(await table.insert(own));
  t.match(await table.find("org/x"), { id: own.id, visibility: "private", leads_to: null });
});

t.test(
  "a database from before ids is brought up to date; users stay, rights by name are gone",
  async (t) => {
    const path = join(await tempFolder(t), "lakepack.db");
    const file = new Libsql(path);
    file.exec(`
    CREATE TABLE kysely_migration (name varchar(255) NOT NULL PRIMARY KEY, timestamp varchar(255) NOT NULL);
    CREATE TABLE kysely_migration_lock (id varchar(255) NOT NULL PRIMARY KEY, is_locked integer NOT NULL DEFAULT 0);
    INSERT INTO kysely_migration VALUES ('0001-users', '2026-01-01T00:00:00.000Z');
    INSERT INTO kysely_migration_lock VALUES ('migration_lock', 0);
    CREATE TABLE users (id text PRIMARY KEY, name text NOT NULL, name_key text NOT NULL UNIQUE, is_admin integer NOT NULL, created_at text NOT NULL, disabled_at text);
    CREATE TABLE tokens (id text PRIMARY KEY, user_id text NOT NULL, label text NOT NULL, hash text NOT NULL UNIQUE, scope text NOT NULL,
      created_at text NOT NULL, expires_at text, last_used_at text, revoked_at text);
    CREATE TABLE repositories (name text PRIMARY KEY, visibility text NOT NULL, created_at text NOT NULL);
    CREATE TABLE grants (repository text NOT NULL REFERENCES repositories (name) ON DELETE CASCADE, user_id text NOT NULL, role text NOT NULL, PRIMARY KEY (repository, user_id));
    CREATE INDEX grants_user ON grants (user_id);
    CREATE TABLE secrets (name text PRIMARY KEY, value text NOT NULL);
    INSERT INTO users VALUES ('u1', 'ada', 'ada', 0, '2026-01-01', NULL);
    INSERT INTO repositories VALUES ('ada/x', 'public', '2026-01-01');
    INSERT INTO grants VALUES ('ada/x', 'u1', 'write');
  `);
    file.close();
    for (const what of ["once", "and again"]) {
      const database = await Database.open(path);
      const table = new RepositoryTable(database);
      t.equal(await table.find("ada/x"), undefined, `${what}: its files lay under a name`);
      t.same(await table.all(), []);
      await database.close();
    }
    const database = await Database.open(path);
    t.teardown(() => database.close());
    const row = new RepositoryTable(database).newRow({ title: "ada/x", namespace: "ada" });
    t.ok(await queries.insertWithin(database, row, 0));
    await putGrant(database, row.id, "u1", "read");
    t.same(
      await listGrants(database, row.id),
      [{ name: "ada", role: "read" }],
      "the user is who he was",
    );
  },
);

t.test(
  "a database of the step before gets the column of settings, also where a crash cut that step short",
  async (t) => {
    const path = join(await tempFolder(t), "lakepack.db");
    const first = await Database.open(path);
    const row = new RepositoryTable(first).newRow({ title: "ada/x", namespace: "ada" });
    await new RepositoryTable(first).insert(row);
    await first.close();
    for (const undo of ["ALTER TABLE repositories DROP COLUMN settings", "SELECT 1"]) {
      const file = new Libsql(path);
      file.exec(`${undo}; DELETE FROM kysely_migration WHERE name >= '0003'`);
      file.close();
      const database = await Database.open(path);
      const table = new RepositoryTable(database);
      t.same(await table.read(row.id), row);
      await table.changeSettings(row.id, (before) => `${before ?? ""}{}`);
      t.match(await table.find("ada/x"), { settings: "{}" });
      await t.rejects(
        table.changeSettings(row.id, () => {
          throw new Error("no");
        }),
      );
      t.match(await table.find("ada/x"), { settings: "{}" }, "what throws changes nothing");
      await table.changeSettings(row.id, () => null);
      t.equal(await table.changeSettings("none", () => "{}"), false);
      await database.close();
    }
  },
);

onBoth("a namespace has room for so many, those set aside aside", async (t, open) => {
  const { table } = await tableIn(open);
  const row = (title: string) => table.newRow({ title, namespace: title.split("/").at(-2) });
  const rows = ["ada/a", "ada/b", "datasets/ada/a", "bob/a"].map(row);
  for (const one of rows) t.equal(await table.insertWithin(one, 3), "inserted");
  t.equal(await table.insertWithin(row("ada/c"), 3), 3);
  t.equal(await table.insertWithin(row("bob/a"), 3), "taken");
  t.equal(await table.insertWithin(row("eve/c"), 3), "inserted");
  await table.setAside((rows[0] as (typeof rows)[0]).id);
  t.equal(await table.insertWithin(row("ada/c"), 3), "inserted");
  t.equal(await table.insertWithin(row("ada/d"), 0), "inserted", "any number");
});

onBoth("of many who make repositories at once, none is one too many", async (t, open) => {
  const { table } = await tableIn(open);
  const rows = Array.from({ length: 20 }, (_, at) =>
    table.newRow({ title: `ada/${at}`, namespace: "ada" }),
  );
  const outcomes = await Promise.all(rows.map((row) => table.insertWithin(row, 5)));
  t.equal(outcomes.filter((outcome) => outcome === "inserted").length, 5);
  t.equal(outcomes.filter((outcome) => outcome === 5).length, 15);
  t.equal((await table.all()).length, 5);
});

onBoth("of two who replace a repository one does it, and the other hears so", async (t, open) => {
  const { table } = await tableIn(open);
  const old = table.newRow({ title: "lakefs/x", namespace: undefined, state: "made" });
  await table.insert(old);
  const rows = [0, 1].map(() => table.newRow({ title: "lakefs/x", namespace: undefined }));
  const done = await Promise.all(rows.map((row) => table.replace(old.id, row)));
  t.same(new Set(done), new Set([true, false]));
  t.equal((await table.find("lakefs/x"))?.id, rows[done.indexOf(true)]?.id);
});
