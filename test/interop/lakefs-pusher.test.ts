/**
 * The account that pushed is in lakeFS: as the committer, in each commit's metadata, and in what
 * hooks are told. Git's author stays what it is.
 */
import { join } from "node:path";
import t from "tap";
import { actionFile, putActions, startHooks } from "../support/hooks-rig.js";
import { Source } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { startGuarded } from "../support/accounts-rig.js";
import { commit, git, remoteRefs } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import {
  emptyRepository,
  headOf,
  settingsFor,
  signal,
  startBeside,
} from "../support/lakefs-rig.js";

t.setTimeout(180_000);

t.test("who pushed is in each lakeFS commit", { skip: skipLakefs, timeout: 180_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const name = await emptyRepository(lakefs, "pusher");
  const hooks = await startHooks(t);
  await putActions(new Source(lakefs.client, name), {
    "told.yaml": actionFile("told", hooks.url, ["pre-commit", "pre-merge", "post-merge"]),
  });
  const server = await startGuarded(t, { env: settingsFor(lakefs) });
  const token = await server.user("ada");
  await server.command("repo.create", { name: "ada/model", lakefs: name, visibility: "private" });
  const url = `${server.url.replace("://", `://ada:${token}@`)}/ada/model.git`;
  const work = join(await tempFolder(t), "work");
  await git(["clone", "-q", url, work]);
  await hooks.take();
  await commit(work, "one", { a: "1" });
  await commit(work, "two", { a: "2" });
  await git(["tag", "-a", "-m", "annotated", "v1"], { cwd: work });
  await git(["push", "-q", "origin", "main", "v1"], { cwd: work });

  const author = await git(["log", "-1", "--format=%an <%ae>"], { cwd: work });
  const who = { "lakepack.pusher": "ada", "lakepack.author": author };
  const head = await headOf(lakefs, name);
  const before = await lakefs.client.in(name).getCommit(head.parents[0] as string, signal);
  const tag = await lakefs.client
    .in(name)
    .getCommit((await lakefs.client.in(name).getTag("v1", signal)).commit_id, signal);
  for (const record of [head, before, tag])
    t.match(
      record,
      { committer: "ada", metadata: { ...who, "lakepack.author": /<.*>$/ } },
      record.message,
    );
  t.equal(head.metadata?.["lakepack.author"], author);

  const told = await hooks.take();
  t.same(
    new Set(told.map(({ event_type }) => event_type)),
    new Set(["pre-commit", "pre-merge", "post-merge"]),
  );
  for (const { event_type, commit_metadata } of told)
    t.match(commit_metadata, { "lakepack.pusher": "ada" }, event_type);

  const other = await startBeside(t, lakefs);
  const seen = (lines: readonly string[]) => lines.filter((line) => !line.includes("HEAD"));
  t.same(
    seen(await remoteRefs(`${other.url}/lakefs/${name}.git`)),
    seen(await remoteRefs(url)),
    "no object id depends on it",
  );
  await commit(work, "three", { a: "3" });
  await git(["push", "-q", `${other.url}/lakefs/${name}.git`, "main"], { cwd: work });
  const unasked = await headOf(lakefs, name);
  t.same(
    [unasked.committer, unasked.metadata?.["lakepack.pusher"]],
    [author, undefined],
    "where nobody is asked it is the author",
  );
});
