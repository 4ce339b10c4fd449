/** A repository whose history has what walks stumble over. */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { commit, git, makeSample, tryGit } from "./harness.js";
import { tempFolder } from "./temp-folder.js";

/**
 * The sample of the harness, and: folders moved and copied, equal blobs and trees at several
 * depths, a criss-cross merge, a commit dated before its parent, an orphan branch, tags of a blob
 * and of a tree, and blobs of sparse patterns. Bare, in one pack. "old" names a state 4 commits
 * back.
 */
export async function makeHistory(t: Test): Promise<string> {
  const work = await makeSample(t);
  const at = (...args: string[]) => git(args, { cwd: work });
  await commit(work, "patterns", {
    "patterns/md": "/*\n!/*/\n*.md\n",
    "patterns/deep": "# comment\n/a/\n!/a/b/\n*.tx?\n[!x]og.*\n",
    "patterns/nothing": "",
  });
  await commit(work, "same content everywhere", {
    "one/two/three/four.txt": "same\n",
    "one/same.txt": "same\n",
    "same.txt": "same\n",
    "docs/read.md": "docs\n",
  });
  await mkdir(join(work, "moved"), { recursive: true });
  await rename(join(work, "one/two"), join(work, "moved/two"));
  await commit(work, "a folder moves", { "moved/two/three/new.txt": "new\n" });
  await at("branch", "old");
  await at("checkout", "-q", "-b", "left", "HEAD~1");
  await commit(work, "left", { "left.txt": "left\n".repeat(300) });
  await at("checkout", "-q", "-b", "right", "main");
  await commit(work, "right", { "right.txt": "right\n".repeat(300) });
  await at("merge", "-q", "--no-ff", "-m", "criss", "left");
  await at("checkout", "-q", "left");
  await at("merge", "-q", "--no-ff", "-m", "cross", "right~1");
  await at("checkout", "-q", "main");
  await at("merge", "-q", "--no-ff", "-m", "both", "right", "left");
  await dated(work, "from the past", 1_600_000_000);
  await commit(work, "newest", {
    "a/b/c.txt": "deeper\n",
    "a/copy/c.txt": "deep\n",
    "big.txt": "line of text\n".repeat(9_000),
  });
  await at("tag", "-a", "-m", "a blob", "blob-tag", await at("rev-parse", "HEAD:README.md"));
  await at("tag", "-a", "-m", "a tree", "tree-tag", await at("rev-parse", "HEAD:a"));
  await at("tag", "-a", "-m", "newest", "v2.0");
  await at("checkout", "-q", "--orphan", "alone");
  await at("rm", "-rfq", ".");
  await commit(work, "alone", { "alone.txt": "alone\n" });
  await at("checkout", "-q", "main");
  return toBare(t, work);
}

/** A mirror of `work` in one pack. */
export async function toBare(t: Test, work: string): Promise<string> {
  const bare = join(await tempFolder(t), "bare.git");
  await git(["clone", "-q", "--mirror", work, bare]);
  await git(["config", "uploadpack.allowFilter", "true"], { cwd: bare });
  await git(["config", "uploadpack.allowAnySHA1InWant", "true"], { cwd: bare });
  await git(["config", "uploadpack.allowRefInWant", "true"], { cwd: bare });
  await git(["repack", "-adq"], { cwd: bare });
  return bare;
}

async function dated(work: string, message: string, seconds: number): Promise<void> {
  await writeFile(join(work, "past.txt"), `${seconds}\n`);
  await git(["add", "-A"], { cwd: work });
  const date = `${seconds} +0000`;
  await git(["commit", "-q", "-m", message], {
    cwd: work,
    env: { GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date },
  });
}

/**
 * The same refs, arrived in several pushes: one pack each, thin ones completed with their bases,
 * deltas naming bases by id. The pushing repository holds loose objects: out of a pack git would
 * send old deltas again, and those point at newer objects.
 */
export async function makePushed(
  t: Test,
  history: string,
  states: readonly string[],
): Promise<string> {
  const [bare, loose] = [
    join(await tempFolder(t), "pushed.git"),
    join(await tempFolder(t), "loose.git"),
  ];
  await git(["init", "-q", "--bare", "-b", "main", bare]);
  await git(["config", "receive.unpackLimit", "1"], { cwd: bare });
  await git(["init", "-q", "--bare", "-b", "main", loose]);
  const tips = await git(["for-each-ref", "--format=%(objectname)"], { cwd: history });
  const run = await tryGit(["pack-objects", "--revs", "--stdout", "-q"], {
    cwd: history,
    input: `${tips}\n`,
  });
  await git(["unpack-objects", "-q"], { cwd: loose, input: run.stdoutBytes });
  for (const state of states) {
    const oid = await git(["rev-parse", `${state}^{commit}`], { cwd: history });
    await git(["push", "-q", `file://${bare}`, `+${oid}:refs/heads/main`], { cwd: loose });
  }
  await git(["fetch", "-q", `file://${history}`, "+refs/*:refs/*"], { cwd: loose });
  await git(["push", "-q", "--mirror", `file://${bare}`], { cwd: loose });
  await git(["config", "uploadpack.allowFilter", "true"], { cwd: bare });
  return bare;
}
