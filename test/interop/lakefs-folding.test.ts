/**
 * Packs made from lakeFS are folded like those of pushes: few packs, whatever the number of
 * commits, and trees as small as stock git stores them.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { lakepack } from "../support/lakepack-command.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, commit, git, objectSet } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import {
  commitOneByOne,
  filePath,
  historyBytes,
  readRefs,
  repackedByGit,
  StoredSide,
} from "../support/lakefs-folding.js";
import { emptyRepository, put, signal, startBeside } from "../support/lakefs-rig.js";

t.setTimeout(240_000);

for (const [kind, folders] of [
  ["one folder", 0],
  ["many folders", 20],
] as const) {
  t.test(`commits read one at a time, files in ${kind}`, { skip: skipLakefs }, async (t) => {
    const files = 400;
    const commits = 40;
    const lakefs = await startLakefs(t);
    const name = await emptyRepository(lakefs, "folded");
    await Promise.all(
      Array.from({ length: files }, (_, at) =>
        put(lakefs, name, filePath(at, folders), `file ${at}\n`),
      ),
    );
    await lakefs.client.in(name).commit("main", { message: "all" }, signal);
    const server = await startBeside(t, lakefs, { LAKEPACK_LAKEFS_POLL_SECONDS: "0" });
    const url = `${server.url}/lakefs/${name}.git`;
    const early = join(await tempFolder(t), "early");
    await git(["clone", "-q", url, early]);
    let isReading = true;
    const cloning = (async () => {
      for (let n = 0; isReading; n++) {
        const copy = join(await tempFolder(t), "copy");
        await git(["clone", "-q", "--bare", ...(n % 2 === 0 ? [] : ["--depth=3"]), url, copy]);
        await checkFsck(t, copy);
      }
    })();
    const stored = new StoredSide(server, name);
    let most = 0;
    await commitOneByOne(lakefs, name, { from: 0, to: commits, files, folders }, async (commit) => {
      await readRefs(server, name);
      most = Math.max(most, (await stored.packs()).length);
      if (commit % 12 === 5) await git(["fetch", "-q"], { cwd: early });
    }).finally(() => {
      isReading = false;
    });
    await cloning;
    for (
      let tries = 0;
      tries < 600 && (await stored.packs()).length >= LIMITS.foldMadePacksMin;
      tries++
    )
      await sleep(100);
    t.ok((await stored.packs()).length < LIMITS.foldMadePacksMin, "folded without anybody asking");
    t.ok(most < commits, `${most} packs at most`);
    await stored.collect();
    const packs = await stored.packs();
    t.ok(packs.length <= 4, `${packs.length} packs`);
    t.ok((await stored.manifestBytes()) <= 65_536);
    const { names, bytes } = await stored.files();
    t.equal(names.length, 3 * packs.length, "nothing is left of the packs that were folded");

    const mirror = await repackedByGit(url, join(await tempFolder(t), "mirror"));
    await checkFsck(t, mirror);
    t.equal(await git(["rev-list", "--count", "HEAD"], { cwd: mirror }), String(commits + 1));
    const [ours, theirs] = [await stored.historyBytes(), historyBytes(mirror)];
    t.ok(
      ours <= 1.5 * theirs,
      `trees and commits: ${ours} bytes, stock git has ${theirs} (${(ours / theirs).toFixed(2)}); all files ${bytes}`,
    );
    t.comment(`${packs.length} packs, trees and commits ${ours} bytes, stock git ${theirs}`);
    t.equal(
      await git(["fsck", "--strict", "--no-dangling"], { cwd: await stored.folder() }),
      "",
      "the store as stock git sees it",
    );

    await git(["fetch", "-q"], { cwd: early });
    t.same(await objectSet(early), await objectSet(mirror), "who fetched meanwhile has the same");
    const verified = await lakepack(["verify", `lakefs/${name}`, "--data", server.data]);
    t.equal(verified.code, 0, verified.err);
    await server.kill("SIGKILL");
    const again = await startBeside(
      t,
      lakefs,
      { LAKEPACK_LAKEFS_POLL_SECONDS: "0" },
      { data: server.data },
    );
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--mirror", `${again.url}/lakefs/${name}.git`, copy]);
    t.same(await objectSet(copy), await objectSet(mirror), "a restarted server");
  });
}

t.test(
  "pushed commits and those made in lakeFS, in turn: each kind becomes one pack",
  { skip: skipLakefs },
  async (t) => {
    const lakefs = await startLakefs(t);
    const name = await emptyRepository(lakefs, "mixed");
    const server = await startBeside(t, lakefs, { LAKEPACK_LAKEFS_POLL_SECONDS: "0" });
    const url = `${server.url}/lakefs/${name}.git`;
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", "-b", "main", work]);
    await git(["remote", "add", "origin", url], { cwd: work });
    for (let round = 0; round < 5; round++) {
      await commit(work, `pushed ${round}`, {
        [`d/pushed-${round % 2}.txt`]: `${round}\n`,
        "README.md": `# ${round}\n`,
      });
      await git(["push", "-q", "origin", "main"], { cwd: work });
      await put(lakefs, name, `d/native-${round}.txt`, `${round}\n`);
      await lakefs.client.in(name).commit("main", { message: `native ${round}` }, signal);
      await git(["pull", "-q", "--ff-only", "origin", "main"], { cwd: work });
    }
    const stored = new StoredSide(server, name);
    for (let again = 0; again < 2; again++) await stored.collect();
    t.same((await stored.packs()).map(({ origin }) => origin).sort(), ["repack", "synthesized"]);
    t.equal((await stored.files()).names.length, 6);
    const mirror = join(await tempFolder(t), "mirror");
    await git(["clone", "-q", "--mirror", url, mirror]);
    await checkFsck(t, mirror);
    t.same(await objectSet(mirror), await objectSet(work));
    t.match(await lakepack(["verify", `lakefs/${name}`, "--data", server.data]), { code: 0 });
    await commit(work, "one more", { "README.md": "# more\n" });
    await git(["push", "-q", "origin", "main"], { cwd: work });
  },
);
