/**
 * Sparse patterns against what gitignore(5) says, and against git check-ignore for single names.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { fromLatin1 } from "../../src/base/bytes.js";
import { WorkBudget } from "../../src/base/work-budget.js";
import { parsePatterns } from "../../src/git/sparse-patterns.js";

const budget = () => new WorkBudget(1e9, "steps", "fetch/filter-work");

function decide(patterns: string, path: string, isFolder = false): boolean | undefined {
  return parsePatterns(fromLatin1(patterns), budget()).matches(path, isFolder);
}

t.test("the last pattern that matches decides", async (t) => {
  t.equal(decide("*.txt\n!a.txt\n", "a.txt"), false);
  t.equal(decide("!a.txt\n*.txt\n", "a.txt"), true);
  t.equal(decide("*.txt\n", "a.md"), undefined);
  t.equal(decide("# *.md\n\\#x\n", "#x"), true);
  t.equal(decide("\\!x\n", "!x"), true);
  t.equal(decide("", "x"), undefined);
  t.equal(decide("\xef\xbb\xbfx\r\n", "x"), true);
});

t.test("slashes", async (t) => {
  t.equal(decide("doc\n", "a/b/doc"), true, "without one: any folder");
  t.equal(decide("/doc\n", "a/doc"), undefined, "leading: the root only");
  t.equal(decide("a/doc\n", "x/a/doc"), undefined, "in the middle: from the root");
  t.equal(decide("doc/\n", "doc"), undefined, "at the end: folders only");
  t.equal(decide("doc/\n", "doc", true), true);
});

/** Every pattern against every single-component or nested path, by git check-ignore. */
const PATTERNS = [
  "*",
  "?",
  "a*",
  "*b",
  "*.txt",
  "a?c",
  "[abc]",
  "[!abc]",
  "[a-c]x",
  "[^a]x",
  "[]x]",
  "[[:digit:]]",
  "a\\*",
  "\\a",
  "a**b",
  "**/x",
  "x/**",
  "a/**/b",
  "/a",
  "a/b",
  "**",
  "a[b",
  "[z-a]",
  "a ",
  "a\\ ",
  "*\\",
  "f*o*r",
  "[\\]]",
  "[a\\-z]",
];
const PATHS = [
  "a",
  "b",
  "x",
  "ax",
  "bx",
  "cx",
  "]",
  "-",
  "5",
  "a*",
  "ab",
  "abc",
  "axc",
  "a.txt",
  "x/a.txt",
  "aXXb",
  "x/y",
  "y/x",
  "a/b",
  "a/c/b",
  "a/c/d/b",
  "a ",
  "four",
  "a[b",
  "z",
  "\\",
];

t.test("globs as git matches them", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "lakepack-patterns-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  execFileSync("git", ["init", "-q", folder]);
  for (const pattern of PATTERNS) {
    writeFileSync(join(folder, ".git/info/exclude"), `${pattern}\n`);
    // -v -n: names the pattern for each path, or nothing. Parents of a path count there, so only
    // what matches the path itself is compared.
    const listed = spawnSync("git", ["check-ignore", "--no-index", "-v", "-n", "-z", "--stdin"], {
      cwd: folder,
      input: `${PATHS.join("\0")}\0`,
    });
    const fields = listed.stdout.toString("latin1").split("\0");
    PATHS.forEach((path, at) => {
      const theirs = fields[at * 4 + 2] !== "";
      const list = parsePatterns(fromLatin1(`${pattern}\n`), budget());
      const parents = path
        .split("/")
        .map((_, depth, parts) => parts.slice(0, depth).join("/"))
        .filter((parent) => parent !== "");
      const ours =
        list.matches(path, false) === true ||
        parents.some((parent) => list.matches(parent, true) === true);
      t.equal(ours, theirs, `${pattern} on ${path}`);
    });
  }
});

t.test("a glob of many stars costs no more than its length times the path's", async (t) => {
  const started = performance.now();
  t.equal(decide(`${"*a".repeat(500)}b\n`, "a".repeat(2_000)), undefined);
  t.equal(
    decide(`${"**/a".repeat(300)}\n`.replaceAll("a**", "a/**"), `${"a/".repeat(600)}b`),
    undefined,
  );
  t.ok(performance.now() - started < 2_000);
  t.throws(() => decide("x\n".repeat(100_000), "x"), { code: "wire/bad-filter" });
});
