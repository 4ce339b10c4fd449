/**
 * Ten thousand one-file commits made in lakeFS and read one at a time, as a writer leaves them who commits while somebody reads: few packs, a small manifest, a clone
 * that costs what one of a single pack does, trees as small as stock git's. Only with `npm run test:large`: minutes. `COMMITS=N`, `FILES=N` for other sizes.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { cpuSeconds } from "../../bench/process.js";
import { LIMITS } from "../../src/base/limits.js";
import { checkFsck, git, tempFolder } from "../interop/harness.js";
import { clonesBeside, historyBytes, readRefs, repackedByGit, StoredSide } from "../interop/lakefs-folding.js";
import { startBeside } from "../interop/lakefs-rig.js";
import { GeneratedLake, oneFileListing } from "../lakefs/generated.js";
import { skipLakefs } from "../lakefs/servers.js";

const commits = Number(process.env["COMMITS"] ?? 10_000);
const files = Number(process.env["FILES"] ?? 10_000);
const skip = process.env["TEST_LARGE"] === undefined ? "only with npm run test:large" : skipLakefs;

t.test(`${commits} commits of ${files} files in one folder`, { skip, timeout: 7_200_000 }, async (t) => {
  const lake = await GeneratedLake.start(t);
  const { name } = lake.source;
  let head = await lake.commit(oneFileListing(files, 0));
  const env = { LAKEPACK_LAKEFS_POLL_SECONDS: "0" };
  const server = await startBeside(t, lake.proxy.server, env);
  const stored = new StoredSide(server, name);
  await readRefs(server, name);
  const [most, bytes] = [{ packs: 0, manifest: 0 }, { reading: cpuSeconds([server.pid]) }];
  for (let commit = 1; commit <= commits; commit++) {
    head = await lake.record(oneFileListing(files, commit), head);
    await readRefs(server, name);
    if (commit % 10 === 0) {
      most.packs = Math.max(most.packs, (await stored.packs()).length);
      most.manifest = Math.max(most.manifest, await stored.manifestBytes());
    }
    if (commit % 500 === 0) t.comment(`${commit} commits: ${(await stored.packs()).length} packs, CPU ${(cpuSeconds([server.pid]) - bytes.reading).toFixed(0)} s`);
  }
  for (let tries = 0; tries < 600 && (await stored.packs()).length >= LIMITS.foldMadePacksMin; tries++) await sleep(100);
  t.comment(`at most ${most.packs} packs, manifest ${most.manifest} bytes; then ${(await stored.packs()).length} packs; the server used ${(cpuSeconds([server.pid]) - bytes.reading).toFixed(1)} s of CPU`);
  t.ok((await stored.packs()).length < LIMITS.foldMadePacksMin);
  t.ok(most.manifest <= 65_536);

  const url = `${server.url}/lakefs/${name}.git`;
  const mirror = await repackedByGit(url, join(await tempFolder(t), "mirror"));
  await checkFsck(t, mirror);
  t.equal(await git(["rev-list", "--count", "refs/heads/main"], { cwd: mirror }), String(commits + 1));
  const theirs = historyBytes(mirror);
  const before = await stored.historyBytes();
  await server.stop();
  // One pack of all of it, in another store.
  const { ratio, packs } = await clonesBeside(t, { data: server.data, name, env, lakefs: lake.proxy.server });
  t.comment(`a clone of ${packs} packs costs ${ratio.toFixed(2)} of one of a single pack`);
  t.ok(ratio <= 1.3, "a clone costs what one of a single pack does");
  const again = await startBeside(t, lake.proxy.server, env, { data: server.data });
  await new StoredSide(again, name).collect();
  const ours = await stored.historyBytes();
  const { bytes: disk, names } = await stored.files();
  t.comment(`trees and commits ${before} bytes, quiet ${ours}, stock git ${theirs}; ${names.length} files of ${disk} bytes`);
  t.ok(ours <= 1.5 * theirs, `${(ours / theirs).toFixed(2)} of stock git's`);
});
