/**
 * Repositories of our own by name: typed names are exact, one without a type finds the model, then
 * the dataset, then the space.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { commit, git, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

t.test("names with and without a type", { timeout: 120_000 }, async (t) => {
  const server = await startLakepack(t);
  const folder = await tempFolder(t);
  const work = join(folder, "work");
  await git(["init", "-q", work]);
  const push = async (path: string) => {
    await commit(work, path, { "which.txt": path });
    const run = await tryGit(["push", "-f", `${server.url}/${path}`, "main"], { cwd: work });
    t.equal(run.code, 0, run.stderr);
    return /remote: (created .*)/.exec(run.stderr)?.[1]?.trim();
  };
  let clones = 0;
  const which = async (path: string) => {
    const clone = join(folder, String(clones++));
    const run = await tryGit(["clone", `${server.url}/${path}`, clone]);
    if (run.code !== 0) return /not found/.test(run.stderr) ? "not found" : run.stderr;
    const warning = /remote: warning: (.*)/.exec(run.stderr)?.[1]?.trim();
    return `${await readFile(join(clone, "which.txt"), "utf8")}${warning === undefined ? "" : `; ${warning}`}`;
  };

  t.equal(await which("me/thing"), "not found");
  t.equal(await push("spaces/me/thing"), "created spaces/me/thing");
  t.equal(await which("me/thing.git"), "spaces/me/thing", "known from the first push on");
  t.equal(await which("models/me/thing.git"), "not found", "typed names are exact");
  t.equal(await push("datasets/me/thing.git"), "created datasets/me/thing");
  t.equal(
    await which("me/thing"),
    "datasets/me/thing.git; me/thing is several repositories, and this is the dataset; the space is at /spaces/me/thing.git",
  );
  t.equal(await push("me/thing.git"), undefined, "a push without a type goes to what is there");
  t.equal(await which("datasets/me/thing"), "me/thing.git");
  t.equal(await push("models/me/thing.git"), "created me/thing");
  const several =
    "me/thing is several repositories, and this is the model; the dataset is at /datasets/me/thing.git, the space is at /spaces/me/thing.git";
  t.equal(await which("me/thing.git"), `models/me/thing.git; ${several}`);
  t.equal(await which("models/me/thing"), "models/me/thing.git");
  t.equal(await which("spaces/me/thing.git"), "spaces/me/thing");
  await commit(work, "again", { "which.txt": "again" });
  const said = await tryGit(["push", `${server.url}/me/thing.git`, "main"], { cwd: work });
  t.match(said.stderr, `remote: warning: ${several}`, "who pushes is told too");
  t.equal(await which("models/me/thing"), "again");
  t.equal(
    await push("me/other.git"),
    "created me/other",
    "and makes a model where there is nothing",
  );
  t.equal(await which("models/me/other"), "me/other.git");
});
