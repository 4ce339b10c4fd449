import { spawnSync } from "node:child_process";
import t from "tap";
import { formatFilter, parseFilter } from "../../src/wire/filter.js";
import { seeded } from "../support/random.js";
import { faultOf } from "../support/wire-requests.js";

t.test("each kind is read", async (t) => {
  t.same(parseFilter("blob:none"), { kind: "blob:none" });
  t.same(parseFilter("blob:limit=0"), { kind: "blob:limit", bytes: 0 });
  t.same(parseFilter("blob:limit=10k"), { kind: "blob:limit", bytes: 10_240 });
  t.same(parseFilter("blob:limit=2M"), { kind: "blob:limit", bytes: 2_097_152 });
  t.same(parseFilter("blob:limit=1g"), { kind: "blob:limit", bytes: 1_073_741_824 });
  t.same(parseFilter("tree:0"), { kind: "tree", depth: 0 });
  t.same(parseFilter("tree:3"), { kind: "tree", depth: 3 });
  t.same(parseFilter("object:type=commit"), { kind: "object:type", type: "commit" });
  t.same(parseFilter("sparse:oid=main:dir/.sparse file"), {
    kind: "sparse:oid",
    spec: "main:dir/.sparse file",
  });
});

t.test(
  "combinations are flattened, sorted, without doubles: equal filters have one text",
  async (t) => {
    const same = [
      "combine:tree:3+blob:none",
      "combine:tree%3A3+blob%3Anone",
      "combine:blob:none+tree:3",
      "combine:blob:none+tree:3+blob:none",
      "combine:combine%3Atree%3A3%2Bblob%3Anone+blob:none",
    ];
    for (const text of same)
      t.equal(formatFilter(parseFilter(text)), "combine:blob:none+tree:3", text);
    t.same(parseFilter("combine:blob:none"), { kind: "blob:none" });
    t.equal(
      formatFilter(parseFilter("combine:sparse:oid=main%3aa%20b%2bc+blob:limit=1k")),
      "combine:blob:limit=1024+sparse:oid=main:a%20b%2bc",
    );
  },
);

const BAD = [
  "",
  "blob",
  "blob:",
  "blob:none ",
  " blob:none",
  "blob:limit=",
  "blob:limit=-1",
  "blob:limit=x",
  "blob:limit=1t",
  "blob:limit=99999999999999999999",
  "blob:limit=9007199254740993g",
  "tree:",
  "tree:-1",
  "tree:1.5",
  "object:type=",
  "object:type=blobs",
  "object:type=ofs-delta",
  "sparse:oid=",
  "sparse:path=x",
  "combine:",
  "combine:+",
  "combine:blob:none+",
  "combine:+blob:none",
  "combine:blob:none++tree:1",
  "combine:blob%3",
  "combine:blob%zz",
  "combine:blob:none+tree:1 ",
  "combine:sparse:oid=a~b+tree:1",
  "combine:combine:blob:none",
  "BLOB:NONE",
  "auto",
];

t.test("what is no filter is a fault", async (t) => {
  for (const text of BAD.filter((each) => each !== "combine:combine:blob:none"))
    t.equal(
      faultOf(() => parseFilter(text)),
      "wire/bad-filter",
      JSON.stringify(text),
    );
  t.equal(
    faultOf(() => parseFilter(`sparse:oid=${"a".repeat(5_000)}`)),
    "wire/too-much",
  );
});

t.test("stock git refuses what we refuse and takes what we write", async (t) => {
  const accepts = (text: string) => {
    const run = spawnSync("git", ["rev-list", "--objects", `--filter=${text}`, "--stdin"], {
      cwd: t.testdir({}),
      input: "",
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C" },
    });
    return !/invalid filter-spec|expected something after combine|must escape char|sparse:path filters|expected 'tree|valid object type/i.test(
      run.stderr,
    );
  };
  // Git takes these as filters and we do not: a lone "%" is text to it, a number wraps, an empty
  // name fails later.
  const ours = new Set([
    "combine:blob%3",
    "combine:blob%zz",
    "blob:limit=-1",
    "tree:-1",
    "combine:combine:blob:none",
    "sparse:oid=",
  ]);
  for (const text of BAD.filter((each) => !ours.has(each) && each !== ""))
    t.notOk(accepts(text), JSON.stringify(text));
  for (const text of [
    "combine:blob:limit=1024+sparse:oid=main:a%20b%2bc",
    "combine:blob:none+tree:3",
    "object:type=tag",
    "tree:0",
  ]) {
    t.ok(accepts(text), text);
    t.equal(formatFilter(parseFilter(text)), text, "canonical already");
  }
});

t.test("nesting is bounded", async (t) => {
  let text = "blob:none";
  for (let depth = 0; depth < 6; depth++) text = `combine:${encodeURIComponent(text)}+tree:1`;
  t.equal(formatFilter(parseFilter(text)), "combine:blob:none+tree:1");
  const deep = `${"combine:".repeat(100)}blob:none`;
  t.equal(
    faultOf(() => parseFilter(deep)),
    "wire/bad-filter",
  );
});

t.test("random combinations come back from their text", async (t) => {
  const random = seeded(9);
  const simple = () =>
    random.pick([
      () => "blob:none",
      () => `blob:limit=${random.below(5_000)}`,
      () => `tree:${random.below(9)}`,
      () =>
        `sparse:oid=${Buffer.from(random.bytes(1 + random.below(6)))
          .toString("latin1")
          .replace(/\0/g, "x")}`,
    ])();
  const encode = (text: string) =>
    Array.from(text, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, "0")}`).join("");
  for (let run = 0; run < 200; run++) {
    const filter = parseFilter(
      `combine:${Array.from({ length: 1 + random.below(4) }, () => encode(simple())).join("+")}`,
    );
    t.same(parseFilter(formatFilter(filter)), filter);
  }
});
