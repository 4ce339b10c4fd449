/**
 * Patterns by which lakeFS chooses branches: Go's path.Match for actions, gobwas/glob for
 * protection. Vectors from Go's own tests (src/path/match_test.go).
 */
import t from "tap";
import { matchesGlob } from "../../src/lakefs/api/go-glob.js";
import { isProtected } from "../../src/lakefs/land/protection.js";

const GO: readonly (readonly [pattern: string, text: string, matches: boolean])[] = [
  ["abc", "abc", true],
  ["*", "abc", true],
  ["*c", "abc", true],
  ["a*", "a", true],
  ["a*", "abc", true],
  ["a*", "ab/c", false],
  ["a*/b", "abc/b", true],
  ["a*/b", "a/c/b", false],
  ["a*b*c*d*e*/f", "axbxcxdxe/f", true],
  ["a*b*c*d*e*/f", "axbxcxdxexxx/f", true],
  ["a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false],
  ["a*b*c*d*e*/f", "axbxcxdxexxx/fff", false],
  ["a*b?c*x", "abxbbxdbxebxczzx", true],
  ["a*b?c*x", "abxbbxdbxebxczzy", false],
  ["ab[c]", "abc", true],
  ["ab[b-d]", "abc", true],
  ["ab[e-g]", "abc", false],
  ["ab[^c]", "abc", false],
  ["ab[^b-d]", "abc", false],
  ["ab[^e-g]", "abc", true],
  ["a\\*b", "a*b", true],
  ["a\\*b", "ab", false],
  ["a?b", "a☺b", true],
  ["a[^a]b", "a☺b", true],
  ["a???b", "a☺b", false],
  ["[a-ζ]*", "α", true],
  ["*[a-ζ]", "A", false],
  ["a?b", "a/b", false],
  ["a*b", "a/b", false],
  ["[\\]a]", "]", true],
  ["[\\-]", "-", true],
  ["[x\\-]", "x", true],
  ["[x\\-]", "z", false],
  ["[\\-x]", "a", false],
  ["[]a]", "]", false],
  ["[-]", "-", false],
  ["[x-]", "x", false],
  ["[-x]", "x", false],
  ["\\", "a", false],
  ["[a-b-c]", "a", false],
  ["[", "a", false],
  ["[^", "a", false],
  ["[^bc", "a", false],
  ["a[", "ab", false],
  ["*x", "xxx", true],
  ["", "", true],
  ["", "a", false],
];

t.test("path.Match", async (t) => {
  for (const [pattern, text, matches] of GO)
    t.equal(matchesGlob(pattern, text), matches, `'${pattern}' and '${text}'`);
});

t.test("a pattern of many stars is no work", async (t) => {
  const began = performance.now();
  t.notOk(matchesGlob("*a".repeat(1_000), `${"a".repeat(999)}b`));
  t.notOk(isProtected("a".repeat(200), ["{a*,a*}".repeat(20)]));
  t.ok(performance.now() - began < 2_000);
});

t.test("branch protection", async (t) => {
  const cases: readonly (readonly [pattern: string, branch: string, isIt: boolean])[] = [
    ["main", "main", true],
    ["main", "main2", false],
    ["*", "lakepack-work-1-a", true],
    ["[!l]*", "main", true],
    ["[!l]*", "lakepack-work-1-a", false],
    ["[m-n]ain", "main", true],
    ["release-?", "release-1", true],
    ["{main,stable-*}", "stable-2", true],
    ["{main,stable-{a,b}}x", "stable-bx", true],
    ["{main,stable-{a,b}}x", "stable-c", false],
    ["ma\\in", "main", true],
  ];
  for (const [pattern, branch, isIt] of cases)
    t.equal(isProtected(branch, [pattern]), isIt, `'${pattern}' and ${branch}`);
});
