/**
 * Keys of lakeFS by who pushes: lakeFS's own permissions decide, and its log and hooks see the
 * person.
 */
import { createHash, randomBytes } from "node:crypto";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { lakepack } from "../support/lakepack-command.js";
import { actionFile, putActions, startHooks } from "../support/hooks-rig.js";
import { startProxy } from "../support/lakefs-proxy.js";
import { Source } from "../support/lakefs-reading.js";
import { type LakefsKey, skipLakefs, startSharedLakefs } from "../support/lakefs-servers.js";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { commit, git, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, headOf, settingsFor } from "../support/lakefs-rig.js";

t.setTimeout(240_000);

async function credentialsFile(
  t: Test,
  entries: readonly Readonly<Record<string, string>>[],
): Promise<string> {
  const file = join(await tempFolder(t), "credentials.yaml");
  await writeFile(file, JSON.stringify(entries), { mode: 0o600 });
  return file;
}

const entry = (
  of: Readonly<Record<string, string>>,
  { accessKeyId, secretAccessKey }: LakefsKey,
) => ({
  ...of,
  access_key_id: accessKeyId,
  secret_access_key: secretAccessKey,
});

t.test("pushes with the pusher's key", { skip: skipLakefs, timeout: 240_000 }, async (t) => {
  const lakefs = await startSharedLakefs(t);
  const name = await emptyRepository(lakefs, "keys");
  const hooks = await startHooks(t);
  const actions = {
    "told.yaml": actionFile("told", hooks.url, ["pre-commit", "post-merge", "post-create-tag"]),
  };
  await putActions(new Source(lakefs.client, name), actions);
  const [writes, reads] = [
    await lakefs.user("ada-in-lakefs", "Writers"),
    await lakefs.user("bob-in-lakefs", "Readers"),
  ];
  const file = await credentialsFile(t, [
    entry({ account: "ada", repository: "other-*" }, reads),
    entry({ account: "ada", repository: "keys-*" }, writes),
    entry({ account: "bob" }, reads),
  ]);
  const proxy = await startProxy(t, lakefs);
  const env = {
    ...settingsFor(lakefs, proxy.url),
    LAKEPACK_LAKEFS_CREDENTIALS: file,
    LAKEPACK_LAKEFS_FORCED_PUSHES: "true",
  };
  const server = await startGuarded(t, { env });
  const tokens = new Map<string, string>();
  for (const user of ["ada", "bob", "eve"]) tokens.set(user, await server.user(user));
  await server.command("repo.create", { name: "ada/model", lakefs: name, visibility: "private" });
  for (const user of ["bob", "eve"])
    await server.command("repo.grant", { name: "ada/model", user, role: "write" });
  const at = (user: string, of: Guarded = server) => of.at("ada/model", tokens.get(user));
  const work = join(await tempFolder(t), "work");
  await git(["clone", "-q", at("ada"), work]);
  await hooks.take();

  await t.test("lakeFS and its hooks see the person", async (t) => {
    await commit(work, "by ada", { a: "1" });
    await git(["tag", "v1"], { cwd: work });
    await git(["push", "-q", at("ada"), "main", "v1", "main:side"], { cwd: work });
    const told = await hooks.take();
    t.same([...new Set(told.map(({ event_type }) => event_type))].sort(), [
      "post-create-tag",
      "post-merge",
      "pre-commit",
    ]);
    for (const { event_type, committer } of told)
      if (event_type !== "post-create-tag") t.equal(committer, "ada-in-lakefs", event_type);
    t.equal((await headOf(lakefs, name)).parents.length, 1, "and the landing came to its end");
  });

  await t.test("lakeFS's permissions decide; nothing has changed", async (t) => {
    const [before, refs] = [(await headOf(lakefs, name)).id, await remoteRefs(at("ada"))];
    await commit(work, "by bob", { b: "1" });
    const refused = await tryGit(["push", at("bob"), "main", "main:new", ":side", ":v1"], {
      cwd: work,
    });
    t.equal(refused.code, 1);
    t.equal(refused.stderr.match(/\[remote rejected\]/g)?.length, 4, refused.stderr);
    t.match(refused.stderr, /lakeFS does not let this server do that|does not allow it/);
    t.same([(await headOf(lakefs, name)).id, await remoteRefs(at("ada"))], [before, refs]);
    await hooks.take();
  });

  await t.test(
    "Git LFS objects are uploaded with the person's key, and lakeFS's refusal is told",
    async (t) => {
      const content = randomBytes(700_000);
      const oid = createHash("sha256").update(content).digest("hex");
      const put = async (user: string, of: Guarded = server) => {
        const headers = {
          authorization: `Basic ${Buffer.from(`git:${tokens.get(user)}`).toString("base64")}`,
          accept: "application/vnd.git-lfs+json",
          "content-type": "application/vnd.git-lfs+json",
        };
        const body = JSON.stringify({
          operation: "upload",
          objects: [{ oid, size: content.length }],
        });
        const batch = await fetch(`${of.url}/ada/model.git/info/lfs/objects/batch`, {
          method: "POST",
          headers,
          body,
        });
        const { objects } = (await batch.json()) as {
          objects: { actions?: { upload: { href: string } } }[];
        };
        const href = objects[0]?.actions?.upload.href;
        if (href === undefined) return { status: 0, message: "it is there" };
        const answer = await fetch(href, { method: "PUT", body: content });
        return {
          status: answer.status,
          message: answer.ok ? "" : ((await answer.json()) as { message: string }).message,
        };
      };
      const keysOf = () => {
        const writes = proxy.calls.filter(
          ({ method, path }) =>
            /^(PUT|POST)$/.test(method) && /branches\/lakepack-lfs\/objects\?/.test(path),
        );
        return writes.map(
          ({ authorization = "" }) =>
            Buffer.from(authorization.slice(6), "base64").toString().split(":")[0],
        );
      };
      proxy.calls.length = 0;
      t.match(await put("bob"), {
        status: 403,
        message: /lakeFS does not let you store Git LFS objects in this repository/,
      });
      t.same(
        [...new Set(keysOf())].filter((key) => key !== reads.accessKeyId),
        [],
        "nothing is tried with another's key",
      );
      proxy.calls.length = 0;
      t.same(await put("ada"), { status: 200, message: "" });
      t.same(keysOf(), [writes.accessKeyId, writes.accessKeyId], "bytes and name");
      t.same(await put("bob"), { status: 0, message: "it is there" });
      const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${content.length}\n`;
      await git(["switch", "-q", "-c", "large"], { cwd: work });
      await commit(work, "a large file", {
        ".gitattributes": "*.bin filter=lfs -text\n",
        "w.bin": pointer,
      });
      await git(["push", "-q", at("ada"), "large"], { cwd: work });
      await git(["switch", "-q", "main"], { cwd: work });
      const { commit_id: head } = await lakefs.client
        .in(name)
        .getBranch("large", new AbortController().signal);
      t.ok(
        content.equals(
          await lakefs.client
            .in(name)
            .readObject(head, "w.bin", content.length, new AbortController().signal),
        ),
      );
      const refusing = await startGuarded(t, {
        env: { ...env, LAKEPACK_LAKEFS_WITHOUT_CREDENTIALS: "refuse" },
      });
      tokens.set("mia", await refusing.user("mia", { admin: true }));
      await refusing.command("repo.create", {
        name: "ada/model",
        lakefs: await emptyRepository(lakefs, "bare"),
        visibility: "private",
      });
      t.match(await put("mia", refusing), {
        status: 403,
        message: /no lakeFS credentials for you here/,
      });
      await hooks.take();
    },
  );

  await t.test(
    "without an entry the server's own key pushes, or nobody's, by the setting",
    async (t) => {
      await git(["push", "-q", at("eve"), "main"], { cwd: work });
      t.notMatch(
        (await hooks.take()).map(({ committer }) => committer),
        ["ada-in-lakefs"],
      );
      const strict = await startGuarded(t, {
        env: { ...env, LAKEPACK_LAKEFS_WITHOUT_CREDENTIALS: "refuse" },
      });
      for (const user of ["ada", "eve"]) tokens.set(user, await strict.user(user));
      await strict.command("repo.create", {
        name: "ada/model",
        lakefs: name,
        visibility: "private",
      });
      await strict.command("repo.grant", { name: "ada/model", user: "eve", role: "write" });
      await commit(work, "by eve", { c: "1" });
      const refused = await tryGit(["push", at("eve", strict), "main"], { cwd: work });
      t.match(refused, { code: 1, stderr: /this server has no lakeFS credentials for you here/ });
      await git(["push", "-q", at("ada", strict), "main"], { cwd: work });
      t.notMatch(strict.log(), writes.secretAccessKey);
    },
  );

  await t.test(
    "a file that others may read, or that says something else, stops the start; no secret is told",
    async (t) => {
      const serve = (path: string) =>
        lakepack(["serve", "--listen", "127.0.0.1:0"], {
          ...settingsFor(lakefs),
          LAKEPACK_LAKEFS_CREDENTIALS: path,
        });
      await chmod(file, 0o644);
      t.match(await serve(file), {
        code: 2,
        err: /name: lakefs_credentials.*other users of this machine may read it: chmod 600/,
      });
      const wrong = await credentialsFile(t, [
        { access_key_id: "id", secret_access_key: "hunter2" },
      ]);
      const run = await serve(wrong);
      t.match(run, { code: 2, err: /an entry is for an account, a repository, or both/ });
      t.notMatch(run.err, "hunter2");
    },
  );
});
