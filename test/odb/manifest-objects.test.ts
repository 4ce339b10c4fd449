/** Packs of a repository in our own store: what is known of a live one is not asked for again. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { startIngest } from "../../src/odb/index-pack/spool.js";
import { ManifestObjects } from "../../src/odb/manifest/objects.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import { PackChecks } from "../../src/odb/packs/checks.js";
import { PackTables } from "../../src/odb/packs/tables.js";
import { DiskStore } from "../../src/store/disk.js";
import { inlinePool } from "../support/inline-pool.js";
import { blob, buildPack } from "../support/pack-builder.js";

t.test("one more pack costs a look at that one alone, and its tables are read once", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-objects-"));
  const pool = await inlinePool();
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, "data"));
  const store = new DiskStore(join(folder, "data"));
  const looked: string[] = [];
  const localFile = store.localFile.bind(store);
  store.localFile = (key, signal) => {
    looked.push(key);
    return localFile(key, signal);
  };
  const tables = new PackTables();
  const services = {
    store,
    pool,
    tables,
    checks: new PackChecks(),
    incoming: join(folder, "incoming"),
    ingest: { packBytesMax: 1e9, memoryBytes: 1e6 },
    startIngest,
  };
  const objects = new ManifestObjects(
    services,
    new ManifestStore(store, "repos/a/b", "refs/heads/main"),
    "repos/a/b",
  );
  for (let n = 1; n <= 5; n++) {
    const ingest = await objects.beginIngest({ fsck: true, signal: new AbortController().signal });
    await ingest.write(buildPack([blob(`content ${n}`)]));
    const pack = await ingest.finish();
    const table = await tables.load(pack);
    await objects.adopt(pack, { origin: "push", promised: 0 });
    await ingest.discard();
    looked.length = 0;
    const { packs } = await objects.packs();
    t.equal(packs.length, n);
    t.same(
      looked.filter((key) => !key.includes(pack.checksum)),
      [],
      "nothing is asked of the others",
    );
    t.equal(looked.length, 3, "pack, idx and rev of the new one");
    t.equal(
      packs.find(({ checksum }) => checksum === pack.checksum)?.idx,
      table.idx,
      "the table that the push's checks have read",
    );
    t.equal((await objects.packs()).packs, packs, "and nothing at all where nothing has changed");
  }
});
