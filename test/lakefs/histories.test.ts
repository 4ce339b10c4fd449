/** The same ids however they come about: commit by commit or all at once, by pages or by raw ranges, on one node or on another. */
import t, { type Test } from "tap";
import { seeded } from "../random.js";
import { createSource, type Node, openNode, refsOf, type Source, testPool } from "./reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "./servers.js";

const MAPPING = { version: 1, threshold: 60, suffixes: ["big"] } as const;
type Chance = ReturnType<typeof seeded>;

const NAMES = ["é", "z.bin", "w.big", "q r*.bin", "c.txt", ".gitattributes", "n.bin", '"', "x.txt"];
const FOLDERS = ["a", "b", "a.x", "lib"];
/** What cannot cross: as long as one is there, every commit is listed anew. */
const ODD = [".git", "..", "", "a", "b", "é", "d\\e"];

/** Folders and files never clash, unless it is to be odd. */
function randomPath(random: Chance, odd: boolean): string {
  const folders = Array.from({ length: random.below(3) }, () => FOLDERS[random.below(FOLDERS.length)] as string);
  const names = odd && random.below(3) === 0 ? ODD : NAMES;
  return [...folders, names[random.below(names.length)] as string].join("/") || "root";
}

function randomContent(random: Chance, path: string): string {
  if (path.endsWith(".gitattributes")) return ["*.bin filter=lfs\n", "a/** filter=lfs -text\n*.bin -filter\n", "# nothing", ""][random.below(4)] as string;
  return "x".repeat(random.below(5) === 0 ? 60 + random.below(40) : random.below(60)) + random.below(4);
}

async function randomCommit(source: Source, random: Chance, present: Set<string>, odd: boolean): Promise<void> {
  for (let change = 1 + random.below(4); change > 0; change--) {
    const known = [...present];
    const path = random.below(3) > 0 || known.length === 0 ? randomPath(random, odd) : (known[random.below(known.length)] as string);
    if (present.has(path) && random.below(2) === 0) {
      await source.remove([path]);
      present.delete(path);
    } else {
      const metadata: Record<string, string> = random.below(6) === 0 ? { "lakepack-mode": ["100755", "120000"][random.below(2)] as string } : {};
      await source.put({ [path]: randomContent(random, path) }, { metadata });
      present.add(path);
    }
  }
  await source.commit(`change ${random.below(100)}`);
}

async function tipOf(node: Node): Promise<string> {
  return (await node.refs.read()).byName.get("refs/heads/main")?.oid ?? "unborn";
}

async function sameEverywhere(t: Test, server: RunningLakefs, seed: number, commits: number): Promise<void> {
  const random = seeded(seed);
  const pool = await testPool(t);
  const source = await createSource(server);
  const follower = await openNode(t, server, pool, source.name, { mappingSeed: MAPPING });
  const present = new Set<string>();
  for (let commit = 0; commit < commits; commit++) {
    await randomCommit(source, random, present, seed % 2 === 0);
    const followed = await tipOf(follower);
    // One that has just come and lists everything.
    const fresh = await openNode(t, server, pool, source.name, { pagesOnly: commit % 2 === 0 });
    if ((await tipOf(fresh)) !== followed) {
      const [one, other] = [await follower.git("ls-tree", "-rt", "main"), await fresh.git("ls-tree", "-rt", "main")];
      t.equal(one, other, `seed ${seed}, commit ${commit}`);
    }
    t.equal(await tipOf(fresh), followed, `seed ${seed}, commit ${commit}`);
  }
  t.same(await refsOf(await follower.reopen()), await refsOf(follower), "after a restart");
  t.match(await follower.git("fsck", "--strict", "--full"), /^(dangling (tree|blob) [0-9a-f]{40}\n?)*$/);
}

t.setTimeout(240_000);
for (const seed of [1, 2, 3, 4]) {
  t.test(`a random history, seed ${seed}`, { skip: skipLakefs, timeout: 120_000 }, async (t) => sameEverywhere(t, await startLakefs(t), seed, 12));
}
t.test("a random history on S3 blocks", { skip: skipLakefs, timeout: 120_000 }, async (t) => sameEverywhere(t, await startLakefs(t, "s3"), 5, 8));
