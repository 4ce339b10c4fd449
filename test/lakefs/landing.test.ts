/**
 * Pushes that land in a real lakeFS: the commits stock git made come back byte for byte, on a node
 * that has never seen them.
 */
import { chmod, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { freshView, newRepository, newWork, rigNode } from "../support/landing-rig.js";
import { createSource, signal, testPool } from "../support/lakefs-reading.js";
import {
  isBefore,
  type RunningLakefs,
  skipLakefs,
  startLakefs,
} from "../support/lakefs-servers.js";

t.setTimeout(300_000);

const MAIN = "refs/heads/main";
const ZERO = "0".repeat(40);

t.test("on local blocks", { skip: skipLakefs, timeout: 300_000 }, async (t) =>
  landing(t, await startLakefs(t, "local")),
);
t.test("on S3 blocks", { skip: skipLakefs, timeout: 300_000 }, async (t) =>
  landing(t, await startLakefs(t, "s3")),
);

async function landing(t: Test, server: RunningLakefs): Promise<void> {
  const pool = await testPool(t);

  await t.test("a first commit, and one on top", async (t) => {
    const repository = await newRepository(server);
    const node = await rigNode(t, server, pool, repository);
    const work = await newWork(t);
    const first = await work.commit("first\n\nbody", async (folder) => {
      await writeFile(join(folder, "README.md"), "hello\n");
      await mkdir(join(folder, "dir/deep"), { recursive: true });
      await writeFile(join(folder, "dir/deep/a+b c.txt"), "x");
      await writeFile(join(folder, "empty"), "");
    });
    t.same(await node.push(work, [[MAIN, first]]), [{ name: MAIN, ok: true }]);
    t.same((await freshView(t, server, pool, repository)).refs, { [MAIN]: first });
    const second = await work.commit("second", (folder) =>
      writeFile(join(folder, "README.md"), "hello again\n"),
    );
    t.same(await node.push(work, [[MAIN, second]]), [{ name: MAIN, ok: true }]);
    const view = await freshView(t, server, pool, repository);
    t.same(view.refs, { [MAIN]: second });
    t.equal(view.fsck, "");
    t.equal(await view.node.git("rev-list", "--count", "main"), "2");
    const head = await server.client.in(repository).getBranch("main", signal);
    const commit = await server.client.in(repository).getCommit(head.commit_id, signal);
    t.same([commit.message, commit.committer], ["second", "A U Thor <author@example.com>"]);
    const listed = (await server.client.in(repository).listObjects(head.commit_id, "", signal))
      .results;
    t.same(
      listed.map(({ path }) => path),
      ["README.md", "dir/deep/a+b c.txt", "empty"],
      "no trace of the guard",
    );
    for (const { path, checksum, size_bytes, metadata } of listed) {
      t.equal(
        metadata?.["lakepack-blob"],
        `${work.tip(`HEAD:${path}`)} ${size_bytes} ${checksum}`,
        "bound to the checksum lakeFS shows",
      );
    }
    t.same(node.progress, [
      ...[1, 2, 3].map((files) => `Landing 0/1 in lakeFS, ${files}/3 files`),
      "Landing 1/1 in lakeFS, 3/3 files",
      "Landing 0/1 in lakeFS, 1/1 files",
      "Landing 1/1 in lakeFS, 1/1 files",
    ]);
    const branches = [];
    for await (const { id } of server.client.in(repository).listBranches({ hidden: true }, signal))
      branches.push(id);
    t.same(branches, ["lakepack-mapping", "main"], "work branches are gone");
  });

  await t.test("deletes, renames, modes, links, submodules, file to folder and back", async (t) => {
    const repository = await newRepository(server);
    const node = await rigNode(t, server, pool, repository);
    const work = await newWork(t);
    await work.commit("first", async (folder) => {
      await writeFile(join(folder, "a"), "a");
      await writeFile(join(folder, "run"), "#!/bin/sh\n");
      await chmod(join(folder, "run"), 0o755);
      await symlink("a", join(folder, "link"));
      await mkdir(join(folder, "d"));
      await writeFile(join(folder, "d/x"), "x");
      await writeFile(join(folder, "é ü.txt"), "unicode");
    });
    work.git(
      "update-index",
      "--add",
      "--cacheinfo",
      "160000,1234567890123456789012345678901234567890,sub",
    );
    work.git("commit", "-q", "-m", "submodule");
    t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }]);
    const view = await freshView(t, server, pool, repository);
    t.same(view.refs, { [MAIN]: work.tip() });
    work.git("rm", "-q", "--cached", "sub");
    work.git("commit", "-q", "-m", "no submodule");
    await work.commit("second", async (folder) => {
      await rm(join(folder, "a"));
      await mkdir(join(folder, "a"));
      await writeFile(join(folder, "a/now a folder"), "y");
      await chmod(join(folder, "run"), 0o644);
      await rename(join(folder, "d/x"), join(folder, "moved"));
      await rm(join(folder, "d"), { recursive: true });
      await writeFile(join(folder, "d"), "now a file");
      await rm(join(folder, "link"));
      await writeFile(join(folder, "link"), "a");
    });
    t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }]);
    t.same((await freshView(t, server, pool, repository)).refs, { [MAIN]: work.tip() });
    await work.commit("all gone", (folder) =>
      Promise.all(
        ["a", "run", "moved", "d", "link", "é ü.txt"].map((name) =>
          rm(join(folder, name), { recursive: true }),
        ),
      ),
    );
    t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }]);
    t.same((await freshView(t, server, pool, repository)).refs, { [MAIN]: work.tip() });
  });

  await t.test("twenty commits with merges, empty ones and a revert", async (t) => {
    const repository = await newRepository(server);
    const node = await rigNode(t, server, pool, repository);
    const work = await newWork(t);
    for (let at = 0; at < 8; at++)
      await work.commit(`commit ${at}`, (folder) =>
        writeFile(join(folder, `file-${at % 3}`), `content ${at}`),
      );
    work.git("checkout", "-q", "-b", "side", "HEAD~4");
    for (let at = 0; at < 4; at++)
      await work.commit(`side ${at}`, (folder) =>
        writeFile(join(folder, `side-${at}`), `content ${at}`),
      );
    work.git("checkout", "-q", "main");
    work.git("merge", "-q", "--no-ff", "-m", "merge", "side");
    await work.commit("empty");
    work.git("revert", "--no-edit", "-m", "1", "HEAD~1");
    for (let at = 0; at < 5; at++)
      await work.commit(`more ${at}`, (folder) => writeFile(join(folder, "more"), `${at}`));
    t.equal(work.git("rev-list", "--count", "HEAD"), "20");
    t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }]);
    const view = await freshView(t, server, pool, repository);
    t.same(view.refs, { [MAIN]: work.tip() });
    t.equal(view.fsck, "");
    t.equal(
      await view.node.git("rev-list", "--topo-order", "main"),
      work.git("rev-list", "--topo-order", "HEAD"),
    );
  });

  await t.test(
    "branches and tags are made and deleted; a pushed branch may lie on what is there",
    async (t) => {
      const repository = await newRepository(server);
      const node = await rigNode(t, server, pool, repository);
      const work = await newWork(t);
      const first = await work.commit("first", (folder) => writeFile(join(folder, "a"), "a"));
      t.same(await node.push(work, [[MAIN, first]]), [{ name: MAIN, ok: true }]);
      work.git("checkout", "-q", "-b", "feature/x.1");
      const second = await work.commit("second", (folder) => writeFile(join(folder, "b"), "b"));
      work.git("tag", "-a", "-m", "annotated", "v1.0", first);
      const tag = work.tip("v1.0");
      const pushed = await node.push(work, [
        ["refs/heads/feature/x.1", second],
        ["refs/tags/light", second],
        ["refs/tags/v1.0", tag],
        ["refs/heads/same", first],
      ]);
      t.same(
        pushed.map((outcome) => outcome.ok),
        [true, true, true, true],
        JSON.stringify(pushed),
      );
      t.same((await freshView(t, server, pool, repository)).refs, {
        "refs/heads/feature/x.1": second,
        [MAIN]: first,
        "refs/heads/same": first,
        "refs/tags/light": second,
        "refs/tags/v1.0": tag,
      });
      t.match(await node.push(work, [["refs/heads/light", first]]), [
        { ok: false, reason: /a branch and a tag of one name/ },
      ]);
      t.match(await node.push(work, [["refs/heads/feature", first]]), [
        { ok: false, reason: /folder of the other/ },
      ]);
      t.match(await node.push(work, [["refs/heads/lakepack-x", first]]), [
        { ok: false, reason: /lakepack's own/ },
      ]);
      t.match(await node.push(work, [["refs/tags/light", first, ZERO]]), [
        { ok: false, reason: /already exists/ },
      ]);
      work.git("tag", "tree-tag", `${first}^{tree}`);
      t.match(await node.push(work, [["refs/tags/tree-tag", work.tip("tree-tag")]]), [
        { ok: false, reason: /tags of commits only/ },
      ]);
      t.match(await node.push(work, [[MAIN, ZERO]]), [{ ok: false, reason: /default branch/ }]);
      t.match(await node.push(work, [["refs/heads/same", ZERO, second]]), [
        { ok: false, reason: /moved/ },
      ]);
      t.match(await node.push(work, [["refs/tags/v1.0", first]]), [
        {
          ok: false,
          reason:
            "the tag already exists, and this server does not move tags (setting lakefs_forced_pushes)",
        },
      ]);
      t.match(
        await node.push(work, [
          ["refs/heads/same", ZERO],
          ["refs/tags/light", ZERO],
        ]),
        [{ ok: true }, { ok: true }],
      );
      const mover = await rigNode(t, server, pool, repository, { policy: { allowForced: true } });
      t.match(
        await mover.push(work, [["refs/tags/v1.0", first]]),
        [{ ok: true }],
        "with the setting for forced pushes",
      );
      t.same((await freshView(t, server, pool, repository)).refs, {
        "refs/heads/feature/x.1": second,
        [MAIN]: first,
        "refs/tags/v1.0": first,
      });
    },
  );

  await t.test(
    "on a repository of lakeFS's own: a managed block stays out of lakeFS until it is pushed",
    async (t) => {
      const source = await createSource(server);
      await source.put({
        "small.txt": "small",
        "big.bin": new Uint8Array(1_000_001),
        "a//b": "cannot cross",
      });
      await source.commit("by lakeFS");
      const node = await rigNode(t, server, pool, source.name);
      const [main] = (await node.refs.read()).refs;
      const work = await newWork(t);
      work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
      work.git("reset", "-q", "--hard", "FETCH_HEAD");
      t.equal(work.tip(), main?.oid);
      await work.commit("a change", (folder) => writeFile(join(folder, "small.txt"), "changed"));
      t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }]);
      t.same((await freshView(t, server, pool, source.name)).refs, { [MAIN]: work.tip() });
      const listed = (
        await server.client.in(source.name).listObjects(await source.head(), "", signal)
      ).results;
      t.same(
        listed.map(({ path, size_bytes }) => [path, size_bytes]),
        [
          [".gitattributes", 0],
          ["a//b", 12],
          ["big.bin", 1_000_001],
          ["small.txt", 7],
        ].map(([path, size]) => [path, path === ".gitattributes" ? listed[0]?.size_bytes : size]),
        "the block came with the push, what cannot cross stayed",
      );
      await source.put({ "more.txt": "more" });
      await source.commit("by lakeFS again");
      const next = (await freshView(t, server, pool, source.name)).node;
      t.equal(
        await next.git("rev-parse", "main~1"),
        work.tip(),
        "a later commit in lakeFS is its child",
      );
    },
  );
}

t.test("calls of a push", { skip: skipLakefs, timeout: 120_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);
  const repository = await newRepository(server);
  const node = await rigNode(t, server, pool, repository);
  const work = await newWork(t);
  t.match(
    await node.push(work, [
      [MAIN, await work.commit("first", (folder) => writeFile(join(folder, "a"), "a"))],
    ]),
    [{ ok: true }],
  );
  const more = (await isBefore(server, 62)) ? 1 : 0; // its comparison names no checksum: a call for each changed file
  for (const [commits, callsMax] of [
    [1, 25],
    [5, 50],
    [20, 135],
  ] as const) {
    for (let at = 0; at < commits; at++)
      await work.commit(`commit ${commits} ${at}`, (folder) =>
        writeFile(join(folder, "a"), `${commits} ${at}`),
      );
    node.calls.length = 0;
    const before = node.client.http.calls;
    const started = performance.now();
    t.match(await node.push(work, [[MAIN, work.tip()]]), [{ ok: true }]);
    const ms = Math.round(performance.now() - started);
    const total = node.client.http.calls - before;
    t.comment(
      `${commits} commits: ${total} calls, ${node.calls.length} of them on the main thread, ${ms} ms`,
    );
    t.ok(total <= callsMax + more * commits, `${commits} commits: ${total} calls`);
  }
});
