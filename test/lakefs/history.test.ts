/** Commits, merges, tags and landings of a real lakeFS, as Git history. */
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { objectId } from "../../src/git/object-id.js";
import { lakefsCommitId } from "../../src/lakefs/api/commit-id.js";
import type { LakefsCommit } from "../../src/lakefs/api/types.js";
import {
  createSource,
  type Node,
  openNode,
  refsOf,
  signal,
  type Source,
  testPool,
} from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.test("history of a real lakeFS", { skip: skipLakefs, timeout: 120_000 }, async (t) =>
  suite(t, await startLakefs(t, "local")),
);

/** In place of the guard: a hook that never runs. */
const HARMLESS =
  "name: harmless\non:\n  post-delete-tag:\nhooks:\n  - id: nothing\n    type: lua\n    properties:\n      script: x = 1\n";
const base64 = (text: string | Uint8Array) => Buffer.from(text).toString("base64");

interface RecordParts {
  readonly tree: LakefsCommit;
  readonly parents: readonly string[];
  readonly metadata?: Record<string, string>;
  readonly message?: string;
}

/** A commit record with the tree of another commit; its id. */
async function record(
  source: Source,
  { tree, parents, metadata = {}, message = "" }: RecordParts,
): Promise<string> {
  const facts = {
    committer: "lakepack",
    message,
    metarangeId: tree.meta_range_id,
    creationDate: 1_700_000_000,
    parents,
    metadata,
  };
  const commit_id = lakefsCommitId(facts);
  const json = {
    commit_id,
    version: 1,
    committer: "lakepack",
    message,
    metarange_id: tree.meta_range_id,
    creation_date: 1_700_000_000,
    parents,
    metadata,
    generation: 5,
  };
  await source.client.in(source.name).createCommitRecord(json, signal);
  return commit_id;
}

const branch = (source: Source, name: string, from: string) =>
  source.client.in(source.name).createBranch({ name, source: from }, signal);
const tag = (source: Source, id: string, ref: string) =>
  source.client.in(source.name).createTag({ id, ref }, signal);

async function suite(t: Test, server: RunningLakefs): Promise<void> {
  const pool = await testPool(t);
  const open = (source: Source): Promise<Node> => openNode(t, server, pool, source.name);

  await t.test(
    "branches, names with slashes, merges, light tags; hidden, reserved and impossible refs are not served",
    async (t) => {
      const source = await createSource(server);
      await source.put({ a: "1" });
      const first = await source.commit("one");
      await branch(source, "feature_-2fx_-2e1", first.id);
      await source.put({ b: "2" }, { branch: "feature_-2fx_-2e1" });
      await source.commit("two", { branch: "feature_-2fx_-2e1" });
      await source.put({ c: "3" });
      await source.commit("three");
      await source.client
        .in(source.name)
        .merge("feature_-2fx_-2e1", "main", { message: "merged", metadata: {} }, signal);
      await tag(source, "v1.0", first.id);
      await tag(source, "release~1", first.id);
      await branch(source, "feature", first.id);
      await source.client
        .in(source.name)
        .createBranch({ name: "hidden", source: first.id, hidden: true }, signal);
      const node = await open(source);
      t.same(
        (await node.refs.read()).refs.map(({ name }) => name),
        ["refs/heads/feature", "refs/heads/main", "refs/tags/v1.0"],
      );
      t.equal(node.warnings.length, 2, "feature/x.1 beside feature, and a tag with ~");
      t.equal(await node.git("fsck", "--strict"), "");
      t.same((await node.git("log", "--format=%s", "--topo-order", "main")).split("\n").sort(), [
        "merged",
        "one",
        "three",
        "two",
      ]);
      t.equal((await node.git("rev-list", "--parents", "-1", "main")).split(" ").length, 3);
      t.same((await node.git("ls-tree", "--name-only", "main")).split("\n"), ["a", "b", "c"]);
      const git = await node.git("rev-parse", "refs/tags/v1.0");
      t.same(await node.commits.toLake(git, signal), [first.id], "and back");
    },
  );

  await t.test(
    "a raw commit is taken if tree and parents are its own; copied or forged it is not",
    async (t) => {
      const source = await createSource(server);
      await source.put({ a: "1" });
      const base = await source.commit("base");
      await source.put({ b: "2" });
      const made = await source.commit("made");
      const before = await open(source);
      const [parent, tree] = (await before.git("rev-parse", "main~1", "main^{tree}")).split(
        "\n",
      ) as [string, string];
      const raw = `tree ${tree}\nparent ${parent}\nauthor A <a@b> 1 +0200\ncommitter C <c@d> 2 -0100\nencoding x\n\nraw\n`;
      const metadata = { "lakepack.commit": base64(raw) };
      await branch(
        source,
        "raw",
        await record(source, { tree: made, parents: [base.id], metadata }),
      );
      await branch(
        source,
        "wrong-parent",
        await record(source, { tree: made, parents: [made.id], metadata }),
      );
      await branch(
        source,
        "wrong-tree",
        await record(source, { tree: base, parents: [base.id], metadata }),
      );
      await branch(
        source,
        "malformed",
        await record(source, {
          tree: made,
          parents: [base.id],
          metadata: { "lakepack.commit": base64(raw.replace("A <", "A\0 <")) },
        }),
      );
      const node = await open(source);
      t.equal((await node.git("cat-file", "commit", "raw")) + "\n", raw);
      for (const name of ["wrong-parent", "wrong-tree", "malformed"])
        t.match(await node.git("cat-file", "commit", name), "Lakefs-Commit: ", name);
      t.equal(await node.git("fsck", "--strict"), "");
    },
  );

  await t.test(
    "an annotated tag reads back as it was; one that tags something else is a commit",
    async (t) => {
      const source = await createSource(server);
      await source.put({ a: "1" });
      const made = await source.commit("made");
      const commit = await (await open(source)).git("rev-parse", "main");
      const raw = `object ${commit}\ntype commit\ntag v1\ntagger T <t@t> 1 +0000\n\nthe tag\n`;
      const tagged = await record(source, {
        tree: made,
        parents: [made.id],
        metadata: { "lakepack.tag": base64(raw) },
      });
      const forged = await record(source, {
        tree: made,
        parents: [made.id],
        metadata: { "lakepack.tag": base64(raw.replace(commit, "1".repeat(40))) },
      });
      await tag(source, "v1", tagged);
      await tag(source, "v2", forged);
      await branch(source, "at-tag", tagged);
      const node = await open(source);
      const { byName } = await node.refs.read();
      t.equal(byName.get("refs/tags/v1")?.peeled, commit);
      t.equal((await node.git("cat-file", "tag", "v1")) + "\n", raw);
      t.equal(byName.get("refs/tags/v2")?.peeled, undefined);
      t.equal(byName.get("refs/heads/at-tag")?.oid, commit);
      t.equal(await node.git("fsck", "--strict"), "");
    },
  );

  await t.test(
    "a landing's merge stands for its tip; on a moved head it is a merge of both",
    async (t) => {
      const source = await createSource(server);
      const root = await source.head();
      await source.put({ a: "1" });
      const base = await source.commit("base");
      await source.client
        .in(source.name)
        .createBranch({ name: "work", source: base.id, hidden: true }, signal);
      await source.put({ b: "2" }, { branch: "work" });
      const pushed = await source.commit("pushed", { branch: "work" });
      await source.put({ "_lakefs_actions/lakepack-guard.yaml": HARMLESS }, { branch: "work" });
      const guarded = await source.commit("guarded", { branch: "work" });
      const tip = await record(source, { tree: pushed, parents: [base.id], message: "pushed" });
      const last = await record(source, { tree: pushed, parents: [tip] });
      const signpost = await record(source, { tree: guarded, parents: [base.id, root, last] });
      const metadata = { "lakepack.base": base.id, "lakepack.tip": tip, "lakepack.step": "3" };
      await branch(source, "same", base.id);
      await source.client
        .in(source.name)
        .merge(signpost, "same", { message: "landing", metadata }, signal);
      await source.put({ c: "3" });
      await source.commit("rival");
      await source.client
        .in(source.name)
        .merge(signpost, "main", { message: "landing", metadata }, signal);
      await source.put({ d: "4" }, { branch: "same" });
      await branch(source, "tip", tip);
      await branch(source, "alias", await source.head("same"));
      await source.commit("built on the landing", { branch: "same" });
      const node = await open(source);
      const { byName } = await node.refs.read();
      t.equal(byName.get("refs/heads/alias")?.oid, byName.get("refs/heads/tip")?.oid);
      t.equal(await node.git("fsck", "--strict"), "");
      t.equal(await node.git("rev-parse", "same~1"), byName.get("refs/heads/tip")?.oid);
      t.same(
        (await node.git("ls-tree", "-r", "--name-only", "same")).split("\n"),
        ["a", "b", "d"],
        "without the guard",
      );
      t.same((await node.git("log", "-1", "--format=%P", "main")).split(" "), [
        await node.git("rev-parse", "main~1"),
        byName.get("refs/heads/tip")?.oid,
      ]);
      t.same((await node.git("ls-tree", "-r", "--name-only", "main")).split("\n"), ["a", "b", "c"]);
    },
  );

  await t.test(
    "on top of a commit that was landed here nothing is read that has not changed",
    async (t) => {
      const source = await createSource(server);
      await source.put({ a: "1", b: "2", "c/d": "3" });
      const base = await source.commit("base");
      const node = await open(source);
      const [parent, tree] = (await node.git("rev-parse", "main", "main^{tree}")).split("\n") as [
        string,
        string,
      ];
      const raw = `tree ${tree}\nparent ${parent}\nauthor A <a@b> 1 +0200\ncommitter C <c@d> 2 -0100\n\nraw\n`;
      const landed = await record(source, {
        tree: base,
        parents: [base.id],
        metadata: { "lakepack.commit": base64(raw) },
      });
      const commit = objectId("commit", Buffer.from(raw));
      await node.commits.remember(
        [{ version: 2, lakeId: landed, commit, tree, pack: undefined }],
        signal,
      );
      await branch(source, "landed", landed);
      await source.put({ e: "4" }, { branch: "landed" });
      await source.commit("on top", { branch: "landed" });
      node.calls();
      const here = (await node.refs.read()).byName.get("refs/heads/landed")?.oid;
      t.match(node.calls(), { readObject: 1 });
      t.equal(
        (await (await open(source)).refs.read()).byName.get("refs/heads/landed")?.oid,
        here,
        "as on a node that has landed nothing",
      );
    },
  );

  await t.test("what lakeFS holds of messages, names and dates passes fsck", async (t) => {
    const source = await createSource(server);
    await source.put({ a: "1" });
    const tree = await source.commit("x");
    const odd = [
      "",
      "no end",
      "end\n",
      "nul\0inside",
      "\r\n\r\n",
      "\ud800 half",
      "Lakefs-Commit: fake",
    ];
    for (const [at, message] of odd.entries()) {
      await source.client.in(source.name).commit(
        "main",
        {
          message: message === "" ? " " : message,
          allow_empty: true,
          date: [-5, 0, 1, 2 ** 33, 7, 8, 9][at] as number,
        },
        signal,
      );
    }
    await branch(source, "empty-message", await record(source, { tree, parents: [tree.id] }));
    const node = await open(source);
    t.equal(await node.git("fsck", "--strict"), "");
    t.match(
      await node.git("log", "-1", "--format=%B", "empty-message"),
      /^Lakefs-Commit: [0-9a-f]{64}$/,
    );
    t.equal(await node.git("rev-list", "--count", "main"), String(odd.length + 1));
  });

  await t.test("several nodes, one mapping: the first to come decides", async (t) => {
    const source = await createSource(server);
    await source.put({ a: "x".repeat(50) });
    await source.commit();
    const seeds = [10, 1_000].map((threshold) => ({
      mappingSeed: { version: 3 as const, threshold, suffixes: [] },
    }));
    const nodes = await Promise.all(
      seeds.map((seed) => openNode(t, server, pool, source.name, seed)),
    );
    t.same(nodes[0]?.mapping, nodes[1]?.mapping);
    t.same(await refsOf(nodes[0] as Node), await refsOf(nodes[1] as Node));
    const later = await openNode(t, server, pool, source.name, {
      mappingSeed: { version: 3, threshold: 5, suffixes: [] },
    });
    t.same(later.mapping, nodes[0]?.mapping);
    const branches: string[] = [];
    for await (const { id } of source.client.in(source.name).listBranches({ hidden: true }, signal))
      branches.push(id);
    t.same(branches, ["lakepack-mapping", "main"], "no scratch branch is left");
  });

  await t.test("a request for refs waits so long and no longer; the work goes on", async (t) => {
    const source = await createSource(server);
    for (let at = 0; at < 20; at++) await source.put({ [`f${at}`]: String(at) });
    await source.commit();
    const node = await openNode(t, server, pool, source.name, { refsWaitMs: 1 });
    const failure = await node.refs.read().then(
      () => undefined,
      (error: unknown) => error,
    );
    t.ok(failure instanceof Fault && failure.code === "lakefs/reading", String(failure));
    await node.commits.resolve([await source.head()], signal);
    t.equal((await node.refs.read()).refs.length, 1);
  });

  await t.test("what cannot cross is counted and named, and crosses once it can", async (t) => {
    const source = await createSource(server);
    await source.put({ "a//b": "1", x: "file", "x/y": "folder", ".git/config": "no", fine: "f" });
    const first = await source.commit();
    await source.remove(["x/y"]);
    const second = await source.commit();
    const node = await open(source);
    t.same((await node.git("ls-tree", "-r", "--name-only", "main~1")).split("\n"), ["fine", "x/y"]);
    t.same((await node.git("ls-tree", "-r", "--name-only", "main")).split("\n"), ["fine", "x"]);
    t.match(await node.commits.listing(first.id, signal), {
      refused: 3,
      refusals: [
        ".git/config: a part of it is '.git' to some file system",
        "a//b: a part of it is empty",
        "x: a folder has the same name",
      ],
    });
    t.equal((await node.commits.listing(second.id, signal))?.refused, 2);
  });

  await t.test("an empty tree after a full one, and files that come back", async (t) => {
    const source = await createSource(server);
    await source.put({ "a/b/c": "1", d: "2" });
    await source.commit();
    await source.remove(["a/b/c", "d"]);
    await source.commit();
    await source.put({ "a/b/c": "1" });
    await source.commit();
    const node = await open(source);
    t.equal(
      await node.git("rev-parse", "main~1^{tree}"),
      "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    );
    t.equal(await node.git("fsck", "--strict"), "");
    t.equal((await node.git("ls-tree", "-r", "--name-only", "main")).trim(), "a/b/c");
  });
}
