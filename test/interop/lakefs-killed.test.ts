/**
 * The real process, killed after its n-th lakeFS call, n from one to the last of a push: every
 * branch and tag is the old one or the new one, another server with an empty store reads it, the
 * same server starts again on what it left, and the next push completes.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { LakefsServer } from "../../src/lakefs/api/client.js";
import { sweepWorkBranches } from "../../src/lakefs/land/sweep.js";
import { TAG_MOVE_PREFIX } from "../../src/lakefs/land/tag-move.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, commit, git, type Lakepack, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { isFull, strideOf } from "../support/everyday.js";
import { type CountingProxy, startProxy } from "../support/counting-proxy.js";
import {
  emptyRepository,
  headOf,
  listed,
  settingsFor,
  signal,
  startBeside,
} from "../support/lakefs-rig.js";

t.setTimeout(600_000);

/** More than any of these pushes makes. */
const CALLS_MAX = 200;
/** Rounds that run side by side: each lane takes every LANES-th n. */
const LANES = 2;
const DAY_MS = 25 * 3_600_000;

interface Scenario {
  /** Refs pushed before by a server that lives. */
  readonly before: readonly string[];
  /** Refs that the killed server is to push. */
  readonly refs: readonly string[];
  /** The steps of an ordinary day. */
  readonly walk: { readonly first: number; readonly stride: number };
  /** Settings of all servers. */
  readonly settings?: Readonly<Record<string, string>>;
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "a branch that is there moves by two commits": {
    before: ["main~2:refs/heads/main"],
    refs: ["main"],
    walk: strideOf(6),
  },
  "a first push: two branches, a merge and an annotated tag": {
    before: [],
    refs: ["main", "side", "v1"],
    walk: strideOf(12),
  },
  // Servers believe each other's notes of a move by the seal.
  "two tags move, an annotated one and a light one": {
    before: ["main", "v1:refs/tags/v1", "main:refs/tags/light"],
    refs: ["main", "+v2:refs/tags/v1", "+side:refs/tags/light"],
    walk: strideOf(6),
    settings: { LAKEPACK_LAKEFS_FORCED_PUSHES: "true", LAKEPACK_SEAL_KEY: "5e".repeat(32) },
  },
};

/** main: three commits, the last a merge of side. */
async function makeWork(t: Test): Promise<string> {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "one", { "README.md": "# one\n", "data/a.txt": "a\n" });
  await git(["checkout", "-q", "-b", "side"], { cwd: work });
  await commit(work, "aside", { "side.txt": "side\n" });
  await git(["checkout", "-q", "main"], { cwd: work });
  await commit(work, "two", { "README.md": "# two\n", "data/a.txt": undefined });
  await git(["merge", "-q", "--no-ff", "-m", "merged", "side"], { cwd: work });
  await git(["tag", "-a", "-m", "annotated", "v1"], { cwd: work });
  await git(["tag", "-a", "-m", "again", "v2", "side"], { cwd: work });
  return work;
}

class Lane {
  readonly #t: Test;
  readonly #lakefs: RunningLakefs;
  readonly #work: string;
  readonly #witness: Lakepack;
  readonly #scenario: Scenario;
  /** Full name → id, of what is pushed. */
  readonly #wanted: ReadonlyMap<string, string>;
  readonly #before: ReadonlyMap<string, string>;

  constructor(
    t: Test,
    lakefs: RunningLakefs,
    work: string,
    witness: Lakepack,
    scenario: Scenario,
    wanted: ReadonlyMap<string, string>,
    before: ReadonlyMap<string, string>,
  ) {
    this.#t = t;
    this.#lakefs = lakefs;
    this.#work = work;
    this.#witness = witness;
    this.#scenario = scenario;
    this.#wanted = wanted;
    this.#before = before;
  }

  /** Calls that the whole push makes. */
  async run(first: number): Promise<number> {
    const proxy = await startProxy(this.#t, this.#lakefs.access.endpoint);
    const data = join(await tempFolder(this.#t), "data");
    const start = () =>
      startBeside(
        this.#t,
        this.#lakefs,
        { ...settingsFor(this.#lakefs, proxy.endpoint), ...this.#scenario.settings },
        { data },
      );
    let server = await start();
    const step = LANES * this.#scenario.walk.stride;
    for (let n = first; n <= CALLS_MAX; n += step) {
      const name = await emptyRepository(this.#lakefs, `killed-${first}`);
      const url = (of: Lakepack) => `${of.url}/lakefs/${name}.git`;
      if (this.#scenario.before.length > 0)
        await git(["push", "-q", url(this.#witness), ...this.#scenario.before], {
          cwd: this.#work,
        });
      const dying = server;
      proxy.arm(n, () => dying.kill("SIGKILL"));
      const push = await tryGit(["push", "--porcelain", url(server), ...this.#scenario.refs], {
        cwd: this.#work,
      });
      if (proxy.count < n) {
        this.#t.equal(push.code, 0, push.stderr);
        return proxy.count;
      }
      const says = `killed after call ${n} (${proxy.last.replace(/^(\S+) .*\/repositories\/[^/]*/, "$1 ")})`;
      proxy.arm(Number.POSITIVE_INFINITY, async () => undefined);
      const seen = await this.#oldOrNew(url(this.#witness), push.stdout, says);
      server = await start();
      this.#t.same(
        await refsOf(url(server)),
        seen,
        `${says}: the server itself, started again, sees the same`,
      );
      await this.#completes(url(server), url(this.#witness), name, says);
    }
    throw new Error("the push makes more calls than expected");
  }

  /** Reads with a server with an empty store. */
  async #oldOrNew(url: string, report: string, says: string): Promise<ReadonlyMap<string, string>> {
    const seen = await refsOf(url);
    const told = new Set(
      [...report.matchAll(/^[ *+=-]\t[^:\n]*:(\S+)\t/gm)].map(([, name]) => name),
    );
    for (const [name, oid] of this.#wanted) {
      const before = told.has(name) ? oid : this.#before.get(name);
      this.#t.ok(
        seen.get(name) === oid || seen.get(name) === before,
        `${says}: ${name} is old or new`,
      );
    }
    const extra = [...seen.keys()].filter((name) => !this.#wanted.has(name));
    this.#t.same(extra, [], `${says}: nothing else is there`);
    if (seen.size > 0) {
      const clone = join(await tempFolder(this.#t), "clone.git");
      await git(["clone", "-q", "--mirror", url, clone]);
      await checkFsck(this.#t, clone);
    }
    return seen;
  }

  async #completes(url: string, witness: string, name: string, says: string): Promise<void> {
    const again = await tryGit(["push", url, ...this.#scenario.refs], { cwd: this.#work });
    this.#t.equal(again.code, 0, `${says}: the next push completes ${again.stderr}`);
    this.#t.same(await refsOf(witness), this.#wanted, `${says}: all is new then, for everybody`);
    const tree = (await git(["ls-tree", "-r", "--name-only", "main"], { cwd: this.#work })).split(
      "\n",
    );
    this.#t.same(
      (await listed(this.#lakefs, name)).map(({ path }) => path),
      tree,
      `${says}: lakeFS shows the pushed tree`,
    );
    this.#t.match((await headOf(this.#lakefs, name)).message, /^merged/, "at a commit of the push");
    const { client } = this.#lakefs;
    await sweepWorkBranches(client.in(name), Date.now() + DAY_MS, signal);
    this.#t.same(
      await reservedBranches(client, name),
      ["lakepack-mapping"],
      "and a sweep leaves nothing of it",
    );
  }
}

/** The list of refs takes the note of a tag's move away beside its answer: that is waited for. */
async function reservedBranches(client: LakefsServer, name: string): Promise<string[]> {
  for (let attempt = 0; ; attempt++) {
    const ids: string[] = [];
    for await (const { id } of client
      .in(name)
      .listBranches({ prefix: "lakepack-", hidden: true }, signal))
      ids.push(id);
    if (attempt === 100 || !ids.some((id) => id.startsWith(TAG_MOVE_PREFIX))) return ids;
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

async function refsOf(url: string): Promise<Map<string, string>> {
  const lines = (await remoteRefs(url)).filter(
    (line) => !line.endsWith("HEAD") && !line.endsWith("^{}"),
  );
  return new Map(lines.map((line) => line.split("\t").reverse() as [string, string]));
}

/** Full name → id, of "main", "v1" or "+side:refs/tags/v1". */
async function targetsOf(work: string, refspecs: readonly string[]): Promise<Map<string, string>> {
  const targets = new Map<string, string>();
  for (const spec of refspecs) {
    const [from = "", to = `refs/${from === "v1" ? "tags" : "heads"}/${from}`] = spec
      .replace("+", "")
      .split(":");
    targets.set(to, await git(["rev-parse", from], { cwd: work }));
  }
  return targets;
}

for (const [title, scenario] of Object.entries(SCENARIOS)) {
  t.test(title, { skip: skipLakefs, timeout: 600_000 }, async (t) => {
    const lakefs = await startLakefs(t);
    const work = await makeWork(t);
    const [before, wanted] = [
      await targetsOf(work, scenario.before),
      await targetsOf(work, scenario.refs),
    ];
    const lane = async (first: number) => {
      const witness = await startBeside(t, lakefs, scenario.settings);
      return new Lane(t, lakefs, work, witness, scenario, wanted, before).run(first);
    };
    const counts = await Promise.all(
      Array.from({ length: LANES }, (_, at) =>
        lane(1 + scenario.walk.first + at * scenario.walk.stride),
      ),
    );
    t.comment(`the whole push makes ${counts.join(" or ")} calls`);
    t.ok(Math.min(...counts) > 15, "they were counted");
  });
}

t.test(
  "the pusher goes away in the middle: old or new, the server cleans up after itself, the next push completes",
  { skip: skipLakefs, timeout: 300_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    const work = await makeWork(t);
    const proxy = await startProxy(t, lakefs.access.endpoint);
    const server = await startBeside(t, lakefs, settingsFor(lakefs, proxy.endpoint));
    const [before, after] = [
      await git(["rev-parse", "main~2"], { cwd: work }),
      await git(["rev-parse", "main"], { cwd: work }),
    ];
    for (let n = isFull ? 1 : 4; ; n += isFull ? 1 : 7) {
      const name = await emptyRepository(lakefs, "left");
      const url = `${server.url}/lakefs/${name}.git`;
      await git(["push", "-q", url, "main~2:refs/heads/main"], { cwd: work });
      const pusher = spawn("git", ["push", "-q", url, "main"], {
        cwd: work,
        stdio: "ignore",
        env: { PATH: process.env["PATH"], HOME: work },
      });
      const gone = new Promise((resolve) => pusher.once("close", resolve));
      proxy.arm(n, async () => {
        pusher.kill("SIGKILL");
        await gone;
      });
      await gone;
      const cut = proxy.count >= n;
      proxy.arm(Number.POSITIVE_INFINITY, async () => undefined);
      const seen = (await refsOf(url)).get("refs/heads/main");
      t.ok(seen === before || seen === after, `gone after call ${n}: old or new`);
      const again = await tryGit(["push", "-q", url, "main"], { cwd: work });
      // What was abandoned may still have landed, and before this one.
      if (again.code !== 0) t.match(again.stderr, /fetch first/);
      t.equal((await refsOf(url)).get("refs/heads/main"), after);
      t.same(await leftBehind(lakefs, proxy, name), [], "and nothing is left");
      if (!cut) break;
    }
  },
);

/**
 * Returns the work branches left once the server, which may still be at what was abandoned, has
 * called lakeFS for nothing in a second; waits 30 s for there to be none.
 */
async function leftBehind(
  lakefs: RunningLakefs,
  proxy: CountingProxy,
  name: string,
): Promise<string[]> {
  let left = ["its calls did not end"];
  for (let attempt = 0, still = 0, seen = -1; attempt < 600; attempt++) {
    await new Promise((wake) => setTimeout(wake, 50));
    still = proxy.pending === 0 && proxy.count === seen ? still + 1 : 0;
    seen = proxy.count;
    if (still < 20) continue;
    left = await workBranches(lakefs, name);
    if (left.length === 0) return left;
  }
  return left;
}

async function workBranches({ client }: RunningLakefs, name: string): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of client
    .in(name)
    .listBranches({ prefix: "lakepack-work-", hidden: true }, signal))
    ids.push(id);
  return ids;
}
