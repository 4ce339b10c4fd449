/**
 * lakeFS's hooks and pushes, and the outcome of a push by their answers: {hook kind × filter ×
 * answer} × {push, tag, branch, delete}. The table in docs/lakefs.md is what this test has seen.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { HOOK_EVENTS, type HookEvent } from "../../src/lakefs/hooks/actions.js";
import { examineHooks } from "../../src/lakefs/hooks/examine-hooks.js";
import {
  formatHookTable,
  HOOK_OPERATIONS,
  HOOK_TABLE,
  type HookOperation,
  type HookPlace,
} from "../../src/lakefs/hooks/hook-report.js";
import type { LandingPolicy } from "../../src/lakefs/land/contract.js";
import { RootCommit } from "../../src/lakefs/agreed/root-commit.js";
import { sweepWorkBranches } from "../../src/lakefs/land/sweep.js";
import type { RefOutcome } from "../../src/odb/ref-store.js";
import type { ThreadPool } from "../../src/pool/pool.js";
import { lakefsFiles } from "../../src/serve/lfs/lakefs-files.js";
import {
  actionFile,
  type Answer,
  eventsOf,
  type Hooks,
  putActions,
  type SeenEvent,
  startHooks,
} from "../support/hooks-rig.js";
import {
  newRepository,
  newWork,
  type RigNode,
  rigNode,
  type Work,
} from "../support/landing-rig.js";
import { Source, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(300_000);

const ZERO = "0".repeat(40);
const MAIN = "refs/heads/main";
const DOCS = fileURLToPath(new URL("../../../docs/lakefs.md", import.meta.url));

const { signal } = new AbortController();
const NO: Answer = { status: 403 };
const AWAY: Answer = { status: 503 };
const HOOKS_ON_TAGS: readonly HookEvent[] = ["pre-create-tag"];

interface Scene {
  readonly source: Source;
  readonly node: RigNode;
  readonly work: Work;
  /** A commit without a hook that could refuse a tag. */
  readonly old: string;
  /** Commit of main in Git. */
  head: string;
  count: number;
}

/**
 * A repository with two commits of lakeFS's own, the second with these action files; a work tree of
 * it.
 */
async function scene(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  files: Readonly<Record<string, string>>,
  policy: Partial<LandingPolicy> = {},
): Promise<Scene> {
  const source = new Source(server.client, await newRepository(server));
  const before = Object.entries(files).map(([name, text]) => [
    name,
    withoutEvents(text, HOOKS_ON_TAGS),
  ]);
  await putActions(source, Object.fromEntries(before) as Record<string, string>);
  const old = await source.head();
  await putActions(source, files);
  const node = await rigNode(t, server, pool, source.name, {
    policy: { allowForced: true, ...policy },
  });
  const work = await newWork(t);
  await node.refs.read();
  work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
  return { source, node, work, old, head: work.tip("FETCH_HEAD"), count: 0 };
}

function withoutEvents(text: string, events: readonly HookEvent[]): string {
  const lines = text.split("\n");
  return lines.filter((line) => !events.some((event) => line === `  ${event}:`)).join("\n");
}

async function newCommit(scene: Scene, message = "pushed", path?: string): Promise<string> {
  const number = ++scene.count;
  scene.work.git("reset", "-q", "--hard", scene.head);
  return scene.work.commit(`${message} ${number}`, (folder) =>
    writeFile(join(folder, path ?? `file-${number}`), `${number}`),
  );
}

type Made = { readonly ref: string; readonly to: string; readonly before: string | undefined };

/** Prepares a person's operation: objects to delete or move are there. */
async function prepare(scene: Scene, operation: HookOperation): Promise<Made> {
  const { source, work, head } = scene;
  const { client, name } = source;
  const id = `${operation.replace(" ", "-")}-${++scene.count}`;
  switch (operation) {
    case "push":
      return { ref: MAIN, to: await newCommit(scene), before: head };
    case "branch":
      return { ref: `refs/heads/${id}`, to: await newCommit(scene), before: undefined };
    case "tag":
      return { ref: `refs/tags/${id}`, to: await newCommit(scene), before: undefined };
    case "deleted branch":
      await client.in(name).createBranch({ name: id, source: "main" }, signal);
      return { ref: `refs/heads/${id}`, to: ZERO, before: head };
    default:
      await client
        .in(name)
        .createTag({ id, ref: operation === "moved tag" ? scene.old : "main" }, signal);
      return {
        ref: `refs/tags/${id}`,
        to: operation === "moved tag" ? head : ZERO,
        before: operation === "moved tag" ? work.tip("FETCH_HEAD~1") : head,
      };
  }
}

/** Pushes it; also whether it is there now, or what was before. */
async function perform(
  scene: Scene,
  { ref, to }: Made,
): Promise<{ readonly outcome: RefOutcome; readonly now: string | undefined }> {
  const [outcome] = await scene.node.push(scene.work, [[ref, to]]);
  const now = (await scene.node.refs.read()).byName.get(ref)?.oid;
  if (outcome?.ok === true && ref === MAIN) scene.head = to;
  return { outcome: outcome as RefOutcome, now };
}

function placeOf({ branch_id, tag_id }: SeenEvent, ref: string): HookPlace | string {
  if (branch_id?.startsWith("lakepack-work-")) return "work";
  return ref.endsWith(`/${tag_id || branch_id}`) ? "target" : `${branch_id ?? ""}${tag_id ?? ""}`;
}

t.test("hooks of lakeFS, and pushes", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);
  const hooks = await startHooks(t);
  await t.test("who is told of what is the table in the documentation", (t) =>
    table(t, server, pool, hooks),
  );
  await t.test("by each answer of each hook", (t) => answers(t, server, pool, hooks));
  await t.test("hooks that are for some branches", (t) => filters(t, server, pool, hooks));
});

async function table(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  hooks: Hooks,
): Promise<void> {
  const all = await eventsOf(server);
  const files = { "all.yaml": actionFile("all", hooks.url, all) };
  const it = await scene(t, server, pool, files);
  const told = (await hooks.take()).filter(({ branch_id }) => branch_id !== "main");
  t.same(told, [], "reading, and the first contact, which writes the mapping, is nobody's event");
  const seen: Record<string, Partial<Record<HookOperation, string[]>>> = Object.fromEntries(
    all.map((event) => [event, {}]),
  );
  for (const operation of HOOK_OPERATIONS.slice(1)) {
    const made = await prepare(it, operation);
    await hooks.take();
    const { outcome } = await perform(it, made);
    t.match(outcome, { ok: true }, operation);
    const events = await hooks.take();
    if (operation === "push")
      t.equal(
        events.length,
        5 + (all.length - HOOK_EVENTS.length + 1),
        "events of a push, and of the proof of the guard before it",
      );
    for (const event of events) {
      const row = seen[event.event_type] ?? {};
      row[operation] = [...(row[operation] ?? []), placeOf(event, made.ref)];
      if (/-commit$/.test(event.event_type) || event.branch_id?.startsWith("lakepack-"))
        saysWhatWasPushed(t, it, event, made.to);
    }
  }
  const sorted = (table: typeof seen) =>
    Object.entries(table).map(([event, row]) => [
      event,
      ...Object.entries(row).map(
        ([operation, places]) => `${operation}: ${[...(places ?? [])].sort().join(" ")}`,
      ),
    ]);
  const known = Object.entries(HOOK_TABLE).filter(([event]) => all.includes(event as HookEvent));
  t.same(sorted(seen), sorted(Object.fromEntries(known) as unknown as typeof seen));
  await ownAffairs(t, it, hooks);
  if (process.env["UPDATE_DOCS"] !== undefined) await updateDocs();
  t.ok(
    (await readFile(DOCS, "utf8")).includes(formatHookTable()),
    "docs/lakefs.md has this table; UPDATE_DOCS=1 writes it",
  );
}

/**
 * Affairs of our own that are no push's: a head that is kept, a work branch that a crash has left,
 * the branch of LFS objects.
 */
async function ownAffairs(t: Test, it: Scene, hooks: Hooks): Promise<void> {
  const { source, node, work } = it;
  const { client, name } = source;
  work.git("reset", "-q", "--hard", `${it.head}~1`);
  const instead = await work.commit("instead");
  await hooks.take();
  t.match(
    (await perform(it, { ref: MAIN, to: instead, before: undefined })).outcome,
    { ok: true },
    "a forced push",
  );
  t.same(
    new Set((await hooks.take()).map((event) => placeOf(event, MAIN))),
    new Set(["work", "target"]),
  );
  const root = new RootCommit(client.in(name));
  const left = "lakepack-work-1700000000-left";
  await client.in(name).createBranch({ name: left, source: "main", hidden: true }, signal);
  await hooks.take();
  t.same(
    await sweepWorkBranches(client.in(name), Date.now(), signal, (await root.get(signal)).id),
    [left],
  );
  const files = lakefsFiles({
    client: client.in(name),
    namespace: "",
    sealKeys: [],
    commits: node.commits,
    root,
    heads: { latest: [] },
  });
  const bytes = Buffer.from("large");
  const content = (async function* () {
    yield bytes;
  })();
  await files.upload("lakepack-lfs", "lfs/incoming/x", bytes.length, content, signal);
  t.same(await hooks.take(), [], "nobody is told");
}

async function updateDocs(): Promise<void> {
  const text = await readFile(DOCS, "utf8");
  await writeFile(DOCS, text.replace(/(^\| hook \|.*\n)(\|.*\n)*/m, formatHookTable()));
}

/** A hook for every branch judges what is pushed by what it is told. */
function saysWhatWasPushed(
  t: Test,
  { work }: Scene,
  { event_type: event, commit_message, commit_metadata }: SeenEvent,
  oid: string,
): void {
  t.equal(commit_message, work.git("log", "-1", "--format=%B", oid), `${event}: the message`);
  const raw = Buffer.from(commit_metadata?.["lakepack.commit"] ?? "", "base64").toString("latin1");
  t.equal(raw.trimEnd(), work.git("cat-file", "commit", oid), `${event}: the commit`);
}

/** Returns whether a hook that says no keeps this operation from happening. */
function isJudged(event: HookEvent, operation: HookOperation): boolean {
  return (HOOK_TABLE[event][operation]?.length ?? 0) > 0;
}

async function answers(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  hooks: Hooks,
): Promise<void> {
  const all = await eventsOf(server);
  const it = await scene(t, server, pool, { "all.yaml": actionFile("all", hooks.url, all) });
  for (const event of all.filter((name) => !name.startsWith("post-"))) {
    for (const answer of [NO, AWAY]) {
      for (const operation of HOOK_OPERATIONS.slice(1)) {
        if (answer === AWAY && !isJudged(event, operation)) continue;
        const made = await prepare(it, operation);
        hooks.answer = ({ event_type }) => (event_type === event ? answer : { status: 200 });
        const { outcome, now } = await perform(it, made);
        hooks.answer = () => ({ status: 200 });
        const says = `${event} answers ${(answer as { status: number }).status}, ${operation}`;
        if (!isJudged(event, operation)) {
          t.match([outcome.ok, now ?? ZERO], [true, made.to], says);
          continue;
        }
        t.match([outcome.ok, now], [false, made.before], `${says}: nothing has changed`);
        const words =
          answer === NO
            ? `a hook in lakeFS refused it: 'ticket' \\(${event}`
            : `'ticket' in lakeFS \\(${event}.*could not be asked: it answered 503; nothing has changed`;
        t.match((outcome as { reason?: string }).reason, new RegExp(words), says);
      }
    }
  }
  const bad = await perform(it, {
    ref: MAIN,
    to: await newCommit(it, "bad", "_lakefs_actions/bad.yaml"),
    before: undefined,
  });
  t.match(
    bad,
    {
      outcome: {
        ok: false,
        reason: /^lakeFS cannot run its hooks \((?:prepare|pre)-commit\): .*bad\.yaml/,
      },
      now: it.head,
    },
    "an action that lakeFS cannot read",
  );
  for (const failure of [AWAY, "cut"] as const) await failsOnce(t, it, hooks, failure);
  await hooks.take();
}

/** A hook that could not be asked is asked once more. */
async function failsOnce(t: Test, it: Scene, hooks: Hooks, failure: Answer): Promise<void> {
  for (const [event, operation] of [
    ["pre-commit", "push"],
    ["pre-merge", "push"],
    ["pre-create-tag", "tag"],
  ] as const) {
    let asked = 0;
    const made = await prepare(it, operation);
    hooks.answer = ({ event_type }) =>
      event_type === event && asked++ === 0 ? failure : { status: 200 };
    const { outcome } = await perform(it, made);
    hooks.answer = () => ({ status: 200 });
    t.match([outcome.ok, asked], [true, 2], `${event} fails once (${JSON.stringify(failure)})`);
  }
}

const PASSED_BY =
  "lakeFS checks commits to main by the hook 'ticket' (pre-commit), which a push cannot run: push another branch and merge it in lakeFS, or make it pre-merge";

async function filters(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  hooks: Hooks,
): Promise<void> {
  const forMain = actionFile(
    "main",
    hooks.url,
    ["pre-commit", "pre-merge"],
    ["ma[h-j]n", "release-*"],
  );
  const it = await scene(t, server, pool, { "main.yaml": forMain });
  await hooks.take();
  const refused = await perform(it, await prepare(it, "push"));
  t.match(refused, { outcome: { ok: false, reason: PASSED_BY }, now: it.head });
  const release = await perform(it, {
    ref: "refs/heads/release-1",
    to: await newCommit(it),
    before: undefined,
  });
  t.match(
    release.outcome,
    { ok: false, reason: PASSED_BY.replace("main", "release-1") },
    "a new branch that it is for",
  );
  t.same(await hooks.take(), [], "nobody was asked");
  const aside = await newCommit(it, "aside");
  t.match(
    (await perform(it, { ref: "refs/heads/side", to: aside, before: undefined })).outcome,
    { ok: true },
    "another branch",
  );
  hooks.answer = () => NO;
  t.match(
    (await perform(it, { ref: MAIN, to: aside, before: undefined })).outcome,
    { ok: false, reason: /refused it: 'ticket' \(pre-merge/ },
    "its merge is judged",
  );
  hooks.answer = () => ({ status: 200 });
  t.match(
    (await perform(it, { ref: MAIN, to: aside, before: undefined })).outcome,
    { ok: true },
    "what lakeFS has lands: nothing is committed",
  );
  t.same(
    (await hooks.take()).map(({ event_type, branch_id }) => [event_type, branch_id]),
    [
      ["pre-merge", "main"],
      ["pre-merge", "main"],
    ],
  );

  const { guard, hooks: found } = await examineHooks(server.client.in(it.source.name), signal);
  t.same(guard, { guard: "runs" }, "what doctor says of it");
  t.match(found, [
    {
      hook: "ticket",
      event: "pre-commit",
      sees: "passed",
      says: /^no push can run it: .*lakefs_pre_commit=pass.*pre-merge$/,
    },
    {
      hook: "ticket",
      event: "pre-merge",
      sees: ["target"],
      says: /^told of each push to a branch that is there/,
    },
  ]);

  const lenient = await scene(t, server, pool, { "main.yaml": forMain }, { preCommit: "pass" });
  t.match((await perform(lenient, await prepare(lenient, "push"))).outcome, { ok: true });
  t.ok(lenient.node.results.includes(`warning: ${PASSED_BY}`), "with the sentence as a warning");

  const forWork = await scene(t, server, pool, {
    "work.yaml": actionFile("work", hooks.url, ["pre-commit"], ["*-work-*", "main"]),
  });
  await hooks.take();
  hooks.answer = ({ commit_message }) =>
    /^TICKET-/.test(commit_message ?? "") ? { status: 200 } : NO;
  const { outcome } = await perform(forWork, await prepare(forWork, "push"));
  t.match(
    outcome,
    { ok: false, reason: /refused it: 'ticket' \(pre-commit/ },
    "one that is for the work branch as well judges the push",
  );
  const good = await perform(forWork, {
    ref: MAIN,
    to: await newCommit(forWork, "TICKET-1"),
    before: undefined,
  });
  t.match(good.outcome, { ok: true }, "by its message");
  const copied = await newCommit(forWork, "TICKET-2");
  const same = await forWork.work.commit("the same tree, without a ticket");
  t.match(
    (await perform(forWork, { ref: MAIN, to: same, before: undefined })).outcome,
    { ok: false },
    "also a commit of a tree that is known",
  );
  t.match((await perform(forWork, { ref: MAIN, to: copied, before: undefined })).outcome, {
    ok: true,
  });
  hooks.answer = () => ({ status: 200 });
}
