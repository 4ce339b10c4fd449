/**
 * Reading levels and skip lists: Git's ids in any case, and each thing that cannot be set refused
 * by name.
 */
import { execFileSync } from "node:child_process";
import t from "tap";
import {
  canPass,
  formatFsckLevels,
  isProtectedId,
  judgesModes,
  levelOf,
  readFsckLevels,
  readSkipFile,
  readSkipped,
  skipTable,
} from "../../src/git/fsck/levels.js";

t.test("levels", async (t) => {
  t.same(readFsckLevels(""), {});
  t.same(readFsckLevels(" missingEmail=ignore, BADTIMEZONE=warn,,badname=error"), {
    missingEmail: "ignore",
    badTimezone: "warn",
    badName: "error",
  });
  t.same(readFsckLevels({ missingemail: "warn" }), { missingEmail: "warn" });
  t.same(
    readFsckLevels("missingEmail=warn,missingEmail=ignore"),
    { missingEmail: "ignore" },
    "the later one counts",
  );
  t.equal(
    formatFsckLevels({ missingEmail: "ignore", badName: "warn" }),
    "missingEmail=ignore,badName=warn",
  );
});

t.test("what cannot be set is refused by name", async (t) => {
  for (const [given, reason] of [
    ["missing-email=warn", /no message id missing-email/],
    ["missingEmails=warn", /no message id missingEmails/],
    ["constructor=warn", /no message id constructor/],
    ["__proto__=warn", /no message id __proto__/],
    ["missingEmail", /a level is error, warn or ignore/],
    ["missingEmail=warning", /a level is error, warn or ignore/],
    ["missingEmail=WARN", /a level is error, warn or ignore/],
    ["missingEmail=warn=x", /a level is error, warn or ignore/],
    ["nulInHeader=warn", /nulInHeader can only be an error/],
    ["badtree=ignore", /badTree can only be an error/],
  ] as const)
    t.match(readFsckLevels(given), { reason }, given);
  t.match(readFsckLevels({ missingEmail: 1 }), { value: "missingEmail=1", reason: /a level is/ });
  t.same(readFsckLevels("badTree=error"), { badTree: "error" });
});

t.test("the ids are those of the git at hand", async (t) => {
  const ids = execFileSync("git", ["help", "--config"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => /^receive\.fsck\.[a-z]/.test(line));
  t.ok(ids.length > 40);
  for (const line of ids) {
    const id = line.slice("receive.fsck.".length).trim();
    if (id !== "skipList") t.same(readFsckLevels(`${id}=error`), { [id]: "error" }, id);
  }
});

t.test(
  "levels without a setting, ids that are protected, ids that kernels pass over",
  async (t) => {
    t.equal(levelOf("missingEmail", undefined), "error");
    t.equal(
      levelOf("hasDotgit", undefined),
      "error",
      "a warning of Git's, which --strict makes an error",
    );
    t.equal(levelOf("missingTaggerEntry", undefined), "ignore");
    t.equal(levelOf("missingEmail", { levels: { missingEmail: "warn" }, skip: [] }), "warn");
    for (const id of [
      "gitmodulesUrl",
      "gitmodulesName",
      "gitmodulesParse",
      "hasDot",
      "hasDotdot",
      "hasDotgit",
      "nullSha1",
      "treeNotSorted",
      "duplicateEntries",
    ])
      t.equal(isProtectedId(id), true, id);
    for (const id of [
      "missingEmail",
      "gitattributesBlob",
      "gitignoreSymlink",
      "fullPathname",
      "zeroPaddedFilemode",
    ])
      t.equal(isProtectedId(id), false, id);
    t.same(["missingEmail", "badFilemode", "badTree", "nulInHeader"].map(canPass), [
      true,
      true,
      false,
      false,
    ]);
    t.equal(judgesModes({ levels: { badFilemode: "error" }, skip: [] }), true);
    t.equal(
      judgesModes({ levels: { badFilemode: "ignore", missingEmail: "warn" }, skip: [] }),
      false,
    );
  },
);

t.test("skip lists", async (t) => {
  const [a, b] = ["a".repeat(40), "0".repeat(39).concat("b")];
  t.same(readSkipFile(`# c\n\n${a.toUpperCase()}\r\n ${b} # why\n${a}`), [b, a]);
  t.same(readSkipFile(""), []);
  t.match(readSkipFile(`${a}\n\n${a}x\n`), { line: 3, value: `${a}x`, reason: /40 hex digits/ });
  t.match(readSkipFile(`${a} ${b}`), { line: 1 });
  t.same(readSkipped([a, b, a]), [b, a]);
  t.match(readSkipped([a, "x"]), { value: "x", reason: /40 hex digits/ });
  t.same(Buffer.from(skipTable([b, a])).toString("hex"), b + a);
});
