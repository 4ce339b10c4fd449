/** Each capability of version 2, in one process, by raw requests where git hides the answer. */
import { join } from "node:path";
import t, { type Test } from "tap";
import { type FetchServer, startFetchServer } from "../support/fetch-server.js";
import { makeHistory } from "../support/scratch-history.js";
import {
  advertisement,
  packFigures,
  post,
  takeApart,
  textLines,
} from "../support/scripted-client.js";
import { checkFsck, git, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

interface Served {
  readonly server: FetchServer;
  readonly url: string;
  readonly bare: string;
  rev(name: string): Promise<string>;
  lines(...request: string[]): Promise<string[]>;
}

/** Made once: no test changes its refs. */
const history = makeHistory(t);

async function served(t: Test): Promise<Served> {
  const bare = await history;
  const server = await startFetchServer(t);
  await server.serve("ns/history", bare);
  const url = `${server.url}/ns/history.git`;
  return {
    server,
    url,
    bare,
    rev: (name) => git(["rev-parse", name], { cwd: bare }),
    lines: async (...request) => textLines((await post(url, 2, request)).bytes).lines,
  };
}

async function emptyRepository(t: Test, branch = "main"): Promise<string> {
  const folder = join(await tempFolder(t), "empty.git");
  await git(["init", "-q", "--bare", "-b", branch, folder]);
  return folder;
}

const UNKNOWN = "12".repeat(20);

t.test("agent", async (t) => {
  const { url } = await served(t);
  const lines = await advertisement(url, 2);
  t.equal(
    lines.find((line) => !line.startsWith("#") && line !== "flush"),
    "version 2",
  );
  t.ok(lines.includes("agent=lakepack/test"));
});

t.test("ls-refs=unborn", async (t) => {
  const { server } = await served(t);
  await server.serve("ns/empty", await emptyRepository(t, "trunk"));
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", `${server.url}/ns/empty.git`, copy], { version: 2 });
  t.equal(
    await git(["symbolic-ref", "HEAD"], { cwd: copy }),
    "refs/heads/trunk",
    "an empty repository hands its branch's name on",
  );
});

t.test("ls-refs: peel, symrefs and ref-prefix", async (t) => {
  const { lines, rev } = await served(t);
  const [main, tag, target] = [await rev("main"), await rev("v2.0"), await rev("v2.0^{}")];
  const asked = await lines(
    "command=ls-refs",
    "object-format=sha1",
    "delim",
    "peel",
    "symrefs",
    "ref-prefix HEAD",
    "ref-prefix refs/tags/v2",
    "flush",
  );
  t.same(asked, [
    `${main} HEAD symref-target:refs/heads/main`,
    `${tag} refs/tags/v2.0 peeled:${target}`,
    "flush",
  ]);
});

t.test("fetch=shallow", async (t) => {
  const { url, lines, rev } = await served(t);
  const [main, parent] = [await rev("main"), await rev("main~1")];
  const answer = takeApart(
    (
      await post(url, 2, [
        "command=fetch",
        "delim",
        `want ${main}`,
        "deepen 2",
        "ofs-delta",
        "done",
        "flush",
      ])
    ).bytes,
  );
  t.same(answer.lines, ["shallow-info", `shallow ${parent}`, "delim", "packfile", "flush"]);
  t.match(
    (
      await lines("command=fetch", "delim", `want ${main}`, "deepen-not nowhere", "done", "flush")
    )[0],
    /^ERR .*not a ref/,
  );
  for (const args of [["--depth=3"], ["--shallow-since=1700000600"], ["--shallow-exclude=light"]]) {
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--bare", ...args, url, copy], { version: 2 });
    await git(["fetch", "-q", "--unshallow"], { cwd: copy, version: 2 });
    await checkFsck(t, copy);
  }
});

t.test("fetch=wait-for-done", async (t) => {
  const { url, bare, rev, lines } = await served(t);
  const [main, old] = [await rev("right~1"), await rev("old")];
  const ask = ["command=fetch", "delim", `want ${main}`, `have ${old}`, `have ${UNKNOWN}`];
  t.same(
    await lines(...ask, "wait-for-done", "flush"),
    ["acknowledgments", `ACK ${old}`, "flush"],
    "never ready",
  );
  const ready = takeApart((await post(url, 2, [...ask, "flush"])).bytes);
  t.same(
    ready.lines.slice(0, 4),
    ["acknowledgments", `ACK ${old}`, "ready", "delim"],
    "without it the pack follows",
  );
  const copy = join(await tempFolder(t), "copy.git");
  await git(["clone", "-q", "--bare", bare, copy]);
  const known = await git(["fetch", "--negotiate-only", "--negotiation-tip=old", url], {
    cwd: copy,
    version: 2,
  });
  t.ok(known.split("\n").includes(old), "a negotiation alone, without wants");
});

t.test("fetch=filter", async (t) => {
  const { url, lines, rev } = await served(t);
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", "--filter=blob:none", url, copy], { version: 2 });
  await git(["checkout", "-q", "old"], { cwd: copy, version: 2 }); // fetches blobs by their ids
  await git(["fsck", "--connectivity-only"], { cwd: copy });
  t.match(
    (
      await lines(
        "command=fetch",
        "delim",
        `want ${await rev("main")}`,
        "filter tree:x",
        "done",
        "flush",
      )
    )[0],
    /^ERR .*filter/,
  );
});

t.test("fetch=ref-in-want", async (t) => {
  const { url, lines, rev } = await served(t);
  const main = await rev("main");
  const answer = takeApart(
    (
      await post(url, 2, [
        "command=fetch",
        "delim",
        "want-ref refs/heads/main",
        "want-ref refs/tags/v2.0",
        "done",
        "flush",
      ])
    ).bytes,
  );
  t.same(answer.lines, [
    "wanted-refs",
    `${main} refs/heads/main`,
    `${await rev("v2.0")} refs/tags/v2.0`,
    "delim",
    "packfile",
    "flush",
  ]);
  t.ok(packFigures(answer.pack, await emptyRepository(t)).objects > 0);
  t.match(
    (await lines("command=fetch", "delim", "want-ref refs/heads/none", "done", "flush"))[0],
    /^ERR .*unknown ref refs\/heads\/none/,
  );
});

t.test("fetch=sideband-all", async (t) => {
  const { url, rev } = await served(t);
  const { bytes } = await post(url, 2, [
    "command=fetch",
    "delim",
    `want ${await rev("main")}`,
    "sideband-all",
    "deepen 1",
    "done",
    "flush",
  ]);
  const answer = takeApart(bytes);
  const text = Buffer.from(answer.pack).toString("latin1");
  t.match(text, /^shallow-info\nshallow [0-9a-f]{40}packfile\nPACK/, "lines are in band 1 too");
  t.same(answer.lines, ["delim", "flush"]);
});

t.test("server-option", async (t) => {
  const { url } = await served(t);
  t.equal((await tryGit(["ls-remote", "-o", "one", "-o", "two=2", url], { version: 2 })).code, 0);
});

t.test("object-format", async (t) => {
  const { url, lines } = await served(t);
  t.ok((await advertisement(url, 2)).includes("object-format=sha1"));
  t.match((await lines("command=ls-refs", "object-format=sha256", "flush"))[0], /^ERR /);
});

t.test("object-info", async (t) => {
  const { lines, rev, bare } = await served(t);
  const oids = await Promise.all(["main", "main^{tree}", "main:data.bin", "v2.0"].map(rev));
  const sizes = await Promise.all(oids.map((oid) => git(["cat-file", "-s", oid], { cwd: bare })));
  const hidden = await git(["hash-object", "-w", "--stdin"], { cwd: bare, input: "unreachable" });
  const asked = await lines(
    "command=object-info",
    "delim",
    "size",
    ...oids.map((oid) => `oid ${oid}`),
    `oid ${hidden}`,
    `oid ${UNKNOWN}`,
    "flush",
  );
  t.same(asked, [
    "size",
    ...oids.map((oid, at) => `${oid} ${sizes[at]}`),
    `${hidden} `,
    `${UNKNOWN} `,
    "flush",
  ]);
});

t.test("what is wrong with a request is said, not swallowed", async (t) => {
  const { lines, rev } = await served(t);
  const main = await rev("main");
  const cases: readonly (readonly [string[], RegExp])[] = [
    [["command=nonsense", "flush"], /unknown command/],
    [["command=fetch", "unheard=1", "delim", "flush"], /not advertised/],
    [["command=fetch", "delim", "wand x", "flush"], /an argument of fetch/],
    [
      ["command=fetch", "delim", `want ${UNKNOWN}`, "done", "flush"],
      new RegExp(`upload-pack: not our ref ${UNKNOWN}`),
    ],
    [
      ["command=fetch", "delim", `want ${main}`, "deepen 1", "deepen-since 1", "done", "flush"],
      /cannot be used together/,
    ],
    [
      ["command=fetch", "delim", `want ${main}`, "deepen-since 4000000000", "done", "flush"],
      /no commits selected/,
    ],
    [["command=fetch", "delim", "done", "flush"], /nothing is wanted/],
  ];
  for (const [request, reason] of cases) {
    const [line] = await lines(...request);
    t.match(line, /^ERR /, request.join(" "));
    t.match(line, reason);
  }
});
