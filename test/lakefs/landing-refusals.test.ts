/**
 * Hooks, LFS objects and forced pushes: what decides whether a push lands (what the pusher reads of
 * the rest: test/interop/lakefs-refusals).
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import {
  freshView,
  newRepository,
  newWork,
  rigNode,
  type RigNode,
  type RigOptions,
  type Work,
} from "../support/landing-rig.js";
import { signal, Source, testPool } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(300_000);

const MAIN = "refs/heads/main";
const ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n";

async function write(folder: string, path: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), text);
}

t.test("refusals", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);

  const started = async (
    t: Test,
    options: RigOptions = {},
  ): Promise<{ node: RigNode; work: Work; source: Source; first: string }> => {
    const repository = await newRepository(server);
    const node = await rigNode(t, server, pool, repository, options);
    const work = await newWork(t);
    const first = await work.commit("first", (folder) => write(folder, "a", "a"));
    t.same(await node.push(work, [[MAIN, first]]), [{ name: MAIN, ok: true }]);
    return { node, work, source: new Source(server.client, repository), first };
  };

  await t.test(
    "a hook of the branch, with its text; a push that brings its own hooks is judged by the branch's",
    async (t) => {
      const { node, work } = await started(t);
      const hook =
        'name: policy\non:\n  pre-merge:\nhooks:\n  - id: no\n    type: lua\n    properties:\n      script: |\n        error("not on a Friday")\n';
      const withHook = await work.commit("hook", (folder) =>
        write(folder, "_lakefs_actions/policy.yaml", hook),
      );
      t.same(
        await node.push(work, [[MAIN, withHook]]),
        [{ name: MAIN, ok: true }],
        "the hook does not judge the push that brings it",
      );
      t.match(await node.push(work, [[MAIN, await work.commit("second")]]), [
        { ok: false, reason: /a hook in lakeFS refused it: .*not on a Friday/s },
      ]);
      const without = await work.commit("no hook", (folder) =>
        write(folder, "_lakefs_actions/policy.yaml", "name: none\non:\n  pre-merge:\nhooks: []\n"),
      );
      t.match(
        await node.push(work, [[MAIN, without]]),
        [{ ok: false, reason: /not on a Friday/ }],
        "nor can a push take it away",
      );
    },
  );

  await t.test(
    "unknown LFS objects, by their paths; known ones land with their real bytes",
    async (t) => {
      const sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; // of "test"
      const known = new Map<string, string>();
      const { node, work, source } = await started(t, {
        lfs: { address: async (oid) => known.get(oid) },
      });
      const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize 4\n`;
      const second = await work.commit("lfs", async (folder) => {
        await write(folder, ".gitattributes", ATTRIBUTES);
        await write(folder, "d/x.bin", pointer);
        await write(folder, "looks-like.txt", pointer);
      });
      t.match(await node.push(work, [[MAIN, second]]), [
        { ok: false, reason: /LFS objects are not on the server \(d\/x\.bin\)/ },
      ]);
      await server.client
        .in(source.name)
        .createBranch({ name: "upload", source: await source.head(), hidden: true }, signal);
      known.set(
        sha256,
        (
          await server.client
            .in(source.name)
            .uploadObject("upload", "x", Buffer.from("test"), {}, signal)
        ).physical_address,
      );
      t.same(await node.push(work, [[MAIN, second]]), [{ name: MAIN, ok: true }]);
      t.equal(
        Buffer.from(
          await server.client
            .in(source.name)
            .readObject(await source.head(), "d/x.bin", 100, signal),
        ).toString(),
        "test",
      );
      t.equal(
        Buffer.from(
          await server.client
            .in(source.name)
            .readObject(await source.head(), "looks-like.txt", 1000, signal),
        ).toString(),
        pointer,
      );
      t.same((await freshView(t, server, pool, source.name)).refs, { [MAIN]: second });
    },
  );

  await t.test("a forced push only where the policy lets it; the old head is kept", async (t) => {
    const { node, work, source, first } = await started(t, { policy: { allowForced: true } });
    t.same(await node.push(work, [[MAIN, await work.commit("second")]]), [
      { name: MAIN, ok: true },
    ]);
    const before = await source.head();
    work.git("reset", "-q", "--hard", first);
    const other = await work.commit("other", (folder) => write(folder, "a", "other"));
    t.same(await node.push(work, [[MAIN, other]]), [{ name: MAIN, ok: true }]);
    t.same((await freshView(t, server, pool, source.name)).refs, { [MAIN]: other });
    t.same(
      await node.push(work, [[MAIN, first]]),
      [{ name: MAIN, ok: true }],
      "back to a commit that is there",
    );
    t.same((await freshView(t, server, pool, source.name)).refs, { [MAIN]: first });
    const kept: string[] = [];
    for await (const ref of server.client
      .in(source.name)
      .listBranches({ prefix: "lakepack-kept-", hidden: true }, signal))
      kept.push(ref.commit_id);
    t.ok(kept.includes(before) && kept.length === 2);
  });
});
