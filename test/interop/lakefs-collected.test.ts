/**
 * Stock git and git-lfs on a lakeFS whose collection has removed data of old commits: what they,
 * the log and doctor are told.
 */
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { blockStores } from "../support/everyday.js";
import { lakepack } from "../support/lakepack-command.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, commit, git, logShows, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import {
  emptyRepository,
  headOf,
  put,
  settingsFor,
  signal,
  startBeside,
} from "../support/lakefs-rig.js";

const SKIP =
  spawnSync("git", ["lfs", "version"]).status === 0 ? skipLakefs : "git-lfs is not installed";

async function collect(
  lakefs: RunningLakefs,
  repository: string,
  ref: string,
  path: string,
): Promise<void> {
  await lakefs.collect(
    (await lakefs.client.in(repository).statObject(ref, path, signal)).physical_address,
  );
}

t.setTimeout(180_000);
t.test("collected data", { skip: skipLakefs, timeout: 180_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const folder = await tempFolder(t);

  await t.test("of commits made in lakeFS", async (t) => {
    const name = await emptyRepository(lakefs, "native");
    const ids: string[] = [];
    for (const text of ["one", "two", "three"]) {
      await put(lakefs, name, "dir/text", text);
      ids.push((await lakefs.client.in(name).commit("main", { message: text }, signal)).id);
    }
    await collect(lakefs, name, ids[1] as string, "dir/text");
    const server = await startBeside(t, lakefs);
    const url = `${server.url}/lakefs/${name}.git`;
    for (const version of [0, 2] as const) {
      const work = join(folder, `native-${version}`);
      const run = await tryGit(["clone", url, work], { version });
      t.equal(run.code, 0, run.stderr);
      const cut = (ids[1] as string).slice(0, 12);
      t.match(
        run.stderr,
        new RegExp(
          `warning: lakeFS commit ${cut} and what is before it are not in this history: the data of dir/text there is gone`,
        ),
      );
      await checkFsck(t, work);
      t.equal(await git(["log", "--format=%s"], { cwd: work }), "three");
      t.notMatch(
        (await tryGit(["fetch", "--progress"], { cwd: work, version })).stderr,
        /warning/,
        "not at each fetch",
      );
    }
    await git(["clone", "-q", "--depth=1", url, join(folder, "shallow")]);
    t.ok(
      await logShows(
        server,
        new RegExp(
          `data of an old lakeFS commit is gone.*|"commit":"${ids[1]}","path":"dir/text".*data of an old`,
        ),
      ),
    );
    const found = await lakepack(["doctor", "--data", server.data], settingsFor(lakefs));
    t.match(found, {
      code: 1,
      out: new RegExp(
        `BAD +history: ${name}: cut at lakeFS commit ${(ids[1] as string).slice(0, 12)} \\(dir/text\\)\\n +what to do: .*retention`,
      ),
    });
    const all = await lakepack(
      ["doctor", "--data", server.data, "--lakefs", name],
      settingsFor(lakefs),
    );
    t.match(all, {
      code: 0,
      out: new RegExp(
        `lakeFS commit ${ids[1]} and what is before it are not in Git's history: the data of dir/text there is gone`,
      ),
    });
    const other = await startBeside(t, lakefs);
    t.same(await remoteRefs(`${other.url}/lakefs/${name}.git`), await remoteRefs(url));
  });

  await t.test(
    "of commits that were pushed: their ids are known, so they stay what they are",
    async (t) => {
      const name = await emptyRepository(lakefs, "pushed");
      const first = await startBeside(t, lakefs);
      const work = join(folder, "pusher");
      await git(["init", "-q", "--initial-branch=main", work]);
      await commit(work, "one", { "dir/text": "one\n", other: "other\n" });
      await git(["push", "-q", `${first.url}/lakefs/${name}.git`, "main"], { cwd: work });
      const { id: old } = await headOf(lakefs, name);
      await commit(work, "two", { "dir/text": "two\n" });
      await git(["push", "-q", `${first.url}/lakefs/${name}.git`, "main"], { cwd: work });
      await collect(lakefs, name, old, "dir/text");
      const server = await startBeside(t, lakefs); // with a key of its own: seals tell it nothing
      const url = `${server.url}/lakefs/${name}.git`;
      t.same(await remoteRefs(url), await remoteRefs(`${first.url}/lakefs/${name}.git`));
      const shallow = join(folder, "pushed-shallow");
      await git(["clone", "-q", "--depth=1", url, shallow]);
      t.equal(await readFile(join(shallow, "dir/text"), "utf8"), "two\n");
      const blobless = join(folder, "pushed-blobless");
      await git(["clone", "-q", "--filter=blob:none", url, blobless]);
      t.equal(await git(["log", "--format=%s"], { cwd: blobless }), "two\none");
      for (const version of [0, 2] as const) {
        const whole = await tryGit(["clone", url, join(folder, `pushed-whole-${version}`)], {
          version,
        });
        t.not(whole.code, 0);
        t.match(
          whole.stderr,
          new RegExp(`remote: .*gone from its storage.*path: dir/text.*commit: ${old}.*--depth=1`),
        );
      }
      const doctor = () => lakepack(["doctor", "--data", server.data], settingsFor(lakefs));
      const told = new RegExp(
        `BAD +history: ${name}: data of a pushed file is gone at lakeFS commit ${old.slice(0, 12)} \\(dir/text\\)\\n +what to do: .*--depth=1`,
      );
      t.match(await doctor(), { code: 1, out: told });
      t.ok(await logShows(server, /data of a pushed commit is gone from lakeFS's storage/));

      // What is whole goes on: the branch itself, new commits, and another history.
      await commit(work, "three", { more: "more\n" });
      await git(["push", "-q", url, "main"], { cwd: work });
      for (const version of [0, 2] as const)
        t.equal((await tryGit(["fetch", "-q", "--depth=1"], { cwd: shallow, version })).code, 0);
      await git(["pull", "-q", "--depth=2"], { cwd: shallow });
      t.equal(await git(["log", "--format=%s"], { cwd: shallow }), "three\ntwo");
      await git(["switch", "-q", "--orphan", "whole"], { cwd: work });
      await commit(work, "whole", { own: "own\n" });
      await git(["push", "-q", url, "whole"], { cwd: work });
      const single = join(folder, "pushed-single");
      await git(["clone", "-q", "--single-branch", "--branch=whole", url, single]);
      await checkFsck(t, single);
      await git(["clone", "-q", `${first.url}/lakefs/${name}.git`, join(folder, "pushed-before")]);
    },
  );
});

for (const blocks of blockStores) {
  t.test(
    `a large file that is gone, ${blocks} blocks`,
    { skip: SKIP, timeout: 120_000 },
    async (t) => {
      const lakefs = await startLakefs(t, blocks);
      const name = await emptyRepository(lakefs, "large");
      await put(lakefs, name, "gone.bin", Buffer.alloc(2_000_000, 1));
      await put(lakefs, name, "here.bin", Buffer.alloc(2_000_000, 2));
      await lakefs.client.in(name).commit("main", { message: "large" }, signal);
      const server = await startBeside(t, lakefs);
      const url = `${server.url}/lakefs/${name}.git`;
      const work = join(await tempFolder(t), "work");
      await git(["clone", "-q", url, work]); // pointers
      await collect(lakefs, name, "main", "gone.bin");
      await git(["lfs", "install", "--local"], { cwd: work });
      const began = performance.now();
      const pull = await tryGit(["lfs", "pull"], { cwd: work });
      t.not(pull.code, 0);
      t.match(pull.stderr, /\[410\] .*gone from lakeFS's storage/);
      t.ok(performance.now() - began < 20_000, "at once");
      t.equal((await readFile(join(work, "here.bin"))).length, 2_000_000, "the others are there");

      const batch = async (operation: string) => {
        const [oid] = /[0-9a-f]{64}/.exec(
          await git(["show", "HEAD:gone.bin"], { cwd: work }),
        ) as RegExpExecArray;
        const headers = {
          accept: "application/vnd.git-lfs+json",
          "content-type": "application/vnd.git-lfs+json",
        };
        const body = JSON.stringify({ operation, objects: [{ oid, size: 2_000_000 }] });
        const answer = await fetch(`${url}/info/lfs/objects/batch`, {
          method: "POST",
          headers,
          body,
        });
        return {
          status: answer.status,
          body: (await answer.json()) as { objects: Record<string, unknown>[] },
        };
      };
      t.match(await batch("download"), {
        status: 200,
        body: { objects: [{ error: { code: 410, message: /upload it again/ } }] },
      });
    },
  );
}
