/**
 * Rules reach whatever judges: objects that stand whole, as deltas, too large for one turn, in
 * packs cut into segments, and files read at the end.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { FsckRules } from "../../../src/git/fsck/levels.js";
import { readSkipped, skipTable } from "../../../src/git/fsck/levels.js";
import { indexPackFile } from "../../../src/odb/index-pack/file.js";
import {
  appending,
  blob,
  buildPack,
  type HandEntry,
  oidOf,
  whole,
} from "../../support/pack-builder.js";
import { ingestBench } from "../../support/ingest-harness.js";

t.setTimeout(120_000);
const bench = await ingestBench(t);

const TREE = oidOf("tree", "");
const FILE = oidOf("blob", "x");
const entry = (mode: string, name: string, oid = FILE) =>
  Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")]);
const commit = (zone: string, tail = "") =>
  `tree ${TREE}\nauthor A <a@example.com> 1 ${zone}\ncommitter A <a@example.com> 1 +0000\n\nm${tail}\n`;
const [good, odd] = [commit("+0000"), commit("0000")];
const LINES = `${"a".repeat(2_048)}\n`;
const attributes = entry("100644", ".gitattributes", oidOf("blob", LINES));
const huge = Buffer.concat(
  Array.from({ length: 40_000 }, (_, at) => entry("100644", `f${String(at).padStart(6, "0")}`)),
);
const padded = entry("0100644", "g");
const beside = [blob("x"), whole("tree", "")];

interface Case {
  readonly entries: readonly HandEntry[];
  readonly object: string;
  readonly id: string;
}

const CASES: Readonly<Record<string, Case>> = {
  "a commit": {
    entries: [...beside, whole("commit", odd)],
    object: oidOf("commit", odd),
    id: "badTimezone",
  },
  "a commit made by a delta": {
    entries: [
      ...beside,
      whole("commit", odd),
      { type: 6, base: 2, data: appending(Buffer.from(odd), "more") },
    ],
    object: oidOf("commit", `${odd}more`),
    id: "badTimezone",
  },
  "a tree": {
    entries: [...beside, whole("tree", entry("100664", "a"))],
    object: oidOf("tree", entry("100664", "a")),
    id: "badFilemode",
  },
  "a link beside good ones": {
    entries: [
      ...beside,
      whole("tree", Buffer.concat([entry("120000", ".mailmap"), entry("120000", "z")])),
    ],
    object: oidOf("tree", Buffer.concat([entry("120000", ".mailmap"), entry("120000", "z")])),
    id: "mailmapSymlink",
  },
  "a tree of a megabyte": {
    entries: [...beside, whole("tree", Buffer.concat([huge, padded]))],
    object: oidOf("tree", Buffer.concat([huge, padded])),
    id: "zeroPaddedFilemode",
  },
  "a tree of a megabyte made by a delta": {
    entries: [...beside, whole("tree", huge), { type: 6, base: 2, data: appending(huge, padded) }],
    object: oidOf("tree", Buffer.concat([huge, padded])),
    id: "zeroPaddedFilemode",
  },
  "a file that a tree calls .gitattributes": {
    entries: [blob(LINES), whole("tree", attributes)],
    object: oidOf("blob", LINES),
    id: "gitattributesLineLength",
  },
};

const rulesOf = (levels: FsckRules["levels"], skip: readonly string[] = []): FsckRules => ({
  levels,
  skip: [skipTable(readSkipped(skip) as readonly string[])],
});

for (const [name, { entries, object, id }] of Object.entries(CASES)) {
  t.test(name, async (t) => {
    const pack = buildPack(entries);
    t.equal(await bench.refuse(pack, { rules: rulesOf({ [id]: "error" }) }), "pack/fsck", "error");
    const warned = await bench.ingest(pack, { rules: rulesOf({ [id]: "warn" }) });
    t.ok(
      warned.warnings.some((one) => one.object === object && one.id === id),
      "warn",
    );
    t.ok(warned.warned >= 1);
    t.match(
      await bench.ingest(pack, { rules: rulesOf({ [id]: "ignore" }) }),
      { warnings: [], warned: 0 },
      "ignore",
    );
    const others = warned.warnings.map((one) => one.object);
    t.match(
      await bench.ingest(pack, { rules: rulesOf({ [id]: "error" }, others) }),
      { warnings: [], warned: 0 },
      "on the skip list",
    );
    t.same(
      (await bench.ingest(pack, { rules: rulesOf({ [id]: "warn" }) })).packBytes,
      pack,
      "byte for byte",
    );
  });
}

t.test("in segments, by several threads, each finding is told once", async (t) => {
  const entries: HandEntry[] = [...beside];
  const objects: string[] = [];
  for (let at = 0; at < 60; at++) {
    entries.push(blob(randomBytes(200_000)));
    const text = commit("0000", String(at));
    if (at % 5 === 0) {
      entries.push(whole("commit", text));
      objects.push(oidOf("commit", text));
    }
  }
  entries.push(whole("commit", good));
  const path = join(bench.folder, "segments.pack");
  writeFileSync(path, buildPack(entries));
  const { pool } = bench;
  const { warnings, warned } = await indexPackFile(path, {
    pool,
    rules: rulesOf({ badTimezone: "warn" }),
  });
  t.equal(warned, objects.length);
  t.same(warnings.map((one) => one.object).sort(), objects.sort());
  await t.rejects(
    indexPackFile(path, { pool, rules: rulesOf({ badTimezone: "error" }, objects.slice(1)) }),
    {
      code: "pack/fsck",
      facts: { object: objects[0] },
    },
  );
  t.match(await indexPackFile(path, { pool, rules: rulesOf({}, objects) }), { warned: 0 });
});
