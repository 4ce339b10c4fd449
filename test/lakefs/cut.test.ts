/**
 * Old data that lakeFS's collection has removed: what is whole is served, what is cut is the same
 * on every server, and named.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { blockStores } from "../support/everyday.js";
import { Fault } from "../../src/base/fault.js";
import { AgreedCuts } from "../../src/lakefs/read/agreed-cuts.js";
import { agreeOnCut, CUT_PREFIX } from "../../src/lakefs/agreed/cuts.js";
import { LostContents } from "../../src/lakefs/read/lost-contents.js";
import { LakeNotes } from "../../src/lakefs/read/lake-notes.js";
import { DiskStore } from "../../src/store/disk.js";
import { tempFolder } from "../support/temp-folder.js";
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

const nothing = () => undefined;
const QUIET = { error: nothing, warn: nothing, info: nothing, debug: nothing, trace: nothing };

const factsOf = (work: Promise<unknown>) =>
  work.then(
    () => ({ code: "none" }),
    (error: unknown) =>
      error instanceof Fault ? { code: error.code, ...error.facts } : { code: String(error) },
  );

/** Removes what lies at a commit's path from the storage. */
async function collect(
  { client, collect: remove }: RunningLakefs,
  { name }: Source,
  commit: string,
  path: string,
): Promise<void> {
  await remove((await client.in(name).statObject(commit, path, signal)).physical_address);
}

async function cutBranches({ client }: RunningLakefs, { name }: Source): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of client
    .in(name)
    .listBranches({ prefix: CUT_PREFIX, hidden: true }, signal))
    found.push(id);
  return found;
}

const subjects = async (node: Node, ref = "main") =>
  (await node.git("log", "--format=%s", ref)).split("\n");

/** Commits "one" to "five"; `old` is the same in one and two, and another from three on. */
async function history(server: RunningLakefs) {
  const source = await createSource(server);
  const ids: string[] = [];
  const commit = async (message: string, files: Record<string, string>) => {
    await source.put(files);
    ids.push((await source.commit(message)).id);
  };
  await commit("one", { "dir/old": "first", kept: "kept" });
  await commit("two", { more: "more" });
  await commit("three", { "dir/old": "second" });
  await commit("four", { last: "last" });
  return { source, ids: ids as [string, string, string, string], commit };
}

for (const blocks of blockStores) {
  t.test(`collected data, ${blocks} blocks`, { skip: skipLakefs, timeout: 120_000 }, async (t) => {
    const server = await startLakefs(t, blocks);
    const pool = await testPool(t);

    await t.test("of old commits: the history begins behind them, on every server", async (t) => {
      const { source, ids, commit } = await history(server);
      const before = await openNode(t, server, pool, source.name, { cutsLookMs: 0 });
      t.same(await subjects(before), ["four", "three", "two", "one"]);
      await collect(server, source, ids[0], "dir/old");
      const node = await openNode(t, server, pool, source.name);
      t.same(await subjects(node), ["four", "three"]);
      t.equal(await node.git("fsck", "--strict", "--full"), "");
      t.equal(await node.git("show", "main:dir/old"), "second");
      t.same(
        node.commits.cuts,
        [{ commit: ids[1], path: "dir/old" }],
        "the nearest of those that miss it",
      );
      t.match(
        node.warnings.join("\n"),
        new RegExp(`data of an old lakeFS commit is gone.*${ids[1]}.*dir/old`),
      );
      t.same(await cutBranches(server, source), [`${CUT_PREFIX}${ids[1]}`]);
      const second = await openNode(t, server, pool, source.name);
      t.same(await refsOf(second), await refsOf(node), "another server that was not there before");
      t.same(second.commits.cuts, node.commits.cuts, "which knows where and why");

      t.same(
        await refsOf(before),
        await refsOf(node),
        "and one that has read all of it before the data was gone",
      );
      await commit("five", { last: "changed" });
      const now = await refsOf(node);
      t.same(await refsOf(before), now);
      t.same(await subjects(before), ["five", "four", "three"]);
      t.match(before.warnings.join("\n"), /was cut by another/);
      t.same(await refsOf(await before.reopen()), now);
      const folder = join(await tempFolder(t), "damaged");
      const damaged = await openNode(t, server, pool, source.name, { folder });
      await damaged.refs.read();
      await writeFile(join(folder, "store/repos/a/b/git/lake-cuts"), "lakepack sealed 1\nnonsense");
      const mended = await damaged.reopen();
      t.same(await refsOf(mended), now);
      t.same(mended.commits.cuts, node.commits.cuts, "a damaged note is made again");
    });

    await t.test(
      "of a head: it is named and left out, others are served; a tag below a cut is one as well",
      async (t) => {
        const { source, ids } = await history(server);
        const { client } = server;
        await client.in(source.name).createTag({ id: "v1", ref: ids[1] }, signal);
        await client.in(source.name).createBranch({ name: "other", source: "main" }, signal);
        await source.put({ bad: "bad" }, { branch: "other" });
        const { id: bad } = await source.commit("bad", { branch: "other" });
        await collect(server, source, ids[0], "dir/old");
        await collect(server, source, bad, "bad");
        const node = await openNode(t, server, pool, source.name);
        t.same(
          (await node.refs.read()).refs.map(({ name }) => name),
          ["refs/heads/main"],
        );
        t.same(await subjects(node), ["four", "three"]);
        const unreadable = node.refs.unreadable.map(({ name, fault }) => [
          name,
          fault.code,
          fault.facts["commit"],
          fault.facts["path"],
        ]);
        t.same(unreadable, [
          ["refs/heads/other", "lakefs/gone", bad, "bad"],
          ["refs/tags/v1", "lakefs/gone", ids[1], "dir/old"],
        ]);
        await source.remove(["bad"], "other");
        await source.commit("mended", { branch: "other" });
        t.same(await subjects(await openNode(t, server, pool, source.name), "other"), ["mended"]);
      },
    );

    await t.test(
      "cuts that somebody has written of commits whose data is there: they do not count",
      async (t) => {
        const { source, ids } = await history(server);
        const honest = await refsOf(await openNode(t, server, pool, source.name));
        await agreeOnCut(
          server.client.in(source.name),
          { commit: ids[1] as string, path: "dir/old" },
          signal,
        );
        await agreeOnCut(
          server.client.in(source.name),
          { commit: ids[2] as string, path: "no/such/path" },
          signal,
        );
        const node = await openNode(t, server, pool, source.name, { cutsLookMs: 0 });
        t.same(await subjects(node), ["four", "three", "two", "one"]);
        t.same(await refsOf(node), honest);
        t.same(node.commits.cuts, []);
        t.match(
          node.warnings.join("\n"),
          /cuts the history at a commit whose data is there: it does not count/,
        );
      },
    );

    await t.test(
      "any number of branches that somebody has made: some are looked at, and that is said",
      async (t) => {
        const { source, ids } = await history(server);
        const { client } = server;
        const { commit_id: record } = await client.in(source.name).getBranch("main", signal);
        await collect(server, source, ids[0], "dir/old");
        await agreeOnCut(client.in(source.name), { commit: ids[1], path: "dir/old" }, signal);
        for (const digit of ["0", "f"])
          for (let at = 0; at < 3; at++) {
            await client
              .in(source.name)
              .createBranch(
                { name: `${CUT_PREFIX}${digit.repeat(63)}${at}`, source: record, hidden: true },
                signal,
              );
          }
        const open = async (cutsMax: number) => {
          const warnings: string[] = [];
          const log = { ...QUIET, warn: (event: string) => void warnings.push(event) };
          const records = new LakeNotes(new DiskStore(await tempFolder(t)), "repos/a/b");
          const cuts = new AgreedCuts({
            client: client.in(source.name),
            records,
            log,
            cutsMax,
            onForgotten: () => undefined,
          });
          await cuts.look(signal);
          return {
            cuts,
            records,
            warnings: warnings.filter((text) => /more branches of cuts/.test(text)).length,
          };
        };
        t.match(await open(7), {
          warnings: 0,
          cuts: { all: new Map([[ids[1], { path: "dir/old" }]]) },
        });
        const few = await open(2);
        t.same([few.warnings, few.cuts.all.size], [1, 0], "one behind them is not seen");
        await client.in(source.name).deleteBranch(`${CUT_PREFIX}${ids[1]}`, signal);
        await few.cuts.agree([{ commit: ids[1], path: "dir/old" }], signal);
        const before = client.http.calls;
        await few.cuts.look(signal);
        t.same([...few.cuts.all.keys()], [ids[1]], "one of its own stays");
        t.ok(client.http.calls - before <= 2, "and is not put there again for not being seen");
      },
    );

    await t.test("what is gone is noted once, and forgotten when it is there again", async (t) => {
      const { source, ids } = await history(server);
      await collect(server, source, ids[0], "dir/old");
      const records = new LakeNotes(new DiskStore(await tempFolder(t)), "repos/a/b");
      const warnings: string[] = [];
      const log = { ...QUIET, warn: (event: string) => void warnings.push(event) };
      const lost = () => new LostContents({ client: server.client.in(source.name), records, log });
      const gone = { commit: ids[0], path: "dir/old" };
      const there = { commit: ids[3], path: "kept" };
      const notes = lost();
      for (const facts of [gone, there, gone])
        await notes.note({ code: "lakefs/gone", facts }, signal);
      await notes.note(
        { code: "lakefs/unreachable", facts: { commit: ids[1], path: "more" } },
        signal,
      );
      t.same(await records.lost(), [gone, there]);
      t.equal(warnings.length, 2);
      await lost().look(signal);
      t.same(await records.lost(), [gone]);
    });

    await t.test("of everything: nothing is cut, nothing is served", async (t) => {
      const { source, ids } = await history(server);
      await collect(server, source, ids[3], "kept");
      const node = await openNode(t, server, pool, source.name);
      t.match(await factsOf(node.refs.read()), { code: "lakefs/gone", path: "kept" });
      t.same(await cutBranches(server, source), []);
    });

    await t.test("of one side of a merge: the other stays", async (t) => {
      const { source, ids } = await history(server);
      const { client } = server;
      await client.in(source.name).createBranch({ name: "side", source: ids[3] }, signal);
      await source.put({ gone: "gone" }, { branch: "side" });
      const { id: gone } = await source.commit("gone", { branch: "side" });
      await source.put({ gone: "there again" }, { branch: "side" });
      await source.commit("there", { branch: "side" });
      await source.put({ main: "main" });
      await source.commit("main");
      await client
        .in(source.name)
        .merge("side", "main", { message: "merge", metadata: {} }, signal);
      await collect(server, source, gone, "gone");
      const node = await openNode(t, server, pool, source.name);
      t.same((await subjects(node)).sort(), [
        "four",
        "main",
        "merge",
        "one",
        "there",
        "three",
        "two",
      ]);
      t.equal((await node.git("log", "-1", "--format=%p", "main")).split(" ").length, 2);
      t.same(await refsOf(node), await refsOf(await openNode(t, server, pool, source.name)));
    });
  });
}
