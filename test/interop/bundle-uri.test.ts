/**
 * bundle-uri: what is offered to whom, what stock Git says of the files, and how little is fetched
 * after them. On both front ends.
 */
import { randomBytes } from "node:crypto";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { frontEnds } from "../support/everyday.js";
import { skipFleet, startFleet } from "../support/fleet-rig.js";
import {
  checkFsck,
  commit,
  folderOf,
  git,
  logShows,
  remoteRefs,
  tryGit,
} from "../support/harness.js";
import { lakepack } from "../support/lakepack-command.js";
import { request, textLines } from "../support/scripted-client.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(600_000);

const ON = { LAKEPACK_BUNDLE_URI: "true" };
const MIB = 1024 * 1024;

interface Offered {
  readonly id: string;
  readonly uri: string;
  readonly token: number;
}

interface Place {
  readonly server: Pick<Guarded, "url">;
  readonly name: string;
}

interface Scene extends Place {
  readonly server: Guarded;
  readonly token: string;
  readonly work: string;
  push(...refs: string[]): Promise<void>;
}

async function scene(t: Test, args: readonly string[] = []): Promise<Scene> {
  const server = await startGuarded(t, { args, env: ON });
  const token = await server.user("ada");
  const name = "ada/model";
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "first", { "a.txt": "one\n", "b.bin": randomBytes(200_000).toString("hex") });
  await git(["tag", "-a", "-m", "one", "v1"], { cwd: work });
  const push = async (...refs: string[]) => {
    await git(["push", "-q", "--force", server.at(name, token), ...refs], { cwd: work });
  };
  await push("main", "main:refs/heads/side", "v1");
  return { server, name, token, work, push };
}

function headers(token: string | undefined): Record<string, string> {
  return {
    "content-type": "application/x-git-upload-pack-request",
    "git-protocol": "version=2",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
}

async function advertised({ server, name }: Place, token?: string): Promise<readonly string[]> {
  const url = `${server.url}/${name}.git/info/refs?service=git-upload-pack`;
  const reply = await fetch(url, { headers: headers(token) });
  return textLines(new Uint8Array(await reply.arrayBuffer())).lines;
}

async function ask({ server, name }: Place, token?: string): Promise<readonly string[]> {
  const reply = await fetch(`${server.url}/${name}.git/git-upload-pack`, {
    method: "POST",
    headers: headers(token),
    body: new Uint8Array(request(["command=bundle-uri", "object-format=sha1", "delim", "flush"])),
  });
  return textLines(new Uint8Array(await reply.arrayBuffer())).lines;
}

async function offered(scene: Place, token?: string): Promise<readonly Offered[]> {
  const lines = await ask(scene, token);
  const values = new Map(
    lines.map((line): [string, string] => {
      const [key = "", ...rest] = line.split("=");
      return [key, rest.join("=")];
    }),
  );
  return [...values.keys()].flatMap((key) => {
    const id = /^bundle\.(\w+)\.uri$/.exec(key)?.[1];
    if (id === undefined) return [];
    const token = Number(values.get(`bundle.${id}.creationToken`));
    return [{ id, uri: values.get(key) as string, token }];
  });
}

async function download(t: Test, { uri, id }: Offered): Promise<string> {
  const reply = await fetch(uri);
  t.equal(reply.status, 200, "the bundle is served");
  const file = join(await tempFolder(t), `${id}.bundle`);
  await writeFile(file, new Uint8Array(await reply.arrayBuffer()));
  return file;
}

const statusOf = async (uri: string) => (await fetch(uri)).status;

for (const kind of frontEnds) {
  t.test(`a clone reads bundles and fetches the rest (${kind})`, async (t) => {
    const at = await scene(t, ["--transport", kind]);
    const { server, name, token, work, push } = at;
    const bundle = () => server.command("repo.bundle", { name });
    await t.test("bundle-uri", async (t) => {
      t.notOk((await advertised(at, token)).includes("bundle-uri"), "before there is one");
      t.same(await offered(at, token), []);
      t.match(await bundle(), { name, kind: "clone" });
      t.match(await bundle(), { name, kind: null, bytes: null }, "all of it is in one");
      t.ok((await advertised(at, token)).includes("bundle-uri"));
      t.same((await ask(at, token)).slice(0, 3), [
        "bundle.version=1",
        "bundle.mode=all",
        "bundle.heuristic=creationToken",
      ]);
    });
    const [first] = (await offered(at, token)) as [Offered];
    const file = await download(t, first);
    t.match(
      await git(["bundle", "verify", file], { cwd: work }),
      /complete history/,
      "stock Git finds it whole",
    );
    t.same(
      (await git(["bundle", "list-heads", file])).split("\n"),
      (await remoteRefs(server.at(name, token)))
        .filter((line) => !line.endsWith("^{}"))
        .map((line) => line.replace("\t", " ")),
      "with HEAD, branches and tags",
    );

    await commit(work, "second", { "a.txt": "two\n" });
    await push("main");
    t.match(await bundle(), { kind: "catch-up" });
    await commit(work, "third", { "a.txt": "three\n" });
    await push("main");
    const [again, later] = (await offered(at, token)) as [Offered, Offered];
    t.equal(again.id, first.id);
    t.ok(later.token > again.token, "the later one has the larger token");

    const clone = join(await tempFolder(t), "clone");
    await git(["clone", "-q", "--bare", file, clone]);
    const catchUp = await download(t, later);
    t.equal((await tryGit(["bundle", "verify", catchUp], { cwd: clone })).code, 0);
    await git(["fetch", "-q", catchUp, "+refs/heads/*:refs/heads/*"], { cwd: clone });
    const trace = { env: { GIT_TRACE_PACKET: "1" }, cwd: clone };
    const rest = await tryGit(
      ["fetch", "--progress", server.at(name, token), "+refs/*:refs/*"],
      trace,
    );
    t.equal(rest.code, 0);
    t.match(rest.stderr, /Total 3 /, "one commit, one tree, one file");
    t.equal(
      await git(["rev-parse", "main"], { cwd: clone }),
      await git(["rev-parse", "main"], { cwd: work }),
    );
    await checkFsck(t, clone);

    const stock = join(await tempFolder(t), "stock");
    const cloned = await tryGit(
      ["clone", "--progress", `--bundle-uri=${first.uri}`, server.at(name, token), stock],
      trace,
    );
    t.equal(cloned.code, 0, "stock Git reads the file over HTTP by itself");
    t.match(cloned.stderr, /Total 7 /, "and fetches two commits behind it, and the tag");
    await checkFsck(t, stock);

    const part = await fetch(first.uri, { headers: { range: "bytes=0-14" } });
    t.equal(part.status, 206);
    t.equal(await part.text(), "# v2 git bundle");
  });

  t.test(`a link is for one who may read, and for one bundle (${kind})`, async (t) => {
    const at = await scene(t, ["--transport", kind]);
    const { server, name, token, push, work } = at;
    const rita = await server.user("rita");
    const [shown] = await server.command("token.list", { user: "rita", after: "" });
    await server.command("repo.bundle", { name });
    const nothing = await fetch(`${server.url}/${name}.git/git-upload-pack`, {
      method: "POST",
      headers: headers(undefined),
      body: new Uint8Array(request(["command=bundle-uri", "delim", "flush"])),
    });
    t.equal(nothing.status, 401, "nobody else is told of it");
    t.same(await offered(at, rita), [], "nor who may not read");
    await server.command("repo.grant", { name, user: "rita", role: "read" });
    const [{ uri }] = (await offered(at, rita)) as [Offered];
    t.equal(await statusOf(uri), 200);

    const forged = [
      uri.replace(/\?proof=.*/, ""),
      uri.replace(/proof=(\d+)/, (_, ends: string) => `proof=${Number(ends) + 1}`),
      uri.replace(/[0-9a-f](?=.{3}$)/, (digit) => (digit === "0" ? "1" : "0")),
      uri.replace(/bundles\/./, (text) => `bundles/${text.endsWith("0") ? "1" : "0"}`),
      uri.replace("ada/model", "ada/other"),
      uri.replace(/\/(\d+)\?/, (_, bytes: string) => `/${Number(bytes) + 1}?`),
    ];
    for (const link of forged) t.equal(await statusOf(link), 403, link);

    await git(["push", "-q", server.at("ada/other", token), "main"], { cwd: work });
    await server.command("repo.bundle", { name: "ada/other" });
    t.equal(await statusOf(uri.replace("ada/model", "ada/other")), 403, "of another repository");

    await server.command("repo.grant", { name, user: "rita", role: null });
    t.equal(await statusOf(uri), 404, "the right has ended");
    await server.command("repo.grant", { name, user: "rita", role: "read" });
    t.equal(await statusOf(uri), 200);
    await server.command("token.revoke", { id: shown?.id ?? "" });
    t.equal(await statusOf(uri), 403, "the token was revoked");

    const [own] = (await offered(at, token)) as [Offered];
    t.equal(await statusOf(own.uri), 200);
    await server.command("repo.delete", { name });
    t.equal(await statusOf(own.uri), 404, "the repository is set aside");
    await push("main"); // another one has its name now
    t.equal(await statusOf(own.uri), 403, "and its link leads nowhere");
  });
}

t.test("what a deleted ref had leaves in no bundle", async (t) => {
  const at = await scene(t);
  const { server, name, token, work, push } = at;
  const bundle = () => server.command("repo.bundle", { name });
  const main = await git(["rev-parse", "main"], { cwd: work });
  await bundle();
  await git(["checkout", "-q", "-b", "secret"], { cwd: work });
  await commit(work, "secret", { "secret.txt": randomBytes(400_000).toString("hex") });
  await push("secret");
  t.match(await bundle(), { kind: "catch-up" });
  const [first, second] = (await offered(at, token)) as [Offered, Offered];
  t.equal(await statusOf(second.uri), 200);

  await push(":secret");
  t.same(
    (await offered(at, token)).map(({ id }) => id),
    [first.id],
    "it is offered no more",
  );
  t.equal(await statusOf(second.uri), 404, "and an older link is no good");
  t.equal(await statusOf(first.uri), 200, "what was before it still is");
  t.same(await server.command("repo.bundle", { name }), { name, kind: null, bytes: null });

  await push(":v1");
  t.same(await offered(at, token), [], "a tag that is gone ends it too");
  t.match((await ask(at, token)).slice(-2), ["bundle.heuristic=creationToken", "flush"]);
  t.match(await bundle(), { kind: "clone" }, "the next one stands by itself");
  const [anew] = (await offered(at, token)) as [Offered];
  t.ok(anew.token > second.token);
  t.equal((await git(["bundle", "list-heads", await download(t, anew)])).match(/refs/g)?.length, 2);

  const files = async () => readdir(join(await folderOf(server.data, name), "git/bundles"));
  t.equal((await files()).length, 3);
  await server.command("repo.collect", { name, grace_hours: 0 });
  await server.command("repo.collect", { name, grace_hours: 0 });
  t.same(await files(), [`${anew.id}.bundle`], "gc takes those that no manifest names");
  t.equal(await statusOf(anew.uri), 200);

  await git(["checkout", "-q", "--orphan", "anew"], { cwd: work });
  await commit(work, "another history", { "c.txt": "c\n" });
  await push("anew:main", ":side");
  t.same(await offered(at, token), [], "a branch that was moved away");
  await push(`${main}:refs/heads/back`);
  t.same((await offered(at, token)).length, 1, "until something reaches it again");
});

t.test("a bundle whose file is gone is named, and made again", async (t) => {
  const at = await scene(t);
  const { server, name, token } = at;
  const bundle = () => server.command("repo.bundle", { name });
  await bundle();
  const [lost] = (await offered(at, token)) as [Offered];
  await rm(join(await folderOf(server.data, name), `git/bundles/${lost.id}.bundle`));
  t.equal((await fetch(lost.uri)).ok, false);
  const verified = await lakepack(["verify", name, "--data", server.data]);
  t.equal(verified.code, 1);
  t.match(verified.out + verified.err, new RegExp(`${lost.id}.*clones do without it`, "s"));
  const clone = join(await tempFolder(t), "clone");
  await git(["clone", "-q", server.at(name, token), clone]);
  t.match(await bundle(), { kind: "clone" });
  const [anew] = (await offered(at, token)) as [Offered];
  t.equal(await statusOf(anew.uri), 200);
  t.equal((await lakepack(["verify", name, "--data", server.data])).code, 0);
});

t.test("bundles lie in the store, and any node serves them", { skip: skipFleet }, async (t) => {
  const fleet = await startFleet(t, ON);
  const [a, b] = [await fleet.node(), await fleet.node()];
  const name = "ns/fleet";
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "first", { "a.bin": randomBytes(6 * MIB).toString("base64") });
  const push = (ref: string) => git(["push", "-q", `${a.url}/${name}.git`, ref], { cwd: work });
  await push("main");
  await push("main:refs/heads/side");
  await commit(work, "second", { "b.txt": "b\n" });
  await push("main:refs/heads/more");
  t.same(await offered({ server: b, name }), []);
  const made = await lakepack(["repo", "bundle", name, "--data", a.data], fleet.env);
  t.match(made.out, /a clone bundle/, made.err);
  await remoteRefs(`${b.url}/${name}.git`); // it sees what there is
  t.ok((await advertised({ server: b, name })).includes("bundle-uri"));
  const [one] = (await offered({ server: b, name })) as [Offered];
  const file = await download(t, one);
  t.match(await git(["bundle", "verify", file], { cwd: work }), /complete history/);
  const part = await fetch(one.uri, { headers: { range: "bytes=5000000-5999999" } });
  const whole = await readFile(file);
  t.ok(Buffer.from(await part.arrayBuffer()).equals(whole.subarray(5_000_000, 6_000_000)));
  t.equal(await statusOf(one.uri.replace(b.url, a.url)), 200, "a link of one node on another");

  await push(":refs/heads/more");
  t.equal(await statusOf(one.uri), 404, "a ref deleted on one node ends it on the other");
  t.same(await offered({ server: b, name }), []);
});

t.test("a trace shows no proof", async (t) => {
  const at = await scene(t, ["--log-level", "trace"]);
  const { server, name, token } = at;
  await server.command("repo.bundle", { name });
  const [{ uri }] = (await offered(at, token)) as [Offered];
  t.equal(await statusOf(uri), 200);
  t.ok(await logShows(server, /bundle\.\w+\.uri=\S+proof=…/));
  await server.stop();
  t.notMatch(server.log(), uri.slice(-64), "nor does anything else of the log");
});

t.test("a chain that has become long is begun anew", async (t) => {
  const at = await scene(t);
  const { server, name, token, work, push } = at;
  const kinds: unknown[] = [];
  for (let turn = 0; turn < 8; turn++) {
    await commit(work, `turn ${turn}`, { "a.txt": `${turn}\n` });
    await push("main");
    kinds.push((await server.command("repo.bundle", { name })).kind);
  }
  t.same(kinds.map((kind) => (kind === "clone" ? 1 : 0)).join(""), "10000010");
  const tokens = (await offered(at, token)).map((each) => each.token);
  t.same(
    tokens,
    [...tokens].sort((left, right) => left - right),
  );
  t.equal(new Set(tokens).size, 2);
});

t.test("clones of something large make a bundle, and later ones catch up", async (t) => {
  const at = await scene(t);
  const { server, name, token, work, push } = at;
  const clone = async () =>
    git(["clone", "-q", "--bare", server.at(name, token), join(await tempFolder(t), "c")]);
  await writeFile(join(work, "large.bin"), randomBytes(17 * MIB));
  await commit(work, "large", {});
  await push("main");
  for (let turn = 0; turn < 2; turn++) await clone();
  t.same((await advertised(at, token)).includes("bundle-uri"), false, "two are not many");
  await clone();
  t.ok(await logShows(server, /"kind":"clone".*"bundle made"|"bundle made".*"kind":"clone"/));
  t.equal((await offered(at, token)).length, 1);

  await writeFile(join(work, "more.bin"), randomBytes(2 * MIB));
  await commit(work, "more", {});
  await push("main");
  for (let turn = 0; turn < 3; turn++) await offered(at, token);
  t.ok(await logShows(server, /"kind":"catch-up"/), "those who read bundles count");
  t.equal((await offered(at, token)).length, 2);
});

t.test("where bundles are not offered nothing tells of them", async (t) => {
  const server = await startGuarded(t);
  const token = await server.user("ada");
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "first", { "a.txt": "one\n" });
  const name = "ada/model";
  await git(["push", "-q", server.at(name, token), "main"], { cwd: work });
  const at = { server, name, token, work, push: async () => undefined };
  await t.rejects(server.command("repo.bundle", { name }), { code: "bundle/off" });
  t.notOk((await advertised(at, token)).includes("bundle-uri"));
  t.match((await ask(at, token))[0], /^ERR .*unknown command/);
  t.equal(await statusOf(`${server.url}/${name}.git/bundles/${"a".repeat(40)}/5`), 404);
  await server.stop();

  const made = await lakepack(["repo", "bundle", name, "--data", server.data], ON);
  t.match(made.out, /^ada\/model: a clone bundle of \d+ bytes\n$/, "without a server, by command");
  const again = await lakepack(["repo", "bundle", name, "--data", server.data, "--json"], ON);
  t.same(JSON.parse(again.out), { name, kind: null, bytes: null });
});
