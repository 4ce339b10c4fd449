/** The database itself: its file, its schema from any age, and the tables of users and tokens. */
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import Libsql from "libsql";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { lockDataFolder } from "../../src/database/data-lock.js";
import { Database } from "../../src/database/database.js";
import {
  findUnseen,
  forgetUnseen,
  insertFirst,
  replaceUnseen,
} from "../../src/database/first-token.js";
import type { TokenRow, UserRow } from "../../src/database/schema.js";
import { keepSecret } from "../../src/database/secrets.js";
import * as tokens from "../../src/database/tokens.js";
import * as users from "../../src/database/users.js";
import { probeWrite } from "../../src/database/write-probe.js";
import { onBoth } from "../support/databases.js";
import { tempFolder } from "../support/temp-folder.js";

function user(name: string, more: Partial<UserRow> = {}): UserRow {
  const name_key = name.toLowerCase();
  const row = { id: `u-${name}`, name, name_key, is_admin: 0, created_at: "", disabled_at: null };
  return { ...row, ...more };
}

function token(id: string, owner: string, more: Partial<TokenRow> = {}): TokenRow {
  const never = { expires_at: null, last_used_at: null, revoked_at: null };
  const row = { id, user_id: `u-${owner}`, label: "", hash: `hash of ${id}`, created_at: "" };
  return { ...row, ...never, scope: "read", ...more };
}

// The file ----------------------------------------------------------------------------------------
t.test("the file is its owner's alone, and opened again it holds what was written", async (t) => {
  const path = join(await tempFolder(t), "lakepack.db");
  const first = await Database.open(path);
  await users.insertUser(first, user("ada"));
  await first.close();
  t.equal((await stat(path)).mode & 0o777, 0o600);
  const second = await Database.open(path);
  t.teardown(() => second.close());
  t.match(await users.findUser(second, "ada"), { id: "u-ada" });
});

t.test("a file that is no database is a fault that names it", async (t) => {
  const path = join(await tempFolder(t), "lakepack.db");
  await writeFile(path, "this is not SQLite\n".repeat(100));
  await t.rejects(Database.open(path), { code: "database/failed", facts: { path } });
  await t.rejects(Database.open(join(path, "below/a/file")), { code: "database/failed" });
});

t.test("opened to read nothing is made and nothing written", async (t) => {
  const path = join(await tempFolder(t), "lakepack.db");
  t.equal(await Database.openToRead(path), undefined);
  await t.rejects(stat(path), { code: "ENOENT" });
  const owner = await Database.open(path);
  const reader = (await Database.openToRead(path)) as Database;
  t.teardown(() => Promise.all([owner.close(), reader.close()]));
  await users.insertUser(owner, user("ada"));
  t.match(await users.findUser(reader, "ada"), { id: "u-ada" });
  await t.rejects(users.insertUser(reader, user("bob")), { code: "database/failed" });
  t.equal(await users.findUser(owner, "bob"), undefined);
});

t.test("a schema of repositories by name becomes one by id, users and tokens stay", async (t) => {
  const path = join(await tempFolder(t), "lakepack.db");
  const file = new Libsql(path);
  file.exec(`
    CREATE TABLE kysely_migration (name varchar(255) PRIMARY KEY NOT NULL, timestamp varchar(255) NOT NULL);
    CREATE TABLE kysely_migration_lock (id varchar(255) PRIMARY KEY NOT NULL, is_locked integer DEFAULT 0 NOT NULL);
    INSERT INTO kysely_migration VALUES ('0001-users', '2025-01-01T00:00:00.000Z');
    INSERT INTO kysely_migration_lock VALUES ('migration_lock', 0);
    CREATE TABLE users (id text PRIMARY KEY, name text NOT NULL, name_key text NOT NULL UNIQUE,
      is_admin integer NOT NULL, created_at text NOT NULL, disabled_at text);
    CREATE TABLE tokens (id text PRIMARY KEY, user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
      label text NOT NULL, hash text NOT NULL UNIQUE, scope text NOT NULL, created_at text NOT NULL,
      expires_at text, last_used_at text, revoked_at text);
    CREATE TABLE repositories (name text PRIMARY KEY, visibility text NOT NULL, created_at text NOT NULL);
    CREATE TABLE grants (repository text NOT NULL REFERENCES repositories (name), user_id text NOT NULL,
      role text NOT NULL, PRIMARY KEY (repository, user_id));
    CREATE TABLE secrets (name text PRIMARY KEY, value text NOT NULL);
    INSERT INTO users VALUES ('u-ada', 'ada', 'ada', 1, '', NULL);
    INSERT INTO tokens VALUES ('t', 'u-ada', '', 'h', 'admin', '', NULL, NULL, NULL);
    INSERT INTO repositories VALUES ('ada/old', 'public', '');
    INSERT INTO grants VALUES ('ada/old', 'u-ada', 'read');`);
  file.close();
  const database = await Database.open(path);
  t.teardown(() => database.close());
  t.match(await tokens.findToken(database, "h"), { user_name: "ada", is_admin: 1 });
  const rows = await database.query((db) => db.selectFrom("repositories").selectAll().execute());
  t.same(rows, [], "nothing that lay under a name is served any more");
  const columns = (await database.query((db) => db.introspection.getTables()))
    .find(({ name }) => name === "repositories")
    ?.columns.map(({ name }) => name);
  t.ok(columns?.includes("settings") && columns.includes("leads_to"));
});

t.test("a step that a crash cut short runs again", async (t) => {
  const path = join(await tempFolder(t), "lakepack.db");
  await (await Database.open(path)).close();
  const file = new Libsql(path);
  file.exec("DELETE FROM kysely_migration"); // all of it was done, nothing of it written down
  file.close();
  const database = await Database.open(path);
  t.teardown(() => database.close());
  await users.insertUser(database, user("ada"));
});

onBoth("what a transaction throws undoes it, and a Fault stays itself", async (t, open) => {
  const database = await open();
  const work = database.transaction(async (db) => {
    await db.insertInto("users").values(user("ada")).execute();
    throw new Fault("user/missing", { name: "x" });
  });
  await t.rejects(work, { code: "user/missing" });
  t.equal(await users.findUser(database, "ada"), undefined);
  const broken = database.query(() => Promise.reject(new Error("disk full")));
  await t.rejects(broken, { code: "database/failed", facts: { reason: "disk full" } });
});

t.test("one process owns a data folder until it lets go", async (t) => {
  const folder = await tempFolder(t);
  const lock = lockDataFolder(folder);
  t.throws(() => lockDataFolder(folder), { code: "store/locked", facts: { data: folder } });
  lock.release();
  lockDataFolder(folder).release();
});

onBoth("the probe writes", async (t, open) => {
  const database = await open();
  await probeWrite(database);
  await t.resolves(probeWrite(database), "and again");
});

t.test("the probe says where nothing can be written", async (t) => {
  const path = join(await tempFolder(t), "read.db");
  await (await Database.open(path)).close();
  const reader = (await Database.openToRead(path)) as Database;
  t.teardown(() => reader.close());
  await t.rejects(probeWrite(reader), { code: "database/failed" });
});

// Users -------------------------------------------------------------------------------------------
onBoth("a user's name is taken whatever its case", async (t, open) => {
  const database = await open();
  t.notOk(await users.hasUsers(database));
  await users.insertUser(database, user("Ada"));
  t.ok(await users.hasUsers(database));
  await t.rejects(users.insertUser(database, user("aDA", { id: "other" })), {
    code: "user/exists",
  });
  t.match(await users.findUser(database, "ADA"), { id: "u-Ada", name: "Ada" });
  t.equal(await users.findUser(database, "ad"), undefined);
  const change = { is_admin: 1, disabled_at: "now" };
  t.match(await users.updateUser(database, "ADA", change), { id: "u-Ada", ...change });
  t.equal(await users.updateUser(database, "eve", change), undefined);
  t.match(await users.findUser(database, "ada"), { is_admin: 1, disabled_at: "now" });
});

onBoth("users are listed by name, page after page", async (t, open) => {
  const database = await open();
  for (const name of ["bob", "Ada", "eve", "Dan"]) await users.insertUser(database, user(name));
  const names = async (after: string, count: number) =>
    (await users.listUsers(database, after, count)).map(({ name }) => name);
  t.same(await names("", 10), ["Ada", "bob", "Dan", "eve"]);
  t.same(await names("", 2), ["Ada", "bob"]);
  t.same(await names("BOB", 2), ["Dan", "eve"]);
  t.same(await names("eve", 2), []);
});

// Tokens ------------------------------------------------------------------------------------------
onBoth("a token is found by its hash and its id, with whose it is", async (t, open) => {
  const database = await open();
  await users.insertUser(database, user("ada", { is_admin: 1, disabled_at: "then" }));
  await tokens.insertToken(database, token("1", "ada", { scope: "write" }));
  const whose = { id: "1", scope: "write", user_name: "ada", is_admin: 1, disabled_at: "then" };
  t.match(await tokens.findToken(database, "hash of 1"), whose);
  t.match(await tokens.findTokenById(database, "1"), whose);
  t.equal(await tokens.findToken(database, "1"), undefined);
  t.equal(await tokens.findTokenById(database, "hash of 1"), undefined);
});

onBoth("a token of nobody, or of a hash that is there, is refused", async (t, open) => {
  const database = await open();
  await users.insertUser(database, user("ada"));
  const refused = { code: "database/failed" };
  await t.rejects(tokens.insertToken(database, token("1", "nobody")), refused);
  await tokens.insertToken(database, token("1", "ada"));
  const twin = token("2", "ada", { hash: "hash of 1" });
  await t.rejects(tokens.insertToken(database, twin), refused);
});

onBoth("a token is revoked once, and its use is noted", async (t, open) => {
  const database = await open();
  await users.insertUser(database, user("ada"));
  await tokens.insertToken(database, token("1", "ada"));
  await tokens.touchToken(database, "1", "used");
  t.notOk(await tokens.revokeToken(database, "absent", "now"));
  t.ok(await tokens.revokeToken(database, "1", "now"));
  t.notOk(await tokens.revokeToken(database, "1", "later"));
  t.match(await tokens.findTokenById(database, "1"), { revoked_at: "now", last_used_at: "used" });
});

onBoth("tokens are listed by id, of one user or of all", async (t, open) => {
  const database = await open();
  for (const name of ["ada", "bob"]) await users.insertUser(database, user(name));
  for (const [id, owner] of [
    ["3", "ada"],
    ["1", "ada"],
    ["2", "bob"],
  ] as const)
    await tokens.insertToken(database, token(id, owner));
  const ids = async (owner: string | undefined, after: string, count: number) =>
    (await tokens.listTokens(database, owner, after, count)).map(({ id }) => id);
  t.same(await ids(undefined, "", 10), ["1", "2", "3"]);
  t.same(await ids(undefined, "1", 1), ["2"]);
  t.same(await ids("u-ada", "", 10), ["1", "3"]);
  t.same(await ids("u-nobody", "", 10), []);
});

// Secrets -----------------------------------------------------------------------------------------
onBoth("a secret keeps its first value", async (t, open) => {
  const database = await open();
  t.equal(await keepSecret(database, "key", "aa"), "aa");
  t.equal(await keepSecret(database, "key", "bb"), "aa");
  t.equal(await keepSecret(database, "other", "bb"), "bb");
});

onBoth(
  "the first token is made whole or not at all, replaced unseen, and forgotten",
  async (t, open) => {
    const database = await open();
    t.equal(await findUnseen(database), undefined);
    await t.rejects(insertFirst(database, user("admin"), token("1", "somebody else")));
    t.notOk(await users.hasUsers(database), "no user without the token");
    t.ok(await insertFirst(database, user("admin"), token("1", "admin")));
    t.notOk(await insertFirst(database, user("eve"), token("9", "eve")), "there is a user");
    t.match(await findUnseen(database), { id: "1" });
    t.ok(await replaceUnseen(database, "1", token("2", "admin")));
    t.notOk(await replaceUnseen(database, "1", token("3", "admin")), "somebody else was first");
    t.match(await findUnseen(database), { id: "2" });
    t.equal(await tokens.findTokenById(database, "1"), undefined, "what nobody saw is gone");
    await forgetUnseen(database, "1");
    t.match(await findUnseen(database), { id: "2" }, "another's token was shown, not this one");
    await forgetUnseen(database, "2");
    t.equal(await findUnseen(database), undefined);
    t.match(await tokens.findTokenById(database, "2"), { user_name: "admin" });
  },
);

onBoth("secrets are wrapped by a key that is not in the database", async (t, open) => {
  const database = await open();
  const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const stored = async (name: string) =>
    (
      await database.query((db) =>
        db.selectFrom("secrets").select("value").where("name", "=", name).executeTakeFirstOrThrow(),
      )
    ).value;
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => "none",
      (error: unknown) => (error as { code?: string }).code,
    );
  t.equal(await keepSecret(database, "key", "aa11"), "aa11", "as it stands");
  t.equal(await stored("key"), "aa11");
  t.equal(await keepSecret(database, "key", "bb", [one]), "aa11", "wrapped when a key comes");
  t.match(await stored("key"), /^wrapped 1 [0-9a-f]{24} [0-9a-f]{40}$/);
  t.equal(await codeOf(keepSecret(database, "key", "bb")), "database/wrapped");
  t.equal(await codeOf(keepSecret(database, "key", "bb", [two])), "database/wrapped");
  t.equal(await keepSecret(database, "key", "bb", [two, one]), "aa11", "another key takes over");
  t.equal(await keepSecret(database, "key", "bb", [two]), "aa11");
  t.equal(await codeOf(keepSecret(database, "key", "bb", [one])), "database/wrapped");
  t.equal(await keepSecret(database, "fresh", "cc", [two]), "cc");
  const moved = await stored("fresh");
  await database.query((db) =>
    db.updateTable("secrets").set({ value: moved }).where("name", "=", "key").execute(),
  );
  t.equal(await codeOf(keepSecret(database, "key", "bb", [two])), "database/wrapped", "its name");
});
