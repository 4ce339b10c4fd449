import { mkdtemp, readdir, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { utf8 } from "../../src/base/bytes.js";
import { DiskStore } from "../../src/store/disk.js";
import { faultOf, storeConformance } from "./store.js";

const folders: string[] = [];
t.teardown(() =>
  Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))),
);

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-store-"));
  folders.push(folder);
  return folder;
}

t.test("disk", async (t) => storeConformance(t, async () => new DiskStore(await freshFolder())));

t.test("what writes that died have left goes once it is old, and nothing else", async (t) => {
  const folder = await freshFolder();
  const store = new DiskStore(folder);
  for (const key of ["s/a/1", "s/2", "other/3"]) await store.putIfAbsent(key, utf8("kept"));
  const then = new Date(1_000_000);
  const later = new Date(2_000_000);
  for (const name of ["s/a/~tmp-old", "s/~tmp-old", "s/~tmp-new", "other/~tmp-old"])
    await writeFile(join(folder, name), "left");
  for (const name of ["s/a/1", "s/2", "s/a/~tmp-old", "s/~tmp-old", "other/~tmp-old"])
    await utimes(join(folder, name), then, then);
  t.same(await store.names("s/"), ["2", "a/"], "they have no name");
  await utimes(join(folder, "s/~tmp-new"), later, later);
  t.same(await store.sweep("s/", 1_500_000), { files: 2, bytes: 8 });
  t.same((await readdir(folder, { recursive: true })).sort(), [
    "other",
    "other/3",
    "other/~tmp-old",
    "s",
    "s/2",
    "s/a",
    "s/a/1",
    "s/~tmp-new",
  ]);
  t.same(await store.sweep("absent/", 3_000_000), { files: 0, bytes: 0 });
});

t.test("a refused or failed write leaves no temporary file behind", async (t) => {
  const folder = await freshFolder();
  const store = new DiskStore(folder);
  await store.putIfAbsent("k/a", utf8("1"));
  await faultOf(store.putIfAbsent("k/a", utf8("2")));
  await faultOf(store.putIfMatch("k/a", utf8("3"), "stale"));
  t.same(await readdir(join(folder, "k")), ["a"]);
});

t.test("a file that is too large is refused by its size, before any of it is read", async (t) => {
  const folder = await freshFolder();
  const store = new DiskStore(folder);
  await writeFile(join(folder, "manifest"), "");
  await truncate(join(folder, "manifest"), 2 ** 40); // a hole: takes no space, and nobody can hold it
  const reading = store.get("manifest", 1_000);
  await t.rejects(reading, {
    code: "store/oversized",
    row: { http: 500 },
    facts: { bytes: 2 ** 40, bytesMax: 1_000 },
  });
});
