/**
 * Objects and packs beyond what 32 bits and memory hold. Only with `npm run test:large`: takes
 * minutes and 20 GB of disk.
 */
import { once } from "node:events";
import { spawn } from "node:child_process";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { RssWatch } from "../../bench/process.js";
import { Random } from "../../bench/random.js";
import { folderOf, git, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const RSS_GROWTH_MAX = 300 * MIB;
const skip = process.env["TEST_LARGE"] === undefined ? "only with npm run test:large" : false;

/**
 * Two blobs nothing compresses, 3 GiB and 1.5 GiB, and a file of zeros; made without holding them.
 */
async function makeLarge(path: string): Promise<void> {
  await git(["init", "-q", "--bare", path]);
  const importer = spawn(
    "git",
    [
      "-c",
      "core.compression=0",
      "-c",
      "fastimport.unpackLimit=0",
      "fast-import",
      "--quiet",
      "--big-file-threshold=1m",
    ],
    { cwd: path, stdio: ["pipe", "ignore", "inherit"] },
  );
  const ended = once(importer, "close");
  const write = async (bytes: string | Uint8Array) => {
    if (!importer.stdin.write(bytes)) await once(importer.stdin, "drain");
  };
  const random = new Random(7);
  const block = random.bytes(16 * MIB);
  await write(
    "commit refs/heads/main\ncommitter A <a@example.com> 1700000000 +0000\ndata 5\nlarge\n",
  );
  for (const [name, bytes] of [
    ["three.bin", 3 * GIB],
    ["more.bin", 1.5 * GIB],
  ] as const) {
    await write(`M 100644 inline ${name}\ndata ${bytes}\n`);
    for (let at = 0; at < bytes; at += block.length) {
      block.writeUInt32LE(random.next(), 0);
      await write(Buffer.from(block));
    }
    await write("\n");
  }
  await write("M 100644 inline small.txt\ndata 6\nsmall\n\n\n");
  importer.stdin.end();
  await ended;
}

t.test(
  "a 3 GiB blob and a pack over 4 GiB are pushed and cloned in bounded memory",
  { skip, timeout: 1_800_000 },
  async (t) => {
    const folder = await tempFolder(t);
    const source = join(folder, "source.git");
    await makeLarge(source);
    const server = await startLakepack(t);
    const url = `${server.url}/large/blobs.git`;

    const pushing = new RssWatch([server.pid]);
    await git(["push", "-q", url, "main"], { cwd: source });
    const pushGrowth = pushing.stop();
    t.comment(`push: RSS grew ${Math.round(pushGrowth / MIB)} MiB`);
    t.ok(pushGrowth < RSS_GROWTH_MAX, `push: ${pushGrowth}`);
    const packs = join(await folderOf(server.data, "large/blobs"), "git/objects/pack");
    const pack = (await readdir(packs)).find((name) => name.endsWith(".pack")) as string;
    t.ok((await stat(join(packs, pack))).size > 4 * GIB, "64-bit offsets");
    await git(["verify-pack", join(packs, pack)]);

    const cloning = new RssWatch([server.pid]);
    await git(["clone", "-q", "--no-checkout", url, join(folder, "whole")]);
    await git([
      "clone",
      "-q",
      "--bare",
      "--depth",
      "1",
      "--filter=blob:limit=2g",
      url,
      join(folder, "filtered.git"),
    ]);
    const cloneGrowth = cloning.stop();
    t.comment(`clone: RSS grew ${Math.round(cloneGrowth / MIB)} MiB`);
    t.ok(cloneGrowth < RSS_GROWTH_MAX, `clone: ${cloneGrowth}`);
    t.equal(
      await git(["rev-parse", "HEAD^{tree}"], { cwd: join(folder, "whole") }),
      await git(["rev-parse", "main^{tree}"], { cwd: source }),
    );
    const stored = join(folder, "whole/.git/objects/pack");
    const cloned = (await readdir(stored)).find((name) => name.endsWith(".pack")) as string;
    t.ok((await stat(join(stored, cloned))).size > 4 * GIB);
  },
);
