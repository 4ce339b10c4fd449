/**
 * Three pushers through two lakepack processes, each with a store of its own, and a lakeFS writer,
 * all at one branch: no push lands on a moved head, every `ok` is in the history and no `ng` is,
 * and no acknowledged commit or file of anybody's is lost. With hooks of every kind too, some of
 * them slow, and with a lakeFS that is killed and started again in the middle.
 */
import t from "tap";
import type { HookEvent } from "../../src/lakefs/hooks/actions.js";
import { actionFile, eventsOf, startHooks } from "../support/hooks-rig.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { race } from "../support/lakefs-race-rig.js";

const isLarge = process.env["TEST_LARGE"] !== undefined;
const ROUNDS = isLarge ? 200 : 20;
const MINUTE_MS = 60_000;
const options = { skip: skipLakefs, timeout: 30 * MINUTE_MS };

t.setTimeout(60 * MINUTE_MS);

t.test("three pushers through two processes, and a lakeFS writer", { ...options }, async (t) => {
  const { written, landed } = await race(t, await startLakefs(t), {
    rounds: ROUNDS,
    guarded: true,
  });
  t.equal(written.length, ROUNDS / 2, "lakeFS's writer was never refused");
  t.ok(landed.length >= ROUNDS / 3, "and pushes get through");
});

t.test(
  "the same where hooks are disabled: pushes are merged, and nothing is lost",
  { ...options },
  async (t) => {
    const { landed } = await race(
      t,
      await startLakefs(t, "local", { LAKEFS_ACTIONS_ENABLED: "false" }),
      { rounds: ROUNDS / 5, guarded: false },
    );
    t.ok(landed.length >= ROUNDS / 15, "and pushes get through");
  },
);

/** Two hooks of Lua for each event, one of which takes its time. */
function luaActions(events: readonly HookEvent[]): string {
  const on = events.map((event) => `  ${event}:`).join("\n");
  const slow = "local n = 0\n        for i = 1, 200000 do n = n + i end";
  const hook = (id: string, script: string) =>
    `  - id: ${id}\n    type: lua\n    properties:\n      script: |\n        ${script}\n`;
  return `name: lua\non:\n${on}\nhooks:\n${hook("quick", "x = 1")}${hook("slow", slow)}`;
}

t.test("the same with hooks of every kind, some of them slow", { ...options }, async (t) => {
  const hooks = await startHooks(t);
  let answered = 0;
  hooks.answer = () => ({ status: 200, afterMs: answered++ % 3 === 0 ? 40 * (answered % 11) : 0 });
  const lakefs = await startLakefs(t);
  const events = await eventsOf(lakefs);
  const onMain = events.filter((event) => event !== "pre-commit" && event !== "prepare-commit");
  const actions = {
    "all.yaml": actionFile("all", hooks.url, events),
    "main.yaml": actionFile("main", hooks.url, onMain, ["main"]),
    "lua.yaml": luaActions(events),
  };
  const { written, landed } = await race(t, lakefs, {
    rounds: ROUNDS / 5,
    guarded: true,
    actions,
    beside: otherRefs(lakefs),
  });
  t.equal(written.length, ROUNDS / 10, "lakeFS's writer was never refused");
  t.ok(landed.length > 0, "and pushes get through");
  const told = await hooks.take();
  const merges = told.filter(
    ({ event_type, branch_id }) => event_type === "post-merge" && branch_id === "main",
  );
  t.ok(
    merges.length > 0 &&
      merges.every(({ commit_metadata }) => commit_metadata?.["lakepack.tip"] !== undefined),
    "of each push that has landed",
  );
  t.same(
    new Set(told.map(({ event_type }) => event_type)),
    new Set(events),
    "each kind of hook was asked",
  );
});

/** Branches and tags that come and go in lakeFS while others push. */
function otherRefs({
  client,
}: RunningLakefs): (round: number, repository: string) => Promise<void> {
  const { signal } = new AbortController();
  return async (round, repository) => {
    await client.in(repository).createBranch({ name: `aside-${round}`, source: "main" }, signal);
    await client.in(repository).createTag({ id: `t${round}`, ref: `aside-${round}` }, signal);
    await client.in(repository).deleteTag(`t${round}`, signal);
    await client.in(repository).deleteBranch(`aside-${round}`, signal);
  };
}

/**
 * Dies at another moment of most rounds, those in which nobody but pushers is there among them, and
 * is back a moment later.
 */
function dyingNow(lakefs: RunningLakefs): (round: number) => Promise<void> {
  return async (round) => {
    if (round % 4 === 2) return;
    await new Promise((wake) => setTimeout(wake, 40 + ((round * 97) % 700)));
    await lakefs.kill();
    await new Promise((wake) => setTimeout(wake, (round * 131) % 400));
    await lakefs.revive();
  };
}

t.test(
  "the same with hooks, and a lakeFS that is killed and started again",
  { ...options },
  async (t) => {
    const hooks = await startHooks(t);
    const lakefs = await startLakefs(t);
    const rounds = isLarge ? 100 : 6;
    const events = await eventsOf(lakefs);
    const actions = {
      "all.yaml": actionFile("all", hooks.url, events),
      "lua.yaml": luaActions(events),
    };
    const settings = { LAKEPACK_LAKEFS_PATIENCE_SECONDS: "20" };
    const { landed } = await race(t, lakefs, {
      rounds,
      guarded: true,
      mayFail: true,
      settings,
      actions,
      beside: dyingNow(lakefs),
    });
    t.ok(landed.length > 0, "and pushes get through");
  },
);

if (isLarge)
  t.test(
    "the same without hooks, and servers that do not wait for it",
    { ...options },
    async (t) => {
      const lakefs = await startLakefs(t);
      const { landed } = await race(t, lakefs, {
        rounds: 100,
        guarded: true,
        mayFail: true,
        beside: dyingNow(lakefs),
      });
      t.ok(landed.length >= 10, "and pushes get through");
    },
  );
