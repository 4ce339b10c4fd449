/**
 * Uploads to lakeFS whose end is not seen: bytes it has stored count, and nothing else is left
 * there.
 */
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { blockStores } from "../support/everyday.js";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import { RootCommit } from "../../src/lakefs/agreed/root-commit.js";
import { answerBatch } from "../../src/lfs/batch.js";
import { LFS_BRANCH } from "../../src/lfs/lakefs-files.js";
import { LakefsLfsStore } from "../../src/lfs/lakefs-store.js";
import { lakefsFiles } from "../../src/serve/lfs/lakefs-files.js";
import { type Call, startProxy } from "../support/lakefs-proxy.js";
import { createSource, SEAL_KEY, signal, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

type Facts = { sha256: string; blob: string | undefined };

/** A store whose calls are given up after little silence, and never waited for. */
async function openStore(t: Test, server: RunningLakefs) {
  const proxy = await startProxy(t, server);
  const { name: repository } = await createSource(server);
  const client = new LakefsServer({ ...proxy.server.access, patienceMs: 0 }, undefined, {
    writeWaitMs: 700,
  });
  const hashed = new Map<string, Facts>();
  const commits = {
    hashed: async (key: string) => hashed.get(key),
    rememberHashed: async (key: string, facts: Facts) => void hashed.set(key, facts),
  };
  const namespace = server.namespace(repository);
  const files = lakefsFiles({
    client: client.in(repository),
    namespace,
    sealKeys: [SEAL_KEY],
    commits,
    root: new RootCommit(client.in(repository)),
    heads: { latest: [] },
  });
  const store = new LakefsLfsStore(
    files,
    { knownObject: async () => undefined },
    await testPool(t),
  );
  const staged = async () =>
    [
      ...(await server.client
        .in(repository)
        .dirtyPaths(LFS_BRANCH, 100, signal)
        .catch(() => [])),
    ].sort();
  return { proxy, store, staged, repository };
}

function newObject(bytes: number) {
  const content = randomBytes(bytes);
  const oid = createHash("sha256").update(content).digest("hex");
  return {
    content,
    object: { oid, size: bytes },
    path: `lfs/${oid.slice(0, 2)}/${oid.slice(2, 4)}/${oid}`,
  };
}

async function upload(
  store: LakefsLfsStore,
  { content, object }: ReturnType<typeof newObject>,
  client = signal,
): Promise<string> {
  const taken = await store.beginUpload(object, client);
  try {
    await taken.write(content);
    await taken.finish();
    return "kept";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  } finally {
    await taken.discard();
  }
}

const isUpload = ({ method, path }: Call) => method === "POST" && path.includes("incoming");
const isNaming = ({ method, path }: Call) => method === "PUT" && path.includes("objects?path=lfs");

t.test("uploads", { skip: skipLakefs, timeout: 120_000 }, async (t) => {
  const server = await startLakefs(t);
  const { proxy, store, staged } = await openStore(t, server);

  await t.test("whose answer is lost", async (t) => {
    const made = newObject(400_000);
    proxy.onCall = (call) => (isUpload(call) ? { as: "silence" } : undefined);
    t.equal(await upload(store, made), "kept");
    t.same(await staged(), [made.path]);
  });

  await t.test(
    "whose client gives up behind the last byte: the next one finds the object there",
    async (t) => {
      const before = await staged();
      const made = newObject(300_000);
      proxy.onCall = (call) => (isUpload(call) ? { as: "late", ms: 500 } : undefined);
      const client = new AbortController();
      setTimeout(() => client.abort(), 200);
      t.equal(await upload(store, made, client.signal), "base/aborted");
      t.equal(await store.size(made.object, signal), made.object.size, "it is waited for");
      await sleep(100);
      t.same(await staged(), [...before, made.path].sort());
    },
  );

  await t.test("whose name is not taken: whoever asks next gives it", async (t) => {
    const before = await staged();
    const made = newObject(200_000);
    proxy.onCall = (call) =>
      isNaming(call) ? { as: "answer", status: 500, body: '{"message":"no"}' } : undefined;
    t.equal(await upload(store, made), "lakefs/failed");
    proxy.onCall = () => undefined;
    t.equal(proxy.calls.filter(isUpload).length, 3);
    t.equal(await store.size(made.object, signal), made.object.size);
    t.equal(proxy.calls.filter(isUpload).length, 3, "without its bytes");
    t.same(await staged(), [...before, made.path].sort());
  });

  await t.test("that are wrong, or whose client leaves in the middle, leave nothing", async (t) => {
    const before = await staged();
    const made = newObject(200_000);
    proxy.onCall = (call) => (isUpload(call) ? { as: "silence" } : undefined);
    t.equal(await upload(store, { ...made, content: randomBytes(200_000) }), "lfs/mismatch");
    proxy.onCall = () => undefined;
    const taken = await store.beginUpload(made.object, signal);
    await taken.write(made.content.subarray(0, 1_000));
    await taken.discard();
    t.equal(await store.size(made.object, signal), undefined);
    t.same(await staged(), before);
  });

  await t.test("whose temporary name cannot be taken away now: it is later", async (t) => {
    const before = await staged();
    const [first, second] = [newObject(1_000), newObject(1_000)];
    proxy.onCall = ({ path }) =>
      path.endsWith("/objects/delete") ? { as: "answer", status: 500 } : undefined;
    t.equal(await upload(store, first), "kept");
    t.equal((await staged()).length, before.length + 2, "it is there still");
    proxy.onCall = () => undefined;
    t.equal(await upload(store, second), "kept");
    await sleep(200);
    t.same(await staged(), [...before, first.path, second.path].sort());
  });
});

for (const blocks of blockStores) {
  t.test(
    `an object whose bytes lakeFS's collection has removed, ${blocks} blocks`,
    { skip: skipLakefs, timeout: 60_000 },
    async (t) => {
      const server = await startLakefs(t, blocks);
      const { store, repository } = await openStore(t, server);
      const [gone, kept] = [newObject(5_000), newObject(6_000)];
      for (const made of [gone, kept]) t.equal(await upload(store, made), "kept");
      const { physical_address: address } = await server.client
        .in(repository)
        .statObject(LFS_BRANCH, gone.path, signal);
      await server.collect(address);
      const links = { transfer: () => "http://link", verify: () => "http://verify" };
      const objects = [gone.object, kept.object];
      const answer = await answerBatch(
        { operation: "download", objects, unknownHash: undefined },
        store,
        links,
        signal,
      );
      t.match(answer.objects[0], {
        oid: gone.object.oid,
        error: { code: 410, message: /gone from lakeFS's storage/ },
      });
      t.notOk(answer.objects[0]?.actions);
      t.ok(answer.objects[1]?.actions?.download, "the others are there");
      await t.rejects(
        async () => {
          for await (const _ of store.read(gone.object, 0, 5_000, signal)) t.fail("nothing comes");
        },
        { code: "lfs/gone" },
      );
    },
  );
}
