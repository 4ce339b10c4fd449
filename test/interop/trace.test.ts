/** Log level trace: every pkt-line and every call of lakeFS, with nothing in it that lets anybody in. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { skipLakefs, startLakefs } from "../lakefs/servers.js";
import { seed, signal, startBeside } from "./lakefs-beside.js";
import { commit, git, type Lakepack, startLakepack, tempFolder } from "./harness.js";

interface Line {
  readonly msg: string;
  readonly packet?: string;
  readonly name?: string;
  readonly service?: string;
}

function linesOf(server: Lakepack): Line[] {
  return server
    .log()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Line);
}

t.test("pkt-lines of a push and a clone, both ways; packs are counted", { timeout: 120_000 }, async (t) => {
  const server = await startLakepack(t, { args: ["--log-level", "trace"] });
  const folder = await tempFolder(t);
  const work = join(folder, "work");
  await git(["init", "-q", work]);
  await commit(work, "one", { "a.txt": "a secret content\n" });
  const head = await git(["rev-parse", "HEAD"], { cwd: work });
  const url = `${server.url}/ns/traced.git`;
  await git(["push", "-q", url, "main"], { cwd: work });
  await git(["clone", "-q", url, join(folder, "v2")]);
  await git(["clone", "-q", url, join(folder, "v0")], { version: 0 });
  await server.stop();
  const packets = linesOf(server).filter(({ msg }) => msg === "packet");
  const said = (service: string) => packets.filter((line) => line.service === service).map(({ packet }) => packet ?? "");
  const push = said("receive-pack").join("\n");
  t.match(push, new RegExp(`< 0{40} ${head} refs/heads/main`), "the command");
  t.match(push, /< PACK …/);
  t.match(push, /< \d+ bytes that are no pkt-lines/);
  t.match(push, /> flush/);
  const fetch = said("upload-pack").join("\n");
  for (const line of ["< command=ls-refs", `< want ${head}`, "< done", `> ${head} HEAD`, "> \\1packfile", "> band 1, ", "> NAK"]) t.match(fetch, line);
  t.notMatch(server.log(), "secret content");
});

t.test("calls of lakeFS, those of pool threads too; no key and no signature", { skip: skipLakefs, timeout: 180_000 }, async (t) => {
  const lakefs = await startLakefs(t, "s3");
  await seed(lakefs, "traced", { "a.txt": "a\n" });
  await lakefs.client.uploadObject("traced", "main", "large.bin", Buffer.alloc(3_000_000, 1), {}, signal);
  await lakefs.client.commit("traced", "main", { message: "large" }, signal);
  const server = await startBeside(t, lakefs, { args: ["--log-level", "trace"] });
  const folder = await tempFolder(t);
  const clone = join(folder, "clone");
  const url = `${server.url}/lakefs/traced.git`;
  const lfs = ["-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.process=git-lfs filter-process", "-c", "filter.lfs.required=true"];
  await git([...lfs, "clone", "-q", url, clone]);
  await writeFile(join(clone, "b.txt"), "b\n");
  await git(["add", "b.txt"], { cwd: clone });
  await git(["commit", "-q", "-m", "two"], { cwd: clone });
  await git([...lfs, "push", "-q", "origin", "main"], { cwd: clone });
  await server.stop();
  const calls = new Set(linesOf(server).filter(({ msg }) => msg === "lakefs call").map(({ name }) => name));
  for (const name of ["getRepository", "listBranches", "readObject", "uploadObject", "merge", "hardReset"]) t.ok(calls.has(name), name);
  t.ok(calls.has("presignObject"), "a signed address was made");
  const { accessKeyId, secretAccessKey } = lakefs.access;
  const basic = Buffer.from(`${accessKeyId}:${secretAccessKey}`).toString("base64");
  for (const secret of [secretAccessKey, basic, "X-Amz-Signature", "X-Amz-Credential", "proof="]) t.notMatch(server.log(), secret);
});
