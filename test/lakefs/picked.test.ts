/**
 * Commits that lakeFS does not find by their ids for ten minutes after a cherry-pick of them: which
 * calls are answered 404, which are not, and that a server that has never read them clones them at
 * once, with the ids and files of before.
 */
import { join } from "node:path";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import { walkToRoot } from "../../src/lakefs/agreed/root-commit.js";
import { lakefsCommitId } from "../../src/lakefs/api/commit-id.js";
import { asMade } from "../../src/lakefs/api/lost-commits.js";
import type { LakefsCommit } from "../../src/lakefs/api/types.js";
import { checkFsck, commit, git, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { signal, startBeside } from "../support/lakefs-rig.js";
import { isBefore, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(180_000);

const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );

t.test("after cherry-picks", { skip: skipLakefs }, async (t) => {
  const lakefs = await startLakefs(t);
  const { client } = lakefs;
  const name = "picked";
  await client.createRepository(
    { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
    signal,
  );
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const writer = await startBeside(t, lakefs);
  const url = `${writer.url}/lakefs/${name}.git`;
  const lakeIds: string[] = [];
  for (const count of ["base", "one", "two", "three", "head"]) {
    await commit(work, count, { [`${count}.txt`]: `${count}\n` });
    await git(["push", "-q", url, "main"], { cwd: work });
    lakeIds.push((await client.in(name).getBranch("main", signal)).commit_id);
  }
  const [base, one, two, three, head] = lakeIds as [string, string, string, string, string];
  const refs = (await git(["ls-remote", url, "main"])).slice(0, 40);
  t.equal(refs, await git(["rev-parse", "main"], { cwd: work }));
  const { meta_range_id: metarange } = await client.in(name).getCommit(two, signal);
  await client.in(name).createBranch({ name: "onto", source: base }, signal);
  const pick = (ref: string) =>
    client.http.json({
      name: "test",
      method: "POST",
      path: `/repositories/${name}/branches/onto/cherry-pick`,
      json: { ref },
      repeatable: false,
      signal,
    });
  // The head, and two in a row: children first, as lakeFS itself does not find the parent of what
  // it picks.
  for (const id of [head, two, one]) await pick(id);

  await t.test("which calls lakeFS answers 404", async (t) => {
    const raw = new LakefsServer(lakefs.access);
    const shows = {
      read: (ref: string) => raw.in(name).commitAt(ref, signal),
      log: (ref: string) => raw.in(name).logAt(ref, 3, signal),
    };
    for (const id of [one, two, head]) {
      for (const ref of [id, `${id}~0`, `${id}^0`, `${id}~1`]) {
        // What a modifier begins with is taken through the same hash.
        for (const [call, show] of Object.entries(shows)) {
          const takesNoModifier = call === "log" && ref !== id && (await isBefore(lakefs, 61));
          t.equal(
            await faultOf(show(ref)),
            takesNoModifier ? "lakefs/bad-request" : "lakefs/missing",
            `${call} ${ref.slice(60)}`,
          );
        }
      }
    }
    t.equal((await shows.read(three)).id, three, "one that was not picked is found");
    t.equal(
      (await shows.read(`${three}^1`)).id,
      two,
      "and leads to its parent, whose id is not hashed then",
    );
    t.equal((await shows.read(`${three}^1^1`)).id, one);
    t.same(
      (await shows.log("main")).results.map(({ id }) => id),
      [head, three, two],
      "so does a branch",
    );
    t.equal(
      await faultOf(
        raw.http.json({
          name: "ls",
          method: "GET",
          path: `/repositories/${name}/refs/${two}/objects/ls`,
          repeatable: true,
          signal,
        }),
      ),
      "lakefs/missing",
    );
    t.equal(
      await faultOf(raw.in(name).readRange("meta_range", metarange, 1_000_000, signal)),
      "none",
      "its tree is found by itself",
    );
    t.equal(
      (await shows.read(`${three}^1`)).metadata?.["cherry-pick-origin"],
      two,
      "the mark of it",
    );
  });

  await t.test("a server that has never read them clones at once", async (t) => {
    const cold = await startBeside(t, lakefs);
    const from = `${cold.url}/lakefs/${name}.git`;
    t.equal((await git(["ls-remote", from, "main"])).slice(0, 40), refs, "the same ids");
    const clone = join(await tempFolder(t), "clone");
    const run = await tryGit(["clone", "-q", from, clone]);
    t.equal(run.code, 0, run.stderr);
    await checkFsck(t, clone);
    t.equal(
      await git(["ls-files"], { cwd: clone }),
      "base.txt\nhead.txt\none.txt\nthree.txt\ntwo.txt",
    );
    t.equal(
      await git(["log", "--format=%H"], { cwd: clone }),
      await git(["log", "--format=%H", "main"], { cwd: work }),
    );
    t.equal(
      await faultOf(new LakefsServer(lakefs.access).in(name).commitAt(head, signal)),
      "lakefs/missing",
      "while lakeFS still does not find them",
    );
  });

  await t.test("a push on top of such a head", async (t) => {
    await commit(work, "next", { "next.txt": "next\n" });
    const cold = await startBeside(t, lakefs);
    const run = await tryGit(["push", `${cold.url}/lakefs/${name}.git`, "main"], { cwd: work });
    t.equal(run.code, 0, run.stderr);
  });

  await t.test("every read by a full id finds another way", async (t) => {
    const fresh = () => new LakefsServer(lakefs.access);
    for (const id of [one, two, head]) {
      t.equal((await fresh().in(name).getCommit(id, signal)).id, id);
      t.equal(
        (await fresh().in(name).getCommit(id, signal)).metadata?.["cherry-pick-origin"],
        undefined,
        "as it was made",
      );
      const log = (await fresh().in(name).log(id, 2, signal)).results;
      t.same(
        log.map((one) => one.id),
        [id, log[0]?.parents[0]],
      );
      t.equal((await walkToRoot(fresh().in(name), id, signal)).parents.length, 0);
      t.ok(
        (await fresh().in(name).listObjects(id, "", signal)).results.some(
          ({ path }) => path === "base.txt",
        ),
      );
      t.equal((await fresh().in(name).statObject(id, "base.txt", signal)).path, "base.txt");
      t.equal(
        Buffer.from(await fresh().in(name).readObject(id, "base.txt", 100, signal)).toString(),
        "base\n",
      );
    }
    const changed: string[] = [];
    for await (const { path } of fresh().in(name).diff(one, head, signal)) changed.push(path);
    t.same(changed, ["head.txt", "three.txt", "two.txt"]);
    t.equal(
      await faultOf(fresh().in(name).statObject(two, "none.txt", signal)),
      "lakefs/missing",
      "what is not there is not there",
    );
    t.equal(await faultOf(fresh().in(name).getCommit("ab".repeat(32), signal)), "lakefs/missing");
  });
});

t.test(
  "metadata that a cherry-pick gave the picked commit are not taken for its own",
  async (t) => {
    const facts = {
      committer: "c",
      message: "m",
      metarangeId: "r",
      creationDate: 1,
      parents: ["ab".repeat(32)],
    };
    const commitOf = (own: Record<string, string>, shown: Record<string, string>): LakefsCommit => {
      const id = lakefsCommitId({ ...facts, metadata: own });
      const metadata = { ...own, ...shown, "cherry-pick-origin": id, "cherry-pick-committer": "c" };
      return {
        id,
        parents: facts.parents,
        committer: "c",
        message: "m",
        creation_date: 1,
        meta_range_id: "r",
        metadata,
      };
    };
    t.same(asMade(commitOf({ "lakepack.commit": "x", k: "v" }, {})).metadata, {
      "lakepack.commit": "x",
      k: "v",
    });
    t.throws(() => asMade(commitOf({ "lakepack.commit": "x" }, { "lakepack.commit": "forged" })), {
      code: "lakefs/bad-reply",
    });
    t.throws(() => asMade(commitOf({}, { "lakepack.tip": "forged" })), {
      code: "lakefs/bad-reply",
    });
    t.same(
      asMade(commitOf({}, { note: "x" })).metadata,
      { note: "x" },
      "of one that decides no id it does not matter",
    );
  },
);
