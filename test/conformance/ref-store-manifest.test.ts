import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { ZERO_OID } from "../../src/git/oid.js";
import { ManifestRefs } from "../../src/odb/manifest/refs.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import { DiskStore } from "../../src/store/disk.js";
import { create, OPTIONS, oid, refStoreConformance } from "./ref-store.js";
import { faultOf } from "./store.js";

const folders: string[] = [];
t.teardown(() =>
  Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))),
);

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-refs-"));
  folders.push(folder);
  return folder;
}

function open(folder: string): ManifestRefs {
  const store = new DiskStore(folder);
  return new ManifestRefs(
    new ManifestStore(store, "repos/a/b", "refs/heads/main"),
    store,
    "repos/a/b",
  );
}

t.test("manifest", async (t) => refStoreConformance(t, async () => open(await freshFolder())));

t.test("another process sees what was committed, few refs or many", async (t) => {
  const folder = await freshFolder();
  for (const total of [3, 450, 2_000]) {
    const refs = open(folder);
    const have = (await refs.read()).refs.length;
    await refs.update(
      Array.from({ length: total - have }, (_, n) =>
        create(`refs/heads/n${have + n}`, oid(have + n + 1)),
      ),
      OPTIONS,
    );
    const again = await open(folder).read();
    t.equal(again.refs.length, total);
    t.equal(again.byName.get("refs/heads/n2")?.oid, oid(3));
  }
});

t.test(
  "with many refs a push rewrites its change and not the refs; after 1,000 changes they are folded",
  async (t) => {
    const folder = await freshFolder();
    const refs = open(folder);
    await refs.update(
      Array.from({ length: 5_000 }, (_, n) => create(`refs/heads/n${n}`, oid(n + 1))),
      OPTIONS,
    );
    const git = join(folder, "repos/a/b/git");
    t.equal((await readdir(join(git, "snapshots"))).length, 1);
    await refs.update([{ name: "refs/heads/n1", old: oid(2), new: oid(7) }], OPTIONS);
    t.ok((await readFile(join(git, "manifest"))).length < 2_000, "the manifest stays small");
    t.equal((await readdir(join(git, "snapshots"))).length, 1);
    const changes = Array.from({ length: 1_001 }, (_, n) => ({
      name: `refs/heads/n${n + 10}`,
      old: oid(n + 11),
      new: ZERO_OID,
    }));
    await refs.update(changes, { ...OPTIONS, denyDeleteCurrent: false });
    t.equal((await readdir(join(git, "snapshots"))).length, 2);
    t.equal((await open(folder).read()).refs.length, 3_999);
  },
);

t.test(
  "a damaged manifest or a missing snapshot is a fault, never an empty repository",
  async (t) => {
    const folder = await freshFolder();
    await open(folder).update(
      Array.from({ length: 500 }, (_, n) => create(`refs/heads/n${n}`, oid(n + 1))),
      OPTIONS,
    );
    const git = join(folder, "repos/a/b/git");
    const whole = await readFile(join(git, "manifest"));
    for (const cut of [0, 1, whole.length >> 1, whole.length - 3]) {
      await writeFile(join(git, "manifest"), whole.subarray(0, cut));
      t.equal(await faultOf(open(folder).read()), "manifest/damaged", `cut at ${cut}`);
      t.equal(
        await faultOf(open(folder).update([create("refs/heads/x", oid(1))], OPTIONS)),
        "manifest/damaged",
      );
    }
    await writeFile(join(git, "manifest"), whole);
    await rm(join(git, "snapshots"), { recursive: true });
    t.equal(await faultOf(open(folder).read()), "manifest/damaged");
  },
);
