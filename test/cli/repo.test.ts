/**
 * `lakepack repo` and the control socket: the same words whether a server runs on the folder or
 * not.
 */
import { existsSync } from "node:fs";
import { cp, mkdir, stat, unlink } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { commit, git, logShows, prefixOf, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { lakepack as run } from "../support/lakepack-command.js";

const lakepack = (...args: readonly string[]) => run(args);

/** One line to the socket and what comes back; "" where it was cut. */
function say(data: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection(join(data, "control.sock"));
    let answer = "";
    socket.on("data", (chunk) => {
      answer += String(chunk);
      if (answer.endsWith("\n")) socket.end();
    });
    socket.on("error", () => socket.destroy());
    socket.once("close", () => resolve(answer));
    socket.write(text);
  });
}

t.test(
  "create, list and resolve, with a server on the folder and without",
  { timeout: 120_000 },
  async (t) => {
    const data = join(await tempFolder(t), "data");
    const at = ["--data", data] as const;
    t.same(await lakepack("repo", "create", "me/one", ...at), {
      code: 0,
      out: "created me/one\n",
      err: "",
    });
    t.match(await lakepack("repo", "create", "me/one.git", ...at), {
      code: 1,
      err: /already.*name: me\/one/,
    });

    const server = await startLakepack(t, { data });
    t.equal((await stat(join(data, "control.sock"))).mode & 0o777, 0o600, "for its owner only");
    t.match(await lakepack("repo", "create", "datasets/me/two", "--json", ...at), {
      code: 0,
      out: '{"name":"datasets/me/two","kind":"dataset","lakefs":null}\n',
    });
    t.ok(await logShows(server, /"command":"repo.create"/), "the server did it");
    t.match(await lakepack("repo", "create", "me/one", ...at), {
      code: 1,
      err: /^lakepack: there is a repository of this name already \(name: me\/one\)\n$/,
    });
    t.match(await lakepack("repo", "create", "me/three", "--lakefs", "some-repository", ...at), {
      code: 1,
      err: /no lakeFS is set here/,
    });
    t.match(await lakepack("repo", "create", "lakefs/some-repository", ...at), {
      code: 1,
      err: /lakeFS's own/,
    });
    t.match(await lakepack("repo", "create", "../x", ...at), {
      code: 1,
      err: /not a repository's name/,
    });
    t.equal(
      await git(["ls-remote", `${server.url}/me/one.git`]),
      "",
      "an empty repository is there",
    );
    t.match((await tryGit(["ls-remote", `${server.url}/me/three.git`])).stderr, /not found/);

    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    const first = await commit(work, "first", { "a.txt": "a\n" });
    const tree = await git(["rev-parse", "HEAD^{tree}"], { cwd: work });
    const second = await commit(work, "second", { "a.txt": "b\n" });
    await git(["tag", "-a", "-m", "tagged", "v1", first], { cwd: work });
    const tag = await git(["rev-parse", "v1"], { cwd: work });
    await git(["push", "-q", `${server.url}/me/one.git`, "main", "v1"], { cwd: work });
    await git(["push", "-q", `${server.url}/me/one.git`, "main:gone"], { cwd: work });

    const expected = { code: 0, out: `git ${first}\ntree ${tree}\n`, err: "" };
    t.same(await lakepack("repo", "resolve", "me/one", first, ...at), expected);
    t.match(await lakepack("repo", "resolve", "me/one", first.slice(0, 12), ...at), {
      code: 2,
      err: /40 hex digits of Git, or 64 of lakeFS: short ids are not looked up/,
    });
    t.same(await lakepack("repo", "resolve", "me/one", tag, ...at), {
      ...expected,
      out: `git ${tag}\ncommit ${first}\ntree ${tree}\n`,
    });
    const listed = "datasets/me/two\tdataset\nme/one\tmodel\n";
    t.same(await lakepack("repo", "list", ...at), { code: 0, out: listed, err: "" });

    await t.test("the same facts over HTTP", async (t) => {
      const get = async (path: string) => {
        const response = await fetch(`${server.url}/api/repos/${path}`);
        return {
          status: response.status,
          type: response.headers.get("content-type"),
          body: (await response.json()) as Record<string, unknown>,
        };
      };
      const json = { type: "application/json; charset=utf-8" };
      const facts = { git: second, type: "commit", commit: second, lakefs: null, lakefs_ids: [] };
      t.match(await get(`me/one/commits/${second}`), { ...json, status: 200, body: facts });
      t.match(await get(`models/me/one.git/commits/${second}`), { status: 200, body: facts });
      t.match(await get("me/one"), {
        ...json,
        status: 200,
        body: {
          name: "me/one",
          kind: "model",
          lakefs: null,
          head: "refs/heads/main",
          reading: null,
        },
      });
      t.match(await get("datasets/me/two"), {
        status: 200,
        body: { name: "datasets/me/two", kind: "dataset" },
      });
      t.match(await get(`me/one/commits/${"1".repeat(40)}`), {
        ...json,
        status: 404,
        body: { code: "commit/missing", message: /no branch or tag/, request_id: /./ },
      });
      t.match(await get(`me/one/commits/${"1".repeat(64)}`), {
        status: 404,
        body: { code: "commit/missing" },
      });
      t.match(await get("me/one/commits/main"), {
        status: 404,
        body: { message: /40 hex digits/ },
      });
      t.match(await get(`me/one/commits/${tree}`), { status: 404 }, "a tree is no commit");
      t.match(await get("me/none"), { status: 404, body: { code: "repository/missing" } });
      t.match(await get("me/one/branches"), { status: 404, body: { code: "http/not-found" } });
      t.equal((await fetch(`${server.url}/api/repos/me/one`, { method: "POST" })).status, 405);
      const orphan = await commit(work, "amended away", { "a.txt": "c\n" });
      await git(["push", "-q", `${server.url}/me/one.git`, `${orphan}:refs/heads/gone`], {
        cwd: work,
      });
      await git(["push", "-q", `${server.url}/me/one.git`, ":gone"], { cwd: work });
      t.match(
        await get(`me/one/commits/${orphan}`),
        { status: 404 },
        "what no ref leads to is not shown, though it is stored",
      );
    });

    await server.stop();
    t.notOk(existsSync(join(data, "control.sock")), "nothing is left behind");
    t.same(await lakepack("repo", "resolve", "me/one", first, ...at), expected);
    t.same(await lakepack("repo", "list", ...at), { code: 0, out: listed, err: "" });
  },
);

t.test("help and wrong usage", async (t) => {
  for (const words of [[], ["create"], ["list"], ["resolve"]])
    t.match(await lakepack("repo", ...words, "--help"), { code: 0, out: /Usage: lakepack repo/ });
  for (const words of [
    ["create"],
    ["resolve", "me/one", "HEAD"],
    ["nonsense"],
    ["list", "--nonsense"],
  ])
    t.equal((await lakepack("repo", ...words)).code, 2, words.join(" "));
});

t.test(
  "the socket: what is no command is told so, what is too long is cut, what a crash left is replaced",
  { timeout: 120_000 },
  async (t) => {
    // A path longer than a socket's address can be.
    const data = join(await tempFolder(t), "d".repeat(120));
    await mkdir(data);
    const server = await startLakepack(t, { data });
    t.same((await lakepack("repo", "list", "--data", data)).code, 0);
    await server.kill("SIGKILL");
    t.ok(existsSync(join(data, "control.sock")), "a crash leaves its socket");
    t.equal(
      (await lakepack("repo", "create", "me/one", "--data", data)).code,
      0,
      "a dead socket is no server",
    );

    const short = await startLakepack(t, {});
    const answer = async (text: string) => JSON.parse(await say(short.data, text)) as unknown;
    const wrong = { ok: false, fault: "control/bad-request" };
    t.match(await answer("nonsense\n"), wrong);
    t.match(await answer('{"command":"toString","arguments":{}}\n'), wrong);
    t.match(
      await answer('{"command":"repo.create","arguments":{"name":"me/x","other":1}}\n'),
      wrong,
    );
    t.match(await answer('{"command":"repo.create","arguments":{"name":7}}\n'), wrong);
    t.match(await answer('{"command":"repo.create","arguments":{"name":"me/x"}}\n'), {
      ok: true,
      result: { name: "me/x" },
    });
    t.equal(await say(short.data, "x".repeat(LIMITS.controlRequestBytesMax + 10)), "", "cut");
    t.match(
      await answer('{"command":"repo.list","arguments":{"after":""}}\n'),
      { ok: true, result: [{ name: "me/x" }] },
      "and others go on",
    );

    const again = await startLakepack(t, { data });
    t.match(await lakepack("repo", "list", "--data", data), { code: 0, out: "me/one\tmodel\n" });
    await again.stop();
  },
);

t.test("a folder whose owner does not listen is named", { timeout: 60_000 }, async (t) => {
  const data = join(await tempFolder(t), "data");
  const server = await startLakepack(t, { data });
  // As if it were about to stop: it holds the lock and listens no more.
  await unlink(join(data, "control.sock"));
  t.match(await lakepack("repo", "list", "--data", data), {
    code: 1,
    err: /another lakepack serves this data folder/,
  });
  await server.stop();
});

t.test("what lies in the store is taken in under a name; places follow a template", async (t) => {
  const template = { LAKEPACK_REPOSITORY_PREFIX: "{workspace}/artifacts/{id}/{type}-{alias}" };
  const server = await startLakepack(t, { env: template });
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "main", work]);
  const oid = await commit(work, "one", { "a.txt": "a\n" });
  await git(["push", "-q", `${server.url}/datasets/ada/data.git`, "HEAD:refs/heads/main"], {
    cwd: work,
  });
  const place = await prefixOf(server.data, "datasets/ada/data");
  t.match(place, /^ada\/artifacts\/[0-9a-f]{32}\/datasets-data$/);
  const repo = (...args: string[]) => run(["repo", ...args, "--data", server.data]);
  t.match(await repo("adopt", place, "ada/again"), { code: 1, err: /datasets\/ada\/data/ });
  await server.stop();
  await cp(join(server.data, place), join(server.data, "old/place"), { recursive: true });

  const plain = await startLakepack(t, { data: server.data });
  t.equal((await repo("adopt", "old/none", "ada/again")).code, 1);
  t.equal((await repo("adopt", "../old/place", "ada/again")).code, 1);
  t.match(await repo("adopt", "old/place/", "ada/again"), {
    code: 0,
    out: /ada\/again is what lay/,
  });
  t.match(await repo("adopt", "old/place", "ada/more"), { code: 1, err: /ada\/again/ });
  for (const name of ["datasets/ada/data", "ada/again"])
    t.equal((await git(["ls-remote", `${plain.url}/${name}.git`, "HEAD"])).slice(0, 40), oid, name);
  await git(["push", "-q", `${plain.url}/ada/again.git`, "HEAD:refs/heads/next"], { cwd: work });
  t.match(await run(["verify", "--all", "--data", server.data]), {
    code: 0,
    out: /ada\/again: good/,
  });
  t.match(await repo("delete", "ada/again", "--yes"), { code: 0 });
  t.match(await repo("forget", "ada/again", "--yes"), { code: 0 });
  await plain.stop();
  t.notOk(existsSync(join(server.data, "old/place/git/manifest")));
  for (const wrong of ["repos/{name}", "{id}/{what}", "/{id}", "a//{id}"]) {
    const refused = await run(["serve", "--repository-prefix", wrong, "--data", server.data]);
    t.match(refused, { code: 2, err: /repository_prefix/ }, wrong);
  }
});
