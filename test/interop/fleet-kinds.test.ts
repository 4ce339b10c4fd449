/**
 * What else a fleet serves: files of Git LFS, and repositories of lakeFS, whose notes and packs one
 * node makes for all.
 */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { type Call, kindOf, startProxy } from "../support/lakefs-proxy.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { emptyRepository, put, settingsFor, signal } from "../support/lakefs-rig.js";
import { checkFsck, commit, git, objectSet, tryGit } from "../support/harness.js";
import { skipFleet, startFleet } from "../support/fleet-rig.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(300_000);

const SKIP_LFS =
  skipFleet ||
  (spawnSync("git", ["lfs", "version"]).status === 0 ? false : "git-lfs is not installed");

t.test("git-lfs: pushed to one node, cloned from another", { skip: SKIP_LFS }, async (t) => {
  const fleet = await startFleet(t);
  const [a, b] = [await fleet.node(), await fleet.node()];
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "main", work]);
  await git(["lfs", "install", "--local"], { cwd: work });
  await git(["lfs", "track", "*.bin"], { cwd: work });
  const content = randomBytes(21_000_000);
  await writeFile(join(work, "big.bin"), content);
  await commit(work, "big", { "small.txt": "small\n" });
  const url = (node: typeof a) => `${node.url}/me/lfs.git`;
  await git(["remote", "add", "origin", url(a)], { cwd: work });
  await git(["push", "-q", "origin", "main"], { cwd: work });
  for (const node of [b, await fleet.node()]) {
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--no-checkout", url(node), copy]);
    await git(["lfs", "install", "--local"], { cwd: copy });
    await git(["checkout", "-q", "main"], { cwd: copy });
    const sum = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
    t.equal(sum(await readFile(join(copy, "big.bin"))), sum(content));
    t.match(await git(["lfs", "fsck"], { cwd: copy }), "Git LFS fsck OK");
  }
  // Another repository, by another node: the same bytes once more, and one copy in the store.
  const other = await tryGit(["push", "-q", `${b.url}/me/other.git`, "main"], { cwd: work });
  t.equal(other.code, 0, other.stderr);
});

t.test(
  "lakeFS: a second node reads no content again",
  { skip: skipFleet || skipLakefs },
  async (t) => {
    const lakefs = await startLakefs(t);
    const name = await emptyRepository(lakefs, "fleet");
    for (let at = 0; at < 30; at++) await put(lakefs, name, `d${at % 3}/f${at}`, `file ${at}\n`);
    await lakefs.client.in(name).commit("main", { message: "one" }, signal);
    const proxy = await startProxy(t, lakefs);
    const fleet = await startFleet(t, {
      ...settingsFor({ ...lakefs, access: { ...lakefs.access, endpoint: proxy.url } }),
      LAKEPACK_LAKEFS_POLL_SECONDS: "0",
    });
    const [a, b] = [await fleet.node(), await fleet.node()];
    const url = (node: typeof a) => `${node.url}/lakefs/${name}.git`;
    const cloned = async (node: typeof a) => {
      const copy = join(await tempFolder(t), "copy");
      await git(["clone", "-q", url(node), copy]);
      await checkFsck(t, copy);
      return copy;
    };
    const first = await cloned(a);
    const contents = () => proxy.calls.filter((call: Call) => kindOf(call) === "content").length;
    t.ok(contents() > 0);
    const before = contents();
    const second = await cloned(b);
    t.equal(contents() - before, 0, "no content is read again");
    t.same(await objectSet(second), await objectSet(first));

    await t.test("pushes to both land, and both serve them", async (t) => {
      const oid = await commit(second, "by b", { "new.txt": "new\n" });
      await git(["push", "-q", "origin", "HEAD:refs/heads/main"], { cwd: second });
      t.equal((await git(["ls-remote", url(a), "refs/heads/main"])).slice(0, 40), oid);
      const late = await commit(first, "by a, too late", { "late.txt": "late\n" });
      const refused = await tryGit(["push", "origin", "HEAD:refs/heads/main"], { cwd: first });
      t.not(refused.code, 0, refused.stderr);
      await git(["push", "-q", "origin", `${late}:refs/heads/side`], { cwd: first });
      for (const node of [a, b]) {
        const copy = await cloned(node);
        t.equal(await git(["rev-parse", "origin/side"], { cwd: copy }), late);
      }
    });
  },
);
