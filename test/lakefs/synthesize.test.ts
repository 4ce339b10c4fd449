/** Git objects of a real lakeFS, read by stock git. */
import t, { type Test } from "tap";
import { createSource, openNode, refsOf, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.test("on local blocks", { skip: skipLakefs }, async (t) =>
  reading(t, await startLakefs(t, "local")),
);
t.test("on S3 blocks", { skip: skipLakefs }, async (t) => reading(t, await startLakefs(t, "s3")));

async function reading(t: Test, server: RunningLakefs): Promise<void> {
  const pool = await testPool(t);

  await t.test("a repository without a commit is empty, and its branch unborn", async (t) => {
    const source = await createSource(server);
    const node = await openNode(t, server, pool, source.name);
    const snapshot = await node.refs.read();
    t.same([snapshot.refs, snapshot.head], [[], "refs/heads/main"]);
  });

  await t.test("files, folders, modes: stock git reads them and finds nothing wrong", async (t) => {
    const source = await createSource(server);
    await source.put({
      "README.md": "hello\n",
      "dir/a.txt": "a",
      "dir/deep/b.txt": "b",
      empty: "",
      "dir.x": "sorts before dir/",
    });
    await source.put({ "bin/run": "#!/bin/sh\n" }, { metadata: { "lakepack-mode": "100755" } });
    await source.put({ link: "" }, { metadata: { "lakepack-mode": "120000" } });
    await source.put({ staged: "committed" });
    const first = await source.commit("first\n\nbody");
    await source.put({ staged: "not committed" });
    const node = await openNode(t, server, pool, source.name);
    t.equal(await node.git("fsck", "--strict", "--full"), "");
    t.same(
      (await node.git("ls-tree", "-r", "--format=%(objectmode) %(path)", "main")).split("\n"),
      [
        "100644 README.md",
        "100755 bin/run",
        "100644 dir.x",
        "100644 dir/a.txt",
        "100644 dir/deep/b.txt",
        "100644 empty",
        "120000 link",
        "100644 staged",
      ],
    );
    t.equal(await node.git("show", "main:staged"), "committed");
    t.equal(
      await node.git("log", "-1", "--format=%an <%ae> %at%n%B", "main"),
      `admin <admin@lakefs.invalid> ${first.creation_date}\nfirst\n\nbody\n\nLakefs-Commit: ${first.id}`,
    );
    t.equal(
      await node.git("rev-list", "--count", "main"),
      "1",
      "lakeFS's first commit is nothing in Git",
    );
    t.same(await refsOf(node), [`${await node.git("rev-parse", "main")} refs/heads/main`]);
  });
}
