/**
 * Packs that promise contents are folded with their lists: contents stay where they are until
 * somebody wants them, and a damaged list is made again.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { lakepack } from "../support/lakepack-command.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import {
  checkFsck,
  commit,
  copyData,
  git,
  type Lakepack,
  logShows,
  objectSet,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { readRefs, StoredSide } from "../support/lakefs-folding.js";
import { emptyRepository, headOf, put, signal, startBeside } from "../support/lakefs-rig.js";

t.setTimeout(240_000);

/** All servers here have it: what one has landed the others take for what it is. */
const ENV = { LAKEPACK_SEAL_KEY: "5e".repeat(32), LAKEPACK_LAKEFS_POLL_SECONDS: "0" };
const PUSHES = LIMITS.foldMadePacksMin + 3;

async function contentsRead({ url }: Lakepack): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const calls =
    /^lakepack_lakefs_calls_total\{call="(readObject|streamObject|readPresigned|streamPresigned)"\} (\d+)$/gm;
  return [...text.matchAll(calls)].reduce((sum, [, , count]) => sum + Number(count), 0);
}

/** One byte of the file is another. */
async function damage(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] as number) ^ 1;
  await writeFile(path, bytes);
}

async function lists(stored: StoredSide): Promise<string[]> {
  const folder = join(await stored.folder(), "lake-promised");
  return (await readdir(folder))
    .filter((name) => !name.endsWith(".ids"))
    .map((name) => join(folder, name));
}

/**
 * A repository that one server pushes to, commit by commit, and another reads after each, without
 * contents.
 */
async function readBehind(
  t: Test,
  lakefs: RunningLakefs,
): Promise<{
  readonly name: string;
  readonly work: string;
  readonly reader: Lakepack;
  readonly blobs: number;
}> {
  const name = await emptyRepository(lakefs, "promising");
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const writer = await startBeside(t, lakefs, ENV);
  const reader = await startBeside(t, lakefs, ENV);
  for (let push = 0; push < PUSHES; push++) {
    await commit(work, `push ${push}`, {
      "README.md": `# ${push}\n`,
      [`d/${push % 3}.txt`]: `${"line\n".repeat(50)}${push}\n`,
      "same.txt": "the same\n",
    });
    await git(["push", "-q", `${writer.url}/lakefs/${name}.git`, "main"], { cwd: work });
    await readRefs(reader, name);
  }
  await writer.stop();
  return { name, work, reader, blobs: 2 * PUSHES + 1 };
}

t.test(
  "promising packs are folded, and each content is read once, when somebody wants it",
  { skip: skipLakefs },
  async (t) => {
    const lakefs = await startLakefs(t);
    const { name, work, reader, blobs } = await readBehind(t, lakefs);
    const stored = new StoredSide(reader, name);
    for (
      let tries = 0;
      tries < 600 && (await stored.packs()).length >= LIMITS.foldMadePacksMin;
      tries++
    )
      await sleep(100);
    t.ok(
      (await stored.packs()).some(({ promised = 0 }) => promised > 4),
      "a folded pack has a list",
    );
    await stored.collect();
    const [pack, ...others] = await stored.packs();
    t.same(
      [others.length, pack?.promised, (await lists(stored)).length],
      [0, blobs, 1],
      "one pack, one list of all that is promised",
    );
    t.equal(await contentsRead(reader), 0, "folding reads nothing");
    t.match(await lakepack(["verify", `lakefs/${name}`, "--data", reader.data]), { code: 0 });
    await reader.stop();
    const [damaged, folding] = [
      join(await tempFolder(t), "data"),
      join(await tempFolder(t), "data"),
    ];
    for (const copy of [damaged, folding]) await copyData(reader.data, copy);

    await t.test("contents", async (t) => {
      const server = await startBeside(t, lakefs, ENV, { data: reader.data });
      const url = `${server.url}/lakefs/${name}.git`;
      const clone = join(await tempFolder(t), "clone");
      await git(["clone", "-q", "--filter=blob:none", "--no-checkout", url, clone]);
      t.equal(await git(["cat-file", "-p", "HEAD~3:README.md"], { cwd: clone }), `# ${PUSHES - 4}`);
      t.equal(await contentsRead(server), 1);
      await stored.collect();
      t.equal(
        (await stored.packs())[0]?.promised,
        blobs - 1,
        "what a folded pack holds is not promised",
      );
      const whole = join(await tempFolder(t), "whole");
      await git(["clone", "-q", "--mirror", url, whole]);
      await checkFsck(t, whole);
      t.same(await objectSet(whole), await objectSet(work));
      t.equal(await contentsRead(server), blobs, "nothing twice");
      await stored.collect();
      t.same(
        [(await stored.packs()).map(({ promised }) => promised), await lists(stored)],
        [[undefined], []],
        "nothing is promised any more",
      );
      t.match(await lakepack(["verify", `lakefs/${name}`, "--data", server.data]), { code: 0 });
    });

    await t.test(
      "a damaged list of folded packs is made again, of all their commits",
      async (t) => {
        const broken = new StoredSide({ data: damaged }, name);
        await damage((await lists(broken))[0] as string);
        const server = await startBeside(t, lakefs, ENV, { data: damaged });
        const whole = join(await tempFolder(t), "whole");
        await git(["clone", "-q", "--mirror", `${server.url}/lakefs/${name}.git`, whole]);
        await checkFsck(t, whole);
        t.same(await objectSet(whole), await objectSet(work));
        t.match(server.log(), /damaged; its commits are read again/);
        t.ok(await logShows(server, /was made again/));
        t.match(await lakepack(["verify", `lakefs/${name}`, "--data", damaged]), { code: 0 });
      },
    );

    await t.test("folding meets a damaged list, and has it made again", async (t) => {
      const met = new StoredSide({ data: folding }, name);
      await damage((await lists(met))[0] as string);
      const server = await startBeside(t, lakefs, ENV, { data: folding });
      await put(lakefs, name, "native.txt", "native\n");
      await lakefs.client.in(name).commit("main", { message: "native" }, signal);
      await readRefs(server, name);
      t.equal((await met.packs()).length, 2);
      await met.collect();
      t.match(server.log(), /was made again/);
      t.equal((await met.packs()).length, 1);
      t.match(await lakepack(["verify", `lakefs/${name}`, "--data", folding]), { code: 0 });
      const whole = join(await tempFolder(t), "whole");
      await git(["clone", "-q", "--mirror", `${server.url}/lakefs/${name}.git`, whole]);
      await checkFsck(t, whole);
      t.equal(await git(["rev-list", "--count", "main"], { cwd: whole }), String(PUSHES + 1));
    });
  },
);

t.test(
  "a list that was left by a pack in another's place finds its commits",
  { skip: skipLakefs },
  async (t) => {
    const lakefs = await startLakefs(t);
    const name = await emptyRepository(lakefs, "left");
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    const writer = await startBeside(t, lakefs, ENV);
    const push = (server: Lakepack) =>
      tryGit(["push", "-q", `${server.url}/lakefs/${name}.git`, "main"], { cwd: work });
    await commit(work, "one", { "a.txt": "one\n", "b.txt": "b\n" });
    await push(writer);
    const { id: old } = await headOf(lakefs, name);
    await commit(work, "two", { "a.txt": "two\n" });
    await push(writer);
    await lakefs.collect(
      (await lakefs.client.in(name).statObject(old, "a.txt", signal)).physical_address,
    );
    const first = await startBeside(t, lakefs, ENV);
    await readRefs(first, name);
    await commit(work, "three", { "c.txt": "three\n" });
    const pushed = await push(first);
    t.equal(pushed.code, 0, pushed.stderr);
    await first.stop();
    const stored = new StoredSide(first, name);
    t.equal(
      (await stored.packs()).find(({ promised }) => promised !== undefined)?.promised,
      1,
      "what is gone is promised still, by the pack in the other's place",
    );
    for (const list of await lists(stored)) await damage(`${list}.ids`);
    const second = await startBeside(t, lakefs, ENV, { data: first.data });
    const shallow = join(await tempFolder(t), "shallow");
    const run = await tryGit([
      "clone",
      "-q",
      "--depth=2",
      `${second.url}/lakefs/${name}.git`,
      shallow,
    ]);
    t.equal(run.code, 0, run.stderr);
    await checkFsck(t, shallow);
    t.match(second.log(), /was made again/);
    t.match(await lakepack(["verify", `lakefs/${name}`, "--data", second.data]), { code: 0 });
  },
);
