import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { utf8 } from "../../src/base/bytes.js";
import { DiskStore } from "../../src/store/disk.js";
import { faultOf, storeConformance } from "./store.js";

const folders: string[] = [];
t.teardown(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-store-"));
  folders.push(folder);
  return folder;
}

t.test("disk", async (t) => storeConformance(t, async () => new DiskStore(await freshFolder())));

t.test("a refused or failed write leaves no temporary file behind", async (t) => {
  const folder = await freshFolder();
  const store = new DiskStore(folder);
  await store.putIfAbsent("k/a", utf8("1"));
  await faultOf(store.putIfAbsent("k/a", utf8("2")));
  await faultOf(store.putIfMatch("k/a", utf8("3"), "stale"));
  t.same(await readdir(join(folder, "k")), ["a"]);
});
