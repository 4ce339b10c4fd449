/**
 * Fetches by clients that have something: complete, and not more than Git's own server would send.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t, { type Test } from "tap";
import { checkFsck, commit, git, objectSet } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { type FetchServer, startFetchServer } from "../support/fetch-server.js";
import { makeHistory, makePushed, toBare } from "../support/scratch-history.js";

/**
 * Objects that Git packs for a client that has `haves`: count of a thin pack made with the options
 * of upload-pack.
 */
function gitCount(bare: string, wants: readonly string[], haves: readonly string[]): number {
  const input = [...wants, "--not", ...haves, ""].join("\n");
  const pack = execFileSync(
    "git",
    ["pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "-q"],
    { cwd: bare, input, maxBuffer: 1 << 28 },
  );
  return pack.readUInt32BE(8);
}

function lastSent(server: FetchServer): number {
  return server.log.filter(({ event }) => event === "pack sent").at(-1)?.facts["objects"] as number;
}

async function fetchAll(
  t: Test,
  server: FetchServer,
  bare: string,
  states: readonly string[],
): Promise<void> {
  await server.serve("ns/history", bare);
  const urls = [`${server.url}/ns/history.git`, `${server.gitUrl}/ns/history.git`];
  const tips = (await git(["for-each-ref", "--format=%(objectname)"], { cwd: bare })).split("\n");
  for (const [at, state] of states.entries())
    for (const version of [0, 2] as const) {
      const oid = await git(["rev-parse", `${state}^{commit}`], { cwd: bare });
      const copy = join(await tempFolder(t), "copy.git");
      await git(["init", "-q", "--bare", copy]);
      await git(["fetch", "-q", "--no-tags", `file://${bare}`, `${oid}:refs/heads/start`], {
        cwd: copy,
      });
      const url = urls[at % urls.length] as string;
      await git(["fetch", "-q", url, "+refs/*:refs/remotes/*"], { cwd: copy, version });
      const title = `from ${state}, version ${version}, ${url.slice(0, 4)}`;
      await checkFsck(t, copy);
      t.same(await objectSet(copy), await objectSet(bare), `complete: ${title}`);
      const count = gitCount(bare, tips, [oid]);
      t.ok(
        lastSent(server) <= 1.1 * count,
        `${lastSent(server)} objects, Git sends ${count}: ${title}`,
      );
    }
}

const STATES = ["v1.0~8", "v1.0~1", "side", "old", "right~1", "left", "main~1"];

t.test("from one pack", async (t) => {
  await fetchAll(t, await startFetchServer(t), await makeHistory(t), STATES);
});

t.test("from many packs, as pushes leave them", async (t) => {
  const history = await makeHistory(t);
  const pushed = await makePushed(t, history, [
    "v1.0~9",
    "v1.0~6",
    "v1.0~5",
    "v1.0",
    "old",
    "right",
    "main",
  ]);
  const server = await startFetchServer(t);
  await fetchAll(t, server, pushed, STATES);
  for (const version of [0, 2] as const) {
    const copy = join(await tempFolder(t), "copy.git");
    await git(["clone", "-q", "--mirror", `${server.url}/ns/history.git`, copy], { version });
    t.same(await objectSet(copy), await objectSet(pushed), "a clone of them all");
    await checkFsck(t, copy);
  }
});

t.test("300 local commits the server has never seen", async (t) => {
  const bare = await makeHistory(t);
  const server = await startFetchServer(t);
  for (const version of [0, 2] as const) {
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--branch", "side", `file://${bare}`, copy]);
    for (let at = 0; at < 300; at++) {
      const tree = await git(["rev-parse", "HEAD^{tree}"], { cwd: copy });
      const date = `${1_800_000_000 + at} +0000`;
      const made = await git(["commit-tree", "-p", "HEAD", "-m", `local ${at}`, tree], {
        cwd: copy,
        env: { GIT_COMMITTER_DATE: date },
      });
      await git(["update-ref", "HEAD", made], { cwd: copy });
    }
    const work = join(await tempFolder(t), "work");
    await git(["clone", "-q", `file://${bare}`, work]);
    await commit(work, "theirs", { "theirs.txt": `theirs ${version}\n` });
    await server.serve("ns/history", await toBare(t, work));
    for (const base of [server.url, server.gitUrl])
      await git(
        [
          "fetch",
          "-q",
          `${base}/ns/history.git`,
          `+refs/heads/main:refs/remotes/${new URL(base).port}`,
        ],
        { cwd: copy, version },
      );
    t.ok(lastSent(server) <= 4, `${lastSent(server)} objects for one commit`);
    await checkFsck(t, copy);
  }
});

t.test("nothing new is wanted", async (t) => {
  const bare = await makeHistory(t);
  const server = await startFetchServer(t);
  await server.serve("ns/history", bare);
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", "--mirror", `${server.url}/ns/history.git`, copy]);
  for (const version of [0, 1, 2] as const)
    t.equal(await git(["fetch", `${server.url}/ns/history.git`], { cwd: copy, version }), "");
});
