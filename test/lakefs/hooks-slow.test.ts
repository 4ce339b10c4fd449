/**
 * Hooks that take long, longer than any other call may or than lakeFS waits for them, and those
 * that nobody can look into.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import type { HttpOptions } from "../../src/lakefs/api/http.js";
import type { RefOutcome } from "../../src/odb/ref-store.js";
import { createPool, type ThreadPool } from "../../src/pool/pool.js";
import { Semaphore } from "../../src/base/flow.js";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { actionFile, type Hooks, putActions, startHooks } from "../support/hooks-rig.js";
import { newRepository, newWork, rigNode } from "../support/landing-rig.js";
import { Source, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(120_000);

const MAIN = "refs/heads/main";

interface Slow {
  readonly hookTakesMs: number;
  /** Timeout of lakeFS for it. */
  readonly timeout?: string;
  readonly http: HttpOptions;
}

/**
 * A push past a hook that is slow; what came of it, how often the hook was asked, and whether the
 * head has moved.
 */
async function pushPast(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  hooks: Hooks,
  { hookTakesMs, timeout = "20s", http }: Slow,
): Promise<{ readonly outcome: RefOutcome; readonly asked: number; readonly moved: boolean }> {
  const source = new Source(server.client, await newRepository(server));
  await putActions(source, {
    "slow.yaml": actionFile("slow", hooks.url, ["pre-merge"]).replace("20s", timeout),
  });
  const node = await rigNode(t, server, pool, source.name, {
    client: new LakefsServer(server.access, undefined, http),
  });
  const work = await newWork(t);
  await node.refs.read();
  work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
  work.git("reset", "-q", "--hard", "FETCH_HEAD");
  const before = await source.head();
  hooks.seen.length = 0;
  hooks.answer = () => ({ status: 200, afterMs: hookTakesMs });
  const [outcome] = await node.push(work, [
    [MAIN, await work.commit("slow", (folder) => writeFile(join(folder, "a"), "a"))],
  ]);
  return {
    outcome: outcome as RefOutcome,
    asked: hooks.seen.length,
    moved: (await source.head()) !== before,
  };
}

t.test("slow hooks", { skip: skipLakefs }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);
  const hooks = await startHooks(t);

  await t.test(
    "longer than any call without hooks may take: the push waits, and lands",
    async (t) => {
      t.match(
        await pushPast(t, server, pool, hooks, { hookTakesMs: 2_000, http: { writeWaitMs: 500 } }),
        {
          outcome: { ok: true },
          asked: 1,
          moved: true,
        },
      );
    },
  );

  await t.test(
    "longer than lakeFS waits for it: it could not be asked, which is no refusal; it is not asked again at once",
    async (t) => {
      const past = await pushPast(t, server, pool, hooks, {
        hookTakesMs: 3_000,
        timeout: "1s",
        http: {},
      });
      t.match(past, {
        outcome: { ok: false, fault: { code: "lakefs/hook-failed" } },
        asked: 1,
        moved: false,
      });
      t.match(
        (past.outcome as { reason: string }).reason,
        /the hook 'ticket' in lakeFS \(pre-merge, action 'slow'\) could not be asked: .*(deadline|Timeout).*nothing has changed, try again/,
      );
      t.notMatch(
        (past.outcome as { reason: string }).reason,
        hooks.url,
        "where it was asked is nobody's business",
      );
    },
  );

  await t.test(
    "longer than we wait: the outcome is looked for, and it is not asked again",
    async (t) => {
      const past = await pushPast(t, server, pool, hooks, {
        hookTakesMs: 6_000,
        http: { hookMs: 1_500 },
      });
      t.match(past, {
        outcome: {
          ok: false,
          reason: /stopped answering while the push was landing; fetch to see whether it has/,
        },
        asked: 1,
        moved: false,
      });
    },
  );

  await t.test(
    "of a commit, for as long as it likes: with one thread and one turn, others' pushes land meanwhile",
    async (t) => {
      const few = createPool({ threads: 1, kernelsModule: await loadKernels() });
      t.teardown(() => few.close());
      const tasks = new Semaphore(1);
      const start = async (actions: Readonly<Record<string, string>>) => {
        const source = new Source(server.client, await newRepository(server));
        await putActions(source, {
          "other.yaml": actionFile("other", hooks.url, ["post-create-tag"]),
          ...actions,
        });
        const node = await rigNode(t, server, few, source.name, { tasks });
        const work = await newWork(t);
        await node.refs.read();
        work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
        work.git("reset", "-q", "--hard", "FETCH_HEAD");
        const tips = [
          await work.commit("one", (folder) => writeFile(join(folder, "a"), "a")),
          await work.commit("two", (folder) => writeFile(join(folder, "b"), "b")),
        ];
        return {
          source,
          push: async () => (await node.push(work, [[MAIN, tips[1] as string]]))[0],
          tips,
        };
      };
      const slow = await start({ "slow.yaml": actionFile("slow", hooks.url, ["pre-commit"]) });
      const quick = await start({});
      let answerNow: () => void = () => undefined;
      const held = new Promise<void>((resolve) => {
        answerNow = resolve;
      });
      hooks.answer = async () => held.then(() => ({ status: 200 }));
      hooks.seen.length = 0;
      const ends: string[] = [];
      const slowly = slow.push().finally(() => ends.push("slow"));
      while (hooks.seen.length === 0) await new Promise((wake) => setTimeout(wake, 20));
      t.match(await quick.push(), { ok: true }, "the other lands");
      ends.push("quick");
      answerNow();
      t.match(await slowly, { ok: true });
      t.same(ends, ["quick", "slow"]);
      t.equal(
        hooks.seen.filter(({ event_type: event }) => event === "pre-commit").length,
        2,
        "each of its commits was judged",
      );
      t.ok(tasks.idle, "and all turns were given back");
      t.match(few.figures(), { paused: 0, running: 0 });
    },
  );

  await t.test(
    "more files than are looked into, and one that is too large: a hook may be in there, so nothing lands",
    async (t) => {
      const odd: Readonly<Record<string, string>>[] = [
        Object.fromEntries(
          Array.from({ length: 101 }, (_, at) => [
            `a${at}.yaml`,
            actionFile(`a${at}`, hooks.url, ["post-create-tag"]),
          ]),
        ),
        {
          "large.yaml": `${actionFile("large", hooks.url, ["post-create-tag"])}#${"x".repeat(300_000)}\n`,
        },
      ];
      for (const files of odd) {
        const source = new Source(server.client, await newRepository(server));
        await putActions(source, files);
        const node = await rigNode(t, server, pool, source.name);
        const work = await newWork(t);
        await node.refs.read();
        work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
        work.git("reset", "-q", "--hard", "FETCH_HEAD");
        const before = await source.head();
        const tip = await work.commit("one", (folder) => writeFile(join(folder, "a"), "a"));
        const [outcome] = await node.push(work, [[MAIN, tip]]);
        t.match(outcome, {
          ok: false,
          reason:
            /^lakeFS's hooks at this head cannot all be read \((there are too many files|_lakefs_actions\/large.yaml has 3\d+ bytes)\)/,
        });
        t.equal(await source.head(), before);
      }
    },
  );
});
