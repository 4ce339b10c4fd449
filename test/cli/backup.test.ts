/**
 * Backup and restore: what was acknowledged before a backup began is in it, whatever goes on
 * meanwhile and whenever it is killed.
 */
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, rmdirSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { sleep } from "../../src/base/flow.js";
import { backUp } from "../../src/cli/backup/backup.js";
import { Database } from "../../src/database/database.js";
import { findLinked } from "../../src/database/lfs.js";
import { findRepository } from "../../src/database/repositories.js";
import { startGuarded } from "../support/accounts-rig.js";
import { checkFsck, commit, folderOf, git, startLakepack, tryGit } from "../support/harness.js";
import { type Run, lakepack as run } from "../support/lakepack-command.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(600_000);

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const WITHOUT_LFS =
  spawnSync("git", ["lfs", "version"]).status === 0 ? false : "git-lfs is not installed";
const TMPFS_BYTES = 1_000_000;

async function good(t: Test, args: readonly string[]): Promise<string> {
  const { code, out, err } = await run(args);
  t.equal(code, 0, `${args.join(" ")}: ${out}${err}`);
  return out;
}

function lakepackKilledAfter(ms: number, args: readonly string[]): Promise<Run> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: "ignore" });
  const timer = setTimeout(() => child.kill("SIGKILL"), ms);
  return new Promise((resolve) =>
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code, out: "", err: "" });
    }),
  );
}

/** One push that was begun, in the order of its ref. */
interface Entry {
  readonly name: string;
  readonly ref: string;
  readonly oid: string;
  isOk: boolean;
}

/** Pushes commits with an LFS object each until it is stopped, and returns its working copy. */
async function pushOn(
  t: Test,
  { ref, entries, urlOf }: { ref: string; entries: Entry[]; urlOf: (number: number) => string },
  isOver: () => boolean,
): Promise<string> {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "main", work]);
  await git(["lfs", "install", "--local"], { cwd: work });
  await git(["lfs", "track", "*.bin"], { cwd: work });
  for (let number = 0; !isOver(); number++) {
    const url = urlOf(number);
    await writeFile(join(work, "a.bin"), randomBytes(30_000));
    await git(["add", "-A"], { cwd: work });
    await git(["commit", "-q", "-m", `${ref} ${number}`], { cwd: work });
    const oid = await git(["rev-parse", "HEAD"], { cwd: work });
    const name = new URL(url).pathname.slice(1, -".git".length);
    const entry = { name, ref, oid, isOk: false };
    entries.push(entry);
    entry.isOk = (await tryGit(["push", url, `HEAD:${ref}`], { cwd: work })).code === 0;
  }
  return work;
}

/**
 * Holds a restored folder against the pushes: each ref at the last that was acknowledged before the
 * backup began, or one behind it.
 */
async function holdAgainst(
  t: Test,
  data: string,
  entries: readonly Entry[],
  acknowledged: ReadonlySet<Entry>,
): Promise<void> {
  const wrong: string[] = [];
  const refs = new Map(entries.map(({ name, ref }) => [`${name} ${ref}`, { name, ref }]));
  for (const { name, ref } of refs.values()) {
    const own = entries.filter((entry) => entry.name === name && entry.ref === ref);
    const last = own.findLastIndex((entry) => acknowledged.has(entry));
    const may = own.slice(Math.max(last, 0)).map(({ oid }) => oid);
    const folder = await folderOf(data, name).catch(() => undefined);
    const is =
      folder === undefined || !existsSync(folder)
        ? ""
        : (await tryGit(["--git-dir", join(folder, "git"), "rev-parse", ref])).stdout.trim();
    const isThere = may.includes(is);
    if (isThere && folder !== undefined) await checkLinked(data, name, join(folder, "git"), is);
    if (!isThere && (last >= 0 || /^[0-9a-f]{40}$/.test(is)))
      wrong.push(`${name} ${ref} is ${is || "absent"}, and may be ${may.join(" or ")}`);
  }
  t.same(wrong, [], `${acknowledged.size} of ${entries.length} pushes`);
}

/** Throws where a commit's LFS object is not the repository's: half of a push was restored. */
async function checkLinked(data: string, name: string, folder: string, oid: string): Promise<void> {
  const pointer = await git(["--git-dir", folder, "show", `${oid}:a.bin`]);
  const object = /^oid sha256:(\w+)$/m.exec(pointer)?.[1] ?? "";
  const database = await Database.openToRead(join(data, "lakepack.db"));
  const row = database && (await findRepository(database, name));
  const linked = row && (await findLinked(database, row.id, object));
  await database?.close();
  if (linked === undefined) throw new Error(`${name}: ${oid} is without its LFS object ${object}`);
}

async function checkPrivate(t: Test, data: string): Promise<void> {
  const open: string[] = [];
  for (const entry of await readdir(data, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const { mode } = await stat(path);
    const isPrivate = entry.isDirectory() ? (mode & 0o777) === 0o700 : (mode & 0o777) === 0o600;
    if (!isPrivate && entry.name !== "lock") open.push(`${path} ${mode.toString(8)}`);
  }
  t.same(open, [], "files for their owner alone");
  t.equal((await stat(data)).mode & 0o777, 0o700);
}

t.test(
  "backups beside pushes and git-lfs hold what was acknowledged, whenever one is killed",
  { skip: WITHOUT_LFS },
  async (t) => {
    const server = await startLakepack(t);
    const place = await tempFolder(t);
    const folder = join(place, "backup");
    const entries: Entry[] = [];
    let isOver = false;
    const urlOf = (name: string) => `${server.url}/${name}.git`;
    const pushing = [
      pushOn(t, { ref: "refs/heads/a", entries, urlOf: () => urlOf("me/model") }, () => isOver),
      pushOn(
        t,
        { ref: "refs/heads/new", entries, urlOf: (number) => urlOf(`me/new-${number}`) },
        () => isOver,
      ),
    ];
    const collecting = (async () => {
      while (!isOver) {
        await run(["gc", "--all", "--grace", "0", "--data", server.data]);
        await sleep(300);
      }
    })();
    try {
      while (entries.filter(({ isOk }) => isOk).length < 4) await sleep(50);
      let acknowledged: ReadonlySet<Entry> = new Set();
      const args = ["backup", folder, "--data", server.data];
      for (const killMs of [undefined, 250, 400, undefined, 550, undefined]) {
        const before = new Set(entries.filter(({ isOk }) => isOk));
        const ran =
          killMs === undefined ? await run(args) : await lakepackKilledAfter(killMs, args);
        if (killMs === undefined) t.equal(ran.code, 0, ran.err);
        if (ran.code === 0) acknowledged = before;
        const data = join(place, `restored-${killMs ?? "whole"}`);
        await good(t, ["restore", folder, "--data", data]);
        await holdAgainst(t, data, entries, acknowledged);
        await good(t, ["verify", "--all", "--data", data]);
        await good(t, ["doctor", "--data", data]);
        if (killMs !== undefined || ran.code === 0) await rename(data, `${data}-${Date.now()}`);
      }
    } finally {
      isOver = true;
      await Promise.all([...pushing, collecting]);
    }
    const data = join(place, "last");
    await good(t, ["backup", folder, "--data", server.data]);
    await server.stop();
    await good(t, ["restore", folder, "--data", data, "--verify"]);
    await checkPrivate(t, data);
    const other = await startLakepack(t, { data });
    const last = entries.findLast(({ name, isOk }) => name === "me/model" && isOk);
    const copy = join(place, "copy");
    await git(["clone", "-q", "-b", "a", `${other.url}/me/model.git`, copy]);
    t.equal(await git(["rev-parse", "HEAD"], { cwd: copy }), last?.oid);
    await git(["lfs", "install", "--local"], { cwd: copy });
    await git(["lfs", "fetch", "--all"], { cwd: copy });
    t.match(await git(["lfs", "fsck"], { cwd: copy }), "Git LFS fsck OK");
    await checkFsck(t, copy);
    await checkFsck(t, join(await folderOf(data, "me/model"), "git"));
  },
);

t.test(
  "a push that comes between two repositories is there as a whole, or not at all",
  { skip: WITHOUT_LFS },
  async (t) => {
    const server = await startLakepack(t);
    const place = await tempFolder(t);
    const [folder, data] = [join(place, "backup"), join(place, "restored")];
    await mkdir(folder);
    const names = ["me/a", "me/b"];
    const entries: Entry[] = [];
    let work = "";
    for (const name of names) {
      let pushes = 0;
      const urlOf = () => `${server.url}/${name}.git`;
      work = await pushOn(t, { ref: "refs/heads/main", entries, urlOf }, () => pushes++ > 0);
    }
    await git(["checkout", "-q", "-b", "late"], { cwd: work });
    await writeFile(join(work, "a.bin"), randomBytes(30_000));
    await git(["commit", "-q", "-am", "late"], { cwd: work });
    let hasPushed = false;
    await backUp({
      data: server.data,
      database: join(server.data, "lakepack.db"),
      folder,
      withoutDamaged: false,
      signal: new AbortController().signal,
      onProgress: ({ repositories }) => {
        if (hasPushed || repositories === 0) return;
        hasPushed = true;
        for (const name of [...names, "me/new"]) {
          const url = `${server.url}/${name}.git`;
          const { status, stderr } = spawnSync("git", ["push", url, "late"], { cwd: work });
          t.equal(status, 0, String(stderr));
        }
      },
    });
    t.ok(hasPushed);
    await good(t, ["restore", folder, "--verify", "--data", data]);
    t.match(await good(t, ["doctor", "--data", data]), "the store has no others");
    const late: string[] = [];
    for (const name of names) {
      const repository = join(await folderOf(data, name), "git");
      const refs = await git(["--git-dir", repository, "for-each-ref", "--format=%(objectname)"]);
      for (const oid of refs.split("\n")) await checkLinked(data, name, repository, oid);
      if (refs.includes("\n")) late.push(name);
    }
    t.equal(late.length, 1, "the one that was copied after it");
    const other = await startLakepack(t, { data });
    const fresh = `${other.url}/me/new.git`;
    t.not((await tryGit(["ls-remote", fresh])).code, 0, "its first push is absent");
    await git(["push", "-q", fresh, "late"], { cwd: work });
  },
);

async function pushed(t: Test, url: string, text: string): Promise<string> {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, text, { "a.txt": `${text}\n` });
  await git(["push", "-q", url, "HEAD:refs/heads/main"], { cwd: work });
  return work;
}

t.test("ids, tokens, grants, visibility and settings are as they were", async (t) => {
  const server = await startGuarded(t);
  const [acme, rita] = [await server.user("acme"), await server.user("rita")];
  const name = "acme/model";
  const work = await pushed(t, server.at(name, acme), "first");
  await server.command("repo.grant", { name, user: "rita", role: "write" });
  await server.command("repo.set", { name, settings: { lfs_missing_objects: "warn" } });
  const place = await tempFolder(t);
  const [folder, data] = [join(place, "backup"), join(place, "restored")];
  await good(t, ["backup", folder, "--data", server.data]);
  await good(t, ["restore", folder, "--data", data]);
  t.equal(
    (await folderOf(data, name)).replace(data, ""),
    (await folderOf(server.data, name)).replace(server.data, ""),
  );
  const other = await startGuarded(t, { data });
  t.equal(other.adminToken, "", "it has its users");
  t.not((await tryGit(["ls-remote", other.at(name)])).code, 0, "private as before");
  t.match(await git(["ls-remote", other.at(name, rita)]), "refs/heads/main");
  await git(["push", "-q", other.at(name, rita), "HEAD:refs/heads/side"], { cwd: work });
  const shown = await other.command("repo.describe", { name });
  t.match(shown, { settings: { lfs_missing_objects: { value: "warn", from: "repository" } } });
});

t.test("a second backup copies what is new, and removes what nothing names", async (t) => {
  const server = await startLakepack(t);
  const folder = join(await tempFolder(t), "backup");
  const backup = async () =>
    JSON.parse(await good(t, ["backup", folder, "--json", "--data", server.data])) as {
      files_new: number;
      repositories: number;
    };
  await pushed(t, `${server.url}/me/one.git`, "one");
  t.match(await backup(), { files_new: 3, repositories: 1 });
  t.match(await backup(), { files_new: 0, repositories: 1 });
  await pushed(t, `${server.url}/me/two.git`, "two");
  t.match(await backup(), { files_new: 3, repositories: 2 });
  await good(t, ["repo", "delete", "me/one", "--yes", "--data", server.data]);
  await good(t, ["repo", "forget", "me/one", "--yes", "--data", server.data]);
  t.match(await backup(), { files_new: 0, repositories: 1 });
  const entries = await readdir(join(folder, "files"), { recursive: true });
  t.equal(entries.filter((name) => name.endsWith(".pack")).length, 1);
  t.equal((await readdir(join(folder, "runs"))).length, 1);
});

t.test("what is damaged is told, and the backup before it stays", async (t) => {
  const server = await startLakepack(t);
  const place = await tempFolder(t);
  const folder = join(place, "backup");
  const args = ["backup", folder, "--data", server.data];
  await pushed(t, `${server.url}/me/good.git`, "good");
  await pushed(t, `${server.url}/me/bad.git`, "bad");
  await good(t, args);
  const record = await readFile(join(folder, "backup.json"), "utf8");
  const git = join(await folderOf(server.data, "me/bad"), "git");
  const manifest = await readFile(join(git, "manifest"));
  const another = await pushed(t, `${server.url}/me/bad.git`, "more").catch(() => undefined);
  t.equal(another, undefined, "another history is refused");
  await truncate(join(git, "manifest"), manifest.length - 10);
  const refused = await run(args);
  t.equal(refused.code, 1);
  t.match(refused.err, /missing or damaged.*me\/bad/);
  t.equal(await readFile(join(folder, "backup.json"), "utf8"), record);
  const data = join(place, "restored");
  await good(t, ["restore", folder, "--verify", "--data", data]);
  t.same(await readFile(join(await folderOf(data, "me/bad"), "git/manifest")), manifest);

  t.match(await good(t, [...args, "--damaged"]), /LEFT OUT.*me\/bad/);
  const lame = join(place, "lame");
  t.equal((await run(["restore", folder, "--data", lame])).code, 1);
  t.notOk(existsSync(join(lame, "lakepack.db")), "nothing is restored");
  await good(t, ["restore", folder, "--damaged", "--data", lame]);
  t.match((await run(["verify", "--all", "--data", lame])).out, /me\/bad: DAMAGED/);
  t.match(await good(t, ["verify", "me/good", "--data", lame]), /me\/good: good/);

  const [pack = ""] = (await readdir(join(folder, "files"), { recursive: true })).filter((name) =>
    name.endsWith(".pack"),
  );
  await rm(join(folder, "files", pack));
  const lost = await run(["restore", folder, "--damaged", "--data", join(place, "lost")]);
  t.match(lost.out, /LEFT OUT.*me\//);
});

t.test("what must not be overwritten is refused", async (t) => {
  const server = await startLakepack(t);
  await pushed(t, `${server.url}/me/one.git`, "one");
  const place = await tempFolder(t);
  const folder = join(place, "backup");
  const refused = async (args: readonly string[], words: RegExp, code = 1) => {
    const ran = await run(args);
    t.equal(ran.code, code, args.join(" "));
    t.match(ran.err, words);
  };
  await good(t, ["backup", folder, "--data", server.data]);
  await refused(["restore", folder, "--data", server.data], /empty data folder only/);
  await refused(["restore", join(place, "typo"), "--data", join(place, "x")], /no finished backup/);
  t.notOk(existsSync(join(place, "typo")));
  await refused(["backup", join(server.data, "b"), "--data", server.data], /apart from/, 2);
  await mkdir(join(place, "full"));
  await writeFile(join(place, "full", "thesis.txt"), "mine");
  await refused(["backup", join(place, "full"), "--data", server.data], /something else/);
  await refused(["backup", folder, "--data", join(place, "none")], /no database here/);
  const other = await startLakepack(t);
  await pushed(t, `${other.url}/me/one.git`, "one");
  await refused(["backup", folder, "--data", other.data], /something else/);
  const env = { LAKEPACK_STORE: "s3://bucket/prefix" };
  const elsewhere = await run(["backup", folder, "--data", server.data], env);
  t.match(elsewhere.err, /store on disk with SQLite/);
  await good(t, ["restore", folder, "--data", join(place, "restored"), "--verify"]);
});

t.test("a full disk is told, and leaves the backup before it", { skip: skipTmpfs() }, async (t) => {
  const place = await tempFolder(t);
  const small = join(place, "small");
  await mkdir(small);
  t.equal(mountTmpfs(small), 0);
  t.teardown(() => {
    spawnSync("umount", [small]);
  });
  const server = await startLakepack(t);
  await pushed(t, `${server.url}/me/one.git`, "one");
  const folder = join(small, "backup");
  await good(t, ["backup", folder, "--data", server.data]);
  const work = await pushed(t, `${server.url}/me/two.git`, "two");
  await writeFile(join(work, "big.bin"), randomBytes(TMPFS_BYTES));
  await git(["add", "-A"], { cwd: work });
  await git(["commit", "-q", "-m", "big"], { cwd: work });
  await git(["push", "-q", `${server.url}/me/two.git`, "HEAD:refs/heads/main"], { cwd: work });
  const full = await run(["backup", folder, "--data", server.data]);
  t.equal(full.code, 1);
  t.match(full.err, /the disk is full/);
  t.equal((await readdir(join(folder, "runs"))).length, 1);
  const data = join(place, "restored");
  t.match(await good(t, ["restore", folder, "--verify", "--data", data]), /me\/one: good/);
});

function mountTmpfs(folder: string): number | null {
  const options = ["-t", "tmpfs", "-o", `size=${TMPFS_BYTES}`, "none", folder];
  return spawnSync("mount", options).status;
}

function skipTmpfs(): false | string {
  const folder = mkdtempSync(join(tmpdir(), "lakepack-test-"));
  const status = mountTmpfs(folder);
  if (status === 0) spawnSync("umount", [folder]);
  rmdirSync(folder);
  return status === 0 ? false : "no file system can be mounted here";
}
