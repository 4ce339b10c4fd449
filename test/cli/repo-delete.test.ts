/**
 * Names and ids: what is deleted is gone at once and comes back until its files go; what gets its
 * name has nothing of it; a lost database.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import Libsql from "libsql";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { commit, folderOf, git, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { lakepack as run } from "../support/lakepack-command.js";

t.setTimeout(600_000);

const MEDIA = "application/vnd.git-lfs+json";

async function workWith(
  t: Test,
  text: string,
): Promise<{ readonly work: string; readonly oid: string }> {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  return { work, oid: await commit(work, text, { "a.txt": `${text}\n` }) };
}

async function batch(
  server: Guarded,
  name: string,
  token: string,
  operation: string,
  object: object,
) {
  const headers = { "Content-Type": MEDIA, Authorization: `Bearer ${token}` };
  const reply = await fetch(`${server.url}/${name}.git/info/lfs/objects/batch`, {
    method: "POST",
    headers,
    body: JSON.stringify({ operation, objects: [object] }),
  });
  const { objects } = (await reply.json()) as {
    objects?: readonly { actions?: Record<string, { href: string }>; error?: { code: number } }[];
  };
  return {
    error: objects?.[0]?.error?.code,
    href: (action: string) => objects?.[0]?.actions?.[action]?.href ?? "",
  };
}

for (const kind of frontEnds) {
  t.test(
    `a name that is used again leads to another repository (${kind})`,
    { timeout: 200_000 },
    async (t) => {
      const server = await startGuarded(t, { args: ["--transport", kind] });
      const [acme, rita] = [await server.user("acme"), await server.user("rita")];
      const [one, two] = [await workWith(t, "first"), await workWith(t, "second")];
      const name = "acme/model";
      await git(["push", "-q", server.at(name, acme), "main", "HEAD:refs/heads/side"], {
        cwd: one.work,
      });
      await server.command("repo.visibility", { name, visibility: "public" });
      await server.command("repo.grant", { name, user: "rita", role: "write" });
      const content = randomBytes(5_000);
      const object = {
        oid: createHash("sha256").update(content).digest("hex"),
        size: content.length,
      };
      await fetch((await batch(server, name, acme, "upload", object)).href("upload"), {
        method: "PUT",
        body: content,
      });
      const link = (await batch(server, name, rita, "download", object)).href("download");
      t.equal((await fetch(link)).status, 200);
      await git(["clone", "-q", server.at(name), join(await tempFolder(t), "x")]); // so that a cache knows it
      const old = await folderOf(server.data, name);
      const mirror = join(await tempFolder(t), "mirror");
      await git(["clone", "-q", "--mirror", server.at(name, rita), mirror]);

      t.same(await server.command("repo.delete", { name }), { name });
      t.equal((await fetch(`${server.url}/${name}.git/HEAD`)).status, 401);
      t.equal(
        (
          await fetch(`${server.url}/${name}.git/HEAD`, {
            headers: { Authorization: `Bearer ${rita}` },
          })
        ).status,
        404,
      );
      t.not((await tryGit(["fetch", "--prune"], { cwd: mirror })).code, 0);
      t.match(await git(["for-each-ref"], { cwd: mirror }), "refs/heads/side");
      t.same(await server.command("repo.list", { after: "" }), []);
      t.ok(existsSync(old), "its files wait for the grace");

      await git(["push", "-q", server.at(name, acme), "main"], { cwd: two.work });
      t.not(await folderOf(server.data, name), old);
      t.equal(
        await git(["ls-remote", server.at(name, acme), "refs/*"]),
        `${two.oid}\trefs/heads/main`,
        "no ref of the old one",
      );
      t.equal(
        (await fetch(`${server.url}/${name}.git/HEAD`)).status,
        401,
        "it is as private as a new one",
      );
      t.equal(
        (
          await fetch(`${server.url}/${name}.git/HEAD`, {
            headers: { Authorization: `Bearer ${rita}` },
          })
        ).status,
        404,
        "and nobody was granted anything",
      );
      t.ok([403, 404].includes((await fetch(link)).status), "a link of LFS leads to nothing");
      t.equal(
        (await batch(server, name, acme, "download", object)).error,
        404,
        "an object of LFS neither",
      );
      const want = await tryGit(["fetch", server.at(name, acme), one.oid], { cwd: two.work });
      t.match(want.stderr, /not our ref/, "an old commit cannot be asked for");

      t.test("adopt gives the new one its rights, forget removes the old one", async (t) => {
        t.match(await server.command("repo.adopt", { name }), { outcome: "inherited" });
        t.same(await server.command("repo.access", { name }), {
          name,
          visibility: "public",
          grants: [{ user: "rita", role: "write" }],
        });
        t.equal(
          (await batch(server, name, rita, "download", object)).error,
          404,
          "but not its objects",
        );
        const { removed_files } = await server.command("repo.forget", { name });
        t.ok(removed_files >= 4);
        t.notOk(existsSync(old));
        await t.rejects(server.command("repo.forget", { name }), {
          code: "repository/not-set-aside",
        });
        t.equal(await git(["ls-remote", server.at(name), "refs/*"]), `${two.oid}\trefs/heads/main`);
      });

      t.test(
        "adopt brings back what nobody has taken the name of, LFS objects and grants too",
        async (t) => {
          await fetch((await batch(server, name, acme, "upload", object)).href("upload"), {
            method: "PUT",
            body: content,
          });
          await server.command("repo.delete", { name });
          t.match(await server.command("repo.adopt", { name }), {
            name,
            outcome: "restored",
            names: [],
            taken: [],
          });
          t.equal(
            await git(["ls-remote", server.at(name, rita), "refs/*"]),
            `${two.oid}\trefs/heads/main`,
          );
          t.equal(
            (await fetch((await batch(server, name, rita, "download", object)).href("download")))
              .status,
            200,
          );
          t.same(await server.command("repo.access", { name }), {
            name,
            visibility: "public",
            grants: [{ user: "rita", role: "write" }],
          });
        },
      );

      t.test("users are not made again under a name, tokens under no id", async (t) => {
        await server.command("user.change", { name: "rita", disabled: true });
        await t.rejects(server.command("user.create", { name: "rita", admin: false }), {
          code: "user/exists",
        });
        await t.rejects(server.command("user.create", { name: "RITA", admin: false }), {
          code: "user/exists",
        });
        const ids = (await server.command("token.list", { after: "" })).map(({ id }) => id);
        t.equal(new Set(ids).size, ids.length);
        for (const id of ids) t.match(id, /^[0-9a-f]{16}$/);
      });
    },
  );
}

t.test(
  "the command asks, and gc removes what was deleted, with the objects that nobody else has",
  { timeout: 200_000 },
  async (t) => {
    const server = await startGuarded(t);
    const acme = await server.user("acme");
    const { work } = await workWith(t, "one");
    const [shared, own] = [randomBytes(3_000), randomBytes(3_001)].map((content) => ({
      content,
      oid: createHash("sha256").update(content).digest("hex"),
    }));
    if (shared === undefined || own === undefined) throw new Error("two contents");
    const lies = async ({ oid }: { oid: string }) =>
      (await readdir(join(server.data, "lfs", oid.slice(0, 2), oid.slice(2, 4)))).some((name) =>
        name.startsWith(oid),
      );
    for (const [name, ...contents] of [
      ["acme/gone", shared, own],
      ["acme/stays", shared],
    ] as const) {
      await git(["push", "-q", server.at(name, acme), "main"], { cwd: work });
      for (const { content, oid } of contents) {
        const { href } = await batch(server, name, acme, "upload", { oid, size: content.length });
        t.equal((await fetch(href("upload"), { method: "PUT", body: content })).status, 200);
      }
    }
    const folder = await folderOf(server.data, "acme/gone");
    const lakepack = (...args: string[]) => run([...args, "--data", server.data], {});
    t.match(await lakepack("repo", "delete", "acme/gone"), {
      code: 2,
      err: /acme\/gone typed again, or --yes/,
    });
    t.match(await lakepack("repo", "delete", "acme/none", "--yes"), {
      code: 1,
      err: /repository not found/,
    });
    t.same(await lakepack("repo", "delete", "acme/gone", "--yes"), {
      code: 0,
      out: "deleted acme/gone\n",
      err: "",
    });
    t.match(await lakepack("repo", "adopt", "acme/gone"), {
      code: 0,
      out: "acme/gone has its name again\n",
    });
    t.match(await lakepack("repo", "delete", "acme/gone", "--yes"), { code: 0 });
    t.match(
      await lakepack("gc", "--all"),
      { code: 0, out: /^acme\/stays: 0 files/ },
      "not within the grace",
    );
    t.ok(existsSync(folder));
    t.ok(await lies(own));
    t.match(await lakepack("gc", "--all", "--grace", "0"), {
      code: 0,
      out: /^1 deleted repositories: \d+ files \(\d+ bytes\) removed\n/,
    });
    t.notOk(existsSync(folder));
    t.notOk(await lies(own), "an object that it alone had");
    t.ok(await lies(shared), "one that another repository has");
    t.match(await lakepack("repo", "adopt", "acme/gone"), {
      code: 1,
      err: /no repository that had this name is set aside/,
    });
    t.match(await lakepack("verify", "--all"), { code: 0, out: /^acme\/stays: good/ });
    await server.stop();
    t.match(
      await lakepack("repo", "delete", "acme/stays", "--yes"),
      { code: 0 },
      "without a server, too",
    );
    t.match(await lakepack("repo", "forget", "acme/stays", "--yes"), {
      code: 0,
      out: /^acme\/stays: 1 forgotten, \d+ files/,
    });
    t.match(await lakepack("repo", "list"), { code: 0, out: "" });
  },
);

t.test(
  "a server removes what was deleted by itself, after the grace",
  { timeout: 200_000 },
  async (t) => {
    const { work } = await workWith(t, "one");
    const server = await startGuarded(t, { env: { LAKEPACK_GC_GRACE_HOURS: "1" } });
    const acme = await server.user("acme");
    await git(["push", "-q", server.at("acme/gone", acme), "main"], { cwd: work });
    const folder = await folderOf(server.data, "acme/gone");
    await server.command("repo.delete", { name: "acme/gone" });
    const database = new Libsql(join(server.data, "lakepack.db"));
    database
      .prepare("UPDATE repositories SET deleted_at = ? WHERE former_title = 'acme/gone'")
      .run(new Date(Date.now() - 2 * 3_600_000).toISOString());
    database.close();
    await git(["push", "-q", server.at("acme/other", acme), "main"], { cwd: work });
    for (let attempt = 0; attempt < 100 && existsSync(folder); attempt++)
      await new Promise((wake) => setTimeout(wake, 100));
    t.notOk(existsSync(folder));
  },
);

t.test(
  "a lost database: names come back from the manifests, and what none leads to is named",
  { timeout: 200_000 },
  async (t) => {
    const { work, oid } = await workWith(t, "one");
    const server = await startLakepack(t);
    for (const name of ["a/one", "datasets/a/two", "a/three"])
      await git(["push", "-q", `${server.url}/${name}.git`, "main"], { cwd: work });
    await server.stop();
    const { data } = server;
    const lost = await folderOf(data, "a/three");
    await rm(join(lost, "git/manifest"));
    for (const file of await readdir(data))
      if (file.startsWith("lakepack.db")) await rm(join(data, file));
    await mkdir(join(data, "repos/old/name/git"), { recursive: true });
    await writeFile(join(data, "repos/old/name/git/manifest"), '{"format":1}');
    const lakepack = (...args: string[]) => run([...args, "--data", data], {});
    t.match(await lakepack("doctor"), {
      code: 1,
      out: /BAD {3}repositories: no name leads to repos\/[0-9a-f]{32}, [\s\S]*lakepack repo recover/,
    });
    const verified = await lakepack("verify", "--all");
    t.equal(verified.code, 1);
    t.equal(verified.out.match(/the database knows no repository of this id/g)?.length, 4);
    const found = await lakepack("repo", "recover");
    t.match(found.out, /^a\/one\t[0-9a-f]{32}$/m);
    t.match(found.out, /^datasets\/a\/two\t[0-9a-f]{32}$/m);
    t.match(found.out, /^[0-9a-f]{32}\tnot recovered: .*it is missing/m);
    t.match(found.out, /^old\tnot recovered: /m);
    t.match(await lakepack("repo", "list"), { out: "a/one\tmodel\ndatasets/a/two\tdataset\n" });
    const again = await startLakepack(t, { data });
    t.match(await git(["ls-remote", `${again.url}/datasets/a/two.git`]), oid);
    t.match(await lakepack("repo", "access", "a/one"), { out: "a/one\tprivate\n" });
  },
);
