/**
 * The same ids however they come about: commit by commit or all at once, by pages or by raw ranges,
 * on one node or on another.
 */
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import type { ThreadPool } from "../../src/pool/pool.js";
import { seeded } from "../support/random.js";
import {
  createSource,
  type Node,
  openNode,
  refsOf,
  signal,
  type Source,
  testPool,
} from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const MAPPING = { version: 3, threshold: 60, suffixes: ["big"] } as const;
const isLarge = process.env["TEST_LARGE"] !== undefined;
const SHORT_HISTORIES = isLarge ? 1_000 : 200;
/** Short histories made side by side. */
const AT_ONCE = 4;
type Chance = ReturnType<typeof seeded>;

const NAMES = [
  "é",
  "z.bin",
  "w.big",
  "q r*.bin",
  "c.txt",
  ".gitattributes",
  "n.bin",
  '"',
  "x.txt",
  "new\nline",
  ".gitmodules",
];
const FOLDERS = ["a", "b", "a.x", "lib"];
/** Paths that cannot cross, and markers: as long as one is there, every commit is listed anew. */
const ODD = [
  ".git",
  "..",
  "",
  "a",
  "b",
  "é",
  "d\\e",
  ".",
  "GIT~1",
  "n\0l",
  "\ufffd",
  ".gitmodules/x",
  ".gitattributes/x",
  "lib",
  ".g\u200cit",
];
const METADATA: readonly Readonly<Record<string, string>>[] = [
  { "lakepack-mode": "100755" },
  { "lakepack-mode": "120000" },
  { "lakepack-blob": `${"1".repeat(40)} 5 forged` },
  { "lakepack-sha256": `${"a".repeat(64)} 5 forged` },
];

/** Folders and files never clash, unless it is to be odd. */
function randomPath(random: Chance, odd: boolean): string {
  const folders = Array.from({ length: random.below(3) }, () => random.pick(FOLDERS));
  const names = odd && random.below(3) === 0 ? ODD : NAMES;
  return [...folders, random.pick(names)].join("/") || "root";
}

function randomContent(random: Chance, path: string): string {
  if (path.endsWith("/")) return "";
  if (path.endsWith(".gitattributes"))
    return random.pick([
      "*.bin filter=lfs\n",
      "a/** filter=lfs -text\n*.bin -filter\n",
      "# nothing",
      "",
    ]);
  if (path.endsWith(".gitmodules"))
    return random.pick([
      '[submodule "a"]\n\tpath = a\n\turl = ../a\n',
      '[submodule "../x"]\n\tpath = -x\n',
      "",
    ]);
  return (
    "x".repeat(random.below(5) === 0 ? 60 + random.below(40) : random.below(60)) + random.below(4)
  );
}

async function randomCommit(
  source: Source,
  random: Chance,
  present: Set<string>,
  odd: boolean,
): Promise<void> {
  for (let change = 1 + random.below(4); change > 0; change--) {
    const known = [...present];
    const path =
      random.below(3) > 0 || known.length === 0 ? randomPath(random, odd) : random.pick(known);
    if (present.has(path) && random.below(2) === 0) {
      await source.remove([path]);
      present.delete(path);
    } else {
      await source.put(
        { [path]: randomContent(random, path) },
        { metadata: random.below(6) === 0 ? random.pick(METADATA) : {} },
      );
      present.add(path);
    }
  }
  await source.commit(`change ${random.below(100)}`);
}

/** Another branch changes, and goes into main unless it clashes there. */
async function randomMerge(source: Source, random: Chance, odd: boolean): Promise<void> {
  const { client, name } = source;
  const side = `side-${random.below(1_000_000)}`;
  await client.in(name).createBranch({ name: side, source: await source.head() }, signal);
  await source.put({ [randomPath(random, odd)]: randomContent(random, "side") }, { branch: side });
  await source.commit("aside", { branch: side });
  await source.put({ [randomPath(random, odd)]: randomContent(random, "main") });
  await source.commit("meanwhile");
  await client
    .in(name)
    .merge(side, "main", { message: "merged", metadata: {} }, signal)
    .catch((error: unknown) => {
      if (!(error instanceof Fault && error.code === "lakefs/conflict")) throw error;
    });
}

async function tipOf(node: Node): Promise<string> {
  return (await node.refs.read()).byName.get("refs/heads/main")?.oid ?? "unborn";
}

async function sameTip(t: Test, follower: Node, fresh: Node, says: string): Promise<void> {
  const [followed, listed] = [await tipOf(follower), await tipOf(fresh)];
  if (followed !== listed)
    t.equal(
      await follower.git("ls-tree", "-rt", "main"),
      await fresh.git("ls-tree", "-rt", "main"),
      says,
    );
  if (followed !== listed) t.equal(followed, listed, says);
}

/**
 * Few commits, followed one by one; then a node comes that lists everything. Silent where all is
 * well.
 */
async function shortHistory(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  seed: number,
): Promise<void> {
  const random = seeded(1_000 + seed);
  const odd = seed % 3 !== 0;
  const source = await createSource(server);
  const follower = await openNode(t, server, pool, source.name, { mappingSeed: MAPPING });
  const present = new Set<string>();
  for (let commits = 2 + random.below(4); commits > 0; commits--) {
    if (random.below(5) === 0) await randomMerge(source, random, odd);
    else await randomCommit(source, random, present, odd);
    await tipOf(follower);
  }
  const fresh = await openNode(t, server, pool, source.name, { pagesOnly: seed % 2 === 0 });
  await sameTip(t, follower, fresh, `seed ${seed}`);
  if (seed % 10 === 0)
    t.match(
      await fresh.git("fsck", "--strict", "--full"),
      /^(dangling (tree|blob) [0-9a-f]{40}\n?)*$/,
      `seed ${seed}: stock git finds nothing`,
    );
  follower.close();
  fresh.close();
}

/** Compared after every commit, and after a restart. */
async function longHistory(
  t: Test,
  server: RunningLakefs,
  seed: number,
  commits: number,
): Promise<void> {
  const random = seeded(seed);
  const pool = await testPool(t);
  const source = await createSource(server);
  const follower = await openNode(t, server, pool, source.name, { mappingSeed: MAPPING });
  const present = new Set<string>();
  for (let commit = 0; commit < commits; commit++) {
    await randomCommit(source, random, present, seed % 2 === 0);
    await tipOf(follower);
    // One that has just come and lists everything.
    await sameTip(
      t,
      follower,
      await openNode(t, server, pool, source.name, { pagesOnly: commit % 2 === 0 }),
      `seed ${seed}, commit ${commit}`,
    );
  }
  t.same(await refsOf(await follower.reopen()), await refsOf(follower), "after a restart");
  t.match(
    await follower.git("fsck", "--strict", "--full"),
    /^(dangling (tree|blob) [0-9a-f]{40}\n?)*$/,
  );
}

t.setTimeout(isLarge ? 1_800_000 : 600_000);
for (const seed of [1, 2]) {
  t.test(`a random history, seed ${seed}`, { skip: skipLakefs, timeout: 120_000 }, async (t) =>
    longHistory(t, await startLakefs(t), seed, 12),
  );
}
t.test("a random history on S3 blocks", { skip: skipLakefs, timeout: 120_000 }, async (t) =>
  longHistory(t, await startLakefs(t, "s3"), 5, 8),
);

t.test(
  `${SHORT_HISTORIES} short random histories with odd paths`,
  { skip: skipLakefs, timeout: isLarge ? 1_800_000 : 600_000 },
  async (t) => {
    const server = await startLakefs(t);
    const pool = await testPool(t);
    let next = 0;
    const lane = async () => {
      for (let seed = next++; seed < SHORT_HISTORIES; seed = next++)
        await shortHistory(t, server, pool, seed);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    t.equal(next, SHORT_HISTORIES + AT_ONCE, "all of them");
  },
);
