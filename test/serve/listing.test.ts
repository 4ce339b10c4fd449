/**
 * The list of what somebody may see comes from the database, and costs in proportion to a page: it
 * must not be a way to keep the server busy.
 */
import { join } from "node:path";
import Libsql from "libsql";
import t, { type Test } from "tap";
import { RepositoryApi, type RepositoryApiOptions } from "../../src/api/repositories.js";
import { utf8 } from "../../src/base/bytes.js";
import { LIMITS } from "../../src/base/limits.js";
import { Database } from "../../src/database/database.js";
import {
  insertWithin,
  inheritRights,
  listRepositories,
  restoreRepository,
  setAside,
  type Viewer,
} from "../../src/database/repositories.js";
import { listedTitle, putGrant } from "../../src/database/grants.js";
import { insertUser } from "../../src/database/users.js";
import type { RepositoryRow } from "../../src/database/schema.js";
import {
  Repositories,
  type RepositoriesOptions,
} from "../../src/serve/repositories/repositories.js";
import { storedRepositories } from "../../src/serve/repositories/stored.js";
import { RepositoryTable } from "../../src/serve/repositories/table.js";
import { DiskStore } from "../../src/store/disk.js";
import { tempFolder } from "../support/temp-folder.js";

const ANYBODY: Viewer = { userId: undefined, namespace: undefined };
const ADA: Viewer = { userId: "u-ada", namespace: "ada" };
const BOB: Viewer = { userId: "u-bob", namespace: "bob" };

interface Filled {
  readonly database: Database;
  readonly row: (title: string, more?: Partial<RepositoryRow>) => Promise<RepositoryRow>;
}

async function filled(t: Test, path?: string): Promise<Filled> {
  const database = await Database.open(path ?? join(await tempFolder(t), "lakepack.db"));
  t.teardown(() => database.close());
  const table = new RepositoryTable(database);
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
  const row = async (title: string, more: Partial<RepositoryRow> = {}) => {
    const made = {
      ...table.newRow({ title, namespace: title.split("/").at(-2), state: "made" }),
      ...more,
    };
    await insertWithin(database, made, 0);
    return made;
  };
  return { database, row };
}

const titles = async ({ database }: Filled, viewer: Viewer | undefined, after = "", count = 10) =>
  (await listRepositories(database, after, count, viewer)).map(({ title }) => title);

t.test("each sees what he may, by title, once", async (t) => {
  const place = await filled(t);
  await place.row("ada/private");
  await place.row("ada/public", { visibility: "public" });
  const { id } = await place.row("bob/granted");
  await putGrant(place.database, id, "u-ada", "read");
  const both = await place.row("datasets/bob/public", { visibility: "public" });
  await putGrant(place.database, both.id, "u-ada", "write");
  await place.row("ada/begun", { state: "making" });
  const lake = await place.row("lakefs/demo", { namespace: null, lakefs: "demo" });
  await place.row("bob/bound", { leads_to: lake.id });
  await place.row("bob/computed", { namespace: null, leads_to: lake.id, visibility: "public" });
  const gone = await place.row("bob/gone", { visibility: "public" });
  await setAside(place.database, gone.id, "2026-01-01");
  t.same(await titles(place, undefined), [
    "ada/private",
    "ada/public",
    "bob/bound",
    "bob/granted",
    "datasets/bob/public",
    "lakefs/demo",
  ]);
  t.same(await titles(place, ANYBODY), ["ada/public", "datasets/bob/public"]);
  t.same(await titles(place, ADA), [
    "ada/private",
    "ada/public",
    "bob/granted",
    "datasets/bob/public",
  ]);
  t.same(await titles(place, BOB), [
    "ada/public",
    "bob/bound",
    "bob/granted",
    "datasets/bob/public",
  ]);
  t.same(
    await titles(place, ADA, "ada/private", 2),
    ["ada/public", "bob/granted"],
    "a page begins behind the last title",
  );
  t.match(await listRepositories(place.database, "bob/a", 1, BOB), [
    { title: "bob/bound", lakefs: "demo" },
  ]);
});

t.test(
  "a page of 20,000 repositories costs about what one of 200 does, for whoever asks",
  async (t) => {
    const cost = async (count: number) => {
      const place = await filled(t);
      await place.database.transaction(async (db) => {
        const table = new RepositoryTable(place.database);
        for (let at = 0; at < count; at++) {
          const title = `ns/n${String(at).padStart(6, "0")}`;
          await db
            .insertInto("repositories")
            .values(table.newRow({ title, namespace: "ns", state: "made" }))
            .execute();
        }
      });
      await place.row("zoe/public", { visibility: "public" });
      const times: number[] = [];
      for (const viewer of [undefined, ANYBODY, ADA]) {
        t.equal((await titles(place, viewer, "", 50)).length, viewer === undefined ? 50 : 1);
        const began = performance.now();
        for (let round = 0; round < 20; round++) await titles(place, viewer, "", 50);
        times.push((performance.now() - began) / 20);
      }
      return times;
    };
    const [few, many] = [await cost(200), await cost(20_000)];
    t.comment(
      `ms a page, of 200: ${few.map((ms) => ms.toFixed(2)).join(" ")}; of 20,000: ${many.map((ms) => ms.toFixed(2)).join(" ")}`,
    );
    for (const [at, ms] of many.entries())
      t.ok(ms < 10 * (few[at] as number) + 2, `${ms} ms after ${few[at]} ms`);
  },
);

t.test("a page of 20,000 grants costs about what one of 50 does, wherever it begins", async (t) => {
  const cost = async (count: number) => {
    const place = await filled(t);
    const table = new RepositoryTable(place.database);
    const title = (at: number) => `ns/n${String(at).padStart(6, "0")}`;
    await place.database.transaction(async (db) => {
      for (let at = 0; at < count; at++) {
        const row = table.newRow({ title: title(at), namespace: "ns", state: "made" });
        await db.insertInto("repositories").values(row).execute();
        const grant = { repository_id: row.id, user_id: "u-ada", role: "read" } as const;
        await db
          .insertInto("grants")
          .values({ ...grant, title: listedTitle(db, row.id) })
          .execute();
      }
    });
    const times: number[] = [];
    for (const after of ["", title(count / 2 - 1), title(count - 11)]) {
      const page = await titles(place, ADA, after, 10);
      t.equal(page[0], title(after === "" ? 0 : Number(after.slice(4)) + 1));
      t.equal(page.length, 10);
      const began = performance.now();
      for (let round = 0; round < 20; round++) await titles(place, ADA, after, 10);
      times.push((performance.now() - began) / 20);
    }
    return times;
  };
  const [few, many] = [await cost(50), await cost(20_000)];
  const shown = (times: readonly number[]) => times.map((ms) => ms.toFixed(2)).join(" ");
  t.comment(`ms a page, of 50: ${shown(few)}; of 20,000: ${shown(many)}`);
  for (const [at, ms] of many.entries())
    t.ok(ms < 5 * (few[at] as number) + 2, `${ms} ms after ${few[at]} ms`);
});

t.test("a grant is listed by what its repository is called, however it came about", async (t) => {
  const place = await filled(t);
  const { database } = place;
  const old = await place.row("bob/model");
  await putGrant(database, old.id, "u-ada", "read");
  await setAside(database, old.id, "2026-01-01");
  t.same(await titles(place, ADA), []);
  await putGrant(database, old.id, "u-ada", "write"); // of what is set aside: for when it is back
  await restoreRepository(database, old.id, { state: "made" });
  t.same(await titles(place, ADA), ["bob/model"]);
  await setAside(database, old.id, "2026-01-02");
  const heir = await place.row("bob/model");
  await inheritRights(database, old, heir.id);
  t.same(await titles(place, ADA), ["bob/model"], "inherited");
});

t.test("grants of the schema before get their titles", async (t) => {
  const path = join(await tempFolder(t), "lakepack.db");
  const place = await filled(t, path);
  for (const title of ["bob/a", "bob/b"])
    await putGrant(place.database, (await place.row(title)).id, "u-ada", "read");
  const computed = await place.row("bob/c", { namespace: null });
  await putGrant(place.database, computed.id, "u-ada", "read");
  await place.database.close();
  const file = new Libsql(path);
  file.exec(
    "DROP INDEX grants_user_title; ALTER TABLE grants DROP COLUMN title; DELETE FROM kysely_migration WHERE name >= '0005'",
  );
  file.close();
  for (const _ of ["once", "and again, where a crash cut it short"]) {
    const database = await Database.open(path);
    t.same(await titles({ ...place, database }, ADA), ["bob/a", "bob/b"]);
    await database.close();
    const undone = new Libsql(path);
    undone.exec(
      "UPDATE grants SET title = NULL; DELETE FROM kysely_migration WHERE name >= '0005'",
    );
    undone.close();
  }
});

/** The same object, which counts calls of its methods by name. */
function counted<T extends object>(target: T, calls: Map<string, number>, prefix: string): T {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name, object);
      if (typeof value !== "function") return value;
      return (...given: unknown[]) => {
        const key = `${prefix}.${String(name)}`;
        calls.set(key, (calls.get(key) ?? 0) + 1);
        return Reflect.apply(value, object, given);
      };
    },
  });
}

/** Makes a list's sources, with `count` repositories, each second one in lakeFS. */
async function listingOf(t: Test, count: number) {
  const folder = await tempFolder(t);
  const database = await Database.open(join(folder, "lakepack.db"));
  t.teardown(() => database.close());
  const store = new DiskStore(folder);
  const made = new RepositoryTable(database);
  await database.transaction(async (db) => {
    for (let at = 0; at < count; at++) {
      const name = `n${String(at).padStart(6, "0")}`;
      const lakefs = {
        lakefs: name,
        lakefs_created_at: "",
        lakefs_namespace: "",
        lakefs_root: null,
      };
      const named =
        at % 2 === 0
          ? { title: `ns/${name}`, namespace: "ns" }
          : { title: `lakefs/${name}`, namespace: undefined, lakefs };
      await db
        .insertInto("repositories")
        .values(made.newRow({ ...named, state: "made" }))
        .execute();
    }
  });
  const calls = new Map<string, number>();
  const refused = new Proxy(
    {},
    {
      get: (_, name) => () => {
        throw new Error(`lakeFS is asked: ${String(name)}`);
      },
    },
  );
  const repositories = new Repositories({
    services: { store: counted(store, calls, "store"), pool: { threads: 1 } },
    table: new RepositoryTable(counted(database, calls, "database")),
    lakefs: { client: counted(refused, calls, "lakefs"), naming: "identity", pollMs: 0 },
    log: {},
  } as unknown as RepositoriesOptions);
  t.teardown(() => repositories.close());
  return { repositories, calls };
}

t.test("a page asks as often of 5,000 repositories as of 50, and only the database", async (t) => {
  for (const count of [50, 5_000]) {
    const { repositories, calls } = await listingOf(t, count);
    const asker = (viewer: Viewer | undefined) =>
      ({ viewer }) as unknown as Parameters<Repositories["list"]>[2];
    const page = await repositories.list("", 50, asker(undefined));
    t.equal(page.length, 50);
    t.equal(page.filter(({ lakefs }) => lakefs !== null).length, count === 50 ? 25 : 50);
    t.same([...calls], [["database.query", 1]], `of ${count}`);
    await repositories.list("", 50, asker(ADA));
    t.same([...calls], [["database.query", 2]], `of ${count}, for who sees some`);
    const api = new RepositoryApi({ repositories } as unknown as RepositoryApiOptions);
    const listed = await api.list("");
    t.equal(listed.length, Math.min(count, LIMITS.listedPageMax));
    t.same([...calls], [["database.query", 3]], `of ${count}, for a command`);
  }
});

t.test("what the store has of repositories costs nothing for their files", async (t) => {
  const store = new DiskStore(await tempFolder(t));
  const calls = new Map<string, number>();
  const asked = async () => {
    calls.clear();
    const found = await storedRepositories(counted(store, calls, "store"));
    return { found, calls: [...calls] };
  };
  for (const id of ["a", "b"]) await store.putIfAbsent(`repos/${id}/git/manifest`, utf8("{}"));
  await store.putIfAbsent("repos/old/name/pack", utf8("P"));
  await store.putIfAbsent("repos/notes", utf8("an operator's"));
  await store.putIfAbsent("repos/empty/git/x", utf8(""));
  await store.delete("repos/empty/git/x");
  const before = await asked();
  t.same(before.found, [
    { id: "a", hasManifest: true },
    { id: "b", hasManifest: true },
    { id: "notes", hasManifest: false },
    { id: "old", hasManifest: false },
  ]);
  for (let at = 0; at < 50; at++) await store.putIfAbsent(`repos/a/git/objects/${at}`, utf8("P"));
  t.same(await asked(), before);
});
