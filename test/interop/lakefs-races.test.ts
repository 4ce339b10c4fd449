/**
 * Three pushers through two lakepack processes, each with a store of its own, and a lakeFS writer, all at one branch: no push lands on a moved head, every `ok` is
 * in the history and no `ng` is, and no acknowledged commit or file of anybody's is lost.
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Fault } from "../../src/base/fault.js";
import { HOOK_EVENTS } from "../../src/lakefs/actions.js";
import { actionFile, putActions, startHooks } from "../lakefs/hooks-rig.js";
import { Source } from "../lakefs/reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../lakefs/servers.js";
import { checkFsck, commit, git, remoteRefs, tempFolder, tryGit } from "./harness.js";
import { emptyRepository, filesOf, headOf, put, signal, startBeside } from "./lakefs-rig.js";

const isLarge = process.env["TEST_LARGE"] !== undefined;
const ROUNDS = isLarge ? 200 : 30;
const PUSHERS = 3;
const MINUTE_MS = 60_000;

t.setTimeout(20 * MINUTE_MS);

interface Pusher {
  readonly name: string;
  readonly work: string;
  readonly url: string;
}

interface Outcomes {
  readonly landed: { readonly oid: string; readonly parent: string }[];
  readonly refused: string[];
  /** lakeFS commit ids that a writer was told of, and the paths in them. */
  readonly written: string[];
  readonly paths: string[];
}

/** A push of what is on top of the head this pusher has last seen. */
async function pushes(t: Test, { name, work, url }: Pusher, round: number, outcomes: Outcomes): Promise<void> {
  const oid = await git(["rev-parse", "HEAD"], { cwd: work });
  const parent = await git(["rev-parse", "HEAD~1"], { cwd: work });
  const push = await tryGit(["push", "--porcelain", url, "HEAD:refs/heads/main"], { cwd: work });
  if (push.code === 0) {
    outcomes.landed.push({ oid, parent });
    outcomes.paths.push(`${name}/${round}`);
    return;
  }
  outcomes.refused.push(oid);
  t.match(`${push.stdout}${push.stderr}`, /fetch first|moved in lakeFS|uncommitted changes/, `${name}, round ${round}: a reason that says what to do`);
}

/** A writer of lakeFS's own API; what a push's merge meets of it uncommitted makes that push refused. */
async function writes(t: Test, lakefs: RunningLakefs, repository: string, round: number, outcomes: Outcomes): Promise<void> {
  await new Promise((wake) => setTimeout(wake, (round * 37) % 300)); // another moment of the push each round
  const path = `written/${round}`;
  await put(lakefs, repository, path, `${round}`);
  try {
    const { id } = await lakefs.client.commit(repository, "main", { message: `written ${round}`, metadata: {} }, signal);
    outcomes.written.push(id);
    outcomes.paths.push(path);
  } catch (error) {
    t.fail(`a writer of lakeFS sees no error of ours: ${(error as Fault).message}`);
  }
}

t.test("three pushers through two processes, and a lakeFS writer", { skip: skipLakefs, timeout: 20 * MINUTE_MS }, async (t) => race(t, await startLakefs(t), ROUNDS, true));

t.test("the same where hooks are disabled: pushes are merged, and nothing is lost", { skip: skipLakefs, timeout: 20 * MINUTE_MS }, async (t) => {
  await race(t, await startLakefs(t, "local", { LAKEFS_ACTIONS_ENABLED: "false" }), ROUNDS / 5, false);
});

t.test("the same with hooks of every kind", { skip: skipLakefs, timeout: 20 * MINUTE_MS }, async (t) => {
  const hooks = await startHooks(t);
  const lakefs = await startLakefs(t);
  await race(t, lakefs, ROUNDS / 5, true, { "all.yaml": actionFile("all", hooks.url, HOOK_EVENTS) });
  const told = await hooks.take();
  t.same([...new Set(told.map(({ branch_id }) => branch_id?.replace(/^(lakepack-work-).*/, "$1")))].sort(), ["lakepack-work-", "main"], "of nothing else");
  const merges = told.filter(({ event_type, branch_id }) => event_type === "post-merge" && branch_id === "main");
  t.ok(merges.length > 0 && merges.every(({ commit_metadata }) => commit_metadata?.["lakepack.tip"] !== undefined), "of each push that has landed");
});

/** `guarded`: hooks run there. `actions`: the operator's. */
async function race(t: Test, lakefs: RunningLakefs, rounds: number, guarded: boolean, actions: Readonly<Record<string, string>> = {}): Promise<void> {
  const repository = await emptyRepository(lakefs, "race");
  if (Object.keys(actions).length > 0) await putActions(new Source(lakefs.client, repository), actions);
  const servers = [await startBeside(t, lakefs), await startBeside(t, lakefs)];
  const pushers: Pusher[] = [];
  for (let at = 0; at < PUSHERS; at++) {
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    pushers.push({ name: `pusher-${at}`, work, url: `${servers[at % 2]?.url}/lakefs/${repository}.git` });
  }
  const [first] = pushers as [Pusher];
  if (Object.keys(actions).length > 0) await git(["pull", "-q", first.url, "main"], { cwd: first.work });
  await commit(first.work, "start", { start: "" });
  await git(["push", "-q", first.url, "main"], { cwd: first.work });
  const outcomes: Outcomes = { landed: [], refused: [], written: [], paths: [] };
  const before = ["start", ...Object.keys(actions).map((file) => `_lakefs_actions/${file}`)];
  for (let round = 0; round < rounds; round++) {
    await Promise.all(
      pushers.map(async ({ name, work, url }) => {
        await git(["fetch", "-q", url, "main"], { cwd: work });
        await git(["reset", "-q", "--hard", "FETCH_HEAD"], { cwd: work });
        await commit(work, `${name}, round ${round}`, { [`${name}/${round}`]: `${round}` });
      }),
    );
    await Promise.all([...pushers.map((pusher) => pushes(t, pusher, round, outcomes)), ...(round % 2 === 0 ? [writes(t, lakefs, repository, round, outcomes)] : [])]);
  }
  await check(t, lakefs, repository, outcomes, { guarded, before });
  t.comment(`${rounds} rounds: landed ${outcomes.landed.length}, refused ${outcomes.refused.length}, written ${outcomes.written.length}`);
  t.equal(outcomes.written.length, Math.ceil(rounds / 2), "lakeFS's writer was never refused");
  t.ok(outcomes.landed.length >= rounds / 3, "and pushes get through");
  t.same(await remoteRefs(`${servers[0]?.url}/lakefs/${repository}.git`), await remoteRefs(`${servers[1]?.url}/lakefs/${repository}.git`), "both processes agree");
}

interface Expected {
  readonly guarded: boolean;
  /** Files that were there. */
  readonly before: readonly string[];
}

async function check(t: Test, lakefs: RunningLakefs, repository: string, { landed, refused, written, paths }: Outcomes, { guarded, before }: Expected): Promise<void> {
  const other = await startBeside(t, lakefs);
  const clone = join(await tempFolder(t), "clone.git");
  await git(["clone", "-q", "--bare", `${other.url}/lakefs/${repository}.git`, clone]);
  await checkFsck(t, clone);
  const history = new Map((await git(["log", "--format=%H %P", "main"], { cwd: clone })).split("\n").map((line) => [line.slice(0, 40), line.slice(41)]));
  t.same(landed.filter(({ oid }) => !history.has(oid)), [], "every ok is in the history");
  t.same(landed.filter(({ oid, parent }) => history.get(oid) !== parent), [], "on the head it was made for");
  t.same(refused.filter((oid) => history.has(oid)), [], "no ng is");
  if (guarded) t.equal(await git(["rev-list", "--merges", "--count", "main"], { cwd: clone }), "0", "nothing was merged onto a moved head");
  const ids = new Set<string>();
  for (let { id, parents } = await headOf(lakefs, repository); ; { id, parents } = await lakefs.client.getCommit(repository, parents[0] as string, signal)) {
    ids.add(id);
    if (parents.length === 0) break;
  }
  t.same(written.filter((id) => !ids.has(id)), [], "every commit that lakeFS acknowledged is in lakeFS's history");
  const files = await filesOf(lakefs, repository);
  t.same(paths.filter((path) => files.get(path) !== path.split("/")[1]), [], "and so is every file");
  t.same([...files.keys()].sort(), [...paths, ...before].sort(), "and no other file: neither of the guard nor of a refused push");
}
