/**
 * A race at one branch: three pushers through two lakepack processes, each with a store of its own,
 * and a writer of lakeFS's own API. What each was told is held against what lakeFS and a third
 * process with an empty store show in the end.
 */
import { join } from "node:path";
import type { Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { GUARD_PATH, TIP_KEY } from "../../src/lakefs/rules/metadata-keys.js";
import { putActions } from "./hooks-rig.js";
import { Source } from "./lakefs-reading.js";
import type { RunningLakefs } from "./lakefs-servers.js";
import { checkFsck, commit, git, remoteRefs, tryGit } from "./harness.js";
import { tempFolder } from "./temp-folder.js";
import { emptyRepository, filesOf, headOf, put, signal, startBeside } from "./lakefs-rig.js";

const PUSHERS = 3;

export interface RaceOptions {
  readonly rounds: number;
  /** Hooks run there. */
  readonly guarded: boolean;
  /** The operator's. */
  readonly actions?: Readonly<Record<string, string>>;
  /** Settings of the two processes. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Beside the pushes of a round. */
  readonly beside?: (round: number, repository: string) => Promise<void>;
  /** lakeFS may not answer for a while: then a push or a writer may fail, and say so. */
  readonly mayFail?: boolean;
}

interface Pusher {
  readonly name: string;
  readonly work: string;
  readonly url: string;
}

interface Outcomes {
  readonly landed: { readonly oid: string; readonly parent: string }[];
  readonly refused: string[];
  /** Pushes of which the server itself could not say what became of them. */
  readonly unknown: string[];
  /** lakeFS commit ids that a writer was told of, and the paths in them. */
  readonly written: string[];
  readonly paths: string[];
  /** Files that may be there: of what failed at lakeFS. */
  readonly perhaps: string[];
}

const MOVED = /fetch first|moved in lakeFS|uncommitted changes/;
/**
 * Git shows no more of it than its status where a push was not begun (the reason is in the reply's
 * body).
 */
const FAILED =
  /lakeFS does not answer|lakeFS failed|lakeFS asked us to slow down|try again|HTTP 503/;
const UNKNOWN = /stopped answering while the push was landing/;

class Race {
  readonly outcomes: Outcomes = {
    landed: [],
    refused: [],
    unknown: [],
    written: [],
    paths: [],
    perhaps: [],
  };
  readonly #t: Test;
  readonly #lakefs: RunningLakefs;
  readonly #repository: string;
  readonly #mayFail: boolean;

  constructor(t: Test, lakefs: RunningLakefs, repository: string, mayFail: boolean) {
    this.#t = t;
    this.#lakefs = lakefs;
    this.#repository = repository;
    this.#mayFail = mayFail;
  }

  /** A push of what is on top of the head this pusher has last seen. */
  async push({ name, work, url }: Pusher, round: number): Promise<void> {
    const oid = await git(["rev-parse", "HEAD"], { cwd: work });
    const parent = await git(["rev-parse", "HEAD~1"], { cwd: work });
    const push = await tryGit(["push", "--porcelain", url, "HEAD:refs/heads/main"], { cwd: work });
    const { landed, refused, unknown, paths, perhaps } = this.outcomes;
    const said = `${push.stdout}${push.stderr}`;
    if (push.code === 0) {
      landed.push({ oid, parent });
      paths.push(`${name}/${round}`);
    } else if (this.#mayFail && UNKNOWN.test(said)) {
      unknown.push(oid);
      perhaps.push(`${name}/${round}`);
    } else {
      refused.push(oid);
      const says = `${name}, round ${round}: a reason that says what to do`;
      if (!MOVED.test(said) && !(this.#mayFail && FAILED.test(said)))
        this.#t.match(said, MOVED, says);
      else this.#t.pass(says);
    }
  }

  /**
   * A writer of lakeFS's own API; what a push's merge meets of it uncommitted makes that push
   * refused.
   */
  async write(round: number): Promise<void> {
    await new Promise((wake) => setTimeout(wake, (round * 37) % 300)); // another moment of the push each round
    const path = `written/${round}`;
    const { client } = this.#lakefs;
    try {
      await put(this.#lakefs, this.#repository, path, `${round}`);
      const { id } = await client
        .in(this.#repository)
        .commit("main", { message: `written ${round}`, metadata: {} }, signal);
      this.outcomes.written.push(id);
      this.outcomes.paths.push(path);
    } catch (error) {
      this.outcomes.perhaps.push(path);
      const isAway =
        error instanceof Fault &&
        (error.code === "lakefs/unreachable" || error.code === "lakefs/failed");
      if (!this.#mayFail || !isAway)
        this.#t.fail(`a writer of lakeFS sees no error of ours: ${(error as Fault).message}`);
    }
  }

  /**
   * A writer that failed between its upload and its commit leaves a file uncommitted, and with it
   * no push lands.
   */
  async commitWhatIsLeft(): Promise<void> {
    const { client } = this.#lakefs;
    if ((await client.in(this.#repository).dirtyPaths("main", 1, signal)).length > 0)
      await client
        .in(this.#repository)
        .commit("main", { message: "left over", metadata: {} }, signal);
  }

  async check(before: readonly string[], guarded: boolean): Promise<void> {
    const { landed, refused, written, paths, perhaps } = this.outcomes;
    const other = await startBeside(this.#t, this.#lakefs);
    const clone = join(await tempFolder(this.#t), "clone.git");
    await git(["clone", "-q", "--bare", `${other.url}/lakefs/${this.#repository}.git`, clone]);
    await checkFsck(this.#t, clone);
    const history = new Map(
      (await git(["log", "--format=%H %P", "main"], { cwd: clone }))
        .split("\n")
        .map((line) => [line.slice(0, 40), line.slice(41)]),
    );
    this.#t.same(
      landed.filter(({ oid }) => !history.has(oid)),
      [],
      "every ok is in the history",
    );
    this.#t.same(
      landed.filter(({ oid, parent }) => history.get(oid) !== parent),
      [],
      "on the head it was made for",
    );
    this.#t.same(
      refused.filter((oid) => history.has(oid)),
      [],
      "no ng is",
    );
    if (guarded)
      this.#t.equal(
        await git(["rev-list", "--merges", "--count", "main"], { cwd: clone }),
        "0",
        "nothing was merged onto a moved head",
      );
    const ids = await this.#history();
    this.#t.same(
      written.filter((id) => !ids.has(id)),
      [],
      "every commit that lakeFS acknowledged is in lakeFS's history",
    );
    const files = await filesOf(this.#lakefs, this.#repository);
    this.#t.same(
      paths.filter((path) => files.get(path) !== path.split("/")[1]),
      [],
      "and so is every file",
    );
    const known = new Set([...paths, ...before, ...perhaps]);
    this.#t.same(
      [...files.keys()].filter((path) => !known.has(path)),
      [],
      "and no other file: neither of the guard nor of a refused push",
    );
  }

  /** Ids of main's commits, by first parents. Whole: the log lists the same. */
  async #history(): Promise<ReadonlySet<string>> {
    const { client } = this.#lakefs;
    const ids = new Set<string>();
    for (
      let { id, parents } = await headOf(this.#lakefs, this.#repository);
      ;
      { id, parents } = await client.in(this.#repository).getCommit(parents[0] as string, signal)
    ) {
      ids.add(id);
      if (parents.length === 0) break;
    }
    const [head = ""] = ids;
    const logged = new Set<string>();
    let after = head;
    while (after !== "") {
      const { results } = await client.in(this.#repository).firstParents(after, 500, signal);
      for (const { id } of results) logged.add(id);
      const last = results.at(-1);
      after = last === undefined || last.parents.length === 0 || last.id === after ? "" : last.id;
    }
    this.#t.same([...logged], [...ids], "lakeFS's log of main is whole");
    return ids;
  }
}

/** Runs the rounds, checks what is left, and answers what the clients were told. */
export async function race(
  t: Test,
  lakefs: RunningLakefs,
  options: RaceOptions,
): Promise<Outcomes> {
  const { rounds, guarded, actions = {}, settings = {}, mayFail = false } = options;
  const repository = await emptyRepository(lakefs, "race");
  const hasActions = Object.keys(actions).length > 0;
  if (hasActions) await putActions(new Source(lakefs.client, repository), actions);
  const servers = [await startBeside(t, lakefs, settings), await startBeside(t, lakefs, settings)];
  const pushers: Pusher[] = [];
  for (let at = 0; at < PUSHERS; at++) {
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    pushers.push({
      name: `pusher-${at}`,
      work,
      url: `${servers[at % 2]?.url}/lakefs/${repository}.git`,
    });
  }
  const [first] = pushers as [Pusher];
  if (hasActions) await git(["pull", "-q", first.url, "main"], { cwd: first.work });
  await commit(first.work, "start", { start: "" });
  await git(["push", "-q", first.url, "main"], { cwd: first.work });
  const racing = new Race(t, lakefs, repository, mayFail);
  for (let round = 0; round < rounds; round++) {
    if (mayFail) await racing.commitWhatIsLeft();
    await Promise.all(
      pushers.map(async ({ name, work, url }) => {
        await git(["fetch", "-q", url, "main"], { cwd: work });
        await git(["reset", "-q", "--hard", "FETCH_HEAD"], { cwd: work });
        await commit(work, `${name}, round ${round}`, { [`${name}/${round}`]: `${round}` });
      }),
    );
    const others = [
      ...(round % 2 === 0 ? [racing.write(round)] : []),
      ...(options.beside === undefined ? [] : [options.beside(round, repository)]),
    ];
    await Promise.all([...pushers.map((pusher) => racing.push(pusher, round)), ...others]);
  }
  if (mayFail) {
    await lakefs.stop();
    await lakefs.revive();
  }
  await racing.check(
    ["start", ...Object.keys(actions).map((file) => `_lakefs_actions/${file}`)],
    guarded,
  );
  const { landed, refused, unknown, written } = racing.outcomes;
  t.comment(
    `${rounds} rounds: landed ${landed.length}, refused ${refused.length}, unknown ${unknown.length}, written ${written.length}`,
  );
  t.same(
    await remoteRefs(`${servers[0]?.url}/lakefs/${repository}.git`),
    await remoteRefs(`${servers[1]?.url}/lakefs/${repository}.git`),
    "both processes agree",
  );
  if (guarded) await nothingHalfLanded(t, lakefs, repository);
  return racing.outcomes;
}

/**
 * main is at no landing's merge and does not show the guard's file. (Where hooks do not run the
 * merge is what has landed.)
 */
async function nothingHalfLanded(
  t: Test,
  lakefs: RunningLakefs,
  repository: string,
): Promise<void> {
  const head = await headOf(lakefs, repository);
  t.equal(head.metadata?.[TIP_KEY], undefined, "the head is no landing's merge");
  t.notOk((await filesOf(lakefs, repository)).has(GUARD_PATH));
}
