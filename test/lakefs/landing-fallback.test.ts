/**
 * A lakeFS whose hooks are disabled, so that the guard cannot run: pushes are merged, never
 * exclusive, and lose nothing.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { proveGuard } from "../../src/lakefs/hooks/guard.js";
import {
  freshView,
  newRepository,
  newWork,
  rigNode,
  watchedClient,
} from "../support/landing-rig.js";
import { signal, Source, testPool } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(300_000);

const MAIN = "refs/heads/main";
const DISABLED = { LAKEFS_ACTIONS_ENABLED: "false" };

t.test(
  "whether the guard runs is proven, not guessed",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    for (const [settings, runs] of [
      [{}, true],
      [DISABLED, false],
    ] as const) {
      const server = await startLakefs(t, "local", settings);
      const source = new Source(server.client, await newRepository(server));
      const guard = await proveGuard({
        client: source.client.in(source.name),
        root: await source.head(),
        signal,
      });
      t.equal(guard.runs, runs);
      const left: string[] = [];
      for await (const { id } of server.client
        .in(source.name)
        .listBranches({ hidden: true }, signal))
        left.push(id);
      t.same(left, ["main"], "and leaves nothing");
    }
  },
);

t.test(
  "where hooks are disabled, pushes land all the same",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t, "local", DISABLED);
    const pool = await testPool(t);

    await t.test("one after the other: the merge stays, and readers leave it", async (t) => {
      const repository = await newRepository(server);
      const node = await rigNode(t, server, pool, repository);
      const work = await newWork(t);
      for (let at = 0; at < 3; at++) {
        const tip = await work.commit(`commit ${at}`, (folder) =>
          writeFile(join(folder, "a"), `${at}`),
        );
        t.same(await node.push(work, [[MAIN, tip]]), [{ name: MAIN, ok: true }]);
        t.same((await freshView(t, server, pool, repository)).refs, { [MAIN]: tip });
      }
      const head = await server.client
        .in(repository)
        .getCommit(await new Source(server.client, repository).head(), signal);
      t.equal(head.parents.length, 2, "the merge stays");
      t.same(
        (await server.client.in(repository).listObjects(head.id, "", signal)).results.map(
          ({ path }) => path,
        ),
        ["a"],
      );
      const { landing } = await rigNode(t, server, pool, repository);
      await landing.complete("main", head.id, signal);
      t.equal(await new Source(server.client, repository).head(), head.id);
    });

    await t.test(
      "the head moves in between: merged with what was there, said so, nothing lost; the next fetch has both",
      async (t) => {
        const repository = await newRepository(server);
        const { client, steps } = watchedClient(server);
        const node = await rigNode(t, server, pool, repository, { client });
        const source = new Source(server.client, repository);
        const work = await newWork(t);
        await work.commit("first", (folder) => writeFile(join(folder, "a"), "a"));
        t.match(await node.push(work, [[MAIN, work.tip()]]), [{ ok: true }]);
        const pushed = await work.commit("second", (folder) => writeFile(join(folder, "b"), "b"));
        let moves = 0;
        steps.before = async ({ name, path }) => {
          if (name !== "merge" || !path.endsWith("/main") || moves++ > 0) return;
          await source.put({ theirs: "theirs" });
          await source.commit("theirs");
        };
        t.match(await node.push(work, [[MAIN, pushed]]), [{ ok: true }]);
        t.match(
          node.results.join("\n"),
          /the branch had moved, and hooks are disabled in lakeFS: the push was merged with what was there/,
        );
        const view = await freshView(t, server, pool, repository);
        t.equal(view.fsck, "");
        t.equal(await view.node.git("rev-parse", "main^2"), pushed);
        t.same((await view.node.git("ls-tree", "--name-only", "main")).split("\n"), [
          "a",
          "b",
          "theirs",
        ]);
        work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
        work.git("merge", "-q", "--ff-only", "FETCH_HEAD");
        await work.commit("third", (folder) => writeFile(join(folder, "c"), "c"));
        t.match(
          await node.push(work, [[MAIN, work.tip()]]),
          [{ ok: true }],
          "and the next push lands",
        );
      },
    );

    await t.test("the head moves to what the push contradicts: refused", async (t) => {
      const repository = await newRepository(server);
      const { client, steps } = watchedClient(server);
      const node = await rigNode(t, server, pool, repository, { client });
      const source = new Source(server.client, repository);
      const work = await newWork(t);
      await work.commit("first", (folder) => writeFile(join(folder, "a"), "a"));
      t.match(await node.push(work, [[MAIN, work.tip()]]), [{ ok: true }]);
      let theirs = "";
      steps.before = async ({ name, path }) => {
        if (name !== "merge" || !path.endsWith("/main") || theirs !== "") return;
        await source.put({ a: "theirs" });
        theirs = (await source.commit("theirs")).id;
      };
      t.match(
        await node.push(work, [
          [MAIN, await work.commit("second", (folder) => writeFile(join(folder, "a"), "mine"))],
        ]),
        [{ ok: false, reason: /fetch first/ }],
      );
      t.equal(await source.head(), theirs);
    });
  },
);
