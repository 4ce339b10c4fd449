import t from "tap";
import { concat } from "../../src/base/bytes.js";
import { LIMITS } from "../../src/base/limits.js";
import {
  AckWriter,
  HaveLines,
  shallowUpdate,
  UploadRequestReader,
} from "../../src/wire/upload-request.js";
import { A, B, C, faultOf, lines, OFFER, packets, take } from "../support/wire-requests.js";

const read = (...all: string[]) => take(new UploadRequestReader(OFFER), all);
const first = `want ${A} multi_ack_detailed no-done side-band-64k thin-pack ofs-delta deepen-since deepen-not agent=git/2.39.5`;

t.test("a request with everything", async (t) => {
  const request = read(
    first,
    `want ${B.toUpperCase()}`,
    `shallow ${C}`,
    "deepen-since 1700000000",
    "deepen-not refs/heads/x",
    "filter blob:none",
    "flush",
  );
  t.same([...request.wants], [A, B]);
  t.same([...request.shallows], [C]);
  t.same(request.depth, { by: "revisions", since: 1_700_000_000, not: ["refs/heads/x"] });
  t.same(request.filter, { kind: "blob:none" });
  t.ok(request.capabilities.has("no-done"));
  t.equal(request.capabilities.get("agent"), "git/2.39.5");
});

t.test("a lone flush wants nothing", async (t) => {
  t.equal(read("flush").wants.length, 0);
});

t.test("relative depth is a capability here", async (t) => {
  t.same(read(`want ${A} deepen-relative`, "deepen 2", "flush").depth, {
    by: "depth",
    depth: 2,
    relative: true,
  });
  t.same(read(`want ${A}`, "deepen 2", "flush").depth, { by: "depth", depth: 2, relative: false });
});

t.test("malformed requests are faults", async (t) => {
  const bad: readonly (readonly [readonly string[], string])[] = [
    [[`want ${A}\0multi_ack`], "wire/bad-request"],
    [[`want ${A.slice(1)}`], "wire/bad-request"],
    [["want"], "wire/bad-request"],
    [[`have ${A}`], "wire/bad-request"],
    [[`shallow ${A}`], "wire/bad-request"],
    [["deepen 1"], "wire/bad-request"],
    [["done"], "wire/bad-request"],
    [[first, `want ${B} side-band`], "wire/bad-request"],
    [[first, "deepen x"], "wire/bad-request"],
    [[first, "deepen 1", "deepen-since 5", "flush"], "wire/bad-request"],
    [[first, "filter nope"], "wire/bad-filter"],
    [[first, "filter blob:none", "filter blob:none"], "wire/bad-filter"],
    [[first, `have ${A}`], "wire/bad-request"],
    [[first, "deepen-relative"], "wire/bad-request"],
    [[first, "delim"], "wire/bad-request"],
    [[first, "response-end"], "wire/bad-request"],
    [[first, ""], "wire/bad-request"],
    [[`want ${A} object-format=sha256`], "wire/unknown-capability"],
  ];
  for (const [all, code] of bad)
    t.equal(
      faultOf(() => read(...all)),
      code,
      all.join(" ").slice(-60),
    );
  const flood = new UploadRequestReader(OFFER);
  const [want] = packets([`want ${A}`]);
  t.equal(
    faultOf(() => {
      for (let at = 0; at <= LIMITS.fetchLinesMax; at++) want && flood.take(want);
    }),
    "wire/too-much",
  );
});

t.test("haves, flushes and done; nothing follows done", async (t) => {
  const haves = new HaveLines();
  t.same(
    packets([`have ${A}`, "flush", `have ${B.toUpperCase()}`, "done"]).map((packet) =>
      haves.take(packet),
    ),
    [{ kind: "have", oid: A }, { kind: "flush" }, { kind: "have", oid: B }, { kind: "done" }],
  );
  for (const line of ["flush", `have ${A}`, "done"])
    t.equal(
      faultOf(() => haves.take(packets([line])[0] ?? { kind: "flush" })),
      "wire/bad-request",
      line,
    );
  for (const line of ["have", `have ${A} x`, `want ${A}`, "delim", "done x", ""])
    t.equal(
      faultOf(() => new HaveLines().take(packets([line])[0] ?? { kind: "flush" })),
      "wire/bad-request",
      line,
    );
});

t.test("answers", async (t) => {
  t.equal(
    Buffer.from(shallowUpdate([A], [B])).toString("latin1"),
    `0034shallow ${A}0036unshallow ${B}0000`,
    "without LF, as Git: libgit2 takes no other",
  );
  const acks = new AckWriter().ack(A, "common").ack(B, "ready").ack(C, "continue").nak().ack(A, "");
  t.same(lines(concat([acks.take()])), [
    `ACK ${A} common`,
    `ACK ${B} ready`,
    `ACK ${C} continue`,
    "NAK",
    `ACK ${A}`,
  ]);
});
