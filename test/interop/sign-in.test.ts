/**
 * Stock git and git-lfs sign in: each way to show a token, the sentences users know, and what
 * becomes of a token that dies.
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { checkFsck, commit, git, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const SKIP_LFS =
  spawnSync("git", ["lfs", "version"]).status === 0 ? false : "git-lfs is not installed";

async function work(t: Test): Promise<string> {
  const folder = join(await tempFolder(t), "work");
  await git(["init", "-q", folder]);
  await commit(folder, "one", {
    "a.txt": "a\n",
    "b.bin": randomBytes(2_000_000).toString("base64"),
  });
  return folder;
}

/**
 * A program that git asks for a user name and a password, and which answers from its environment.
 */
async function askPass(t: Test): Promise<string> {
  const path = join(await tempFolder(t), "askpass");
  await writeFile(
    path,
    '#!/bin/sh\ncase "$1" in Username*) echo "$ASK_USER";; *) echo "$ASK_PASSWORD";; esac\n',
  );
  await chmod(path, 0o755);
  return path;
}

for (const kind of frontEnds) {
  t.test(`every way to show a token (${kind})`, { timeout: 180_000 }, async (t) => {
    const server = await startGuarded(t, { args: ["--transport", kind] });
    const token = await server.user("acme");
    const folder = await work(t);
    // Over a megabyte: git sends a lone flush first, and then a chunked body that is not sent
    // twice.
    const pushed = await tryGit(["push", server.at("acme/model", token), "main"], { cwd: folder });
    t.match(pushed, { code: 0, stderr: /created acme\/model/ });
    const program = await askPass(t);
    const { host } = new URL(server.url);
    const ask = (user: string, password: string) => ({
      GIT_ASKPASS: program,
      ASK_USER: user,
      ASK_PASSWORD: password,
    });
    const ways: readonly (readonly [
      how: string,
      url: string,
      args: readonly string[],
      env: Readonly<Record<string, string>>,
    ])[] = [
      ["user:token@", `http://anyone:${token}@${host}`, [], {}],
      ["token:@", `http://${token}:@${host}`, [], {}],
      ["token@, and Enter for the password", `http://${token}@${host}`, [], ask("", "")],
      ["the password, asked for after 401", `http://${host}`, [], ask("acme", token)],
      ["the user name, asked for after 401", `http://${host}`, [], ask(token, "")],
      ["the password of a user name in the URL", `http://acme@${host}`, [], ask("", token)],
      [
        "Bearer, at once",
        `http://${host}`,
        ["-c", `http.extraHeader=Authorization: Bearer ${token}`],
        {},
      ],
      [
        "Basic, at once",
        `http://${host}`,
        [
          "-c",
          `http.extraHeader=Authorization: Basic ${Buffer.from(`x:${token}`).toString("base64")}`,
        ],
        {},
      ],
    ];
    for (const [how, url, args, env] of ways) {
      const copy = join(await tempFolder(t), "copy");
      const run = await tryGit([...args, "clone", "-q", `${url}/acme/model.git`, copy], { env });
      t.equal(run.code, 0, `${how}: ${run.stderr}`);
      await commit(copy, how, { "c.txt": how });
      const push = await tryGit([...args, "push", "-q", "origin", "main"], { cwd: copy, env });
      t.equal(push.code, 0, `push, ${how}: ${push.stderr}`);
    }
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", server.at("acme/model", token), copy]);
    await checkFsck(t, copy);
    t.equal(await git(["rev-list", "--count", "HEAD"], { cwd: copy }), String(1 + ways.length));

    await t.test("the sentences users know", async (t) => {
      const stranger = await server.user("eve");
      await server.command("repo.grant", { name: "acme/model", user: "eve", role: "read" });
      const stderr = async (args: readonly string[], env = {}) =>
        (await tryGit(args, { cwd: folder, env })).stderr;
      t.match(
        await stderr(["clone", server.at("acme/model", "lpk_".padEnd(36, "a")), join(folder, "x")]),
        /Authentication failed for/,
      );
      t.match(
        await stderr(["push", server.at("acme/model", stranger), "main"]),
        /The requested URL returned error: 403/,
      );
      t.match(
        await stderr(["clone", server.at("acme/nothing", stranger), join(folder, "x")]),
        /repository .* not found/,
      );
      t.match(
        await stderr(["clone", server.at("acme/model"), join(folder, "x")]),
        /could not read Username/,
        "401 makes git ask",
      );
    });

    await t.test("a token that dies is forgotten by git's credential helper", async (t) => {
      const store = join(await tempFolder(t), "credentials");
      await writeFile(store, `http://git:${token}@${host}\n`);
      const helped = [
        "-c",
        `credential.helper=store --file=${store}`,
        "ls-remote",
        server.at("acme/model"),
      ];
      t.equal((await tryGit(helped)).code, 0);
      t.match(await readFile(store, "utf8"), token);
      const { id } = (await server.command("token.list", { user: "acme", after: "" }))[0] ?? {
        id: "",
      };
      await server.command("token.revoke", { id });
      t.not((await tryGit(helped)).code, 0, "at once, with the server running");
      t.notMatch(await readFile(store, "utf8"), token, "a real 401 tells git to forget it");
    });
  });
}

t.test("expiry, disabling and last use", { timeout: 60_000 }, async (t) => {
  const server = await startGuarded(t);
  await server.user("acme");
  await server.command("repo.create", { name: "acme/model" });
  const token = await server.token("acme", "read");
  const status = async (shown = token) => {
    const reply = await fetch(`${server.url}/acme/model/HEAD`, {
      headers: { Authorization: `Bearer ${shown}` },
    });
    return `${reply.status} ${(await reply.text()).split("\n")[0]}`;
  };
  const used = async () =>
    (await server.command("token.list", { user: "acme", after: "" })).find(
      ({ scope }) => scope === "read",
    )?.last_used;
  t.equal(await used(), null);
  t.match(await status(), /^200/);
  t.match(await used(), /^20\d\d-/, "it moves with use");
  await server.command("user.change", { name: "acme", disabled: true });
  t.match(await status(), /^401 .*its user is disabled/);
  await server.command("user.change", { name: "ACME", disabled: false });
  t.match(await status(), /^200/);

  const endsMs = Date.now() + 3_000;
  const short = await server.token("acme", "write", new Date(endsMs).toISOString());
  for (let beganMs = 0; beganMs < endsMs; ) {
    beganMs = Date.now();
    const text = await status(short);
    if (Date.now() < endsMs) t.match(text, /^200/, "until then it is good");
    if (beganMs >= endsMs) t.match(text, /^401 .*it has expired/);
    await new Promise((wake) => setTimeout(wake, 200));
  }
});

t.test(
  "git-lfs with a token: pushed, cloned, and a link that outlives a restart",
  { skip: SKIP_LFS, timeout: 120_000 },
  async (t) => {
    const server = await startGuarded(t);
    const token = await server.user("acme");
    const reader = await server.user("rita");
    const folder = join(await tempFolder(t), "work");
    const url = server.at("acme/model", token);
    await git(["init", "-q", folder]);
    await git(["lfs", "install", "--local"], { cwd: folder });
    await git(["lfs", "track", "*.bin"], { cwd: folder });
    const content = randomBytes(3_000_000);
    await writeFile(join(folder, "large.bin"), content);
    await commit(folder, "large", {});
    const pushed = await tryGit(["push", url, "main"], { cwd: folder });
    t.equal(pushed.code, 0, pushed.stderr);
    const clone = async (from: string) => {
      const copy = join(await tempFolder(t), "copy");
      const filter = [
        "-c",
        "filter.lfs.process=git-lfs filter-process",
        "-c",
        "filter.lfs.smudge=git-lfs smudge -- %f",
        "-c",
        "filter.lfs.required=true",
      ];
      const run = await tryGit(["clone", "-q", ...filter, from, copy]);
      return run.code === 0 ? readFile(join(copy, "large.bin")) : run.stderr;
    };
    t.match(await clone(server.at("acme/model", reader)), /not found/);
    await server.command("repo.grant", { name: "acme/model", user: "rita", role: "read" });
    t.same(await clone(server.at("acme/model", reader)), content);

    const oid = (await git(["lfs", "ls-files", "--long"], { cwd: folder })).split(" ")[0];
    const body = JSON.stringify({
      operation: "download",
      objects: [{ oid, size: content.length }],
    });
    const headers = {
      "Content-Type": "application/vnd.git-lfs+json",
      Authorization: `Bearer ${token}`,
    };
    const reply = (await (
      await fetch(`${server.url}/acme/model.git/info/lfs/objects/batch`, {
        method: "POST",
        headers,
        body,
      })
    ).json()) as { objects: { actions: { download: { href: string } } }[] };
    const href = new URL(reply.objects[0]?.actions.download.href ?? "");
    await server.stop();
    const again = await startLakepack(t, { data: server.data, env: { LAKEPACK_AUTH: "token" } });
    t.equal(
      (await fetch(`${again.url}${href.pathname}${href.search}`)).status,
      200,
      "its key is kept",
    );
    t.notMatch(again.out(), /lpk_/, "the first token is shown once");
  },
);

t.test("guessing is slowed, and nobody is locked out by it", { timeout: 120_000 }, async (t) => {
  const server: Guarded = await startGuarded(t);
  const token = await server.user("acme");
  await server.command("repo.create", { name: "acme/model" });
  const abort = new AbortController();
  const status = async (shown: string) =>
    (
      await fetch(`${server.url}/acme/model/HEAD`, {
        headers: { Authorization: `Bearer ${shown}` },
        signal: abort.signal,
      })
    ).status;
  const wrong = () => status("lpk_".padEnd(36, "b"));
  t.same(
    await Promise.all([wrong(), wrong(), wrong(), wrong(), wrong()]),
    [401, 401, 401, 401, 401],
    "errors of typing cost nothing",
  );
  const startedMs = performance.now();
  const answers: { readonly code: number; readonly afterMs: number }[] = [];
  const guesses = Array.from({ length: 20 }, () =>
    wrong().then((code) => answers.push({ code, afterMs: performance.now() - startedMs })),
  );
  t.equal(
    await status(token),
    200,
    "a real token from the same address does not wait behind the guesses",
  );
  t.equal((await fetch(`${server.url}/acme/model/HEAD`)).status, 401, "nor does who shows none");
  const slowed = () => answers.filter(({ code }) => code === 401);
  while (slowed().length < 4) await new Promise((wake) => setTimeout(wake, 50));
  t.ok((slowed()[3]?.afterMs ?? 0) > 3_700, "one waits behind the other, each twice as long");
  t.ok(
    answers.filter(({ code }) => code === 429).length >= 8,
    "what would wait too long is refused at once",
  );
  t.equal(await status(token), 200);
  abort.abort();
  await Promise.allSettled(guesses);
});

t.test("what is no token is told so", { timeout: 60_000 }, async (t) => {
  const server = await startGuarded(t);
  for (const Authorization of ["Basic !!", "Basic", "Digest x", "Bearer lpk_short"]) {
    const reply = await fetch(`${server.url}/acme/model/HEAD`, { headers: { Authorization } });
    t.match([reply.status, await reply.text()], [401, /begins with lpk_/], Authorization);
  }
});
