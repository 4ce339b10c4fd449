/**
 * Log level trace: every pkt-line and every call of lakeFS, with nothing in it that lets anybody
 * in.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { startGuarded } from "../support/accounts-rig.js";
import { settingsFor, seed, signal, startBeside } from "../support/lakefs-rig.js";
import { commit, git, type Lakepack, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const SKIP_LFS =
  spawnSync("git", ["lfs", "version"]).status === 0 ? false : "git-lfs is not installed";

interface Line {
  readonly msg: string;
  readonly packet?: string;
  readonly name?: string;
  readonly service?: string;
  readonly caller?: string;
}

function linesOf(server: Lakepack): Line[] {
  return server
    .log()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Line);
}

t.test(
  "pkt-lines of a push and a clone, both ways; packs are counted",
  { timeout: 120_000 },
  async (t) => {
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
    const said = (service: string) =>
      packets.filter((line) => line.service === service).map(({ packet }) => packet ?? "");
    const push = said("receive-pack").join("\n");
    t.match(push, new RegExp(`< 0{40} ${head} refs/heads/main`), "the command");
    t.match(push, /< PACK …/);
    t.match(push, /< \d+ bytes that are no pkt-lines/);
    t.match(push, /> flush/);
    const fetch = said("upload-pack").join("\n");
    for (const line of [
      "< command=ls-refs",
      `< want ${head}`,
      "< done",
      `> ${head} HEAD`,
      "> \\1packfile",
      "> band 1, ",
      "> NAK",
    ])
      t.match(fetch, line);
    t.notMatch(server.log(), "secret content");
  },
);

t.test(
  "calls of lakeFS, those of pool threads too; no key and no signature",
  { skip: skipLakefs, timeout: 180_000 },
  async (t) => {
    const lakefs = await startLakefs(t, "s3");
    await seed(lakefs, "traced", { "a.txt": "a\n" });
    await lakefs.client
      .in("traced")
      .uploadObject("main", "large.bin", Buffer.alloc(3_000_000, 1), {}, signal);
    await lakefs.client.in("traced").commit("main", { message: "large" }, signal);
    const server = await startBeside(t, lakefs, {}, { args: ["--log-level", "trace"] });
    const folder = await tempFolder(t);
    const clone = join(folder, "clone");
    const url = `${server.url}/lakefs/traced.git`;
    const lfs = [
      "-c",
      "filter.lfs.smudge=git-lfs smudge -- %f",
      "-c",
      "filter.lfs.process=git-lfs filter-process",
      "-c",
      "filter.lfs.required=true",
    ];
    await git([...lfs, "clone", "-q", url, clone]);
    await writeFile(join(clone, "b.txt"), "b\n");
    await git(["add", "b.txt"], { cwd: clone });
    await git(["commit", "-q", "-m", "two"], { cwd: clone });
    await git([...lfs, "push", "-q", "origin", "main"], { cwd: clone });
    await server.stop();
    const calls = new Set(
      linesOf(server)
        .filter(({ msg }) => msg === "lakefs call")
        .map(({ name }) => name),
    );
    for (const name of [
      "getRepository",
      "listBranches",
      "readObject",
      "uploadObject",
      "merge",
      "hardReset",
    ])
      t.ok(calls.has(name), name);
    t.ok(calls.has("presignObject"), "a signed address was made");
    const { accessKeyId, secretAccessKey } = lakefs.access;
    const basic = Buffer.from(`${accessKeyId}:${secretAccessKey}`).toString("base64");
    for (const secret of [secretAccessKey, basic, "X-Amz-Signature", "X-Amz-Credential", "proof="])
      t.notMatch(server.log(), secret);
  },
);

/** Spellings of what lets anybody in: the token, and the header it came in. */
const shapesOf = (token: string) => [
  token,
  ...["git", "x", ""].map((user) => Buffer.from(`${user}:${token}`).toString("base64")),
  Buffer.from(`${token}:`).toString("base64"),
];

t.test(
  "a trace of callers who sign in, over Git, LFS and the API, on S3 blocks, holds no secret",
  { skip: skipLakefs === false ? SKIP_LFS : skipLakefs, timeout: 240_000 },
  async (t) => {
    const lakefs = await startLakefs(t, "s3");
    await seed(lakefs, "secrets", { "a.txt": "a\n" });
    await lakefs.client
      .in("secrets")
      .uploadObject("main", "large.bin", Buffer.alloc(3_000_000, 1), {}, signal);
    await lakefs.client.in("secrets").commit("main", { message: "large" }, signal);
    const hook = "a-secret-that-lakefs-shows";
    const server = await startGuarded(t, {
      args: ["--log-level", "trace"],
      env: { ...settingsFor(lakefs), LAKEPACK_LAKEFS_WEBHOOK_SECRET: hook },
    });
    const [owner, revoked] = [await server.user("acme"), await server.token("acme", "admin")];
    await server.command("token.revoke", {
      id:
        (await server.command("token.list", { user: "acme", after: "" })).find(
          ({ scope }) => scope === "admin",
        )?.id ?? "",
    });
    await server.command("repo.create", { name: "acme/bound", lakefs: "secrets" });
    const wrong = `lpk_${"q".repeat(32)}`;
    const lfs = [
      "-c",
      "filter.lfs.smudge=git-lfs smudge -- %f",
      "-c",
      "filter.lfs.process=git-lfs filter-process",
      "-c",
      "filter.lfs.required=true",
      "-c",
      "filter.lfs.clean=git-lfs clean -- %f",
    ];
    const clone = join(await tempFolder(t), "clone");
    await git([...lfs, "clone", "-q", server.at("acme/bound", owner), clone]);
    t.equal((await readFile(join(clone, "large.bin"))).length, 3_000_000);
    await git(["lfs", "install", "--local"], { cwd: clone });
    await writeFile(join(clone, "more.bin"), Buffer.alloc(2_000_000, 2));
    await writeFile(join(clone, "b.txt"), "b\n");
    await git(["add", "-A"], { cwd: clone });
    await git(["commit", "-q", "-m", "two"], { cwd: clone });
    await git([...lfs, "push", "-q", "origin", "main"], { cwd: clone });
    await git(
      [...lfs, "clone", "-q", server.at("acme/bound", owner), join(await tempFolder(t), "again")],
      { version: 0 },
    );
    await git([...lfs, "push", "-q", server.at("acme/plain", owner), "main"], { cwd: clone });
    for (const token of [wrong, revoked])
      await tryGit(["ls-remote", server.at("acme/bound", token)]);
    const proofs: string[] = [];
    for (const [name, operation] of [
      ["acme/bound", "upload"],
      ["acme/plain", "upload"],
      ["acme/plain", "download"],
    ] as const) {
      const object =
        operation === "upload"
          ? { oid: "c".repeat(64), size: 5 }
          : {
              oid: createHash("sha256").update(Buffer.alloc(2_000_000, 2)).digest("hex"),
              size: 2_000_000,
            };
      const reply = await fetch(`${server.url}/${name}.git/info/lfs/objects/batch`, {
        method: "POST",
        headers: {
          "Content-Type": "application/vnd.git-lfs+json",
          Authorization: `Bearer ${owner}`,
        },
        body: JSON.stringify({ operation, objects: [object] }),
      });
      const links = [...(await reply.text()).matchAll(/"href":"([^"]+)"/g)].map(
        ([, href]) => href ?? "",
      );
      t.ok(links.length > 0, `${name}, ${operation}`);
      for (const link of links) {
        proofs.push(...(new URL(link).searchParams.get("proof")?.split("-").slice(1) ?? []));
        await fetch(link, operation === "download" ? {} : { method: "PUT", body: "wrong content" });
      }
    }
    t.ok(proofs.length > 4);
    for (const shown of [hook, "another-secret"])
      await fetch(`${server.url}/api/lakefs/webhook`, {
        method: "POST",
        headers: { "X-Lakepack-Secret": shown },
        body: JSON.stringify({ repository_id: "secrets" }),
      });
    await fetch(`${server.url}/api/repos/acme/bound`, {
      headers: { Authorization: `Bearer ${owner}` },
    });
    await fetch(`${server.url}/metrics`, {
      headers: { Authorization: `Bearer ${server.adminToken}` },
    });
    await server.stop();

    const lines = linesOf(server);
    const events = new Set(lines.map(({ msg }) => msg));
    for (const event of ["packet", "lakefs call", "request"]) t.ok(events.has(event), event);
    const calls = new Set(lines.filter(({ msg }) => msg === "lakefs call").map(({ name }) => name));
    t.ok(calls.has("presignObject"), "addresses were signed");
    t.ok(lines.some((line) => line.msg === "request" && line.caller === "user acme"));
    const { accessKeyId, secretAccessKey } = lakefs.access;
    const secrets = [
      ...[owner, revoked, wrong, server.adminToken].flatMap(shapesOf),
      ...[owner, revoked].map((token) => createHash("sha256").update(token).digest("hex")),
      secretAccessKey,
      Buffer.from(`${accessKeyId}:${secretAccessKey}`).toString("base64"),
      hook,
      "another-secret",
      ...proofs,
    ];
    for (const secret of secrets) t.notOk(server.log().includes(secret), `${secret.slice(0, 6)}…`);
    for (const trace of [
      /X-Amz-Signature/i,
      /X-Amz-Credential/i,
      /proof=[^…]/,
      /authorization/i,
      /Bearer /,
      /Basic [A-Za-z0-9+/=]{8}/,
    ])
      t.notMatch(server.log(), trace);
  },
);
