/** Moving a tag: lakeFS has no call for it, and the old tag is there whatever fails in between. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { SealKeys } from "../../src/lakefs/rules/claim-seal.js";
import { writeCommitRecord } from "../../src/lakefs/api/commit-record.js";
import { RootCommit } from "../../src/lakefs/agreed/root-commit.js";
import { TAG_MOVE_PREFIX, TagMover } from "../../src/lakefs/land/tag-move.js";
import type { ThreadPool } from "../../src/pool/pool.js";
import { actionFile, startHooks } from "../support/hooks-rig.js";
import {
  freshView,
  newRepository,
  newWork,
  type RigNode,
  rigNode,
  type Steps,
  watchedClient,
  type Work,
} from "../support/landing-rig.js";
import { SEAL_KEY, signal, Source, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(300_000);

const MAIN = "refs/heads/main";
const TAG = "refs/tags/v1";
/** More than any move of a tag makes. */
const CALLS_MAX = 40;

interface Scene {
  readonly server: RunningLakefs;
  readonly source: Source;
  readonly node: RigNode;
  readonly work: Work;
  readonly steps: Steps;
  readonly old: string;
  readonly to: string;
}

/** Two commits; the tag is at the first. */
async function scene(t: Test, server: RunningLakefs, pool: ThreadPool): Promise<Scene> {
  const source = new Source(server.client, await newRepository(server));
  const { client, steps } = watchedClient(server);
  const node = await rigNode(t, server, pool, source.name, {
    client,
    policy: { allowForced: true },
  });
  const work = await newWork(t);
  const file = (content: string) =>
    work.commit(content, (folder) => writeFile(join(folder, "a"), content));
  const old = await file("old");
  const to = await file("new");
  t.match(
    await node.push(work, [
      [MAIN, to],
      [TAG, old],
    ]),
    [{ ok: true }, { ok: true }],
  );
  return { server, source, node, work, steps, old, to };
}

async function notes({ source }: Scene): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of source.client
    .in(source.name)
    .listBranches({ prefix: TAG_MOVE_PREFIX }, signal))
    ids.push(id);
  return ids;
}

/** Leaves what a server leaves that dies while it moves the tag v1 away from a commit. */
async function leaveNote(
  server: RunningLakefs,
  { client, name }: Source,
  lakeId: string,
  startMs: number,
): Promise<void> {
  const landing = { namespace: server.namespace(name), base: "v1", tip: lakeId, step: 0 };
  const seal = new SealKeys([SEAL_KEY]).sealLanding(landing) as string;
  const metadata = { "lakepack.moving": "v1", "lakepack.seal": seal };
  const facts = {
    committer: "x",
    message: "x",
    metarangeId: "",
    creationDate: 1,
    parents: [lakeId],
    metadata,
    generation: 9,
  };
  const record = await writeCommitRecord(client.in(name), facts, signal);
  await client
    .in(name)
    .createBranch({ name: `${TAG_MOVE_PREFIX}${startMs}-dead`, source: record }, signal);
}

function died(): never {
  throw new Fault("lakefs/unreachable", { reason: "the test cut it" });
}

t.test("moving a tag", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);

  for (const moment of ["before", "after"] as const) {
    for (const lasting of [false, true]) {
      await t.test(
        `each call fails ${moment} lakeFS has done it, ${lasting ? "and all that follow" : "once"}`,
        (t) => eachFails(t, server, pool, moment, lasting),
      );
    }
  }

  await t.test(
    "a hook refuses the new one, the old one is there again; where it may refuse both nothing is begun",
    async (t) => {
      const it = await scene(t, server, pool);
      const { source, node, work, old } = it;
      const hooks = await startHooks(t);
      work.git("reset", "-q", "--hard", it.to);
      const policy = (folder: string) =>
        writeFile(
          join(folder, "_lakefs_actions/tags.yaml"),
          actionFile("tags", hooks.url, ["pre-create-tag"]),
        );
      const judged = await work.commit("policy", async (folder) => {
        await mkdir(join(folder, "_lakefs_actions"));
        await policy(folder);
      });
      t.match(await node.push(work, [[MAIN, judged]]), [{ ok: true }]);
      hooks.answer = () => ({ status: 403 });
      t.match(await node.push(work, [[TAG, judged]]), [
        { ok: false, reason: /a hook in lakeFS refused it: 'ticket' \(pre-create-tag/ },
      ]);
      t.equal((await node.refs.read()).byName.get(TAG)?.oid, old);
      t.equal(
        (await source.client.in(source.name).getTag("v1", signal)).commit_id,
        (await node.commits.toLake(old, signal))[0],
        "in lakeFS too",
      );
      hooks.answer = () => ({ status: 200 });
      t.match(await node.push(work, [[TAG, judged]]), [{ ok: true }]);
      hooks.seen.length = 0;
      const later = await work.commit("later");
      t.match(await node.push(work, [[MAIN, later]]), [{ ok: true }]);
      t.match(await node.push(work, [[TAG, later]]), [
        {
          ok: false,
          reason: /'ticket' \(pre-create-tag\) might refuse the new tag in lakeFS, and the old one/,
        },
      ]);
      t.same(
        [hooks.seen.length, (await node.refs.read()).byName.get(TAG)?.oid, await notes(it)],
        [0, judged, []],
      );
    },
  );

  await t.test("notes of others are nobody's word", async (t) => {
    const it = await scene(t, server, pool);
    const { source, node, old } = it;
    const root = new RootCommit(source.client.in(source.name));
    const [lakeId = ""] = await node.commits.toLake(old, signal);
    const { id: parent, meta_range_id: metarangeId } = await root.get(signal);
    for (const seal of [
      undefined,
      new SealKeys([Buffer.alloc(32, "other")]).sealLanding({
        namespace: server.namespace(source.name),
        base: "forged",
        tip: lakeId,
        step: 0,
      }),
    ]) {
      const metadata = {
        "lakepack.moving": "forged",
        ...(seal === undefined ? {} : { "lakepack.seal": seal }),
      };
      const facts = {
        committer: "x",
        message: "x",
        metarangeId,
        creationDate: 1,
        parents: [lakeId, parent],
        metadata,
        generation: 9,
      };
      const record = await writeCommitRecord(source.client.in(source.name), facts, signal);
      await source.client
        .in(source.name)
        .createBranch(
          { name: `${TAG_MOVE_PREFIX}1-${seal === undefined ? "a" : "b"}`, source: record },
          signal,
        );
    }
    t.notOk((await node.refs.read()).byName.has("refs/tags/forged"));
  });

  await t.test(
    "what a server that died has left brings no deleted tag back, and goes where the tag has moved",
    async (t) => {
      const it = await scene(t, server, pool);
      const { source, node, work, old, to } = it;
      const [lakeId = ""] = await node.commits.toLake(old, signal);
      await leaveNote(server, source, lakeId, Date.now());
      t.equal((await node.refs.read()).byName.get(TAG)?.oid, old);
      t.equal((await notes(it)).length, 1, "it may be a move under way");
      t.match(await node.push(work, [[TAG, "0".repeat(40), old]]), [{ ok: true }]);
      t.same(
        [(await node.refs.read()).byName.get(TAG), await notes(it)],
        [undefined, []],
        "deleted is deleted",
      );
      t.match(await node.push(work, [[TAG, to]]), [{ ok: true }]);
      await leaveNote(server, source, lakeId, Date.now());
      t.equal((await node.refs.read()).byName.get(TAG)?.oid, to);
      for (let attempt = 0; attempt < 100 && (await notes(it)).length > 0; attempt++)
        await new Promise((wake) => setTimeout(wake, 50));
      t.same(
        [await notes(it), (await node.refs.read()).byName.get(TAG)?.oid],
        [[], to],
        "its move has ended",
      );
    },
  );

  await t.test(
    "a move whose server died long ago is put back by whoever lists the refs",
    async (t) => {
      const it = await scene(t, server, pool);
      const { source, node, old } = it;
      const { client, name } = source;
      const namespace = server.namespace(name);
      const seals = new SealKeys([SEAL_KEY]);
      const [lakeId = ""] = await node.commits.toLake(old, signal);
      await leaveNote(server, source, lakeId, 1_700_000_000_000);
      await client.in(name).deleteTag("v1", signal);
      const mover = new TagMover({
        client: client.in(name),
        namespace,
        root: new RootCommit(client.in(name)),
        seals,
      });
      t.match(await mover.find("v1", signal), { tag: "v1", old: lakeId, isLeft: true });
      t.equal((await node.refs.read()).byName.get(TAG)?.oid, old, "it is shown at once");
      for (let attempt = 0; attempt < 100 && (await notes(it)).length > 0; attempt++)
        await new Promise((wake) => setTimeout(wake, 50));
      t.same(
        [await notes(it), (await client.in(name).getTag("v1", signal)).commit_id],
        [[], lakeId],
      );
    },
  );
});

/** The tag is the old one or the new one, and `ok` is true; the next push lands. */
async function eachFails(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  moment: "before" | "after",
  lasting: boolean,
): Promise<void> {
  const it = await scene(t, server, pool);
  const { node, work, steps, source } = it;
  let [at, other] = [it.old, it.to];
  for (let call = 0; call < CALLS_MAX; call++) {
    let left = call;
    let last = "";
    const failing = ({ name, method }: { name: string; method: string }) => {
      if (method === "GET" && last === "") return; // what only reads is no step
      if (left-- > 0 || (left < -1 && !lasting)) return;
      last ||= name;
      died();
    };
    steps[moment] = failing;
    const [outcome] = await node
      .push(work, [[TAG, other, at]])
      .catch((): { ok: boolean }[] => [{ ok: false }]);
    delete steps[moment];
    if (last === "") return t.comment(`a move makes ${call} calls that change something`);
    const { refs } = await freshView(t, server, pool, source.name);
    const seen = refs[TAG];
    t.ok(seen === at || seen === other, `${moment} call ${call} (${last}): old or new`);
    t.ok(outcome?.ok !== true || seen === other, "ok was true");
    if (seen !== other)
      t.match(await node.push(work, [[TAG, other]]), [{ ok: true }], "and the next push lands");
    t.equal(
      (await source.client.in(source.name).getTag("v1", signal)).commit_id,
      (await node.commits.toLake(other, signal))[0],
    );
    [at, other] = [other, at];
  }
}
