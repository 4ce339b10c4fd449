/**
 * What neither compiler nor linter looks at: width where the formatter does not reach, exports that
 * nobody uses, names in comments that lead nowhere, two types of one name in a room, settings
 * without a word in the documents, and numbers that two languages share.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import t from "tap";
import { SETTINGS } from "../src/cli/server/settings.js";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const WIDTH = 100;

function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return filesBelow(path, ending);
    return path.endsWith(ending) ? [path] : [];
  });
}

const texts = new Map<string, string>();

function textOf(file: string): string {
  const text = texts.get(file) ?? readFileSync(join(ROOT, file), "utf8");
  texts.set(file, text);
  return text;
}

const sources = ["src", "workers", "bench"].flatMap((folder) => filesBelow(folder, ".ts"));
const scripts = filesBelow("scripts", ".mjs");
const kernels = filesBelow("wasm", ".ts");
const tests = filesBelow("test", ".ts");
const documents = [
  ...["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md"],
  ...filesBelow("docs", ".md"),
];

// Width -------------------------------------------------------------------------------------------
/** Lines of a file over the width, as "file:line". */
function wideLines(file: string, lines: readonly string[]): string[] {
  return lines.flatMap((line, at) => (line.length > WIDTH ? [`${file}:${at + 1}`] : []));
}

/** The lines of a document's code blocks, empty ones in place of all others. */
function codeLines(text: string): string[] {
  let isCode = false;
  return text.split("\n").map((line) => {
    if (/^\s*```/.test(line)) isCode = !isCode;
    return isCode ? line : "";
  });
}

/** Comment lines; a line of code is the formatter's. */
function commentLines(text: string): string[] {
  return text.split("\n").map((line) => (/^\s*(\/\/|\/?\*)/.test(line) ? line : ""));
}

/**
 * Drawings of formats that are wider: so many lines, and never more.
 */
const WIDE_MAX = { kernels: 3, comments: 24, documents: 0 };

t.test(`kernels, comments and code in documents have ${WIDTH} columns`, async (t) => {
  const wide = {
    kernels: kernels.flatMap((file) => wideLines(file, textOf(file).split("\n"))),
    comments: [...sources, ...tests, ...scripts].flatMap((file) =>
      wideLines(file, commentLines(textOf(file))),
    ),
    documents: documents.flatMap((file) => wideLines(file, codeLines(textOf(file)))),
  };
  for (const [name, max] of Object.entries(WIDE_MAX)) {
    const lines = wide[name as keyof typeof wide];
    t.ok(lines.length <= max, `${name}: ${lines.length} of ${max}\n${lines.join("\n")}`);
  }
  t.same(wideLines("f", ["x".repeat(100), "x".repeat(101)]), ["f:2"], "the check sees one");
});

// Exports -----------------------------------------------------------------------------------------
/** What a file imports by name: "file name" for each, "file *" for a namespace. */
function importsOf(file: string): string[] {
  const found = textOf(file).matchAll(
    /(?:import|export)\s+(?:type\s+)?(\{[^}]*\}|\*(?:\s+as\s+\w+)?)\s+from\s+"(\.[^"]+)"|import\(\s*"(\.[^"]+)"/g,
  );
  return [...found].flatMap(([, names, from, dynamic]) => {
    const target = relative(
      ROOT,
      resolve(join(ROOT, dirname(file)), (from ?? dynamic) as string),
    ).replace(/\.js$/, ".ts");
    if (names === undefined || names.startsWith("*")) return [`${target} *`];
    return names
      .slice(1, -1)
      .split(",")
      .map(
        (name) =>
          name
            .trim()
            .replace(/^type\s+/, "")
            .split(/\s+as\s+/)[0] as string,
      )
      .filter(Boolean)
      .map((name) => `${target} ${name}`);
  });
}

interface Export {
  readonly name: string;
  readonly isType: boolean;
}

function exportsOf(file: string): Export[] {
  const found = textOf(file).matchAll(
    /^export\s+(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(const|let|function\*?|class|interface|type)\s+(\w+)/gm,
  );
  return [...found].map(([, kind, name]) => ({
    name: name as string,
    isType: kind === "interface" || kind === "type",
  }));
}

/** Exports that only tests use, each with its reason. */
const FOR_TESTS: ReadonlySet<string> = new Set([
  // Tables that a test walks row by row.
  "src/base/fault.ts FAULTS",
  "src/git/fsck/levels.ts FSCK_LEVELS",
  "src/lakefs/hooks/hook-report.ts HOOK_OPERATIONS",
  "src/lakefs/hooks/hook-report.ts HOOK_TABLE",
  "src/wire/capabilities.ts SYMREF_ROW",
  "src/transport/uws-binary.ts UWS_BINARIES",
  "src/transport/uws-binary.ts UWS_PLATFORM",
  // docs/lakefs.md is held against it.
  "src/lakefs/hooks/hook-report.ts formatHookTable",
  // Rules that are reached with a clock, a database or a lakeFS only, and are exhausted alone.
  "src/auth/failed-logins.ts failedLoginWait",
  "src/git/fsck/levels.ts levelOf",
  "src/lakefs/land/sweep.ts sweepWorkBranches",
  "src/store/key.ts isComponent",
  "src/transport/http/routes.ts protocolVersion",
  // One of the two kernel sets of the conformance suite.
  "src/kernels/choose.ts ChosenKernels",
  // A test holds what is installed against them.
  "src/transport/uws-binary.ts UWS_BINARIES",
  "src/transport/uws-binary.ts UWS_PLATFORM",
  // Formats that tests write and we only read.
  "src/lakefs/api/sstable.ts crc32c",
  "src/lakefs/agreed/cuts.ts CUT_PREFIX",
]);

/** src/library is what the package exports; its own test holds the set of names. */
t.test("every export of src is used by another file that is no test", async (t) => {
  const used = new Set([...sources].flatMap(importsOf));
  const dead = sources
    // src/library is what the package exports.
    .filter((file) => file.startsWith("src/") && !file.startsWith("src/library/"))
    .flatMap((file) =>
      exportsOf(file)
        .filter(({ name, isType }) => {
          if (used.has(`${file} ${name}`) || used.has(`${file} *`)) return false;
          // A type may be exported because something exported is made of it.
          const inFile = textOf(file).match(new RegExp(`\\b${name}\\b`, "g"))?.length ?? 0;
          return !isType || inFile < 2;
        })
        .map(({ name }) => `${file} ${name}`),
    );
  t.same(
    dead.filter((one) => !FOR_TESTS.has(one)),
    [],
  );
  t.same(
    [...FOR_TESTS].filter((one) => !dead.includes(one)),
    [],
    "none is listed for nothing",
  );
});

t.test("one exported type of a name in a room", async (t) => {
  const places = new Map<string, string[]>();
  for (const file of sources.filter((file) => file.startsWith("src/")))
    for (const { name, isType } of exportsOf(file)) {
      const isClass = new RegExp(`^export (abstract )?class ${name}\\b`, "m").test(textOf(file));
      if (!isType && !isClass) continue;
      const key = `${file.split("/")[1]} ${name}`;
      places.set(key, [...(places.get(key) ?? []), file]);
    }
  t.same(
    [...places].filter(([, files]) => files.length > 1),
    [],
  );
});

// Names in comments -------------------------------------------------------------------------------
/** Comments of a source file, one text. */
function commentsOf(text: string): string {
  return [...text.matchAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm)]
    .map(([comment]) => comment)
    .join("\n");
}

/** Names of files in a text: with a folder, or by themselves ("walk.ts"). */
function filesNamed(text: string): string[] {
  const named = text.matchAll(
    /(?<![\w./<>-])((?:[\w-]+\/)*[\w-]+(?:\.test)?\.(?:ts|mjs|md))(?![\w-])/g,
  );
  return [...named].map(([, name]) => name as string);
}

const everything = [...sources, ...scripts, ...kernels, ...tests, ...documents];

/** Whether a name in a comment leads to a file: a path's end that is there. */
function leadsSomewhere(name: string): boolean {
  return existsSync(join(ROOT, name)) || everything.some((file) => file.endsWith(`/${name}`));
}

/** Names of files that are not ours, in comments about others' code or formats. */
const OTHERS_FILES: ReadonlySet<string> = new Set([
  "docs/spec.md", // git-lfs
  "docs/api/batch.md", // git-lfs
  "copy/README.md", // made in a session of README
]);

t.test("files named in comments are there", async (t) => {
  const wrong = [...sources, ...scripts, ...kernels, ...tests].flatMap((file) =>
    filesNamed(commentsOf(textOf(file)))
      .filter((name) => !leadsSomewhere(name) && !OTHERS_FILES.has(name))
      .map((name) => `${file}: ${name}`),
  );
  t.same(wrong, []);
  t.same(
    filesNamed("see odb/walk.ts, (pack.test.ts) and x/y.mjs; not v1.tsx").filter(
      (name) => !leadsSomewhere(name),
    ),
    ["odb/walk.ts", "pack.test.ts", "x/y.mjs"],
    "the check sees them",
  );
});

t.test("files named in documents are there", async (t) => {
  const wrong = documents.flatMap((file) =>
    filesNamed(textOf(file))
      .filter((name) => !leadsSomewhere(name) && !OTHERS_FILES.has(name))
      .map((name) => `${file}: ${name}`),
  );
  t.same(wrong, []);
});

t.test("functions named in comments with their file are in it", async (t) => {
  const wrong = [...sources, ...scripts, ...kernels, ...tests].flatMap((file) => {
    const comments = commentsOf(textOf(file));
    const named = comments.matchAll(/([\w/-]+\.(?:ts|mjs))(?: → |, `|'s `)(\w+)/g);
    return [...named].flatMap(([all, where = "", name = ""]) => {
      const target = everything.find((one) => one === where || one.endsWith(`/${where}`));
      return target !== undefined && new RegExp(`\\b${name}\\b`).test(textOf(target))
        ? []
        : [`${file}: ${all}`];
    });
  });
  t.same(wrong, []);
});

// Documents and numbers ---------------------------------------------------------------------------
// Failures ----------------------------------------------------------------------------------------
/**
 * Why work was called off is lost where a fault is made anew: of a record (fromRecord does it, and
 * failureUnder adds the reason), or for a signal that has its reason (checkAborted, failureUnder).
 */
function reasonsLost(text: string): number {
  const byHand = /new Fault\(\w+(\.\w+)*\.fault, /g;
  const forSignal = /\.aborted\) (throw|return) new Fault\("base\/aborted"/g;
  return (text.match(byHand) ?? []).length + (text.match(forSignal) ?? []).length;
}

t.test("no reason of an abort is lost", async (t) => {
  const wrong = sources.filter((file) => reasonsLost(textOf(file)) > 0);
  t.same(wrong, []);
  t.equal(reasonsLost("throw new Fault(made.failure.fault, made.failure.facts)"), 1);
  t.equal(reasonsLost('if (signal?.aborted) throw new Fault("base/aborted", {}, error)'), 1);
});

t.test("every setting is in the documents", async (t) => {
  const all = documents.map(textOf).join("\n");
  const missing = Object.keys(SETTINGS).filter((name) => !new RegExp(`\\b${name}\\b`).test(all));
  t.same(missing, []);
});

t.test("the constants that kernels and their callers share are those of wasm/", async (t) => {
  const { abiText } = (await import(pathToFileURL(join(ROOT, "scripts/abi.mjs")).href)) as {
    readonly abiText: () => string;
  };
  t.equal(textOf("src/kernels/abi.ts"), abiText());
});
