/** The rules of the mapping, to the byte (commit text, pointers, paths, attributes). */
import { createHash } from "node:crypto";
import t from "tap";
import { deflateRawSync } from "node:zlib";
import { concat, latin1, lossyText, utf8 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import { checkCommit } from "../../src/git/fsck/header-lines.js";
import { objectId } from "../../src/git/object-id.js";
import { managedBlock, withBlock, withoutBlock } from "../../src/lakefs/rules/managed-block.js";
import { oidBytes } from "../../src/git/oid.js";
import { commitText, rawCommit, rawTag } from "../../src/lakefs/rules/commit-text.js";
import type { PathMapping } from "../../src/lakefs/rules/contract.js";
import { AttributeRules, type Filter, isLfsPath } from "../../src/git/gitattributes.js";
import { bind, boundId, decodeBase64 } from "../../src/lakefs/rules/metadata-keys.js";
import { padTree, Paddings } from "../../src/lakefs/rules/padded-modes.js";
import { crossing, type LakeEntry, pathRefusal } from "../../src/lakefs/rules/path-rules.js";
import { unsnappy } from "../../src/lakefs/api/snappy.js";
import { crc32c, readTable } from "../../src/lakefs/api/sstable.js";
import type { LakefsCommit } from "../../src/lakefs/api/types.js";
import { TreeCache } from "../../src/lakefs/trees/tree-cache.js";
import { seeded } from "../support/random.js";
import { snappyOf } from "../support/snappy-writer.js";

const TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const ID = "ab".repeat(32);
const MAPPING = { version: 3, threshold: 100, suffixes: ["bin"] } as const;
const SECOND = { version: 2, pointers: "linked", namespace: "s3://b/ns" } as const;
const lake = (more: Partial<LakefsCommit> = {}): LakefsCommit => ({
  id: ID,
  parents: [],
  committer: "Ann <x>\n",
  message: "hello",
  creation_date: 1_700_000_000,
  meta_range_id: "m",
  ...more,
});
const faultOf = (work: () => unknown): string => {
  try {
    work();
    return "none";
  } catch (error) {
    return error instanceof Fault ? error.code : String(error);
  }
};

t.test("commit text, by hand", async (t) => {
  const [one, two] = ["1".repeat(40), "2".repeat(40)];
  const text = (commit: LakefsCommit, parents: string[] = []) =>
    lossyText(commitText(commit, TREE, parents, MAPPING));
  t.equal(
    text(lake(), [one, two, one]),
    `tree ${TREE}\nparent ${one}\nparent ${two}\nauthor Ann x <ann-x@lakefs.invalid> 1700000000 +0000\ncommitter Ann x <ann-x@lakefs.invalid> 1700000000 +0000\n\nhello\n\nLakefs-Commit: ${ID}\n`,
  );
  const body = (more: Partial<LakefsCommit>) =>
    text(lake(more)).split("\n\n").slice(1).join("\n\n");
  t.equal(body({ message: "" }), `Lakefs-Commit: ${ID}\n`);
  t.equal(body({ message: "a\n" }), `a\n\nLakefs-Commit: ${ID}\n`);
  t.equal(body({ message: "a\0b" }), `a\ufffdb\n\nLakefs-Commit: ${ID}\n`);
  const person = (more: Partial<LakefsCommit>) => /^author (.*)$/m.exec(text(lake(more)))?.[1];
  t.equal(person({ committer: "" }), "lakeFS <lakefs@lakefs.invalid> 1700000000 +0000");
  t.equal(person({ committer: "<>\n\0" }), "lakeFS <lakefs@lakefs.invalid> 1700000000 +0000");
  t.equal(
    person({ committer: "Élan 9_x-" }),
    "Élan 9_x- <lan-9-x@lakefs.invalid> 1700000000 +0000",
  );
  t.equal(person({ committer: "日本" }), "日本 <lakefs@lakefs.invalid> 1700000000 +0000");
  t.equal(person({ creation_date: -1 }), "Ann x <ann-x@lakefs.invalid> 0 +0000");
  t.equal(person({ creation_date: 2 ** 40 }), "Ann x <ann-x@lakefs.invalid> 4294967295 +0000");
  t.equal(
    objectId("commit", commitText(lake(), TREE, [], MAPPING)),
    "30cbfde91c8932e78688fc0e1cc80af77c2d53e9",
    "a vector that must never change",
  );
});

t.test("whatever lakeFS holds, the commit passes fsck", async (t) => {
  const random = seeded(1);
  const alphabet = ["<", ">", "\n", "\0", " ", "a", "é", "\r", "\ud800", "@", "\n\n"];
  const text = () => Array.from({ length: random.below(6) }, () => random.pick(alphabet)).join("");
  for (let round = 0; round < 2_000; round++) {
    const commit = lake({
      committer: text(),
      message: text(),
      creation_date: random.below(2 ** 32) - 2 ** 31,
    });
    const refusal = checkCommit(commitText(commit, TREE, [], MAPPING));
    if (refusal !== undefined) t.fail(`${refusal.id}: ${JSON.stringify(commit)}`);
  }
  t.pass("2,000 commits");
});

t.test(
  "a raw commit that is not the commit itself: its author, and lakeFS's committer and date",
  async (t) => {
    const picked = (author: string, more: Partial<LakefsCommit> = {}, headers = "") => {
      const raw = Buffer.from(
        `tree ${"5".repeat(40)}\nparent ${"6".repeat(40)}\n${author}\ncommitter C <c@d> 9 +0000\n${headers}\nx\n`,
        "latin1",
      );
      const commit = lake({ ...more, metadata: { "lakepack.commit": raw.toString("base64") } });
      return (mapping: PathMapping) =>
        lossyText(commitText(commit, TREE, ["1".repeat(40)], mapping));
    };
    const authorOf = (text: string) => /^author (.*)$/m.exec(text)?.[1];
    const own = "Ann x <ann-x@lakefs.invalid> 1700000000 +0000";
    const text = picked("author Émile <e@x> 1600000000 +0200".replace("É", "\xc3\x89"))(MAPPING);
    t.equal(
      text,
      `tree ${TREE}\nparent ${"1".repeat(40)}\nauthor Émile <e@x> 1600000000 +0200\ncommitter ${own}\n\nhello\n\nLakefs-Commit: ${ID}\n`,
    );
    t.equal(
      objectId("commit", utf8(text)),
      "b7c58d907fcb3080b88875685794a0bf169aa67d",
      "a vector that must never change",
    );
    t.equal(authorOf(picked("author Émile <e@x> 1600000000 +0200")(SECOND)), own, "mapping 2's");
    for (const odd of [
      "author <e@x> 1 +0000",
      "author E e@x 1 +0000",
      "author E <e@x> 01 +0000",
      "author E <e@x> 1 +00",
      "author \xe9 <e@x> 1 +0000",
      "author E\0 <e@x> 1 +0000",
      "auther E <e@x> 1 +0000",
    ]) {
      t.equal(authorOf(picked(odd)(MAPPING)), own, JSON.stringify(odd));
    }
  },
);

t.test(
  "odd commits and tags are read back as they were pushed, but for what nothing reads",
  async (t) => {
    const by = (raw: string) => {
      const commit = lake({
        metadata: { "lakepack.commit": Buffer.from(raw, "latin1").toString("base64") },
      });
      return [MAPPING, SECOND].map((mapping) => rawCommit(commit, TREE, [], mapping) !== undefined);
    };
    const people = ["A <a@b> 1 +0000", "A <a@b> 1 +0000"];
    t.same(by(`tree ${TREE}\nauthor ${people[0]}\ncommitter ${people[1]}\n\nx\n`), [true, true]);
    for (const odd of [
      "A a@b 1 +0000",
      "A <a@b> 01 +0000",
      "A <a@b> 99999999999999999999 +0000",
      "A <a@b> 1 +051800",
      "<a@b> 1 +0000",
      "A <a@b> 1.5 +0000",
      "A<a@b>",
    ]) {
      t.same(by(`tree ${TREE}\nauthor ${odd}\ncommitter ${people[1]}\n\nx\n`), [true, false], odd);
    }
    t.same(by(`tree ${TREE}\n\nx\n`), [true, false], "neither author nor committer");
    t.same(by(`tree ${TREE}\nauthor ${people[0]}\ncommitter ${people[1]}\n\nx\0\n`), [true, false]);
    for (const bad of [
      `tree ${TREE}`,
      `tree ${TREE}\nauthor A\0 <a@b> 1 +0000\ncommitter ${people[1]}\n\n`,
      `author ${people[0]}\n\n`,
      "",
      `tree ${"AB".repeat(20)}\nauthor ${people[0]}\ncommitter ${people[1]}\n\n`,
    ])
      t.same(by(bad), [false, false], JSON.stringify(bad));
    const tag = `object ${"1".repeat(40)}\ntype commit\ntag a b\ntagger A <a@b> 01 +0000\n\nx\n`;
    const record = lake({
      parents: ["p"],
      metadata: { "lakepack.tag": Buffer.from(tag).toString("base64") },
    });
    t.same(
      [MAPPING, SECOND].map((mapping) => rawTag(record, "1".repeat(40), mapping) !== undefined),
      [true, false],
    );
  },
);

t.test(
  "zeroes before modes: told of a whole tree, and put back only where they are of it",
  async (t) => {
    const trees = new Map<string, Uint8Array>();
    const write = (data: Uint8Array) => {
      const oid = objectId("tree", data);
      trees.set(oid, data);
      return oid;
    };
    const read = (oid: string) => trees.get(oid) as Uint8Array;
    const treeOf = (...entries: [mode: string, name: string, oid: string][]) =>
      write(
        concat(entries.flatMap(([mode, name, oid]) => [utf8(`${mode} ${name}\0`), oidBytes(oid)])),
      );
    const blob = "3".repeat(40);
    const made = (folder: string, file: string) =>
      treeOf(
        [file, "a", blob],
        [folder, "b", treeOf(["100644", "x", blob], [folder, "y", treeOf([file, "z", blob])])],
        ["100755", "c", blob],
      );
    const plain = made("40000", "100644");
    for (const [folder, file] of [
      ["040000", "100644"],
      ["40000", "0100644"],
      ["000040000", "00100644"],
    ] as const) {
      const odd = made(folder, file);
      const told = new Paddings(read).of(odd, undefined);
      t.match(told, /^1 [0-9A-Za-z+/]+=*$/);
      t.equal(
        new Paddings(read).of(odd, plain),
        told,
        "found as well where only what differs is looked into",
      );
      t.equal(padTree(plain, told, read, write), odd);
      const other = treeOf(["100644", "a", blob]);
      t.equal(padTree(other, told, read, write), other, "of another tree it says nothing");
    }
    const paddings = new Paddings(read);
    t.equal(paddings.of(plain, undefined), undefined);
    t.ok(paddings.of(made("040000", "100644"), plain));
    t.ok(
      paddings.of(made("040000", "100644"), undefined),
      "what is above something padded is not taken for clean",
    );
    for (const forged of [
      undefined,
      "",
      "1 ",
      "1 !",
      "2 YQ==",
      `1 ${Buffer.from("junk").toString("base64")}`,
      `1 ${deflateRawSync(Buffer.alloc(5_000_000)).toString("base64")}`,
    ])
      t.equal(padTree(plain, forged, read, write), plain, String(forged).slice(0, 20));
  },
);

t.test("a raw commit needs its tree and its parents", async (t) => {
  const raw = `tree ${TREE}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n`;
  const commit = lake({ metadata: { "lakepack.commit": Buffer.from(raw).toString("base64") } });
  t.equal(lossyText(rawCommit(commit, TREE, [], MAPPING) as Uint8Array), raw);
  t.equal(rawCommit(commit, "1".repeat(40), [], MAPPING), undefined);
  t.equal(rawCommit(commit, TREE, ["1".repeat(40)], MAPPING), undefined);
  t.equal(rawCommit(lake(), TREE, [], MAPPING), undefined);
  t.equal(decodeBase64("YQ"), undefined, "not what an encoder writes");
});

t.test("paths that cannot cross, and those that can", async (t) => {
  for (const path of [
    "a//b",
    "/a",
    "a/",
    ".",
    "a/..",
    ".git",
    "x/.GIT/y",
    "git~1",
    ".g\u200cit",
    "a\0b",
    "\ufffd",
    ".gitmodules/x",
    "a\\.git",
  ]) {
    t.ok(pathRefusal(latin1(utf8(path)), MAPPING), JSON.stringify(path));
  }
  t.ok(pathRefusal("\xff", MAPPING), "not UTF-8");
  const long = (bytes: number) => `a/${"é".repeat(127)}${"x".repeat(bytes - 254)}/b`;
  t.equal(pathRefusal(latin1(utf8(long(255))), MAPPING), undefined);
  t.match(pathRefusal(latin1(utf8(long(256))), MAPPING), /more than 255 bytes/);
  t.equal(
    pathRefusal(latin1(utf8(long(256))), SECOND),
    undefined,
    "mapping 2 lets it cross, as it always has",
  );
  for (const path of [
    "a",
    ".gitx",
    "é/日本",
    "a b",
    "..a",
    "a\nb",
    ".gitmodules",
    "x/.gitattributes",
    "con",
    "a\\b",
  ])
    t.equal(pathRefusal(latin1(utf8(path)), MAPPING), undefined, path);
});

const entry = (more: Partial<LakeEntry> = {}): LakeEntry => ({
  path: "f",
  size: 5,
  checksum: "c",
  address: "x",
  metadata: {},
  ...more,
});

t.test("what an entry is in Git", async (t) => {
  const pointer = (more: Partial<LakeEntry>, filter?: Filter) =>
    (crossing(entry(more), MAPPING, filter) as { pointer?: boolean }).pointer;
  t.same(
    [
      pointer({ size: 99 }),
      pointer({ size: 100 }),
      pointer({ path: "a/b.BIN" }),
      pointer({ path: "abin" }),
    ],
    [false, true, true, false],
  );
  t.same(
    [pointer({ size: 1 }, "lfs"), pointer({ size: 1 }, "other"), pointer({ size: 1 }, true)],
    [true, false, false],
    "attributes before size",
  );
  t.same(
    [
      pointer({ size: 100 }, false),
      pointer({ path: "b.bin" }, "other"),
      pointer({ size: 100 }, null),
    ],
    [false, false, false],
    "in either way",
  );
  t.same(
    [pointer({ size: 0 }, "lfs"), pointer({ size: 0, path: "b.bin" })],
    [false, false],
    "an empty file has no pointer",
  );
  t.same(
    [
      pointer({ path: "a/.gitattributes" }, "lfs"),
      pointer({ path: ".gitattributes", size: 1_000 }),
    ],
    [false, false],
    "what says so must be read",
  );
  const modeBy =
    (mapping: PathMapping) =>
    (metadata: Record<string, string>, size = 5) => {
      const made = crossing(entry({ metadata, size }), mapping, undefined);
      return made.as === "file" ? made.mode.toString(8) : made.as;
    };
  for (const mapping of [MAPPING, SECOND]) {
    const mode = modeBy(mapping);
    t.equal(mode({ "lakepack-mode": "100755" }), "100755");
    t.equal(mode({ "lakepack-mode": "120000" }), "120000");
    for (const odd of ["0100644", "040000", "40755", "160001", "120777", "9", "", "1000000", "-1"])
      t.equal(mode({ "lakepack-mode": odd }), "100644", odd);
    t.equal(mode({ "::lakefs::posix-permissions": '{"UID":1,"GID":1,"Mode":493}' }), "100755");
    t.equal(mode({ "::lakefs::posix-permissions": '{"Mode":420}' }), "100644");
    t.equal(mode({ "::lakefs::posix-permissions": "junk" }), "100644");
    t.equal(mode({ "::lakefs::symlink-target": "t" }, 0), "symlink");
    t.equal(mode({ "::lakefs::symlink-target": "t" }, 1), "100644");
    t.equal(mode({ "::lakefs::symlink-target": "\ufffd" }, 0), "refused");
    t.equal(mode({ "lakepack-mode": "160000", "lakepack-gitlink": "1".repeat(40) }, 0), "gitlink");
    t.equal(mode({ "lakepack-mode": "160000", "lakepack-gitlink": "1".repeat(40) }, 1), "100644");
  }
  for (const odd of ["100664", "100600", "100777", "644"])
    t.same(
      [modeBy(MAPPING)({ "lakepack-mode": odd }), modeBy(SECOND)({ "lakepack-mode": odd })],
      [odd, "100644"],
    );
  t.equal(crossing(entry({ path: "d/", size: 0 }), MAPPING, undefined).as, "nothing");
  t.equal(crossing(entry({ path: "d/", size: 1 }), MAPPING, undefined).as, "refused");
  t.equal(
    crossing(entry({ path: "_lakefs_actions/lakepack-guard.yaml" }), MAPPING, undefined).as,
    "nothing",
  );
  t.equal(boundId(bind("x", 5, "c d"), 5, "c d"), "x");
  t.equal(boundId(bind("x", 5, "c"), 6, "c"), undefined);
  t.equal(boundId(bind("x", 5, "c"), 5, "other"), undefined);
});

t.test("the managed block: suffix or path, quoted, sorted, in its place", async (t) => {
  const census = (pointers: string[], plain: [string, number][] = []) => ({
    pointers,
    plain: new Map(plain),
  });
  const lines = (block: string | undefined) =>
    block
      ?.split("\n")
      .slice(1, -2)
      .map((line) => line.replace(" filter=lfs diff=lfs merge=lfs -text", ""));
  t.same(
    lines(
      managedBlock(
        census(["b.bin", "a b.txt", "c", 'q"[*]?\\.x!', "d\te"], [["txt", 1]]),
        () => false,
        SECOND,
      ),
    ),
    ['"/a b.txt"', '"/c"', '"/d\\011e"', '"/q\\"\\\\[\\\\*]\\\\?\\\\\\\\.x!"', "*.bin"],
  );
  t.equal(
    managedBlock(census(["b.bin"]), () => true, MAPPING),
    undefined,
  );
  t.equal(
    managedBlock(census(["x".repeat(2_100)]), () => false, MAPPING),
    undefined,
    "Git would not read the line",
  );
  const block = managedBlock(census(["b.bin"]), () => false, MAPPING) as string;
  const other = managedBlock(census(["b.pt"]), () => false, MAPPING) as string;
  const text = (file: string | undefined, with_: string | undefined) => {
    const made = withBlock(file === undefined ? undefined : utf8(file), with_);
    return made && lossyText(made);
  };
  t.equal(
    block,
    "# lakepack: begin. Lines between these two are written by the server, others are kept.\n/.gitattributes merge=union\n*.bin filter=lfs diff=lfs merge=lfs -text\n# lakepack: end\n",
  );
  t.equal(
    managedBlock(census(["b.bin"]), () => false, SECOND),
    block.replace("/.gitattributes merge=union\n", ""),
    "mapping 2's",
  );
  t.equal(text(undefined, block), block);
  t.equal(text(undefined, undefined), undefined);
  t.equal(text("a", block), `a\n${block}`);
  t.equal(text(`a\n${block}b\n`, other), `a\n${other}b\n`);
  t.equal(text(`a\n${block}b\n`, undefined), "a\nb\n");
  t.equal(text(block, undefined), "");
  t.equal(lossyText(withoutBlock(utf8(`a\n${block}b\n`))), "a\nb\n");
});

t.test("attributes: the last line that matches, the deepest file first", async (t) => {
  const covered = (path: string, files: Record<string, string>) =>
    isLfsPath(path, (folder) =>
      files[folder] === undefined ? undefined : new AttributeRules(utf8(files[folder])),
    );
  t.ok(covered("a/b.bin", { "": "*.bin filter=lfs" }));
  t.notOk(covered("a/b.bin", { "": "*.bin filter=lfs\n*.bin -filter" }));
  t.notOk(covered("a/b.bin", { "": "*.bin filter=lfs", a: "b.bin !filter" }));
  t.ok(covered("a/c/b.bin", { "": "/a/** filter=lfs", a: "/b.bin -filter" }));
  t.ok(covered("a b", { "": '"a b" text filter=lfs' }));
  t.ok(covered("m", { "": "[attr]lfs filter=lfs -text\n\nm lfs" }));
  t.notOk(covered("a/b", { "": "# *\n!a/b filter=lfs\na/ filter=lfs\nb\tfilter=other" }));
});

t.test("CRC-32C and Snappy, known answers", async (t) => {
  t.equal(crc32c(utf8("123456789")), 0xe3069283, "RFC 3720's check value");
  t.equal(crc32c(new Uint8Array(32)), 0x8a9136aa, "RFC 3720, B.4: 32 bytes of zeroes");
  const hex = (text: string) => Buffer.from(text, "hex");
  t.equal(lossyText(unsnappy(hex("0b2868656c6c6f20776f726c64"), 100)), "hello world");
  t.equal(
    lossyText(unsnappy(hex("0a0061220100"), 100)),
    "aaaaaaaaaa",
    "a copy that overlaps itself",
  );
  const random = seeded(7);
  for (const size of [0, 1, 60, 61, 256, 257, 70_000]) {
    const data = random.bytes(size);
    t.ok(Buffer.from(unsnappy(snappyOf(data), size)).equals(data), `${size} bytes`);
  }
  for (const bad of ["0b28", "050061", "ff", "0a0061220500", "0a0061220000", "ffffffff0f00"])
    t.equal(
      faultOf(() => unsnappy(hex(bad), 1_000)),
      "lakefs/bad-reply",
      bad,
    );
  const ends = new Set<string>();
  for (let round = 0; round < 2_000; round++)
    ends.add(faultOf(() => unsnappy(random.bytes(random.below(40)), 1_000)));
  for (let round = 0; round < 500; round++)
    ends.add(faultOf(() => [...readTable(random.bytes(200))]));
  t.same(
    [...ends].filter((end) => end !== "none"),
    ["lakefs/bad-reply"],
    "junk never does worse",
  );
});

t.test("the cache of trees shares what commits share, and forgets the rest", async (t) => {
  const cache = new TreeCache(10_000);
  const tree = (fill: number) => new Uint8Array(2_000).fill(fill);
  const id = (data: Uint8Array) => createHash("sha1").update(data).digest("hex");
  const of = (...fills: number[]) => new Map(fills.map((fill) => [id(tree(fill)), tree(fill)]));
  cache.set("one", of(1, 2));
  cache.set("two", of(2, 3));
  t.equal(cache.treeCount, 3);
  cache.set("three", of(4, 5));
  t.same([cache.size, cache.treeCount], [2, 4], "the oldest commit has gone, the shared tree not");
  t.ok(cache.get(id(tree(2))));
  t.notOk(cache.get(id(tree(1))));
  cache.set("huge", of(6, 7, 8, 9, 10, 11, 12, 13));
  t.notOk(cache.get(id(tree(6))), "what is larger than all is not taken");
});
