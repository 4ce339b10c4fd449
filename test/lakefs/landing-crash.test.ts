/**
 * A server that dies around any of its calls, an answer that is lost, a head that moves in between:
 * branch and objects are consistent, the next push lands.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import type { LakefsCall } from "../../src/lakefs/api/http.js";
import { completeLanding } from "../../src/lakefs/land/commit-point.js";
import { sweepWorkBranches } from "../../src/lakefs/land/sweep.js";
import type { ThreadPool } from "../../src/pool/pool.js";
import {
  freshView,
  newRepository,
  newWork,
  rigNode,
  type RigNode,
  type Steps,
  watchedClient,
  type Work,
} from "../support/landing-rig.js";
import { signal, Source, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(300_000);

const MAIN = "refs/heads/main";
/** More than any push of one commit makes. */
const CALLS_MAX = 60;

/** The merge into the branch that is pushed to; another one puts the guard into the work branch. */
function isCommitPoint({ name, path }: Pick<LakefsCall, "name" | "path">): boolean {
  return name === "merge" && path.endsWith("/merge/main");
}

function died(): never {
  throw new Fault("lakefs/unreachable", { reason: "the test cut it" });
}

interface Scene {
  readonly repository: string;
  readonly node: RigNode;
  readonly work: Work;
  readonly steps: Steps;
  readonly first: string;
  readonly second: string;
}

/** One commit is there, a second is to be pushed. */
async function scene(t: Test, server: RunningLakefs, pool: ThreadPool): Promise<Scene> {
  const repository = await newRepository(server);
  const { client, steps } = watchedClient(server);
  const node = await rigNode(t, server, pool, repository, { client });
  const work = await newWork(t);
  const first = await work.commit("first", (folder) => writeFile(join(folder, "a"), "a"));
  t.same(await node.push(work, [[MAIN, first]]), [{ name: MAIN, ok: true }]);
  const second = await work.commit("second", (folder) => writeFile(join(folder, "a"), "b"));
  return { repository, node, work, steps, first, second };
}

t.test(
  "each call fails once, before lakeFS hears of it or after it has done it",
  { skip: skipLakefs, timeout: 300_000 },
  async (t) => {
    const server = await startLakefs(t);
    const pool = await testPool(t);
    for (const moment of ["before", "after"] as const) {
      for (let call = 0; call < CALLS_MAX; call++) {
        const { repository, node, work, steps, first, second } = await scene(t, server, pool);
        let left = call;
        let last = "";
        steps[moment] = ({ name }) => {
          if (left-- !== 0) return;
          last = name;
          died();
        };
        const [outcome] = await node
          .push(work, [[MAIN, second, first]])
          .catch((): { ok: boolean }[] => [{ ok: false }]);
        delete steps[moment];
        if (last === "") {
          t.comment(`a push of one commit makes ${call} calls of the main thread`);
          break;
        }
        const { refs } = await freshView(t, server, pool, repository);
        t.equal(
          refs[MAIN],
          outcome?.ok ? second : first,
          `${moment} call ${call} (${last}): ${outcome?.ok ? "ok" : "ng"} was true`,
        );
        t.match(await node.push(work, [[MAIN, second]]), [{ ok: true }], "and the next push lands");
      }
    }
  },
);

t.test("the answer to a merge is lost", { skip: skipLakefs, timeout: 120_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);
  const { repository, node, work, steps, second } = await scene(t, server, pool);
  let lost = 0;
  steps.after = (call) => (isCommitPoint(call) && lost++ === 0 ? died() : undefined);
  t.match(await node.push(work, [[MAIN, second]]), [{ ok: true }]);
  t.equal(lost, 1);
  t.same((await freshView(t, server, pool, repository)).refs, { [MAIN]: second });
});

t.test(
  "lakeFS is away right after the merge: it is asked until it answers; if it never does the push may have landed",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const pool = await testPool(t);
    const { repository, node, work, steps, second } = await scene(t, server, pool);
    let merged = false;
    let failures = 0;
    steps.after = (call) => {
      merged ||= isCommitPoint(call);
      if (merged && failures++ < 3) died();
    };
    t.match(await node.push(work, [[MAIN, second]]), [{ ok: true }]);
    t.ok(failures > 3, "it was asked again");
    t.same((await freshView(t, server, pool, repository)).refs, { [MAIN]: second });
    const third = await work.commit("third", (folder) => writeFile(join(folder, "a"), "c"));
    merged = false;
    failures = Number.NEGATIVE_INFINITY;
    t.match(await node.push(work, [[MAIN, third]]), [
      {
        ok: false,
        reason: /stopped answering while the push was landing; fetch to see whether it has/,
      },
    ]);
    t.same((await freshView(t, server, pool, repository)).refs, { [MAIN]: third }, "it has");
  },
);

t.test(
  "the answer to a new branch or tag is lost, once or before it is made",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const pool = await testPool(t);
    for (const moment of ["before", "after"] as const) {
      const { repository, node, work, steps, second } = await scene(t, server, pool);
      const lost = new Set<string>();
      steps[moment] = ({ name, json }) => {
        const { name: branch, id: tag } = (json ?? {}) as { name?: string; id?: string };
        const made = name === "createBranch" ? branch : name === "createTag" ? tag : undefined;
        if (made === undefined || made.startsWith("lakepack-") || lost.has(made)) return;
        lost.add(made);
        died();
      };
      t.match(
        await node.push(work, [
          ["refs/heads/new", second],
          ["refs/tags/v1", second],
        ]),
        [{ ok: true }, { ok: true }],
        moment,
      );
      t.same([...lost].sort(), ["new", "v1"]);
      const { refs } = await freshView(t, server, pool, repository);
      t.same([refs["refs/heads/new"], refs["refs/tags/v1"]], [second, second]);
    }
  },
);

t.test(
  "a half-landed push is completed by whoever reads it",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const pool = await testPool(t);
    const { repository, node, work, steps, second } = await scene(t, server, pool);
    let merge = "";
    steps.before = async ({ name }) => {
      if (name !== "hardReset") return;
      merge = await new Source(server.client, repository).head();
      died();
    };
    t.match(await node.push(work, [[MAIN, second]]), [{ ok: true }], "it has landed all the same");
    delete steps.before;
    t.match(node.results.at(-1), new RegExp(`${second} is lakeFS commit ${merge}`));
    const listed = async (id: string) =>
      (await server.client.in(repository).listObjects(id, "", signal)).results.map(
        ({ path }) => path,
      );
    t.same(await listed(merge), ["_lakefs_actions/lakepack-guard.yaml", "a"], "half of it");
    const reader = await rigNode(t, server, pool, repository);
    t.equal((await reader.refs.read()).byName.get(MAIN)?.oid, second, "Git sees it whole at once");
    const head = await headBeyond(server, repository, merge);
    t.same(await listed(head), ["a"], "and lakeFS soon");
    t.equal((await server.client.in(repository).getCommit(head, signal)).message, "second");
    t.match(await reader.push(work, [["refs/heads/new", second]]), [{ ok: true }]);
    t.equal(
      await new Source(server.client, repository).head("new"),
      head,
      "a new branch there is not at the merge, which has the guard's file",
    );
    t.same((await freshView(t, server, pool, repository)).refs, {
      [MAIN]: second,
      "refs/heads/new": second,
    });
  },
);

t.test(
  "a reader completes a push that is still landing: it says which commit the head is",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const pool = await testPool(t);
    const { repository, node, work, steps, second } = await scene(t, server, pool);
    const reader = await rigNode(t, server, pool, repository);
    let head = "";
    steps.before = async ({ name }) => {
      if (name !== "hardReset" || head !== "") return;
      const merge = await new Source(server.client, repository).head();
      await reader.refs.read();
      head = await headBeyond(server, repository, merge);
    };
    t.match(await node.push(work, [[MAIN, second]]), [{ ok: true }]);
    t.match(node.results.at(-1), new RegExp(`${second} is lakeFS commit ${head}$`));
    t.equal(await new Source(server.client, repository).head(), head);
  },
);

t.test(
  "what only looks like a half-landed push is left alone",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const pool = await testPool(t);
    const { repository, node, work, steps, second } = await scene(t, server, pool);
    steps.before = ({ name }) => (name === "hardReset" ? died() : undefined);
    t.match(await node.push(work, [[MAIN, second]]), [{ ok: true }]);
    const source = new Source(server.client, repository);
    const merge = await server.client.in(repository).getCommit(await source.head(), signal);
    const { metadata = {}, parents } = merge;
    const copied = await source.commit("a commit with a landing's metadata", { metadata });
    t.equal(
      await completeLanding(server.client.in(repository), "main", copied, () => false, signal),
      false,
      "copied metadata",
    );
    t.equal(
      await completeLanding(
        server.client.in(repository),
        "main",
        { ...merge, metadata: { ...metadata, "lakepack.tip": parents[0] as string } },
        () => false,
        signal,
      ),
      false,
      "another tip",
    );
    t.equal(
      await completeLanding(
        server.client.in(repository),
        "main",
        { ...merge, metadata: { ...metadata, "lakepack.step": "3" } },
        () => false,
        signal,
      ),
      false,
      "another step",
    );
    t.equal(
      await completeLanding(server.client.in(repository), "main", merge, () => false, signal),
      false,
      "somebody has built on it",
    );
    t.equal(await source.head(), copied.id, "no head has moved");
  },
);

t.test(
  "the head moves right before the merge, and right after it",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const pool = await testPool(t);
    for (const [moment, ok] of [
      ["before", false],
      ["after", true],
    ] as const) {
      const { repository, node, work, steps, first, second } = await scene(t, server, pool);
      const source = new Source(server.client, repository);
      let moved: string | undefined;
      steps[moment] = async (call) => {
        if (!isCommitPoint(call) || moved !== undefined) return;
        moved = "";
        await source.put({ theirs: "theirs" });
        moved = (await source.commit("theirs")).id;
      };
      const [outcome] = await node.push(work, [[MAIN, second]]);
      delete steps[moment];
      t.equal(outcome?.ok, ok, `${moment}: ${JSON.stringify(outcome)}`);
      if (outcome?.ok === false) t.match(outcome.reason, /fetch first/);
      t.equal(await source.head(), moved, "their commit is the head");
      const { node: view } = await freshView(t, server, pool, repository);
      t.equal(
        await view.git("rev-parse", "main~1"),
        ok ? second : first,
        "and a child of what was there",
      );
      work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
      work.git("reset", "-q", "--hard", "FETCH_HEAD");
      t.match(
        await node.push(work, [
          [MAIN, await work.commit("third", (folder) => writeFile(join(folder, "c"), "c"))],
        ]),
        [{ ok: true }],
      );
      const { results } = await server.client
        .in(repository)
        .listObjects(await source.head(), "", signal);
      t.same(
        results.map(({ path }) => path),
        ["a", "c", "theirs"],
        "the guard's file is gone by the next push",
      );
    }
  },
);

/** The branch's head once it is not `old` any more. */
async function headBeyond(server: RunningLakefs, repository: string, old: string): Promise<string> {
  for (let attempt = 0; attempt < 600; attempt++) {
    const head = await new Source(server.client, repository).head();
    if (head !== old) return head;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error("the head stays");
}

t.test(
  "work branches of yesterday are swept, others are not",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const repository = await newRepository(server);
    const nowMs = Date.now();
    const seconds = Math.floor(nowMs / 1_000);
    const names = [
      `lakepack-work-${seconds - 90_000}-a`,
      `lakepack-work-${seconds - 80_000}-b`,
      "lakepack-work-x",
      `lakepack-kept-${seconds - 90_000}-c`,
    ];
    for (const name of names)
      await server.client
        .in(repository)
        .createBranch({ name, source: "main", hidden: true }, signal);
    t.same(await sweepWorkBranches(server.client.in(repository), nowMs, signal), [names[0]]);

    await server.client
      .in(repository)
      .createBranch({ name: names[0] as string, source: "main", hidden: true }, signal);
    let sweptLfs = 0;
    const lfs = { address: async () => undefined, sweep: async () => ++sweptLfs };
    const node = await rigNode(t, server, await testPool(t), repository, { lfs });
    const work = await newWork(t);
    t.match(await node.push(work, [[MAIN, await work.commit("first")]]), [{ ok: true }]);
    const left = async () => {
      const ids: string[] = [];
      for await (const { id } of server.client
        .in(repository)
        .listBranches({ prefix: "lakepack-work-", hidden: true }, signal))
        ids.push(id);
      return ids;
    };
    for (let attempt = 0; attempt < 600 && ((await left()).length > 2 || sweptLfs === 0); attempt++)
      await new Promise((wake) => setTimeout(wake, 50));
    t.same(await left(), names.slice(1, 3).sort(), "a push starts it");
    t.equal(sweptLfs, 1, "and that of uploads");
  },
);
