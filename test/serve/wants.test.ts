/** A client may have tips and objects they reach, and nothing else. */
import t, { type Test } from "tap";
import { ZERO_OID } from "../../src/git/oid.js";
import { UNRECORDED } from "../../src/serve/conversation/request-record.js";
import {
  type FetchContext,
  openContext,
  type UploadPackDeps,
} from "../../src/serve/fetch/context.js";
import { checkWants, Sight, visibleOf } from "../../src/serve/fetch/wants.js";
import {
  aBlob,
  aCommit,
  aHistory,
  aTag,
  aTree,
  type HandObject,
  NEVER,
  type OwnRepository,
  ownRepository,
} from "../support/own-repository.js";
import { Reached } from "../../src/serve/fetch/reached.js";

const ABSENT = "f".repeat(40);

interface Scene {
  readonly own: OwnRepository;
  /** Commits on main, oldest first. */
  readonly one: HandObject;
  readonly two: HandObject;
  /** Tree of `one`. */
  readonly tree: HandObject;
  readonly file: HandObject;
  /** An annotated tag of `one`. */
  readonly tag: HandObject;
  /** A commit that no ref reaches, stored beside the others. */
  readonly hidden: HandObject;
  open(more?: Partial<UploadPackDeps>, signal?: AbortSignal): Promise<FetchContext>;
}

async function scene(t: Test): Promise<Scene> {
  const own = await ownRepository(t);
  const one = aHistory("one");
  const two = aHistory("two", one.commit);
  const hidden = aHistory("hidden");
  const tag = aTag("v1", "commit", one.commit);
  await own.store([...one.objects, ...two.objects, ...hidden.objects, tag.entry]);
  await own.point("refs/heads/main", two.commit.oid);
  await own.point("refs/tags/v1", tag.oid, one.commit.oid);
  const file = aBlob("content of one\n");
  const { repository, pool } = own;
  const reached = new Reached();
  return {
    own,
    one: one.commit,
    two: two.commit,
    tree: aTree({ file }),
    file,
    tag,
    hidden: hidden.commit,
    open(more = {}, signal = NEVER) {
      const deps = { pool, reached, allowAnyWant: false, ...more } as UploadPackDeps;
      return openContext({ request: UNRECORDED, repository, signal, stateless: true }, deps);
    },
  };
}

async function refused(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: { readonly code: string; readonly facts: { readonly oid?: unknown } }) =>
      error.facts.oid ?? error.code,
  );
}

t.test("each kind of id, by what the server allows", async (t) => {
  const { own, one, two, tree, file, tag, hidden, open } = await scene(t);
  const cases: readonly (readonly [
    what: string,
    oid: string,
    tipsOnly: boolean,
    reachable: boolean,
    any: boolean,
  ])[] = [
    ["a branch's tip", two.oid, true, true, true],
    ["a tag", tag.oid, true, true, true],
    ["what a tag points at", one.oid, true, true, true],
    ["a tree below", tree.oid, false, true, true],
    ["a file below", file.oid, false, true, true],
    ["what no ref reaches", hidden.oid, false, false, true],
    ["what is not here", ABSENT, false, false, false],
    ["the null id", ZERO_OID, false, false, false],
  ];
  for (const [what, oid, tips, reachable, any] of cases) {
    const check = async (tipsOnly: boolean, allowAnyWant: boolean) =>
      refused(checkWants(await open({ allowAnyWant }), [two.oid, oid], tipsOnly));
    t.equal(await check(true, false), tips ? undefined : oid, `${what}: tips only`);
    t.equal(await check(false, false), reachable ? undefined : oid, `${what}: reachable`);
    t.equal(await check(false, true), any ? undefined : oid, `${what}: anything`);
  }
  t.ok(own.pool.ran.includes("pack-objects/reachable"));
});

t.test("the first that may not be had is named", async (t) => {
  const { one, hidden, tree, open } = await scene(t);
  const wants = [one.oid, tree.oid, hidden.oid, ABSENT];
  t.equal(await refused(checkWants(await open(), wants, false)), ABSENT, "what is not here first");
  t.equal(await refused(checkWants(await open(), wants.slice(0, 3), false)), hidden.oid);
});

t.test(
  "tips cost no walk; what they reach costs one for each state of refs and packs",
  async (t) => {
    const { own, one, two, tree, file, tag, hidden, open } = await scene(t);
    const walks = () => own.pool.ran.filter((name) => name === "pack-objects/reachable").length;
    await checkWants(await open(), [two.oid, tag.oid, one.oid], false);
    t.equal(walks(), 0);
    await checkWants(await open(), [tree.oid], false);
    await checkWants(await open(), [file.oid], false);
    t.equal(walks(), 1);
    await own.point("refs/heads/found", hidden.oid);
    const below = aBlob("content of hidden\n");
    await checkWants(await open(), [below.oid], false);
    t.equal(walks(), 2, "a ref has come");
    const more = aHistory("more");
    await own.store(more.objects);
    t.equal(await refused(checkWants(await open(), [more.commit.oid], false)), more.commit.oid);
    t.equal(walks(), 3, "a pack has come");
  },
);

t.test(
  "what a pack names in another is walked to, though all of the first is reached",
  async (t) => {
    const { own, hidden, open } = await scene(t);
    const file = aBlob("in the first pack\n");
    const tree = aTree({ file });
    await own.store([file.entry, tree.entry, ...aHistory("hidden too").objects]);
    const commit = aCommit("in the second", tree);
    const second = await own.store([commit.entry]);
    t.ok(second.closed && !second.selfContained);
    await own.point("refs/heads/second", commit.oid);
    t.equal(await refused(checkWants(await open(), [file.oid], false)), undefined);
    t.equal(await refused(checkWants(await open(), [hidden.oid], false)), hidden.oid);
  },
);

t.test("many who ask at once share one walk", async (t) => {
  const { own, tree, file, open } = await scene(t);
  const contexts = await Promise.all(Array.from({ length: 8 }, () => open()));
  await Promise.all(
    contexts.map((context, at) => checkWants(context, [at % 2 ? tree.oid : file.oid], false)),
  );
  const walks = own.pool.ran.filter((name) => name === "pack-objects/reachable");
  t.equal(walks.length, 1);
});

t.test("what a ref reached is hidden again once the ref has gone", async (t) => {
  const { own, hidden, open } = await scene(t);
  const below = aBlob("content of hidden\n");
  await own.point("refs/heads/found", hidden.oid);
  t.equal(await refused(checkWants(await open(), [below.oid], false)), undefined);
  await own.point("refs/heads/found", ZERO_OID);
  t.equal(await refused(checkWants(await open(), [below.oid], false)), below.oid);
});

t.test("of ids that are named, the visible ones are left, in order and once", async (t) => {
  const { one, two, tree, hidden, open } = await scene(t);
  const named = [tree.oid, ABSENT, hidden.oid, two.oid, tree.oid, one.oid];
  t.same([...(await visibleOf(await open(), named))], [tree.oid, two.oid, one.oid]);
  t.same(
    [...(await visibleOf(await open({ allowAnyWant: true }), named))],
    [tree.oid, hidden.oid, two.oid, one.oid],
  );
});

t.test("one look at an id costs nothing where it is a tip or absent", async (t) => {
  const { own, two, tree, open } = await scene(t);
  const sight = await Sight.open(await open());
  t.equal(sight.sees(two.oid), true);
  t.equal(sight.sees(ABSENT), false);
  t.notOk(own.pool.ran.includes("pack-objects/reachable"));
  t.equal(await sight.sees(tree.oid), true);
});

t.test("who has gone waits for no walk", async (t) => {
  const { own, tree, open } = await scene(t);
  const abort = new AbortController();
  const context = await open({}, abort.signal);
  abort.abort();
  t.equal(await refused(checkWants(context, [tree.oid], false)), "base/aborted");
  t.notOk(own.pool.ran.includes("pack-objects/reachable"));
});
