/**
 * `lakepack user` and `token`, and who may use a repository: the same words whether a server runs
 * on the folder or not.
 */
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { git, logShows, startLakepack } from "../support/harness.js";
import { postgresDatabase, skipPostgres } from "../support/postgres.js";
import { tempFolder } from "../support/temp-folder.js";
import { lakepack as run } from "../support/lakepack-command.js";

const TOKEN = /^lpk_[a-z2-7]{32}\n$/;

for (const name of ["SQLite", "PostgreSQL"] as const)
  t.test(
    `users, tokens and grants in ${name}, without a server and with one`,
    { timeout: 180_000, skip: name === "PostgreSQL" && skipPostgres },
    async (t) =>
      commands(t, name === "SQLite" ? {} : { LAKEPACK_DATABASE: await postgresDatabase() }),
  );

/** `env`: of the server and of every command. */
async function commands(t: Test, env: Readonly<Record<string, string>>): Promise<void> {
  const data = join(await tempFolder(t), "data");
  const lakepack = (...args: readonly string[]) => run([...args, "--data", data], env);
  const isFile = env["LAKEPACK_DATABASE"] === undefined;
  t.same(await lakepack("user", "create", "acme"), { code: 0, out: "created acme\n", err: "" });
  t.match(await lakepack("user", "create", "Acme"), {
    code: 1,
    err: /there is a user of this name already/,
  });
  const made = await lakepack("token", "create", "acme", "--label", "laptop", "--expires", "90d");
  t.match(made, { code: 0, out: TOKEN, err: "" }, "nothing but the token: a script can take it");
  const token = made.out.trim();
  if (isFile)
    t.equal((await stat(join(data, "lakepack.db"))).mode & 0o777, 0o600, "for its owner only");

  const server = await startLakepack(t, { data, env: { ...env, LAKEPACK_AUTH: "token" } });
  t.notMatch(server.out(), /lpk_/, "there is a user: no first token");
  t.equal(
    await git(["ls-remote", `${server.url.replace("://", `://x:${token}@`)}/acme/none.git`]).catch(
      ({ message }: Error) => /not found/.test(message),
    ),
    true,
  );
  t.match(await lakepack("user", "create", "rita", "--admin", "--json"), {
    code: 0,
    out: /^\{"name":"rita","admin":true,"created":"20.*Z","disabled":null\}\n$/,
  });
  t.ok(await logShows(server, /"command":"user.create"/), "the server did it");
  t.same(await lakepack("user", "demote", "rita"), { code: 0, out: "rita\n", err: "" });
  t.match(await lakepack("user", "disable", "rita"), { code: 0, out: /^rita\tdisabled 20/ });
  t.match(await lakepack("user", "list"), { code: 0, out: /^acme\nrita\tdisabled 20.*\n$/ });
  t.same(await lakepack("user", "enable", "rita"), { code: 0, out: "rita\n", err: "" });
  t.same(await lakepack("user", "promote", "rita"), {
    code: 0,
    out: "rita\tadministrator\n",
    err: "",
  });

  const listed = JSON.parse((await lakepack("token", "list", "acme", "--json")).out) as {
    id: string;
  }[];
  t.match(listed, [
    { user: "acme", scope: "write", label: "laptop", revoked: null, last_used: /^20/ },
  ]);
  t.match(await lakepack("token", "list"), {
    code: 0,
    out: new RegExp(`^${listed[0]?.id}\tacme\twrite\tlaptop\tused 20.*\texpires 20`),
  });
  t.match(await lakepack("token", "create", "nobody"), { code: 1, err: /no user of this name/ });
  t.same(await lakepack("token", "revoke", listed[0]?.id ?? ""), {
    code: 0,
    out: `revoked ${listed[0]?.id}\n`,
    err: "",
  });
  t.match(await lakepack("token", "revoke", listed[0]?.id ?? ""), {
    code: 1,
    err: /revoked already/,
  });

  t.match(await lakepack("repo", "create", "acme/open", "--visibility", "public"), {
    code: 0,
    out: "created acme/open\n",
  });
  t.equal(await git(["ls-remote", `${server.url}/acme/open.git`]), "", "everybody may read it");
  t.same(await lakepack("repo", "visibility", "acme/open", "private"), {
    code: 0,
    out: "acme/open\tprivate\n",
    err: "",
  });
  t.same(await lakepack("repo", "grant", "acme/open", "rita", "read"), {
    code: 0,
    out: "acme/open\tprivate\nrita\tread\n",
    err: "",
  });
  t.same(await lakepack("repo", "grant", "acme/open", "rita", "write"), {
    code: 0,
    out: "acme/open\tprivate\nrita\twrite\n",
    err: "",
  });
  await server.stop();
  t.same(await lakepack("repo", "access", "acme/open", "--json"), {
    code: 0,
    out: '{"name":"acme/open","visibility":"private","grants":[{"user":"rita","role":"write"}]}\n',
    err: "",
  });
  t.same(await lakepack("repo", "revoke", "acme/open", "rita"), {
    code: 0,
    out: "acme/open\tprivate\n",
    err: "",
  });
  t.match(await lakepack("repo", "revoke", "acme/open", "rita"), {
    code: 1,
    err: /nothing was granted/,
  });
  t.match(await lakepack("repo", "grant", "acme/none", "rita", "read"), {
    code: 1,
    err: /repository not found/,
  });
  for (const file of isFile ? ["lakepack.db", "lakepack.db-wal"] : [])
    t.notOk(
      (await readFile(join(data, file)).catch(() => Buffer.alloc(0))).includes(token),
      `${file} does not hold the token`,
    );
  t.notMatch(server.log(), /lpk_/);
}

t.test("help and wrong usage", { timeout: 120_000 }, async (t) => {
  for (const words of [["user"], ["user", "disable"], ["token", "create"], ["repo", "grant"]]) {
    t.match(await run([...words, "--help"]), {
      code: 0,
      out: new RegExp(`Usage: lakepack ${words.join(" ")}`),
    });
  }
  const data = ["--data", join(await tempFolder(t), "data")];
  for (const words of [
    ["user", "create"],
    ["token", "create", "x", "--scope", "all"],
    ["token", "create", "x", "--expires", "soon"],
    ["token", "create", "x", "--expires", "2001-01-01"],
    ["user", "create", "datasets", ...data],
  ]) {
    t.equal((await run(words)).code, 2, words.join(" "));
  }
});

t.test("the first start shows one administrator's token, once", { timeout: 60_000 }, async (t) => {
  const data = join(await tempFolder(t), "data");
  const first = await startLakepack(t, { data, env: { LAKEPACK_AUTH: "token" } });
  const [token, ...more] = first.out().match(/lpk_[a-z2-7]{32}/g) ?? [];
  t.same(more, []);
  t.equal(
    (await fetch(`${first.url}/metrics`, { headers: { Authorization: `Bearer ${token}` } })).status,
    200,
  );
  await first.stop();
  const second = await startLakepack(t, { data, env: { LAKEPACK_AUTH: "token" } });
  t.notMatch(second.out(), /lpk_/);
  t.equal(
    (await fetch(`${second.url}/metrics`, { headers: { Authorization: `Bearer ${token}` } }))
      .status,
    200,
    "it is still good",
  );
});

t.test(
  "a first start that died before it showed its token: the next one shows one, and only that one is good",
  { timeout: 120_000 },
  async (t) => {
    const { Database } = await import("../../src/database/database.js");
    const { Accounts } = await import("../../src/auth/accounts.js");
    const data = join(await tempFolder(t), "data");
    await mkdir(data);
    const died = await Database.open(join(data, "lakepack.db"));
    const lost = [await new Accounts(died).bootstrap(), await new Accounts(died).bootstrap()].map(
      (first) => first?.token,
    );
    await died.close();
    const status = async (url: string, token = "") =>
      (await fetch(`${url}/metrics`, { headers: { Authorization: `Bearer ${token}` } })).status;
    const next = await startLakepack(t, { data, env: { LAKEPACK_AUTH: "token" } });
    const [token, ...more] = next.out().match(/lpk_[a-z2-7]{32}/g) ?? [];
    t.same(more, []);
    t.same(
      [
        await status(next.url, token),
        await status(next.url, lost[0]),
        await status(next.url, lost[1]),
      ],
      [200, 401, 401],
    );
    t.same(
      (
        JSON.parse((await run(["user", "list", "--json", "--data", data])).out) as {
          name: string;
        }[]
      ).map(({ name }) => name),
      ["admin"],
    );
    await next.kill("SIGKILL");
    const last = await startLakepack(t, { data, env: { LAKEPACK_AUTH: "token" } });
    t.notMatch(last.out(), /lpk_/, "it was shown");
    t.equal(await status(last.url, token), 200);
  },
);

t.test("auth none has a database for names, for its owner only", { timeout: 60_000 }, async (t) => {
  const server = await startLakepack(t);
  t.equal((await fetch(server.url)).status, 200);
  t.equal((await stat(join(server.data, "lakepack.db"))).mode & 0o777, 0o600);
});

t.test(
  "a database of a newer version, or none at all, stops the start and says so",
  { timeout: 60_000 },
  async (t) => {
    const folder = await tempFolder(t);
    const env = { LAKEPACK_AUTH: "token", LAKEPACK_DATABASE: folder };
    t.match(await run(["serve", "--listen", "127.0.0.1:0", "--data", join(folder, "data")], env), {
      code: 1,
      err: /the database failed \(path: /,
    });
    const { Database } = await import("../../src/database/database.js");
    const path = join(folder, "newer.db");
    const database = await Database.open(path);
    await database.query((db) =>
      db
        .insertInto("kysely_migration" as never)
        .values({ name: "9999-later", timestamp: "" } as never)
        .execute(),
    );
    await database.close();
    await t.rejects(Database.open(path), { code: "database/newer", message: /9999-later/ });
  },
);
