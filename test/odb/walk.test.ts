/**
 * Walks: the objects rev-list names, at a cost that follows the change; what is reachable, found
 * anew or extended.
 */
import t, { type Test } from "tap";
import { plainKernels } from "../../src/kernels/plain.js";
import { ObjectReader } from "../../src/odb/packs/reader.js";
import { allReachCommon } from "../../src/odb/walk/negotiate.js";
import { NONE } from "../../src/odb/packs/numbering.js";
import { MARK } from "../../src/odb/walk/commit-walk.js";
import { findReachable, isReachable } from "../../src/odb/walk/reachable.js";
import { isCheaperThanTrees } from "../../src/odb/packs/types.js";
import { walkObjects } from "../../src/odb/walk/walk.js";
import { CONTROL_BYTES, TaskWatch } from "../../src/pool/control.js";
import type { ReachableBits, WalkRequest } from "../../src/odb/walk/tasks.js";
import type { PackHandle } from "../../src/odb/packs/handle.js";
import { createRepository, type StockRepository } from "../support/stock-git.js";

const watch = () => new TaskWatch(new SharedArrayBuffer(CONTROL_BYTES));

function repository(t: Test): StockRepository {
  const made = createRepository();
  t.teardown(() => made.remove());
  return made;
}

async function walk(
  packs: readonly PackHandle[],
  request: Partial<WalkRequest>,
): Promise<{ oids: string[]; inflated: number }> {
  const reader = new ObjectReader(packs, plainKernels);
  const { marks, count } = await walkObjects(
    reader,
    { wants: [], haves: [], shallow: [], tags: [], ...request },
    watch(),
    () => undefined,
  );
  const oids: string[] = [];
  marks.forEach((bits, number) => {
    if (bits & MARK.sent) oids.push(reader.space.oid(number));
  });
  if (oids.length !== count) throw new Error(`${count} counted, ${oids.length} marked`);
  return { oids: oids.sort(), inflated: reader.inflated };
}

/**
 * A history of `count` commits in a line, each changing one file of a wide tree; by fast-import,
 * which takes a moment only.
 */
function longHistory(t: Test, count: number): StockRepository {
  const made = repository(t);
  const lines: string[] = [];
  for (let at = 1; at <= count; at++) {
    lines.push(
      "commit refs/heads/main",
      `mark :${at}`,
      `committer C <c@example.com> ${1_600_000_000 + at} +0000`,
      "data 1",
      "c",
    );
    if (at > 1) lines.push(`from :${at - 1}`);
    const content = `${at}\n`;
    lines.push(
      `M 100644 inline d${at % 50}/e${at % 7}/f${at % 11}`,
      `data ${content.length}`,
      content,
    );
  }
  made.git(["fast-import", "--quiet"], `${lines.join("\n")}\n`);
  return made;
}

t.test("10,000 commits in a line", async (t) => {
  const made = longHistory(t, 10_000);
  const packs = made.packs();
  const head = made.git(["rev-parse", "main"]);
  t.same((await walk(packs, { wants: [head] })).oids, made.objects(["main"]));
  for (const back of [1, 50, 5_000]) {
    const have = made.git(["rev-parse", `main~${back}`]);
    const { oids, inflated } = await walk(packs, { wants: [head], haves: [have] });
    t.same(oids, made.objects(["main", `^main~${back}`]), `${back} behind`);
    // Three trees a commit, each at the end of a chain of up to 50 deltas, against 30,000 objects
    // in all.
    t.ok(inflated < 60 + back * 90, `${inflated} entries read for ${back} commits`);
  }
  const reader = new ObjectReader(packs, plainKernels);
  const [near, first] = [made.git(["rev-parse", "main~1"]), made.git(["rev-parse", "main~9999"])];
  t.ok(
    await allReachCommon(reader, { wants: [head], common: [first], shallow: [] }, watch()),
    "an ancestor 9,999 commits back",
  );
  t.notOk(
    await allReachCommon(reader, { wants: [first], common: [head], shallow: [] }, watch()),
    "a descendant is no ancestor",
  );
  t.notOk(
    await allReachCommon(reader, { wants: [head], common: [first], shallow: [near] }, watch()),
    "not beyond the client's boundary",
  );
  t.notOk(
    await allReachCommon(
      reader,
      { wants: [head], common: ["12".repeat(20)], shallow: [] },
      watch(),
    ),
  );
});

t.test("wants of every type, haves that are not here", async (t) => {
  const made = repository(t);
  made.write("a/b", "b\n");
  made.write("a/c", "c\n");
  const first = made.commit("first");
  made.write("a/b", "changed\n");
  made.commit("second");
  made.git(["tag", "-a", "-m", "tag", "v1", "HEAD~1"]);
  made.git(["tag", "-a", "-m", "nested", "v2", "v1"]);
  const packs = made.packs();
  const rev = (name: string) => made.git(["rev-parse", name]);
  for (const name of ["HEAD", "v1", "v2", "HEAD:a", "HEAD:a/b", "HEAD^{tree}"])
    t.same((await walk(packs, { wants: [rev(name)] })).oids, made.objects([name]), name);
  t.same(
    (await walk(packs, { wants: [rev("HEAD")], haves: ["12".repeat(20), first] })).oids,
    made.objects(["HEAD", `^${first}`]),
  );
  t.same(
    (await walk(packs, { wants: [rev("HEAD")], haves: [rev("v2")] })).oids,
    made.objects(["HEAD", "^v2"]),
    "a tag is had with what it points at",
  );
  t.same((await walk(packs, { wants: [rev("HEAD")], haves: [rev("HEAD")] })).oids, []);
  await t.rejects(walk(packs, { wants: ["12".repeat(20)] }), { code: "odb/missing" });
  const tags = [
    { oid: rev("v1"), peeled: first },
    { oid: rev("v2"), peeled: first },
  ];
  t.same(
    (await walk(packs, { wants: [rev("HEAD")], tags })).oids,
    made.objects(["HEAD", "v2"]),
    "tags come with what they point at",
  );
  t.same(
    (await walk(packs, { wants: [rev("HEAD")], haves: [first], tags })).oids,
    made.objects(["HEAD", `^${first}`]),
    "and stay with it",
  );
});

t.test("submodules are not followed", async (t) => {
  const made = repository(t);
  made.write("a", "a\n");
  made.git(["update-index", "--add", "--cacheinfo", `160000,${"12".repeat(20)},sub`]);
  made.git(["add", "a"]);
  made.git(["commit", "-q", "-m", "with a submodule"]);
  const packs = made.packs();
  t.same(
    (await walk(packs, { wants: [made.git(["rev-parse", "HEAD"])] })).oids,
    made.objects(["HEAD"]),
  );
});

/** Ids that `bits` say are reachable. */
function marked(packs: readonly PackHandle[], { packs: found }: ReachableBits): string[] {
  const reader = new ObjectReader(packs, plainKernels);
  const bits = reader.space.packs.map(
    ({ handle }) =>
      new Uint8Array(
        found.find(({ checksum }) => checksum === handle.checksum)?.bits as SharedArrayBuffer,
      ),
  );
  const oids = new Set<string>();
  for (const { lookup } of reader.space.packs)
    for (let position = 0; position < lookup.count; position++) {
      const oid = lookup.oid(position);
      if (isReachable(reader.space.packs, bits, oid)) oids.add(oid);
    }
  return [...oids].sort();
}

t.test(
  "what is reachable is what rev-list names, found anew, extended, and after a ref has gone",
  async (t) => {
    const made = repository(t);
    made.write("a/b", "b\n");
    made.commit("first");
    made.git(["checkout", "-q", "-b", "side"]);
    made.write("side", "side\n");
    made.commit("side");
    made.git(["checkout", "-q", "main"]);
    made.write("a/c", "c\n");
    made.commit("second");
    made.git(["tag", "-a", "-m", "tag", "v1"]);
    const stray = made.git(["hash-object", "-w", "--stdin"], "stray\n");
    const tips = (...names: string[]) => names.map((name) => made.git(["rev-parse", name]));
    let packs = [...made.packs(), ...strayPack(made, stray)];
    const find = (names: string[], before?: ReachableBits) =>
      findReachable(
        new ObjectReader(packs, plainKernels),
        {
          tips: tips(...names),
          packTips: {},
          promises: false,
          ...(before === undefined ? {} : { before }),
        },
        watch(),
      );
    const first = await find(["main", "v1", "side"]);
    t.same(marked(packs, first), made.objects(["main", "v1", "side"]));
    t.notOk(marked(packs, first).includes(stray));
    made.write("a/c", "changed\n");
    made.commit("third");
    packs = made.packs({ incremental: true });
    const second = await find(["main", "v1", "side"], first);
    t.same(marked(packs, second), made.objects(["main", "v1", "side"]), "extended");
    t.same(
      marked(packs, await find(["main"], second)),
      made.objects(["main"]),
      "side is gone, and what only it reached",
    );
  },
);

/** The loose object in a pack of its own. */
function strayPack(made: StockRepository, oid: string): PackHandle[] {
  made.git(["pack-objects", "-q", ".git/objects/pack/pack"], `${oid}\n`);
  return made.packs({ incremental: true }).filter(({ objectCount }) => objectCount === 1);
}

t.test("a pack whose tips are all reachable costs its commits only", async (t) => {
  const made = longHistory(t, 300);
  const packs = made.packs();
  const head = made.git(["rev-parse", "main"]);
  const reader = new ObjectReader(packs, plainKernels);
  const bits = await findReachable(
    reader,
    { tips: [head], packTips: { [packs[0]?.checksum ?? ""]: [head] }, promises: false },
    watch(),
  );
  t.same(marked(packs, bits), made.objects(["main"]));
  t.ok(reader.inflated <= 300, `${reader.inflated} objects read`);
  const wrong = new ObjectReader(packs, plainKernels);
  await findReachable(
    wrong,
    { tips: [head], packTips: { [packs[0]?.checksum ?? ""]: ["12".repeat(20)] }, promises: false },
    watch(),
  );
  t.ok(wrong.inflated > 300, "an unreachable tip means a walk");
  t.equal(reader.locate("12".repeat(20)), NONE);
});

t.test("a few trees that name many blobs are read: that is less than all heads", async (t) => {
  const made = repository(t);
  for (let at = 0; at < 200; at++) made.write(`f${at}`, `${at}\n`);
  made.commit("many");
  t.notOk(isCheaperThanTrees(new ObjectReader(made.packs(), plainKernels)));
  const deep = longHistory(t, 100);
  t.ok(isCheaperThanTrees(new ObjectReader(deep.packs(), plainKernels)));
});

/** Objects of one pack that no other of it links to. */
function tipsOf(made: StockRepository, pack: PackHandle): string[] {
  const [reader] = [new ObjectReader([pack], plainKernels)];
  const all = Array.from({ length: pack.objectCount }, (_, position) => reader.space.oid(position));
  const linked = new Set<string>();
  for (const oid of all) {
    const type = reader.type(reader.locate(oid));
    if (type === "blob") continue;
    const text = made.git([
      type === "tree" ? "ls-tree" : "cat-file",
      ...(type === "tree" ? [] : [type]),
      oid,
    ]);
    const head = type === "tree" ? text : (text.split("\n\n")[0] ?? "");
    for (const [link] of head.matchAll(/\b[0-9a-f]{40}\b/g)) linked.add(link);
  }
  return all.filter((oid) => !linked.has(oid)).sort();
}

t.test("where the wants reach every pack, all is sent and no tree is read", async (t) => {
  const made = repository(t);
  const packs: PackHandle[] = [];
  for (let push = 0; push < 4; push++) {
    for (let at = 0; at < 3; at++) {
      made.write(`d${at}/f`, `a line that is long enough for a delta, ${at} ${push}\n`.repeat(20));
      made.commit(`push ${push} commit ${at}`);
    }
    const range = push === 0 ? "HEAD\n" : "HEAD\n^HEAD~3\n";
    const pack = made.gitBytes(["pack-objects", "--revs", "--thin", "--stdout", "-q"], range);
    made.git(["index-pack", "--stdin", "--fix-thin"], pack);
  }
  made.git(["prune-packed", "-q"]);
  packs.push(...made.packs({ incremental: true }));
  t.equal(packs.length, 4);
  const packTips = Object.fromEntries(packs.map((pack) => [pack.checksum, tipsOf(made, pack)]));
  const head = made.git(["rev-parse", "HEAD"]);
  const short = await walk(packs, { wants: [head], packTips });
  t.same(short.oids, made.objects(["HEAD"]));
  t.ok(short.inflated <= 12, `${short.inflated} read`);
  const none = await walk(packs, { wants: [head], packTips, filter: { kind: "blob:none" } });
  t.same(none.oids, made.objects(["--filter=blob:none", "HEAD"]));
  t.ok(none.inflated <= 12, `${none.inflated} read to leave blobs out`);
  const blob = made.git(["rev-parse", "HEAD:d0/f"]);
  t.same(
    (await walk(packs, { wants: [head, blob], packTips, filter: { kind: "blob:none" } })).oids,
    [...none.oids, blob].sort(),
    "but for one that is asked for",
  );
  const older = made.git(["rev-parse", "HEAD~1"]);
  t.same(
    (await walk(packs, { wants: [older], packTips, filter: { kind: "blob:none" } })).oids,
    made.objects(["--filter=blob:none", "HEAD~1"]),
    "not all of it: a walk",
  );
  t.same(
    (await walk(packs, { wants: [older], packTips })).oids,
    made.objects(["HEAD~1"]),
    "not all of it: a walk",
  );
  t.same(
    (await walk(packs, { wants: [head], haves: [older], packTips })).oids,
    made.objects(["HEAD", "^HEAD~1"]),
  );
  t.same(
    (await walk(packs, { wants: [head], shallow: [head], packTips })).oids,
    [head, ...made.objects(["HEAD^{tree}"])].sort(),
  );
  t.same(
    (
      await walk(packs, {
        wants: [head],
        packTips: { ...packTips, [packs[0]?.checksum ?? ""]: ["12".repeat(20)] },
      })
    ).oids,
    made.objects(["HEAD"]),
    "a tip that is not here",
  );
});
