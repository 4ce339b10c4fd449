import t from "tap";
import { concat } from "../../src/base/bytes.js";
import { LIMITS } from "../../src/base/limits.js";
import { LsRefsArguments, lsRefsAnswer } from "../../src/wire/ls-refs.js";
import { seeded } from "../support/random.js";
import { A, B, C, faultOf, lines } from "../support/wire-requests.js";

const REFS = [
  { name: "refs/heads/main", oid: A },
  { name: "refs/heads/main-2", oid: B },
  { name: "refs/heads/zzz", oid: B },
  { name: "refs/pull/1", oid: B },
  { name: "refs/tags/v1", oid: C, peeled: A },
  { name: "refs/tags/\xff", oid: B },
];

function ask(args: readonly string[], head = "refs/heads/main", refs = REFS): string[] {
  const reader = new LsRefsArguments();
  for (const line of args) reader.take(line);
  return lines(concat([...lsRefsAnswer(reader.finish(), { head, refs })]));
}

t.test("all refs, HEAD first", async (t) => {
  t.same(ask([]), [`${A} HEAD`, ...REFS.map((ref) => `${ref.oid} ${ref.name}`), "flush"]);
});

t.test("peel and symrefs add attributes", async (t) => {
  const listed = ask(["peel", "symrefs"]);
  t.equal(listed[0], `${A} HEAD symref-target:refs/heads/main`);
  t.ok(listed.includes(`${C} refs/tags/v1 peeled:${A}`));
  const tagged = ask(["peel", "symrefs"], "refs/tags/v1");
  t.equal(tagged[0], `${C} HEAD symref-target:refs/tags/v1 peeled:${A}`);
});

t.test("prefixes choose, overlap and repeat without doubling", async (t) => {
  t.same(ask(["ref-prefix refs/heads/"]), [
    `${A} refs/heads/main`,
    `${B} refs/heads/main-2`,
    `${B} refs/heads/zzz`,
    "flush",
  ]);
  t.same(ask(["ref-prefix HEAD"]), [`${A} HEAD`, "flush"]);
  t.same(
    ask([
      "ref-prefix refs/heads/main",
      "ref-prefix refs/heads/",
      "ref-prefix refs/heads/main",
      "ref-prefix refs/tags/\xff",
    ]),
    [
      `${A} refs/heads/main`,
      `${B} refs/heads/main-2`,
      `${B} refs/heads/zzz`,
      `${B} refs/tags/\xff`,
      "flush",
    ],
  );
  t.same(ask(["ref-prefix nothing"]), ["flush"]);
  t.equal(ask(["ref-prefix "]).length, REFS.length + 2, "an empty prefix covers all");
});

t.test("an unborn HEAD is told only to who asks for it with symrefs", async (t) => {
  t.same(ask(["unborn", "symrefs", "ref-prefix HEAD"], "refs/heads/trunk"), [
    "unborn HEAD symref-target:refs/heads/trunk",
    "flush",
  ]);
  t.same(ask(["symrefs", "ref-prefix HEAD"], "refs/heads/trunk"), ["flush"]);
  t.same(ask(["unborn", "ref-prefix HEAD"], "refs/heads/trunk"), ["flush"]);
  t.same(
    ask(["unborn", "symrefs", "ref-prefix refs/"], "refs/heads/trunk", []),
    ["flush"],
    "HEAD has no prefix",
  );
});

t.test("from 65536 prefixes on all are ignored, as Git does", async (t) => {
  const many = Array.from({ length: LIMITS.refPrefixesMax }, () => "ref-prefix nothing");
  t.equal(ask(many).length, REFS.length + 2);
  t.same(ask(many.slice(1)), ["flush"], "one fewer is honoured");
});

t.test("anything else is a fault", async (t) => {
  for (const line of ["", "Peel", "peel ", "ref-prefix", "unknown", "peel=1", "have x"])
    t.equal(
      faultOf(() => ask([line])),
      "wire/bad-request",
      line,
    );
  const reader = new LsRefsArguments();
  t.equal(
    faultOf(() => {
      for (let at = 0; at <= LIMITS.fetchLinesMax; at++) reader.take("peel");
    }),
    "wire/too-much",
  );
});

t.test("random prefixes agree with a plain filter", async (t) => {
  const random = seeded(21);
  for (let run = 0; run < 200; run++) {
    const word = () =>
      Array.from({ length: 1 + random.below(3) }, () =>
        random.pick(["a", "b", "/", "\xff", "a/"]),
      ).join("");
    const refs = [...new Set(Array.from({ length: 15 }, word))]
      .sort()
      .map((name) => ({ name, oid: A }));
    const prefixes = Array.from({ length: 1 + random.below(4) }, word);
    const expected = refs
      .filter((ref) => prefixes.some((prefix) => ref.name.startsWith(prefix)))
      .map((ref) => `${A} ${ref.name}`);
    t.same(
      ask(
        prefixes.map((prefix) => `ref-prefix ${prefix}`),
        "none",
        refs,
      ),
      [...expected, "flush"],
    );
  }
});
