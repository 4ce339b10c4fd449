/**
 * Repositories of every shape, pushed and cloned by stock git in versions 0, 1 and 2: silent fsck,
 * the same objects, the same refs.
 */
import { readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  checkFsck,
  commit,
  git,
  makeSample,
  objectSet,
  remoteRefs,
  startLakepack,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const VERSIONS = [0, 1, 2] as const;

/** A bare repository made by `git fast-import`. */
async function imported(t: Test, script: string | Uint8Array): Promise<string> {
  const folder = join(await tempFolder(t), "made.git");
  await git(["init", "-q", "--bare", folder]);
  await git(["fast-import", "--quiet", "--done"], { cwd: folder, input: script });
  return folder;
}

/** Pushes everything, clones it in every version, and compares. */
async function roundTrip(t: Test, repository: string): Promise<void> {
  const lakepack = await startLakepack(t);
  const url = `${lakepack.url}/ns/shape.git`;
  await git(["push", "-q", "--mirror", url], { cwd: repository });
  const objects = await objectSet(repository);
  const refs = await git(["for-each-ref"], { cwd: repository });
  for (const version of VERSIONS) {
    const copy = join(await tempFolder(t), "copy.git");
    await git(["clone", "-q", "--mirror", url, copy], { version });
    await checkFsck(t, copy);
    t.ok(
      (await objectSet(copy)).join() === objects.join(),
      `version ${version}: ${objects.length} objects`,
    );
    t.ok((await git(["for-each-ref"], { cwd: copy })) === refs, `version ${version}: every ref`);
  }
}

const WHO = "committer C O Mitter <committer@example.com>";

/** `count` commits in a line, each changing one file. */
function history(count: number): string {
  // Without "from" a commit builds on the branch as this script left it.
  const commits = Array.from(
    { length: count },
    (_, at) =>
      `commit refs/heads/main\n${WHO} ${1_700_000_000 + at} +0000\ndata 2\nc\nM 100644 inline file-${at % 50}\ndata ${String(at).length}\n${at}\n`,
  );
  return `feature done\n${commits.join("")}done\n`;
}

t.test("1,000 refs", { timeout: 120_000 }, async (t) => {
  const refs = Array.from(
    { length: 1_000 },
    (_, at) =>
      `commit refs/${at % 2 === 0 ? "heads" : "tags"}/group-${at % 7}/ref-${at}\n${WHO} ${1_700_000_000 + at} +0000\ndata 2\nc\nM 100644 inline f\ndata ${String(at).length}\n${at}\n`,
  );
  await roundTrip(t, await imported(t, `feature done\n${refs.join("")}done\n`));
});

t.test("10,000 commits", { timeout: 180_000 }, async (t) => {
  await roundTrip(t, await imported(t, history(10_000)));
});

t.test("100,000 files in nested folders", { timeout: 180_000 }, async (t) => {
  const files = Array.from({ length: 100_000 }, (_, at) => {
    const path = `d${at % 10}/e${Math.floor(at / 10) % 20}/f${Math.floor(at / 200) % 25}/g${at}.txt`;
    return `M 100644 inline ${path}\ndata ${String(at).length}\n${at}\n`;
  });
  await roundTrip(
    t,
    await imported(
      t,
      `feature done\ncommit refs/heads/main\n${WHO} 1700000000 +0000\ndata 2\nc\n${files.join("")}done\n`,
    ),
  );
});

t.test(
  "modes, links, submodule entries, odd names, tags of tags",
  { timeout: 60_000 },
  async (t) => {
    const sample = await makeSample(t);
    await roundTrip(t, sample);
    const lakepack = await startLakepack(t);
    const url = `${lakepack.url}/ns/modes.git`;
    await git(["push", "-q", url, "main"], { cwd: sample });
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", url, copy]);
    t.ok(((await stat(join(copy, "run.sh"))).mode & 0o100) !== 0, "executable");
    t.equal(await readlink(join(copy, "link")), "README.md");
    t.match(
      await git(["ls-tree", "HEAD", "sub"], { cwd: copy }),
      /^160000 commit 1234567890123456789012345678901234567890\tsub$/,
    );
    t.equal(await git(["status", "--short"], { cwd: copy }), "");
  },
);

t.test("ref names of any bytes, and very long ones", { timeout: 60_000 }, async (t) => {
  const names = [
    "refs/heads/\u00fc\u4e2d",
    "refs/heads/-x",
    "refs/heads/a@b",
    "refs/notes/x",
    `refs/heads/${"long-".repeat(40)}`,
    `refs/heads/${"deep/".repeat(40)}end`,
  ];
  const script = names
    .map(
      (name) =>
        `commit ${name}\n${WHO} 1700000000 +0000\ndata 2\nc\nM 100644 inline f\ndata 1\n1\n`,
    )
    .join("");
  await roundTrip(t, await imported(t, `feature done\n${script}done\n`));
});

t.test(
  "an empty repository: cloned, pushed to, its HEAD taken over",
  { timeout: 60_000 },
  async (t) => {
    const lakepack = await startLakepack(t, {
      args: ["--deny-delete-current", "false", "--default-branch", "trunk"],
    });
    const sample = await makeSample(t);
    for (const version of VERSIONS) {
      const url = `${lakepack.url}/ns/empty-${version}.git`;
      await git(["push", "-q", url, "main:refs/heads/gone"], { cwd: sample });
      await git(["push", "-q", url, ":refs/heads/gone"], { cwd: sample });
      t.same(await remoteRefs(url, version), []);
      const copy = join(await tempFolder(t), "copy");
      const run = await tryGit(["clone", url, copy], { version });
      t.equal(run.code, 0, `version ${version}`);
      t.match(run.stderr, /empty repository/);
      if (version === 2)
        t.equal(
          await git(["symbolic-ref", "HEAD"], { cwd: copy }),
          "refs/heads/gone",
          "version 2 tells an unborn HEAD",
        );
      const first = await commit(copy, "first", { file: "x\n" });
      await git(["push", "-q", "origin", "HEAD:refs/heads/new"], { cwd: copy, version });
      t.ok((await remoteRefs(url, version)).includes(`${first}\trefs/heads/new`));
    }
  },
);

t.test("300 local commits the server has never seen", { timeout: 120_000 }, async (t) => {
  const lakepack = await startLakepack(t);
  const url = `${lakepack.url}/ns/ahead.git`;
  const upstream = await imported(t, history(500));
  await git(["push", "-q", "--mirror", url], { cwd: upstream });
  for (const version of VERSIONS) {
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", url, copy], { version });
    const line = Array.from(
      { length: 300 },
      (_, at) =>
        `commit refs/heads/local\n${WHO} ${1_800_000_000 + at} +0000\ndata 2\nl\n${at === 0 ? "from refs/heads/main^0\n" : ""}M 100644 inline local-${version}\ndata ${String(at).length}\n${at}\n`,
    );
    await git(["fast-import", "--quiet", "--done"], {
      cwd: copy,
      input: `feature done\n${line.join("")}done\n`,
    });
    const next = await advance(upstream, version);
    await git(["push", "-q", url, "main"], { cwd: upstream });
    await git(["fetch", "-q", "origin"], { cwd: copy, version });
    t.equal(await git(["rev-parse", "origin/main"], { cwd: copy }), next, `version ${version}`);
    await checkFsck(t, copy);
  }
});

/** One more commit on a bare repository's main. Its id. */
async function advance(repository: string, at: number): Promise<string> {
  const script = `feature done\ncommit refs/heads/main\n${WHO} ${1_790_000_000 + at} +0000\ndata 2\nu\nfrom refs/heads/main^0\nM 100644 inline upstream\ndata 1\n${at}\ndone\n`;
  await git(["fast-import", "--quiet", "--done"], { cwd: repository, input: script });
  return git(["rev-parse", "main"], { cwd: repository });
}
