import t from "tap";
import { concat, latin1 } from "../../src/base/bytes.js";
import { LIMITS } from "../../src/base/limits.js";
import { type PacketReader, PacketReader as Reader } from "../../src/wire/pkt-line.js";
import { PushRequestReader, reportPieces, type PushReport } from "../../src/wire/push.js";
import { A, B, faultOf, lines, OFFER, packets, take, ZERO } from "../support/wire-requests.js";

const read = (...all: string[]) => take(new PushRequestReader(OFFER), all);
const caps = (list: string) =>
  read(`${ZERO} ${A} refs/heads/x\0${list}`, "flush", "flush").capabilities;

t.test("commands: create, update, delete, names of any bytes", async (t) => {
  const request = read(
    `${ZERO} ${A} refs/heads/new\0 report-status-v2 side-band-64k object-format=sha1 agent=git/2.39.5`,
    `${A} ${B} refs/heads/x\xff y`,
    `${B.toUpperCase()} ${ZERO} refs/tags/t`,
    "flush",
  );
  t.same(request.commands, [
    { old: ZERO, new: A, name: "refs/heads/new" },
    { old: A, new: B, name: "refs/heads/x\xff y" },
    { old: B, new: ZERO, name: "refs/tags/t" },
  ]);
  t.match(request, { bandMode: "side-band-64k", packFollows: true, shallows: [], options: [] });
  t.ok(request.capabilities.has("report-status-v2"));
});

t.test("deletes alone bring no pack; a lone flush brings nothing", async (t) => {
  t.equal(read(`${A} ${ZERO} refs/heads/x\0report-status`, "flush").packFollows, false);
  t.same(read("flush").commands, []);
});

t.test("shallow lines and push options", async (t) => {
  const request = read(
    `shallow ${B}`,
    `${ZERO} ${A} refs/heads/x\0push-options report-status`,
    "flush",
    "ci.skip",
    "a=b c",
    "flush",
  );
  t.same(request.shallows, [B]);
  t.same(request.options, ["ci.skip", "a=b c"]);
  t.same(read(`${ZERO} ${A} refs/heads/x\0push-options`, "flush", "flush").options, []);
});

t.test("malformed pushes are faults", async (t) => {
  const bad: readonly (readonly [readonly string[], string])[] = [
    [[`${A} refs/heads/x`], "wire/bad-request"],
    [[`${A} ${B}`], "wire/bad-request"],
    [[`${A} ${B} `], "wire/bad-request"],
    [[`${A}  ${B} refs/heads/x`], "wire/bad-request"],
    [[`${A.slice(1)}g ${B} refs/heads/x`], "wire/bad-request"],
    [["hello"], "wire/bad-request"],
    [[""], "wire/bad-request"],
    [["shallow x"], "wire/bad-request"],
    [["delim"], "wire/bad-request"],
    [
      [`${ZERO} ${A} refs/heads/x\0report-status`, `${ZERO} ${A} refs/heads/y\0atomic`],
      "wire/bad-request",
    ],
    [[`${ZERO} ${A} refs/heads/x\0\0report-status`], "wire/bad-request"],
    [["push-cert\0report-status"], "wire/unknown-capability"],
    [[`${ZERO} ${A} refs/heads/x\0push-cert=nonce`], "wire/unknown-capability"],
    [[`${ZERO} ${A} refs/heads/x\0object-format=sha256`], "wire/unknown-capability"],
    [[`${ZERO} ${A} refs/heads/${"x".repeat(5_000)}`], "wire/too-much"],
    [
      [
        `${ZERO} ${A} refs/heads/x\0push-options`,
        "flush",
        ...Array.from({ length: LIMITS.pushOptionsMax + 1 }, () => "o"),
      ],
      "wire/too-much",
    ],
    [
      [`${ZERO} ${A} refs/heads/x\0push-options`, "flush", "o".repeat(40_000), "o".repeat(40_000)],
      "wire/too-much",
    ],
  ];
  for (const [all, code] of bad)
    t.equal(
      faultOf(() => read(...all)),
      code,
      all.join(" ").slice(0, 90),
    );
  const flood = new PushRequestReader(OFFER);
  const [command] = packets([`${ZERO} ${A} refs/heads/x`]);
  t.equal(
    faultOf(() => {
      for (let at = 0; at <= LIMITS.pushCommandsMax; at++) command && flood.take(command);
    }),
    "wire/too-much",
  );
  const long = new PushRequestReader(OFFER);
  const [big] = packets([
    `${ZERO} ${A} refs/heads/${"x".repeat(LIMITS.refNameBytesMax - "refs/heads/".length)}`,
  ]);
  const fit = LIMITS.pushRefNameBytesMax / LIMITS.refNameBytesMax;
  t.equal(
    faultOf(() => {
      for (let at = 0; at < fit; at++) big && long.take(big);
    }),
    "none",
    "as many bytes of names as a push may have",
  );
  t.equal(
    faultOf(() => void (big && long.take(big))),
    "wire/too-much",
    "one more",
  );
});

t.test("the pack begins where the commands end, wherever the stream is cut", async (t) => {
  const line = `${ZERO} ${A} refs/heads/x\0report-status push-options`;
  const whole = Buffer.from(
    `${(line.length + 4).toString(16).padStart(4, "0")}${line}00000007ab\n0000PACK-and-more`,
    "latin1",
  );
  for (let cut = 0; cut <= whole.length - 17; cut++) {
    const packets: PacketReader = new Reader();
    const reader = new PushRequestReader(OFFER);
    let rest = "";
    let options: readonly string[] = [];
    for (const chunk of [whole.subarray(0, cut), whole.subarray(cut)]) {
      packets.push(chunk);
      for (let next = packets.next(); next !== undefined; next = packets.next()) {
        const request = reader.take(next);
        if (request === undefined) continue;
        options = request.options;
        rest = latin1(packets.rest());
        break;
      }
    }
    t.same([rest, options], ["PACK-and-more", ["ab"]], `cut ${cut}`);
  }
});

const report = (of: PushReport, capabilities: Parameters<typeof reportPieces>[1]) =>
  concat([...reportPieces(of, capabilities)]);

const REPORT = {
  unpack: "ok",
  commands: [
    {
      name: "refs/heads/a\xff",
      ok: true,
      rewritten: { name: "refs/heads/b", old: A, new: B, forced: true },
    },
    { name: "refs/heads/c", ok: false, reason: "non-fast-forward\nreally" },
  ],
} as const;

t.test("reports: version 1, version 2, banded and bare", async (t) => {
  t.same(lines(report(REPORT, caps("report-status"))), [
    "unpack ok",
    "ok refs/heads/a\xff",
    "ng refs/heads/c non-fast-forward really",
    "flush",
  ]);
  t.same(lines(report(REPORT, caps("report-status-v2"))), [
    "unpack ok",
    "ok refs/heads/a\xff",
    "option refname refs/heads/b",
    `option old-oid ${A}`,
    `option new-oid ${B}`,
    "option forced-update",
    "ng refs/heads/c non-fast-forward really",
    "flush",
  ]);
  const outer = lines(report(REPORT, caps("report-status side-band-64k")));
  t.equal(outer.length, 2);
  t.equal(outer[1], "flush");
  t.match(outer[0], /^\x01000eunpack ok\n.*0000$/s);
  t.same(
    lines(report(REPORT, caps("side-band-64k"))),
    ["flush"],
    "nothing but the end of the stream",
  );
  t.equal(report(REPORT, caps("")).length, 0);
});

t.test("a long report is cut into packets and reads on", async (t) => {
  const commands = Array.from(
    { length: 5_000 },
    (_, at) => ({ name: `refs/heads/branch-${at}`, ok: true }) as const,
  );
  const reader = new Reader();
  reader.push(report({ unpack: "ok", commands }, caps("report-status side-band-64k")));
  let inner = "";
  for (let next = reader.next(); next !== undefined && next.kind === "data"; next = reader.next())
    inner += latin1(next.payload.subarray(1));
  t.equal(lines(Buffer.from(inner, "latin1")).length, 5_002);
});

t.test("a reason is never empty nor endless, and stays UTF-8", async (t) => {
  const [unpack = "", ng = ""] = lines(
    report(
      { unpack: "é\0\n", commands: [{ name: "refs/heads/x", ok: false, reason: "" }] },
      caps("report-status"),
    ),
  );
  t.equal(Buffer.from(unpack, "latin1").toString("utf8"), "unpack é");
  t.equal(ng, "ng refs/heads/x failed");
  t.ok(report({ unpack: "x".repeat(100_000), commands: [] }, caps("report-status")).length < 1_100);
});
