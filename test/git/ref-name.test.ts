import { spawnSync } from "node:child_process";
import t from "tap";
import { foldersOf, isPushableRefName, isRefName, RefNames } from "../../src/git/ref-name.js";
import { seeded } from "../support/random.js";

/** Asks stock git about a name (latin1 text, no NUL). */
function gitAccepts(name: string): boolean {
  return (
    spawnSync(`git check-ref-format "$NAME"`, {
      shell: "/bin/sh",
      env: { ...process.env, NAME: name },
    }).status === 0
  );
}

const NAMES = [
  "refs/heads/main",
  "refs/heads/-x",
  "heads/a",
  "HEAD",
  "a",
  "@",
  "@/a",
  "a/@",
  "refs/heads/@",
  "refs/heads/a@{b",
  "refs/heads/a@b",
  "refs/heads/.a",
  "refs/heads/a.",
  "refs/heads/a./b",
  "refs/heads/a..b",
  "refs/heads/a.lock",
  "refs/heads/a.lock/b",
  "refs/heads/.lock",
  "refs/heads/a.locks",
  "refs//heads",
  "/refs/heads",
  "refs/heads/",
  "refs/heads/a b",
  "refs/heads/a~b",
  "refs/heads/a^b",
  "refs/heads/a:b",
  "refs/heads/a?b",
  "refs/heads/a*b",
  "refs/heads/a[b",
  "refs/heads/a]b",
  "refs/heads/a\\b",
  "refs/heads/a\tb",
  "refs/heads/a\x7fb",
  "refs/heads/a\nb",
  "refs/heads/{}",
  "refs/heads/a{b",
  "refs/heads/\u00fc",
  "refs/heads/\u4e2d\u6587",
  ".",
  "..",
  "./a",
  "a/..",
  "a/.",
  "",
  "/",
  "refs/heads/a.b.c",
  "refs/heads/a%20b",
  "refs/heads/'",
  'refs/heads/"$(x)`',
  "refs/stash",
  "refs/x",
];

t.test("the rules are those of git check-ref-format", async (t) => {
  for (const name of NAMES) t.equal(isRefName(name), gitAccepts(name), JSON.stringify(name));
});

t.test("random names get stock git's verdict", async (t) => {
  const random = seeded(3);
  const pieces = [
    "a",
    "/",
    ".",
    "..",
    "@",
    "{",
    ".lock",
    "lock",
    "-",
    "~",
    "refs",
    "heads",
    "x",
    "\u00e9",
    "*",
  ];
  for (let run = 0; run < 150; run++) {
    const name = Array.from({ length: 1 + random.below(6) }, () => random.pick(pieces)).join("");
    // A leading dash is an option to the command line; behind a prefix the name is judged by the
    // same rules.
    const asked = name.startsWith("-") ? `x${name}` : name;
    t.equal(isRefName(asked), gitAccepts(asked), JSON.stringify(asked));
  }
});

t.test("any byte above 0x7f is fine, UTF-8 or not; NUL is not", async (t) => {
  t.ok(isRefName("refs/heads/\xff\xfe\x80"));
  t.notOk(isRefName("refs/heads/a\0b"));
});

t.test("a push may create names of two components under refs/", async (t) => {
  t.ok(isPushableRefName("refs/heads/main"));
  t.ok(isPushableRefName("refs/a/b/c"));
  for (const name of [
    "refs/x",
    "heads/main",
    "HEAD",
    "refs/",
    "refs//a",
    "xrefs/heads/a",
    "refs/heads/.a",
  ])
    t.notOk(isPushableRefName(name), name);
});

t.test("folders of a name", async (t) => {
  t.same(foldersOf("refs/heads/a"), ["refs", "refs/heads"]);
  t.same(foldersOf("a"), []);
});

t.test("directory/file conflicts follow deletes and creates of one push", async (t) => {
  const base = [
    "refs/heads/a",
    "refs/heads/dd",
    "refs/heads/x/1",
    "refs/heads/x/2",
    "refs/heads/x0",
  ].map((name) => ({ name }));
  const names = new RefNames(base);
  t.equal(names.conflict("refs/heads/a"), undefined, "itself");
  t.equal(names.conflict("refs/heads/dd/e"), "refs/heads/dd");
  t.equal(names.conflict("refs/heads/x"), "refs/heads/x/");
  t.equal(names.conflict("refs/heads/x0y"), undefined);
  names.remove("refs/heads/dd");
  t.equal(names.conflict("refs/heads/dd/e"), undefined, "delete dd, create dd/e");
  names.add("refs/heads/dd/e");
  t.equal(names.conflict("refs/heads/dd"), "refs/heads/dd/", "and not dd again");
  names.remove("refs/heads/x/1");
  t.equal(names.conflict("refs/heads/x"), "refs/heads/x/", "x/2 is left");
  names.remove("refs/heads/x/2");
  t.equal(names.conflict("refs/heads/x"), undefined);
  names.add("refs/heads/x/2");
  t.equal(names.conflict("refs/heads/x"), "refs/heads/x/", "back again");
  names.remove("refs/heads/dd/e");
  t.notOk(names.has("refs/heads/dd/e"));
  t.equal(names.conflict("refs/heads/dd"), undefined);
});

t.test("random changes agree with a plain set", async (t) => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = seeded(seed);
    const name = () =>
      Array.from({ length: 2 + random.below(3) }, () => random.pick(["a", "b", "a0", "a-"])).join(
        "/",
      );
    const base = [...new Set(Array.from({ length: 20 }, name))]
      .sort()
      .map((each) => ({ name: each }));
    const names = new RefNames(base);
    const plain = new Set(base.map((each) => each.name));
    for (let step = 0; step < 60; step++) {
      const each = name();
      if (random.below(2) === 0) {
        names.add(each);
        plain.add(each);
      } else {
        names.remove(each);
        plain.delete(each);
      }
      const asked = name();
      t.equal(names.has(asked), plain.has(asked));
      const expected = [...plain].some(
        (other) => other.startsWith(`${asked}/`) || asked.startsWith(`${other}/`),
      );
      t.equal(names.conflict(asked) !== undefined, expected, `seed ${seed} step ${step} ${asked}`);
    }
  }
});
