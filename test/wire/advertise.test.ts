import t from "tap";
import { concat } from "../../src/base/bytes.js";
import {
  capabilityAdvertisement,
  refAdvertisement,
  serviceAnnouncement,
} from "../../src/wire/advertise.js";
import {
  advertisedLines,
  bandMode,
  CAPABILITIES,
  readCapabilities,
} from "../../src/wire/capabilities.js";
import { A, B, C, faultOf, lines, OFFER, ZERO } from "../support/wire-requests.js";

const REFS = [
  { name: "refs/heads/main", oid: A },
  { name: "refs/heads/x\xff", oid: B },
  { name: "refs/tags/v1", oid: C, peeled: A },
];

function advertise(options: Partial<Parameters<typeof refAdvertisement>[0]>): string[] {
  return lines(
    concat([
      ...refAdvertisement({
        service: "upload-pack",
        version: 0,
        head: "refs/heads/main",
        refs: REFS,
        offer: OFFER,
        ...options,
      }),
    ]),
  );
}

t.test("refs with HEAD first, capabilities behind the first, tags peeled", async (t) => {
  const [first = "", ...rest] = advertise({});
  t.match(first, new RegExp(`^${A} HEAD\\0multi_ack thin-pack .*symref=HEAD:refs/heads/main$`));
  t.same(rest, [
    `${A} refs/heads/main`,
    `${B} refs/heads/x\xff`,
    `${C} refs/tags/v1`,
    `${A} refs/tags/v1^{}`,
    "flush",
  ]);
  t.equal(advertise({ version: 1 })[0], "version 1");
});

t.test("HEAD is left out where its ref is not there", async (t) => {
  const [first = ""] = advertise({ head: "refs/heads/unborn" });
  t.match(first, new RegExp(`^${A} refs/heads/main\\0`));
  t.notMatch(first, "symref");
});

t.test("receive-pack: no HEAD, nothing peeled, its own capabilities", async (t) => {
  const [first = "", ...rest] = advertise({ service: "receive-pack" });
  t.equal(
    first,
    `${A} refs/heads/main\0report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options object-format=sha1 agent=lakepack/test`,
  );
  t.same(rest, [`${B} refs/heads/x\xff`, `${C} refs/tags/v1`, "flush"]);
  const [plain = ""] = advertise({ service: "receive-pack", offer: { ...OFFER, atomic: false } });
  t.notMatch(plain, /\batomic\b/);
});

t.test("an empty repository says its capabilities behind a name no ref has", async (t) => {
  const [first = "", ...rest] = advertise({ refs: [] });
  t.match(first, new RegExp(`^${ZERO} capabilities\\^{}\\0multi_ack`));
  t.same(rest, ["flush"]);
  t.same(advertise({ refs: [], shallow: [A] }).slice(1), [`shallow ${A}`, "flush"]);
});

t.test("version 2 says capabilities alone", async (t) => {
  t.same(lines(capabilityAdvertisement(OFFER)), [
    "version 2",
    "agent=lakepack/test",
    "ls-refs=unborn",
    "fetch=shallow wait-for-done filter ref-in-want sideband-all",
    "server-option",
    "object-format=sha1",
    "object-info",
    "flush",
  ]);
  t.same(lines(serviceAnnouncement("upload-pack")), ["# service=git-upload-pack", "flush"]);
});

t.test("100,000 refs leave in pieces", async (t) => {
  const refs = Array.from({ length: 100_000 }, (_, at) => ({
    name: `refs/heads/b${String(at).padStart(6, "0")}`,
    oid: A,
  }));
  const pieces = [
    ...refAdvertisement({
      service: "upload-pack",
      version: 0,
      head: "refs/heads/none",
      refs,
      offer: OFFER,
    }),
  ];
  t.ok(
    pieces.length > 50 && pieces.every((piece) => piece.length < 128 * 1024),
    `${pieces.length} pieces`,
  );
  t.equal(lines(concat(pieces)).length, 100_001);
});

t.test("settings open and close capabilities", async (t) => {
  const [first = ""] = advertise({
    offer: { ...OFFER, allowTipInWant: true, allowReachableInWant: true },
  });
  t.match(first, "allow-tip-sha1-in-want allow-reachable-sha1-in-want");
  t.notMatch(advertise({})[0], "allow-");
});

t.test(
  "a client's list: what we know is read, what Git does not know is passed over",
  async (t) => {
    const asked = readCapabilities(
      "upload-pack",
      " multi_ack_detailed side-band side-band-64k  agent=git/2.39.5 session-id=x made-up object-format=sha1",
      OFFER,
    );
    t.equal(bandMode(asked), "side-band-64k", "dulwich asks for both");
    t.equal(asked.get("agent"), "git/2.39.5");
    t.equal(bandMode(readCapabilities("upload-pack", "side-band", OFFER)), "side-band");
    t.equal(bandMode(readCapabilities("upload-pack", "", OFFER)), "none");
  },
);

t.test("a client's list: what was not offered is refused", async (t) => {
  for (const list of [
    "object-format=sha256",
    "object-format",
    "push-cert=x",
    "allow-tip-sha1-in-want",
  ])
    t.equal(
      faultOf(() => readCapabilities("upload-pack", list, OFFER)),
      "wire/unknown-capability",
      list,
    );
  t.equal(
    faultOf(() => readCapabilities("receive-pack", "atomic", { ...OFFER, atomic: false })),
    "wire/unknown-capability",
  );
  t.equal(
    faultOf(() => readCapabilities("receive-pack", "atomic", OFFER)),
    "none",
  );
});

t.test("no capability stands twice, each names its test", async (t) => {
  const names = CAPABILITIES.map((row) => `${row.by} ${row.name}`);
  t.equal(new Set(names).size, names.length);
  t.same(
    CAPABILITIES.filter((row) => !/^(interop|serve)\/[\w-]+\.test\.ts › \S+/.test(row.test)),
    [],
  );
  t.equal(new Set(CAPABILITIES.map((row) => row.test)).size, names.length);
  t.ok(advertisedLines(OFFER).every((line) => /^[A-Za-z0-9_-]+(=[ -~]+)?$/.test(line)));
});
