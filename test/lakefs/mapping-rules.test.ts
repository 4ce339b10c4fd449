/** The rules of the mapping, to the byte (commit text, pointers, paths, attributes). */
import { createHash } from "node:crypto";
import t from "tap";
import { latin1, lossyText, utf8 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import { checkCommit } from "../../src/git/fsck-headers.js";
import { formatPointer, parsePointer } from "../../src/git/lfs-pointer.js";
import { objectId } from "../../src/git/object-id.js";
import { managedBlock, withBlock, withoutBlock } from "../../src/lakefs/attributes.js";
import { commitText, rawCommit } from "../../src/lakefs/commit-text.js";
import { AttributeRules, isLfsPath } from "../../src/lakefs/gitattributes.js";
import { bind, boundId, decodeBase64 } from "../../src/lakefs/metadata-keys.js";
import { crossing, type LakeEntry, pathRefusal } from "../../src/lakefs/path-rules.js";
import { unsnappy } from "../../src/lakefs/snappy.js";
import { crc32c, readTable } from "../../src/lakefs/sstable.js";
import type { LakefsCommit } from "../../src/lakefs/types.js";
import { TreeCache } from "../../src/lakefs/tree-cache.js";
import { seeded } from "../random.js";
import { snappyOf } from "./snappy-writer.js";

const TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const ID = "ab".repeat(32);
const lake = (more: Partial<LakefsCommit> = {}): LakefsCommit => ({
  id: ID, parents: [], committer: "Ann <x>\n", message: "hello", creation_date: 1_700_000_000, meta_range_id: "m", ...more,
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
  const text = (commit: LakefsCommit, parents: string[] = []) => lossyText(commitText(commit, TREE, parents));
  t.equal(
    text(lake(), [one, two, one]),
    `tree ${TREE}\nparent ${one}\nparent ${two}\nauthor Ann x <ann-x@lakefs.invalid> 1700000000 +0000\ncommitter Ann x <ann-x@lakefs.invalid> 1700000000 +0000\n\nhello\n\nLakefs-Commit: ${ID}\n`,
  );
  const body = (more: Partial<LakefsCommit>) => text(lake(more)).split("\n\n").slice(1).join("\n\n");
  t.equal(body({ message: "" }), `Lakefs-Commit: ${ID}\n`);
  t.equal(body({ message: "a\n" }), `a\n\nLakefs-Commit: ${ID}\n`);
  t.equal(body({ message: "a\0b" }), `a\ufffdb\n\nLakefs-Commit: ${ID}\n`);
  const person = (more: Partial<LakefsCommit>) => /^author (.*)$/m.exec(text(lake(more)))?.[1];
  t.equal(person({ committer: "" }), "lakeFS <lakefs@lakefs.invalid> 1700000000 +0000");
  t.equal(person({ committer: "<>\n\0" }), "lakeFS <lakefs@lakefs.invalid> 1700000000 +0000");
  t.equal(person({ committer: "Élan 9_x-" }), "Élan 9_x- <lan-9-x@lakefs.invalid> 1700000000 +0000");
  t.equal(person({ committer: "日本" }), "日本 <lakefs@lakefs.invalid> 1700000000 +0000");
  t.equal(person({ creation_date: -1 }), "Ann x <ann-x@lakefs.invalid> 0 +0000");
  t.equal(person({ creation_date: 2 ** 40 }), "Ann x <ann-x@lakefs.invalid> 4294967295 +0000");
  t.equal(objectId("commit", commitText(lake(), TREE, [])), "30cbfde91c8932e78688fc0e1cc80af77c2d53e9", "a vector that must never change");
});

t.test("whatever lakeFS holds, the commit passes fsck", async (t) => {
  const random = seeded(1);
  const alphabet = ["<", ">", "\n", "\0", " ", "a", "é", "\r", "\ud800", "@", "\n\n"];
  const text = () => Array.from({ length: random.below(6) }, () => random.pick(alphabet)).join("");
  for (let round = 0; round < 2_000; round++) {
    const commit = lake({ committer: text(), message: text(), creation_date: random.below(2 ** 32) - 2 ** 31 });
    const refusal = checkCommit(commitText(commit, TREE, []));
    if (refusal !== undefined) t.fail(`${refusal.id}: ${JSON.stringify(commit)}`);
  }
  t.pass("2,000 commits");
});

t.test("a raw commit needs its tree and its parents", async (t) => {
  const raw = `tree ${TREE}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n`;
  const commit = lake({ metadata: { "lakepack.commit": Buffer.from(raw).toString("base64") } });
  t.equal(lossyText(rawCommit(commit, TREE, []) as Uint8Array), raw);
  t.equal(rawCommit(commit, "1".repeat(40), []), undefined);
  t.equal(rawCommit(commit, TREE, ["1".repeat(40)]), undefined);
  t.equal(rawCommit(lake(), TREE, []), undefined);
  t.equal(decodeBase64("YQ"), undefined, "not what an encoder writes");
});

t.test("pointers: only the canonical text is one", async (t) => {
  const pointer = { sha256: "0123456789abcdef".repeat(4), size: 12_345 };
  const text = `version https://git-lfs.github.com/spec/v1\noid sha256:${pointer.sha256}\nsize 12345\n`;
  t.equal(lossyText(formatPointer(pointer)), text);
  t.same(parsePointer(utf8(text)), pointer);
  for (let cut = 0; cut < text.length; cut++) t.equal(parsePointer(utf8(text.slice(0, cut))), undefined);
  for (const other of [`${text}\n`, text.replace("12345", "012345"), text.replace("12345", "-1"), text.replaceAll("\n", "\r\n"), text.toUpperCase(), text.replace("size", "x y\nsize"), text.replace("12345", "9".repeat(17))]) {
    t.equal(parsePointer(utf8(other)), undefined, JSON.stringify(other));
  }
});

t.test("paths that cannot cross, and those that can", async (t) => {
  for (const path of ["a//b", "/a", "a/", ".", "a/..", ".git", "x/.GIT/y", "git~1", ".g\u200cit", "a\0b", "\ufffd", ".gitmodules/x", "a\\.git"]) {
    t.ok(pathRefusal(latin1(utf8(path))), JSON.stringify(path));
  }
  t.ok(pathRefusal("\xff"), "not UTF-8");
  for (const path of ["a", ".gitx", "é/日本", "a b", "..a", "a\nb", ".gitmodules", "x/.gitattributes", "con", "a\\b"]) t.equal(pathRefusal(latin1(utf8(path))), undefined, path);
});

const MAPPING = { version: 1, threshold: 100, suffixes: ["bin"] } as const;
const entry = (more: Partial<LakeEntry> = {}): LakeEntry => ({ path: "f", size: 5, checksum: "c", address: "x", metadata: {}, ...more });

t.test("what an entry is in Git", async (t) => {
  const pointer = (more: Partial<LakeEntry>) => (crossing(entry(more), MAPPING) as { pointer?: boolean }).pointer;
  t.same([pointer({ size: 99 }), pointer({ size: 100 }), pointer({ path: "a/b.BIN", size: 0 }), pointer({ path: "abin" })], [false, true, true, false]);
  const mode = (metadata: Record<string, string>, size = 5) => {
    const made = crossing(entry({ metadata, size }), MAPPING);
    return made.as === "file" ? made.mode.toString(8) : made.as;
  };
  t.equal(mode({ "lakepack-mode": "100755" }), "100755");
  t.equal(mode({ "lakepack-mode": "100664" }), "100644");
  t.equal(mode({ "lakepack-mode": "120000" }), "120000");
  t.equal(mode({ "::lakefs::posix-permissions": '{"UID":1,"GID":1,"Mode":493}' }), "100755");
  t.equal(mode({ "::lakefs::posix-permissions": '{"Mode":420}' }), "100644");
  t.equal(mode({ "::lakefs::posix-permissions": "junk" }), "100644");
  t.equal(mode({ "::lakefs::symlink-target": "t" }, 0), "symlink");
  t.equal(mode({ "::lakefs::symlink-target": "t" }, 1), "100644");
  t.equal(mode({ "::lakefs::symlink-target": "\ufffd" }, 0), "refused");
  t.equal(mode({ "lakepack-mode": "160000", "lakepack-gitlink": "1".repeat(40) }, 0), "gitlink");
  t.equal(mode({ "lakepack-mode": "160000", "lakepack-gitlink": "1".repeat(40) }, 1), "100644");
  t.equal(crossing(entry({ path: "d/", size: 0 }), MAPPING).as, "nothing");
  t.equal(crossing(entry({ path: "d/", size: 1 }), MAPPING).as, "refused");
  t.equal(crossing(entry({ path: "_lakefs_actions/lakepack-guard.yaml" }), MAPPING).as, "nothing");
  t.equal(boundId(bind("x", 5, "c d"), 5, "c d"), "x");
  t.equal(boundId(bind("x", 5, "c"), 6, "c"), undefined);
  t.equal(boundId(bind("x", 5, "c"), 5, "other"), undefined);
});

t.test("the managed block: suffix or path, quoted, sorted, in its place", async (t) => {
  const census = (pointers: string[], plain: [string, number][] = []) => ({ pointers, plain: new Map(plain) });
  const lines = (block: string | undefined) => block?.split("\n").slice(1, -2).map((line) => line.replace(" filter=lfs diff=lfs merge=lfs -text", ""));
  t.same(lines(managedBlock(census(["b.bin", "a b.txt", "c", 'q"[*]?\\.x!', "d\te"], [["txt", 1]]), () => false)), [
    '"/a b.txt"', '"/c"', '"/d\\011e"', '"/q\\"\\\\[\\\\*]\\\\?\\\\\\\\.x!"', "*.bin",
  ]);
  t.equal(managedBlock(census(["b.bin"]), () => true), undefined);
  t.equal(managedBlock(census(["x".repeat(2_100)]), () => false), undefined, "Git would not read the line");
  const block = managedBlock(census(["b.bin"]), () => false) as string;
  const other = managedBlock(census(["b.pt"]), () => false) as string;
  const text = (file: string | undefined, with_: string | undefined) => {
    const made = withBlock(file === undefined ? undefined : utf8(file), with_);
    return made && lossyText(made);
  };
  t.equal(text(undefined, block), block);
  t.equal(text(undefined, undefined), undefined);
  t.equal(text("a", block), `a\n${block}`);
  t.equal(text(`a\n${block}b\n`, other), `a\n${other}b\n`);
  t.equal(text(`a\n${block}b\n`, undefined), "a\nb\n");
  t.equal(text(block, undefined), "");
  t.equal(lossyText(withoutBlock(utf8(`a\n${block}b\n`))), "a\nb\n");
});

t.test("attributes: the last line that matches, the deepest file first", async (t) => {
  const covered = (path: string, files: Record<string, string>) => isLfsPath(path, (folder) => (files[folder] === undefined ? undefined : new AttributeRules(utf8(files[folder]))));
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
  t.equal(lossyText(unsnappy(hex("0a0061220100"), 100)), "aaaaaaaaaa", "a copy that overlaps itself");
  const random = seeded(7);
  for (const size of [0, 1, 60, 61, 256, 257, 70_000]) {
    const data = random.bytes(size);
    t.ok(Buffer.from(unsnappy(snappyOf(data), size)).equals(data), `${size} bytes`);
  }
  for (const bad of ["0b28", "050061", "ff", "0a0061220500", "0a0061220000", "ffffffff0f00"]) t.equal(faultOf(() => unsnappy(hex(bad), 1_000)), "lakefs/bad-reply", bad);
  const ends = new Set<string>();
  for (let round = 0; round < 2_000; round++) ends.add(faultOf(() => unsnappy(random.bytes(random.below(40)), 1_000)));
  for (let round = 0; round < 500; round++) ends.add(faultOf(() => [...readTable(random.bytes(200))]));
  t.same([...ends].filter((end) => end !== "none"), ["lakefs/bad-reply"], "junk never does worse");
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
