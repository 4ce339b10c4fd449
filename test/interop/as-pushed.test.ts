/**
 * A repository as pushes leave it on a real server, one pack each, thin ones completed: what
 * clients fetch from it is what stock git's server sends of the same repository in one pack.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { makeHistory } from "../support/scratch-history.js";
import {
  checkFsck,
  commit,
  folderOf,
  git,
  type Lakepack,
  objectSet,
  startLakepack,
  startStock,
  stockRepository,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const REPO = "ns/history";

interface Pair {
  readonly lakepack: Lakepack;
  readonly history: string;
  readonly urls: readonly [ours: string, stock: string];
}

async function pushed(t: Test): Promise<Pair> {
  const history = await makeHistory(t);
  const lakepack = await startLakepack(t);
  const ours = `${lakepack.url}/${REPO}.git`;
  // Out of loose objects git makes thin packs; out of a pack it would send old deltas again.
  const loose = join(await tempFolder(t), "loose.git");
  await git(["init", "-q", "--bare", loose]);
  const tips = await git(["for-each-ref", "--format=%(objectname)"], { cwd: history });
  const everything = await tryGit(["pack-objects", "--revs", "--stdout", "-q"], {
    cwd: history,
    input: `${tips}\n`,
  });
  await git(["unpack-objects", "-q"], { cwd: loose, input: everything.stdoutBytes });
  for (const state of ["v1.0~9", "v1.0~6", "v1.0~5", "v1.0", "old", "right", "main"]) {
    const oid = await git(["rev-parse", `${state}^{commit}`], { cwd: history });
    await git(["push", "-q", "--force", ours, `${oid}:refs/heads/main`], { cwd: loose });
  }
  await git(["fetch", "-q", `file://${history}`, "+refs/*:refs/*"], { cwd: loose });
  await git(["push", "-q", "--mirror", ours], { cwd: loose });
  const stock = await startStock(t, [
    "uploadpack.allowFilter=true",
    "uploadpack.allowAnySHA1InWant=true",
  ]);
  await stockRepository(stock, REPO, history);
  return { lakepack, history, urls: [ours, `${stock.url}/${REPO}.git`] };
}

const CLONES: readonly (readonly string[])[] = [
  ["--mirror"],
  ["--single-branch", "--branch", "side"],
  ["--depth=1"],
  ["--depth=3", "--no-single-branch"],
  ["--shallow-since=1700000600"],
  ["--filter=blob:none"],
  ["--filter=blob:limit=100"],
  ["--filter=tree:1"],
  ["--filter=tree:2", "--depth=2"],
  ["--filter=object:type=tree"],
];

t.test("clones, depths and filters", { timeout: 120_000 }, async (t) => {
  const { lakepack, urls } = await pushed(t);
  const packs = readdirSync(join(await folderOf(lakepack.data, REPO), "git/objects/pack")).filter(
    (name) => name.endsWith(".pack"),
  );
  t.ok(packs.length > 4, `${packs.length} packs`);
  for (const version of [0, 2] as const)
    for (const args of CLONES) {
      const copies = await Promise.all(
        urls.map(async (url) => {
          const copy = join(await tempFolder(t), "copy");
          await git(["clone", "-q", "--bare", ...args, url, copy], { version });
          return copy;
        }),
      );
      const [ours = "", stock = ""] = copies;
      const title = `${args.join(" ")}, version ${version}`;
      t.same(await objectSet(ours), await objectSet(stock), title);
      if (!title.includes("--filter")) await checkFsck(t, ours);
    }
});

t.test("incremental fetches from every state", { timeout: 120_000 }, async (t) => {
  const { history, urls } = await pushed(t);
  for (const version of [0, 1, 2] as const)
    for (const state of ["v1.0~9", "v1.0~1", "side", "old", "right~1", "left"]) {
      const copy = join(await tempFolder(t), "copy.git");
      await git(["init", "-q", "--bare", copy]);
      const oid = await git(["rev-parse", `${state}^{commit}`], { cwd: history });
      await git(["fetch", "-q", "--no-tags", `file://${history}`, `${oid}:refs/heads/start`], {
        cwd: copy,
      });
      await git(["fetch", "-q", urls[0], "+refs/*:refs/remotes/*"], { cwd: copy, version });
      t.same(await objectSet(copy), await objectSet(history), `from ${state}, version ${version}`);
      await checkFsck(t, copy);
    }
});

t.test("a partial clone fetches what it lacks when it needs it", { timeout: 60_000 }, async (t) => {
  const { urls } = await pushed(t);
  for (const filter of ["blob:none", "tree:0"]) {
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", `--filter=${filter}`, urls[0], copy]);
    await git(["checkout", "-q", "v1.0"], { cwd: copy });
    t.equal(await git(["log", "--format=%s", "-1", "--", "data.bin"], { cwd: copy }), "change 12");
    await git(["fsck", "--connectivity-only"], { cwd: copy });
  }
});

t.test("clients clone while others push", { timeout: 120_000 }, async (t) => {
  const { urls, history } = await pushed(t);
  const work = join(await tempFolder(t), "work");
  await git(["clone", "-q", history, work]);
  const pushing = (async () => {
    for (let at = 0; at < 8; at++) {
      await commit(work, `while they clone ${at}`, { [`new/${at}.txt`]: `${at}\n` });
      await git(["push", "-q", urls[0], "HEAD:refs/heads/main"], { cwd: work });
    }
  })();
  for (let round = 0; round < 4; round++)
    await Promise.all(
      [0, 2, 2].map(async (version) => {
        const copy = join(await tempFolder(t), "copy");
        await git(["clone", "-q", "--mirror", urls[0], copy], { version: version as 0 | 2 });
        await checkFsck(t, copy);
      }),
    );
  await pushing;
  const last = join(await tempFolder(t), "copy");
  await git(["clone", "-q", urls[0], last]);
  t.equal(
    await git(["rev-parse", "HEAD"], { cwd: last }),
    await git(["rev-parse", "HEAD"], { cwd: work }),
  );
});

t.test("what was made before a restart is used after it", { timeout: 60_000 }, async (t) => {
  const { lakepack, urls } = await pushed(t);
  const clone = async (url: string) => {
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--bare", "--depth=2", url, copy]);
    return objectSet(copy);
  };
  const before = await clone(urls[0]);
  t.match(lakepack.log(), /pack made/);
  await lakepack.stop();
  const again = await startLakepack(t, { data: lakepack.data });
  t.same(await clone(`${again.url}/${REPO}.git`), before);
  t.notMatch(again.log(), /pack made/);
});
