/**
 * One server has a data folder: by whichever path and however close together others start, they are
 * refused and touch nothing. And a start removes what is its own to remove.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { commit, git, prefixOf, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(180_000);

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

interface Started {
  readonly child: ChildProcess;
  /** Its URL, or what it said when it ended. */
  readonly outcome: string;
}

/** Resolves when it serves or has ended. */
function start(t: Test, data: string): Promise<Started> {
  const child = spawn(
    process.execPath,
    [MAIN, "serve", "--listen", "127.0.0.1:0", "--data", data, "--log-level", "silent"],
    { env: { PATH: process.env["PATH"] }, stdio: ["ignore", "pipe", "pipe"] },
  );
  t.teardown(() => child.kill("SIGKILL"));
  return new Promise((resolve) => {
    let text = "";
    const take = (chunk: Buffer) => {
      text += String(chunk);
      const url = /serving (http:\S+)/.exec(text)?.[1];
      if (url !== undefined) resolve({ child, outcome: url });
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    child.once("close", (code) => resolve({ child, outcome: `${code} ${text}` }));
  });
}

t.test(
  "of many that start at once, by several paths to the folder, one serves and the others say why not",
  async (t) => {
    const folder = await tempFolder(t);
    const data = join(folder, "data");
    await mkdir(data);
    await symlink(data, join(folder, "link"));
    await symlink(folder, join(folder, "around"));
    // The last is what a bind mount looks like from here: another path whose folder is the same.
    const paths = [
      data,
      join(folder, "link"),
      join(folder, "around/data"),
      `${folder}/link/../data`,
      `/proc/self/root${data}`,
    ];
    const started = await Promise.all(paths.map((path) => start(t, path)));
    const serving = started.filter(({ outcome }) => outcome.startsWith("http:"));
    t.equal(serving.length, 1, started.map(({ outcome }) => outcome).join("\n"));
    for (const { outcome } of started)
      if (!outcome.startsWith("http:"))
        t.match(outcome, /^1 .*another lakepack serves this data folder/s);

    const [first] = serving as [Started];
    await mkdir(join(data, "incoming/under-way"), { recursive: true });
    await writeFile(join(data, "incoming/under-way/pack"), "half a pack");
    for (const path of paths)
      t.match((await start(t, path)).outcome, /another lakepack serves this data folder/, path);
    t.equal(
      await readFile(join(data, "incoming/under-way/pack"), "utf8"),
      "half a pack",
      "who is refused removes nothing",
    );
    t.ok(existsSync(join(data, "control.sock")), "nor the socket of the one that serves");
    const work = join(folder, "work");
    await git(["init", "-q", work]);
    const oid = await commit(work, "one", { "a.txt": "a\n" });
    await git(["push", "-q", `${first.outcome}/s/one.git`, "main"], { cwd: work });
    t.match(await git(["ls-remote", `${first.outcome}/s/one.git`]), oid);
  },
);

t.test("at the start only what is in our own incoming folder is removed", async (t) => {
  const data = join(await tempFolder(t), "data");
  const server = await startLakepack(t, { data });
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "one", { "a.txt": "a\n" });
  await git(["push", "-q", `${server.url}/s/one.git`, "main"], { cwd: work });
  await server.stop();
  const prefix = await prefixOf(data, "s/one");
  const kept = [
    `${prefix}/git/~tmp-0011223344556677`,
    `${prefix}/git/objects/pack/pack-x.keep`,
    `${prefix}/git/objects/pack/~tmp-00`,
    "lfs/ab/cd/what",
    "somebody.else",
    "incoming.txt",
    "repos/incoming/a/git/x",
  ];
  const removed = ["incoming/aa/pack", "incoming/lfs-00", "incoming/deep/er/x"];
  for (const name of [...kept, ...removed]) {
    await mkdir(join(data, name, ".."), { recursive: true });
    await writeFile(join(data, name), name);
  }
  const again = await startLakepack(t, { data });
  for (const name of kept) t.equal(await readFile(join(data, name), "utf8"), name, `${name} stays`);
  for (const name of removed) t.notOk(existsSync(join(data, name)), `${name} goes`);
  await git(["clone", "-q", `${again.url}/s/one.git`, join(await tempFolder(t), "clone")]);
});
