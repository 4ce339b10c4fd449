/**
 * Messages for a person when something is not as they thought: the rule, what they typed, and what
 * to do.
 */
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { blockStores, frontEnds } from "../support/everyday.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { rawRequest } from "../support/raw-client.js";
import { startGuarded } from "../support/accounts-rig.js";
import { commit, git, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, startBeside } from "../support/lakefs-rig.js";

const get = (path: string, headers = "") =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;

for (const kind of frontEnds) {
  t.test(`names, locks, go-get, ${kind}`, { timeout: 60_000 }, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", kind] });
    const says = async (path: string) => {
      const { status, body } = await rawRequest(server.port, get(path));
      return `${status} ${body.toString()}`;
    };
    const refs = "info/refs?service=git-upload-pack";
    for (const [path, expected] of [
      [
        `/model.git/${refs}`,
        /404 lakepack: this is not a repository's name: model\.git \(it has no namespace: a name is namespace\/name\)/,
      ],
      ["/model.git/git-upload-pack", /model\.git \(it has no namespace/],
      ["/model.git/info/lfs/objects/batch", /model\.git \(it has no namespace/],
      [`/datasets/model.git/${refs}`, /datasets\/model\.git \(it has no namespace/],
      [
        `/team/models/bert.git/${refs}`,
        /team\/models\/bert\.git \(it has 3 parts: a name is namespace\/name, before which only models\/, datasets\/, spaces\/ may stand\)/,
      ],
      [`/a/b/c/d.git/${refs}`, /a\/b\/c\/d\.git \(it has 4 parts/],
      [
        `/me/a+b.git/${refs}`,
        /me\/a\+b\.git \(a name is namespace\/name, each of 1 to 96 letters, digits, '\.', '_' or '-', and begins with/,
      ],
      [`/me/.hidden.git/${refs}`, /me\/\.hidden\.git \(a name is/],
      [`/me/a%20b.git/${refs}`, /me\/a b\.git \(a name is/],
      [`/api/x.git/${refs}`, /api\/x\.git \('api' cannot be a namespace/],
      [`/me/na%C2%9Bme.git/${refs}`, /me\/na\?me\.git \(a name is/],
    ] as const)
      t.match(await says(path), expected, path);
    const locks = await rawRequest(server.port, get("/ns/a.git/info/lfs/locks"));
    t.equal(locks.status, 501);
    t.match(JSON.parse(locks.body.toString()), { message: /^this server has no file locks/ });
    for (const path of ["/ns/mod?go-get=1", "/ns/mod/sub/pkg?go-get=1", "/ns/none?go-get=1"])
      t.match(
        await says(path),
        new RegExp(
          `200 .*<meta name="go-import" content="localhost/${path.slice(1).replace(/(\w+\/\w+).*/, "$1")} git http://localhost/\\w+/\\w+\\.git">`,
          "s",
        ),
        path,
      );
    const several = await rawRequest(server.port, get(`/ns/a.git/${refs}`, "X: y\r\n"));
    t.equal(several.status, 404);
  });

  t.test(
    `two Authorization headers are told apart from a wrong one, ${kind}`,
    { timeout: 60_000 },
    async (t) => {
      const server = await startGuarded(t, { args: ["--transport", kind] });
      const token = await server.user("ada");
      const basic = `Authorization: Basic ${Buffer.from(`git:${token}`).toString("base64")}\r\n`;
      for (const headers of [
        `${basic}Authorization: Bearer ${token}\r\n`,
        `Authorization: Bearer x\r\n${basic}`,
        basic + basic,
      ]) {
        const { status, body } = await rawRequest(
          server.port,
          get("/ada/a.git/info/refs?service=git-upload-pack", headers),
        );
        t.match(
          [status, body.toString()],
          [400, /two Authorization headers; leave one: git adds http\.extraHeader/],
        );
      }
      const wrong = await rawRequest(
        server.port,
        get("/ada/a.git/info/refs?service=git-upload-pack", "Authorization: Bearer x\r\n"),
      );
      t.equal(wrong.status, 401);
      t.notMatch(server.log(), token);
    },
  );
}

t.test(
  "a stored file larger than any we write is our failure, and not the client's",
  { timeout: 60_000 },
  async (t) => {
    const server = await startLakepack(t);
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    await commit(work, "first", { "a.txt": "a\n" });
    await git(["push", "-q", `${server.url}/ns/a.git`, "main"], { cwd: work });
    await server.stop();
    const [manifest = ""] = execFileSync(
      "find",
      [join(server.data, "repos"), "-name", "manifest"],
      { encoding: "utf8" },
    )
      .trim()
      .split("\n");
    await writeFile(manifest, Buffer.alloc(17 * 1024 * 1024, 0x20));
    const again = await startLakepack(t, { data: server.data });
    const reply = await rawRequest(again.port, get("/ns/a.git/info/refs?service=git-upload-pack"));
    t.match(
      [reply.status, reply.body.toString()],
      [500, /a stored file is larger than any this server writes; run: lakepack verify/],
    );
  },
);

for (const branch of ["master", "trunk"])
  t.test(`a first push of ${branch} leaves no dead HEAD`, { timeout: 60_000 }, async (t) => {
    const server = await startLakepack(t);
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", "-b", branch, work]);
    const tip = await commit(work, "first", { "a.txt": "a\n" });
    const url = `${server.url}/ns/first.git`;
    await git(["push", "-q", url, `HEAD:refs/heads/${branch}`], { cwd: work });
    t.equal(
      await git(["ls-remote", "--symref", url, "HEAD"]),
      `ref: refs/heads/${branch}\tHEAD\n${tip}\tHEAD`,
    );
    t.match(
      (await rawRequest(server.port, get("/ns/first.git/HEAD"))).body.toString(),
      `ref: refs/heads/${branch}\n`,
    );
  });

for (const blocks of blockStores)
  t.test(`the same in lakeFS, ${blocks}`, { skip: skipLakefs, timeout: 120_000 }, async (t) => {
    const lakefs = await startLakefs(t, blocks);
    const server = await startBeside(t, lakefs);
    const repository = await emptyRepository(lakefs, "head");
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", "-b", "master", work]);
    const tip = await commit(work, "first", { "a.txt": "a\n" });
    const url = `${server.url}/lakefs/${repository}.git`;
    await git(["push", "-q", url, "HEAD:refs/heads/master"], { cwd: work });
    t.equal(
      await git(["ls-remote", "--symref", url, "HEAD"]),
      `ref: refs/heads/master\tHEAD\n${tip}\tHEAD`,
    );
    const copy = join(await tempFolder(t), "copy");
    t.equal(
      (await tryGit(["clone", "-q", url, copy])).stderr,
      "",
      "no warning of a HEAD that names nothing",
    );
    t.equal(await git(["rev-parse", "HEAD"], { cwd: copy }), tip);
    await git(["push", "-q", url, "HEAD:refs/heads/main"], { cwd: work });
    t.match(
      await git(["ls-remote", "--symref", url, "HEAD"]),
      /^ref: refs\/heads\/main\t/,
      "lakeFS's default branch once it has a commit",
    );
  });

t.test("what is fetched by its id is had in every version", { timeout: 60_000 }, async (t) => {
  const server = await startLakepack(t);
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const first = await commit(work, "first", { "a.txt": "a\n", "b.txt": "b\n" });
  await commit(work, "second", { "a.txt": "aa\n" });
  const url = `${server.url}/ns/lazy.git`;
  await git(["push", "-q", url, "main"], { cwd: work });
  for (const version of ["0", "1", "2"]) {
    const copy = join(await tempFolder(t), "copy");
    const run = await tryGit([
      "-c",
      `protocol.version=${version}`,
      "clone",
      "-q",
      "--filter=blob:none",
      url,
      copy,
    ]);
    t.match(run, { code: 0, stderr: "" }, `version ${version}: a clone without blobs checks out`);
    const bare = join(await tempFolder(t), "bare.git");
    await git(["init", "-q", "--bare", bare]);
    t.match(
      await tryGit(["-c", `protocol.version=${version}`, "fetch", "-q", url, first], { cwd: bare }),
      { code: 0 },
      `version ${version}: a commit by its id`,
    );
  }
});
