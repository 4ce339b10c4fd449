/** LFS objects in the database: announced, live, dropped, gone, and no way back. */
import { join } from "node:path";
import Libsql from "libsql";
import t from "tap";
import { Database } from "../../src/database/database.js";
import * as queries from "../../src/database/lfs.js";
import { RepositoryTable } from "../../src/serve/repositories/table.js";
import { onBoth } from "../support/databases.js";
import { tempFolder } from "../support/temp-folder.js";

const OID = "ab".repeat(32);
const [T1, T2, T3] = ["2026-01-01", "2026-01-02", "2026-01-03"] as const;

function object(publication: string, oid = OID, bytes = 5): queries.PublishedObject {
  return { oid, publication, bytes };
}

async function shown(database: Database, repository: string, one: queries.PublishedObject) {
  await queries.announce(database, one, T1);
  return queries.linkToAnnounced(database, repository, one, T1);
}

onBoth("an announced object is nobody's before it is linked to", async (t, open) => {
  const database = await open();
  await queries.announce(database, object("p1"), T1);
  t.equal(await queries.findLinked(database, "a", OID), undefined);
  t.equal(await queries.linkToLive(database, "b", OID, T1), undefined);
  t.ok(await queries.linkToAnnounced(database, "a", object("p1"), T1));
  t.same(await queries.findLinked(database, "a", OID), object("p1"));
  t.equal(await queries.findLinked(database, "b", OID), undefined, "another has to bring it");
  t.same(await queries.linkToLive(database, "b", OID, T1), { oid: OID, publication: "p1" });
  t.same(await queries.findLinked(database, "b", OID), object("p1"));
});

onBoth(
  "one publication of an object is live: the second is not, and changes nothing",
  async (t, open) => {
    const database = await open();
    t.ok(await shown(database, "a", object("p1")));
    t.notOk(await shown(database, "b", object("p2")));
    t.equal(await queries.findLinked(database, "b", OID), undefined);
    await queries.dropAnnounced(database, object("p2"), T2);
    await queries.dropAnnounced(database, object("p1"), T2); // live: it stays
    t.same(await queries.listDropped(database, T3, 9), [object("p2")]);
    t.notOk(await queries.linkToAnnounced(database, "b", object("p2"), T2), "dropped is for ever");
    t.same(await queries.findLinked(database, "a", OID), object("p1"));
  },
);

onBoth(
  "links are taken away by pages, and only what nothing links to is dropped",
  async (t, open) => {
    const database = await open();
    const oids = Array.from({ length: 5 }, (_, n) => `${n}`.repeat(64));
    for (const oid of oids) await shown(database, "a", object("p", oid));
    await queries.linkToLive(database, "b", oids[1] as string, T1);
    t.same(
      (await queries.listLinked(database, "a", oids[1] as string, 2)).map(({ oid }) => oid),
      oids.slice(2, 4),
    );
    const first = await queries.unlink(database, "a", 3, T2);
    t.equal(first.links, 3);
    t.same(
      first.dropped.map(({ oid }) => oid),
      [oids[0], oids[2]],
    );
    t.match(await queries.unlink(database, "a", 3, T2), { links: 2, dropped: { length: 2 } });
    t.same(await queries.unlink(database, "a", 3, T2), { links: 0, dropped: [] });
    t.same(await queries.findLinked(database, "b", oids[1] as string), object("p", oids[1]));
    t.equal(await queries.linkToLive(database, "c", oids[0] as string, T2), undefined);
    t.same(await queries.listDropped(database, T1, 9), [], "dropped later than that");
    t.equal((await queries.listDropped(database, T2, 3)).length, 3);
    const gone = object("p", oids[0]);
    t.ok(await queries.forgetDropped(database, gone));
    t.notOk(await queries.forgetDropped(database, gone), "another has done so");
    t.notOk(await queries.forgetDropped(database, object("p", oids[1])), "a live one has its row");
  },
);

onBoth(
  "what was announced and never linked to is given up; what became live stays",
  async (t, open) => {
    const database = await open();
    await queries.announce(database, object("old"), T1);
    await queries.announce(database, object("young"), T3);
    await shown(database, "a", object("live", "cd".repeat(32)));
    await queries.dropUnfinished(database, T2, T3);
    t.same(await queries.listDropped(database, T3, 9), [object("old")]);
    t.notOk(await queries.linkToAnnounced(database, "a", object("old"), T3));
    t.ok(await queries.linkToAnnounced(database, "a", object("young"), T3));
  },
);

onBoth("ids without a row: by their latest link", async (t, open) => {
  const database = await open();
  const row = new RepositoryTable(database).newRow({ title: "a/b", namespace: "a" });
  await new RepositoryTable(database).insert(row);
  const young = object("p", "cd".repeat(32));
  for (const id of [row.id, "waits", "left"]) {
    if ((await queries.linkToLive(database, id, OID, T1)) === undefined)
      await shown(database, id, object("p"));
  }
  await queries.announce(database, young, T1);
  t.ok(await queries.linkToAnnounced(database, "waits", young, T3));
  t.same(await queries.listRowless(database, T2, 9), ["left"]);
  t.same((await queries.listRowless(database, T3, 9)).sort(), ["left", "waits"]);
  t.same(await queries.listRowless(database, T1.slice(0, 4), 9), []);
});

onBoth("what lies in the store without a row is noted as dropped, once", async (t, open) => {
  const database = await open();
  await shown(database, "a", object("p"));
  const found = [object("p"), object(""), object("q")];
  const unknown = await queries.withoutRow(database, found);
  t.same(unknown, [object(""), object("q")]);
  t.same(await queries.withoutRow(database, []), []);
  await queries.noteDropped(database, found, T2);
  await queries.noteDropped(database, [], T2);
  t.same(
    (await queries.listDropped(database, T3, 9)).map(({ publication }) => publication).sort(),
    ["", "q"],
    "what has a row keeps it",
  );
});

onBoth(
  "links of the layout before are taken in, and again, and beside a live one",
  async (t, open) => {
    const database = await open();
    const other = object("", "cd".repeat(32), 7);
    for (const _ of [1, 2]) await queries.takeInLinks(database, "a", [object(""), other], T1);
    t.same(await queries.listLinked(database, "a", "", 9), [object(""), other]);
    await shown(database, "b", object("p", "ef".repeat(32)));
    await queries.takeInLinks(database, "a", [object("", "ef".repeat(32))], T1);
    t.match(await queries.findLinked(database, "a", "ef".repeat(32)), { publication: "p" });
    await queries.unlink(database, "a", 1, T2);
    await t.rejects(queries.takeInLinks(database, "c", [object("")], T3), {
      code: "store/conflict",
    });
    t.same(await queries.listLinked(database, "c", "", 9), [], "all of it or nothing");
  },
);

t.test("each look goes along an index", async (t) => {
  const path = join(await tempFolder(t), "lakepack.db");
  await (await Database.open(path)).close();
  const file = new Libsql(path);
  t.teardown(() => file.close());
  for (const sql of [
    "SELECT 1 FROM lfs_links l JOIN lfs_objects o ON o.oid = l.oid AND o.publication = l.publication WHERE l.repository_id = 'a' AND l.oid > 'x' ORDER BY l.oid LIMIT 9",
    "SELECT 1 FROM lfs_links WHERE oid = 'a' AND publication = 'p' LIMIT 1",
    "UPDATE lfs_objects SET state = 'live' WHERE oid = 'a' AND state = 'live'",
    "SELECT oid FROM lfs_objects WHERE state = 'dropped' AND dropped_at <= 'x' ORDER BY dropped_at LIMIT 9",
    "UPDATE lfs_objects SET state = 'dropped' WHERE state = 'announced' AND created_at <= 'x'",
  ]) {
    const plan = (file.prepare(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[]).map(
      ({ detail }) => detail,
    );
    t.notMatch(plan.join("; "), /SCAN|TEMP B-TREE/, sql);
  }
});

onBoth(
  "a link made beside the removal of the last one leads to what is live, or is none",
  async (t, open) => {
    const database = await open();
    let made = 0;
    for (let round = 0; round < 200; round++) {
      const oid = round.toString(16).padStart(64, "0");
      await shown(database, "a", object("p", oid));
      const [live, removed] = await Promise.all([
        queries.linkToLive(database, "b", oid, T2),
        queries.unlink(database, "a", 9, T2),
      ]);
      if (live !== undefined) made++;
      t.equal(removed.dropped.length, live === undefined ? 1 : 0, `round ${round}`);
      const [next] = await Promise.all([
        shown(database, "c", object("q", oid)),
        queries.unlink(database, "b", 9, T2),
      ]);
      t.same(await queries.findLinked(database, "c", oid), next ? object("q", oid) : undefined);
      await queries.unlink(database, "c", 9, T2);
    }
    t.comment(`${made} of 200 came first`);
  },
);
