/**
 * Limits of a lakeFS repository as stock git and people are told of them: both ids of its commits,
 * and what of it is not in Git.
 */
import { join } from "node:path";
import t from "tap";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { utf8 } from "../../src/base/bytes.js";
import { lakepack } from "../support/lakepack-command.js";
import {
  commit,
  git,
  type Lakepack,
  remoteRefs,
  startLakepack,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { settingsFor, seed, signal, startBeside } from "../support/lakefs-rig.js";
import { advertised, pkts, rawFetch } from "../support/raw-fetch.js";
import { command, postPush } from "../support/raw-push.js";

const ZERO = "0".repeat(40);

t.test("a lakeFS repository, told of", { skip: skipLakefs, timeout: 180_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const { client } = lakefs;
  await seed(lakefs, "demo", { "README.md": "# demo\n" });
  const server = await startBeside(t, lakefs);
  const url = `${server.url}/lakefs/demo.git`;
  const folder = await tempFolder(t);

  await t.test(
    "atomic is not offered there, refused when asked for all the same, and offered beside it",
    async (t) => {
      for (const version of [0, 1] as const) {
        t.notOk(
          (await advertised(server, "lakefs/demo", version, "git-receive-pack")).includes("atomic"),
          `version ${version}`,
        );
        t.ok(
          (await advertised(server, "me/own", version, "git-receive-pack")).includes("atomic"),
          `version ${version}, a repository of our own`,
        );
      }
      const work = join(folder, "atomic");
      await git(["clone", "-q", url, work]);
      const head = await commit(work, "next", { "next.txt": "n\n" });
      const stock = await tryGit(["push", "--atomic", "origin", "main"], { cwd: work });
      t.not(stock.code, 0);
      t.match(stock.stderr, /the receiving end does not support --atomic push/);
      const raw = await postPush(server, "/lakefs/demo.git", [
        command(ZERO, head, "refs/heads/x", " report-status atomic"),
      ]);
      t.match(
        raw.body.toString(),
        /^[0-9a-f]{4}ERR a capability or argument was not advertised \(name: atomic\)/,
      );
      t.equal(
        (await client.in("demo").listBranches({}, signal).next()).value?.id,
        "main",
        "no branch was made",
      );
      await git(["push", "-q", "--atomic", `${server.url}/me/own.git`, "main"], { cwd: work });
    },
  );

  await t.test(
    "refs/lakefs/<id>: any commit that a branch or tag leads to, listed nowhere",
    async (t) => {
      const old = (await client.in("demo").getBranch("main", signal)).commit_id;
      await client.in("demo").uploadObject("main", "second.txt", utf8("2\n"), {}, signal);
      const head = (await client.in("demo").commit("main", { message: "second" }, signal)).id;
      const clone = join(folder, "ids");
      await git(["init", "-q", clone]);
      const fresh = await startBeside(t, lakefs);
      const from = `${fresh.url}/lakefs/demo.git`;
      await git(["fetch", "-q", from, `refs/lakefs/${old}`], { cwd: clone, version: 2 });
      t.match(
        await git(["log", "-1", "--format=%B", "FETCH_HEAD"], { cwd: clone }),
        `Lakefs-Commit: ${old}`,
        "on a server that had read nothing",
      );
      t.equal(
        (await tryGit(["cat-file", "-e", "FETCH_HEAD:second.txt"], { cwd: clone })).code,
        128,
        "the older of the two",
      );
      await git(["fetch", "-q", from, `refs/lakefs/${head}:refs/heads/copy`], {
        cwd: clone,
        version: 2,
      });
      t.match(
        (await remoteRefs(from)).find((line) => line.endsWith("\tHEAD")),
        await git(["rev-parse", "copy"], { cwd: clone }),
      );
      t.notMatch((await remoteRefs(from)).join("\n"), /refs\/lakefs/);
      const prefix = await rawFetch(
        fresh,
        "lakefs/demo",
        2,
        pkts("command=ls-refs", "0001", "ref-prefix refs/lakefs/", "0000"),
      );
      t.same(prefix.lines, ["flush"], "only by its full name");

      await client
        .in("demo")
        .createBranch({ name: "lakepack-hidden", source: head, hidden: true }, signal);
      await client
        .in("demo")
        .uploadObject("lakepack-hidden", "secret.txt", utf8("s\n"), {}, signal);
      const hidden = (
        await client.in("demo").commit("lakepack-hidden", { message: "hidden" }, signal)
      ).id;
      await client.in("demo").createBranch({ name: "short-lived", source: head }, signal);
      await client.in("demo").uploadObject("short-lived", "gone.txt", utf8("g\n"), {}, signal);
      const gone = (await client.in("demo").commit("short-lived", { message: "gone" }, signal)).id;
      await git(["fetch", "-q", from, `refs/lakefs/${gone}`], { cwd: clone, version: 2 });
      const goneGit = await git(["rev-parse", "FETCH_HEAD"], { cwd: clone });
      await client.in("demo").deleteBranch("short-lived", signal);
      for (const [why, id] of Object.entries({
        "on our hidden branch only": hidden,
        "its branch was deleted": gone,
        "no such commit": "0".repeat(64),
      })) {
        const refused = await tryGit(["fetch", from, `refs/lakefs/${id}`], {
          cwd: clone,
          version: 2,
        });
        t.match(refused.stderr, /couldn't find remote ref/, why);
        const wanted = await rawFetch(
          fresh,
          "lakefs/demo",
          2,
          pkts("command=fetch", "0001", `want-ref refs/lakefs/${id}`, "done", "0000"),
        );
        t.match(wanted.lines[0], /^ERR .*unknown ref refs\/lakefs/, why);
        t.equal((await fetch(`${fresh.url}/api/repos/lakefs/demo/commits/${id}`)).status, 404, why);
      }
      t.match(
        (
          await rawFetch(
            fresh,
            "lakefs/demo",
            2,
            pkts("command=fetch", "0001", `want ${goneGit}`, "done", "0000"),
          )
        ).lines[0],
        /^ERR .*not our ref/,
      );
      const many = Array.from(
        { length: 1_001 },
        (_, at) => `want-ref refs/lakefs/${at.toString(16).padStart(64, "0")}`,
      );
      t.match(
        (
          await rawFetch(
            fresh,
            "lakefs/demo",
            2,
            pkts("command=fetch", "0001", ...many, "done", "0000"),
          )
        ).lines[0],
        /^ERR .*more than this server accepts/,
      );
      t.match(
        (await tryGit(["push", from, `copy:refs/lakefs/${head}`], { cwd: clone })).stderr,
        /the server's own/,
      );
    },
  );

  await t.test(
    "both ids by API and command, of a commit that was pushed, one that was not, and a tag",
    async (t) => {
      const work = join(folder, "both");
      await git(["clone", "-q", url, work]);
      const pushed = await commit(work, "pushed", { "pushed.txt": "p\n" });
      await git(["tag", "-a", "-m", "annotated", "v1"], { cwd: work });
      await git(["push", "-q", "origin", "main", "v1"], { cwd: work });
      const lakeHead = (await client.in("demo").getBranch("main", signal)).commit_id;
      const get = async (server: Lakepack, path: string) =>
        (await (await fetch(`${server.url}/api/repos/lakefs/demo${path}`)).json()) as Record<
          string,
          unknown
        >;
      const both = {
        git: pushed,
        type: "commit",
        lakefs: lakeHead,
        tree: await git(["rev-parse", "HEAD^{tree}"], { cwd: work }),
      };
      const cold = await startBeside(t, lakefs);
      for (const each of [server, cold]) {
        t.match(await get(each, `/commits/${pushed}`), both);
        t.match(await get(each, `/commits/${lakeHead}`), both);
      }
      const tag = await git(["rev-parse", "v1"], { cwd: work });
      const record = (await client.in("demo").listTags({}, signal).next()).value
        ?.commit_id as string;
      t.match(await get(cold, `/commits/${record}`), {
        git: tag,
        type: "tag",
        commit: pushed,
        lakefs: record,
      });
      t.match(await get(cold, `/commits/${tag}`), {
        git: tag,
        type: "tag",
        commit: pushed,
        lakefs: record,
      });
      t.same(await get(cold, ""), {
        name: "lakefs/demo",
        kind: "lakefs",
        lakefs: "demo",
        head: "refs/heads/main",
        reading: { commits: 0, total: 0, objects: 0 },
      });
      const run = await lakepack(["repo", "resolve", "lakefs/demo", lakeHead, "--data", cold.data]);
      t.same(run, {
        code: 0,
        out: `git ${pushed}\ntree ${both.tree}\nlakefs ${lakeHead}\n`,
        err: "",
      });
    },
  );

  await t.test(
    "a name of its own: the manifest says it, both names are one repository",
    async (t) => {
      const create = (name: string, repository: string) =>
        lakepack(["repo", "create", name, "--lakefs", repository, "--data", server.data]);
      t.match(await create("datasets/team/bound", "demo"), {
        code: 0,
        out: "created datasets/team/bound, which is lakeFS repository demo\n",
      });
      t.match(await create("team/lost", "no-such-repository"), {
        code: 1,
        err: /lakeFS has no such thing \(repository: no-such-repository\)/,
      });
      t.match(await create("team/lost", "../x"), { code: 1, err: /lakeFS has no such thing/ });
      t.match(await create("datasets/team/bound", "demo"), { code: 1, err: /already/ });
      const bound = `${server.url}/datasets/team/bound.git`;
      t.same(await remoteRefs(bound), await remoteRefs(url));
      t.same(
        await remoteRefs(`${server.url}/team/bound`),
        await remoteRefs(url),
        "without its type",
      );
      const work = join(folder, "bound");
      await git(["clone", "-q", bound, work]);
      await commit(work, "by its other name", { "bound.txt": "b\n" });
      await git(["push", "-q", "origin", "main"], { cwd: work });
      t.same(await remoteRefs(bound), await remoteRefs(url));
      t.match(await (await fetch(`${server.url}/api/repos/datasets/team/bound`)).json(), {
        name: "datasets/team/bound",
        kind: "dataset",
        lakefs: "demo",
      });
      t.match(
        (await lakepack(["repo", "list", "--data", server.data])).out,
        "datasets/team/bound\tdataset\tdemo\n",
      );
      // Another process with the same store.
      await server.stop();
      const again = await startBeside(t, lakefs, {}, { data: server.data });
      t.same(
        await remoteRefs(`${again.url}/datasets/team/bound.git`),
        await remoteRefs(`${again.url}/lakefs/demo.git`),
      );
      const unset = await startLakepack(t, { data: (await stopped(again)).data });
      t.match(
        (await tryGit(["ls-remote", `${unset.url}/datasets/team/bound.git`])).stderr,
        /lakeFS has no such thing|not found/,
        "without lakeFS it is not an empty repository",
      );
    },
  );
});

t.test(
  "what cannot be in Git is named on band 2, and all of it by the doctor",
  { skip: skipLakefs, timeout: 180_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    const { client } = lakefs;
    const odd = Object.fromEntries(Array.from({ length: 11 }, (_, at) => [`odd//${at}`, "x"]));
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"ab".repeat(32)}\nsize 5\n`;
    const attributes = {
      ".gitattributes": "*.ptr filter=lfs\n",
      "w.ptr": pointer,
      ["n".repeat(256)]: "too long",
    };
    await seed(lakefs, "odd", {
      ...odd,
      ...attributes,
      fine: "f",
      x: "file",
      "x/y": "folder",
      "sub/.gitmodules": '[submodule "a"]\n\tpath = a\n\turl = -bad\n',
      "esc\u001b[31m/.git": "e",
    });
    await client.in("odd").createBranch({ name: "a_-41b", source: "main" }, signal);
    const server = await startBeside(t, lakefs);
    const url = `${server.url}/lakefs/odd.git`;
    const folder = await tempFolder(t);

    await t.test("on a clone, in any version, and on a fetch", async (t) => {
      for (const version of [0, 2] as const) {
        const clone = await tryGit(["clone", url, join(folder, `clone-${version}`)], { version });
        t.equal(clone.code, 0, clone.stderr);
        t.match(
          clone.stderr,
          /remote: warning: 16 paths of lakeFS commit [0-9a-f]{12} cannot be in Git and stay in lakeFS:/,
        );
        t.match(clone.stderr, /remote: {3}odd\/\/0: a part of it is empty/);
        t.match(
          clone.stderr,
          /remote: {3}esc\\x1b\[31m\/.git: a part of it is '.git' to some file system/,
          "nothing for the terminal",
        );
        t.match(clone.stderr, /remote: {3}and 6 more: lakepack doctor --lakefs odd lists all/);
      }
      const work = join(folder, "clone-2");
      await commit(work, "pushed beside them", { "new.txt": "n\n" });
      await git(["push", "-q", "origin", "main"], { cwd: work });
      const again = await tryGit(["fetch", "-v"], { cwd: join(folder, "clone-0") });
      t.match(
        again.stderr,
        /warning: 16 paths/,
        "of a commit that a push made: what its nearest read ancestor had",
      );
      await seed(lakefs, "clean", { "a.txt": "a\n" });
      t.notMatch(
        (await tryGit(["clone", `${server.url}/lakefs/clean.git`, join(folder, "clean")])).stderr,
        /warning/,
      );
    });

    await t.test("lakepack doctor --lakefs", async (t) => {
      const GUARD = "the guard of pushes runs: no push lands on a branch that has moved";
      const all = await lakepack(["doctor", "--lakefs", "odd"], settingsFor(lakefs));
      t.equal(all.code, 0, all.err);
      for (let at = 0; at < 11; at++) t.match(all.out, `\n  odd//${at}: a part of it is empty\n`);
      t.match(all.out, "branch a_-41b is not served: Git cannot have this name");
      t.match(all.out, /\nrefs\/heads\/main \(lakeFS commit [0-9a-f]{64}\): 16 cannot be in Git\n/);
      t.match(all.out, "\n  x: a folder has the same name\n");
      t.match(
        all.out,
        "\n  w.ptr: its content is the text of a Git LFS pointer, which git-lfs does not take for a file's\n",
      );
      t.match(
        all.out,
        /\n {2}n{256}: a part of it has more than 255 bytes, which file systems do not take\n/,
      );
      t.match(all.out, /\n {2}sub\/.gitmodules: Git refuses it: /);
      t.match(all.out, '\n  "esc\\u001b[31m/.git": ');
      const json = JSON.parse(
        (await lakepack(["doctor", "--lakefs", "odd", "--json"], settingsFor(lakefs))).out,
      ) as { commits: { paths: unknown[] }[] };
      t.equal(json.commits[0]?.paths.length, 16);
      t.same(await lakepack(["doctor", "--lakefs", "clean"], settingsFor(lakefs)), {
        code: 0,
        out: `all of 1 head can be in Git\n${GUARD}\nno hooks at the head of main\n`,
        err: "",
      });
      t.match(await lakepack(["doctor", "--lakefs", "no-such"], settingsFor(lakefs)), {
        code: 1,
        err: /lakeFS has no such thing/,
      });
      t.match(await lakepack(["doctor", "--lakefs", "odd"]), { code: 1, err: /no lakeFS is set/ });
      t.equal((await lakepack(["doctor", "--no-such-option"])).code, 2, "a wrong command line");
    });
  },
);

async function stopped(server: Lakepack): Promise<Lakepack> {
  await server.stop();
  return server;
}
