/**
 * The list of what somebody may see comes from the database, and costs in proportion to a page: it
 * must not be a way to keep the server busy.
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import { Database } from "../../src/database/database.js";
import {
  insertRepository,
  listRepositories,
  setAside,
  type Viewer,
} from "../../src/database/repositories.js";
import { putGrant } from "../../src/database/grants.js";
import { insertUser } from "../../src/database/users.js";
import type { RepositoryRow } from "../../src/database/schema.js";
import { RepositoryTable } from "../../src/serve/repositories/table.js";
import { tempFolder } from "../support/temp-folder.js";

const ANYBODY: Viewer = { userId: undefined, namespace: undefined };
const ADA: Viewer = { userId: "u-ada", namespace: "ada" };
const BOB: Viewer = { userId: "u-bob", namespace: "bob" };

interface Filled {
  readonly database: Database;
  readonly row: (title: string, more?: Partial<RepositoryRow>) => Promise<RepositoryRow>;
}

async function filled(t: Test): Promise<Filled> {
  const database = await Database.open(join(await tempFolder(t), "lakepack.db"));
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
    await insertRepository(database, made);
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
