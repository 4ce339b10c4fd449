/** Answers that list refs are made once per state of the refs and question, within bounds. */
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { RefAnswers } from "../../src/serve/fetch/ref-answers.js";

const answers = new RefAnswers();

t.test("where it is the whole reply its length is said before, and only then", async (t) => {
  const expected: unknown[] = [];
  const output = {
    write: async () => undefined,
    expect: (bytes: number | "large") => void expected.push(bytes),
  };
  const state = {};
  const ask = (isWhole: boolean) =>
    answers.write(output, state, "a", () => [Buffer.from("abc")], isWhole);
  await ask(true);
  await ask(false);
  t.same(expected, []);
  await ask(true);
  t.same(expected, [3]);
});

function asker(state: object) {
  let made = 0;
  const ask = async (question: string, parts: readonly string[] = ["one", "two"]) => {
    const written: string[] = [];
    const output = {
      write: async (bytes: Uint8Array) => void written.push(Buffer.from(bytes).toString()),
    };
    const make = () => {
      made++;
      return parts.map((part) => Buffer.from(part));
    };
    await answers.write(output, state, question, make);
    return written.join("");
  };
  return { ask, made: () => made };
}

t.test("the same question about the same refs is answered from what was made", async (t) => {
  const { ask, made } = asker({});
  t.equal(await ask("a"), "onetwo");
  t.equal(await ask("a"), "onetwo");
  t.equal(made(), 1);
  t.equal(await ask("b"), "onetwo");
  t.equal(made(), 2);
});

t.test("another state of the refs is asked anew", async (t) => {
  const [before, after] = [asker({}), asker({})];
  await before.ask("a");
  t.equal(await after.ask("a", ["moved"]), "moved");
  t.equal(await before.ask("a"), "onetwo");
});

t.test("what is too large to keep goes out whole all the same, each time made anew", async (t) => {
  const { ask, made } = asker({});
  const piece = "x".repeat(1024 * 1024);
  const pieces = Array.from({ length: LIMITS.refAnswerBytesMax / piece.length + 1 }, () => piece);
  t.equal((await ask("a", pieces)).length, pieces.length * piece.length);
  t.equal((await ask("a", pieces)).length, pieces.length * piece.length);
  t.equal(made(), 2);
  const long = "q".repeat(LIMITS.refQuestionBytesMax + 1);
  await ask(long);
  await ask(long);
  t.equal(made(), 4, "nor is an answer kept whose question is too long");
});
