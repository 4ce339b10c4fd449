import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { CommandRequestReader } from "../../src/wire/command-request.js";
import { FetchAnswer } from "../../src/wire/fetch.js";
import { objectInfoAnswer } from "../../src/wire/object-info.js";
import { A, B, C, faultOf, lines, take } from "../support/wire-requests.js";

function request(...all: string[]) {
  return take(new CommandRequestReader(), all);
}

function fetch(...args: string[]) {
  const read = request(
    "command=fetch",
    "agent=git/2.39.5",
    "object-format=sha1",
    "delim",
    ...args,
    "flush",
  );
  if (read.command !== "fetch") throw new Error(read.command);
  const { wants, haves, shallows, ...rest } = read.arguments;
  return { ...rest, wants: [...wants], haves: [...haves], shallows: [...shallows] };
}

t.test("a fetch with everything", async (t) => {
  const read = fetch(
    "thin-pack",
    "no-progress",
    "include-tag",
    "ofs-delta",
    `want ${A}`,
    `want ${B.toUpperCase()}`,
    "want-ref refs/heads/main",
    `have ${C}`,
    `shallow ${A}`,
    "deepen-since 1700000000",
    "deepen-not refs/heads/old",
    "deepen-not v1",
    "filter combine:blob:none+tree:2",
    "wait-for-done",
    "sideband-all",
    "done",
  );
  t.same(read, {
    wants: [A, B],
    wantRefs: ["refs/heads/main"],
    haves: [C],
    done: true,
    waitForDone: true,
    thinPack: true,
    ofsDelta: true,
    noProgress: true,
    includeTag: true,
    sidebandAll: true,
    shallows: [A],
    depth: { by: "revisions", since: 1_700_000_000, not: ["refs/heads/old", "v1"] },
    filter: { kind: "combine", filters: [{ kind: "blob:none" }, { kind: "tree", depth: 2 }] },
  });
});

t.test("a bare fetch asks for nothing special", async (t) => {
  t.match(fetch(`want ${A}`), {
    wants: [A],
    haves: [],
    done: false,
    thinPack: false,
    sidebandAll: false,
    filter: undefined,
    depth: undefined,
  });
});

t.test("depths", async (t) => {
  t.same(fetch("deepen 5").depth, { by: "depth", depth: 5, relative: false });
  t.same(fetch("deepen-relative", "deepen 5").depth, { by: "depth", depth: 5, relative: true });
  t.same(fetch("deepen 2147483647").depth, { by: "depth", depth: 0x7fff_ffff, relative: false });
  for (const bad of [
    "deepen 0",
    "deepen -1",
    "deepen x",
    "deepen",
    "deepen 2147483648",
    "deepen 1 ",
    "deepen 0x10",
    "deepen 1e3",
    "deepen-since 0",
    "deepen-since x",
    "deepen-since -5",
    "deepen-not",
    "deepen-relative 1",
  ])
    t.equal(
      faultOf(() => fetch(bad)),
      "wire/bad-request",
      bad,
    );
  t.equal(
    faultOf(() => fetch("deepen 1", "deepen-since 5")),
    "wire/bad-request",
  );
  t.equal(
    faultOf(() => fetch("deepen-not x", "deepen 1")),
    "wire/bad-request",
  );
});

t.test("malformed arguments are faults, each with its reason", async (t) => {
  for (const bad of [
    "want",
    "want ",
    `want ${A}0`,
    `want ${A} `,
    `want ${A.slice(1)}g`,
    `want  ${A}`,
    `have ${A.slice(1)}`,
    "shallow x",
    "done ",
    "want-ref",
    "want-ref ",
    "unknown",
    "",
    "\0",
  ])
    t.equal(
      faultOf(() => fetch(bad)),
      "wire/bad-request",
      JSON.stringify(bad),
    );
  t.equal(
    faultOf(() => fetch("want-ref refs/heads/a", "want-ref refs/heads/a")),
    "wire/bad-request",
  );
  t.equal(
    faultOf(() => fetch("packfile-uris https")),
    "wire/unknown-capability",
    "not advertised",
  );
  t.equal(
    faultOf(() => fetch("filter x")),
    "wire/bad-filter",
  );
  t.equal(
    faultOf(() => fetch("filter")),
    "wire/bad-filter",
  );
  t.equal(
    faultOf(() => fetch("filter blob:none", "filter tree:1")),
    "wire/bad-filter",
  );
});

t.test("the shape of a request", async (t) => {
  t.same(request("flush"), { command: "none", agent: undefined, serverOptions: [] });
  t.match(request("command=ls-refs", "server-option=a=b", "server-option=", "flush"), {
    command: "ls-refs",
    serverOptions: ["a=b", ""],
    arguments: { prefixes: [] },
  });
  t.match(request("agent=x", "command=object-info", "delim", "size", `oid ${A}`, "flush"), {
    command: "object-info",
    agent: "x",
    arguments: { size: true, oids: [A] },
  });
  const bad: readonly (readonly [readonly string[], string])[] = [
    [["delim", "flush"], "wire/bad-request"],
    [["agent=x", "flush"], "wire/bad-request"],
    [["command=push", "flush"], "wire/bad-request"],
    [["command=", "flush"], "wire/bad-request"],
    [["command", "flush"], "wire/bad-request"],
    [["command=ls-refs", "command=ls-refs", "flush"], "wire/bad-request"],
    [["command=ls-refs", "command=fetch", "flush"], "wire/bad-request"],
    [["command=ls-refs", "delim", "delim", "flush"], "wire/bad-request"],
    [["command=ls-refs", "response-end"], "wire/bad-request"],
    [["command=ls-refs", "delim", "command=fetch", "flush"], "wire/bad-request"],
    [["command=ls-refs", "object-format=sha256", "flush"], "wire/unknown-capability"],
    [["command=ls-refs", "session-id=x", "flush"], "wire/unknown-capability"],
    [["command=ls-refs", "made-up", "flush"], "wire/unknown-capability"],
    [["command=ls-refs", "server-option", "flush"], "wire/bad-request"],
    [["command=ls-refs", "server-option=a\0b", "flush"], "wire/bad-request"],
    [["command=object-info", "delim", "type", "flush"], "wire/bad-request"],
    [["command=object-info", "delim", "oid x", "flush"], "wire/bad-request"],
    [
      [
        "command=ls-refs",
        ...Array.from({ length: LIMITS.serverOptionsMax + 1 }, () => "server-option=x"),
        "flush",
      ],
      "wire/too-much",
    ],
  ];
  for (const [all, code] of bad)
    t.equal(
      faultOf(() => request(...all)),
      code,
      all.slice(0, 4).join(" "),
    );
});

t.test("a flood of lines is refused at the limit", async (t) => {
  const reader = new CommandRequestReader();
  for (const line of ["command=fetch", "delim"])
    take(
      {
        take: (packet) => {
          reader.take(packet);
          return true;
        },
      },
      [line],
    );
  const payload = Buffer.from(`have ${A}\n`);
  t.equal(
    faultOf(() => {
      for (let at = 0; at <= LIMITS.fetchLinesMax; at++) reader.take({ kind: "data", payload });
    }),
    "wire/too-much",
  );
});

t.test("the answer's sections stand in order with delims between them", async (t) => {
  const refs = [{ name: "refs/heads/main", oid: A }];
  t.same(lines(new FetchAnswer(false).acknowledgments([], false).finish().take()), [
    "acknowledgments",
    "NAK",
    "flush",
  ]);
  t.same(lines(new FetchAnswer(false).acknowledgments([A, B], false).finish().take()), [
    "acknowledgments",
    `ACK ${A}`,
    `ACK ${B}`,
    "flush",
  ]);
  t.same(
    lines(
      new FetchAnswer(false)
        .acknowledgments([A], true)
        .shallowInfo([B], [C])
        .wantedRefs(refs)
        .packfile()
        .take(),
    ),
    [
      "acknowledgments",
      `ACK ${A}`,
      "ready",
      "delim",
      "shallow-info",
      `shallow ${B}`,
      `unshallow ${C}`,
      "delim",
      "wanted-refs",
      `${A} refs/heads/main`,
      "delim",
      "packfile",
    ],
  );
  t.same(
    lines(new FetchAnswer(false).shallowInfo([], []).wantedRefs([]).packfile().take()),
    ["packfile"],
    "empty sections are left out",
  );
  t.same(
    lines(new FetchAnswer(true).wantedRefs(refs).packfile().take()),
    ["\x01wanted-refs", `\x01${A} refs/heads/main`, "delim", "\x01packfile"],
    "sideband-all",
  );
});

t.test("object-info", async (t) => {
  const sizes = new Map([
    [A, 0],
    [B, 5_000_000_000],
  ]);
  t.same(lines(objectInfoAnswer({ size: true, oids: [A, B, C] }, (oid) => sizes.get(oid))), [
    "size",
    `${A} 0`,
    `${B} 5000000000`,
    `${C} `,
    "flush",
  ]);
  t.same(lines(objectInfoAnswer({ size: true, oids: [] }, () => 1)), ["flush"]);
});
