/** Headers of commits as bytes, beside a reading of them as text. */
import t from "tap";
import { CommitCursor, parseCommit } from "../../src/git/commit.js";

const [TREE, ONE, TWO] = ["a1", "0b", "ff"].map((byte) => byte.repeat(20)) as [
  string,
  string,
  string,
];
const AUTHOR = "author A U Thor <a@b.c> 1 +0000";
const bytes = (text: string) => Buffer.from(text, "latin1");

/** The same by regular expressions. */
function reference(text: string): { tree: string; parents: string[]; date: number } | undefined {
  const empty = text.indexOf("\n\n");
  const header = empty < 0 ? text : text.slice(0, empty);
  const links = /^tree ([0-9a-f]{40})(?:\n|$)((?:parent [0-9a-f]{40}(?:\n|$))*)(?!parent )/.exec(
    header,
  );
  if (links === null) return undefined;
  const line = /\ncommitter (.*)/.exec(header)?.[1] ?? "";
  const date = /^ *(\d{1,15})(?: |$)/.exec(line.slice(line.lastIndexOf(">") + 1))?.[1];
  return {
    tree: links[1] as string,
    parents: [...(links[2] as string).matchAll(/[0-9a-f]{40}/g)].map(([oid]) => oid),
    date: Number(date ?? 0),
  };
}

function read(text: string): ReturnType<typeof reference> {
  try {
    const { tree, parents, date } = parseCommit(bytes(text));
    return { tree, parents: [...parents], date };
  } catch {
    return undefined;
  }
}

t.test("links and dates of commits as they are and as they should not be", async (t) => {
  const whole = (committer: string, parents = "") =>
    `tree ${TREE}\n${parents}${AUTHOR}\n${committer}\n\nmessage\ncommitter later <x> 99 +0000\n`;
  const cases = [
    whole("committer C <c@d> 1700000000 +0100"),
    whole("committer C <c@d> 1700000000 +0100", `parent ${ONE}\nparent ${TWO}\n`),
    whole("committer C <c@d> 1700000000", `parent ${ONE}\n`),
    whole("committer C <<c>> x>  12 +0000"),
    whole("committer no mail 12 +0000"),
    whole("committer 12"),
    whole("committer C <c@d> 123456789012345 +0000"),
    whole("committer C <c@d> 1234567890123456 +0000"),
    whole("committer C <c@d> 12x +0000"),
    whole("committer C <c@d> -5 +0000"),
    whole("committer C <c@d> "),
    whole("comitter C <c@d> 5 +0000"),
    `tree ${TREE}`,
    `tree ${TREE}\n`,
    `tree ${TREE}\n\ncommitter C <c@d> 5 +0000`,
    `tree ${TREE}\nparent ${ONE}`,
    `tree ${TREE}\nparent ${ONE.slice(1)}\n`,
    `tree ${TREE}\nparent ${ONE.toUpperCase()}\n`,
    `tree ${TREE} \nparent ${ONE}\n`,
    `tree ${TREE.slice(1)}g\n`,
    `Tree ${TREE}\n`,
    `parent ${ONE}\ntree ${TREE}\n`,
    "tree ",
    "",
    whole("committer C <c@d> 7 +0000", `parent ${ONE}\n`.repeat(100)),
  ];
  for (const text of cases) t.same(read(text), reference(text), JSON.stringify(text.slice(0, 120)));
});

t.test("ten thousand mutations of a commit are read alike", async (t) => {
  const text = `tree ${TREE}\nparent ${ONE}\nparent ${TWO}\n${AUTHOR}\ncommitter C O <c@d> 1700000000 +0100\nencoding x\n\nmessage\n`;
  let state = 5;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const pieces = ["\n", " ", ">", "0", "9", "a", "F", "parent ", "committer ", "\n\n", "tree "];
  for (let round = 0; round < 10_000; round++) {
    let changed = text;
    for (let change = random(3); change >= 0; change--) {
      const at = random(changed.length + 1);
      changed =
        changed.slice(0, at) +
        (random(3) === 0 ? "" : (pieces[random(pieces.length)] as string)) +
        changed.slice(at + random(4));
    }
    const [is, should] = [read(changed), reference(changed)];
    if (JSON.stringify(is) !== JSON.stringify(should)) t.same(is, should, JSON.stringify(changed));
  }
  t.pass("they were");
});

t.test("one cursor reads many, of any number of parents", async (t) => {
  const cursor = new CommitCursor();
  for (const count of [0, 3, 50, 1, 0]) {
    cursor.read(
      bytes(
        `tree ${TREE}\n${`parent ${ONE}\n`.repeat(count)}${AUTHOR}\ncommitter C <c@d> ${count} +0000\n\n`,
      ),
    );
    t.match(cursor, { parentCount: count, date: count });
    t.equal(
      Buffer.from(cursor.ids.subarray(0, 20 * (count + 1))).toString("hex"),
      TREE + ONE.repeat(count),
    );
  }
});
