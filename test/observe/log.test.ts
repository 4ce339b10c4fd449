/** Secrets do not stand in a log, even where they came in a place meant for something else. */
import { spawnSync } from "node:child_process";
import t from "tap";

const LOG = new URL("../../src/observe/log.js", import.meta.url).href;

t.test("what looks like a secret is cut", async (t) => {
  const token = `lpk_${"a2".repeat(16)}`;
  const lines = [
    `/${token}/model.git/HEAD`,
    `git:${token}`,
    `https://s3/b?X-Amz-Credential=AKIA%2F2026&X-Amz-Date=2026&X-Amz-Signature=0123abcd&x=1`,
    `https://h/ns/n.git/info/lfs/objects/x?proof=17999-${"ab".repeat(16)}-${"cd".repeat(32)}`,
    "proof of work, lpk_short",
  ];
  const program = `const { createLog } = await import(${JSON.stringify(LOG)}); const log = createLog("info"); for (const path of ${JSON.stringify(lines)}) log.info("request", { path });`;
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", program]);
  const said = run.stderr
    .toString()
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { path: string }).path);
  t.same(said, [
    "/…/model.git/HEAD",
    "git:…",
    "https://s3/b?X-Amz-Credential=…&X-Amz-Date=2026&X-Amz-Signature=…&x=1",
    "https://h/ns/n.git/info/lfs/objects/x?proof=…",
    "proof of work, lpk_short",
  ]);
});

/** Each in a line of its own: what must not be read there, and what must. */
const TOKEN = `lpk_${"a2b7".repeat(8)}`;
const encoded = (text: string) =>
  [...text].map((char) => `%${char.charCodeAt(0).toString(16)}`).join("");
const base64 = (text: string) => Buffer.from(text).toString("base64");
const SPELLINGS: readonly (readonly [line: string, secret: string])[] = [
  [`/${encoded(TOKEN)}/x`, encoded(TOKEN).slice(20)],
  [`/${TOKEN.replace("_", "%5F")}/x`, TOKEN.slice(4)],
  [`/${TOKEN.replace("_", "%255f")}/x`, TOKEN.slice(4)],
  [`/${encoded(encoded(TOKEN)).toUpperCase()}/x`, encoded(encoded(TOKEN)).toUpperCase().slice(60)],
  [TOKEN.toUpperCase(), TOKEN.toUpperCase().slice(4)],
  ...["", "u", "us", "ada"].map(
    (user) =>
      [`?auth=${base64(`${user}:${TOKEN}`)}&x`, base64(`${user}:${TOKEN}`).slice(8, 40)] as const,
  ),
  [`Authorization: Basic ${base64("ada:password")}`, base64("ada:password")],
  ["authorization: bearer abcdef0123456789", "abcdef0123456789"],
  ["https://ada:hunter2@hub.example/ns/n.git", "hunter2"],
  ["https%3A%2F%2Fada:hunter2@hub.example/ns/n.git", "hunter2"],
  ["http://sessiontoken@hub.example/", "sessiontoken"],
  ["/x?proof%3D17999-abcdef0123", "abcdef0123"],
  ["/x%3Fproof=17999-abcdef0123", "abcdef0123"],
  ["/x?a=1&PROOF=17999-abcdef0123", "abcdef0123"],
  ["/x?proof=%31%37999-abcdef0123", "abcdef0123"],
  ["/b?x-amz-signature=deadbeef01", "deadbeef01"],
  ["/b?X-Amz-Signature%3Ddeadbeef01", "deadbeef01"],
];

t.test("a secret is cut in every spelling, and the rest stays", async (t) => {
  const { withoutSecrets } = await import("../../src/base/secret-text.js");
  for (const [line, secret] of SPELLINGS) {
    const said = withoutSecrets(`before ${line} after`);
    t.notMatch(said, secret, line);
    t.match(said, /^before .*….* after$/, line);
  }
  for (const plain of [
    "/ns/model.git/info/refs",
    "basic usage of proofs",
    "bHBr",
    "https://hub.example/ns/n.git",
    "a@b.example",
    "lpk_short",
  ])
    t.equal(withoutSecrets(plain), plain);
  const began = performance.now();
  for (const long of [
    "a".repeat(65_536),
    "%25".repeat(20_000),
    "://".repeat(20_000),
    "lpk_".repeat(16_000),
    "bHBr".repeat(16_000),
    `://${"a".repeat(65_000)}`,
  ])
    withoutSecrets(long);
  t.ok(performance.now() - began < 1_000, "long lines cost no more than their length");
});

t.test("what a terminal would act on is shown as something else", async (t) => {
  const { printable, printableJson } = await import("../../src/base/printable.js");
  t.equal(printable("a\x1b[31mb\x9b31mc\x07\u202ed\x7f\u2066e\tf\ng"), "a?[31mb?31mc??d??e\tf\ng");
  t.equal(
    printable(Buffer.from("Ärger über À ✓", "utf8").toString("latin1")),
    "Ärger über À ✓",
    "names as bytes are decoded",
  );
  t.equal(printable("Ärger über À ✓"), "Ärger über À ✓");
  t.equal(printable("caf\xe9 \x85"), "caf\xe9 ?", "bytes that are no UTF-8");
  t.same(
    JSON.parse(printableJson(JSON.stringify({ a: "x\x9b\u2028\x7f" }))),
    { a: "x\x9b\u2028\x7f" },
    "JSON loses nothing",
  );
  t.notMatch(printableJson(JSON.stringify({ a: "x\x9b\u2028\x7f" })), /[\x7f-\x9f\u2028]/);
});
