/**
 * One manifest and many writers, on one node and on several: changes that wait are written
 * together, losers of a race try again, and what is on its way out is never named again. The store
 * is a disk that is taken for an object store: it is asked again each time. The same on a real one:
 * interop/fleet.
 */
import t, { type Test } from "tap";
import { utf8 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { collectFiles } from "../../src/odb/manifest/collect.js";
import type { Manifest } from "../../src/odb/manifest/manifest.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import type { PackLine } from "../../src/odb/pack-line.js";
import { DiskStore } from "../../src/store/disk.js";
import { tempFolder } from "../support/temp-folder.js";

const PREFIX = "repos/one";
const { signal } = new AbortController();

class Bucket extends DiskStore {
  override readonly kind = "s3" as never;
  writes = 0;
  whole = 0;
  override putIfMatch(...given: Parameters<DiskStore["putIfMatch"]>) {
    this.writes++;
    return super.putIfMatch(...given);
  }
  override async getIfChanged(...given: Parameters<DiskStore["getIfChanged"]>) {
    const found = await super.getIfChanged(...given);
    if (found !== "unchanged") this.whole++;
    return found;
  }
}

async function bucketOf(t: Test) {
  const bucket = new Bucket(await tempFolder(t));
  const node = () => new ManifestStore(bucket, PREFIX, "refs/heads/main");
  return { bucket, node };
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "done",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );

const withRef =
  (name: string) =>
  (manifest: Manifest): Manifest => ({
    ...manifest,
    refs: { ...manifest.refs, [`refs/heads/${name}`]: "1".repeat(40) },
  });

function line(name: string, checksum = "c".repeat(40)): PackLine {
  const size = { bytes: 3, objects: 1 };
  return { checksum, name, ...size, origin: "push", closed: true, selfContained: true };
}

const withPack =
  (name: string, checksum?: string) =>
  (manifest: Manifest): Manifest => ({
    ...manifest,
    packs: [line(name, checksum), ...manifest.packs],
  });

const packKey = (name: string) => `${PREFIX}/git/objects/pack/pack-${name}.pack`;

t.test("changes that wait are written together, each told its own outcome", async (t) => {
  const { bucket, node } = await bucketOf(t);
  const manifests = node();
  const abort = new AbortController();
  const landing = Array.from({ length: 50 }, (_, at) => manifests.update(withRef(`b${at}`)));
  const failing = manifests.update(() => {
    throw new Fault("store/full");
  });
  const leaving = manifests.update(withRef("left"), abort.signal);
  abort.abort(new Fault("lakefs/replaced"));
  t.equal(await codeOf(leaving), "lakefs/replaced");
  t.equal(await codeOf(failing), "store/full");
  await Promise.all(landing);
  const { refs, revision } = await manifests.read();
  t.equal(Object.keys(refs).length, 50);
  t.ok(bucket.writes <= 4, `${bucket.writes} writes`);
  t.equal(revision, bucket.writes);
  t.equal(await codeOf(manifests.update(() => undefined)), "done", "nothing to change");
});

t.test("a read is asked whether it still is so, and sees what another node wrote", async (t) => {
  const { bucket, node } = await bucketOf(t);
  const [here, there] = [node(), node()];
  await here.update(withRef("one"));
  const seen = await there.read();
  t.equal(await there.read(), seen, "the same object: what hangs on it stays");
  t.equal(bucket.whole, 0);
  await here.update(withRef("two"));
  t.equal(await there.seen(), seen);
  t.same(Object.keys((await there.read()).refs), ["refs/heads/one", "refs/heads/two"]);
  t.equal(bucket.whole, 1);
  t.not((await here.read()).nonce, seen.nonce, "no two writes have equal bytes");
});

t.test("four nodes write at once, and nothing is lost", async (t) => {
  const { node } = await bucketOf(t);
  const nodes = Array.from({ length: 4 }, node);
  await Promise.all(
    nodes.flatMap((one, at) =>
      Array.from({ length: 25 }, async (_, step) => {
        await new Promise((wake) => setTimeout(wake, Math.random() * 200));
        await one.update(withRef(`n${at}-${step}`));
      }),
    ),
  );
  t.equal(Object.keys((await node().read()).refs).length, 100);
});

t.test("a pack on its way out is not named again, nor one whose files are gone", async (t) => {
  const { bucket, node } = await bucketOf(t);
  const [here, there] = [node(), node()];
  const [late, slow, fresh] = ["a".repeat(40), "b".repeat(40), "d".repeat(40)];
  await here.update(withRef("one"));
  for (const name of [late, slow]) await bucket.putIfAbsent(packKey(name), utf8("one"));
  here.published(late);
  // Twice: found, dropped and removed at once where the grace is 0.
  const options = { store: bucket, manifests: there, prefix: PREFIX, graceMs: 3_600_000 };
  t.match(await collectFiles(options, signal), { removed: { files: 0 }, waiting: { files: 2 } });
  t.match(Object.keys((await there.read()).unnamed).length, 2);
  await here.update(withPack(late, "e".repeat(40)));
  t.same(Object.keys((await here.read()).unnamed), [`pack-${slow}`], "a push still may name it");
  const drop = (manifest: Manifest): Manifest => ({
    ...manifest,
    unnamed: {},
    dropped: { [`pack-${slow}`]: new Date().toISOString() },
  });
  await there.update(drop);
  here.published(slow);
  t.equal(await codeOf(here.update(withPack(slow))), "manifest/dropped");
  t.equal(await codeOf(here.update(withPack(fresh))), "manifest/dropped", "there is no such file");
  t.same(await collectFiles({ ...options, graceMs: 0 }, signal), {
    removed: { files: 1, bytes: 3 },
    waiting: { files: 0, bytes: 0 },
  });
  t.same(Object.keys((await here.read()).dropped), [`pack-${slow}`], "a node may still trust it");
  t.equal(await codeOf(here.update(withPack(slow))), "manifest/dropped", "though it is gone");
  const longAgo = new Date(Date.now() - LIMITS.droppedKnownMs - 1).toISOString();
  await there.update((manifest) => ({ ...manifest, dropped: { [`pack-${slow}`]: longAgo } }));
  await collectFiles({ ...options, graceMs: 0 }, signal);
  t.same((await here.read()).dropped, {}, "in the end it is forgotten");
  t.equal(await codeOf(here.update(withPack("f".repeat(40)))), "manifest/dropped", "and not later");
});

t.test("a collection that sleeps before its DELETE removes nothing that is wanted", async (t) => {
  const { bucket, node } = await bucketOf(t);
  const [here, there] = [node(), node()];
  const [old, again] = ["a".repeat(40), "b".repeat(40)];
  await bucket.putIfAbsent(packKey(old), utf8("one"));
  await here.update(withPack(old));
  await here.update((manifest) => ({ ...manifest, packs: [] }));
  let wake: () => void = () => undefined;
  const asleep = new Promise<void>((resolve) => (wake = resolve));
  const remove = bucket.delete.bind(bucket);
  const reached = new Promise<void>((resolve) => {
    bucket.delete = async (key) => {
      resolve();
      await asleep;
      return remove(key);
    };
  });
  const options = { store: bucket, manifests: there, prefix: PREFIX, graceMs: 0 };
  const sleeping = collectFiles(options, signal);
  await reached;
  // Meanwhile: the same bytes come again, by another push and another node.
  await bucket.putIfAbsent(packKey(again), utf8("one"));
  here.published(again);
  await here.update(withPack(again));
  wake();
  t.match(await sleeping, { removed: { files: 1 } });
  const { packs, dropped } = await node().read();
  t.same([packs.map(({ name }) => name), Object.keys(dropped)], [[again], [`pack-${old}`]]);
  t.equal(await bucket.size(packKey(again)), 3);
});

t.test("a writer that always loses says so, after a bounded number of attempts", async (t) => {
  const { bucket, node } = await bucketOf(t);
  const [here, other] = [node(), node()];
  let attempts = 0;
  const work = here.update(async (manifest) => {
    if (attempts++ < LIMITS.swapAttemptsMax) await other.update(withRef(`w${attempts}`));
    return withRef("late")(manifest);
  });
  t.equal(await codeOf(work), "store/conflict");
  t.equal(attempts, LIMITS.swapAttemptsMax);
  t.ok(bucket.writes >= 2 * LIMITS.swapAttemptsMax);
});

t.test(
  "a write whose outcome the store cannot tell is found, or is known not to come",
  async (t) => {
    const { bucket, node } = await bucketOf(t);
    const [here, there] = [node(), node()];
    await here.update(withRef("one"));
    const put = bucket.putIfMatch.bind(bucket);
    const unknown = () => {
      throw new Fault("store/unknown-outcome", { reason: "a reply was lost" });
    };
    const once = (work: typeof put) => {
      bucket.putIfMatch = (...given) => {
        bucket.putIfMatch = put;
        return work(...given);
      };
    };
    once(async (...given) => (await put(...given)) && unknown());
    await here.update(withRef("landed"));
    once(async (...given) => {
      await put(...given);
      await there.update(withRef("built upon it"));
      return unknown();
    });
    await here.update(withRef("landed before another's"));
    once(async () => {
      await there.update(withRef("was first"));
      return unknown();
    });
    await here.update(withRef("lost, and tried again"));
    once(async () => unknown());
    t.equal(await codeOf(here.update(withRef("may still come"))), "store/unknown-outcome");
    const { refs, revision } = await node().read();
    t.same(Object.keys(refs).length, 6, Object.keys(refs).join(", "));
    t.equal(revision, 6, "none was written twice");
  },
);
