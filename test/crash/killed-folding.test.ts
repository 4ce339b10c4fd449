/**
 * kill -9 at random moments of folding packs that were made from lakeFS: nothing is lost and
 * nothing is left over, and the next fold completes. `ROUNDS=N` for more.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { isFull } from "../support/everyday.js";
import { LIMITS } from "../../src/base/limits.js";
import { lakepack } from "../support/lakepack-command.js";
import { checkFsck, copyData, git, objectSet } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { commitOneByOne, filePath, readRefs, StoredSide } from "../support/lakefs-folding.js";
import { emptyRepository, put, signal, startBeside } from "../support/lakefs-rig.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { seeded } from "../support/random.js";

const rounds = Number(process.env["ROUNDS"] ?? (isFull ? 8 : 2));
const chosen = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const FILES = 300;
/** With the first one fewer packs than are folded while lakeFS is read. */
const COMMITS = LIMITS.foldMadePacksMin - 3;
t.setTimeout(120_000 + rounds * 20_000);

t.test(`${rounds} rounds, seed ${chosen}`, { skip: skipLakefs }, async (t) => {
  const random = seeded(chosen);
  const lakefs = await startLakefs(t);
  const name = await emptyRepository(lakefs, "killed");
  await Promise.all(
    Array.from({ length: FILES }, (_, at) => put(lakefs, name, filePath(at, 0), `file ${at}\n`)),
  );
  await lakefs.client.in(name).commit("main", { message: "all" }, signal);
  const env = { LAKEPACK_LAKEFS_POLL_SECONDS: "0" };
  const first = await startBeside(t, lakefs, env);
  await readRefs(first, name);
  await commitOneByOne(lakefs, name, { from: 0, to: COMMITS, files: FILES, folders: 0 }, () =>
    readRefs(first, name),
  );
  await first.stop(); // before it becomes quiet
  t.ok((await new StoredSide(first, name).packs()).length > 2, "there is something to fold");
  const before = join(await tempFolder(t), "data");
  await copyData(first.data, before);
  const witness = await startBeside(t, lakefs, env, { data: before });
  const whole = join(await tempFolder(t), "whole");
  await git(["clone", "-q", "--mirror", `${witness.url}/lakefs/${name}.git`, whole]);
  const objects = await objectSet(whole);
  await witness.stop();

  let within = 1_500;
  for (let round = 0; round < rounds; round++) {
    const data = join(await tempFolder(t), "data");
    await copyData(first.data, data);
    const server = await startBeside(t, lakefs, env, { data });
    await readRefs(server, name);
    const started = performance.now();
    const collecting = lakepack(["gc", `lakefs/${name}`, "--data", data]);
    // The first one is not killed, and says how long it takes.
    if (round === 0) {
      t.equal((await collecting).code, 0);
      within = performance.now() - started;
    } else await sleep(random.below(Math.ceil(within)));
    await server.kill("SIGKILL");
    await collecting;
    const again = await startBeside(t, lakefs, env, { data });
    const stored = new StoredSide(again, name);
    t.comment(`round ${round}: ${(await stored.packs()).length} packs`);
    const clone = join(await tempFolder(t), "clone");
    await git(["clone", "-q", "--mirror", `${again.url}/lakefs/${name}.git`, clone]);
    t.same(await objectSet(clone), objects, "all is there");
    await checkFsck(t, clone);
    t.match(await lakepack(["verify", `lakefs/${name}`, "--data", data]), { code: 0 });
    await stored.collect();
    const packs = await stored.packs();
    t.equal(packs.length, 1, "the next fold completes");
    t.same(
      (await stored.files()).names.filter((file) => !file.includes(packs[0]?.name as string)),
      [],
      "nothing is left of others",
    );
    t.same(await readdir(join(data, "incoming")), []);
    await again.stop();
  }
});
