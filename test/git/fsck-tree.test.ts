/**
 * Trees large enough to be judged in pieces: wherever the defect lies, and however the tree comes,
 * whole or as a delta.
 */
import t from "tap";
import type { CheckMarks } from "../../src/git/fsck/refusal.js";
import { TreeCheck } from "../../src/git/fsck/tree.js";
import { ingestBench } from "../support/ingest-harness.js";
import {
  appending,
  blob,
  buildPack,
  type HandEntry,
  oidOf,
  whole,
} from "../support/pack-builder.js";

const FILE = oidOf("blob", "x");
const entry = (mode: string, name: string, oid = FILE) =>
  Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")]);
/** Sorted names; the first makes the kernels ask for a judgement. */
const many = (count: number) =>
  Buffer.concat([
    entry("100644", ".gitx"),
    ...Array.from({ length: count }, (_, at) => entry("100644", `f${String(at).padStart(7, "0")}`)),
  ]);
const LARGE = many(60_000); // 2 MB

const TAILS: readonly (readonly [name: string, tail: Buffer, id: string | undefined])[] = [
  ["nothing", Buffer.alloc(0), undefined],
  ["a name twice", Buffer.concat([entry("100644", "g"), entry("100644", "g")]), "duplicateEntries"],
  [
    "a file and a folder of one name, apart",
    Buffer.concat([
      entry("100644", "g"),
      entry("100644", "g.x"),
      entry("40000", "g", oidOf("tree", "")),
    ]),
    "duplicateEntries",
  ],
  ["names out of order", entry("100644", "a"), "treeNotSorted"],
  [".git in short", entry("40000", "git~1", oidOf("tree", "")), "hasDotgit"],
  ["a null id", entry("100644", "g", "0".repeat(40)), "nullSha1"],
  ["an entry cut in its id", entry("100644", "g").subarray(0, -1), "badTree"],
];

t.test("in pieces of any size the verdict is that of the whole", async (t) => {
  for (const [name, tail, id] of TAILS) {
    const data = Buffer.concat([many(20), tail]);
    for (let bytes = 1; bytes <= data.length; bytes += 7) {
      const check = new TreeCheck(data, { gitmodules: [], gitattributes: [] });
      let found = check.next(bytes);
      while (found === "more") found = check.next(bytes);
      if (found?.id !== id) t.equal(found?.id, id, `${name}, ${bytes} bytes at a time`);
    }
    t.pass(name);
  }
});

t.test("files that Git reads are marked in whatever piece they lie", async (t) => {
  const data = Buffer.concat([
    entry("100644", ".gitattributes"),
    entry("100644", ".gitmodules"),
    entry("100644", "GITMOD~1"),
    entry("100755", "~1000000"),
  ]);
  const marks: CheckMarks = { gitmodules: [], gitattributes: [] };
  const check = new TreeCheck(data, marks);
  while (check.next(1) === "more");
  t.same([marks.gitmodules.length, marks.gitattributes.length], [3, 2]);
});

t.test("large trees through the ingest, whole and as deltas", { timeout: 120_000 }, async (t) => {
  const bench = await ingestBench(t);
  const beside = [blob("x"), whole("tree", "")];
  for (const [name, tail, id] of TAILS) {
    const data = Buffer.concat([LARGE, tail]);
    const ways: Readonly<Record<string, HandEntry[]>> = {
      whole: [...beside, whole("tree", data)],
      delta: [...beside, whole("tree", LARGE), { type: 6, base: 2, data: appending(LARGE, tail) }],
    };
    for (const [way, entries] of Object.entries(ways)) {
      if (way === "delta" && tail.length === 0) continue;
      t.equal(
        await bench.refuse(buildPack(entries)),
        id === undefined ? "accepted" : "pack/fsck",
        `${name}, ${way}`,
      );
    }
  }
});
