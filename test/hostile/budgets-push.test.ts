/**
 * Small pushes that mean much work, each in a loop beside another user's clones and pushes, on a
 * server with one thread to spare: taken within what a push may cost, or refused in words; the
 * event loop is free, memory and disk are bounded, and nobody waits long.
 */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import {
  blob,
  buildPack,
  copy,
  delta,
  type HandEntry,
  insert,
  oidOf,
  whole,
} from "../support/pack-builder.js";
import {
  type BudgetRig,
  budgetRig,
  commitOf,
  type Created,
  entry,
  onEveryFrontEnd,
  pushPack,
  skipBudgets,
  timeFor,
} from "../support/budgets-rig.js";

const MIB = 1024 * 1024;
const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${"5".repeat(64)}\nsize 12345\n`;

t.setTimeout(timeFor(30, 1_200));

/**
 * One push, the same each round: to a repository of its own, so that nothing is known of the
 * objects before.
 */
interface Attack {
  readonly name: string;
  readonly pack: Buffer;
  readonly refs: readonly Created[];
  readonly says: RegExp;
  readonly memory?: number;
  readonly disk?: number;
}

/** Ten trees within each other, each ten times in the next: ten thousand million paths. */
function treeBomb(
  leaf: Buffer,
  rules: readonly string[] = [],
): { entries: HandEntry[]; tip: string } {
  const entries: HandEntry[] = [
    blob(POINTER),
    ...rules.map((text) => blob(text)),
    whole("tree", leaf),
  ];
  let tree = leaf;
  for (let level = 0; level < 10; level++) {
    const names = Array.from({ length: 10 }, (_, at) =>
      entry("40000", `d${at}`, oidOf("tree", tree)),
    );
    const isTop = level === 9;
    tree = Buffer.concat([
      ...(isTop ? rules.map((text) => entry("100644", ".gitattributes", oidOf("blob", text))) : []),
      ...names,
    ]);
    entries.push(whole("tree", tree));
  }
  const text = commitOf(oidOf("tree", tree));
  entries.push(whole("commit", text));
  return { entries, tip: oidOf("commit", text) };
}

function ofBomb(name: string, says: RegExp, rules: readonly string[]): Attack {
  const { entries, tip } = treeBomb(entry("100644", "text", oidOf("blob", POINTER)), rules);
  return { name, pack: buildPack(entries), refs: [[tip, "refs/heads/main"]], says };
}

/** So many deltas on one base, each making `bytes` of it and a word of its own. */
function deltas(count: number, bytes: number): Buffer {
  const base = Buffer.alloc(64 * 1024, 1);
  const copies = Array.from({ length: bytes / base.length }, () => copy(0, base.length));
  const made = Array.from({ length: count }, (_, at): HandEntry => {
    const word = Buffer.from(`word ${at}`);
    return {
      type: 6,
      base: 0,
      data: delta(base.length, bytes + word.length, ...copies, insert(word)),
    };
  });
  return buildPack([blob(base), ...made]);
}

const baseTip = oidOf("blob", Buffer.alloc(64 * 1024, 1));

function ofDeltas(name: string, says: RegExp, count: number, bytes: number): Attack {
  return { name, pack: deltas(count, bytes), refs: [[baseTip, "refs/tags/base"]], says };
}

/** A commit whose root has one file of this name. */
function named(name: string, content: Buffer, says: RegExp, shown: string): Attack {
  const tree = entry("100644", name, oidOf("blob", content));
  const text = commitOf(oidOf("tree", tree));
  const pack = buildPack([
    { ...blob(content), level: 9 },
    whole("tree", tree),
    whole("commit", text),
  ]);
  return { name: shown, pack, refs: [[oidOf("commit", text), "refs/heads/main"]], says };
}

/**
 * Trees whose names all look like what Git reads, made by deltas of each other: each adds an entry.
 */
function oddTrees(entries: number, count: number, stem: string): Attack {
  const file = blob("x");
  const id = oidOf("blob", "x");
  const base = Buffer.concat(
    Array.from({ length: entries }, (_, at) =>
      entry("100644", `${stem}${String(at).padStart(7, "0")}`, id),
    ),
  );
  const copies: number[][] = [];
  for (let at = 0; at < base.length; at += 0xffff00)
    copies.push(copy(at, Math.min(0xffff00, base.length - at)));
  const made = Array.from({ length: count }, (_, at): HandEntry => {
    const last = entry("100644", `${stem}~${String(at).padStart(7, "0")}`, id);
    return {
      type: 6,
      base: 1,
      data: delta(base.length, base.length + last.length, ...copies, insert(last)),
    };
  });
  return {
    name: `${count} trees of ${entries} names like ${JSON.stringify(stem)}`,
    pack: buildPack([file, whole("tree", base), ...made]),
    refs: [[id, "refs/tags/x"]],
    says: /pack makes more work/,
  };
}

/** Ids that nobody has, each put together of two pieces of a stored tree. */
function manyIds(trees: number, entriesEach: number): Attack {
  const noise = (at: number) => createHash("sha1").update(`${at}`).digest("hex");
  const name = (at: number) => String(at).padStart(7, "0");
  const base = Buffer.concat(
    Array.from({ length: 200 }, (_, at) => entry("100644", name(at), noise(at))),
  );
  const made = Array.from({ length: trees }, (_, tree): HandEntry => {
    const pieces: number[][] = [];
    for (let at = 0; at < entriesEach; at++) {
      const number = tree * entriesEach + at;
      pieces.push(
        insert(Buffer.from(`100644 ${name(at)}\0`)),
        copy(number % 6_900, 10),
        copy(Math.imul(number, 7) % 6_900, 10),
      );
    }
    return { type: 6, base: 0, data: delta(base.length, entriesEach * 35, pieces.flat()) };
  });
  return {
    name: `${trees * entriesEach} ids that nobody has`,
    pack: buildPack([whole("tree", base), ...made]),
    refs: [[oidOf("tree", base), "refs/tags/x"]],
    says: /pack makes more work|missing necessary/,
  };
}

/** One commit with so many parents, none of which exists. */
function manyParents(count: number): Attack {
  const parents = Array.from(
    { length: count },
    (_, at) => `parent ${at.toString(16).padStart(40, "a")}\n`,
  ).join("");
  const text = commitOf(oidOf("tree", ""), parents);
  return {
    name: `a commit of ${count} parents`,
    pack: buildPack([whole("tree", ""), whole("commit", text)]),
    refs: [[oidOf("commit", text), "refs/heads/main"]],
    says: /missing necessary objects/,
  };
}

function tagChain(length: number): Attack {
  const entries: HandEntry[] = [blob("x")];
  let [oid, type] = [oidOf("blob", "x"), "blob"];
  for (let at = 0; at < length; at++) {
    const text = `object ${oid}\ntype ${type}\ntag t\ntagger A <a@example.com> 1 +0000\n\nm\n`;
    entries.push(whole("tag", text));
    [oid, type] = [oidOf("tag", text), "tag"];
  }
  return {
    name: `${length} tags of tags`,
    pack: buildPack(entries),
    refs: [[oid, "refs/tags/x"]],
    says: /tags of tags/,
  };
}

const ATTACKS: readonly (() => Attack)[] = [
  () =>
    ofBomb(
      "a pointer without a file below ten levels of trees",
      /stand at more paths than are looked at/,
      [],
    ),
  () =>
    ofBomb("the same where the rules name other files", /stand at more paths than are looked at/, [
      "*.bin filter=lfs\n",
    ]),
  () =>
    ofBomb("the same with a thousand rules", /more paths|does not exist/, [
      Array.from({ length: 1_000 }, (_, at) => `*.${at} filter=lfs\n`).join(""),
    ]),
  () =>
    ofBomb(
      "the same where all is a file of LFS",
      /points to a file that does not exist: d\d\/.*text/,
      ["* filter=lfs\n"],
    ),
  () => ofDeltas("deltas that make 30 GB", /pack makes more work/, 2_000, 15 * MIB),
  () =>
    ofDeltas(
      "deltas that make 30 GB in pieces above 16 MiB",
      /pack makes more work/,
      1_500,
      20 * MIB,
    ),
  () =>
    ofDeltas("deltas that make nearly as much as a small pack may", /unpack ok, ok/, 240, 4 * MIB),
  () => ({
    ...ofDeltas("the same in pieces above 16 MiB", /unpack ok, ok/, 40, 20 * MIB),
    disk: 256 * MIB,
  }),
  () =>
    named(".gitmodules", Buffer.alloc(60 * MIB, "\n"), /gitmodulesLarge/, "a .gitmodules of 60 MB"),
  () =>
    named(
      ".gitmodules",
      Buffer.from(`[submodule "a"]\n\turl = ${"x\\\\".repeat(2.6 * MIB)}\n`),
      /gitmodulesUrl/,
      "a .gitmodules of one value",
    ),
  () =>
    named(
      ".gitmodules",
      Buffer.from('[submodule "a"]\n\turl = x\n'.repeat(320_000)),
      /unpack ok, ok/,
      "a .gitmodules of 320,000 settings",
    ),
  () =>
    named(
      ".gitattributes",
      Buffer.alloc(60 * MIB, "a\n"),
      /gitattributesLarge/,
      "a .gitattributes of 60 MB",
    ),
  () => oddTrees(20_000, 2_000, ".gitx"),
  () => oddTrees(20_000, 2_000, "gi7eba"),
  () => manyIds(40, 100_000),
  () => manyParents(100_000),
  () => tagChain(1_000),
];

for (const transport of ["uws", "node"] as const) {
  t.test(`small pushes that mean much work: ${transport}`, { skip: skipBudgets }, async (t) => {
    const rig = await budgetRig(t, transport);
    await names(t, rig);
    if (transport !== "uws" && !onEveryFrontEnd) return;
    for (const make of ATTACKS) await run(t, rig, make());
    await bases(t, rig);
    await large(t, rig);
  });
}

t.test("branches that are moved aside, where that is denied", { skip: skipBudgets }, async (t) => {
  const { server, cost } = await budgetRig(t, "uws", { LAKEPACK_DENY_NON_FAST_FORWARDS: "true" });
  const tree = entry("100644", "a", oidOf("blob", "x"));
  const entries = [blob("x"), whole("tree", tree)];
  let tip = "";
  for (let at = 0; at < 20_000; at++) {
    const text = commitOf(oidOf("tree", tree), tip === "" ? "" : `parent ${tip}\n`);
    entries.push(whole("commit", text));
    tip = oidOf("commit", text);
  }
  const other = entry("100644", "b", oidOf("blob", "x"));
  const aside = commitOf(oidOf("tree", other));
  const old = oidOf("commit", aside);
  const names = Array.from({ length: 400 }, (_, at) => `refs/heads/b${at}`);
  const begun: Created[] = [[tip, "refs/heads/main"], ...names.map((name): Created => [old, name])];
  t.match(
    await pushPack(
      server,
      "attacks/aside",
      buildPack([...entries, whole("tree", other), whole("commit", aside)]),
      begun,
    ),
    /unpack ok, ok/,
  );
  const some = names.slice(0, 40).map((name): Created => [tip, name, old]);
  t.match(
    await pushPack(server, "attacks/aside", buildPack([]), some),
    /non-fast-forward/,
    "forty are looked at",
  );
  const moved = names.map((name): Created => [tip, name, old]);
  const all = await cost(t, "four hundred branches moved aside", () =>
    pushPack(server, "attacks/aside", buildPack([]), moved),
  );
  t.match(
    all.last,
    /takes more work than this server does for one push.*push fewer branches at a time/,
  );
});

let repositories = 0;
/** One of its own, in a namespace that has not as many as one user may have. */
const nextRepository = () =>
  `attacks${Math.floor(repositories / 5_000)}/r${repositories++ % 5_000}`;

/** A pack with an object above 16 MiB does not wait for another's that has many. */
async function large(t: Test, { server }: BudgetRig): Promise<void> {
  const [many, one] = [deltas(45, 20 * MIB), deltas(1, 20 * MIB)];
  const ends: string[] = [];
  const slow = pushPack(server, "attacks/slow", many, [[baseTip, "refs/tags/base"]]).then((said) =>
    ends.push(`many: ${said}`),
  );
  await sleep(300);
  await pushPack(server, "attacks/quick", one, [[baseTip, "refs/tags/base"]]).then((said) =>
    ends.push(`one: ${said}`),
  );
  await slow;
  t.match(ends, [/^one: unpack ok, ok/, /^many: unpack ok, ok/]);
}

async function run(
  t: Test,
  { server, cost }: BudgetRig,
  { name, pack, refs, says, ...bounds }: Attack,
): Promise<void> {
  const measured = await cost(
    t,
    `${name} (${pack.length} bytes)`,
    () => pushPack(server, nextRepository(), pack, refs),
    bounds,
  );
  t.match(measured.last, says, name);
}

/** As many bytes of names as one push may have, again and again to one repository. */
async function names(t: Test, { server, cost }: BudgetRig): Promise<void> {
  const pack = buildPack([blob("x")]);
  const tip = oidOf("blob", "x");
  const long = (round: number, count: number, bytes: number): Created[] =>
    Array.from({ length: count }, (_, at) => [
      tip,
      `refs/tags/${round}/${at}/${"n".repeat(bytes)}`,
    ]);
  const long8k = await cost(
    t,
    "six thousand names of 1,000 bytes",
    (round) => pushPack(server, "attacks/names", pack, long(round, 6_000, 980)),
    {
      disk: 512 * MIB,
    },
  );
  t.match(long8k.last, /unpack ok/);
  const many = await cost(
    t,
    "a hundred thousand names",
    (round) => pushPack(server, `attacks/many${round}`, pack, long(round, 90_000, 40)),
    {
      disk: 512 * MIB,
    },
  );
  t.match(many.last, /unpack ok, ok/);
  const deep: Created[] = Array.from({ length: 6_000 }, (_, at) => [
    tip,
    `refs/tags/${at}${"/n".repeat(480)}`,
  ]);
  const deepOnes = await cost(t, "six thousand names of 480 parts", (round) =>
    pushPack(server, `attacks/deep${round}`, pack, deep),
  );
  t.match(deepOnes.last, /at most 64 parts/);
  t.match(
    await pushPack(server, "attacks/names", pack, long(1, 7_000, 980)),
    /more than this server accepts/,
    "more bytes than one push may have",
  );
  t.match(
    await pushPack(server, "attacks/names", pack, [[tip, `refs/tags/${"n".repeat(1_100)}`]]),
    /more than this server accepts/,
    "a longer name",
  );
}

/** Thin deltas on large stored blobs. */
async function bases(t: Test, { server, cost }: BudgetRig): Promise<void> {
  const stored = Array.from({ length: 12 }, (_, at) =>
    Buffer.concat([Buffer.alloc(15 * MIB, at + 1), Buffer.from(`${at}`)]),
  );
  const first = buildPack(stored.map((data) => ({ ...blob(data), level: 1 })));
  t.match(
    await pushPack(server, "attacks/bases", first, [
      [oidOf("blob", stored[0] as Buffer), "refs/tags/first"],
    ]),
    /unpack ok, ok/,
  );
  const on = (data: Buffer, word: string): HandEntry => ({
    type: 7,
    baseOid: oidOf("blob", data),
    data: delta(data.length, 4 + word.length, copy(0, 4), insert(Buffer.from(word))),
  });
  const all = buildPack(stored.map((data, at) => on(data, `word ${at}`)));
  const twelve = await cost(t, "a thin pack of 12 large bases", (round) =>
    pushPack(server, "attacks/bases", all, [[oidOf("blob", "x"), `refs/tags/a${round}`]]),
  );
  t.match(twelve.last, /pack makes more work.*no-thin/);
  const few = buildPack(stored.slice(0, 4).map((data, at) => on(data, `few ${at}`)));
  const tip = oidOf(
    "blob",
    Buffer.concat([(stored[0] as Buffer).subarray(0, 4), Buffer.from("few 0")]),
  );
  const four = await cost(t, "a thin pack of 4", (round) =>
    pushPack(server, "attacks/bases", few, [[tip, `refs/tags/f${round}`]]),
  );
  t.match(four.last, /unpack ok, ok/);
}
