/**
 * First pushes to one new name on two nodes at once: they make one repository, and each pusher is
 * told what became of his refs, without having to push again.
 */
import { join } from "node:path";
import t from "tap";
import { skipFleet, startFleet } from "../support/fleet-rig.js";
import { checkFsck, commit, git, tryGit } from "../support/harness.js";
import { postgres } from "../support/postgres.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(300_000);

const ROUNDS = 6;
const PUSHERS = 6;

t.test("different branches all land in one repository", { skip: skipFleet }, async (t) => {
  const fleet = await startFleet(t);
  const nodes = [await fleet.node(), await fleet.node()];
  const folder = await tempFolder(t);
  const works = Array.from({ length: PUSHERS }, (_, at) => join(folder, `work-${at}`));
  const oids = await Promise.all(
    works.map(async (work, at) => {
      await git(["init", "-q", work]);
      return commit(work, `by ${at}`, { "a.txt": `${at}\n` });
    }),
  );
  const rowsOf = async (title: string) =>
    (await postgres()).sql(
      `SELECT state FROM repositories WHERE title = '${title}'`,
      fleet.env["LAKEPACK_DATABASE"],
    );
  for (let round = 0; round < ROUNDS; round++) {
    const name = `ns/first-${round}`;
    const url = (at: number) => `${nodes[at % nodes.length]?.url}/${name}.git`;
    const runs = await Promise.all(
      works.map((cwd, at) =>
        // Half of them want the same branch: one of these gets it.
        tryGit(["push", url(at), `HEAD:refs/heads/${at < 3 ? "same" : `b${at}`}`], { cwd }),
      ),
    );
    const told = runs.map(({ code }) => code === 0);
    const says = runs.map(({ stderr }) => stderr).join("\n");
    t.equal(told.slice(0, 3).filter(Boolean).length, 1, `${name}: one has the branch: ${says}`);
    t.same(told.slice(3), [true, true, true], `${name}: branches of their own land: ${says}`);
    for (const { code, stderr } of runs)
      if (code !== 0) t.match(stderr, /already exists; fetch first|\[rejected\]/, stderr);
    const refs = [`${oids[told.indexOf(true)]}\trefs/heads/same`]
      .concat([3, 4, 5].map((at) => `${oids[at]}\trefs/heads/b${at}`))
      .sort();
    for (const at of [0, 1])
      t.same((await git(["ls-remote", url(at), "refs/heads/*"])).split("\n").sort(), refs, name);
    t.same(await rowsOf(name), [{ state: "made" }], `${name}: one row`);
    const copy = join(folder, `copy-${round}`);
    await git(["clone", "-q", "--mirror", url(round), copy]);
    await checkFsck(t, copy);
  }
});
