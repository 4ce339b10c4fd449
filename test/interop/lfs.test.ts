/** Stock git-lfs against a real server. */
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import {
  appendFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Libsql from "libsql";
import t, { type Test } from "tap";
import {
  commit,
  git,
  type GitRun,
  logShows,
  prefixOf,
  startLakepack,
  tryGit,
} from "../support/harness.js";
import { lakepack as runLakepack } from "../support/lakepack-command.js";
import { tempFolder } from "../support/temp-folder.js";

const SKIP = spawnSync("git", ["lfs", "version"]).status === 0 ? false : "git-lfs is not installed";
const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const FILTER = [
  "-c",
  "filter.lfs.process=git-lfs filter-process",
  "-c",
  "filter.lfs.smudge=git-lfs smudge -- %f",
];
const CLONE = [
  "clone",
  "-q",
  "-c",
  "filter.lfs.clean=git-lfs clean -- %f",
  "-c",
  "filter.lfs.required=true",
  ...FILTER,
];

/** A repository in which *.bin are LFS files, ready to push to `url`. */
async function lfsRepository(t: Test, url: string): Promise<string> {
  const folder = join(await tempFolder(t), "work");
  await git(["init", "-q", folder]);
  await git(["lfs", "install", "--local"], { cwd: folder });
  await git(["lfs", "track", "*.bin"], { cwd: folder });
  await git(["remote", "add", "origin", url], { cwd: folder });
  return folder;
}

/** Random bytes, of which only 1 MiB is random. */
async function writeLarge(path: string, megabytes: number): Promise<void> {
  const block = randomBytes(1 << 20);
  await writeFile(path, "");
  for (let count = 0; count < megabytes; count++) await appendFile(path, block);
}

async function push(repository: string, ...more: string[]): Promise<GitRun> {
  return tryGit(["push", ...more, "origin", "main"], { cwd: repository });
}

async function filesBelow(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
}

for (const transport of ["uws", "node"]) {
  t.test(`git lfs pushes and clones 5 MB and 100 MB (${transport})`, { skip: SKIP }, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", transport] });
    const url = `${server.url}/me/model.git`;
    const work = await lfsRepository(t, url);
    await writeLarge(join(work, "small.bin"), 5);
    await writeLarge(join(work, "large.bin"), 100);
    await commit(work, "two files", { "README.md": "# Model\n" });
    const pushed = await push(work);
    t.equal(pushed.code, 0, pushed.stderr);
    t.same(await filesBelow(join(server.data, "incoming")), [], "nothing is left of the uploads");
    const copy = join(await tempFolder(t), "copy");
    await git([...CLONE, url, copy]);
    for (const name of ["small.bin", "large.bin"])
      t.ok(
        (await readFile(join(copy, name))).equals(await readFile(join(work, name))),
        `${name} came back`,
      );
    t.match(await git(["lfs", "fsck"], { cwd: copy }), "Git LFS fsck OK");
    const again = await tryGit(["lfs", "push", "--all", "origin"], { cwd: work });
    t.equal(again.code, 0, again.stderr);
    t.equal(
      (server.log().match(/"method":"PUT"/g) ?? []).length,
      2,
      "what is there is not sent again",
    );
  });
}

t.test("a download cut in the middle goes on where it was", { skip: SKIP }, async (t) => {
  const server = await startLakepack(t);
  const url = `${server.url}/me/resume.git`;
  const work = await lfsRepository(t, url);
  await writeLarge(join(work, "a.bin"), 20);
  await commit(work, "one", {});
  await push(work);
  const copy = join(await tempFolder(t), "copy");
  await git([...CLONE, url, copy]);
  const [oid = ""] = (await git(["lfs", "ls-files", "-l"], { cwd: copy })).split(" ");
  const object = join(copy, ".git/lfs/objects", oid.slice(0, 2), oid.slice(2, 4), oid);
  const whole = await readFile(object);
  await rm(object);
  await mkdir(join(copy, ".git/lfs/incomplete"), { recursive: true });
  await writeFile(join(copy, ".git/lfs/incomplete", `${oid}.part`), whole.subarray(0, 7_000_000));
  const fetched = await tryGit(["lfs", "fetch"], { cwd: copy });
  t.equal(fetched.code, 0, fetched.stderr);
  t.equal((await stat(object)).size, whole.length);
  t.ok(await logShows(server, /"status":206/), "the rest was asked for");
});

t.test(
  "another repository's objects are not to be had, and a copy must bring its bytes",
  { skip: SKIP },
  async (t) => {
    const server = await startLakepack(t);
    const work = await lfsRepository(t, `${server.url}/me/first.git`);
    await writeLarge(join(work, "a.bin"), 2);
    await commit(work, "one", {});
    t.equal((await push(work)).code, 0);
    const pointers = join(await tempFolder(t), "pointers");
    await git(["clone", "-q", `${server.url}/me/first.git`, pointers]);
    const stolen = await tryGit(["push", "-q", `${server.url}/you/thief.git`, "main"], {
      cwd: pointers,
    });
    t.not(stolen.code, 0, "the pointer alone is refused");
    t.match(stolen.stderr, /an LFS pointer points to a file that does not exist: a\.bin/);
    const sent = await tryGit(["push", `${server.url}/you/copy.git`, "main"], { cwd: work });
    t.equal(sent.code, 0, sent.stderr);
    t.equal((server.log().match(/"method":"PUT"/g) ?? []).length, 2, "the bytes were sent again");
  },
);

t.test(
  "a pointer without its object is refused where it is one, at any depth, and plain text that looks like one is not",
  { skip: SKIP },
  async (t) => {
    const server = await startLakepack(t);
    const url = `${server.url}/me/pointers.git`;
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    await git(["remote", "add", "origin", url], { cwd: work });
    const pointer = (digit: string) =>
      `version https://git-lfs.github.com/spec/v1\noid sha256:${digit.repeat(64)}\nsize 5\n`;
    await commit(work, "text", { "docs/pointer.txt": pointer("a") });
    const plain = await push(work);
    t.equal(plain.code, 0, plain.stderr);
    const bad = await commit(work, "pointers", {
      "a/b/.gitattributes": "*.bin filter=lfs\n",
      "a/b/c/x.bin": pointer("b"),
      "y.bin": pointer("c"),
    });
    await commit(work, "on top", { "z.txt": "z" });
    await git(["branch", "fine", `${bad}~1`], { cwd: work });
    const refused = await tryGit(["push", "origin", "main", "fine"], { cwd: work });
    t.not(refused.code, 0);
    t.match(
      refused.stderr,
      /rejected.*main.*\(an LFS pointer points to a file that does not exist: a\/b\/c\/x\.bin; run: git lfs push/,
    );
    t.match(refused.stderr, /new branch.*fine/, "another ref is not held up");
  },
);

t.test("locks are not offered, and git-lfs goes on without", { skip: SKIP }, async (t) => {
  const server = await startLakepack(t);
  const work = await lfsRepository(t, `${server.url}/me/locks.git`);
  await commit(work, "one", { "a.bin": "content\n" });
  const pushed = await push(work);
  t.equal(pushed.code, 0, pushed.stderr);
  t.notMatch(pushed.stderr, /error/i);
  const locked = await tryGit(["lfs", "lock", "a.bin"], { cwd: work });
  t.not(locked.code, 0);
});

t.test(
  "an object stays while a repository has it, comes back with one that was deleted, and goes with the last",
  { skip: SKIP },
  async (t) => {
    const server = await startLakepack(t);
    const lakepack = async (...args: string[]) => {
      const run = await runLakepack([...args, "--data", server.data]);
      t.equal(run.code, 0, `${args.join(" ")}: ${run.err}`);
      return run.out;
    };
    const objects = () => filesBelow(join(server.data, "lfs"));
    const clones = async (name: string) => {
      const copy = join(await tempFolder(t), "copy");
      const cloned = await tryGit([...CLONE, `${server.url}/me/${name}.git`, copy]);
      if (cloned.code !== 0) return cloned.stderr;
      return (await readFile(join(copy, "a.bin"))).equals(await readFile(join(work, "a.bin")));
    };
    const work = await lfsRepository(t, `${server.url}/me/first.git`);
    await writeLarge(join(work, "a.bin"), 3);
    await commit(work, "one", {});
    t.equal((await push(work)).code, 0);
    t.equal((await tryGit(["push", `${server.url}/me/second.git`, "main"], { cwd: work })).code, 0);
    const [first] = await objects();
    t.same(await objects(), [first], "stored once");

    await lakepack("repo", "delete", "me/first", "--yes");
    t.match(await clones("first"), /not found/);
    await lakepack("gc", "--all");
    await lakepack("repo", "adopt", "me/first");
    t.equal(await clones("first"), true, "within the grace all of it comes back");

    await lakepack("repo", "delete", "me/first", "--yes");
    t.match(await lakepack("gc", "--all", "--grace", "0"), /^1 deleted repositories: /);
    t.equal(await clones("second"), true, "the second has what the first had");
    await lakepack("repo", "delete", "me/second", "--yes");
    t.match(await lakepack("gc", "--all", "--grace", "0"), /^1 deleted repositories: /);
    t.same(await objects(), [], "nobody has it");

    const again = await tryGit(["push", `${server.url}/me/third.git`, "main"], { cwd: work });
    t.equal(again.code, 0, again.stderr);
    t.equal(await clones("third"), true);
    const [third, ...more] = await objects();
    t.not(third, first, "a name of its own");
    t.same(more, []);
    t.match(await lakepack("verify", "me/third"), /good .*1 LFS objects/);
    t.equal(await lakepack("gc", "--all", "--grace", "0"), "me/third: 0 files (0 bytes) removed\n");
    t.equal(await clones("third"), true);

    await lakepack("repo", "delete", "me/third", "--yes");
    const age = (column: string, table: string) => {
      const database = new Libsql(join(server.data, "lakepack.db"));
      const then = new Date(Date.now() - 25 * 3_600_000).toISOString();
      database.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${column} IS NOT NULL`).run(then);
      database.close();
    };
    age("deleted_at", "repositories");
    t.match(await lakepack("gc", "--all"), /^1 deleted repositories: /);
    t.same(await objects(), [third], "it is dropped, and has a grace of its own");
    age("dropped_at", "lfs_objects");
    const megabytes = 3 << 20;
    t.equal(
      await lakepack("gc", "--all"),
      `0 deleted repositories: 1 files (${megabytes} bytes) removed\n`,
    );
    t.same(await objects(), []);
  },
);

t.test(
  "a data folder of the layout before is served as it was, killed in its first start too",
  { skip: SKIP },
  async (t) => {
    const first = await startLakepack(t);
    const work = await lfsRepository(t, `${first.url}/me/model.git`);
    for (let n = 0; n < 30; n++) await writeFile(join(work, `${n}.bin`), randomBytes(2_000 + n));
    await commit(work, "thirty", {});
    t.equal((await push(work)).code, 0);
    const { data } = first;
    const prefix = await prefixOf(data, "me/model");
    await first.stop();
    await asBefore(data, prefix);
    t.match((await runLakepack(["verify", "--all", "--data", data])).out, /good .*30 LFS objects/);

    for (let delayMs = 250; delayMs <= 550; delayMs += 75) await killedAfter(data, delayMs);
    const server = await startLakepack(t, { data });
    const copy = join(await tempFolder(t), "copy");
    await git([...CLONE, `${server.url}/me/model.git`, copy]);
    for (let n = 0; n < 30; n++) {
      const name = `${n}.bin`;
      t.ok((await readFile(join(copy, name))).equals(await readFile(join(work, name))), name);
    }
    t.match((await runLakepack(["verify", "--all", "--data", data])).out, /good .*30 LFS objects/);
    t.notOk(existsSync(join(data, "lfs/links", prefix)), "its links are in the database");
  },
);

t.test(
  "a lost database: nothing of LFS goes before repositories are recovered, and then each has its objects",
  { skip: SKIP },
  async (t) => {
    const first = await startLakepack(t);
    const { data } = first;
    const lakepack = (...args: string[]) => runLakepack([...args, "--data", data]);
    const work = await lfsRepository(t, `${first.url}/me/model.git`);
    for (const name of ["a.bin", "b.bin"]) await writeFile(join(work, name), randomBytes(9_000));
    await commit(work, "two", {});
    t.equal((await push(work)).code, 0);
    await rm(join(work, "b.bin"));
    await commit(work, "one", {});
    t.equal((await push(work)).code, 0);
    const other = await tryGit(["push", `${first.url}/me/other.git`, "main"], { cwd: work });
    t.equal(other.code, 0, other.stderr);
    await first.stop();
    for (const file of await readdir(data))
      if (file.startsWith("lakepack.db")) await rm(join(data, file));

    t.match(await lakepack("gc", "--all", "--grace", "0"), { code: 0, out: "" });
    t.equal((await filesBelow(join(data, "lfs"))).length, 2, "all of it stays");
    const recovered = await lakepack("repo", "recover", "--json");
    t.match(JSON.parse(recovered.out), [
      { name: /^me\/(model|other)$/, reason: null, lfsObjects: 2 },
      { name: /^me\/(model|other)$/, reason: null, lfsObjects: 2 },
    ]);
    t.match(await lakepack("gc", "--all", "--grace", "0"), { code: 0 });
    t.match((await lakepack("verify", "--all")).out, /(good .*2 LFS objects\)\n.*){2}/);
    const server = await startLakepack(t, { data });
    const copy = join(await tempFolder(t), "copy");
    await git([...CLONE, `${server.url}/me/other.git`, copy]);
    const [here, there] = [join(work, "a.bin"), join(copy, "a.bin")];
    t.ok((await readFile(there)).equals(await readFile(here)));
  },
);

/** Puts the objects and links of a repository where the version before had them. */
async function asBefore(data: string, prefix: string): Promise<void> {
  const entries = await readdir(join(data, "lfs"), { recursive: true, withFileTypes: true });
  for (const { name, parentPath } of entries.filter((entry) => entry.isFile())) {
    const [oid = ""] = name.split("-");
    await rename(join(parentPath, name), join(parentPath, oid));
    const links = join(data, "lfs/links", prefix, oid.slice(0, 2));
    await mkdir(links, { recursive: true });
    await writeFile(join(links, oid), String((await stat(join(parentPath, oid))).size));
  }
  const database = new Libsql(join(data, "lakepack.db"));
  database.exec(
    "DROP TABLE lfs_links; DROP TABLE lfs_objects; DELETE FROM kysely_migration WHERE name >= '0004'",
  );
  database.close();
}

/** Starts a server, and kills it as a machine that loses its power would. */
async function killedAfter(data: string, delayMs: number): Promise<void> {
  const args = [MAIN, "serve", "--data", data, "--listen", "127.0.0.1:0"];
  const child = spawn(process.execPath, args, { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("close", resolve));
  setTimeout(() => child.kill("SIGKILL"), delayMs);
  await ended;
}
