/** LFS objects in a real lakeFS, over local and S3 blocks. */
import { createHash, randomBytes } from "node:crypto";
import t, { type Test } from "tap";
import { blockStores } from "../support/everyday.js";
import { RootCommit } from "../../src/lakefs/agreed/root-commit.js";
import { type KnownObject, LFS_BRANCH } from "../../src/lfs/lakefs-files.js";
import { LakefsLfsStore } from "../../src/lfs/lakefs-store.js";
import { lakefsFiles } from "../../src/serve/lfs/lakefs-files.js";
import { createSource, SEAL_KEY, signal, testPool } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const CHUNK = 60_000;

function objectOf(content: Uint8Array) {
  return { oid: createHash("sha256").update(content).digest("hex"), size: content.length };
}

async function upload(
  store: LakefsLfsStore,
  object: { oid: string; size: number },
  content: Uint8Array,
): Promise<string> {
  const taken = await store.beginUpload(object, signal);
  try {
    for (let at = 0; at < content.length; at += CHUNK)
      await taken.write(content.subarray(at, at + CHUNK));
    await taken.finish();
    return "kept";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  } finally {
    await taken.discard();
  }
}

async function readAll(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const part of parts) all.push(Buffer.from(part));
  return Buffer.concat(all);
}

async function setUp(t: Test, blocks: "local" | "s3") {
  const server = await startLakefs(t, blocks);
  const source = await createSource(server);
  const known = new Map<string, KnownObject>();
  const hashed = new Map<string, { sha256: string; blob: string | undefined }>();
  const commits = {
    hashed: async (key: string) => hashed.get(key),
    rememberHashed: async (key: string, facts: { sha256: string; blob: string | undefined }) =>
      void hashed.set(key, facts),
  };
  const latest: { lakeId: string }[] = [];
  const files = lakefsFiles({
    client: server.client.in(source.name),
    namespace: server.namespace(source.name),
    sealKeys: [SEAL_KEY],
    commits,
    root: new RootCommit(server.client.in(source.name)),
    heads: {
      get latest() {
        return latest;
      },
    },
  });
  const store = new LakefsLfsStore(
    files,
    { knownObject: async (oid) => known.get(oid) },
    await testPool(t),
  );
  const staged = async () =>
    (await server.client.in(source.name).dirtyPaths(LFS_BRANCH, 100, signal)).map((path) => path);
  return { server, source, known, hashed, latest, store, staged };
}

for (const blocks of blockStores) {
  t.test(
    `${blocks} blocks: an object is there when it is whole, and can be staged by its address`,
    { skip: skipLakefs },
    async (t) => {
      const { server, source, store, staged } = await setUp(t, blocks);
      const content = randomBytes(9_500_001);
      const object = objectOf(content);
      t.equal(await store.size(object, signal), undefined);
      t.equal(await upload(store, object, content), "kept");
      t.equal(await store.size(object, signal), content.length);
      t.same(
        await staged(),
        [`lfs/${object.oid.slice(0, 2)}/${object.oid.slice(2, 4)}/${object.oid}`],
        "nothing else is staged",
      );
      t.ok((await readAll(store.read(object, 0, object.size, signal))).equals(content));
      t.ok(
        (await readAll(store.read(object, 4_000_000, 4_000_003, signal))).equals(
          content.subarray(4_000_000, 4_000_003),
        ),
      );
      const link = await store.link(object, signal);
      if (blocks === "local") t.equal(link, undefined);
      else
        t.ok(
          Buffer.from(await (await fetch(link as string)).arrayBuffer()).equals(content),
          "the presigned address gives it",
        );

      const address = (await store.address(object.oid, object.size, signal)) as string;
      t.equal(
        await store.address(object.oid, 1, signal),
        undefined,
        "another size is another object",
      );
      await server.client
        .in(source.name)
        .stageObject(
          "main",
          "model.bin",
          { physical_address: address, checksum: "x", size_bytes: object.size },
          signal,
        );
      const { id } = await source.commit();
      const seen = await server.client
        .in(source.name)
        .readObject(id, "model.bin", object.size, signal);
      t.ok(Buffer.from(seen).equals(content), "lakeFS shows the real bytes");
    },
  );

  t.test(
    `${blocks} blocks: a wrong or cut content leaves nothing`,
    { skip: skipLakefs },
    async (t) => {
      const { store, staged } = await setUp(t, blocks);
      const content = randomBytes(300_000);
      const object = objectOf(content);
      t.equal(await upload(store, object, randomBytes(300_000)), "lfs/mismatch");
      t.equal(await upload(store, object, content.subarray(1)), "lfs/mismatch");
      t.equal(await upload(store, object, Buffer.concat([content, content])), "lfs/mismatch");
      const cut = await store.beginUpload(object, signal);
      await cut.write(content.subarray(0, 100_000));
      await cut.discard();
      await t.rejects(cut.write(content.subarray(100_000)), "what was given up takes no more");
      t.equal(await store.size(object, signal), undefined);
      t.same(await staged(), []);
      const empty = objectOf(Buffer.alloc(0));
      t.equal(await upload(store, empty, Buffer.alloc(0)), "kept");
      t.equal(await store.size(empty, signal), 0);
    },
  );
}

t.test(
  "uploads that a crash left are swept when they are old; what has its name stays",
  { skip: skipLakefs },
  async (t) => {
    const { server, source, store, staged } = await setUp(t, "local");
    t.equal(await store.sweep(Date.now(), signal), 0, "where there is no branch yet");
    const content = randomBytes(1_000);
    const object = objectOf(content);
    t.equal(await upload(store, object, content), "kept");
    const left = Array.from({ length: 3 }, () => `lfs/incoming/${randomBytes(12).toString("hex")}`);
    const named = `lfs/${object.oid.slice(0, 2)}/${object.oid.slice(2, 4)}/${object.oid}`;
    for (const path of [...left, "lfs/incoming/readme", "lfs/incoming-not/x"])
      await source.put({ [path]: "half" }, { branch: LFS_BRANCH });
    const hourMs = 3_600_000;
    t.equal(await store.sweep(Date.now() + 23 * hourMs, signal), 0, "not those of today");
    t.equal(await store.sweep(Date.now() + 25 * hourMs, signal), left.length);
    t.same((await staged()).sort(), ["lfs/incoming/readme", "lfs/incoming-not/x", named].sort());
    t.ok((await readAll(store.read(object, 0, object.size, signal))).equals(content));
    t.equal(
      (await server.client.in(source.name).listObjects(LFS_BRANCH, "", signal)).results.length,
      3,
    );
  },
);

t.test(
  "an object that a commit shows as a pointer is read where it lies; a file that only has the name is none",
  { skip: skipLakefs },
  async (t) => {
    const { server, source, known, latest, store, staged } = await setUp(t, "local");
    const content = randomBytes(100_000);
    const object = objectOf(content);
    await source.put({
      "a/b.bin": content,
      [`lfs/${object.oid.slice(0, 2)}/${object.oid.slice(2, 4)}/${object.oid}`]: "forged",
    });
    const { id } = await source.commit();
    await server.client
      .in(source.name)
      .createBranch({ name: LFS_BRANCH, source: "main", hidden: true }, signal);
    t.equal(await store.size(object, signal), undefined);
    known.set(object.oid, { commit: id, path: "a/b.bin", size: content.length, proven: false });
    t.equal(
      await store.size(object, signal),
      undefined,
      "nobody has hashed it: it must be uploaded",
    );
    t.equal(await store.readable(object, signal), content.length, "and can be downloaded");
    known.set(object.oid, { commit: id, path: "a/b.bin", size: content.length, proven: true });
    latest.push({ lakeId: id });
    t.equal(await store.size(object, signal), content.length);
    t.ok((await readAll(store.read(object, 10, 20, signal))).equals(content.subarray(10, 20)));
    t.equal(
      await store.address(object.oid, object.size, signal),
      (await server.client.in(source.name).statObject(id, "a/b.bin", signal)).physical_address,
    );

    await source.remove(["a/b.bin"]);
    latest[0] = { lakeId: (await source.commit("gone")).id };
    const copied = await store.address(object.oid, object.size, signal);
    t.not(
      copied,
      (await server.client.in(source.name).statObject(id, "a/b.bin", signal)).physical_address,
      "what only an old commit names is copied",
    );
    t.ok(
      (await staged()).includes(
        `lfs/${object.oid.slice(0, 2)}/${object.oid.slice(2, 4)}/${object.oid}`,
      ),
      "and held by the hidden branch",
    );
    t.equal(await store.address(object.oid, object.size, signal), copied);
    t.ok((await readAll(store.read(object, 0, object.size, signal))).equals(content));
  },
);

for (const blocks of blockStores) {
  t.test(
    `${blocks} blocks: a name on the hidden branch proves nothing; a seal and what was hashed here do`,
    { skip: skipLakefs },
    async (t) => {
      const { server, source, hashed, store } = await setUp(t, blocks);
      const [content, forged] = [randomBytes(5_000), randomBytes(5_000)];
      const object = objectOf(content);
      await server.client
        .in(source.name)
        .createBranch({ name: LFS_BRANCH, source: "main", hidden: true }, signal);
      const path = `lfs/${object.oid.slice(0, 2)}/${object.oid.slice(2, 4)}/${object.oid}`;
      const { physical_address } = await server.client
        .in(source.name)
        .uploadObject(LFS_BRANCH, path, forged, {}, signal);
      const entry = {
        physical_address,
        checksum: `sha256:${object.oid}`,
        size_bytes: forged.length,
      };
      const bound = `${object.oid} ${forged.length} sha256:${object.oid}`;
      for (const metadata of [
        {},
        { "lakepack-sha256": bound },
        {
          "lakepack-sha256": bound,
          "lakepack-address": physical_address,
          "lakepack-seal": `1 ${"0".repeat(16)} ${"0".repeat(64)}`,
        },
      ]) {
        await server.client
          .in(source.name)
          .stageObject(LFS_BRANCH, path, { ...entry, metadata }, signal);
        t.equal(await store.size(object, signal), undefined);
        t.equal(await store.address(object.oid, object.size, signal), undefined);
      }
      t.equal(await upload(store, object, content), "kept");
      t.equal(await store.size(object, signal), content.length);
      const { metadata: sealed = {} } = await server.client
        .in(source.name)
        .statObject(LFS_BRANCH, path, signal);
      hashed.clear();
      t.equal(await store.size(object, signal), content.length, "its seal alone proves it");
      await server.client
        .in(source.name)
        .stageObject(LFS_BRANCH, path, { ...entry, metadata: sealed }, signal);
      t.equal(await store.size(object, signal), undefined, "a seal is about one address");
      t.equal(await upload(store, object, content), "kept");
      const good = await server.client.in(source.name).statObject(LFS_BRANCH, path, signal);
      const address = (await store.address(object.oid, object.size, signal)) as string;
      await server.client.in(source.name).stageObject(
        LFS_BRANCH,
        path,
        {
          physical_address: address,
          checksum: good.checksum,
          size_bytes: content.length,
          metadata: {},
        },
        signal,
      );
      t.equal(
        await store.size(object, signal),
        content.length,
        "what was hashed here is remembered without one",
      );
    },
  );
}
