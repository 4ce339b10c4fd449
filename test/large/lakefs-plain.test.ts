/** A plain file of 2 GiB lands in lakeFS in bounded memory. Only with `npm run test:large`. */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import t from "tap";
import { RssWatch } from "../../bench/process.js";
import { Random } from "../../bench/random.js";
import { commit, git } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, headOf, signal, startBeside } from "../support/lakefs-rig.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const MIB = 1024 * 1024;
const FILE_BYTES = 2_048 * MIB;
const RSS_GROWTH_MAX = 300 * MIB;
const skip = process.env["TEST_LARGE"] === undefined ? "only with npm run test:large" : skipLakefs;

t.setTimeout(1_800_000);

/** Nothing compresses it; its SHA-256. */
async function writeLarge(path: string): Promise<string> {
  const hash = createHash("sha256");
  const file = createWriteStream(path);
  const block = new Random(13).bytes(16 * MIB);
  for (let at = 0; at < FILE_BYTES; at += block.length) {
    block.writeUInt32LE(at / block.length, 0);
    hash.update(block);
    if (!file.write(Buffer.from(block))) await once(file, "drain");
  }
  file.end();
  await once(file, "close");
  return hash.digest("hex");
}

t.test("a plain file of 2 GiB lands in bounded memory", { skip, timeout: 1_800_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const repository = await emptyRepository(lakefs, "large");
  const server = await startBeside(t, lakefs, { LAKEPACK_PLAIN_FILE_BYTES_MAX: "4g" });
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const sha256 = await writeLarge(join(work, "large.bin"));
  await git(["config", "core.compression", "0"], { cwd: work });
  await commit(work, "large", {});
  const watch = new RssWatch([server.pid]);
  await git(["push", "-q", `${server.url}/lakefs/${repository}.git`, "main"], { cwd: work });
  const growth = watch.stop();
  t.comment(`push: RSS grew ${Math.round(growth / MIB)} MiB`);
  t.ok(growth < RSS_GROWTH_MAX, `push: ${growth}`);
  const hash = createHash("sha256");
  const { body } = await lakefs.client
    .in(repository)
    .streamObject((await headOf(lakefs, repository)).id, "large.bin", undefined, signal);
  for await (const bytes of body) hash.update(bytes);
  t.equal(hash.digest("hex"), sha256, "lakeFS has its bytes");
});
