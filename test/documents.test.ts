/**
 * Documents lead somewhere: their links and anchors, the files and functions they name, and the
 * tables that are made from code and from figures.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import t from "tap";
import { backupCommand } from "../src/cli/commands/backup.js";
import { doctorCommand } from "../src/cli/commands/doctor.js";
import { gcCommand } from "../src/cli/commands/gc.js";
import { indexPackCommand } from "../src/cli/commands/index-pack.js";
import { poolCommand } from "../src/cli/commands/pool.js";
import { repoCommand } from "../src/cli/commands/repo.js";
import { restoreCommand } from "../src/cli/commands/restore.js";
import { serveCommand } from "../src/cli/commands/serve.js";
import { tokenCommand } from "../src/cli/commands/token.js";
import { userCommand } from "../src/cli/commands/user.js";
import { verifyCommand } from "../src/cli/commands/verify.js";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(path) : [path];
  });
}

const documents = [
  ...["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md"],
  ...filesBelow("docs").filter((file) => file.endsWith(".md")),
];
const files = ["src", "workers", "wasm", "bench", "scripts", "test", "packaging"].flatMap(
  filesBelow,
);
const textOf = (file: string): string => readFileSync(join(ROOT, file), "utf8");
/** Without what stands in code blocks. */
const proseOf = (file: string): string => textOf(file).replace(/^```[\s\S]*?^```$/gm, "");

/** Anchors as GitHub makes them of headings: "Who did it" is #who-did-it. */
function anchorsOf(file: string): Set<string> {
  const headings = [...proseOf(file).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** Links of a document that lead nowhere. */
function brokenLinks(file: string): string[] {
  const links = [...proseOf(file).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
  return links.filter((link) => {
    if (/^\w+:/.test(link)) return false;
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? file : join(dirname(file), path);
    if (!existsSync(join(ROOT, target))) return true;
    return anchor !== undefined && target.endsWith(".md") && !anchorsOf(target).has(anchor);
  });
}

interface Named {
  readonly path: string;
  readonly name: string | undefined;
}

/** What stands in backquotes as a file, with or without `→ function`. */
function namedIn(text: string): Named[] {
  const found = text.matchAll(
    /`((?:[\w.-]+\/)*[\w-]+(?:\.test)?\.(?:ts|mjs|conf|service))(?: → (#?\w+))?`/g,
  );
  return [...found].map(([, path = "", name]) => ({ path, name }));
}

/** A file by its whole path, below src/, or by its last parts. */
function findFiles(path: string): string[] {
  const whole = files.filter((file) => file === path || file === `src/${path}`);
  return whole.length > 0 ? whole : files.filter((file) => file.endsWith(`/${path}`));
}

function leadsSomewhere({ path, name }: Named): boolean {
  return findFiles(path).some(
    (file) => name === undefined || textOf(file).includes(name.replace("#", "")),
  );
}

t.test("links and anchors lead somewhere", async (t) => {
  for (const file of documents) t.same(brokenLinks(file), [], file);
});

t.test("files and functions that documents name are there", async (t) => {
  for (const file of documents)
    t.same(
      namedIn(textOf(file))
        .filter((named) => !leadsSomewhere(named))
        .map(({ path, name }) => `${path} ${name ?? ""}`),
      [],
      file,
    );
  t.notOk(leadsSomewhere({ path: "odb/cover.ts", name: undefined }), "the check sees a wrong file");
  t.notOk(leadsSomewhere({ path: "wire/push.ts", name: "formatNothing" }), "and a wrong function");
});

t.test("tests and folders that documents name are there", async (t) => {
  const wrong = documents.flatMap((file) =>
    [...proseOf(file).matchAll(/`((?:test|src|bench|docs|scripts|packaging)\/[\w./-]+)\*?`/g)]
      .map(([, path = ""]) => path)
      .filter((path) => !/\.(json|svg)$/.test(path))
      .filter(
        (path) =>
          !existsSync(join(ROOT, path)) &&
          !files.some((one) => one.startsWith(path) && dirname(one) === dirname(path)),
      )
      .map((path) => `${file}: ${path}`),
  );
  t.same(wrong, []);
});

const commands: ReadonlyMap<string, Command> = new Map(
  [
    serveCommand(),
    userCommand(),
    tokenCommand(),
    repoCommand(),
    poolCommand(),
    doctorCommand(),
    verifyCommand(),
    gcCommand(),
    indexPackCommand(),
    backupCommand(),
    restoreCommand(),
  ].map((command) => [command.name(), command]),
);

/** Undefined if the command line names a command and options that are there, else what is not. */
function unknownPart(line: string): string | undefined {
  const [name = "", second = "", ...rest] = line.split(/\s+/);
  const command = commands.get(name);
  if (command === undefined) return name;
  const sub = command.commands.find((one) => one.name() === second);
  if (command.commands.length > 0 && sub === undefined && /^[a-z]/.test(second)) return second;
  const known = (sub ?? command).options.map(({ long }) => long);
  return [second, ...rest]
    .filter((word) => /^--[a-z]/.test(word) && word !== "--help" && word !== "--json")
    .find((option) => !known.includes(option));
}

t.test("commands, options and metrics that documents name are there", async (t) => {
  const metrics = textOf("src/observe/metrics.ts");
  for (const file of documents) {
    const text = textOf(file);
    const code = [...text.matchAll(/^```sh[\s\S]*?^```$/gm)].join("\n");
    const lines = [
      ...proseOf(file).matchAll(/`lakepack ([a-z][^`]*)`/g),
      ...code.matchAll(/(?:^|\$\()lakepack ([a-z][^\n#)]*)/gm),
    ].map(([, line = ""]) => line.trim());
    t.same(lines.map(unknownPart).filter(Boolean), [], file);
    t.same(
      [...text.matchAll(/`(lakepack_\w+)/g)]
        .map(([, name = ""]) => name)
        .filter((name) => !metrics.includes(`"${name}"`)),
      [],
      file,
    );
  }
  t.same(["repo adopt a/b", "repo adapt a/b", "gc --al", "nothing"].map(unknownPart), [
    undefined,
    "adapt",
    "--al",
    "nothing",
  ]);
});

/** Sentences that begin with a relative clause: the reader has to hold it before the verb comes. */
function clausesFirst(text: string): string[] {
  const found = text.matchAll(
    /(?:^|[.:;] |^\s*- |\| )((?:What|Who|Whoever|Whether|Whose)\s[^.\n]*)/gm,
  );
  return [...found]
    .map(([, sentence = ""]) => sentence)
    .filter((sentence) => !/\?$/.test(sentence));
}

t.test("no sentence begins with a relative clause", async (t) => {
  for (const file of documents) {
    const prose = proseOf(file).replace(/^#+ .*$/gm, "");
    t.same(clausesFirst(prose.replace(/([^\n])\n(?=[^\n|#-])/g, "$1 ")), [], file);
  }
  t.same(clausesFirst("Yes. Who has none is not listened to. No."), [
    "Who has none is not listened to",
  ]);
});

t.test("each decision has its five parts, and stands in the list", async (t) => {
  const list = textOf("docs/decisions/README.md");
  const decisions = documents.filter((file) => /decisions\/\d{4}-/.test(file)).sort();
  t.ok(decisions.length > 40);
  for (const [at, file] of decisions.entries()) {
    const number = String(at + 1).padStart(4, "0");
    const text = textOf(file);
    const title = /^# (\d{4}) (.+)\n/.exec(text);
    t.equal(title?.[1], number, file);
    t.match(text, /^Date: \d{4}-\d\d-\d\d$/m);
    t.same(
      [...text.matchAll(/^## (.*)$/gm)].map(([, part]) => part),
      ["Context", "Choice", "Rejected", "Proof"],
    );
    t.ok(list.includes(`[${number}](${basename(file)})`) && list.includes(title?.[2] ?? "?"), file);
  }
});

for (const script of ["settings-table", "bench-page"])
  t.test(`the tables that scripts/${script}.mjs makes are up to date`, async (t) => {
    const check = spawnSync(process.execPath, [join(ROOT, `scripts/${script}.mjs`), "--check"], {
      encoding: "utf8",
    });
    t.equal(check.status, 0, check.stderr);
  });
