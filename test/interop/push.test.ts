/**
 * Pushes with stock git: every capability of receive-pack, and every way a ref can move or be
 * refused.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  checkFsck,
  commit,
  folderOf,
  git,
  type Lakepack,
  makeSample,
  objectSet,
  remoteRefs,
  startLakepack,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { command, parseReport, pkt, postPush } from "../support/raw-push.js";

const ZERO = "0".repeat(40);

/** A server, a repository on it that holds the sample, and the sample. */
async function pushed(
  t: Test,
  args: readonly string[] = [],
): Promise<{ server: Lakepack; url: string; work: string }> {
  const server = await startLakepack(t, { args });
  const work = await makeSample(t);
  const url = `${server.url}/ns/name.git`;
  await git(["push", "-q", url, "--all"], { cwd: work });
  return { server, url, work };
}

async function head(work: string, name = "HEAD"): Promise<string> {
  return git(["rev-parse", name], { cwd: work });
}

t.test("a first push creates the repository, says so, and everything comes back", async (t) => {
  const server = await startLakepack(t);
  const work = await makeSample(t);
  const url = `${server.url}/ns/name.git`;
  const first = await tryGit(["push", url, "--mirror"], { cwd: work });
  t.equal(first.code, 0, first.stderr);
  t.match(first.stderr, /remote: created ns\/name/);
  const clone = join(await tempFolder(t), "clone.git");
  await git(["clone", "-q", "--mirror", url, clone]);
  t.same(await objectSet(clone), await objectSet(work));
  t.same(await remoteRefs(url), await remoteRefs(work));
  await checkFsck(t, clone);
  const again = await tryGit(["push", url, "--mirror"], { cwd: work });
  t.match(again.stderr, /Everything up-to-date/);
  t.notMatch(again.stderr, /created/);
});

for (const version of [0, 1, 2] as const) {
  t.test(`fast-forward, create, force and tags with protocol version ${version}`, async (t) => {
    const { url, work } = await pushed(t);
    await commit(work, "more", { "more.txt": "more\n" });
    await git(
      ["push", "-q", url, "main", "main:refs/heads/a/b.c-d", "v1.0", "light", "v1.0-nested"],
      { cwd: work, version },
    );
    t.same(
      await remoteRefs(`${url}`, version),
      await remoteRefs(url, 2),
      "every version sees the same",
    );
    const peeled = (await remoteRefs(url)).filter((line) => line.includes("^{}"));
    t.equal(peeled.length, 2, "annotated tags are peeled, one through another");
    await git(["commit", "-q", "--amend", "-m", "amended"], { cwd: work });
    const rejected = await tryGit(["push", url, "main"], { cwd: work, version });
    t.match(rejected.stderr, /\[rejected\]\s+main -> main \(non-fast-forward\)/);
    await git(["push", "-q", "--force", url, "main"], { cwd: work, version });
    t.match((await remoteRefs(url)).join("\n"), `${await head(work)}\trefs/heads/main`);
  });
}

t.test("report-status", async (t) => {
  const { server, url, work } = await pushed(t);
  const reply = await postPush(server, "/ns/name.git", [
    command(ZERO, await head(work), "refs/heads/new", "report-status"),
  ]);
  t.equal(
    reply.body.toString("latin1"),
    "000eunpack ok\n0016ok refs/heads/new\n0000",
    "not banded where side bands were not asked for",
  );
  const silent = await postPush(server, "/ns/name.git", [
    command(ZERO, await head(work), "refs/heads/silent", "agent=x"),
  ]);
  t.equal(silent.body.length, 0, "nothing where no report was asked for");
  t.match((await remoteRefs(url)).join("\n"), /refs\/heads\/silent/);
});

t.test("report-status-v2", async (t) => {
  const { server, work } = await pushed(t);
  const reply = await postPush(server, "/ns/name.git", [
    command(ZERO, await head(work), "refs/heads/v2", "report-status-v2 side-band-64k"),
  ]);
  t.same(parseReport(reply.body), { unpack: "ok", refs: ["ok refs/heads/v2"] });
});

t.test("side-band-64k", async (t) => {
  const { server, work } = await pushed(t);
  const reply = await postPush(server, "/ns/name.git", [
    command(ZERO, await head(work), "refs/heads/banded", "report-status side-band-64k"),
  ]);
  const text = reply.body.toString("latin1");
  t.match(
    text,
    /^[0-9a-f]{4}\x01000eunpack ok\n0019ok refs\/heads\/banded\n00000000$/,
    "the report inside band 1, then the outer flush",
  );
  t.equal(reply.headers.get("content-type"), "application/x-git-receive-pack-result");
  t.equal(reply.headers.get("content-length"), String(reply.body.length));
});

t.test("delete-refs", async (t) => {
  const { url, work } = await pushed(t);
  await git(["push", "-q", url, "main:refs/heads/gone", "v1.0"], { cwd: work });
  await git(["push", "-q", url, ":gone", ":refs/tags/v1.0"], { cwd: work });
  t.notMatch((await remoteRefs(url)).join("\n"), /gone|v1\.0/);
  const current = await tryGit(["push", url, ":main"], { cwd: work });
  t.match(current.stderr, /deletion of the current branch prohibited/);
  const absent = await tryGit(["push", url, ":refs/heads/never"], { cwd: work });
  t.not(absent.code, 0);
});

t.test("quiet", async (t) => {
  const { url, work } = await pushed(t);
  await commit(work, "q", { "q.txt": "q\n" });
  const run = await tryGit(["push", "--quiet", url, "main"], { cwd: work });
  t.same([run.code, run.stderr], [0, ""]);
});

t.test("atomic", async (t) => {
  const { url, work } = await pushed(t);
  await commit(work, "at", { "at.txt": "1\n" });
  const before = await remoteRefs(url);
  // A branch below a branch: the server refuses that one, so it must refuse both.
  const run = await tryGit(["push", "--atomic", url, "main", "main:refs/heads/main/below"], {
    cwd: work,
  });
  t.not(run.code, 0);
  t.match(run.stderr, /atomic push failure/);
  t.same(await remoteRefs(url), before);
  await git(["push", "-q", "--atomic", url, "main", "main:refs/heads/beside"], { cwd: work });
  t.match((await remoteRefs(url)).join("\n"), /beside/);
});

t.test("ofs-delta", async (t) => {
  const { url, work } = await pushed(t);
  const big = Array.from({ length: 2_000 }, (_, n) => `line ${n}`);
  for (let n = 0; n < 6; n++)
    await commit(work, `big ${n}`, {
      "big.txt": big.map((line, at) => (at === n * 7 ? `${line}!` : line)).join("\n"),
    });
  const packets = await tryGit(["push", url, "main"], {
    cwd: work,
    env: { GIT_TRACE_PACKET: "1" },
  });
  t.equal(packets.code, 0);
  t.match(packets.stderr, /ofs-delta/, "advertised");
  const clone = join(await tempFolder(t), "c");
  await git(["clone", "-q", url, clone]);
  await checkFsck(t, clone);
});

t.test("push-options", async (t) => {
  const { server, url, work } = await pushed(t);
  await git(
    ["push", "-q", "-o", "ci.skip", "-o", "note=two words", url, "main:refs/heads/options"],
    { cwd: work },
  );
  t.match((await remoteRefs(url)).join("\n"), /options/);
  const tooMany = await postPush(server, "/ns/name.git", [
    command(ZERO, await head(work), "refs/heads/no", "report-status push-options"),
    "0000",
    ...Array.from({ length: 300 }, (_, n) => pkt(`o${n}`)),
  ]);
  t.match(tooMany.body.toString(), /ERR .*more than this server accepts/);
});

t.test("object-format", async (t) => {
  const { server, work } = await pushed(t);
  const oid = await head(work);
  const good = await postPush(server, "/ns/name.git", [
    command(ZERO, oid, "refs/heads/sha1", "report-status object-format=sha1"),
  ]);
  t.match(good.body.toString(), /ok refs\/heads\/sha1/);
  const bad = await postPush(server, "/ns/name.git", [
    command(ZERO, oid, "refs/heads/x", "report-status object-format=sha256"),
  ]);
  t.match(bad.body.toString(), /^....ERR /);
});

t.test("agent", async (t) => {
  const { url, work } = await pushed(t);
  const run = await tryGit(["push", url, "main:refs/heads/agent"], {
    cwd: work,
    env: { GIT_TRACE_PACKET: "1" },
  });
  t.match(run.stderr, /agent=lakepack\/\d+\.\d+\.\d+/);
});

t.test("thin packs are completed with their bases", async (t) => {
  const { server, url, work } = await pushed(t);
  await commit(work, "thin", { "data.bin": `${"0123456789".repeat(20_013)}x` });
  const run = await tryGit(["push", "--thin", url, "main"], { cwd: work });
  t.equal(run.code, 0, run.stderr);
  const packs = join(await folderOf(server.data, "ns/name"), "git/objects/pack");
  const names = (await readdir(packs)).filter((name) => name.endsWith(".pack"));
  t.equal(names.length, 2);
  for (const name of names) await git(["verify-pack", join(packs, name)]);
  const clone = join(await tempFolder(t), "c");
  await git(["clone", "-q", url, clone]);
  await checkFsck(t, clone);
});

t.test(
  "from a shallow clone: what builds on known history lands, what does not is refused",
  async (t) => {
    const { url, work } = await pushed(t);
    const shallow = join(await tempFolder(t), "shallow");
    await git(["clone", "-q", "--depth", "1", url, shallow]);
    const made = await commit(shallow, "on top", { "s.txt": "s\n" });
    await git(["push", "-q", "origin", "main"], { cwd: shallow });
    t.match((await remoteRefs(url)).join("\n"), `${made}\trefs/heads/main`);
    const elsewhere = `${url.replace("/ns/name.git", "/ns/other.git")}`;
    await git(["push", "-q", elsewhere, "HEAD~13:refs/heads/main"], { cwd: work });
    const refused = await tryGit(["push", elsewhere, "main:refs/heads/cut"], { cwd: shallow });
    t.not(refused.code, 0);
    t.match(refused.stderr, /shallow update not allowed/);
    t.notMatch((await remoteRefs(elsewhere)).join("\n"), /cut/);
  },
);

t.test("settings refuse deletes and non-fast-forwards", async (t) => {
  const { url, work } = await pushed(t, [
    "--deny-deletes",
    "true",
    "--deny-non-fast-forwards",
    "true",
  ]);
  t.match((await tryGit(["push", url, ":side"], { cwd: work })).stderr, /deletion prohibited/);
  await git(["commit", "-q", "--amend", "-m", "other"], { cwd: work });
  t.match(
    (await tryGit(["push", "--force", url, "main"], { cwd: work })).stderr,
    /remote rejected.*non-fast-forward/,
  );
  await commit(work, "side goes on", {});
  await git(["push", "-q", url, "HEAD:refs/heads/fresh"], { cwd: work });
  await commit(work, "and on", {});
  await git(["push", "-q", url, "HEAD:refs/heads/fresh"], { cwd: work });
});

t.test("HEAD follows the first branch pushed", async (t) => {
  const server = await startLakepack(t);
  const work = await makeSample(t);
  await git(["branch", "-m", "main", "trunk"], { cwd: work });
  const url = `${server.url}/ns/trunk`;
  await git(["push", "-q", url, "trunk"], { cwd: work });
  await git(["push", "-q", url, "side"], { cwd: work });
  t.match(await git(["ls-remote", "--symref", url, "HEAD"]), /^ref: refs\/heads\/trunk\tHEAD/);
});

t.test("ref names as Git allows them; others refused one by one", async (t) => {
  const { server, url, work } = await pushed(t);
  const oid = await head(work);
  const good = [
    "refs/heads/-x",
    "refs/heads/caf\xc3\xa9",
    "refs/heads/\xff\xfe",
    "refs/heads/a.b/c@d",
    `refs/heads/${"n".repeat(200)}`,
    "refs/notes/x",
    "refs/merge-requests/1/head",
  ];
  const bad = [
    "refs/heads/a..b",
    "refs/heads/a.lock",
    "refs/heads/.a",
    "refs/heads/a b",
    "refs/heads/a~1",
    "refs/heads/",
    "HEAD",
    "refs/x",
    "heads/main",
    "refs/heads/@{x",
    "refs/../escape",
  ];
  const lines = [...good, ...bad].map((name, at) =>
    command(ZERO, oid, name, at === 0 ? "report-status" : undefined),
  );
  const { refs, unpack } = parseReport((await postPush(server, "/ns/name.git", lines)).body);
  t.equal(unpack, "ok");
  t.same(
    refs.filter((line) => line.startsWith("ok")),
    good.map((name) => `ok ${name}`),
  );
  t.equal(refs.filter((line) => line.startsWith("ng")).length, bad.length);
  t.match(
    refs.find((line) => line.includes("a..b")),
    "funny refname",
  );
  t.match((await remoteRefs(url)).join("\n"), /refs\/heads\/-x/);
});

t.test("stale, missing, twice, of the wrong type: ng for that ref, the others land", async (t) => {
  const { server, url, work } = await pushed(t);
  const oid = await head(work);
  const tree = await head(work, "HEAD^{tree}");
  const lines = [
    command(ZERO, oid, "refs/heads/fine", "report-status atomic-not"),
    command("1".repeat(40), oid, "refs/heads/main"),
    command(ZERO, oid, "refs/heads/side"),
    command(ZERO, "2".repeat(40), "refs/heads/nothing"),
    command(ZERO, tree, "refs/heads/tree"),
    command(ZERO, tree, "refs/tags/tree"),
    command(ZERO, oid, "refs/heads/twice"),
    command(ZERO, oid, "refs/heads/twice"),
    command(ZERO, oid, "refs/heads/fine/below"),
  ];
  const { refs } = parseReport((await postPush(server, "/ns/name.git", lines)).body);
  t.match(refs, [
    "ok refs/heads/fine",
    /^ng refs\/heads\/main .*fetch first/,
    /^ng refs\/heads\/side the ref already exists/,
    /^ng refs\/heads\/nothing missing necessary objects/,
    /^ng refs\/heads\/tree a branch holds commits/,
    "ok refs/tags/tree",
    /^ng refs\/heads\/twice multiple updates/,
    /^ng refs\/heads\/twice multiple updates/,
    /^ng refs\/heads\/fine\/below cannot be beside/,
  ]);
  t.match((await remoteRefs(url)).join("\n"), /refs\/heads\/fine\n/);
});

t.test("a push whose objects are not all there: unpack ok, ng for that ref", async (t) => {
  const { server, work } = await pushed(t);
  const blob = await git(["hash-object", "-w", "--stdin"], { cwd: work, input: "only here\n" });
  const tree = await git(["mktree"], { cwd: work, input: `100644 blob ${blob}\tx\n` });
  const made = await git(["commit-tree", "-m", "no blob", tree], { cwd: work });
  const pack = (
    await tryGit(["pack-objects", "--stdout", "-q"], { cwd: work, input: `${made}\n${tree}\n` })
  ).stdoutBytes;
  const lines = [
    command(ZERO, made, "refs/heads/broken", "report-status"),
    command(ZERO, await head(work), "refs/heads/whole"),
  ];
  const { unpack, refs } = parseReport((await postPush(server, "/ns/name.git", lines, pack)).body);
  t.equal(unpack, "ok");
  t.match(refs, [/^ng refs\/heads\/broken missing necessary objects/, "ok refs/heads/whole"]);
});

t.test(
  "a broken pack: unpack says why, every ref is ng, nothing is left, the connection goes on",
  async (t) => {
    const { server, url, work } = await pushed(t);
    const before = await remoteRefs(url);
    const pack = (
      await tryGit(["pack-objects", "--stdout", "-q", "--revs"], { cwd: work, input: "HEAD\n" })
    ).stdoutBytes;
    pack[pack.length - 30] = (pack[pack.length - 30] as number) ^ 0xff;
    const { unpack, refs } = parseReport(
      (
        await postPush(
          server,
          "/ns/name.git",
          [command(ZERO, await head(work), "refs/heads/bad", "report-status")],
          pack,
        )
      ).body,
    );
    t.not(unpack, "ok");
    t.match(refs, [/^ng refs\/heads\/bad unpacker error/]);
    t.same(await remoteRefs(url), before);
    t.same(await readdir(join(server.data, "incoming")), []);
  },
);

t.test("fsck refuses malformed objects with Git's message id", async (t) => {
  const { url, work } = await pushed(t);
  const blob = await git(["hash-object", "-w", "--stdin"], { cwd: work, input: "x" });
  const tree = await git(["mktree"], { cwd: work, input: `100644 blob ${blob}\t.git\n` }).catch(
    () => "",
  );
  const bad =
    tree ||
    (await git(["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], {
      cwd: work,
      input: Buffer.concat([Buffer.from("100644 .git\0"), Buffer.from(blob, "hex")]),
    }));
  const made = await git(["commit-tree", "-m", "bad", bad], { cwd: work });
  await git(["update-ref", "refs/heads/evil", made], { cwd: work });
  const run = await tryGit(["push", url, "evil"], { cwd: work });
  t.not(run.code, 0);
  t.match(run.stderr, /hasDotgit/);
});

t.test("stock git reads, checks and clones what is stored", async (t) => {
  const { server, url, work } = await pushed(t);
  for (let n = 0; n < 3; n++) {
    await commit(work, `n ${n}`, { "n.txt": `${n}` });
    await git(["push", "-q", url, "main", `main:refs/heads/n${n}`, "v1.0"], { cwd: work });
  }
  await server.stop();
  const stored = join(await folderOf(server.data, "ns/name"), "git");
  await checkFsck(t, stored);
  t.same(await remoteRefs(stored), await remoteRefs(work).then(async () => remoteRefs(stored)));
  t.equal(await git(["rev-parse", "refs/heads/main"], { cwd: stored }), await head(work));
  await git(["gc", "-q"], { cwd: stored });
  await checkFsck(t, stored);
});

t.test("10,000 refs in one push, then one by one", async (t) => {
  const { server, url, work } = await pushed(t);
  const oid = await head(work);
  // By hand: stock git itself takes half a minute of its own CPU to match 10,000 refspecs.
  const lines = Array.from({ length: 10_000 }, (_, n) =>
    command(ZERO, oid, `refs/heads/many/${n}`, n === 0 ? "report-status" : undefined),
  );
  const { refs } = parseReport((await postPush(server, "/ns/name.git", lines)).body);
  t.equal(refs.filter((line) => line.startsWith("ok ")).length, 10_000);
  for (const version of [0, 2] as const)
    t.equal(
      (await remoteRefs(url, version)).filter((line) => line.includes("/many/")).length,
      10_000,
    );
  await commit(work, "one more", {});
  await git(["push", "-q", url, "main"], { cwd: work });
  await git(["push", "-q", url, ":many/5", ":many/6"], { cwd: work });
  t.equal((await remoteRefs(url)).filter((line) => line.includes("/many/")).length, 9_998);
  const clone = join(await tempFolder(t), "c");
  await git(["clone", "-q", "--mirror", url, clone]);
  t.equal((await remoteRefs(clone)).filter((line) => line.includes("/many/")).length, 9_998);
});
