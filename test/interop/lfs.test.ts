/** Stock git-lfs against a real server. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { commit, git, type GitRun, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const SKIP = spawnSync("git", ["lfs", "version"]).status === 0 ? false : "git-lfs is not installed";
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
  t.match(server.log(), /"status":206/, "the rest was asked for");
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
