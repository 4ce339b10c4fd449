/** Clones with depth and filters bring exactly the objects that stock git's own server sends. */
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  checkFsck,
  git,
  objectSet,
  startStock,
  stockRepository,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { type FetchServer, startFetchServer } from "../support/fetch-server.js";
import { makeHistory } from "../support/scratch-history.js";

interface Pair {
  readonly ours: FetchServer;
  /** URLs of the same repository, ours and stock git's. */
  readonly urls: readonly [ours: string, stock: string];
  readonly bare: string;
}

async function servers(t: Test): Promise<Pair> {
  const bare = await makeHistory(t);
  const ours = await startFetchServer(t);
  await ours.serve("ns/history", bare);
  const stock = await startStock(t, [
    "uploadpack.allowFilter=true",
    "uploadpack.allowAnySHA1InWant=true",
  ]);
  await stockRepository(stock, "ns/history", bare);
  return { ours, urls: [`${ours.url}/ns/history.git`, `${stock.url}/ns/history.git`], bare };
}

async function clone(
  t: Test,
  url: string,
  args: readonly string[],
  version: 0 | 1 | 2,
): Promise<string> {
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", "--bare", ...args, url, copy], { version });
  return copy;
}

async function boundary(copy: string): Promise<string[]> {
  const file = join(copy, "shallow");
  return existsSync(file) ? (await readFile(file, "utf8")).trim().split("\n").sort() : [];
}

/**
 * Git's server also names boundary commits that lie behind another one and are never sent; ours
 * does not.
 */
async function realBoundary(copy: string): Promise<string[]> {
  const held = new Set(await objectSet(copy));
  return (await boundary(copy)).filter((oid) => held.has(oid));
}

async function compare(
  t: Test,
  { urls }: Pair,
  args: readonly string[],
  version: 0 | 1 | 2,
): Promise<void> {
  const [ours, stock] = await Promise.all(urls.map((url) => clone(t, url, args, version)));
  if (ours === undefined || stock === undefined) throw new Error("unreachable");
  t.same(
    await objectSet(ours),
    await objectSet(stock),
    `objects: ${args.join(" ")}, version ${version}`,
  );
  const isFiltered = args.some((arg) => arg.startsWith("--filter"));
  t.same(
    await boundary(ours),
    await (isFiltered ? boundary(stock) : realBoundary(stock)),
    `boundary: ${args.join(" ")}`,
  );
  if (!isFiltered) await checkFsck(t, ours);
}

const CLONES: readonly (readonly string[])[] = [
  [],
  ["--mirror"],
  ["--no-tags"],
  ["--single-branch", "--branch", "side"],
  ["--single-branch", "--branch", "v1.0"],
  ["--single-branch", "--branch", "alone"],
];

const DEPTHS: readonly (readonly string[])[] = [
  ["--depth=1"],
  ["--depth=2", "--no-single-branch"],
  ["--depth=3"],
  ["--depth=7", "--no-single-branch"],
  ["--depth=1000"],
  ["--shallow-since=1700000600"],
  ["--shallow-since=1700000900", "--no-single-branch"],
  ["--shallow-exclude=light"],
  ["--shallow-exclude=v1.0", "--shallow-exclude=left"],
  ["--shallow-exclude=refs/heads/right", "--shallow-since=1700000300"],
];

const FILTERS = [
  "blob:none",
  "blob:limit=0",
  "blob:limit=5",
  "blob:limit=1k",
  "blob:limit=200000",
  "blob:limit=1m",
  "tree:0",
  "tree:1",
  "tree:2",
  "tree:3",
  "tree:9",
  "object:type=commit",
  "object:type=tree",
  "object:type=blob",
  "object:type=tag",
  "combine:tree:3+blob:limit=20",
  "combine:blob:none+tree:1",
  "combine:object:type=blob+blob:limit=100",
  "combine:tree:2+blob:limit=1k+object:type=tree",
];

t.test("clones bring what stock git's server sends", async (t) => {
  const pair = await servers(t);
  for (const version of [0, 1, 2] as const)
    for (const args of CLONES) await compare(t, pair, args, version);
});

t.test("shallow clones bring what stock git's server sends, with the same boundary", async (t) => {
  const pair = await servers(t);
  for (const version of [0, 2] as const)
    for (const args of DEPTHS) await compare(t, pair, args, version);
});

t.test("filtered clones bring what stock git's server sends", async (t) => {
  const pair = await servers(t);
  for (const version of [0, 2] as const)
    for (const filter of FILTERS) await compare(t, pair, [`--filter=${filter}`], version);
  for (const filter of FILTERS) await compare(t, pair, [`--filter=${filter}`, "--depth=2"], 2);
});

t.test("sparse filters bring what stock git's server sends", async (t) => {
  const pair = await servers(t);
  for (const name of ["md", "deep", "nothing"]) {
    const oid = await git(["rev-parse", `main:patterns/${name}`], { cwd: pair.bare });
    for (const spec of [
      oid,
      `main:patterns/${name}`,
      `refs/heads/main:patterns/${name}`,
      `combine:sparse%3Aoid=${oid}+blob:limit=50`,
    ])
      await compare(
        t,
        pair,
        [`--filter=${spec.startsWith("combine") ? spec : `sparse:oid=${spec}`}`],
        2,
      );
  }
});

t.test("a filter that names nothing is refused with its reason", async (t) => {
  const { urls } = await servers(t);
  const run = await tryGit(
    [
      "clone",
      "-q",
      "--bare",
      "--filter=sparse:oid=main:nowhere",
      urls[0],
      join(await tempFolder(t), "copy"),
    ],
    { version: 2 },
  );
  t.not(run.code, 0);
  t.match(run.stderr, /no such blob of sparse patterns/);
});

t.test(
  "a client cut off by revisions can be unshallowed, which stock git's server makes impossible",
  async (t) => {
    const { urls, bare } = await servers(t);
    for (const version of [0, 2] as const) {
      const copy = await clone(t, urls[0], ["--depth=2"], version);
      await git(["fetch", "-q", "--shallow-exclude=light", "origin"], { cwd: copy, version });
      await git(["fetch", "-q", "--unshallow", "origin"], { cwd: copy, version });
      t.same(await boundary(copy), []);
      t.equal(
        await git(["rev-list", "--count", "main"], { cwd: copy }),
        await git(["rev-list", "--count", "main"], { cwd: bare }),
      );
      await checkFsck(t, copy);
    }
  },
);

/** Each a clone and what is fetched into it then. */
const DEEPENINGS: readonly (readonly (readonly string[])[])[] = [
  [["--depth=1"], ["--deepen=1"], ["--deepen=2"], ["--unshallow"]],
  [
    ["--depth=1", "--no-single-branch"],
    ["--depth=4"],
    ["--depth=2"],
    ["--shallow-since=1700000300"],
  ],
  [["--depth=2"], ["--shallow-exclude=light"]],
  [["--shallow-since=1700000900"], ["--depth=1"], ["--deepen=5"]],
  [[], ["--depth=2"]],
];

t.test("deepening moves the boundary as stock git's server does", async (t) => {
  const { ours: server, urls } = await servers(t);
  for (const version of [0, 2] as const)
    for (const [first = [], ...fetches] of DEEPENINGS) {
      // Ours on one connection in version 0, over HTTP in version 2.
      const mine = version === 0 ? `${server.gitUrl}/ns/history.git` : urls[0];
      const copies = await Promise.all([mine, urls[1]].map((url) => clone(t, url, first, version)));
      for (const args of fetches) {
        const [ours = "", stock = ""] = copies;
        await Promise.all(
          copies.map((copy) => git(["fetch", "-q", ...args, "origin"], { cwd: copy, version })),
        );
        const title = `${[...first, "then", ...args].join(" ")}, version ${version}`;
        t.same(await boundary(ours), await realBoundary(stock), `boundary: ${title}`);
        t.same(await objectSet(ours), await objectSet(stock), `objects: ${title}`);
        await checkFsck(t, ours);
      }
    }
});
