/**
 * lakeFS lets a name be used again. A repository that was deleted and made again under its name has
 * nothing of the old one: refs, contents, LFS objects, grants, names. One that was restored is what
 * it was. What is gone is 404, and what is on its way to be is an error: nobody is shown an empty
 * repository.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { blockStores } from "../support/everyday.js";
import { kohakuHubName } from "../../src/lakefs/rules/hub-names.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { startProxy } from "../support/lakefs-proxy.js";
import { RawClient } from "../support/raw-client.js";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { commit, folderOf, git, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { put, settingsFor, signal } from "../support/lakefs-rig.js";
import { slowPush } from "../support/slow-push.js";

t.setTimeout(900_000);

const MEDIA = "application/vnd.git-lfs+json";
/**
 * lakeFS believes for some seconds that a deleted repository is there (graveler.repository_cache);
 * here it does not, where a test is not about that.
 */
const NO_CACHE = { LAKEFS_GRAVELER_REPOSITORY_CACHE_SIZE: "0" };
const LARGE = Buffer.alloc(1_200_000, "old weights ");
const OID = createHash("sha256").update(LARGE).digest("hex");

async function api(
  lakefs: RunningLakefs,
  method: string,
  path: string,
  body?: unknown,
): Promise<Record<string, unknown>> {
  const { endpoint, accessKeyId, secretAccessKey } = lakefs.access;
  const headers = {
    authorization: `Basic ${Buffer.from(`${accessKeyId}:${secretAccessKey}`).toString("base64")}`,
    "content-type": "application/json",
  };
  const reply = await fetch(`${endpoint}/api/v1${path}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${text}`);
  return (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>;
}

const remove = (lakefs: RunningLakefs, name: string) =>
  api(lakefs, "DELETE", `/repositories/${name}`);

let spaces = 0;

/** Another one of this name, with files of its own. Creation dates are in seconds. */
async function make(
  lakefs: RunningLakefs,
  name: string,
  files: Readonly<Record<string, string | Uint8Array>>,
  branch = "main",
): Promise<string> {
  const namespace = lakefs.namespace(`${name}-${spaces++}`);
  await lakefs.client.createRepository(
    { name, storage_namespace: namespace, default_branch: branch },
    signal,
  );
  for (const [path, content] of Object.entries(files))
    await put(lakefs, name, path, content, branch);
  if (Object.keys(files).length > 0)
    await lakefs.client.in(name).commit(branch, { message: "files" }, signal);
  return namespace;
}

async function batch(
  server: Guarded,
  name: string,
  token: string | undefined,
  oid = OID,
  size = LARGE.length,
) {
  const headers = {
    "Content-Type": MEDIA,
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
  };
  const body = JSON.stringify({
    operation: "download",
    transfers: ["basic"],
    objects: [{ oid, size }],
  });
  const reply = await fetch(`${server.url}/${name}.git/info/lfs/objects/batch`, {
    method: "POST",
    headers,
    body,
  });
  const { objects } = (await reply.json()) as {
    objects?: readonly { actions?: { download?: { href: string } }; error?: { code: number } }[];
  };
  return {
    status: reply.status,
    error: objects?.[0]?.error?.code,
    href: objects?.[0]?.actions?.download?.href ?? "",
  };
}

interface Stage {
  readonly lakefs: RunningLakefs;
  readonly server: Guarded;
  readonly name: string;
  readonly rita: string;
  readonly acme: string;
  /** Refs of the old one. */
  readonly refs: string;
  readonly notes: string;
  /** A link to its large file; "": signed by lakeFS. */
  readonly link: string;
}

const status = async (server: Guarded, name: string, token?: string) =>
  (
    await fetch(`${server.url}/${name}.git/info/refs?service=git-upload-pack`, {
      headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
    })
  ).status;

/**
 * A repository with a reader, a public second name of acme's, a ref that lakeFS has not, and a
 * large file.
 */
async function stage(
  t: Test,
  lakefs: RunningLakefs,
  data?: string,
  endpoint = lakefs.access.endpoint,
): Promise<Stage> {
  const server = await startGuarded(t, {
    ...(data === undefined ? {} : { data }),
    env: { ...settingsFor(lakefs, endpoint), LAKEPACK_LAKEFS_POLL_SECONDS: "1" },
  });
  const name = "shop";
  await make(lakefs, name, { "a.txt": "old\n", "weights.bin": LARGE });
  const [rita, acme] = [await server.user("rita"), await server.user("acme")];
  const admin = server.adminToken;
  await git(["ls-remote", server.at(`lakefs/${name}`, admin)]);
  await server.command("repo.grant", { name: `lakefs/${name}`, user: "rita", role: "read" });
  await server.command("repo.create", { name: "acme/shop", lakefs: name, visibility: "public" });
  const work = await tempFolder(t);
  await git(["clone", "-q", server.at(`lakefs/${name}`, admin), join(work, "work")], {
    env: { GIT_LFS_SKIP_SMUDGE: "1" },
  });
  await git(["push", "-q", "origin", "HEAD:refs/notes/x"], { cwd: join(work, "work") });
  const refs = await git(["ls-remote", server.at(`lakefs/${name}`, rita)]);
  t.match(refs, "refs/notes/x");
  const { href } = await batch(server, "acme/shop", undefined);
  t.not(href, "");
  return {
    lakefs,
    server,
    name,
    rita,
    acme,
    refs,
    notes: "refs/notes/x",
    link: href.startsWith(server.url) ? href : "",
  };
}

/** Checks that everybody sees another repository under the name. */
async function checkAfresh(
  t: Test,
  { server, name, rita, acme, refs, notes, link }: Stage,
  branch: string,
): Promise<void> {
  const admin = server.adminToken;
  const now = await git(["ls-remote", server.at(`lakefs/${name}`, admin)]);
  t.match(now, `refs/heads/${branch}`);
  t.notMatch(now, notes, "no ref of the old one");
  for (const line of refs.split("\n")) t.notMatch(now, line.slice(0, 40), "no id of the old one");
  t.equal(
    await status(server, `lakefs/${name}`, rita),
    404,
    "what was granted was granted in the old one",
  );
  t.equal(await status(server, "acme/shop"), 401, "a name of the old one leads nowhere");
  t.equal(await status(server, "acme/shop", acme), 404, "for its owner neither");
  t.same(await server.command("repo.access", { name: `lakefs/${name}` }), {
    name: `lakefs/${name}`,
    visibility: "private",
    grants: [],
  });
  t.equal(
    (await batch(server, `lakefs/${name}`, admin)).error,
    404,
    "no LFS object of the old one",
  );
  if (link !== "")
    t.ok(
      [403, 404].includes(
        (await fetch(new URL(new URL(link).pathname + new URL(link).search, server.url))).status,
      ),
      "nor by a link to it",
    );
  const old = refs.slice(0, 40);
  const reply = await fetch(`${server.url}/api/repos/lakefs/${name}/commits/${old}`, {
    headers: { Authorization: `Bearer ${admin}` },
  });
  t.equal(reply.status, 404, "no commit of the old one");
  const clone = join(await tempFolder(t), "clone");
  await git(["clone", "-q", server.at(`lakefs/${name}`, admin), clone]);
  t.equal(await git(["show", `origin/${branch}:b.txt`], { cwd: clone }), "new");
  t.equal((await tryGit(["cat-file", "-e", old], { cwd: clone })).code === 0, false);
}

for (const blocks of blockStores) {
  t.test(
    `made again while the server runs, and what is done with the old one (${blocks} blocks)`,
    { skip: skipLakefs, timeout: 300_000 },
    async (t) => {
      const lakefs = await startLakefs(t, blocks, NO_CACHE);
      const scene = await stage(t, lakefs);
      const { server, name, rita, acme } = scene;
      const old = await folderOf(server.data, `lakefs/${name}`);
      const mirror = join(await tempFolder(t), "mirror");
      await git(["clone", "-q", "--mirror", server.at(`lakefs/${name}`, rita), mirror]);
      await remove(lakefs, name);
      await new Promise((wake) => setTimeout(wake, 1_200));
      t.equal(await status(server, `lakefs/${name}`, rita), 404, "gone");
      t.equal(
        await status(server, "acme/shop"),
        404,
        "gone under another name, for who may read that",
      );
      t.equal(
        await status(server, "acme/nothing"),
        401,
        "which is another answer than that for what is not there",
      );
      t.not((await tryGit(["fetch", "-q", "--prune"], { cwd: mirror })).code, 0);
      t.match(
        await git(["for-each-ref"], { cwd: mirror }),
        "refs/heads/main",
        "a mirror keeps what it has",
      );
      t.match(await git(["for-each-ref"], { cwd: mirror }), "refs/notes/x");

      await make(lakefs, name, { "b.txt": "new\n" }, "trunk");
      await checkAfresh(t, scene, "trunk");
      t.not(await folderOf(server.data, `lakefs/${name}`), old, "another id");
      t.ok(existsSync(old), "what was read of the old one waits for the grace");
      t.match(
        server.log(),
        /deleted and made again under its name; what was known of the old one is set aside/,
      );

      t.test("adopt gives the new one grants, visibility and names of the old", async (t) => {
        t.same(await server.command("repo.adopt", { name: `lakefs/${name}` }), {
          name: `lakefs/${name}`,
          outcome: "inherited",
          names: ["acme/shop"],
          taken: [],
        });
        t.match(await git(["ls-remote", server.at(`lakefs/${name}`, rita)]), "refs/heads/trunk");
        t.match(
          await git(["ls-remote", server.at("acme/shop")]),
          "refs/heads/trunk",
          "public again, and it leads to the new one",
        );
        t.equal(
          (await batch(server, "acme/shop", undefined)).error,
          404,
          "contents of the old one are not adopted",
        );
      });

      t.test(
        "another time, with the same default branch; a name that was given away stays; forget removes the old one at once",
        async (t) => {
          await remove(lakefs, name);
          await make(lakefs, name, {
            "b.txt": "new\n",
            "c.txt": `${randomBytes(8).toString("hex")}\n`,
          });
          await new Promise((wake) => setTimeout(wake, 1_200));
          t.equal(await status(server, `lakefs/${name}`, rita), 404, "in the same second too");
          await server.command("repo.create", { name: "acme/shop", visibility: "public" });
          t.same(await server.command("repo.adopt", { name: `lakefs/${name}` }), {
            name: `lakefs/${name}`,
            outcome: "inherited",
            names: [],
            taken: ["acme/shop"],
          });
          t.equal(
            await git(["ls-remote", server.at("acme/shop")]),
            "",
            "it is what was made of it meanwhile",
          );
          const gone = await server.command("repo.forget", { name: `lakefs/${name}` });
          t.match(gone, { name: `lakefs/${name}`, repositories: 2 });
          t.ok(gone.removed_files > 0);
          t.notOk(existsSync(old));
          t.match(
            await git(["ls-remote", server.at(`lakefs/${name}`, rita)]),
            "refs/heads/main",
            "what was adopted stays",
          );
          await t.rejects(server.command("repo.forget", { name: `lakefs/${name}` }), {
            code: "repository/not-set-aside",
          });
          await t.rejects(server.command("repo.adopt", { name: `lakefs/${name}` }), {
            code: "repository/not-set-aside",
          });
          t.equal(await status(server, "acme/shop", acme), 200);
        },
      );
    },
  );

  t.test(
    `made again while no server runs (${blocks} blocks)`,
    { skip: skipLakefs, timeout: 300_000 },
    async (t) => {
      const lakefs = await startLakefs(t, blocks, NO_CACHE);
      const scene = await stage(t, lakefs);
      await scene.server.stop();
      await remove(lakefs, scene.name);
      await make(lakefs, scene.name, { "b.txt": "new\n" });
      const server = await startGuarded(t, {
        data: scene.server.data,
        env: { ...settingsFor(lakefs), LAKEPACK_LAKEFS_POLL_SECONDS: "1" },
      });
      await checkAfresh(
        t,
        { ...scene, server: { ...server, adminToken: scene.server.adminToken } },
        "main",
      );
    },
  );
}

t.test(
  "a KohakuHub's repository: what was opened under its name there is not open when it is made again",
  { skip: skipLakefs, timeout: 300_000 },
  async (t) => {
    const lakefs = await startLakefs(t, "local", NO_CACHE);
    const repository = kohakuHubName("model", "org/data");
    const env = {
      ...settingsFor(lakefs),
      LAKEPACK_NAMING: "kohakuhub",
      LAKEPACK_LAKEFS_POLL_SECONDS: "1",
    };
    const server = await startGuarded(t, { env });
    const rita = await server.user("rita");
    await make(lakefs, repository, { "a.txt": "old\n" });
    t.equal(await status(server, "org/data"), 401);
    await server.command("repo.visibility", { name: "org/data", visibility: "public" });
    await server.command("repo.grant", { name: "org/data", user: "rita", role: "read" });
    t.match(await git(["ls-remote", server.at("org/data")]), "refs/heads/main");
    await remove(lakefs, repository);
    await new Promise((wake) => setTimeout(wake, 1_200));
    t.equal(await status(server, "org/data"), 404, "gone");
    await make(lakefs, repository, { "b.txt": "new\n" });
    t.equal(await status(server, "org/data"), 401);
    t.equal(await status(server, "org/data", rita), 404);
    t.match(await git(["ls-remote", server.at("org/data", server.adminToken)]), "refs/heads/main");
    t.match(await server.command("repo.adopt", { name: `lakefs/${repository}` }), {
      names: ["org/data"],
    });
    t.match(await git(["ls-remote", server.at("org/data")]), "refs/heads/main", "adopted");
  },
);

async function dump(lakefs: RunningLakefs, name: string): Promise<unknown> {
  const { id } = await api(lakefs, "POST", `/repositories/${name}/dump`);
  for (;;) {
    const { done, refs } = await api(
      lakefs,
      "GET",
      `/repositories/${name}/dump?task_id=${String(id)}`,
    );
    if (done === true) return refs;
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

async function restore(lakefs: RunningLakefs, name: string, refs: unknown): Promise<void> {
  const { id } = await api(lakefs, "POST", `/repositories/${name}/restore`, refs);
  for (;;) {
    const { done, error } = await api(
      lakefs,
      "GET",
      `/repositories/${name}/restore?task_id=${String(id)}`,
    );
    if (error !== undefined && error !== "") throw new Error(String(error));
    if (done === true) return;
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

t.test(
  "restored from a dump: what it was, and no moment of being empty",
  { skip: skipLakefs, timeout: 300_000 },
  async (t) => {
    const lakefs = await startLakefs(t, "local", NO_CACHE);
    const { server, name, rita, refs } = await stage(t, lakefs);
    const mirror = join(await tempFolder(t), "mirror");
    await git(["clone", "-q", "--mirror", server.at(`lakefs/${name}`, rita), mirror]);
    const { storage_namespace: namespace } = await lakefs.client.in(name).getRepository(signal);
    const dumped = await dump(lakefs, name);
    await remove(lakefs, name);
    await new Promise((wake) => setTimeout(wake, 1_200));
    await api(lakefs, "POST", "/repositories?bare=true", {
      name,
      storage_namespace: namespace,
      default_branch: "main",
    });
    const bare = await tryGit(["ls-remote", server.at(`lakefs/${name}`, rita)]);
    t.not(bare.code, 0, "a bare one is shown to nobody");
    t.match(bare.stderr, /503|being deleted or restored/);
    t.not((await tryGit(["fetch", "-q", "--prune"], { cwd: mirror })).code, 0);
    await restore(lakefs, name, dumped);
    await new Promise((wake) => setTimeout(wake, 1_200));
    t.equal(
      await git(["ls-remote", server.at(`lakefs/${name}`, rita)]),
      refs,
      "the same ids, for the same readers, refs that are only here too",
    );
    t.match(
      await git(["ls-remote", server.at("acme/shop")]),
      "refs/heads/main",
      "other names lead to it",
    );
    t.match(server.log(), /was restored: its first commit is the same/);
    const { href } = await batch(server, "acme/shop", undefined);
    t.equal(
      createHash("sha256")
        .update(Buffer.from(await (await fetch(href)).arrayBuffer()))
        .digest("hex"),
      OID,
    );
    await git(["fetch", "-q", "--prune"], { cwd: mirror });
    const work = join(await tempFolder(t), "work");
    await git(["clone", "-q", server.at(`lakefs/${name}`, server.adminToken), work]);
    await commit(work, "after", { "after.txt": "after\n" });
    await git(["push", "-q", "origin", "main"], { cwd: work });
  },
);

t.test(
  "under deletion, and in the seconds after it in which lakeFS believes that it is there",
  { skip: skipLakefs, timeout: 300_000 },
  async (t) => {
    const lakefs = await startLakefs(t); // with its cache
    const proxy = await startProxy(t, lakefs);
    const { server, name, rita } = await stage(t, lakefs, undefined, proxy.url);
    const mirror = join(await tempFolder(t), "mirror");
    await git(["clone", "-q", "--mirror", server.at(`lakefs/${name}`, rita), mirror]);
    const pruned = async () => (await tryGit(["fetch", "-q", "--prune"], { cwd: mirror })).code;
    proxy.onCall = ({ path }) =>
      new RegExp(`/repositories/${name}$`).test(path)
        ? { as: "answer", status: 410, body: '{"message":"repository in deletion"}' }
        : undefined;
    await new Promise((wake) => setTimeout(wake, 1_200));
    t.equal(await status(server, `lakefs/${name}`, rita), 503);
    t.not(await pruned(), 0);
    proxy.onCall = ({ path }) =>
      path.includes(`/repositories/${name}`)
        ? { as: "answer", status: 410, body: '{"message":"repository in deletion"}' }
        : undefined;
    t.ok((await status(server, `lakefs/${name}`, rita)) >= 500);
    proxy.onCall = () => undefined;
    await new Promise((wake) => setTimeout(wake, 1_200));
    t.equal(
      await status(server, `lakefs/${name}`, rita),
      200,
      "what an error said of a moment is forgotten with it",
    );

    await remove(lakefs, name);
    const seen = new Set<number>();
    for (const ends = Date.now() + 10_000; Date.now() < ends; ) {
      seen.add(await status(server, `lakefs/${name}`, rita));
      t.not(await pruned(), 0, "a mirror keeps what it has");
      await new Promise((wake) => setTimeout(wake, 200));
    }
    t.comment(`seen: ${[...seen].join(" ")}`);
    t.notOk(seen.has(200), "never an empty repository");
    t.ok(seen.has(404), "and in the end it is gone");
    t.match(await git(["for-each-ref"], { cwd: mirror }), "refs/heads/main");
  },
);

t.test("made again while a push runs", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const lakefs = await startLakefs(t, "local", NO_CACHE);
  const proxy = await startProxy(t, lakefs);
  const { server, name } = await stage(t, lakefs, undefined, proxy.url);
  const token = server.adminToken;
  const branches = async () => {
    const found: string[] = [];
    for await (const { id } of lakefs.client.in(name).listBranches({ hidden: true }, signal))
      if (!id.startsWith("lakepack-")) found.push(id);
    return found;
  };
  const work = join(await tempFolder(t), "work");
  await git(["clone", "-q", server.at(`lakefs/${name}`, token), work]);
  const oid = await commit(work, "two", { "d.bin": randomBytes(40_000).toString("hex") });
  const again = async () => {
    await remove(lakefs, name);
    await make(lakefs, name, {});
  };

  await t.test("while its pack is on the way", async (t) => {
    const refs = ["refs/heads/side", "refs/tags/v1"];
    const report = await slowPush(t, server, {
      work,
      repository: `lakefs/${name}`,
      token,
      refs,
      oid,
      between: again,
    });
    t.equal(report.refs.length, 2);
    for (const line of report.refs)
      t.match(
        line,
        /^ng refs\/\S+ the right to push has ended while the push ran: repository not found .*another one has its name now/,
      );
    t.same(await branches(), ["main"], "nothing landed in the new one");
  });

  await t.test("while an LFS object is on the way", async (t) => {
    const content = randomBytes(200_000);
    const object = {
      oid: createHash("sha256").update(content).digest("hex"),
      size: content.length,
    };
    const headers = { "Content-Type": MEDIA, Authorization: `Bearer ${token}` };
    const body = JSON.stringify({ operation: "upload", objects: [object] });
    const reply = await fetch(`${server.url}/lakefs/${name}.git/info/lfs/objects/batch`, {
      method: "POST",
      headers,
      body,
    });
    const { objects } = (await reply.json()) as {
      objects: readonly { actions: { upload: { href: string } } }[];
    };
    const { pathname, search } = new URL(objects[0]?.actions.upload.href ?? "");
    const client = new RawClient(server.port).send(
      `PUT ${pathname}${search} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${content.length}\r\n\r\n`,
    );
    t.teardown(() => client.close());
    await client.sent(content.subarray(0, 100_000));
    await new Promise((wake) => setTimeout(wake, 300));
    await again();
    t.ok((await client.send(content.subarray(100_000)).response()).status >= 400);
    t.equal(
      (await batch(server, `lakefs/${name}`, token, object.oid, object.size)).error,
      404,
      "the new one does not have it",
    );
  });

  await t.test("while a clone waits for it to be read: it is told why it ended", async (t) => {
    await again();
    const files = Object.fromEntries(
      Array.from({ length: 40 }, (_, at) => [`f${at}.txt`, `${at}\n`]),
    );
    await remove(lakefs, name);
    await make(lakefs, name, files);
    let swapped: Promise<void> | undefined;
    proxy.onCall = ({ method, path }) => {
      if (method !== "GET" || !/\/repositories\/[^/]+\/(refs|metadata|commits)\//.test(path))
        return undefined;
      swapped ??= again();
      return { as: "late", ms: 4_000 };
    };
    const clone = await tryGit([
      "clone",
      server.at(`lakefs/${name}`, token),
      join(await tempFolder(t), "work"),
    ]);
    proxy.onCall = () => undefined;
    t.not(swapped, undefined, "it came in between");
    await swapped;
    t.notMatch(clone.stderr, /499/);
    if (clone.code !== 0)
      t.match(
        clone.stderr,
        /error: (409|404|503)|made again while this request ran|not found|gone from its storage/,
        clone.stderr,
      );
    t.comment(clone.stderr);
  });

  for (const [when, pattern] of [
    ["while its files are uploaded", /\/branches\/lakepack-work-[^/]*\/objects/],
    ["before its commit point", /\/refs\/[^/]*\/merge\//],
  ] as const) {
    await t.test(when, async (t) => {
      await remove(lakefs, name);
      await make(lakefs, name, { "a.txt": "old\n" });
      const here = join(await tempFolder(t), "work");
      // The server may find out in the middle of it that this is another repository, and says: ask
      // again.
      for (let attempt = 1; ; attempt++) {
        const clone = await tryGit(["clone", "-q", server.at(`lakefs/${name}`, token), here]);
        if (clone.code === 0) break;
        t.match(clone.stderr, /error: 409|made again while this request ran/, clone.stderr);
        if (attempt === 5) throw new Error(clone.stderr);
      }
      await commit(here, "two", { "d.txt": `${when}\n` });
      let swapped: Promise<void> | undefined;
      proxy.onCall = ({ method, path }) => {
        if (swapped !== undefined || method !== "POST" || !pattern.test(path)) return undefined;
        swapped = again();
        return { as: "late", ms: 3_000 };
      };
      const push = await tryGit(["push", "origin", "main", "HEAD:refs/heads/other"], { cwd: here });
      proxy.onCall = () => undefined;
      t.not(swapped, undefined, "it came in between");
      await swapped;
      t.not(push.code, 0, push.stderr);
      t.comment(push.stderr);
      const files = (
        await lakefs.client
          .in(name)
          .listObjects(
            (
              await lakefs.client.in(name).getBranch("main", signal)
            ).commit_id,
            "",
            signal,
          )
      ).results;
      t.same(files, [], "nothing landed in the new one");
      t.same(await branches(), ["main"]);
    });
  }
});
