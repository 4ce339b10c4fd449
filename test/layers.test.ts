/**
 * The layer rule: imports point only left or up. One list, and every import of the sources held
 * against it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

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
  lakefs: ["api", "rules", "notes", "hooks", "trees", "read", "land", ""],
  serve: ["conversation", "lfs", "repositories", "fetch", "push", ""],
  transport: ["http", ""],
  cli: ["server", "terminal", "doctor", "commands", ""],
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
  [/^(node:)?child_process$/, []],
];
/** Choosing kernels is timing them: the one clock in a pure room. */
const TIMES_KERNELS = "src/kernels/choose.ts";
const PURE_ROOMS = new Set(["base", "kernels", "git", "wire"]);
/** Packages of Node.js that a pure room may use: arithmetic on bytes, no I/O. */
const PURE_PACKAGES = /^node:(crypto|zlib|buffer)$|^hash-wasm$/;

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
    /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s+"([^"]+)"/g,
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
        ...(room !== "cli" && /\bprocess\.env\b/.test(code) ? [`${file}: process.env`] : []),
      ];
    });
    t.same(offences, []);
  },
);
