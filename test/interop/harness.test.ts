/** The harness itself, so that a failure of another test is never its fault. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  checkFsck,
  git,
  makeSample,
  objectSet,
  remoteRefs,
  startStock,
  stockRepository,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

t.test("stock git clones from and pushes to stock git's server behind the bridge", async (t) => {
  const sample = await makeSample(t);
  const stock = await startStock(t);
  await stockRepository(stock, "ns/sample", sample);
  await stockRepository(stock, "ns/pushed");
  for (const version of [0, 1, 2] as const) {
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", `${stock.url}/ns/sample.git`, copy], { version });
    await checkFsck(t, copy);
    t.same(await objectSet(copy), await objectSet(sample), `version ${version}`);
  }
  await git(["push", "-q", "--mirror", `${stock.url}/ns/pushed.git`], { cwd: sample });
  t.same(await remoteRefs(`${stock.url}/ns/pushed.git`), await remoteRefs(sample));
});

t.test("nobody's configuration is read, and failures are seen", async (t) => {
  t.equal((await tryGit(["config", "--global", "--list"])).stdout, "");
  t.not((await tryGit(["clone", "http://127.0.0.1:1/none"])).code, 0);
  await t.rejects(git(["nonsense"]));
  const folder = await tempFolder(t);
  t.ok(existsSync(folder));
});
