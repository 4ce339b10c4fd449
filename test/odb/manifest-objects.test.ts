/** Packs of a repository in our own store: what is known of a live one is not asked for again. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import t, { type Test } from "tap";
import { startIngest } from "../../src/odb/index-pack/spool.js";
import { ManifestObjects } from "../../src/odb/manifest/objects.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import { PackChecks } from "../../src/odb/packs/checks.js";
import { PackTables } from "../../src/odb/packs/tables.js";
import { DiskStore } from "../../src/store/disk.js";
import { inlinePool } from "../support/inline-pool.js";
import { blob, buildPack } from "../support/pack-builder.js";

async function opened(t: Test) {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-objects-"));
  const pool = await inlinePool();
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, "data"));
  const store = new DiskStore(join(folder, "data"));
  const tables = new PackTables();
  const incoming = join(folder, "incoming");
  const services = {
    store,
    pool,
    tables,
    checks: new PackChecks(),
    incoming,
    ingest: { packBytesMax: 1e9, memoryBytes: 1e6 },
    startIngest,
  };
  const objects = new ManifestObjects(
    services,
    new ManifestStore(store, "repos/a/b", "refs/heads/main"),
    "repos/a/b",
  );
  return { store, tables, objects, incoming };
}

t.test("one more pack costs a look at that one alone, and its tables are read once", async (t) => {
  const { store, tables, objects } = await opened(t);
  const looked: string[] = [];
  const localFile = store.localFile.bind(store);
  store.localFile = (key, signal) => {
    looked.push(key);
    return localFile(key, signal);
  };
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
      looked.filter((key) => !key.includes(pack.name)),
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

t.test(
  "a pack that is made leaves what was adopted, and nothing else however it ends",
  async (t) => {
    const { objects, incoming } = await opened(t);
    const { signal } = new AbortController();
    const left = () => readdir(incoming);
    const live = async () => (await objects.packs()).packs.length;
    const answer = await objects.makePack(async ({ folder, path, index }) => {
      t.same(await left(), [basename(folder)]);
      await writeFile(path, buildPack([blob("one"), blob("two")]));
      await writeFile(join(folder, "aside"), "a list of its own");
      const pack = await index({ packs: [] });
      t.equal(pack.objectCount, 2);
      await objects.adopt(pack, { origin: "synthesized" });
      return "made";
    }, signal);
    t.same([answer, await live(), await left()], ["made", 1, []]);

    const unused = objects.makePack(async ({ path, index }) => {
      await writeFile(path, buildPack([blob("three")]));
      await index({ packs: (await objects.packs()).packs });
      throw new Error("its records cannot be written");
    }, signal);
    await t.rejects(unused, { message: "its records cannot be written" });
    t.same([await live(), await left()], [1, []]);

    const broken = objects.makePack(async ({ path, index }) => {
      await writeFile(path, buildPack([blob("four")]).subarray(0, -1));
      await index({ packs: [] });
    }, signal);
    await t.rejects(broken, { code: /^pack\// });
    t.same([await live(), await left()], [1, []]);

    const abort = new AbortController();
    const aborted = objects.makePack(async ({ path, index }) => {
      await writeFile(path, buildPack([blob("five")]));
      abort.abort();
      await index({ packs: [] });
    }, abort.signal);
    await t.rejects(aborted, { code: "base/aborted" });
    t.same([await live(), await left()], [1, []]);
    const begun: string[] = [];
    const never = objects.makePack(async ({ path }) => void begun.push(path), abort.signal);
    await t.rejects(never, { code: "base/aborted" });
    t.same([begun, await left()], [[], []]);
  },
);
