/**
 * Pushes that do not land in lakeFS, and the sentence that stock git shows the pusher: what it was
 * and what to do.
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import { blockStores } from "../support/everyday.js";
import { pathOf } from "../../src/lakefs/api/http.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { commit, git, type GitRun, type Lakepack, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import {
  emptyRepository,
  filesOf,
  headOf,
  put,
  signal,
  startBeside,
} from "../support/lakefs-rig.js";

t.setTimeout(300_000);

const COMMITS_MAX = 3;
const PLAIN_MAX = 100_000;
const HOOK =
  'name: policy\non:\n  pre-merge:\nhooks:\n  - id: no\n    type: lua\n    properties:\n      script: |\n        error("not on a Friday")\n';

interface Scene {
  readonly name: string;
  readonly url: string;
  readonly work: string;
}

for (const blocks of blockStores) {
  t.test(`refusals, ${blocks} blocks`, { skip: skipLakefs, timeout: 300_000 }, async (t) => {
    const lakefs = await startLakefs(t, blocks);
    const server = await startBeside(t, lakefs, {
      LAKEPACK_PUSH_COMMITS_MAX: String(COMMITS_MAX),
      LAKEPACK_PLAIN_FILE_BYTES_MAX: String(PLAIN_MAX),
    });
    await conversations(t, lakefs, server);
    await contents(t, lakefs, server);
  });
}

/** A repository with one pushed commit. */
async function scene(t: Test, lakefs: RunningLakefs, server: Lakepack): Promise<Scene> {
  const name = await emptyRepository(lakefs, "refusal");
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "first", { a: "a" });
  const url = `${server.url}/lakefs/${name}.git`;
  await git(["push", "-q", url, "main"], { cwd: work });
  return { name, url, work };
}

/** The push fails with this sentence, and nothing has moved. */
async function refused(
  t: Test,
  lakefs: RunningLakefs,
  { name, url, work }: Scene,
  args: readonly string[],
  sentence: RegExp,
): Promise<GitRun> {
  const [before, refs] = [await headOf(lakefs, name), await remoteRefs(url)];
  const push = await tryGit(["push", url, ...args], { cwd: work });
  t.equal(push.code, 1, push.stderr);
  t.match(push.stderr.replace(/\s+/g, " "), sentence);
  t.same([await headOf(lakefs, name), await remoteRefs(url)], [before, refs], "nothing has moved");
  return push;
}

async function conversations(t: Test, lakefs: RunningLakefs, server: Lakepack): Promise<void> {
  const { client } = lakefs;
  const refusedIn = (t: Test, at: Scene, args: readonly string[], sentence: RegExp) =>
    refused(t, lakefs, at, args, sentence);

  await t.test(
    "a head that has moved in lakeFS; a forced push does not take its commit away",
    async (t) => {
      const at = await scene(t, lakefs, server);
      await put(lakefs, at.name, "theirs", "theirs");
      await client.in(at.name).commit("main", { message: "by lakeFS" }, signal);
      await commit(at.work, "second", { a: "2" });
      await refusedIn(t, at, ["main"], /fetch first/);
      await refusedIn(
        t,
        at,
        ["--force", "main"],
        /non-fast-forward: this server does not take commits away from a branch \(setting lakefs_forced_pushes\)/,
      );
    },
  );

  await t.test(
    "a forced push is a setting, off by default; the old head is kept on a hidden branch",
    async (t) => {
      const at = await scene(t, lakefs, server);
      await commit(at.work, "second", { a: "2" });
      await git(["push", "-q", at.url, "main"], { cwd: at.work });
      const old = await headOf(lakefs, at.name);
      await git(["reset", "-q", "--hard", "HEAD~1"], { cwd: at.work });
      await commit(at.work, "instead", { a: "3" });
      await refusedIn(t, at, ["--force", "main"], /non-fast-forward/);
      const lenient = await startBeside(t, lakefs, { LAKEPACK_LAKEFS_FORCED_PUSHES: "true" });
      await git(["push", "-q", "--force", `${lenient.url}/lakefs/${at.name}.git`, "main"], {
        cwd: at.work,
      });
      t.equal((await filesOf(lakefs, at.name)).get("a"), "3");
      t.match(
        (await remoteRefs(at.url)).join("\n"),
        `${await git(["rev-parse", "HEAD"], { cwd: at.work })}\trefs/heads/main`,
      );
      const kept: string[] = [];
      for await (const ref of client
        .in(at.name)
        .listBranches({ prefix: "lakepack-kept-", hidden: true }, signal))
        kept.push(ref.commit_id);
      t.same(kept, [old.id]);
    },
  );

  await t.test("uncommitted changes in lakeFS, by their first paths", async (t) => {
    const at = await scene(t, lakefs, server);
    for (const path of ["d/4", "d/1", "d/3", "d/2"]) await put(lakefs, at.name, path, "dirty");
    await commit(at.work, "second", { a: "2" });
    await refusedIn(
      t,
      at,
      ["main"],
      /the branch has uncommitted changes in lakeFS \(d\/1, d\/2, d\/3, …\): commit or reset them there/,
    );
  });

  await t.test("a protected branch", async (t) => {
    const at = await scene(t, lakefs, server);
    const path = `/repositories${pathOf(at.name)}/settings/branch_protection`;
    await client.http.done({
      name: "protect",
      method: "PUT",
      path,
      json: [{ pattern: "ma*" }],
      repeatable: true,
      signal,
    });
    await commit(at.work, "second", { a: "2" });
    await refusedIn(
      t,
      at,
      ["main"],
      /the branch is protected in lakeFS; push to another one and merge it there/,
    );
    t.equal(
      (await tryGit(["push", "-q", at.url, "main:elsewhere"], { cwd: at.work })).code,
      0,
      "which works",
    );
  });

  await t.test(
    "all branches protected, lakepack's own among them: what needs no new commit works, the first contact too",
    async (t) => {
      const protect = (name: string) =>
        client.http.done({
          name: "protect",
          method: "PUT",
          path: `/repositories${pathOf(name)}/settings/branch_protection`,
          json: [{ pattern: "*" }],
          repeatable: true,
          signal,
        });
      const unread = await emptyRepository(lakefs, "unread");
      await protect(unread);
      t.same(
        await remoteRefs(`${server.url}/lakefs/${unread}.git`),
        [],
        "nobody has read it before",
      );
      const at = await scene(t, lakefs, server);
      await protect(at.name);
      await git(["tag", "-a", "-m", "annotated", "v1"], { cwd: at.work });
      await git(["push", "-q", at.url, "main:refs/heads/elsewhere", "main:refs/tags/light", "v1"], {
        cwd: at.work,
      });
      t.equal((await remoteRefs(at.url)).length, 6, "branch and tags, one of them peeled");
      await commit(at.work, "second", { a: "2" });
      for (const ref of ["refs/heads/new", "refs/tags/new"]) {
        await refusedIn(
          t,
          at,
          [`main:${ref}`],
          /lakeFS protects lakepack's work branches too \(pattern '\*'\), so no new commit can be made: protect branches by their names, or by '\[!l\]\*'/,
        );
      }
    },
  );

  await t.test("a read-only repository is cloned, not pushed to", async (t) => {
    const name = `read-only-${lakefs.blocks}`;
    const json = {
      name,
      storage_namespace: lakefs.namespace(name),
      default_branch: "main",
      read_only: true,
    };
    await client.createRepository(json, signal);
    const path = `/repositories${pathOf(name)}/branches/main`;
    const query = { path: "f", force: true };
    await client.http.done({
      name: "uploadObject",
      method: "POST",
      path: `${path}/objects`,
      query,
      body: Buffer.from("f"),
      repeatable: false,
      signal,
    });
    await client.http.done({
      name: "commit",
      method: "POST",
      path: `${path}/commits`,
      json: { message: "forced", force: true },
      repeatable: false,
      signal,
    });
    const url = `${server.url}/lakefs/${name}.git`;
    const work = join(await tempFolder(t), "work");
    await git(["clone", "-q", url, work]);
    await commit(work, "second", { a: "2" });
    await refusedIn(t, { name, url, work }, ["main"], /the repository is read-only in lakeFS/);
  });

  await t.test("a hook of the operator's, in its own words", async (t) => {
    const at = await scene(t, lakefs, server);
    await put(lakefs, at.name, "_lakefs_actions/policy.yaml", HOOK);
    await client.in(at.name).commit("main", { message: "a policy" }, signal);
    await git(["pull", "-q", "--rebase", at.url, "main"], { cwd: at.work });
    await commit(at.work, "second", { a: "2" });
    await refusedIn(t, at, ["main"], /a hook in lakeFS refused it: .*not on a Friday/);
  });

  await t.test(
    "two refs of one name, one that would be another's folder, and names of our own",
    async (t) => {
      const at = await scene(t, lakefs, server);
      await git(["push", "-q", at.url, "main:refs/tags/release", "main:refs/heads/topic/one"], {
        cwd: at.work,
      });
      await refusedIn(
        t,
        at,
        ["main:refs/heads/release"],
        /lakeFS cannot have a branch and a tag of one name, and there is a tag 'release'/,
      );
      await refusedIn(
        t,
        at,
        ["main:refs/heads/topic"],
        /cannot be beside 'topic\/one': one would be the folder of the other/,
      );
      await refusedIn(
        t,
        at,
        ["main:refs/heads/lakepack-x"],
        /branches named lakepack-… are lakepack's own/,
      );
      await refusedIn(t, at, [":main"], /lakeFS does not delete the default branch/);
      await refusedIn(
        t,
        at,
        ["main^{tree}:refs/tags/tree"],
        /lakeFS has tags of commits only, and this is a tree/,
      );
    },
  );

  await t.test("too many commits, and how to slice them", async (t) => {
    const at = await scene(t, lakefs, server);
    for (let made = 0; made <= COMMITS_MAX; made++)
      await commit(at.work, `more ${made}`, { a: `${made}` });
    await refusedIn(
      t,
      at,
      ["main"],
      /the push has more than 3 commits: push them in slices \(git push <remote> <older commit>:<branch>\)/,
    );
    await git(["push", "-q", at.url, "main~1:main"], { cwd: at.work });
    await git(["push", "-q", at.url, "main"], { cwd: at.work });
    t.equal((await headOf(lakefs, at.name)).message, `more ${COMMITS_MAX}`, "in slices");
  });
}

async function contents(t: Test, lakefs: RunningLakefs, server: Lakepack): Promise<void> {
  const refusedIn = (t: Test, at: Scene, args: readonly string[], sentence: RegExp) =>
    refused(t, lakefs, at, args, sentence);

  await t.test(
    "a plain file above the maximum; just below it is one, whatever the mapping's threshold",
    async (t) => {
      const at = await scene(t, lakefs, server);
      await commit(at.work, "large", { "data/large.txt": "x".repeat(PLAIN_MAX + 1) });
      await refusedIn(
        t,
        at,
        ["main"],
        /'data\/large\.txt' cannot be in lakeFS: it has 100,001 bytes, and a plain file may have 100,000 here; use Git LFS for it/,
      );
      await git(["reset", "-q", "--hard", "HEAD~1"], { cwd: at.work });
      await commit(at.work, "fits", { "data/large.txt": "x".repeat(PLAIN_MAX) });
      await git(["push", "-q", at.url, "main"], { cwd: at.work });
      t.equal((await filesOf(lakefs, at.name)).get("data/large.txt")?.length, PLAIN_MAX);
    },
  );

  await t.test("an LFS object that is not here", async (t) => {
    const at = await scene(t, lakefs, server);
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"12".repeat(32)}\nsize 5\n`;
    await commit(at.work, "lost", {
      ".gitattributes": "*.bin filter=lfs\n",
      "dir/lost.bin": pointer,
    });
    await refusedIn(t, at, ["main"], /dir\/lost\.bin.*git lfs push/);
  });

  await t.test("paths that lakeFS cannot have", async (t) => {
    const at = await scene(t, lakefs, server);
    const blob = await git(["hash-object", "-w", "--stdin"], { cwd: at.work, input: "x" });
    const deep = `${"d".repeat(250)}/`.repeat(4);
    for (const [path, sentence] of [
      [Buffer.from("caf\xe9", "latin1"), /'caf.' cannot be in lakeFS: it is not UTF-8/],
      [
        Buffer.from(`${deep}${"f".repeat(21)}`),
        /'d{100}…[d/]{79}f{21}' cannot be in lakeFS: lakeFS has no paths of more than 1,024 bytes/,
      ],
      [
        Buffer.from("_lakefs_actions/lakepack-guard.yaml"),
        /this path is lakepack's own; leave it out of the commits/,
      ],
    ] as const) {
      const input = Buffer.concat([Buffer.from(`100644 ${blob}\t`), path, Buffer.from("\0")]);
      await git(["update-index", "-z", "--index-info"], { cwd: at.work, input });
      await git(["commit", "-q", "-m", "odd"], { cwd: at.work });
      await refusedIn(t, at, ["HEAD:main"], sentence);
      await git(["reset", "-q", "--hard", "HEAD~1"], { cwd: at.work });
    }
  });

  await t.test("what lakeFS has no place for, by its path and reason", async (t) => {
    const at = await scene(t, lakefs, server);
    const blob = await git(["hash-object", "-w", "--stdin"], { cwd: at.work, input: "x" });
    const tree = (entries: string) => git(["mktree"], { cwd: at.work, input: entries });
    const empty = await tree("");
    const long = "n".repeat(256);
    const odd = {
      "an empty folder": [
        `100644 blob ${blob}\ta\n040000 tree ${empty}\tnothing\n`,
        /'nothing' cannot be in lakeFS: it is an empty folder, which lakeFS has no place for/,
      ],
      "a long name": [
        `100644 blob ${blob}\t${long}\n`,
        /'n{100}…n{100}' cannot be in lakeFS: a part of it has more than 255 bytes, which file systems do not take/,
      ],
    } as const;
    for (const [entries, sentence] of Object.values(odd)) {
      const made = await git(["commit-tree", await tree(entries), "-p", "HEAD", "-m", "odd"], {
        cwd: at.work,
      });
      await refusedIn(t, at, [`${made}:refs/heads/main`], sentence);
    }
    const made = await git(
      ["commit-tree", await tree(`100664 blob ${blob}\twritable\n`), "-p", "HEAD", "-m", "of 2005"],
      { cwd: at.work },
    );
    await git(["push", "-q", at.url, `${made}:refs/heads/main`], { cwd: at.work });
  });
}
