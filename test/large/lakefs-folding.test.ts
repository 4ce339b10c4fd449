/**
 * Ten thousand one-file commits made in lakeFS and read one at a time, as a writer leaves them who
 * commits while somebody reads: few packs, a small manifest, a clone that costs what one of a
 * single pack does, trees as small as stock git's. Only with `npm run test:large`: minutes.
 * `COMMITS=N`, `FILES=N` for other sizes.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { cpuSeconds } from "../../bench/process.js";
import { clonesBeside, readOneByOne } from "../../bench/rows/lakefs-folding.js";
import { LIMITS } from "../../src/base/limits.js";
import { checkFsck, git } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { historyBytes, repackedByGit, StoredSide } from "../support/lakefs-folding.js";
import { startBeside } from "../support/lakefs-rig.js";
import { GeneratedLake } from "../support/generated-objects.js";
import { skipLakefs } from "../support/lakefs-servers.js";

const commits = Number(process.env["COMMITS"] ?? 10_000);
const files = Number(process.env["FILES"] ?? 1_000);
const skip = process.env["TEST_LARGE"] === undefined ? "only with npm run test:large" : skipLakefs;

t.test(
  `${commits} commits of ${files} files in one folder`,
  { skip, timeout: 14_400_000 },
  async (t) => {
    const lake = await GeneratedLake.start(t);
    const { name } = lake.source;
    const env = { LAKEPACK_LAKEFS_POLL_SECONDS: "0", LAKEPACK_CACHE_BYTES: "0" };
    const start = (data?: string) =>
      startBeside(t, lake.proxy.server, env, data === undefined ? {} : { data });
    const server = await start();
    const stored = new StoredSide(server, name);
    const onCommit = async (commit: number) => {
      if (commit % 500 === 0)
        t.comment(
          `${commit} commits: ${(await stored.packs()).length} packs, CPU ${cpuSeconds([server.pid]).toFixed(0)} s`,
        );
    };
    const most = await readOneByOne(lake, server, stored, { commits, files, onCommit });
    for (
      let tries = 0;
      tries < 600 && (await stored.packs()).length >= LIMITS.foldMadePacksMin;
      tries++
    )
      await sleep(100);
    t.comment(
      `at most ${most.packs} packs, ${most.manifest} bytes of manifest; then ${(await stored.packs()).length} packs; CPU ${cpuSeconds([server.pid]).toFixed(1)} s`,
    );
    t.ok((await stored.packs()).length < LIMITS.foldMadePacksMin);
    t.ok(most.manifest <= 65_536);

    const mirror = await repackedByGit(
      `${server.url}/lakefs/${name}.git`,
      join(await tempFolder(t), "mirror"),
    );
    await checkFsck(t, mirror);
    t.equal(
      await git(["rev-list", "--count", "refs/heads/main"], { cwd: mirror }),
      String(commits + 1),
    );
    await server.stop();
    const { ours, one } = await clonesBeside({
      data: server.data,
      name,
      folder: await tempFolder(t),
      start,
      rounds: 5,
    });
    t.ok(
      ours <= 1.3 * one,
      `a clone costs ${ours.toFixed(2)} s of CPU, of a single pack ${one.toFixed(2)}`,
    );
    await start(server.data);
    await stored.collect();
    const [lies, theirs] = [await stored.historyBytes(), historyBytes(mirror)];
    const { bytes, names } = await stored.files();
    t.ok(
      lies <= 1.5 * theirs,
      `trees and commits ${lies} bytes, stock git ${theirs} (${(lies / theirs).toFixed(2)}); ${names.length} files of ${bytes} bytes`,
    );
  },
);
