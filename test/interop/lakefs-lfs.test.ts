/** Stock git-lfs and lakeFS: large files come out of lakeFS with their real bytes, and pushed ones go into it. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Random } from "../../bench/random.js";
import { skipLakefs, startLakefs } from "../lakefs/servers.js";
import { commit, git, startLakepack, tempFolder, tryGit } from "./harness.js";

const { signal } = new AbortController();
const hasLfs = spawnSync("git-lfs", ["version"]).status === 0;
const skip = skipLakefs !== false ? skipLakefs : hasLfs ? false : "git-lfs is not installed";

const FILTERS = [
  ...["-c", "filter.lfs.process=git-lfs filter-process", "-c", "filter.lfs.required=true"],
  ...["-c", "filter.lfs.clean=git-lfs clean -- %f", "-c", "filter.lfs.smudge=git-lfs smudge -- %f"],
];

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

for (const blocks of ["local", "s3"] as const) {
  t.test(`large files of lakeFS with ${blocks} blocks`, { skip, timeout: 180_000 }, async (t) => {
    const lakefs = await startLakefs(t, blocks);
    const { client } = lakefs;
    const { endpoint, accessKeyId, secretAccessKey } = lakefs.access;
    const env = { LAKEPACK_LAKEFS_ENDPOINT: endpoint, LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId, LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey };
    await client.createRepository({ name: "large", storage_namespace: lakefs.namespace("large"), default_branch: "main" }, signal);
    const weights = new Random(5).bytes(5_000_000);
    await client.uploadObject("large", "main", "model.safetensors", weights, {}, signal);
    await client.commit("large", "main", { message: "weights" }, signal);
    const server = await startLakepack(t, { env });
    const url = `${server.url}/lakefs/large.git`;
    const work = join(await tempFolder(t), "work");
    await git([...FILTERS, "clone", "-q", url, work]);

    await t.test("a clone has the real bytes and a clean status", async (t) => {
      t.equal(sha256(await readFile(join(work, "model.safetensors"))), sha256(weights));
      t.equal(await git([...FILTERS, "status", "--porcelain"], { cwd: work }), "");
    });

    await t.test("a pushed large file is in lakeFS with its real bytes, and another server serves it", async (t) => {
      const more = new Random(6).bytes(2_000_000);
      await writeFile(join(work, "more.safetensors"), more);
      for (const pair of FILTERS.filter((_, at) => at % 2 === 1)) await git(["config", ...(pair.split(/=(.*)/s).slice(0, 2) as [string, string])], { cwd: work });
      await commit(work, "more weights", {});
      t.match(await git(["show", "HEAD:more.safetensors"], { cwd: work }), /^version https:\/\/git-lfs/);
      const upload = spawnSync("git", ["lfs", "push", "--all", "origin", "main"], { cwd: work, encoding: "utf8", env: { PATH: process.env["PATH"], HOME: work } });
      t.equal(upload.status, 0, upload.stderr);
      const push = await tryGit(["push", "-q", "origin", "main"], { cwd: work });
      t.equal(push.code, 0, push.stderr);
      const { commit_id } = await client.getBranch("large", "main", signal);
      t.equal(sha256(await client.readObject("large", commit_id, "more.safetensors", 3_000_000, signal)), sha256(more));
      t.equal((await client.statObject("large", commit_id, "more.safetensors", signal)).checksum, `sha256:${sha256(more)}`);
      const other = await startLakepack(t, { env });
      const copy = join(await tempFolder(t), "copy");
      await git([...FILTERS, "clone", "-q", `${other.url}/lakefs/large.git`, copy]);
      t.equal(sha256(await readFile(join(copy, "more.safetensors"))), sha256(more));
      t.equal(await git(["rev-parse", "HEAD"], { cwd: copy }), await git(["rev-parse", "HEAD"], { cwd: work }));
    });

    await t.test("a pointer whose object is nowhere is refused with its path", async (t) => {
      const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"12".repeat(32)}\nsize 5\n`;
      await writeFile(join(work, "lost.safetensors"), pointer);
      await commit(work, "lost", {});
      const push = await tryGit(["push", "-q", "--no-verify", "origin", "main"], { cwd: work });
      t.not(push.code, 0);
      t.match(push.stderr, /lost\.safetensors/);
    });
  });
}
