/**
 * A node that collects files sleeps before each of its DELETEs, while another node takes pushes of
 * the very bytes that are to go: what was acknowledged stays whole.
 */
import { join } from "node:path";
import t from "tap";
import { leftovers, skipFleet, startFleet } from "../support/fleet-rig.js";
import { checkFsck, commit, git, tryGit } from "../support/harness.js";
import { lakepack } from "../support/lakepack-command.js";
import { operationOf, type S3Call, startS3Proxy } from "../support/s3-proxy.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(300_000);

/** Pushes that leave a pack that nothing names. */
const FAILED = 5;

const isManifest = ({ path }: S3Call) => /\/git\/manifest(\?|$)/.test(path);

t.test("the same bytes are pushed before each DELETE", { skip: skipFleet }, async (t) => {
  const fleet = await startFleet(t);
  const proxy = await startS3Proxy(t, fleet.s3);
  const slow = await fleet.node(undefined, { LAKEPACK_S3_ENDPOINT: proxy.endpoint });
  const other = await fleet.node();
  const name = "ns/slow.git";
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "main", work]);
  const first = await commit(work, "first", { "a.txt": "first\n" });
  await git(["push", "-q", `${slow.url}/${name}`, "main"], { cwd: work });
  const oids: string[] = [];
  proxy.onCall = (call) =>
    operationOf(call) === "PutObject" && isManifest(call)
      ? { as: "answer", status: 403, code: "AccessDenied" }
      : undefined;
  for (let at = 0; at < FAILED; at++) {
    await git(["checkout", "-q", "-B", `b${at}`, first], { cwd: work });
    oids.push(await commit(work, `branch ${at}`, { [`f${at}.txt`]: `${at}\n`.repeat(99) }));
    const run = await tryGit(["push", `${slow.url}/${name}`, `b${at}`], { cwd: work });
    t.not(run.code, 0, "its manifest cannot be written");
  }
  const left = (await leftovers(fleet)).filter((key) => key.endsWith(".pack"));
  t.equal(left.length, FAILED, "each has left a pack");

  const deleted: S3Call[] = [];
  const pushed: number[] = [];
  proxy.onCall = async (call) => {
    if (operationOf(call) !== "DeleteObject" || !/\.(pack|idx|rev)(\?|$)/.test(call.path))
      return undefined;
    const at = deleted.push(call) - 1;
    if (at >= FAILED) return undefined;
    const run = await tryGit(["push", `${other.url}/${name}`, `b${at}`], { cwd: work });
    t.equal(run.code, 0, run.stderr);
    pushed.push(at);
    return undefined;
  };
  const where = ["--data", slow.data];
  const collected = await lakepack(["gc", "--all", "--grace", "0", ...where], fleet.env);
  t.equal(collected.code, 0, collected.err);
  t.equal(pushed.length, FAILED, `${deleted.length} files were removed`);
  t.ok(deleted.length >= 2 * FAILED, `${deleted.length} files were removed`);

  for (const node of [slow, other]) {
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--mirror", `${node.url}/${name}`, copy]);
    await checkFsck(t, copy);
    for (const [at, oid] of oids.entries())
      t.equal(await git(["rev-parse", `refs/heads/b${at}`], { cwd: copy }), oid);
  }
  const verified = await lakepack(["verify", "--all", ...where], fleet.env);
  t.equal(verified.code, 0, `${verified.out}${verified.err}`);
  t.same(await leftovers(fleet), []);
});

t.test(
  "a push that sleeps before it names its pack comes too late, and its retry lands",
  { skip: skipFleet },
  async (t) => {
    const fleet = await startFleet(t);
    const proxy = await startS3Proxy(t, fleet.s3);
    const slow = await fleet.node(undefined, { LAKEPACK_S3_ENDPOINT: proxy.endpoint });
    const other = await fleet.node();
    const url = `${slow.url}/ns/late.git`;
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", "-b", "main", work]);
    await commit(work, "first", { "a.txt": "first\n" });
    await git(["push", "-q", url, "main"], { cwd: work });
    const oid = await commit(work, "second", { "a.txt": "second\n" });
    let collected = 0;
    proxy.onCall = async (call) => {
      if (operationOf(call) !== "PutObject" || !isManifest(call) || collected++ > 0)
        return undefined;
      const run = await lakepack(["gc", "--all", "--grace", "0", "--data", other.data], fleet.env);
      t.match(run.out, /[1-9]\d* files/, `the pack is gone: ${run.out}${run.err}`);
      return undefined;
    };
    const run = await tryGit(["push", url, "main"], { cwd: work });
    t.equal(collected > 0, true);
    t.not(run.code, 0, run.stderr);
    t.equal((await tryGit(["push", url, "main"], { cwd: work })).code, 0, "its retry");
    for (const node of [slow, other]) {
      const copy = join(await tempFolder(t), "copy");
      await git(["clone", "-q", "--mirror", `${node.url}/ns/late.git`, copy]);
      await checkFsck(t, copy);
      t.equal(await git(["rev-parse", "refs/heads/main"], { cwd: copy }), oid);
    }
  },
);
