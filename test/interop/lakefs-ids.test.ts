/** What stock git and people are told of a lakeFS repository: what it cannot do, both ids of its commits, what of it is not in Git. */
import { join } from "node:path";
import t from "tap";
import { skipLakefs, startLakefs } from "../lakefs/servers.js";
import { commit, git, tempFolder, tryGit } from "./harness.js";
import { seed, signal, startBeside } from "./lakefs-beside.js";
import { advertised } from "./raw-fetch.js";
import { command, postPush } from "./raw-push.js";

const ZERO = "0".repeat(40);

t.test("a lakeFS repository, told of", { skip: skipLakefs, timeout: 180_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const { client } = lakefs;
  await seed(lakefs, "demo", { "README.md": "# demo\n" });
  const server = await startBeside(t, lakefs);
  const url = `${server.url}/lakefs/demo.git`;
  const folder = await tempFolder(t);

  await t.test("atomic is not offered there, refused when asked for all the same, and offered beside it", async (t) => {
    for (const version of [0, 1] as const) {
      t.notOk((await advertised(server, "lakefs/demo", version, "git-receive-pack")).includes("atomic"), `version ${version}`);
      t.ok((await advertised(server, "me/own", version, "git-receive-pack")).includes("atomic"), `version ${version}, a repository of our own`);
    }
    const work = join(folder, "atomic");
    await git(["clone", "-q", url, work]);
    const head = await commit(work, "next", { "next.txt": "n\n" });
    const stock = await tryGit(["push", "--atomic", "origin", "main"], { cwd: work });
    t.not(stock.code, 0);
    t.match(stock.stderr, /the receiving end does not support --atomic push/);
    const raw = await postPush(server, "/lakefs/demo.git", [command(ZERO, head, "refs/heads/x", " report-status atomic")]);
    t.match(raw.body.toString(), /^[0-9a-f]{4}ERR a capability or argument was not advertised \(name: atomic\)/);
    t.equal((await client.listBranches("demo", {}, signal).next()).value?.id, "main", "no branch was made");
    await git(["push", "-q", "--atomic", `${server.url}/me/own.git`, "main"], { cwd: work });
  });
});
