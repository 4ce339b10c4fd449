/**
 * Pack hygiene over HTTP, on both front ends: every push by hand-made bytes is refused by words
 * (`unpack …`, `ng`, ERR or a 4xx), moves no ref, leaves no file, and the next request on the same
 * connection works. What each pack does inside the ingest is in pack-entries.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { OBJECT_TYPE } from "../../src/git/oid.js";
import { commit, folderOf, git, type Lakepack, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { command, EMPTY_PACK, parseReport } from "../support/raw-push.js";
import {
  appending,
  blob,
  buildPack,
  copy,
  delta,
  type HandEntry,
  oidOf,
  varint,
  whole,
} from "../support/pack-builder.js";
import { RawClient } from "../support/raw-client.js";

const ZERO = "0".repeat(40);
const FLUSH = "0000";
const WHO = "A <a@example.com> 1700000000 +0000";

interface Case {
  readonly name: string;
  /** Bytes behind the commands. */
  readonly pack: Uint8Array;
  /** Text that the client reads of the pack, or of its ref. */
  readonly says: RegExp;
  /** New id of the ref; the pack's commit unless said. */
  readonly tip?: string;
}

const file = blob("content\n");
const fileOid = oidOf("blob", "content\n");
const entry = (mode: string, name: string, oid: string) =>
  Buffer.concat([Buffer.from(`${mode} ${name}\0`, "utf8"), Buffer.from(oid, "hex")]);
const treeOf = (...entries: readonly Buffer[]) => Buffer.concat(entries);
const goodTree = treeOf(entry("100644", "a", fileOid));
const commitOf = (
  tree: Uint8Array,
  more: { readonly who?: string; readonly headers?: string; readonly treeLine?: string } = {},
) =>
  `${more.treeLine ?? `tree ${oidOf("tree", tree)}`}\n${more.headers ?? ""}author ${more.who ?? WHO}\ncommitter ${more.who ?? WHO}\n\nmessage\n`;

/** A commit of this tree with all it needs; what is odd is odd on purpose. */
function history(
  name: string,
  says: RegExp,
  tree: Uint8Array,
  text = commitOf(tree),
  extra: readonly HandEntry[] = [],
): Case {
  return {
    name,
    says,
    pack: buildPack([file, whole("tree", tree), whole("commit", text), ...extra]),
    tip: oidOf("commit", text),
  };
}

const base = Buffer.from("a base of some length, to be copied from");
const one = blob(base);
const claim = (type: number, size: number) =>
  Uint8Array.from([0x80 | (type << 4) | (size % 16), ...varint(Math.floor(size / 16))]);
const FORTY = "1".repeat(40);

/** Names no tree may hold, each with the id of fsck's message. */
const BAD_NAMES: Readonly<Record<string, string>> = {
  ".git": "hasDotgit",
  ".GIT": "hasDotgit",
  "git~1": "hasDotgit",
  ".g\u200cit": "hasDotgit",
  "..": "hasDotdot",
  ".": "hasDot",
  "": "badTree",
  "a/b": "fullPathname",
};

const PACKS: readonly Case[] = [
  {
    name: "a thin pack whose base nobody has",
    pack: buildPack([{ type: 7, baseOid: "f".repeat(40), data: appending(base, "x") }]),
    says: /base/,
  },
  {
    name: "a base out of bounds",
    pack: buildPack([one, { type: 6, distance: 10_000, data: base }]),
    says: /entry/,
  },
  { name: "type 5", pack: buildPack([{ type: 5, data: base }]), says: /type/ },
  { name: "version 4", pack: buildPack([one], { version: 4 }), says: /version/ },
  {
    name: "one object fewer than promised",
    pack: buildPack([one], { count: 2 }),
    says: /unpack (?!ok)/,
  },
  {
    name: "one object more than promised",
    pack: buildPack([one, blob("b")], { count: 1 }),
    says: /more or fewer/,
  },
  {
    name: "a bad trailer",
    pack: buildPack([one], { trailer: Buffer.alloc(20, 1) }),
    says: /checksum/,
  },
  {
    name: "a pack cut short",
    pack: buildPack([one, blob("b")]).subarray(0, -25),
    says: /unpack (?!ok)/,
  },
  {
    name: "no zlib",
    pack: buildPack([{ ...one, zlib: Buffer.from("this is not zlib, whatever it is") }]),
    says: /compressed/,
  },
  {
    name: "a size that is not the object's",
    pack: buildPack([{ ...one, size: base.length + 1 }]),
    says: /size/,
  },
  {
    name: "a claim of 1 TiB",
    pack: buildPack([{ ...one, head: claim(OBJECT_TYPE.blob, 2 ** 40) }]),
    says: /size/,
  },
  {
    name: "a delta that claims 32 GiB in ten bytes",
    pack: buildPack([one, { type: 6, base: 0, data: delta(base.length, 2 ** 35, copy(0, 4)) }]),
    says: /larger than this server accepts/,
  },
  {
    name: "opcode 0",
    pack: buildPack([one, { type: 6, base: 0, data: delta(base.length, 4, copy(0, 4), [0]) }]),
    says: /delta/,
  },
  {
    name: "a delta that overruns",
    pack: buildPack([
      one,
      { type: 6, base: 0, data: delta(base.length, 8, copy(base.length - 4, 8)) },
    ]),
    says: /delta/,
  },
  {
    name: "a delta on another base's size",
    pack: buildPack([one, { type: 6, base: 0, data: delta(base.length + 1, 4, copy(0, 4)) }]),
    says: /delta/,
  },
  { name: "the same object twice", pack: buildPack([one, one]), says: /twice/ },
  { name: "nothing where a pack is due", pack: new Uint8Array(0), says: /ends early/ },
  {
    name: "text where a pack is due",
    pack: Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    says: /signature/,
  },
  {
    name: "bytes behind the pack",
    pack: Buffer.concat([buildPack([one]), Buffer.from("trailing")]),
    says: /more or fewer/,
  },
  ...Object.entries(BAD_NAMES).map(([bad, id]) =>
    history(
      `a tree with the name ${JSON.stringify(bad)}`,
      new RegExp(`unpack .*: ${id}: `),
      treeOf(entry("100644", bad, fileOid)),
    ),
  ),
  history(
    "an unsorted tree",
    /: treeNotSorted: /,
    treeOf(entry("100644", "b", fileOid), entry("100644", "a", fileOid)),
  ),
  history(
    "a name twice in a tree",
    /: duplicateEntries: /,
    treeOf(entry("100644", "a", fileOid), entry("100644", "a", fileOid)),
  ),
  history("a null id in a tree", /: nullSha1: /, treeOf(entry("100644", "a", ZERO))),
  history("a mode of forty digits", /: badTree: /, treeOf(entry(FORTY, "a", fileOid))),
  history("a mode that is no number", /: badTree: /, treeOf(entry("10x644", "a", fileOid))),
  history("a mode without a name", /: badTree: /, Buffer.from("100644")),
  history("an entry cut in its id", /: badTree: /, goodTree.subarray(0, -3)),
  history(
    "a date of forty digits",
    /: badDateOverflow: /,
    goodTree,
    commitOf(goodTree, { who: `A <a@example.com> ${FORTY} +0000` }),
  ),
  history(
    "a zone of forty digits",
    /: badTimezone: /,
    goodTree,
    commitOf(goodTree, { who: `A <a@example.com> 1 +${FORTY}` }),
  ),
  history(
    "a date that is none",
    /: badDate: /,
    goodTree,
    commitOf(goodTree, { who: "A <a@example.com> yesterday +0000" }),
  ),
  history(
    "a commit without a tree",
    /: missingTree: /,
    goodTree,
    commitOf(goodTree, { treeLine: "no tree" }),
  ),
  history(
    "a NUL in a commit's header",
    /: nulInHeader: /,
    goodTree,
    commitOf(goodTree, { who: "A\0 <a@example.com> 1 +0000" }),
  ),
  history(
    ".gitmodules as a symlink",
    /: gitmodulesSymlink: /,
    treeOf(entry("120000", ".gitmodules", fileOid)),
  ),
  modules(
    "a submodule above the work tree",
    "gitmodulesName",
    '[submodule "../x"]\n\tpath = p\n\turl = https://example.com/\n',
  ),
  modules(
    "a submodule whose URL is an option",
    "gitmodulesUrl",
    '[submodule "x"]\n\tpath = p\n\turl = -u./payload\n',
  ),
  {
    name: "a missing object after a good unpack",
    pack: buildPack([whole("commit", commitOf(goodTree))]),
    tip: oidOf("commit", commitOf(goodTree)),
    says: /unpack ok\n.*ng refs\/heads\/new missing necessary objects/s,
  },
  {
    name: "a tip that is not in the pack",
    pack: buildPack([one]),
    tip: "9".repeat(40),
    says: /ng refs\/heads\/new missing necessary objects/,
  },
  {
    name: "a tree as a branch",
    pack: buildPack([file, whole("tree", goodTree)]),
    tip: oidOf("tree", goodTree),
    says: /ng refs\/heads\/new/,
  },
];

function modules(name: string, id: string, text: string): Case {
  const tree = treeOf(entry("100644", ".gitmodules", oidOf("blob", text)));
  return history(name, new RegExp(`: ${id}: `), tree, commitOf(tree), [blob(text)]);
}

async function started(t: Test, kind: string) {
  const lakepack = await startLakepack(t, { args: ["--transport", kind] });
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const tip = await commit(work, "first", { "a.txt": "a\n" });
  const url = `${lakepack.url}/ns/target.git`;
  await git(["push", "-q", url, "main"], { cwd: work });
  return { lakepack, tip, refs: async () => git(["ls-remote", url]) };
}

function post(service: string, body: Uint8Array, headers = ""): Buffer {
  const head = `POST /ns/target.git/git-${service} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-${service}-request\r\n${headers}Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

/** The same connection answers a good request. */
async function goesOn(client: RawClient): Promise<boolean> {
  const reply = await client
    .send(
      post("upload-pack", Buffer.from("0014command=ls-refs\n0000"), "Git-Protocol: version=2\r\n"),
    )
    .response();
  return reply.status === 200 && reply.body.toString().includes("refs/heads/main");
}

async function nothingLeft(t: Test, { data }: Lakepack): Promise<void> {
  t.same(await readdir(join(data, "incoming")), [], "no folder is left");
  t.equal(
    (await readdir(join(await folderOf(data, "ns/target"), "git/objects/pack"))).length,
    3,
    "no pack came to the one that was there",
  );
}

for (const kind of frontEnds) {
  t.test(`${kind}: packs`, { timeout: 180_000 }, async (t) => {
    const { lakepack, refs } = await started(t, kind);
    const before = await refs();
    const client = new RawClient(lakepack.port);
    for (const { name, pack, says, tip = "1".repeat(40) } of PACKS) {
      const commands = `${command(ZERO, tip, "refs/heads/new", "report-status")}${FLUSH}`;
      const reply = await client
        .send(post("receive-pack", Buffer.concat([Buffer.from(commands, "latin1"), pack])))
        .response();
      const { unpack, refs: statuses } = parseReport(reply.body);
      t.match(`unpack ${unpack}\n${statuses.join("\n")}`, says, name);
      t.match(statuses, [/^ng refs\/heads\/new ./], `${name}: its ref is ng`);
    }
    t.ok(await goesOn(client), "all on one connection, and it goes on");
    client.close();
    t.equal(await refs(), before, "no ref moved");
    await nothingLeft(t, lakepack);
  });

  t.test(`${kind}: commands, and what stands around them`, { timeout: 120_000 }, async (t) => {
    const { lakepack, tip, refs } = await started(t, kind);
    const before = await refs();
    const empty = EMPTY_PACK.toString("latin1");
    const push = (...lines: string[]) => `${lines.join("")}${FLUSH}${empty}`;
    const caps = "report-status delete-refs atomic push-options";
    const CASES: readonly (readonly [string, string, RegExp])[] = [
      ["a length of 3", `0003${empty}`, /ERR /],
      ["a length that is no number", "00zz", /ERR /],
      ["a length beyond the limit", `fff5${"x".repeat(100)}`, /ERR /],
      [
        "a delimiter among commands",
        push(command(ZERO, tip, "refs/heads/x", caps), "0001"),
        /ERR /,
      ],
      ["an id of 39 digits", push(command(ZERO.slice(1), tip, "refs/heads/x", caps)), /ERR /],
      ["an id of 41 digits", push(command(`${ZERO}0`, tip, "refs/heads/x", caps)), /ERR /],
      [
        "an id in upper case",
        push(command(ZERO, "ABCDEF".padEnd(40, "0"), "refs/heads/x", caps)),
        /ERR |ng /,
      ],
      ["no name", push(command(ZERO, tip, "", caps)), /ERR |ng /],
      ["nothing on both sides", push(command(ZERO, ZERO, "refs/heads/x", caps)), /ERR |ng /],
      [
        "an unknown capability asked for",
        push(command(ZERO, tip, "refs/heads/x", `${caps} object-format=sha256`)),
        /ERR /,
      ],
      ["a certificate", push("000epush-cert\0x"), /ERR /],
      ["a command cut short", `${command(ZERO, tip, "refs/heads/x", caps).slice(0, -4)}`, /ERR /],
      ["no flush", command(ZERO, tip, "refs/heads/x", caps), /ERR /],
      [
        "a NUL in a second command",
        push(
          command(ZERO, tip, "refs/heads/x", caps),
          command(ZERO, tip, "refs/heads/y", "atomic"),
        ),
        /ERR |ng refs\/heads\/y/,
      ],
      ["a name outside refs/", push(command(ZERO, tip, "HEAD", caps)), /ng HEAD /],
      ["two dots", push(command(ZERO, tip, "refs/heads/a..b", caps)), /ng refs\/heads\/a\.\.b /],
      ["a climb out of refs", push(command(ZERO, tip, "refs/heads/../../x", caps)), /ng refs/],
      ["a lock file's name", push(command(ZERO, tip, "refs/heads/x.lock", caps)), /ng refs/],
      [
        "one ref twice",
        push(command(ZERO, tip, "refs/heads/x", caps), command(ZERO, tip, "refs/heads/x")),
        /ng refs\/heads\/x /,
      ],
      [
        "create of what exists",
        push(command(ZERO, tip, "refs/heads/main", caps)),
        /ng refs\/heads\/main /,
      ],
      [
        "a stale old id",
        push(command("2".repeat(40), tip, "refs/heads/main", caps)),
        /ng refs\/heads\/main /,
      ],
      [
        "a delete by another old id",
        `${command("2".repeat(40), ZERO, "refs/heads/main", caps)}${FLUSH}`,
        /ng refs\/heads\/main /,
      ],
      [
        "a delete of the default branch",
        `${command(tip, ZERO, "refs/heads/main", caps)}${FLUSH}`,
        /ng refs\/heads\/main /,
      ],
      [
        "a delete of what is not there",
        `${command("2".repeat(40), ZERO, "refs/heads/none", caps)}${FLUSH}`,
        /ng refs\/heads\/none /,
      ],
      [
        "a folder where a branch is",
        push(command(ZERO, tip, "refs/heads/main/x", caps)),
        /ng refs\/heads\/main\/x /,
      ],
      [
        "atomic with one bad",
        push(command(ZERO, tip, "refs/heads/good", caps), command(ZERO, tip, "refs/heads/a..b")),
        /ng refs\/heads\/good .*\n.*ng refs\/heads\/a\.\.b/s,
      ],
      [
        "options that never end",
        `${command(ZERO, tip, "refs/heads/x", caps)}${FLUSH}0009hello`,
        /ERR /,
      ],
      [
        "shallow lines of nonsense",
        `${"000cshallow x".replace("000c", "000d")}${push(command(ZERO, tip, "refs/heads/x", caps))}`,
        /ERR /,
      ],
    ];
    const client = new RawClient(lakepack.port);
    for (const [name, text, says] of CASES) {
      // With push options offered a list of them follows the commands; an empty one unless the case
      // is about it.
      const body = /options that/.test(name)
        ? text
        : text.replace(`${FLUSH}${empty}`, `${FLUSH}${FLUSH}${empty}`);
      const withEnd = /^a delete/.test(name) ? `${body}${FLUSH}` : body;
      const reply = await client
        .send(post("receive-pack", Buffer.from(withEnd, "latin1")))
        .response();
      t.match(`${reply.status} ${reply.body.toString("latin1")}`, says, name);
      t.not(reply.body.length, 0, name);
    }
    t.ok(await goesOn(client), "and the connection goes on");
    client.close();
    t.equal(await refs(), before);
    await nothingLeft(t, lakepack);
  });

  t.test(`${kind}: bodies by gzip`, { timeout: 60_000 }, async (t) => {
    const { lakepack, tip, refs } = await started(t, kind);
    const before = await refs();
    const good = gzipSync(
      Buffer.concat([
        Buffer.from(
          `${command(ZERO, "1".repeat(40), "refs/heads/x", "report-status")}${FLUSH}`,
          "latin1",
        ),
        buildPack([one]),
      ]),
    );
    const flip = (at: number) => {
      const bytes = Buffer.from(good);
      bytes[at] = (bytes[at] ?? 0) ^ 0x55;
      return bytes;
    };
    const bodies: readonly (readonly [string, Buffer])[] = [
      ["not gzip", Buffer.from("hello, this is no gzip at all")],
      ["nothing", Buffer.alloc(0)],
      ["a header only", good.subarray(0, 10)],
      ["cut in the middle", good.subarray(0, good.length >> 1)],
      ["cut in its checksum", good.subarray(0, -3)],
      ["a wrong checksum", flip(good.length - 6)],
      ["a wrong length", flip(good.length - 2)],
      ["a broken block", flip(14)],
      ["garbage behind it", Buffer.concat([good, Buffer.from("garbage")])],
      ["a bomb of empty packets", gzipSync(Buffer.from("0004".repeat(10_000_000)), { level: 1 })],
      ["a bomb of zeros", gzipSync(Buffer.alloc(100_000_000), { level: 1 })],
    ];
    for (const service of ["receive-pack", "upload-pack"])
      for (const [name, body] of bodies) {
        const client = new RawClient(lakepack.port);
        const reply = await client
          .send(post(service, body, "Content-Encoding: gzip\r\n"))
          .response();
        const told =
          reply.status >= 400 || /ERR .|unpack (?!ok)|ng refs/.test(reply.body.toString("latin1"));
        t.ok(
          told && reply.status < 500,
          `${service}, ${name}: ${reply.status} ${reply.body.toString("latin1").slice(0, 70)}`,
        );
        if (!client.ended)
          t.ok(await goesOn(client), `${service}, ${name}: the connection goes on`);
        client.close();
      }
    t.equal(await refs(), before);
    t.ok(tip);
    await nothingLeft(t, lakepack);
  });
}
