/**
 * Histories and trees of every shape that Git can make: each lands, and a node with an empty store
 * reads it back byte for byte.
 */
import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import {
  freshView,
  newRepository,
  newWork,
  rigNode,
  type RigNode,
  type Work,
} from "../support/landing-rig.js";
import { signal, Source, testPool } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(300_000);

const MAIN = "refs/heads/main";
const ZERO = "0".repeat(40);

async function write(folder: string, path: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), text);
}

t.test("shapes", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);

  interface Scene {
    readonly repository: string;
    readonly node: RigNode;
    readonly work: Work;
    /** Pushes HEAD to main; a fresh node must have it, and stock git nothing to say. */
    lands(t: Test, says: string): Promise<RigNode>;
  }
  const scene = async (t: Test, policy = { allowForced: false }): Promise<Scene> => {
    const repository = await newRepository(server);
    const node = await rigNode(t, server, pool, repository, { policy });
    const work = await newWork(t);
    const lands = async (t: Test, says: string) => {
      t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }], says);
      const view = await freshView(t, server, pool, repository);
      t.equal(view.refs[MAIN], work.tip(), `${says}: reads back`);
      t.match(view.fsck, /^(dangling (tree|blob) [0-9a-f]{40}\n?)*$/);
      t.equal(
        await view.node.git("rev-list", "--topo-order", "--parents", "main"),
        work.git("rev-list", "--topo-order", "--parents", "HEAD"),
      );
      return view.node;
    };
    return { repository, node, work, lands };
  };
  const branchOff = (work: Work, name: string, from: string) =>
    work.git("checkout", "-q", "-b", name, from);
  const file = (work: Work, name: string) =>
    work.commit(name, (folder) => write(folder, name, name));

  await t.test(
    "an octopus, a criss-cross, two roots; and an octopus as a second parent, which the commit point must not mistake",
    async (t) => {
      const { repository, node, work, lands } = await scene(t);
      await file(work, "base");
      for (const name of ["one", "two", "three", "four"]) {
        branchOff(work, name, "main");
        await file(work, name);
      }
      work.git("checkout", "-q", "main");
      work.git("merge", "-q", "--no-ff", "-m", "octopus", "one", "two", "three", "four");
      t.equal(work.git("rev-list", "--parents", "-1", "HEAD").split(" ").length, 6);
      await lands(t, "octopus");

      branchOff(work, "left", "main");
      await file(work, "left-1");
      branchOff(work, "right", "main");
      await file(work, "right-1");
      work.git("merge", "-q", "--no-ff", "-m", "right takes left", "left");
      work.git("checkout", "-q", "left");
      work.git("merge", "-q", "--no-ff", "-m", "left takes right", "right~1");
      work.git("merge", "-q", "--no-ff", "-m", "criss-cross", "right");
      await lands(t, "criss-cross");

      work.git("checkout", "-q", "--orphan", "other-root");
      await file(work, "another root");
      work.git("checkout", "-q", "left");
      work.git(
        "merge",
        "-q",
        "--allow-unrelated-histories",
        "--no-ff",
        "-m",
        "two roots",
        "other-root",
      );
      await lands(t, "two roots");

      const wide = Array.from({ length: 70 }, (_, at) =>
        work
          .run(["commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", `side ${at}`])
          .toString()
          .trim(),
      );
      const octopus = work
        .run([
          "commit-tree",
          "HEAD^{tree}",
          ...wide.flatMap((oid) => ["-p", oid]),
          "-m",
          "70 parents",
        ])
        .toString()
        .trim();
      const merge = work
        .run([
          "commit-tree",
          "HEAD^{tree}",
          "-p",
          "HEAD",
          "-p",
          octopus,
          "-m",
          "its second parent is an octopus",
        ])
        .toString()
        .trim();
      work.git("reset", "-q", "--hard", merge);
      await lands(t, "an octopus below");
      await file(work, "after");
      await lands(t, "and on top of it");
      const head = await server.client
        .in(repository)
        .getCommit(await new Source(server.client, repository).head(), signal);
      t.equal(head.message, "after");
      const parents = Array.from({ length: 128 }, (_, at) =>
        work
          .run(["commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", `too wide ${at}`])
          .toString()
          .trim(),
      );
      const tooWide = work
        .run([
          "commit-tree",
          "HEAD^{tree}",
          ...parents.flatMap((oid) => ["-p", oid]),
          "-m",
          "128 parents",
        ])
        .toString()
        .trim();
      t.match(await node.push(work, [[MAIN, tooWide]]), [
        { ok: false, reason: /more than 127 parents/ },
      ]);
    },
  );

  await t.test("Git merges what lakeFS has committed, and lakeFS what Git has", async (t) => {
    const { repository, node, work, lands } = await scene(t);
    await file(work, "base");
    await lands(t, "base");
    const source = new Source(server.client, repository);
    await source.put({ "by-lakefs": "native" });
    await source.commit("native");
    const native = (await node.refs.read()).byName.get(MAIN)?.oid as string;
    await file(work, "by-git");
    work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
    work.git("merge", "-q", "--no-ff", "-m", "git merges lakeFS", "FETCH_HEAD");
    t.equal(work.tip("HEAD^2"), native);
    await lands(t, "a merge of a native commit");
    branchOff(work, "topic", "HEAD");
    await file(work, "on-topic");
    t.match(await node.push(work, [["refs/heads/topic", work.tip()]]), [{ ok: true }]);
    await source.put({ more: "more" });
    await source.commit("more");
    await server.client
      .in(repository)
      .merge("topic", "main", { message: "lakeFS merges git", metadata: {} }, signal);
    const view = await freshView(t, server, pool, repository);
    t.equal(
      await view.node.git("rev-parse", "main^2"),
      work.tip(),
      "its second parent is the pushed commit itself",
    );
    t.same((await view.node.git("ls-tree", "-r", "--name-only", "main")).split("\n"), [
      "base",
      "by-git",
      "by-lakefs",
      "more",
      "on-topic",
    ]);
  });

  await t.test(
    "a second branch at lakeFS's empty root is unborn, and a push gives it its first commit",
    async (t) => {
      const { repository, node, work } = await scene(t);
      const source = new Source(server.client, repository);
      await server.client
        .in(repository)
        .createBranch({ name: "second", source: await source.head() }, signal);
      const oid = await file(work, "first");
      t.same((await node.refs.read()).refs, [], "unborn");
      t.same(await node.push(work, [["refs/heads/second", oid]]), [
        { name: "refs/heads/second", ok: true },
      ]);
      t.same((await freshView(t, server, pool, repository)).refs, { "refs/heads/second": oid });
    },
  );

  await t.test("names with slashes, dots, escapes, and beyond ASCII", async (t) => {
    const { repository, node, work } = await scene(t);
    const oid = await file(work, "first");
    work.git("tag", "-a", "-m", "annotated", "v1");
    const tag = work.tip("v1");
    const names = [
      "a/b/c.d",
      "a/b/c_-2fd",
      "_-41",
      "x_-zz",
      "é/ü",
      "v1.0.0+build",
      "-dash",
      "@x",
    ].map((name) => `refs/heads/${name}`);
    const tags = ["r/1.0", "_-2f", "é", "v1~"]
      .filter((name) => !name.includes("~"))
      .map((name) => `refs/tags/${name}`);
    const latin1 = (name: string) => Buffer.from(name).toString("latin1");
    const changes = [
      [MAIN, oid],
      ...names.map((name) => [latin1(name), oid]),
      ...tags.map((name) => [latin1(name), tag]),
    ] as [string, string][];
    t.same(
      (await node.push(work, changes)).filter(({ ok }) => !ok),
      [],
    );
    t.same((await freshView(t, server, pool, repository)).refs, Object.fromEntries(changes));
    const gone = await node.push(
      work,
      changes.filter(([name]) => name !== MAIN).map(([name]) => [name, ZERO]),
    );
    t.same(
      gone.filter(({ ok }) => !ok),
      [],
    );
    t.same((await freshView(t, server, pool, repository)).refs, { [MAIN]: oid });
  });

  await t.test(
    "paths to lakeFS's last byte, odd names, modes, a submodule, dangling links, an empty tree",
    async (t) => {
      const { repository, work, lands } = await scene(t);
      const deep = `${`${"d".repeat(99)}/`.repeat(10)}${"f".repeat(24)}`;
      t.equal(deep.length, 1_024);
      await work.commit("odd", async (folder) => {
        await write(folder, "a b+c%41&=?#.txt", "odd");
        await write(folder, 'quo"te\\back', "odd");
        await write(folder, "new\nline\ttab", "odd");
        await write(folder, " leading and trailing ", "odd");
        await write(folder, "-dash/--help", "odd");
        await write(folder, "日本/語", "odd");
        await write(folder, ".hidden/.gitkeep", "");
        await write(folder, ".gitattributes", "*.txt text\n");
        await write(folder, "_lakefs_actions_not/x", "");
        await write(folder, "run", "#!/bin/sh\n");
        await chmod(join(folder, "run"), 0o755);
        await symlink("nowhere/at all", join(folder, "dangling"));
        await symlink("日本", join(folder, "to-folder"));
      });
      const blob = work.run(["hash-object", "-w", "--stdin"], "deep").toString().trim();
      work.git("update-index", "--add", "--cacheinfo", `100644,${blob},${deep}`);
      work.git(
        "update-index",
        "--add",
        "--cacheinfo",
        "160000,1234567890123456789012345678901234567890,modules/sub",
      );
      work.git("commit", "-q", "-m", "deep, and a submodule");
      await lands(t, "odd paths");
      work.git(
        "update-index",
        "--add",
        "--cacheinfo",
        "160000,2234567890123456789012345678901234567890,modules/sub",
      );
      work.git("update-index", "--chmod=-x", "run");
      work.git("commit", "-q", "-m", "another commit of the submodule, and a mode");
      await lands(t, "a submodule moves, a mode changes");
      work.git("rm", "-q", "-r", "--cached", ".");
      work.git("commit", "-q", "-m", "empty");
      t.equal(work.tip("HEAD^{tree}"), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
      await lands(t, "the empty tree");
      t.same(
        (
          await server.client
            .in(repository)
            .listObjects(await new Source(server.client, repository).head(), "", signal)
        ).results,
        [],
      );
      work.git(
        "reset",
        "-q",
        "--soft",
        work.git("commit-tree", "HEAD~1^{tree}", "-p", "HEAD", "-m", "back"),
      );
      await lands(t, "and back");
    },
  );

  await t.test("commits with odd headers, encodings, dates and no message at all", async (t) => {
    const { work, lands } = await scene(t);
    await file(work, "base");
    const tree = work.tip("HEAD^{tree}");
    const raws = [
      "author A U Thor <> 0 +0000\ncommitter C <c@d> 4294967295 -1200\n\n",
      "author \xe9 <latin1@x> 1 +0545\ncommitter C <c@d> 2 +0000\nencoding ISO-8859-1\n\nlatin1 \xe9\n",
      "author A <a@b> 1 +0000\ncommitter C <c@d> 2 +0000\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n\nsigned\n",
      "author A <a@b> 1 +0000\ncommitter C <c@d> 2 +0000\n\nno newline at the end",
      `author A <a@b> 1 +0000\ncommitter C <c@d> 2 +0000\n\n${"long ".repeat(20_000)}\n`,
    ];
    for (const raw of raws) {
      const commit = Buffer.from(`tree ${tree}\nparent ${work.tip()}\n${raw}`, "latin1");
      const oid = work
        .run(["hash-object", "-t", "commit", "-w", "--stdin"], commit)
        .toString()
        .trim();
      work.git("reset", "-q", "--soft", oid);
    }
    await lands(t, "odd commits");
  });

  await t.test(
    "a push of a commit that only another branch's history has; branches at one commit; a revert to an old tree",
    async (t) => {
      const { repository, node, work, lands } = await scene(t);
      const first = await file(work, "one");
      await file(work, "two");
      work.git("revert", "--no-edit", "HEAD");
      t.equal(work.tip("HEAD^{tree}"), work.tip(`${first}^{tree}`));
      await lands(t, "revert");
      branchOff(work, "old", first);
      t.match(await node.push(work, [["refs/heads/old", first]]), [{ ok: true }]);
      await file(work, "on old");
      t.match(await node.push(work, [["refs/heads/old", work.tip()]]), [{ ok: true }]);
      t.match(
        await node.push(work, [
          ["refs/heads/same", work.tip()],
          ["refs/heads/also", work.tip()],
        ]),
        [{ ok: true }, { ok: true }],
      );
      const view = await freshView(t, server, pool, repository);
      t.same(
        [view.refs["refs/heads/old"], view.refs["refs/heads/same"], view.refs["refs/heads/also"]],
        [work.tip(), work.tip(), work.tip()],
      );
      t.match(await node.push(work, [["refs/heads/old", work.tip("main"), work.tip()]]), [
        { ok: false, reason: /non-fast-forward/ },
      ]);
      branchOff(work, "forward", first);
      t.match(await node.push(work, [["refs/heads/behind", first]]), [{ ok: true }]);
      t.match(
        await node.push(work, [["refs/heads/behind", work.tip("main")]]),
        [{ ok: true }],
        "forward to a commit that lakeFS has",
      );
      t.equal(
        (await freshView(t, server, pool, repository)).refs["refs/heads/behind"],
        work.tip("main"),
      );
    },
  );
});
