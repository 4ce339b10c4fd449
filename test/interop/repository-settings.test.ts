/**
 * Settings of a repository in place of the server's: who may set them, that they count for pushes,
 * and that they stay.
 */
import { join } from "node:path";
import { writeFile } from "node:fs/promises";
import t from "tap";
import { frontEnds } from "../support/everyday.js";
import { lakepack } from "../support/lakepack-command.js";
import { startGuarded } from "../support/accounts-rig.js";
import { commit, git, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { fetched, makeOdd, type Odd, original, pushOdd } from "../support/odd-objects.js";

t.setTimeout(300_000);
const odd = async (id: string): Promise<Odd> => makeOdd(t, id);
const [email, zone, dotGit] = [
  await odd("missingEmail"),
  await odd("badTimezone"),
  await odd("hasDotgit"),
];

for (const kind of frontEnds) {
  t.test(`lakepack repo set, unset and show, with a server and without, ${kind}`, async (t) => {
    const server = await startLakepack(t, {
      args: ["--transport", kind, "--fsck-levels", "missingEmail=warn,badTimezone=error"],
    });
    const at = ["--data", server.data] as const;
    const url = `${server.url}/me/odd.git`;
    t.equal((await lakepack(["repo", "create", "me/odd", ...at])).code, 0);
    t.match(await pushOdd(zone, url), {
      code: 1,
      stderr: /badTimezone: .*\s*.*lakepack repo set me\/odd fsck_levels=badTimezone=warn/,
    });

    const set = await lakepack([
      "repo",
      "set",
      "me/odd",
      "fsck_levels=badTimezone=ignore,missingemail=error",
      "lfs_missing_objects=warn",
      ...at,
    ]);
    t.match(set, {
      code: 0,
      err: "",
      out: /fsck_levels\tmissingEmail=error\trepository\nfsck_levels\tbadTimezone=ignore\trepository\nlfs_missing_objects\twarn\trepository\n/,
    });
    const landed = await pushOdd(zone, url);
    t.match(landed, { code: 0 }, "the repository's level counts");
    t.notMatch(landed.stderr, /badTimezone/);
    t.same(await fetched(t, url, zone), await original(zone));
    t.match(
      await pushOdd(email, `${server.url}/me/other.git`),
      { code: 0, stderr: /warning: object \w+: missingEmail: / },
      "another has the server's",
    );
    t.match(
      await tryGit(["push", url, `${email.ref}:refs/heads/b`], { cwd: email.work }),
      { code: 1, stderr: /missingEmail/ },
      "a level that is stricter than the server's",
    );

    const show = JSON.parse(
      (await lakepack(["repo", "show", "me/odd", "--json", ...at])).out,
    ) as Record<string, unknown>;
    t.match(show, {
      name: "me/odd",
      kind: "model",
      visibility: "private",
      state: "made",
      head: "refs/heads/main",
      id: /^[0-9a-f]{32}$/,
      settings: {
        fsck: { value: true, from: "server" },
        fsck_levels: {
          missingEmail: { value: "error", from: "repository" },
          badTimezone: { value: "ignore", from: "repository" },
        },
        lfs_missing_objects: { value: "warn", from: "repository" },
      },
    });
    t.match(
      (await lakepack(["repo", "show", "me/other", ...at])).out,
      /me\/other\nid\t\w+\nkind\tmodel\n(.*\n)+fsck\ttrue\tserver\nfsck_levels\tmissingEmail=warn\tserver\nfsck_levels\tbadTimezone=error\tserver\nlfs_missing_objects\trefuse\tserver\n$/,
    );

    await server.stop();
    t.match(
      await lakepack(["repo", "unset", "me/odd", "lfs_missing_objects", ...at]),
      { code: 0, out: /lfs_missing_objects\trefuse\tserver/ },
      "without a server",
    );
    const again = await startLakepack(t, { data: server.data, args: ["--transport", kind] });
    t.match(
      await tryGit(["push", `${again.url}/me/odd.git`, `${zone.ref}:refs/heads/again`], {
        cwd: zone.work,
      }),
      { code: 0 },
    );
    t.match(
      (await lakepack(["repo", "show", "me/odd", ...at])).out,
      /badTimezone=ignore\trepository/,
      "a restart keeps it",
    );
    t.match(await lakepack(["repo", "unset", "me/odd", "fsck_levels", "fsck_skip_list", ...at]), {
      code: 0,
    });
    await git(
      [
        "commit-tree",
        "-m",
        "x",
        await git(["hash-object", "-w", "-t", "tree", "--stdin"], { cwd: zone.work }),
      ],
      {
        cwd: zone.work,
      },
    );
    t.match(await pushOdd(await odd("badTimezone"), `${again.url}/me/fresh.git`), { code: 1 });
  });

  t.test(`a repository's own skip list, ${kind}`, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", kind] });
    const at = ["--data", server.data] as const;
    await lakepack(["repo", "create", "me/skip", ...at]);
    const url = `${server.url}/me/skip.git`;
    t.equal((await pushOdd(email, url)).code, 1);
    t.match(
      await lakepack([
        "repo",
        "set",
        "me/skip",
        `fsck_skip_list=${email.object},${"f".repeat(40)}`,
        ...at,
      ]),
      {
        code: 0,
        out: new RegExp(`fsck_skip_list\t${email.object}\trepository`),
      },
    );
    t.match(await pushOdd(email, url), { code: 0 });
    t.equal(
      (await tryGit(["push", url, `${zone.ref}:refs/heads/b`], { cwd: zone.work })).code,
      1,
      "others are judged",
    );
  });
}

t.test(
  "what cannot be set in a repository is refused by name, and nothing of the rest is set",
  async (t) => {
    const server = await startLakepack(t, { args: ["--fsck-levels", "hasDotgit=warn"] });
    const at = ["--data", server.data] as const;
    await lakepack(["repo", "create", "me/x", ...at]);
    for (const [given, says] of [
      ["fsck_levels=missingEmails=warn", /fsck has no message id missingEmails/],
      ["fsck_levels=missingEmail=loud", /missingEmail=loud.*a level is error, warn or ignore/],
      ["fsck_levels=badTree=ignore", /badTree can only be an error/],
      [
        "fsck_levels=HASDOTGIT=ignore",
        /hasDotgit=ignore.*hasDotgit protects those who fetch: only the server's own setting fsck_levels decides/,
      ],
      ["fsck_levels=gitmodulesUrl=warn", /gitmodulesUrl protects/],
      ["fsck_levels=treeNotSorted=warn", /treeNotSorted protects/],
      ["fsck_levels=duplicateEntries=warn", /duplicateEntries protects/],
      ["fsck_levels=nullSha1=warn", /nullSha1 protects/],
      ["fsck_skip_list=abc", /abc.*an object id is 40 hex digits/],
      [
        `fsck_skip_list=${Array.from({ length: 501 }, (_, at) => at.toString(16).padStart(40, "0")).join(",")}`,
        /501 ids.*a repository can have 500/,
      ],
      ["lfs_missing_objects=no", /lfs_missing_objects.*no.*refuse or warn/],
      [
        "fsck=false",
        /setting: fsck, reason: no such setting of a repository, allowed: fsck_levels fsck_skip_list lfs_missing_objects/,
      ],
    ] as const) {
      const first = given.startsWith("lfs_")
        ? "fsck_levels=badName=warn"
        : "lfs_missing_objects=warn";
      t.match(
        await lakepack(["repo", "set", "me/x", first, given, ...at]),
        { code: 1, out: "", err: says },
        given,
      );
    }
    t.notMatch((await lakepack(["repo", "show", "me/x", ...at])).out, /repository/);
    t.match(await lakepack(["repo", "set", "me/none", "lfs_missing_objects=warn", ...at]), {
      code: 1,
      err: /repository not found/,
    });
    t.match(
      await pushOdd(dotGit, `${server.url}/me/x.git`),
      { code: 0, stderr: /warning: object \w+: hasDotgit/ },
      "the server's setting decides",
    );
    for (const [command, words] of [
      ["set", /gitmodules\*, hasDot\*, symlink\*/],
      ["unset", /the server's count again/],
      ["show", /where each\s+comes\s+from/],
    ] as const)
      t.match(await lakepack(["repo", command, "--help"]), { code: 0, out: words });
  },
);

t.test("settings that stop the start, by name", async (t) => {
  const folder = await tempFolder(t);
  const skip = join(folder, "skip");
  await writeFile(skip, `${"a".repeat(40)}\n# c\nnonsense\n`);
  for (const [args, says] of [
    [
      ["--fsck-levels", "missingmail=warn"],
      /name: fsck_levels, value: missingmail=warn, reason: fsck has no message id missingmail/,
    ],
    [["--fsck-levels", "missingEmail=off"], /reason: a level is error, warn or ignore/],
    [["--fsck-levels", "nulInHeader=warn"], /nulInHeader can only be an error/],
    [
      ["--fsck-skip-list", skip],
      /name: fsck_skip_list, value: .*skip, line: 3, reason: an object id is 40 hex digits: nonsense/,
    ],
    [["--fsck-skip-list", join(folder, "none")], /name: fsck_skip_list, .*ENOENT/],
    [
      ["--lfs-missing-objects", "ignore"],
      /name: lfs_missing_objects, value: ignore, allowed: refuse or warn/,
    ],
    [["--repositories-per-user", "-1"], /name: repositories_per_user, value: -1/],
  ] as const)
    t.match(
      await lakepack(["serve", "--data", join(folder, "data"), "--listen", "127.0.0.1:0", ...args]),
      { code: 2, err: says },
      args.join(" "),
    );
  const file = join(folder, "levels.yaml");
  await writeFile(file, "fsck_levels:\n  missingEmail: loud\n");
  t.match(
    await lakepack(["serve", "--config", file]),
    { code: 2, err: /value: \{"missingEmail":"loud"\}, reason: a level is/ },
    "a map in the file",
  );
});

for (const kind of frontEnds) {
  t.test(`/api/repos/NAME/settings, ${kind}`, async (t) => {
    const server = await startGuarded(t, { args: ["--transport", kind] });
    const [writer, reader, stranger] = [
      await server.user("bob"),
      await server.user("eve"),
      await server.user("mallory"),
    ];
    const ada = await server.user("ada", { scope: "admin" });
    const weak = await server.token("ada", "write");
    const granted = await server.token("bob", "admin");
    await server.command("repo.create", { name: "ada/x" });
    await server.command("repo.grant", { name: "ada/x", user: "bob", role: "write" });
    await server.command("repo.grant", { name: "ada/x", user: "eve", role: "read" });
    const ask = async (token: string | undefined, method = "GET", body?: unknown) => {
      const answer = await fetch(`${server.url}/api/repos/ada/x/settings`, {
        method,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
        ...(body === undefined
          ? {}
          : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      return {
        status: answer.status,
        body: method === "HEAD" ? {} : ((await answer.json()) as unknown),
      };
    };
    const change = { fsck_levels: { missingEmail: "warn" }, lfs_missing_objects: "warn" };
    for (const method of ["GET", "PATCH"]) {
      const body = method === "PATCH" ? change : undefined;
      t.match(await ask(undefined, method, body), { status: 401 }, "nobody");
      t.match(
        await ask(stranger, method, body),
        { status: 404, body: { code: "repository/missing" } },
        "who may not read",
      );
      for (const token of [reader, writer, weak, granted])
        t.match(
          await ask(token, method, body),
          { status: 403, body: { code: "auth/forbidden" } },
          "who may not administer",
        );
    }
    t.match(
      await ask(ada),
      {
        status: 200,
        body: { fsck_levels: {}, lfs_missing_objects: { value: "refuse", from: "server" } },
      },
      "nothing was set",
    );
    const url = server.at("ada/x", weak);
    t.equal((await pushOdd(email, url)).code, 1);
    t.match(await ask(ada, "PATCH", change), {
      status: 200,
      body: { fsck_levels: { missingEmail: { value: "warn", from: "repository" } } },
    });
    t.match(await pushOdd(email, url), { code: 0, stderr: /warning: object \w+: missingEmail/ });
    await server.command("repo.grant", { name: "ada/x", user: "bob", role: "admin" });
    t.match(await ask(granted, "PATCH", { fsck_skip_list: [zone.object], fsck_levels: null }), {
      status: 200,
      body: {
        fsck_levels: {},
        fsck_skip_list: { server: 0, repository: [zone.object] },
        lfs_missing_objects: { value: "warn" },
      },
    });
    t.match(await ask(server.adminToken), { status: 200 });
    t.equal((await ask(ada, "HEAD")).status, 200);
    for (const [body, status, says] of [
      [{ fsck_levels: "hasDot=warn" }, 400, /hasDot protects those who fetch/],
      [{ fsck_levels: { nope: "warn" } }, 400, /no message id nope/],
      [{ fsck_levels: 5 }, 400, /pairs id=level/],
      [{ fsck_skip_list: [1] }, 400, /object ids/],
      [{ lfs_missing_objects: true }, 400, /refuse or warn/],
      [{ repositories_per_user: 0 }, 400, /no such setting of a repository/],
      ["[1]", 400, /not a JSON object/],
      ["nonsense", 400, /not JSON/],
      [`{"fsck_levels":"${"x".repeat(70_000)}"}`, 413, /more than/],
    ] as const)
      t.match(
        await ask(ada, "PATCH", body),
        { status, body: { message: says } },
        JSON.stringify(body).slice(0, 80),
      );
    t.match(
      await ask(ada),
      { body: { fsck_skip_list: { repository: [zone.object] } } },
      "a refused change changes nothing",
    );
    for (const method of ["POST", "PUT", "DELETE"])
      t.equal((await ask(ada, method)).status, 405, method);
    const other = await fetch(`${server.url}/api/repos/ada/x`, {
      method: "PATCH",
      headers: { authorization: `Bearer ${ada}` },
    });
    t.equal(other.status, 405);
  });

  t.test(`LFS pointers without a file: lfs_missing_objects, ${kind}`, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", kind] });
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"ab".repeat(32)}\nsize 12345\n`;
    await commit(work, "pointer", { ".gitattributes": "*.bin filter=lfs\n", "w.bin": pointer });
    const url = `${server.url}/me/lfs.git`;
    t.match(await tryGit(["push", url, "main"], { cwd: work }), {
      code: 1,
      stderr: /an LFS pointer points to a file that does not exist: w\.bin/,
    });
    await lakepack(["repo", "create", "me/lfs", "--data", server.data]);
    t.equal(
      (await lakepack(["repo", "set", "me/lfs", "lfs_missing_objects=warn", "--data", server.data]))
        .code,
      0,
    );
    t.match(await tryGit(["push", url, "main"], { cwd: work }), {
      code: 0,
      stderr: /warning: an LFS pointer points to a file that does not exist: w\.bin/,
    });
    const lenient = await startLakepack(t, {
      args: ["--transport", kind, "--lfs-missing-objects", "warn"],
    });
    t.match(await tryGit(["push", `${lenient.url}/me/a.git`, "main"], { cwd: work }), {
      code: 0,
      stderr: /warning: an LFS pointer/,
    });
    await lakepack(["repo", "create", "me/strict", "--data", lenient.data]);
    await lakepack([
      "repo",
      "set",
      "me/strict",
      "lfs_missing_objects=refuse",
      "--data",
      lenient.data,
    ]);
    t.match(await tryGit(["push", `${lenient.url}/me/strict.git`, "main"], { cwd: work }), {
      code: 1,
    });
  });

  t.test(`repositories_per_user, ${kind}`, async (t) => {
    const server = await startGuarded(t, {
      args: ["--transport", kind, "--repositories-per-user", "2"],
    });
    const [token, boss] = [await server.user("ada"), await server.user("root2", { admin: true })];
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    await commit(work, "first", { a: "a" });
    const push = (name: string, shown: string) =>
      tryGit(["push", server.at(name, shown), "main"], { cwd: work });
    t.equal((await push("ada/one", token)).code, 0);
    await server.command("repo.create", { name: "datasets/ada/two" });
    const full =
      /ada has 2 repositories, and the setting repositories_per_user allows 2: delete one/;
    t.match(await push("ada/three", token), { code: 1, stderr: full });
    await t.rejects(server.command("repo.create", { name: "ada/three" }), {
      code: "repository/too-many",
      message: full,
    });
    await t.rejects(server.command("repo.create", { name: "ada/two" }), {
      code: "repository/too-many",
    });
    t.equal((await push("ada/one", token)).code, 0, "those that are there are pushed to");
    t.equal((await push("root2/one", boss)).code, 0, "another namespace");
    await server.command("repo.delete", { name: "datasets/ada/two" });
    t.equal((await push("ada/three", token)).code, 0, "a deleted one does not count");
    t.match(await push("ada/four", token), { code: 1, stderr: full });
    t.equal((await push("ada/five", boss)).code, 0, "an administrator");
    t.match(await push("ada/four", token), {
      code: 1,
      stderr: /ada has 3 repositories, and the setting repositories_per_user allows 2/,
    });
    await server.stop();
    const any = await startGuarded(t, {
      data: server.data,
      args: ["--transport", kind, "--repositories-per-user", "0"],
    });
    t.equal(
      (await tryGit(["push", any.at("ada/four", token), "main"], { cwd: work })).code,
      0,
      "any number",
    );
  });
}
