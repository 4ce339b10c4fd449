/**
 * Valid requests, and what becomes of each when every line and every field of it goes wrong in
 * turn: hundreds of requests no client sends. A body is a list of items: a line's text (LF and
 * all), or "0000", "0001", "0002" for the special packets.
 */
import { deflateSync } from "node:zlib";
import { pkt } from "./raw-push.js";

/** Names and ids that can be asked for. */
export interface Known {
  /** Tip of main, and its parent. */
  readonly tip: string;
  readonly parent: string;
  /** A blob of the tip. */
  readonly blob: string;
}

export interface Base {
  readonly name: string;
  readonly service: "upload-pack" | "receive-pack";
  readonly version: 0 | 1 | 2;
  readonly items: readonly string[];
  /** Bytes behind the last flush. */
  readonly tail?: Uint8Array;
}

export interface Attempt extends Omit<Base, "items" | "tail"> {
  readonly body: Buffer;
}

const ZERO = "0".repeat(40);
const NOBODY = "8".repeat(40);
const EMPTY_PACK = Buffer.from(
  "5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e",
  "hex",
);
const SPECIAL = /^000[0-2]$/;

/** Each as a client would send it. */
export function validRequests({ tip, parent, blob }: Known): readonly Base[] {
  const fetch = (name: string, ...lines: string[]): Base => ({
    name: `fetch, ${name}`,
    service: "upload-pack",
    version: 2,
    items: [
      "command=fetch\n",
      "agent=git/2.39.5\n",
      "object-format=sha1\n",
      "0001",
      ...lines,
      "0000",
    ],
  });
  const old = (name: string, version: 0 | 1, ...items: string[]): Base => ({
    name: `version ${version}, ${name}`,
    service: "upload-pack",
    version,
    items,
  });
  const push = (name: string, items: readonly string[], tail: Uint8Array = EMPTY_PACK): Base => ({
    name: `push, ${name}`,
    service: "receive-pack",
    version: 0,
    items,
    tail,
  });
  const caps = "report-status delete-refs ofs-delta object-format=sha1 agent=git/2.39.5";
  return [
    {
      name: "ls-refs",
      service: "upload-pack",
      version: 2,
      items: [
        "command=ls-refs\n",
        "agent=git/2.39.5\n",
        "object-format=sha1\n",
        "server-option=x\n",
        "0001",
        "peel\n",
        "symrefs\n",
        "unborn\n",
        "ref-prefix refs/heads/\n",
        "0000",
      ],
    },
    {
      name: "object-info",
      service: "upload-pack",
      version: 2,
      items: [
        "command=object-info\n",
        "object-format=sha1\n",
        "0001",
        "size\n",
        `oid ${blob}\n`,
        `oid ${tip}\n`,
        "0000",
      ],
    },
    fetch(
      "of all",
      "thin-pack\n",
      "ofs-delta\n",
      "no-progress\n",
      "include-tag\n",
      `want ${tip}\n`,
      `want ${parent}\n`,
      "done\n",
    ),
    fetch("with haves", "thin-pack\n", `want ${tip}\n`, `have ${parent}\n`, `have ${NOBODY}\n`),
    fetch("waiting for done", "wait-for-done\n", `want ${tip}\n`, `have ${parent}\n`),
    fetch(
      "shallow",
      `want ${tip}\n`,
      `shallow ${parent}\n`,
      "deepen 1\n",
      "deepen-relative\n",
      "done\n",
    ),
    fetch("by time", `want ${tip}\n`, "deepen-since 1600000000\n", "done\n"),
    fetch("not by ref", `want ${tip}\n`, "deepen-not refs/heads/old\n", "done\n"),
    fetch("by ref", "sideband-all\n", "want-ref refs/heads/main\n", "done\n"),
    fetch("without blobs", `want ${tip}\n`, "filter blob:none\n", "done\n"),
    fetch("with all filters", `want ${tip}\n`, "filter combine:blob:limit=1k+tree:3\n", "done\n"),
    old(
      "of all",
      0,
      `want ${tip} multi_ack_detailed side-band-64k thin-pack ofs-delta agent=git/2.39.5\n`,
      `want ${parent}\n`,
      "0000",
      "done\n",
    ),
    old(
      "with haves",
      0,
      `want ${tip} multi_ack_detailed no-done side-band-64k\n`,
      "0000",
      `have ${parent}\n`,
      `have ${NOBODY}\n`,
      "0000",
    ),
    old(
      "shallow",
      0,
      `want ${tip} side-band-64k filter\n`,
      `shallow ${parent}\n`,
      "deepen 1\n",
      "filter blob:none\n",
      "0000",
      "done\n",
    ),
    old(
      "by time",
      1,
      `want ${tip} multi_ack side-band deepen-since deepen-not\n`,
      "deepen-since 1600000000\n",
      "deepen-not refs/heads/old\n",
      "0000",
      `have ${parent}\n`,
      "done\n",
    ),
    push("of two", [
      `${ZERO} ${tip} refs/heads/new-a\0${caps}`,
      `${ZERO} ${parent} refs/heads/new-b`,
      "0000",
    ]),
    push("of all or none", [
      `${ZERO} ${tip} refs/heads/new-a\0${caps} atomic side-band-64k quiet`,
      `${ZERO} ${parent} refs/heads/new-b`,
      "0000",
    ]),
    push("with options", [
      `${ZERO} ${tip} refs/heads/new-a\0${caps} push-options`,
      "0000",
      "reviewer=x",
      "0000",
    ]),
    push("from a shallow clone", [
      `shallow ${parent}`,
      `${ZERO} ${tip} refs/heads/new-a\0${caps}`,
      "0000",
    ]),
    push("of a delete", [`${parent} ${ZERO} refs/heads/new-a\0${caps}`, "0000"], Buffer.alloc(0)),
    push("of a pack", [`${ZERO} ${tip} refs/heads/new-a\0${caps}`, "0000"], onePack()),
  ];
}

/** A pack of one blob, whose checksum is left to whoever breaks it. */
function onePack(): Buffer {
  // Made by hand in pack-builder's tests; here it only has to be well-formed at its beginning.
  return Buffer.concat([
    Buffer.from("5041434b0000000200000001", "hex"),
    Buffer.from([0x36]),
    deflateSync(Buffer.from("hello\n")),
  ]);
}

export function encoded(items: readonly string[]): string {
  return items.map((item) => (SPECIAL.test(item) ? item : pkt(item))).join("");
}

/** Every way in which one item can be wrong, as bytes in its place. Each says what it is. */
const LINES: readonly (readonly [string, (item: string) => string])[] = [
  ["left out", () => ""],
  ["twice", (item) => encoded([item, item])],
  ["an empty packet", () => "0004"],
  ["an empty packet before it", (item) => `0004${encoded([item])}`],
  ["a delimiter", () => "0001"],
  ["a response end", () => "0002"],
  ["a flush", () => "0000"],
  ["a flush before it", (item) => `0000${encoded([item])}`],
  ["a length of 3", () => "0003"],
  ["a length that is no number", (item) => `zz${encoded([item]).slice(2)}`],
  ["a negative length", (item) => `-${encoded([item]).slice(1)}`],
  ["a length in upper-case 0X", () => "0X10"],
  ["a length beyond the limit", () => `fff1${"x".repeat(100)}`],
  ["a length of a byte more", (item) => longer(item, 1)],
  ["a length of a byte less", (item) => longer(item, -1)],
  ["other words", () => pkt("nonsense\n")],
  ["another command", () => pkt("command=fetch\n")],
  ["a NUL", () => pkt("\0\n")],
  ["bytes that are no text", () => pkt("\xff\xfe\x80\n")],
  ["60,000 bytes", () => pkt("x".repeat(60_000))],
  ["an LF alone", () => pkt("\n")],
];

function longer(item: string, by: number): string {
  const text = encoded([item]);
  return SPECIAL.test(item)
    ? `000${Number(item[3]) + 5 + by}`
    : (Number.parseInt(text.slice(0, 4), 16) + by).toString(16).padStart(4, "0") + text.slice(4);
}

/** Every way in which the text of one line can be wrong. */
const TEXTS: readonly (readonly [string, (text: string) => string])[] = [
  ["in upper case", (text) => text.toUpperCase()],
  ["a space before", (text) => ` ${text}`],
  ["a space after", (text) => text.replace(/\n?$/, " \n")],
  ["a NUL after", (text) => text.replace(/\n?$/, "\0\n")],
  ["CR LF", (text) => text.replace(/\n?$/, "\r\n")],
  ["two LFs", (text) => text.replace(/\n?$/, "\n\n")],
  ["its first letter alone", (text) => text.slice(0, 1)],
  ["half", (text) => text.slice(0, text.length >> 1)],
  ["a letter less at its end", (text) => text.replace(/.\n?$/, "\n")],
  ["a letter more at its end", (text) => text.replace(/\n?$/, "x\n")],
  ["tabs", (text) => text.replaceAll(" ", "\t")],
  ["two spaces", (text) => text.replaceAll(" ", "  ")],
  ["no spaces", (text) => text.replaceAll(" ", "")],
  ["a word more", (text) => text.replace(/\n?$/, " more\n")],
];

const OID = /[0-9a-f]{40}/g;
const OIDS: readonly (readonly [string, string])[] = [
  ["39 digits", "1".repeat(39)],
  ["41 digits", "1".repeat(41)],
  ["64 digits", "1".repeat(64)],
  ["no digits", ""],
  ["a letter among them", `g${"1".repeat(39)}`],
  ["nobody's", NOBODY],
  ["zeros", ZERO],
  ["a sign", `-${"1".repeat(39)}`],
  ["a name", "refs/heads/main"],
];

const NUMBER = /(?<=(?:deepen|since|limit=|tree:) ?)\d+/;
const NUMBERS: readonly string[] = [
  "0",
  "-1",
  "-0",
  "+1",
  "1.5",
  "1e3",
  "0x10",
  "",
  " ",
  "NaN",
  "Infinity",
  "1 2",
  "99999999999999999999",
  "9".repeat(40),
  "2147483648",
  "\u0661",
];

const FILTERS: readonly string[] = [
  "",
  " ",
  "blob",
  "blob:",
  "blob:none ",
  "blob:nonee",
  "BLOB:NONE",
  "blob:limit",
  "blob:limit=",
  "blob:limit=-1",
  "blob:limit=1x",
  "blob:limit=1kk",
  "blob:limit=0x10",
  "blob:limit=99999999999999999999g",
  "tree",
  "tree:",
  "tree:-1",
  "tree:x",
  "tree:1:2",
  `tree:${"9".repeat(40)}`,
  "object:type=",
  "object:type=nothing",
  "object:type=blob,tree",
  "sparse:oid=",
  "sparse:oid=nobody",
  `sparse:oid=${NOBODY}`,
  "sparse:oid=main:none",
  "sparse:oid=main:../x",
  "sparse:path=x",
  "sparse:",
  "combine:",
  "combine:+",
  "combine:blob:none+",
  "combine:+blob:none",
  "combine:blob:none+nonsense",
  "combine:blob:none+%",
  "combine:blob:none+%zz",
  "combine:blob:none+~",
  "combine:blob:none blob:none",
  `${"combine:".repeat(40)}blob:none`,
  "x".repeat(5_000),
  "auto",
  "__proto__",
  "constructor",
];

const REFS: readonly string[] = [
  "",
  "refs/heads/none",
  "refs/heads/",
  "main",
  "refs/heads/main/x",
  "refs/heads/../x",
  "refs/heads/ma\0in",
  "__proto__",
  "refs/lakefs/",
  `refs/heads/${"x".repeat(5_000)}`,
  "*",
  "refs/heads/*",
];

/** Names a push may not give. */
const BAD_NAMES: readonly string[] = [
  "",
  " ",
  "HEAD",
  "main",
  "refs",
  "refs/",
  "refs/heads",
  "refs/heads/",
  "refs//x",
  "refs/heads//x",
  "refs/heads/x/",
  "refs/heads/.x",
  "refs/heads/x.",
  "refs/heads/x..y",
  "refs/heads/x.lock",
  "refs/heads/x.lock/y",
  "refs/heads/x~1",
  "refs/heads/x^",
  "refs/heads/x:y",
  "refs/heads/x?",
  "refs/heads/x*",
  "refs/heads/x[",
  "refs/heads/x\\y",
  "refs/heads/x y",
  "refs/heads/x\ty",
  "refs/heads/x\x7f",
  "refs/heads/@{x",
  "refs/heads/x@{1}",
  "@",
  "../refs/heads/x",
  "refs/../x",
  "refs/heads/../../x",
  "/refs/heads/x",
  "refs/lakefs/x",
  `refs/heads/${"x".repeat(4_100)}`,
  "config",
  "objects/x",
  "refs/heads/x\n",
  "__proto__",
];

const CAPABILITIES: readonly string[] = [
  "object-format=sha256",
  "object-format=",
  "object-format",
  "object-format=SHA1",
  "push-cert=x",
  "push-cert",
  "object-format=sha1 object-format=sha256",
];

/**
 * Makes mutations of one request: each item, each text and each field of it wrong in turn, cut
 * everywhere, and with more behind it.
 */
export function mutationsOf(base: Base): readonly Attempt[] {
  const made: Attempt[] = [];
  const add = (how: string, bytes: string, tail: Uint8Array = base.tail ?? Buffer.alloc(0)) => {
    const { service, version } = base;
    made.push({
      name: `${base.name}: ${how}`,
      service,
      version,
      body: Buffer.concat([Buffer.from(bytes, "latin1"), tail]),
    });
  };
  const { items } = base;
  const around = (at: number, bytes: string) =>
    `${encoded(items.slice(0, at))}${bytes}${encoded(items.slice(at + 1))}`;
  for (const [at, item] of items.entries()) {
    const where = `item ${at + 1}, ${JSON.stringify(item.slice(0, 24))}`;
    for (const [how, change] of LINES) add(`${where}: ${how}`, around(at, change(item)));
    add(`${where}: nothing after it`, encoded(items.slice(0, at + 1)), Buffer.alloc(0));
    add(`${where}: cut in it`, encoded(items.slice(0, at + 1)).slice(0, -2), Buffer.alloc(0));
    const next = items[at + 1];
    if (next !== undefined)
      add(
        `${where}: behind the next`,
        encoded([...items.slice(0, at), next, item, ...items.slice(at + 2)]),
      );
    if (SPECIAL.test(item)) continue;
    for (const [how, change] of TEXTS) add(`${where}: ${how}`, around(at, pkt(change(item))));
    for (const [how, text] of fieldsOf(item)) add(`${where}: ${how}`, around(at, pkt(text)));
  }
  const whole = encoded(items);
  add("nothing", "", Buffer.alloc(0));
  add("a flush before all", `0000${whole}`);
  add(
    "more behind its end",
    whole,
    Buffer.concat([base.tail ?? Buffer.alloc(0), Buffer.from("more")]),
  );
  add(
    "a whole one behind its end",
    whole,
    Buffer.concat([base.tail ?? Buffer.alloc(0), Buffer.from(whole, "latin1")]),
  );
  if (base.tail !== undefined && base.tail.length > 0) {
    for (const cut of [0, 1, 4, 8, 12, base.tail.length - 1])
      add(`its pack cut after ${cut} bytes`, whole, base.tail.subarray(0, cut));
    add("no pack but text", whole, Buffer.from("this is no pack"));
    for (let at = 0; at < base.tail.length; at += 3)
      add(`its pack with byte ${at} another`, whole, flipped(base.tail, at));
  }
  return made;
}

function flipped(bytes: Uint8Array, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 0x21;
  return copy;
}

/** A line with each of its fields another. */
function* fieldsOf(line: string): Generator<readonly [string, string]> {
  for (const [nth, match] of [...line.matchAll(OID)].entries())
    for (const [how, oid] of OIDS)
      yield [
        `id ${nth + 1} is ${how}`,
        `${line.slice(0, match.index)}${oid}${line.slice(match.index + 40)}`,
      ];
  if (NUMBER.test(line))
    for (const number of NUMBERS)
      yield [`the number is ${JSON.stringify(number.slice(0, 12))}`, line.replace(NUMBER, number)];
  if (line.startsWith("filter "))
    for (const filter of FILTERS)
      yield [`the filter is ${JSON.stringify(filter.slice(0, 30))}`, `filter ${filter}\n`];
  if (/^(want-ref|deepen-not) /.test(line))
    for (const ref of REFS)
      yield [`the ref is ${JSON.stringify(ref.slice(0, 30))}`, `${line.split(" ")[0]} ${ref}\n`];
  const [, ids, list] = /^([0-9a-f]{40} [0-9a-f]{40}) [^\0]*(\0.*)?$/s.exec(line) ?? [];
  if (ids === undefined) return;
  for (const name of BAD_NAMES)
    yield [`the name is ${JSON.stringify(name.slice(0, 30))}`, `${ids} ${name}${list ?? ""}`];
  if (list !== undefined)
    for (const capability of CAPABILITIES)
      yield [`it asks for ${capability}`, `${line} ${capability}`];
  if (list !== undefined) yield ["no capabilities", line.slice(0, line.indexOf("\0"))];
  if (list !== undefined) yield ["capabilities behind a space", line.replace("\0", " ")];
  if (list !== undefined) yield ["two NULs", line.replace("\0", "\0\0")];
}
