/**
 * The layer rule: imports point only left or up. One list, and every import of the sources held
 * against it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import ts from "typescript";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/**
 * Rank of each room; a file imports from its own room or a lower rank. Siblings share a rank and
 * may not import each other.
 */
const RANKS: Readonly<Record<string, number>> = {
  base: 0,
  kernels: 1,
  git: 2,
  wire: 3,
  observe: 4,
  pool: 5,
  store: 6,
  odb: 7,
  database: 8,
  lakefs: 9,
  lfs: 9,
  auth: 9,
  serve: 10,
  // To come: events told to others, and the server as a client of others' Git servers.
  webhooks: 10,
  client: 10,
  api: 11,
  transport: 12,
  cli: 13,
  library: 14,
};
/**
 * Folders of a room, lowest first: a file imports from its own folder or one before it. "" is the
 * room itself. A room that is not listed has no folders.
 */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  git: ["", "fsck"],
  odb: ["packs", "walk", "index-pack", "", "pack-objects", "manifest"],
  lakefs: ["api", "rules", "agreed", "hooks", "trees", "read", "land", ""],
  serve: ["conversation", "lfs", "repositories", "fetch", "push", ""],
  store: ["", "cache", "s3"],
  // To come: Git over SSH.
  transport: ["http", "ssh", ""],
  cli: ["server", "terminal", "doctor", "backup", "commands", ""],
};
/** More files than that nobody takes in at a glance. */
const FOLDER_FILES_MAX = 25;

/** workers/ are doors: they may reach up to lakefs. */
const WORKERS_RANK = 9.5;

/** Packages and the rooms that alone may name them. */
const OWNERS: readonly (readonly [pattern: RegExp, rooms: readonly string[]])[] = [
  [/^uWebSockets\.js$|^node:https?2?$|^ssh2$/, ["transport"]],
  [/^piscina$/, ["pool", "workers"]],
  [/^@aws-sdk\//, ["store"]],
  [/^(libsql|kysely|pg)$/, ["database"]],
  [/^undici$/, ["lakefs"]],
  [/^(node:)?child_process$/, ["client"]],
];
/** Choosing kernels is timing them: the one clock in a pure room. */
const TIMES_KERNELS = "src/kernels/choose.ts";
/** The AWS SDK is told there not to warn of the Node.js that we support; nothing is read. */
const SETS_ENVIRONMENT = "src/store/s3/sdk.ts";
const PURE_ROOMS = new Set(["base", "kernels", "git", "wire"]);
/** Packages of Node.js that a pure room may use: arithmetic on bytes, no I/O. */
const PURE_PACKAGES = /^node:(crypto|zlib|buffer)$|^hash-wasm$/;

/**
 * Modules that hold something which changes, and why each may. All other state is in a field of
 * something that a server makes: two of them in one process do not meet, and a test starts afresh.
 */
const MODULE_STATE: Readonly<Record<string, string>> = {
  "src/kernels/choose.ts": "a thread's kernels, timed once for all who use them there",
  "src/odb/index-pack/memories.ts": "shared memories that nobody gives back to the system",
  "src/odb/packs/reader.ts": "a pool thread's caches: tasks meet in nothing but their module",
  "src/lakefs/trees/tree-cache.ts": "a pool thread's cache, as above",
  "src/lakefs/rules/commit-attributes.ts": "a pool thread's cache, of a pure function",
  "src/lakefs/api/exchange.ts": "a thread's connections, shared by all clients there",
  "src/lakefs/api/http.ts": "a thread's way to tell of its calls",
  "src/lfs/hash-here.ts": "how much hashing one event loop bears: there is one a thread",
  "src/transport/http/request-id.ts": "a counter: ids are unique in the process",
};
/** Classes whose instances change; of a Map or a Set, unless its type says that it does not. */
const CHANGING =
  /^(?:export )?const \w+(: [^=]+)? = new (?:Map|Set|WeakMap|WeakSet|LRUCache|Semaphore|SingleFlight|FinalizationRegistry|BroadcastChannel|AbortController)\b/;

/**
 * Files that spread a list into a call's arguments, and why it is short. Some 125,000 arguments
 * overflow the stack, and the length of a list that comes from a pack or a request is its sender's
 * to choose: such lists are gone through.
 */
const SPREADING: Readonly<Record<string, string>> = {
  "src/cli/doctor/checks.ts": "the checks of one kind",
  "src/cli/terminal/subcommand.ts": "a page: LIMITS.listedPageMax",
  "src/lakefs/api/commit-record.ts": "parents of a pushed commit: LIMITS.landingParentsMax",
  "src/lakefs/hooks/actions.ts": "hooks of a file: LIMITS.actionFileBytesMax",
  "src/odb/index-pack/passes.ts": "LIMITS.fsckWarningsMax",
  "src/odb/pack-objects/fetch-pack.ts": "the pool's threads",
  "src/odb/pack-objects/fetch-work.ts": "a pair",
  "src/pool/fair-queue.ts": "whose share it is: two",
  "src/pool/port.ts": "what our own calls give",
  "src/wire/filter.ts": "parts of a filter: LIMITS.filterBytesMax",
};

interface Import {
  readonly file: string;
  readonly room: string;
  readonly target: string;
}

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return sources(path);
    return path.endsWith(".ts") ? [path] : [];
  });
}

function roomOf(file: string): string {
  return file.startsWith("workers/") ? "workers" : (file.split("/")[1] as string);
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|(?:import|require)\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s+"([^"]+)"/g,
  );
  return [...found].map((match) => ({
    file,
    room: roomOf(file),
    target: (match[1] ?? match[2] ?? match[3]) as string,
  }));
}

/** Folder of a file in its room: "src/odb/walk/walk.ts" is in "walk". */
function folderOf(file: string): string {
  return file.split("/").slice(2, -1).join("/");
}

function place(file: string, target: string): string {
  return relative(ROOT, resolve(join(ROOT, dirname(file)), target));
}

function rank(room: string): number {
  return room === "workers" ? WORKERS_RANK : (RANKS[room] ?? Number.NaN);
}

/** Returns the reason why an import is not allowed; undefined: it is. */
function complaint({ file, room, target }: Import): string | undefined {
  if (!target.startsWith(".")) return packageComplaint(file, room, target);
  const imported = place(file, target);
  const other = roomOf(imported);
  if (other === room) return folderComplaint(file, imported);
  if (rank(other) < rank(room)) return undefined;
  return `${file} (${room}) imports ${target} (${other})`;
}

function folderComplaint(file: string, imported: string): string | undefined {
  const folders = FOLDERS[roomOf(file)] ?? [""];
  const from = folders.indexOf(folderOf(file));
  const to = folders.indexOf(folderOf(imported));
  return from < 0 || to < 0 || to > from ? `${file} imports ${imported}` : undefined;
}

/** Files that import each other, through others or not: one line for each circle. Types count. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  // Tarjan's algorithm: strongly connected components.
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[] = [];
  const visit = (file: string): void => {
    const own = index.size;
    index.set(file, own);
    low.set(file, own);
    stack.push(file);
    for (const next of graph.get(file) ?? []) {
      if (!graph.has(next)) continue;
      if (!index.has(next)) visit(next);
      if (stack.includes(next))
        low.set(file, Math.min(low.get(file) as number, low.get(next) as number));
    }
    if (low.get(file) !== own) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1) found.push(circle.sort().join(" "));
  };
  for (const file of graph.keys()) if (!index.has(file)) visit(file);
  return found;
}

function packageComplaint(file: string, room: string, target: string): string | undefined {
  for (const [pattern, rooms] of OWNERS) {
    if (pattern.test(target) && !rooms.includes(room)) return `${file} (${room}) names ${target}`;
  }
  if (PURE_ROOMS.has(room) && !PURE_PACKAGES.test(target))
    return `${file} (${room}, pure) names ${target}`;
  return undefined;
}

/** Names of types that are read-only maps or sets: "type Macros = ReadonlyMap<…>". */
function readonlyAliases(texts: readonly string[]): ReadonlySet<string> {
  const found = texts.flatMap((text) => [...text.matchAll(/type (\w+) = Readonly(?:Map|Set)</g)]);
  return new Set(found.map(([, name]) => name as string));
}

/** Lines at the top level that declare something which changes. */
function moduleState(text: string, aliases: ReadonlySet<string>): string[] {
  return text.split("\n").filter((line) => {
    if (/^(?:export )?(?:let|var) /.test(line)) return true;
    if (/^(?:export )?const \w+(?:: (?!readonly )[^=]+\[\])? = \[\];/.test(line)) return true;
    const match = CHANGING.exec(line);
    const type = match?.[1]?.slice(2).trim() ?? "";
    return match !== null && !type.startsWith("Readonly") && !aliases.has(type);
  });
}

/** Lines on which a call's arguments have a spread list. */
function spreads(text: string): number[] {
  const source = ts.createSourceFile("x.ts", text, ts.ScriptTarget.Latest);
  const found: number[] = [];
  const visit = (node: ts.Node): void => {
    const isCall = ts.isCallExpression(node) || ts.isNewExpression(node);
    if (isCall && node.arguments?.some(ts.isSpreadElement) === true)
      found.push(source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Ways to wait are what these files are. */
const WAITING: ReadonlySet<string> = new Set(["src/base/flow.ts", "src/base/long-lists.ts"]);

const files = [...sources("src"), ...sources("workers")];

t.test("imports point only left or up, and packages stay in their rooms", async (t) => {
  t.ok(files.length > 20, "the sources were found");
  t.same(files.flatMap(importsOf).map(complaint).filter(Boolean), []);
});

t.test("the check sees what it must refuse", async (t) => {
  t.ok(
    complaint({ file: "src/git/oid.ts", room: "git", target: "../odb/manifest.js" }),
    "a lower room imports a higher one",
  );
  t.ok(
    complaint({ file: "src/lfs/batch.ts", room: "lfs", target: "../lakefs/client.js" }),
    "siblings",
  );
  t.ok(
    complaint({ file: "workers/hash.ts", room: "workers", target: "../src/serve/conversation.js" }),
    "a worker reaches up to serve",
  );
  t.ok(
    complaint({ file: "src/serve/x.ts", room: "serve", target: "node:child_process" }),
    "nobody starts processes",
  );
  t.ok(complaint({ file: "src/git/x.ts", room: "git", target: "node:fs" }), "a pure room does I/O");
  t.ok(
    complaint({ file: "src/odb/packs/x.ts", room: "odb", target: "../walk/walk.js" }),
    "a lower folder imports a higher one",
  );
  t.ok(
    complaint({ file: "src/odb/new/x.ts", room: "odb", target: "../packs/reader.js" }),
    "a folder that is not listed",
  );
});

t.test("no files import each other in a circle, types included", async (t) => {
  const graph = new Map(
    files.map((file) => [
      file,
      importsOf(file)
        .filter(({ target }) => target.startsWith("."))
        .map(({ target }) => place(file, target).replace(/\.js$/, ".ts")),
    ]),
  );
  t.same(circles(graph), []);
  t.same(
    circles(
      new Map([
        ["a", ["b"]],
        ["b", ["c"]],
        ["c", ["b", "d"]],
        ["d", []],
      ]),
    ),
    ["b c"],
    "the check sees one",
  );
});

t.test(`no folder holds more than ${FOLDER_FILES_MAX} files`, async (t) => {
  const counts = new Map<string, number>();
  for (const file of files) counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1);
  t.same(
    [...counts].filter(([, count]) => count > FOLDER_FILES_MAX),
    [],
  );
});

t.test("every file belongs to a room", async (t) => {
  t.same(
    files.filter((file) => Number.isNaN(rank(roomOf(file)))),
    [],
  );
});

t.test(
  "pure rooms wait for nothing and read no clock; only cli reads the environment",
  async (t) => {
    const offences = files.flatMap((file) => {
      const room = roomOf(file);
      const code = readFileSync(join(ROOT, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      const isPure = PURE_ROOMS.has(room) && !WAITING.has(file) && file !== TIMES_KERNELS;
      return [
        ...(isPure &&
        /\basync\b|\bawait\b|\bDate\.now\b|\bnew Date\(\)|\bperformance\.|\bMath\.random\b|\bconsole\./.test(
          code,
        )
          ? [`${file}: async, clock, chance or log`]
          : []),
        ...(room !== "cli" && file !== SETS_ENVIRONMENT && /\bprocess\.env\b/.test(code)
          ? [`${file}: process.env`]
          : []),
      ];
    });
    t.same(offences, []);
  },
);

t.test("modules hold nothing that changes, but for a few that say why", async (t) => {
  const texts = files.map((file) => readFileSync(join(ROOT, file), "utf8"));
  const aliases = readonlyAliases(texts);
  const found = files.filter((_, at) => moduleState(texts[at] as string, aliases).length > 0);
  t.same(found.sort(), Object.keys(MODULE_STATE).sort());
  const caught = [
    "let count = 0;",
    "export let last: string | undefined;",
    "const known = new Map<string, number>();",
    "const kept = new LRUCache<string, Row>({",
    "const flights = new SingleFlight<string, Known>();",
    "const waiting: string[] = [];",
  ];
  const passed = [
    "const NAMES: ReadonlySet<string> = new Set([",
    "const NO_MACROS: Macros = new Map();",
    "const NONE: readonly string[] = [];",
    "  let inside = 0;",
  ];
  t.same(moduleState([...caught, ...passed].join("\n"), new Set(["Macros"])), caught);
});

t.test("no list whose length somebody else chooses is spread into a call", async (t) => {
  const found = files.filter((file) => spreads(readFileSync(join(ROOT, file), "utf8")).length > 0);
  t.same(found.sort(), Object.keys(SPREADING).sort());
  const text = "all.push(\n  ...list,\n);\nnew Set([...list]);\nnew Row(...list);";
  t.same(spreads(text), [1, 5], "calls and constructors, not the list of one that is made");
  t.throws(() => [].push(...(Array(1_000_000) as never[])), RangeError, "what it is about");
});
