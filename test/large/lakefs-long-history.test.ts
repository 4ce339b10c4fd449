/**
 * 20,000 commits that lakeFS alone has made: read, cloned, fetched one after the other, and read
 * again after a restart. LONG_HISTORY: another number. Only with `npm run test:large`: minutes.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { cpuSeconds, RssWatch } from "../../bench/process.js";
import { LIMITS } from "../../src/base/limits.js";
import { loopSettings, loopTurns } from "../support/budgets-rig.js";
import { checkFsck, git, type Lakepack, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { StoredSide } from "../support/lakefs-folding.js";
import { settingsFor } from "../support/lakefs-rig.js";
import { makeLongHistory } from "../support/long-history.js";
import { createSource } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const MIB = 1024 * 1024;
const COMMITS = Number(process.env["LONG_HISTORY"] ?? 20_000);
/** Commits that are made and fetched one by one afterwards. */
const FETCHES = 40;
/** Milliseconds of the event loop's longest turn, in CPU time. */
const LOOP_MS_MAX = 250;
const RSS_MAX = 700 * MIB;
const skip = process.env["TEST_LARGE"] === undefined ? "only with npm run test:large" : skipLakefs;

t.test(`${COMMITS} commits of lakeFS`, { skip, timeout: 3_000_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const source = await createSource(lakefs);
  const made = performance.now();
  await makeLongHistory(source, COMMITS);
  t.comment(`made in ${seconds(made)}`);
  const file = join(await tempFolder(t), "loop.json");
  const data = join(await tempFolder(t), "data");
  const env = {
    ...settingsFor(lakefs),
    LAKEPACK_LAKEFS_REFS_WAIT_SECONDS: "3600",
    LAKEPACK_LAKEFS_POLL_SECONDS: "3600",
    ...loopSettings(file),
  };
  const start = () => startLakepack(t, { env, data });
  let server = await start();
  const urlOf = () => `${server.url}/lakefs/${source.name}.git`;

  const tip = await measured(t, "first reading", server, file, async () =>
    (await git(["ls-remote", urlOf(), "refs/heads/main"])).slice(0, 40),
  );
  const clone = join(await tempFolder(t), "clone.git");
  await measured(t, "clone", server, file, () => git(["clone", "-q", "--bare", urlOf(), clone]));
  t.equal(await git(["rev-list", "--count", "main"], { cwd: clone }), String(COMMITS));
  t.equal(await git(["rev-list", "--merges", "--count", "main"], { cwd: clone }), "0");
  await checkFsck(t, clone);

  await measured(t, `${FETCHES} commits, a fetch after each`, server, file, async () => {
    for (let at = 0; at < FETCHES; at++) {
      await source.put({ [`later/${at % 7}`]: `${at}\n` });
      await source.commit(`later ${at}`);
      await git(["fetch", "-q", urlOf(), "main:main"], { cwd: clone });
    }
  });
  t.equal(await git(["rev-list", "--count", "main"], { cwd: clone }), String(COMMITS + FETCHES));
  const stored = new StoredSide(server, source.name);
  for (
    let tries = 0;
    tries < 600 && (await stored.packs()).length >= LIMITS.foldMadePacksMin;
    tries++
  )
    await sleep(100);
  const packs = (await stored.packs()).length;
  t.comment(
    `${packs} live packs, manifest ${await stored.manifestBytes()} bytes, files of packs ${(await stored.files()).bytes} bytes`,
  );
  t.ok(packs < LIMITS.foldMadePacksMin, `${packs} packs, folded without anybody asking`);
  await stored.collect();
  t.comment(
    `collected: ${(await stored.packs()).length} packs, files ${(await stored.files()).bytes} bytes, trees and commits ${await stored.historyBytes()} bytes`,
  );

  await server.stop();
  server = await start();
  const again = await measured(t, "after a restart", server, file, async () =>
    (await git(["ls-remote", urlOf(), "refs/heads/main"])).slice(0, 40),
  );
  t.equal(again, await git(["rev-parse", "main"], { cwd: clone }));
  t.equal(await git(["rev-parse", `main~${FETCHES}`], { cwd: clone }), tip);
});

const seconds = (since: number) => `${((performance.now() - since) / 1_000).toFixed(1)} s`;

/** Runs a step, notes what it cost the server, and holds that against the bounds. */
async function measured<R>(
  t: Test,
  name: string,
  server: Lakepack,
  file: string,
  step: () => Promise<R>,
): Promise<R> {
  await loopTurns(file);
  const watch = new RssWatch([server.pid]);
  const [started, cpu] = [performance.now(), cpuSeconds([server.pid])];
  const result = await step();
  const took = seconds(started);
  watch.stop();
  const [longest = 0] = (await loopTurns(file)).turns;
  const mib = Math.round(watch.peak / MIB);
  t.comment(
    `${name}: ${took}, ${(cpuSeconds([server.pid]) - cpu).toFixed(1)} s of CPU, at most ${mib} MiB resident, event loop ${longest.toFixed(0)} ms at most`,
  );
  t.ok(longest <= LOOP_MS_MAX, `${name}: the event loop was free (${longest.toFixed(0)} ms)`);
  t.ok(watch.peak <= RSS_MAX, `${name}: ${mib} MiB`);
  return result;
}
