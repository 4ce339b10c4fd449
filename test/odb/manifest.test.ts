/**
 * Manifests: their format, a name for emergencies, and that one which was there and is gone is no
 * empty repository.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { utf8 } from "../../src/base/bytes.js";
import { asFault } from "../../src/base/fault.js";
import { decodeManifest, emptyManifest, encodeManifest } from "../../src/odb/manifest/manifest.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import { DiskStore } from "../../src/store/disk.js";
import { tempFolder } from "../support/temp-folder.js";

const faultOf = (work: () => unknown) =>
  Promise.resolve()
    .then(work)
    .then(
      () => undefined,
      (error: unknown) => asFault(error),
    );

t.test("the name is kept as a hint, and needs not be there", async (t) => {
  const named = { ...emptyManifest("refs/heads/main"), name: "ns/name" };
  t.same(decodeManifest(encodeManifest(named), "x"), named);
  t.equal(
    decodeManifest(
      utf8('{"format":2,"revision":3,"head":"refs/heads/main","refs":{},"packs":[]}'),
      "x",
    ).name,
    undefined,
  );
});

t.test("format 2 is read: files called by their checksums, nothing on its way out", async (t) => {
  const [one, other] = ["1".repeat(40), "2".repeat(40)];
  const pack = { bytes: 1, objects: 1, origin: "push", closed: true, selfContained: true };
  const old = {
    format: 2,
    revision: 3,
    head: "refs/heads/main",
    refs: { "refs/heads/main": one },
    packs: [{ checksum: other, ...pack }],
  };
  const read = decodeManifest(utf8(JSON.stringify(old)), "x");
  t.match(read, { format: 3, revision: 3, packs: [{ checksum: other, name: other }] });
  t.same([read.unnamed, read.dropped], [{}, {}]);
  t.same(decodeManifest(encodeManifest(read), "x"), read);
});

t.test("other formats are refused by their number", async (t) => {
  for (const format of [1, 4]) {
    const text = `{"format":${format},"revision":3,"head":"refs/heads/main","refs":{},"packs":[]}`;
    t.match(await faultOf(() => decodeManifest(utf8(text), "x")), {
      code: "manifest/damaged",
      message: new RegExp(`its format is ${format}, and this version reads 2 and 3`),
    });
  }
});

t.test(
  "a repository that has had a manifest and has none is damaged, one that has not is empty",
  async (t) => {
    const folder = await tempFolder(t);
    const store = new DiskStore(folder);
    const made: string[] = [];
    const life = { name: "me/x", made: async () => void made.push("made") };
    const first = new ManifestStore(store, "repos/x", "refs/heads/main", life);
    t.notOk(await first.exists());
    t.same((await first.read()).packs, []);
    await first.update((manifest) => manifest);
    await first.update((manifest) => manifest);
    t.same(made, ["made"], "told once");
    t.equal(
      (await new ManifestStore(store, "repos/x", "refs/heads/main", { isMade: true }).read()).name,
      "me/x",
    );

    await rm(join(folder, "repos/x/git/manifest"));
    const known = new ManifestStore(store, "repos/x", "refs/heads/main", { isMade: true });
    for (const ask of [
      () => known.read(),
      () => known.exists(),
      () => known.update((manifest) => manifest),
    ]) {
      t.match(await faultOf(ask), { code: "manifest/damaged", message: /it is missing/ });
    }
    t.notOk(
      await new ManifestStore(store, "repos/x", "refs/heads/main").exists(),
      "where nobody knows, it is empty",
    );
  },
);
