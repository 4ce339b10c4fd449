/**
 * Each capability of upload-pack in versions 0 and 1, in one process, by raw requests where git
 * hides the answer.
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  advertisement,
  packFigures,
  post,
  takeApart,
  textLines,
} from "../support/scripted-client.js";
import {
  type FetchServer,
  type FetchServerOptions,
  startFetchServer,
} from "../support/fetch-server.js";
import { makeHistory, makePushed } from "../support/scratch-history.js";
import { checkFsck, git, objectSet, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

interface Served {
  readonly server: FetchServer;
  readonly url: string;
  readonly bare: string;
  rev(name: string): Promise<string>;
}

/** Made once: no test changes it. */
const history = makeHistory(t);

async function served(t: Test, options: FetchServerOptions = {}): Promise<Served> {
  const bare = await history;
  const server = await startFetchServer(t, options);
  await server.serve("ns/history", bare);
  return {
    server,
    url: `${server.url}/ns/history.git`,
    bare,
    rev: (name) => git(["rev-parse", name], { cwd: bare }),
  };
}

/** A copy of the repository as it was at `old`, to receive thin packs in. */
async function oldCopy(t: Test, bare: string, branch = "old"): Promise<string> {
  const copy = join(await tempFolder(t), "old.git");
  await git([
    "clone",
    "-q",
    "--bare",
    "--single-branch",
    "--no-tags",
    "--branch",
    branch,
    `file://${bare}`,
    copy,
  ]);
  return copy;
}

async function emptyRepository(t: Test): Promise<string> {
  const folder = join(await tempFolder(t), "empty.git");
  await git(["init", "-q", "--bare", folder]);
  return folder;
}

const UNKNOWN = "12".repeat(20);

t.test("multi_ack", async (t) => {
  const { url, rev } = await served(t);
  const [main, old] = [await rev("right~1"), await rev("old")];
  // Known haves are continued; once every want is covered, unknown ones are too, so that the client
  // stops.
  const { lines } = textLines(
    (
      await post(url, 0, [
        `want ${main} multi_ack ofs-delta`,
        "flush",
        `have ${UNKNOWN}`,
        `have ${old}`,
        `have ${UNKNOWN}`,
        "flush",
      ])
    ).bytes,
  );
  t.same(lines, [`ACK ${old} continue`, `ACK ${UNKNOWN} continue`, "NAK"]);
  const last = takeApart(
    (
      await post(url, 0, [
        `want ${main} multi_ack side-band-64k ofs-delta`,
        "flush",
        `have ${old}`,
        "done",
      ])
    ).bytes,
  );
  t.same(last.lines, [`ACK ${old} continue`, `ACK ${old}`, "flush"]);
});

t.test("without any multi_ack the first common have is acknowledged, once", async (t) => {
  const { url, rev, bare } = await served(t);
  const [main, old, side] = [await rev("main"), await rev("old"), await rev("side")];
  const answer = takeApart(
    (
      await post(url, 0, [
        `want ${main} ofs-delta`,
        "flush",
        `have ${UNKNOWN}`,
        `have ${old}`,
        `have ${side}`,
        "done",
      ])
    ).bytes,
  );
  t.same(answer.lines, [`ACK ${old}`]);
  t.ok(packFigures(answer.pack, await oldCopy(t, bare)).objects > 0, "a raw pack follows");
  const none = takeApart(
    (await post(url, 0, [`want ${main}`, "flush", `have ${UNKNOWN}`, "done"])).bytes,
  );
  t.same(none.lines, ["NAK"]);
});

t.test("multi_ack_detailed", async (t) => {
  const { url, rev } = await served(t);
  const [main, old, side] = [await rev("right~1"), await rev("old"), await rev("alone")];
  const ask = async (...haves: string[]) =>
    textLines(
      (
        await post(url, 0, [
          `want ${main} multi_ack_detailed ofs-delta`,
          "flush",
          ...haves.map((oid) => `have ${oid}`),
          "flush",
        ])
      ).bytes,
    ).lines;
  t.same(
    await ask(old),
    [`ACK ${old} common`, `ACK ${old} ready`, "NAK"],
    "covered at the end of a round",
  );
  t.same(
    await ask(old, UNKNOWN),
    [`ACK ${old} common`, `ACK ${UNKNOWN} ready`, "NAK"],
    "covered when an unknown one comes",
  );
  t.same(
    await ask(side),
    [`ACK ${side} common`, "NAK"],
    "common, but no ancestor of what is wanted: not ready",
  );
  t.same(await ask(UNKNOWN), ["NAK"]);
});

t.test("no-done", async (t) => {
  const { url, rev, bare } = await served(t);
  const [main, old] = [await rev("right~1"), await rev("old")];
  const asked = [
    `want ${main} multi_ack_detailed no-done side-band-64k thin-pack ofs-delta`,
    "flush",
    `have ${old}`,
    "flush",
  ];
  const answer = takeApart((await post(url, 0, asked)).bytes);
  t.same(answer.lines, [`ACK ${old} common`, `ACK ${old} ready`, "NAK", `ACK ${old}`, "flush"]);
  t.ok(
    packFigures(answer.pack, await oldCopy(t, bare)).objects > 0,
    "the pack comes without a done",
  );
});

t.test("thin-pack", async (t) => {
  const { server, bare } = await served(t);
  const pushed = await makePushed(t, bare, ["v1.0~8", "v1.0~4", "v1.0", "old"]);
  await server.serve("ns/pushed", pushed);
  const url = `${server.url}/ns/pushed.git`;
  const [main, old] = [
    await git(["rev-parse", "v1.0^{}"], { cwd: bare }),
    await git(["rev-parse", "v1.0~4"], { cwd: bare }),
  ];
  const fetchPack = async (capabilities: string) =>
    takeApart(
      (
        await post(url, 0, [
          `want ${main} ${capabilities} side-band-64k no-progress`,
          "flush",
          `have ${old}`,
          "done",
        ])
      ).bytes,
    ).pack;
  const full = packFigures(await fetchPack("ofs-delta"), await oldCopy(t, bare));
  const thinPack = await fetchPack("ofs-delta thin-pack");
  const thin = packFigures(thinPack, await oldCopy(t, bare));
  t.equal(thin.objects, full.objects);
  t.equal(full.refDeltas, 0, "whole without it");
  t.ok(thin.refDeltas > 0, "with it, deltas on what the client has");
  t.throws(() => packFigures(thinPack, emptyBareSync(t)), "bases are really not in it");
});

function emptyBareSync(t: Test): string {
  const folder = t.testdir({ HEAD: "ref: refs/heads/main\n", objects: {}, refs: {} });
  return folder;
}

t.test("ofs-delta", async (t) => {
  const { url, rev } = await served(t);
  const main = await rev("main");
  const clone = async (capabilities: string) =>
    takeApart(
      (await post(url, 0, [`want ${main} side-band-64k ${capabilities}`, "flush", "done"])).bytes,
    ).pack;
  const near = packFigures(await clone("ofs-delta"), await emptyRepository(t));
  const named = packFigures(await clone("no-progress"), await emptyRepository(t));
  t.ok(near.ofsDeltas > 0 && near.refDeltas === 0);
  t.ok(
    named.ofsDeltas === 0 && named.refDeltas === near.ofsDeltas,
    "bases by id for a client that does not read distances",
  );
});

t.test("side-band", async (t) => {
  const { url, rev } = await served(t);
  const answer = takeApart(
    (await post(url, 0, [`want ${await rev("main")} side-band ofs-delta`, "flush", "done"])).bytes,
  );
  t.equal(answer.dataBytesMax, 995);
  t.match(answer.progress, /Counting objects: 100%/);
  t.ok(packFigures(answer.pack, await emptyRepository(t)).objects > 0);
});

t.test("side-band-64k", async (t) => {
  const { url, rev } = await served(t);
  const answer = takeApart(
    (await post(url, 0, [`want ${await rev("main")} side-band-64k ofs-delta`, "flush", "done"]))
      .bytes,
  );
  t.ok(answer.dataBytesMax > 995 && answer.dataBytesMax <= 65_515);
  t.ok(packFigures(answer.pack, await emptyRepository(t)).objects > 0);
  t.equal(answer.lines.at(-1), "flush");
});

t.test("no bands: the raw pack and nothing else", async (t) => {
  const { url, rev } = await served(t);
  const { bytes } = await post(url, 0, [`want ${await rev("main")} ofs-delta`, "flush", "done"]);
  t.equal(Buffer.from(bytes.subarray(0, 12)).toString("latin1"), "0008NAK\nPACK");
  t.ok(packFigures(bytes.slice(8), await emptyRepository(t)).objects > 0);
});

t.test("no-progress", async (t) => {
  const { url, rev } = await served(t);
  const ask = async (capabilities: string) =>
    takeApart(
      (await post(url, 0, [`want ${await rev("main")} ofs-delta ${capabilities}`, "flush", "done"]))
        .bytes,
    );
  t.equal((await ask("side-band-64k no-progress")).progress, "");
  t.match((await ask("side-band-64k")).progress, /Total \d+ \(delta \d+\)/);
});

for (const [name, args] of [
  ["shallow", ["--depth=2"]],
  ["deepen-since", ["--shallow-since=1700000600"]],
  ["deepen-not", ["--shallow-exclude=light"]],
] as const) {
  t.test(name, async (t) => {
    const { url, bare } = await served(t);
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--bare", ...args, url, copy], { version: 0 });
    await checkFsck(t, copy);
    t.equal(await git(["rev-parse", "--is-shallow-repository"], { cwd: copy }), "true");
    t.ok((await objectSet(copy)).length < (await objectSet(bare)).length);
  });
}

t.test("deepen-relative", async (t) => {
  const { url } = await served(t);
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", "--bare", "--depth=1", url, copy], { version: 0 });
  for (const commits of ["2", "3"]) {
    await git(["fetch", "-q", "--deepen=1", "origin", "main"], { cwd: copy, version: 0 });
    t.equal(await git(["rev-list", "--count", "main"], { cwd: copy }), commits);
  }
  await checkFsck(t, copy);
});

t.test("include-tag", async (t) => {
  const { url, rev, bare } = await served(t);
  const [main, tag] = [await rev("main"), await rev("v2.0")];
  const ask = async (capabilities: string) => {
    const { pack } = takeApart(
      (
        await post(url, 0, [
          `want ${main} side-band-64k ofs-delta ${capabilities}`,
          "flush",
          "done",
        ])
      ).bytes,
    );
    const repository = await emptyRepository(t);
    packFigures(pack, repository);
    return objectSet(repository);
  };
  t.notOk((await ask("")).includes(tag));
  const tagged = await ask("include-tag");
  t.ok(tagged.includes(tag));
  t.ok(
    tagged.includes(await rev("v1.0-nested")) && tagged.includes(await rev("v1.0")),
    "a tag of a tag brings the inner one",
  );
  t.notOk(tagged.includes(await git(["rev-parse", "alone"], { cwd: bare })));
});

t.test("filter", async (t) => {
  const { url } = await served(t);
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", "--bare", "--no-tags", "--filter=blob:none", url, copy], {
    version: 0,
  });
  const types = await git(["cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"], {
    cwd: copy,
  });
  t.notMatch(types, /blob/);
});

t.test("allow-tip-sha1-in-want", async (t) => {
  const closed = await served(t);
  t.notMatch((await advertisement(closed.url, 0)).join("\n"), /allow-tip-sha1-in-want/);
  const open = await served(t, { allowTipInWant: true });
  t.match((await advertisement(open.url, 0)).join("\n"), /allow-tip-sha1-in-want/);
  const peeled = await open.rev("v1.0^{}");
  t.ok(
    takeApart((await post(open.url, 0, [`want ${peeled} side-band-64k`, "flush", "done"])).bytes)
      .pack.length > 0,
  );
});

t.test("allow-reachable-sha1-in-want", async (t) => {
  const closed = await served(t);
  const commit = await closed.rev("main~5");
  t.notMatch((await advertisement(closed.url, 0)).join("\n"), /allow-reachable/);
  const cloneOne = async (url: string, ...oids: string[]) => {
    const copy = await emptyRepository(t);
    return tryGit(["fetch", "-q", url, ...oids], { cwd: copy, version: 0 });
  };
  t.not(
    (await cloneOne(`${closed.server.gitUrl}/ns/history.git`, commit)).code,
    0,
    "not on a connection that has seen the refs",
  );
  const open = await served(t, { allowReachableInWant: true });
  t.match((await advertisement(open.url, 0)).join("\n"), /allow-reachable-sha1-in-want/);
  for (const base of [open.server.url, open.server.gitUrl])
    t.equal((await cloneOne(`${base}/ns/history.git`, commit)).code, 0, base);
});

t.test("symref", async (t) => {
  const { url } = await served(t);
  t.match((await advertisement(url, 0))[2] ?? "", / symref=HEAD:refs\/heads\/main/);
  t.match(
    (await tryGit(["ls-remote", "--symref", url, "HEAD"], { version: 0 })).stdout,
    /^ref: refs\/heads\/main\tHEAD$/m,
  );
});

t.test("object-format", async (t) => {
  const { url, rev } = await served(t);
  t.match((await advertisement(url, 0))[2] ?? "", / object-format=sha1( |$)/);
  const main = await rev("main");
  t.ok(
    takeApart(
      (await post(url, 0, [`want ${main} object-format=sha1 side-band-64k`, "flush", "done"]))
        .bytes,
    ).pack.length > 0,
  );
  t.match(
    textLines(
      (await post(url, 0, [`want ${main} object-format=sha256 side-band-64k`, "flush", "done"]))
        .bytes,
    ).lines[0],
    /^ERR .*object-format/,
  );
});

t.test("agent", async (t) => {
  const { url } = await served(t);
  t.match((await advertisement(url, 0))[2] ?? "", / agent=lakepack\/test( |$)/);
});

t.test("version 1 is version 0 with a first line that says so", async (t) => {
  const { url } = await served(t);
  const [old, one] = [await advertisement(url, 0), await advertisement(url, 1)];
  t.equal(
    one.find((line) => line.startsWith("version")),
    "version 1",
  );
  t.same(
    one.filter((line) => line !== "version 1"),
    old,
  );
});
