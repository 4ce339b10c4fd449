/**
 * .gitattributes as Git reads them: against git check-attr on random files and paths, and at what
 * cost.
 */
import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t from "tap";
import { latin1, utf8 } from "../../src/base/bytes.js";
import { WorkBudget } from "../../src/base/work-budget.js";
import { AttributeRules, filterOf } from "../../src/git/gitattributes.js";
import { tempFolder } from "../support/temp-folder.js";
import { seeded } from "../support/random.js";

type Chance = ReturnType<typeof seeded>;

const FOLDERS = ["a", "b", "a.x", "lib", "-d", "é"];
const NAMES = [
  "f.bin",
  "g.tar.gz",
  "x",
  "a b",
  "c.BIN",
  "q*",
  "m[1]",
  "data.bin",
  ".hidden",
  "z.b",
  "nobin",
  'k"q',
  "e\\s",
];
const PATTERNS = [
  "*",
  "*.bin",
  "*.tar.gz",
  "*.gz",
  "*bin",
  "f.bin",
  "/f.bin",
  "a/f.bin",
  "a/**",
  "**/f.bin",
  "a/*/x",
  "a/**/x",
  "a**/x",
  "?",
  "[a-z]",
  "*.[bB]*",
  "lib/",
  "!f.bin",
  "a b",
  '"a b"',
  '"\\303\\251/*"',
  "q\\*",
  "m[[]1]",
  "[[:alpha:]]*",
  "[[:nope:]]*",
  "[!f]*",
  ".*",
  "**",
  "/*",
  "*/x",
  "**.bin",
  "x\\",
  "a/b/",
  '"k\\"q"',
  "[attr]",
  "é/**",
  "nobin",
  "*.b",
  "a.x/*",
  "-d/*",
  "*[",
  "[]x]",
  "[a-",
  "/",
  "//x",
  "lib/**/b/*",
  "f.b?n",
  "\\f.bin",
  '"un',
  '"a"filter=lfs',
];
const WORDS = [
  "filter=lfs",
  "filter=lfs",
  "filter=lfs",
  "-filter",
  "!filter",
  "filter",
  "filter=other",
  "lfs",
  "lfs",
  "-lfs",
  "big",
  "!big",
  "text",
  "-text",
  "eol=lf",
  "filter=",
  "-filter=lfs",
  "bad/name",
  "binary",
  "loop",
];
const MACROS = [
  "[attr]lfs filter=lfs -text",
  "[attr]big lfs",
  "[attr]lfs -filter",
  "[attr]big filter=other",
  "[attr]loop loop big",
  "[attr]binary filter=lfs",
  "[attr]-x filter=lfs",
  "[attr] lfs filter=lfs",
];

function randomFile(random: Chance): string {
  const lines = Array.from({ length: random.below(8) }, () => {
    if (random.below(6) === 0) return random.pick(MACROS);
    const words = Array.from({ length: 1 + random.below(3) }, () => random.pick(WORDS));
    const line = [random.pick(PATTERNS), ...words].join(random.pick([" ", " ", "\t", "  "]));
    return random.pick(["", "", "", " ", "#"]) + line + random.pick(["", "", "\r", " "]);
  });
  const long =
    random.below(20) === 0
      ? [
          `${"x".repeat(random.pick([2_025, 2_036, 2_037, 2_060]))} filter=lfs`,
          `f.bin filter=lfs${" ".repeat(2_100)}`,
        ]
      : [];
  return random.pick(["", "", "\ufeff"]) + [...lines, ...long].join("\n") + random.pick(["", "\n"]);
}

function randomPath(random: Chance): string {
  const folders = Array.from({ length: random.below(4) }, () => random.pick(FOLDERS));
  return [...folders, random.pick(NAMES)].join("/");
}

/** path → what git check-attr says of its filter. */
function asked(folder: string, paths: readonly string[]): Map<string, string> {
  const env = { PATH: process.env["PATH"], HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1" };
  const out = execFileSync("git", ["check-attr", "-z", "--stdin", "filter"], {
    cwd: folder,
    env,
    input: paths.join("\0"),
    stdio: ["pipe", "pipe", "ignore"],
  });
  const fields = out.toString().split("\0");
  return new Map(paths.map((path, at) => [path, fields[at * 3 + 2] ?? ""]));
}

function said(path: string, files: ReadonlyMap<string, AttributeRules>): string {
  const filter = filterOf(latin1(utf8(path)), (folder) => files.get(folder));
  if (typeof filter === "string") return filter;
  return filter === undefined || filter === null ? "unspecified" : filter ? "set" : "unset";
}

t.test(
  "as git check-attr, on random files in any folder: macros, negations, quotes, globs, long lines",
  async (t) => {
    const random = seeded(7);
    let lfs = 0;
    let cases = 0;
    for (let round = 0; round < 120; round++) {
      const folder = await tempFolder(t);
      execFileSync("git", ["init", "-q", folder]);
      const texts = new Map([["", randomFile(random)]]);
      for (let count = random.below(4); count > 0; count--)
        texts.set(
          Array.from({ length: 1 + random.below(2) }, () => random.pick(FOLDERS)).join("/"),
          randomFile(random),
        );
      for (const [at, text] of texts) {
        const path = join(folder, at, ".gitattributes");
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, text);
      }
      const paths = [...new Set(Array.from({ length: 60 }, () => randomPath(random)))];
      const rules = new Map(
        [...texts].map(([at, text]) => [latin1(utf8(at)), new AttributeRules(utf8(text))]),
      );
      for (const [path, is] of asked(folder, paths)) {
        const ours = said(path, rules);
        cases++;
        if (is === "lfs") lfs++;
        if (ours !== is) t.equal(ours, is, `${path}: ${JSON.stringify([...texts])}`);
      }
    }
    t.ok(lfs > cases / 20, `${lfs} of ${cases} are lfs`);
  },
);

t.test(
  "macros are the root's, count wherever they are set, and may name each other in any depth",
  async (t) => {
    const rules = (text: string) => new AttributeRules(utf8(text));
    const chain = Array.from(
      { length: 50_000 },
      (_, at) => `[attr]m${at} ${at === 0 ? "filter=lfs" : `m${at - 1}`}`,
    );
    const files = new Map([
      ["", rules(`${chain.join("\n")}\n[attr]round round`)],
      ["a", rules("[attr]x filter=lfs\n*.bin m49999\n*.x x\n*.r round")],
    ]);
    t.equal(said("a/b.bin", files), "lfs");
    t.equal(said("a/b.x", files), "unspecified", "a folder's own macros are none");
    t.equal(said("a/b.r", files), "unspecified");
  },
);

t.test(
  "work is counted: what is looked up costs little, what must be tried costs a step each and more",
  async (t) => {
    const cost = (text: string, path: string) => {
      const rules = new AttributeRules(utf8(text));
      const budget = new WorkBudget(1_000_000, "steps", "lakefs/too-many-attributes");
      filterOf(path, (folder) => (folder === "" ? rules : undefined), budget);
      return budget.spent;
    };
    const lines = (count: number, of: (at: number) => string) =>
      Array.from({ length: count }, (_, at) => `${of(at)} filter=lfs`).join("\n");
    t.ok(
      cost(
        lines(1_000, (at) => `*.s${at}`),
        "a/b/f.bin",
      ) < 10,
    );
    t.ok(
      cost(
        lines(1_000, (at) => `/data/${at}`),
        "a/b/f.bin",
      ) < 10,
    );
    t.ok(
      cost(
        lines(1_000, (at) => `d${at}/**/*.x`),
        "a/b/f.bin",
      ) >= 1_000,
    );
    const hostile = new AttributeRules(utf8(lines(200, (at) => `${"*a".repeat(100)}*c*${at}*`)));
    const budget = new WorkBudget(1_000_000, "steps", "lakefs/too-many-attributes");
    const path = "a".repeat(400);
    t.throws(
      () => {
        for (let round = 0; round < 100; round++)
          filterOf(path, (folder) => (folder === "" ? hostile : undefined), budget);
      },
      {
        code: "lakefs/too-many-attributes",
        message: /take more work than is done for one.*limit: 1000000, unit: steps/,
      },
    );
  },
);
