/**
 * Commits that lakeFS itself makes of pushed ones carry their metadata along: one is the pushed
 * commit only where tree and parents are its own.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { asFault } from "../../src/base/fault.js";
import { freshView, newRepository, newWork, rigNode } from "../support/landing-rig.js";
import { signal, Source, testPool } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(120_000);

const MAIN = "refs/heads/main";
/**
 * lakeFS 1.86 writes a cherry-pick's notes into the cached commit that was picked, whose id is then
 * not found until the cache forgets it: ten minutes by default.
 */
const FORGETS_SOON = {
  LAKEFS_GRAVELER_COMMIT_CACHE_EXPIRY: "1s",
  LAKEFS_GRAVELER_COMMIT_CACHE_JITTER: "10ms",
};

/** Until lakeFS finds what it has lost. */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (asFault(error).code !== "lakefs/missing" || attempt === 100) throw error;
      await new Promise((wake) => setTimeout(wake, 200));
    }
  }
}

t.test(
  "cherry-picks, squashes and copied metadata",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t, "local", FORGETS_SOON);
    const pool = await testPool(t);
    const repository = await newRepository(server);
    const node = await rigNode(t, server, pool, repository);
    const work = await newWork(t);
    const source = new Source(server.client, repository);
    const file = (name: string) =>
      work.commit(name, (folder) => writeFile(join(folder, name), name));
    const call = (path: string, json: unknown) =>
      again(() =>
        server.client.http.json({
          name: "test",
          method: "POST",
          path: `/repositories/${repository}${path}`,
          json,
          repeatable: false,
          signal,
        }),
      );
    await file("base");
    t.match(await node.push(work, [[MAIN, work.tip()]]), [{ ok: true }]);
    const base = await source.head();
    const pushed = await file("picked");
    t.match(await node.push(work, [[MAIN, pushed]]), [{ ok: true }]);
    const picked = await source.head();
    const { metadata = {} } = await server.client.in(repository).getCommit(picked, signal);

    for (const name of ["pick", "pick-same", "squash", "copy"])
      await server.client.in(repository).createBranch({ name, source: base }, signal);
    await source.put({ other: "tree" }, { branch: "copy" });
    await source.commit("copied metadata", { branch: "copy", metadata });
    await call(`/refs/${picked}/merge/squash`, {
      message: "squashed",
      squash_merge: true,
      metadata,
    });
    await source.put({ before: "x" }, { branch: "pick" });
    await source.commit("before", { branch: "pick" });
    await call("/branches/pick/cherry-pick", { ref: picked });
    const { byName } = await node.refs.read();
    t.equal(byName.get(MAIN)?.oid, pushed, "who has read a commit needs it no more");
    await call("/branches/pick-same/cherry-pick", { ref: picked });

    const view = await again(() => freshView(t, server, pool, repository));
    t.match(view.fsck, /^(dangling (tree|blob) [0-9a-f]{40}\n?)*$/);
    t.equal(view.refs[MAIN], pushed);
    for (const name of ["pick", "copy"]) {
      t.equal(
        view.refs[`refs/heads/${name}`],
        (await node.refs.read()).byName.get(`refs/heads/${name}`)?.oid,
      );
      t.match(
        await view.node.git("cat-file", "commit", name),
        /\nLakefs-Commit: [0-9a-f]{64}$/,
        `${name}: a commit of lakeFS's own`,
      );
    }
    t.same(
      [view.refs["refs/heads/pick-same"], view.refs["refs/heads/squash"]],
      [pushed, pushed],
      "tree, parent and raw commit are the pushed one's, whoever put them there",
    );
    work.git("fetch", "-q", await view.node.git("rev-parse", "--absolute-git-dir"), "pick");
    work.git("reset", "-q", "--hard", "FETCH_HEAD");
    const onTop = await file("on-top");
    t.match(await again(() => node.push(work, [["refs/heads/pick", onTop]])), [{ ok: true }]);
    t.equal(
      (await again(() => freshView(t, server, pool, repository))).refs["refs/heads/pick"],
      onTop,
    );
  },
);
