/** Stock git-lfs against a server over a real lakeFS: what lakeFS has comes out as files, what is pushed goes in as files. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { createSource, signal } from "../lakefs/reading.js";
import { skipLakefs, startLakefs } from "../lakefs/servers.js";
import { commit, git, startLakepack, tempFolder, tryGit } from "./harness.js";

const SKIP = spawnSync("git", ["lfs", "version"]).status === 0 ? skipLakefs : "git-lfs is not installed";
const FILTERS = ["filter.lfs.clean=git-lfs clean -- %f", "filter.lfs.smudge=git-lfs smudge -- %f", "filter.lfs.process=git-lfs filter-process", "filter.lfs.required=true"];

for (const blocks of ["local", "s3"] as const) {
  t.test(`a clone has lakeFS's large files, and a push brings lakeFS large files (${blocks} blocks)`, { skip: SKIP }, async (t) => {
    const lakefs = await startLakefs(t, blocks);
    const source = await createSource(lakefs);
    const large = randomBytes(5_000_000);
    await source.put({ "README.md": "# Model\n", "weights/model.safetensors": large });
    await source.commit("by lakeFS's own tools");
    const { endpoint, accessKeyId, secretAccessKey } = lakefs.access;
    const env = { LAKEPACK_LAKEFS_ENDPOINT: endpoint, LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId, LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey };
    const server = await startLakepack(t, { env });
    const url = `${server.url}/lakefs/${source.name}.git`;
    const work = join(await tempFolder(t), "work");
    const cloned = await tryGit(["clone", "-q", ...FILTERS.flatMap((filter) => ["-c", filter]), url, work]);
    t.equal(cloned.code, 0, cloned.stderr);
    t.ok((await readFile(join(work, "weights/model.safetensors"))).equals(large), "the real bytes came");
    const through = (server.log().match(/"method":"GET","path":"[^"]*info\/lfs\/objects\//g) ?? []).length;
    t.equal(through, blocks === "s3" ? 0 : 1, "by presigned address where the block store has them");

    await git(["lfs", "install", "--local"], { cwd: work });
    const more = randomBytes(3_000_000);
    await writeFile(join(work, "more.safetensors"), more);
    await commit(work, "one more", { ".gitattributes": `${await readFile(join(work, ".gitattributes"), "utf8")}*.safetensors filter=lfs diff=lfs merge=lfs -text\n` });
    const pushed = await tryGit(["push", "origin", "main"], { cwd: work });
    t.equal(pushed.code, 0, pushed.stderr);
    const { commit_id: head } = await lakefs.client.getBranch(source.name, "main", signal);
    const seen = await lakefs.client.readObject(source.name, head, "more.safetensors", more.length, signal);
    t.ok(Buffer.from(seen).equals(more), "lakeFS shows the real bytes");
    const again = join(await tempFolder(t), "again");
    await git(["clone", "-q", ...FILTERS.flatMap((filter) => ["-c", filter]), url, again]);
    t.ok((await readFile(join(again, "more.safetensors"))).equals(more));
  });
}
