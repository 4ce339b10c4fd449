/**
 * The process dies at each change of the disk that a first push makes, and between the row that
 * names a repository and its first manifest, and behind that: the name leads to nothing or to all
 * that was pushed, the same push lands then, and database and store tell the same.
 */
import { randomBytes } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import Libsql from "libsql";
import t, { type Test } from "tap";
import { lakepack } from "../support/lakepack-command.js";
import { commit, folderOf, git, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { strideOf } from "../support/everyday.js";
import { History } from "./history.js";

t.setTimeout(600_000);

async function workWith(t: Test): Promise<{ readonly work: string; readonly oid: string }> {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  return {
    work,
    oid: await commit(work, "one", { "a.txt": "a\n", "b.bin": randomBytes(2_000).toString("hex") }),
  };
}

const stateOf = (data: string, title: string): string | undefined => {
  const database = new Libsql(join(data, "lakepack.db"));
  const row = database.prepare("SELECT state FROM repositories WHERE title = ?").get(title) as
    | { state: string }
    | undefined;
  database.close();
  return row?.state;
};

/** As if the process had died before it noted the first manifest. */
const unmake = (data: string, title: string): void => {
  const database = new Libsql(join(data, "lakepack.db"));
  database.prepare("UPDATE repositories SET state = 'making' WHERE title = ?").run(title);
  database.close();
};

async function checkGood(t: Test, data: string, what: string): Promise<void> {
  const verified = await lakepack(["verify", "--all", "--data", data]);
  t.equal(verified.code, 0, `${what}: verify says ${verified.out}${verified.err}`);
  const doctor = await lakepack(["doctor", "--json", "--data", data]);
  t.match(
    (JSON.parse(doctor.out) as { name: string; good: boolean }[]).find(
      ({ name }) => name === "repositories",
    ),
    { good: true },
    what,
  );
}

t.test("at each change of the disk", { timeout: 500_000 }, async (t) => {
  const { work, oid } = await workWith(t);
  const history = await History.begin(t);
  const states = new Set<string | undefined>();
  const { first, stride } = strideOf(5);
  for (let skip = first; ; skip += stride) {
    const name = `die/at-${skip}`;
    await history.order({
      act: "die",
      kinds: ["open", "write", "sync", "mkdir", "link", "rename", "copy", "remove"],
      skip,
      once: true,
    });
    const run = await tryGit(["push", `${history.server.url}/${name}.git`, "main"], { cwd: work });
    const died = !history.isOrderOpen;
    await history.withdraw();
    if (!died) break; // it makes no more changes
    await history.server.stop();
    const state = stateOf(history.data, name);
    states.add(state);
    await history.start();
    const seen = await tryGit(["ls-remote", `${history.server.url}/${name}.git`, "refs/heads/*"]);
    if (run.code === 0) t.match(seen.stdout, oid, `${name}: what was told to be done is`);
    else
      t.ok(
        seen.stdout.includes(oid) || /not found/.test(seen.stderr),
        `${name}: all or nothing, and never an empty repository: ${seen.stdout}${seen.stderr}`,
      );
    const again = await tryGit(["push", `${history.server.url}/${name}.git`, "main"], {
      cwd: work,
    });
    t.equal(again.code, 0, `${name}: the same push lands: ${again.stderr}`);
    t.equal(stateOf(history.data, name), "made", name);
  }
  await history.server.stop();
  t.ok(states.has("making"), "some died between the row and the first manifest");
  t.comment(`states seen after a crash: ${[...states].join(", ")}`);
  await checkGood(t, history.data, "in the end");
});

t.test("behind the first manifest, before that was noted", async (t) => {
  const { work, oid } = await workWith(t);
  const first = await startLakepack(t);
  await git(["push", "-q", `${first.url}/a/b.git`, "main"], { cwd: work });
  await first.stop();
  unmake(first.data, "a/b");
  const second = await startLakepack(t, { data: first.data });
  t.match(await git(["ls-remote", `${second.url}/a/b.git`]), oid);
  t.equal(stateOf(first.data, "a/b"), "made", "found out by who asks first");
  await second.stop();
});

t.test(
  "a manifest that was there and is gone is damage, for readers, pushers, verify and doctor; the packs stay",
  async (t) => {
    const { work } = await workWith(t);
    const first = await startLakepack(t);
    await git(["push", "-q", `${first.url}/a/b.git`, "main"], { cwd: work });
    await git(["push", "-q", `${first.url}/a/good.git`, "main"], { cwd: work });
    await first.stop();
    const folder = await folderOf(first.data, "a/b");
    await rm(join(folder, "git/manifest"));
    const server = await startLakepack(t, { data: first.data });
    const said =
      /manifest cannot be read: repos\/[0-9a-f]{32}\/git\/manifest \(it is missing\); run: lakepack verify/;
    for (const version of [0, 2] as const) {
      const clone = await tryGit(
        ["clone", `${server.url}/a/b.git`, join(await tempFolder(t), "x")],
        { version },
      );
      t.not(clone.code, 0, "not an empty clone");
      t.match(clone.stderr, said);
    }
    await commit(work, "two", { "c.txt": "c\n" });
    t.match(
      (await tryGit(["push", `${server.url}/a/b.git`, "main"], { cwd: work })).stderr,
      said,
      "a push does not begin it anew",
    );
    t.ok((await readdir(join(folder, "git/objects/pack"))).length >= 3);
    t.match(
      await git(["ls-remote", `${server.url}/a/good.git`]),
      "refs/heads/main",
      "others are served",
    );
    t.match(await lakepack(["verify", "--all", "--data", first.data]), {
      code: 1,
      out: /a\/b: DAMAGED[\s\S]*git\/manifest: it is missing\n[\s\S]*a\/good: good/,
    });
    t.match(await lakepack(["doctor", "--data", first.data]), {
      code: 1,
      out: /BAD {3}repositories: the manifest is gone of a\/b\n.*lakepack repo delete/,
    });
  },
);
