/**
 * Two servers on one PostgreSQL, each with its own data folder: what was changed through one counts
 * for the next request to the other. And what the database's outage looks like to clients.
 */
import { createHash, randomBytes } from "node:crypto";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { commit, git, logShows, startLakepack, tryGit } from "../support/harness.js";
import { lakepack } from "../support/lakepack-command.js";
import { Postgres, postgresDatabase, skipPostgres } from "../support/postgres.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(300_000);
const onPostgres = { skip: skipPostgres };
const MEDIA = "application/vnd.git-lfs+json";

interface Nodes {
  readonly a: Guarded;
  readonly b: Guarded;
  readonly url: string;
}

async function startNodes(t: Test): Promise<Nodes> {
  const url = await postgresDatabase();
  const env = { LAKEPACK_DATABASE: url, LAKEPACK_REPOSITORIES_PER_USER: "3" };
  return { a: await startGuarded(t, { env }), b: await startGuarded(t, { env }), url };
}

/** What was pushed to one is there for the other too. */
async function copyStore({ a, b }: Nodes): Promise<void> {
  await cp(join(a.data, "repos"), join(b.data, "repos"), { recursive: true });
}

/** Status of the refs of a repository, and what was said. */
async function refs(server: Guarded, name: string, token?: string) {
  const authorization = token && `Basic ${Buffer.from(`x:${token}`).toString("base64")}`;
  const reply = await fetch(`${server.url}/${name}.git/info/refs?service=git-upload-pack`, {
    headers: authorization ? { authorization } : {},
  });
  return { status: reply.status, text: await reply.text() };
}

const statusOf = async (server: Guarded, name: string, token?: string) =>
  (await refs(server, name, token)).status;

async function settingsOf(server: Guarded, name: string, token: string): Promise<unknown> {
  const reply = await fetch(`${server.url}/api/repos/${name}/settings`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return reply.json();
}

async function pushed(t: Test, nodes: Nodes, name: string, token: string): Promise<string> {
  const work = await tempFolder(t);
  await git(["init", "-q", "-b", "main", work]);
  await commit(work, "one", { "a.txt": "a" });
  await git(["-C", work, "push", "-q", nodes.a.at(name, token), "main"]);
  await copyStore(nodes);
  return work;
}

t.test("rights, names and settings of one node count on the other", onPostgres, async (t) => {
  const nodes = await startNodes(t);
  const { a, b } = nodes;
  const ada = await a.user("ada", { scope: "admin" });
  const bob = await a.user("bob");
  const name = "ada/x";
  const work = await pushed(t, nodes, name, ada);

  t.equal(await statusOf(b, name, ada), 200, "a token made on the other");
  t.equal(await statusOf(b, name), 401);
  for (const [visibility, status] of [
    ["public", 200],
    ["private", 401],
  ] as const) {
    await a.command("repo.visibility", { name, visibility });
    t.equal(await statusOf(b, name), status, visibility);
  }

  t.equal(await statusOf(b, name, bob), 404);
  await a.command("repo.grant", { name, user: "bob", role: "read" });
  t.equal(await statusOf(b, name, bob), 200);
  const pushing = ["-C", work, "push", b.at(name, bob), "main:bobs"];
  t.match((await tryGit(pushing)).code, 128, "who may read may not write");
  await a.command("repo.grant", { name, user: "bob", role: "write" });
  t.match(await tryGit(pushing), { code: 0 });
  await a.command("repo.grant", { name, user: "bob", role: null });
  t.equal(await statusOf(b, name, bob), 404);

  t.match(await settingsOf(b, name, ada), { lfs_missing_objects: { value: "refuse" } });
  await a.command("repo.set", { name, settings: { lfs_missing_objects: "warn" } });
  t.match(await settingsOf(b, name, ada), {
    lfs_missing_objects: { value: "warn", from: "repository" },
  });

  await a.command("user.change", { name: "ada", disabled: true });
  t.match(await refs(b, name, ada), { status: 401, text: /its user is disabled/ });
  await a.command("user.change", { name: "ada", disabled: false });
  t.equal(await statusOf(b, name, ada), 200);

  await b.command("repo.delete", { name });
  t.equal(await statusOf(a, name, ada), 404);
  t.equal(await statusOf(b, name, ada), 404);
  await a.command("repo.adopt", { name });
  t.equal(await statusOf(b, name, ada), 200);
  await a.command("repo.delete", { name });
  await a.command("repo.create", { name });
  await copyStore(nodes);
  t.notMatch(await refs(b, name, ada), { text: /refs\/heads\/main/ }, "another one, of this name");

  const [{ id } = { id: "" }] = await a.command("token.list", { user: "ada", after: "" });
  await a.command("token.revoke", { id });
  t.match(await refs(b, name, ada), { status: 401, text: /it was revoked/ });
});

t.test("a namespace has room for as many as may be, whoever makes them", onPostgres, async (t) => {
  const { a, b } = await startNodes(t);
  const make = (server: Guarded, name: string) =>
    server.command("repo.create", { name }).then(
      () => "made",
      ({ code }: { code: string }) => code,
    );
  const outcomes = await Promise.all(
    Array.from({ length: 8 }, (_, at) => make(at % 2 === 0 ? a : b, `ada/${at}`)),
  );
  t.equal(outcomes.filter((outcome) => outcome === "made").length, 3);
  t.equal(outcomes.filter((outcome) => outcome === "repository/too-many").length, 5);
});

t.test("a link of Git LFS from one node leads through the other", onPostgres, async (t) => {
  const { a, b } = await startNodes(t);
  const ada = await a.user("ada");
  await a.command("repo.create", { name: "ada/x" });
  const content = randomBytes(1_000);
  const oid = createHash("sha256").update(content).digest("hex");
  const reply = await fetch(`${a.url}/ada/x.git/info/lfs/objects/batch`, {
    method: "POST",
    headers: { "Content-Type": MEDIA, Accept: MEDIA, Authorization: `Bearer ${ada}` },
    body: JSON.stringify({
      operation: "upload",
      transfers: ["basic"],
      objects: [{ oid, size: content.length }],
    }),
  });
  const { objects } = (await reply.json()) as {
    objects: readonly { actions: { upload: { href: string } } }[];
  };
  const href = objects[0]?.actions.upload.href.replace(a.url, b.url) ?? "";
  t.equal((await fetch(href, { method: "PUT", body: content })).status, 200);
  const [{ id } = { id: "" }] = await a.command("token.list", { user: "ada", after: "" });
  await a.command("token.revoke", { id });
  const again = await fetch(href, { method: "PUT", body: content });
  t.match([again.status, await again.text()], [403, /the right behind this link has ended/]);
});

t.test("nobody is asked who he is, and names change all the same", onPostgres, async (t) => {
  const env = { LAKEPACK_DATABASE: await postgresDatabase() };
  const [a, b] = [
    await startGuarded(t, { env: { ...env, LAKEPACK_AUTH: "none" } }),
    await startGuarded(t, { env: { ...env, LAKEPACK_AUTH: "none" } }),
  ];
  const name = "ada/x";
  t.equal(await statusOf(b, name), 404);
  await a.command("repo.create", { name });
  await copyStore({ a, b, url: "" });
  t.equal(await statusOf(b, name), 200, "what was not there is not remembered");
  await a.command("repo.delete", { name });
  t.equal(await statusOf(b, name), 404, "nor what was");
});

t.test(
  "two that start at once show one first token; a third machine's command counts",
  onPostgres,
  async (t) => {
    const url = await postgresDatabase();
    const env = { LAKEPACK_AUTH: "token", LAKEPACK_DATABASE: url };
    const both = await Promise.all([startLakepack(t, { env }), startLakepack(t, { env })]);
    const shown = both.flatMap((server) => server.out().match(/lpk_[a-z2-7]{32}/g) ?? []);
    t.equal(shown.length, 1);
    const authorization = `Bearer ${shown[0]}`;
    for (const server of both) {
      const reply = await fetch(`${server.url}/api/repos/ada/none`, { headers: { authorization } });
      t.match([reply.status, await reply.text()], [404, /repository not found/], "it signs in");
    }
    const third = ["--data", join(await tempFolder(t), "data")];
    t.match(await lakepack(["user", "create", "ada", ...third], { LAKEPACK_DATABASE: url }), {
      code: 0,
      out: "created ada\n",
    });
    const made = await lakepack(["token", "create", "ada", ...third], { LAKEPACK_DATABASE: url });
    const reply = await fetch(`${both[0]?.url}/api/repos/ada/none`, {
      headers: { authorization: `Bearer ${made.out.trim()}` },
    });
    t.equal(reply.status, 404, "who is known is told that it is not there");
  },
);

t.test("an outage is told as one, by both nodes' doors, and passes", onPostgres, async (t) => {
  const server = await Postgres.start();
  t.teardown(() => server.remove());
  const url = await server.database();
  const env = { LAKEPACK_DATABASE: url };
  const guarded = await startGuarded(t, { env });
  const open = await startGuarded(t, { env: { ...env, LAKEPACK_AUTH: "none" } });
  const ada = await guarded.user("ada");
  await guarded.command("repo.create", { name: "ada/x" });
  t.equal(await statusOf(guarded, "ada/x", ada), 200);
  await server.stop();
  const away = { status: 503, text: /the database does not answer/ };
  for (const [what, node, name, token] of [
    ["a token that holds", guarded, "ada/x", ada],
    ["a token that does not", guarded, "ada/x", `lpk_${"a".repeat(32)}`],
    ["nobody signed in", guarded, "ada/x", undefined],
    ["what is not there", guarded, "ada/none", ada],
    ["a node that asks nobody", open, "ada/x", undefined],
  ] as const)
    t.match(await refs(node, name, token), away, what);
  t.match(await tryGit(["ls-remote", guarded.at("ada/x", ada)]), { code: 128, stderr: /503/ });
  await t.rejects(guarded.command("user.create", { name: "bob", admin: false }), {
    code: "database/unreachable",
  });
  const ready = await fetch(`${guarded.url}/readyz`);
  t.match([ready.status, await ready.text()], [503, /the database cannot be written/]);
  t.ok(await logShows(guarded, /a connection to the database was lost/));
  const doctor = ["doctor", "--data", guarded.data];
  t.match(await lakepack(doctor, { LAKEPACK_DATABASE: url }), {
    code: 1,
    out: /BAD {3}database: 127\.0\.0\.1:\d+\/\w+: the database does not answer/,
  });
  await server.resume();
  t.equal(await statusOf(guarded, "ada/x", ada), 200);
  t.equal(await statusOf(open, "ada/none"), 404);
  t.match(await lakepack(doctor, { LAKEPACK_DATABASE: url }), {
    out: /good {2}database: PostgreSQL \d+\S* at 127\.0\.0\.1:/,
  });
  for (const node of [guarded, open]) t.notMatch(node.log() + node.out(), /for-tests-only/);
});
