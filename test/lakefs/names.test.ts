import t from "tap";
import { fromLakefsId, type LakefsRefKind, toLakefsId } from "../../src/lakefs/rules/ref-names.js";
import { kohakuHubName } from "../../src/lakefs/rules/hub-names.js";
import { isRefName } from "../../src/git/ref-name.js";
import { latin1, utf8 } from "../../src/base/bytes.js";
import { Random } from "../../bench/random.js";

const BRANCH_ID = /^\w[-\w]*$/;

t.test("branch names and their ids, by hand", async (t) => {
  const vectors: readonly (readonly [name: string, id: string])[] = [
    ["main", "main"],
    ["feature/x.1", "feature_-2fx_-2e1"],
    ["-x", "_-2dx"],
    ["a-b_c", "a-b_c"],
    ["a_-2f", "a_-5f-2f"],
    ["a_-2F", "a_-2F"],
    ["_", "_"],
    ["__-00", "__-5f-00"],
    [latin1(utf8("é")), "_-c3_-a9"],
    ["\xff", "_-ff"],
  ];
  for (const [name, id] of vectors) {
    t.equal(toLakefsId("branch", name), id);
    t.equal(fromLakefsId("branch", id), name);
  }
});

t.test("tag names keep what tag ids can hold", async (t) => {
  const vectors: readonly (readonly [name: string, id: string])[] = [
    ["v1.0", "v1.0"],
    ["release/v1.0", "release_-2fv1.0"],
    ["@", "_-40"],
    ["a+b=c,d", "a+b=c,d"],
    [latin1(utf8("vé")), "vé"],
    ["v\xff", "v_-ff"],
    ["-v", "_-2dv"],
  ];
  for (const [name, id] of vectors) {
    t.equal(toLakefsId("tag", name), id);
    t.equal(fromLakefsId("tag", id), name);
  }
});

t.test("what is not canonical, or no Git name, decodes to nothing", async (t) => {
  for (const id of [
    "a_-61",
    "_-2e_-2e",
    "_-2f",
    "a_-2f",
    "_-2e",
    "a_-2elock",
    "a_-20b",
    "a_-0a",
    "a_-7e",
  ])
    t.equal(fromLakefsId("branch", id), undefined, id);
  for (const id of ["a~b", ".a", "a_-61"]) t.equal(fromLakefsId("tag", id), undefined, id);
});

t.test("every Git name has an id of its own that leads back to it", async (t) => {
  const random = new Random(11);
  const alphabet = ["_", "-", "2", "f", "5", "/", ".", "a", "@", "+", "\xc3\xa9", "\xff", "Z"];
  const seen: Record<LakefsRefKind, Map<string, string>> = { branch: new Map(), tag: new Map() };
  for (let round = 0; round < 20_000; round++) {
    const name = Array.from(
      { length: 1 + random.below(8) },
      () => alphabet[random.below(alphabet.length)],
    ).join("");
    if (!isRefName(`refs/heads/${name}`)) continue;
    for (const kind of ["branch", "tag"] as const) {
      const id = toLakefsId(kind, name);
      if (kind === "branch" && !BRANCH_ID.test(id)) t.fail(`${name} → ${id}`);
      if (fromLakefsId(kind, id) !== name)
        t.fail(`${kind} ${name} → ${id} → ${fromLakefsId(kind, id)}`);
      if ((seen[kind].get(id) ?? name) !== name) t.fail(`${id} for two names`);
      seen[kind].set(id, name);
    }
  }
  t.ok(seen.branch.size > 1_000);
});

t.test("KohakuHub's names", async (t) => {
  // Vectors printed by KohakuHub's own function.
  t.equal(kohakuHubName("model", "org/simple"), "m-org-simple-5y5a0od03l3nlvy3nlse34");
  t.equal(kohakuHubName("dataset", "org/my_data.v2"), "d-org-my-data-v2-4io4xpxz5p1c5uqvnc8l7t");
  t.equal(kohakuHubName("space", "Org/My_Space"), "s-org-my-space-90vu3u0oa8qv8i1g5cw7lq");
  t.equal(
    kohakuHubName("model", "org/very-long-repository-name-with-version-v2.3.4-final"),
    "m-org-very-long-repository-name-with-ver-5e4x8lxmf9cbqti5kc6128",
  );
});
