/** Names of blobs: what may be one, and that nothing outside the root is. */
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { checkKey, isComponent } from "../../src/store/key.js";

const refusal = (key: string): string => {
  try {
    checkKey(key);
    return "taken";
  } catch (error) {
    return error instanceof Fault ? error.code : String(error);
  }
};

t.test("keys are taken as they are", async (t) => {
  for (const key of ["a", "a/b/c", "repos/00ff/git/manifest", "~tmp", "a.b", "...", "x@y=z+1-_"])
    t.equal(checkKey(key), key);
});

t.test("what leads out of the root, or is empty, or another alphabet, is none", async (t) => {
  const bad = ["", ".", "..", "a/..", "../a", "a/./b", "a//b", "/a", "a/", "a b", "a\\b", "a\0b"];
  for (const key of [...bad, "ä", "a\n", "a?b", "a%2e", "a:b", "C:/a", "a*"])
    t.equal(refusal(key), "store/bad-key", JSON.stringify(key));
});

t.test("a thousand bytes are the most", async (t) => {
  t.equal(refusal("k".repeat(1_000)), "taken");
  t.equal(refusal("k".repeat(1_001)), "store/bad-key");
});

t.test("the fault shows the beginning of the key, quoted", async (t) => {
  const long = `\n${"x".repeat(5_000)}`;
  const shown = { key: JSON.stringify(long.slice(0, 100)) };
  t.throws(() => checkKey(long), { code: "store/bad-key", facts: shown });
});

t.test("a component has no slash", async (t) => {
  t.ok(isComponent("name"));
  for (const text of ["", ".", "..", "a/b"]) t.notOk(isComponent(text), JSON.stringify(text));
});
