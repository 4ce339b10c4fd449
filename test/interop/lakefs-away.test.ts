/**
 * A lakeFS that is away, as users of stock git see it: waited for, gone on from, and where the
 * setting says so served without.
 */
import { join } from "node:path";
import t from "tap";
import { commitMany, manyPath } from "../support/many-files.js";
import { kindOf, type LakefsProxy, startProxy } from "../support/lakefs-proxy.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, commit, git, logShows, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, put, settingsFor, signal, startBeside } from "../support/lakefs-rig.js";

t.setTimeout(240_000);

/** Counts how often each content was asked for and given. */
function countPassed(proxy: LakefsProxy): Map<string, number> {
  const passed = new Map<string, number>();
  proxy.onCall = (call) => {
    const path =
      kindOf(call) === "content" ? new URL(call.path, "http://x").searchParams.get("path") : null;
    if (path !== null) passed.set(path, (passed.get(path) ?? 0) + 1);
    return undefined;
  };
  return passed;
}

async function many(lakefs: RunningLakefs, files: number): Promise<string> {
  const name = await emptyRepository(lakefs, "many");
  await commitMany(lakefs.client.in(name), { from: 0, to: files, bytes: 200 });
  return name;
}

t.test("a lakeFS that is away", { skip: skipLakefs, timeout: 240_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const folder = await tempFolder(t);
  const proxy = await startProxy(t, lakefs);
  const settings = settingsFor(lakefs, proxy.url);

  await t.test("for seconds, in the middle of a cold clone: the clone goes on", async (t) => {
    const name = await many(lakefs, 200);
    const server = await startBeside(t, lakefs, {
      ...settings,
      LAKEPACK_LAKEFS_PATIENCE_SECONDS: "30",
    });
    const passed = countPassed(proxy);
    const note = proxy.onCall;
    let isOver = false;
    proxy.onCall = (call) => {
      if (passed.size < 80 || isOver) return note(call);
      setTimeout(() => {
        isOver = true;
      }, 3_000);
      return { as: "drop" };
    };
    const clone = join(folder, "patient");
    const run = await tryGit(["clone", "-q", `${server.url}/lakefs/${name}.git`, clone]);
    t.equal(run.code, 0, run.stderr);
    await checkFsck(t, clone);
    t.equal(passed.size, 200);
    t.same(
      [...passed.values()].filter((times) => times !== 1),
      [],
      "each content once",
    );
  });

  await t.test(
    "for longer, while contents are brought that were pushed: the next clone goes on from there",
    async (t) => {
      const name = await emptyRepository(lakefs, "promised");
      const key = "5e".repeat(32);
      const pusher = join(folder, "pusher");
      await git(["init", "-q", "--initial-branch=main", pusher]);
      await commit(
        pusher,
        "many",
        Object.fromEntries(Array.from({ length: 100 }, (_, at) => [manyPath(at), `text ${at}\n`])),
      );
      const first = await startBeside(t, lakefs, { LAKEPACK_SEAL_KEY: key });
      await git(["push", "-q", `${first.url}/lakefs/${name}.git`, "main"], { cwd: pusher });
      const server = await startBeside(t, lakefs, { ...settings, LAKEPACK_SEAL_KEY: key });
      const passed = countPassed(proxy);
      const note = proxy.onCall;
      const url = `${server.url}/lakefs/${name}.git`;
      await remoteRefs(url);
      t.equal(passed.size, 0, "none is needed for the refs");
      proxy.onCall = (call) =>
        passed.size >= 40 && kindOf(call) === "content" ? { as: "drop" } : note(call);
      t.not((await tryGit(["clone", "-q", url, join(folder, "broken")])).code, 0);
      t.ok(passed.size >= 40 && passed.size < 100);
      proxy.onCall = note;
      const clone = join(folder, "whole");
      await git(["clone", "-q", url, clone]);
      await checkFsck(t, clone);
      t.equal(passed.size, 100);
      t.same(
        [...passed.values()].filter((times) => times !== 1),
        [],
        "each content once",
      );
    },
  );

  await t.test(
    "while many clone for the first time: each server reads each content once",
    async (t) => {
      const name = await many(lakefs, 60);
      for (const servers of [1, 2]) {
        const passed = countPassed(proxy);
        const beside = await Promise.all(
          Array.from({ length: servers }, () => startBeside(t, lakefs, settings)),
        );
        const one = (at: number) =>
          git([
            "clone",
            "-q",
            `${beside[at % servers]?.url}/lakefs/${name}.git`,
            join(folder, `crowd-${servers}-${at}`),
          ]);
        await Promise.all(Array.from({ length: 8 }, (_, at) => one(at)));
        t.equal(passed.size, 60);
        t.same(
          [...new Set(passed.values())],
          [servers],
          `8 clones, ${servers === 1 ? "one server" : "two servers"}`,
        );
        t.equal(
          new Set(
            await Promise.all(
              [0, 7].map((at) =>
                git(["rev-parse", "HEAD"], { cwd: join(folder, `crowd-${servers}-${at}`) }),
              ),
            ),
          ).size,
          1,
        );
        await Promise.all(beside.map((server) => server.stop()));
      }
    },
  );
  proxy.onCall = () => undefined;

  await t.test(
    "what is known is served for reading, if the setting says so, and never as new",
    async (t) => {
      const name = await emptyRepository(lakefs, "stale");
      await put(lakefs, name, "file", "one");
      await lakefs.client.in(name).commit("main", { message: "one" }, signal);
      const more = { ...settings, LAKEPACK_LAKEFS_POLL_SECONDS: "1" };
      const strict = await startBeside(t, lakefs, more);
      const stale = { ...more, LAKEPACK_LAKEFS_SERVE_STALE: "true" };
      let server = await startBeside(t, lakefs, stale);
      let url = `${server.url}/lakefs/${name}.git`;
      const work = join(folder, "stale");
      await git(["clone", "-q", url, work]);
      await git(["ls-remote", `${strict.url}/lakefs/${name}.git`]);
      const refs = await remoteRefs(url);

      await proxy.goAway();
      t.not(
        (await tryGit(["ls-remote", `${strict.url}/lakefs/${name}.git`])).code,
        0,
        "not unless it is set",
      );
      for (const restart of [false, true]) {
        const { data } = server;
        if (restart) {
          await server.stop();
          server = await startBeside(t, lakefs, stale, { data });
          url = `${server.url}/lakefs/${name}.git`;
        }
        const what = restart ? "after a restart" : "";
        t.same(await remoteRefs(url), refs, what);
        const clone = join(folder, `stale-${restart}`);
        const run = await tryGit(["clone", url, clone]);
        t.equal(run.code, 0, run.stderr);
        t.match(
          run.stderr,
          /remote: warning: lakeFS does not answer: this is what it had at 20\d\d-.*, and may be old/,
          what,
        );
        await checkFsck(t, clone);
        t.ok(await logShows(server, /lakeFS is away: what is known is served for reading/));
        await git(["commit", "-q", "--allow-empty", "-m", "mine"], { cwd: work });
        const push = await tryGit(["push", url, "HEAD:main"], { cwd: work });
        t.not(push.code, 0);
        t.match(push.stderr, /503|lakeFS does not answer/, "for reading only");
      }

      await proxy.comeBack();
      await put(lakefs, name, "file", "two");
      await lakefs.client.in(name).commit("main", { message: "two" }, signal);
      const clone = join(folder, "fresh");
      for (
        let attempt = 0;
        attempt < 20 && (await remoteRefs(url)).join() === refs.join();
        attempt++
      )
        await new Promise((wake) => setTimeout(wake, 500));
      const run = await tryGit(["clone", url, clone]);
      t.notMatch(run.stderr, /may be old/);
      t.equal(await git(["log", "-1", "--format=%s"], { cwd: clone }), "two");
      t.equal((await tryGit(["push", url, "HEAD:refs/heads/back"], { cwd: clone })).code, 0);
    },
  );
});
