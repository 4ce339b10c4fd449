/** A manifest that is another name of a lakeFS repository: read back as such, and nothing of our own is put into it. */
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { utf8 } from "../../src/base/bytes.js";
import { decodeManifest, emptyManifest, encodeManifest } from "../../src/odb/manifest.js";
import { ManifestRefs } from "../../src/odb/manifest-refs.js";
import { ManifestStore } from "../../src/odb/manifest-store.js";
import { DiskStore } from "../../src/store/disk.js";
import { tempFolder } from "../interop/harness.js";

t.test("the binding is kept, and manifests without one read as before", async (t) => {
  const bound = { ...emptyManifest("refs/heads/main"), lakefs: "demo" };
  t.same(decodeManifest(encodeManifest(bound), "x"), bound);
  t.equal(decodeManifest(utf8('{"format":1,"revision":3,"head":"refs/heads/main","refs":{},"packs":[]}'), "x").lakefs, undefined);
});

t.test("a push that was on its way when its name was bound is refused", async (t) => {
  const store = new DiskStore(await tempFolder(t));
  const manifests = new ManifestStore(store, "repos/me/x", "refs/heads/main");
  const refs = new ManifestRefs(manifests, store, "repos/me/x");
  await refs.read();
  await manifests.update((manifest) => ({ ...manifest, lakefs: "demo" }));
  const change = { name: "refs/heads/main", old: "0".repeat(40), new: "1".repeat(40) };
  const failure = await refs.update([change], { atomic: false, denyDeletes: false, denyDeleteCurrent: true }).then(() => undefined, (error: unknown) => error);
  t.ok(failure instanceof Fault && failure.code === "repository/exists");
  t.same((await refs.read()).refs, []);
});
