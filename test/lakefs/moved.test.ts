/**
 * Pushes of files that the branch has at other paths: their bytes stay where they lie, if somebody
 * of us has seen them there.
 */
import { randomBytes } from "node:crypto";
import { chmod, cp, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import {
  freshView,
  newRepository,
  newWork,
  type RigNode,
  rigNode,
  type Work,
} from "../support/landing-rig.js";
import { signal, Source, testPool } from "../support/lakefs-reading.js";
import {
  isBefore,
  type RunningLakefs,
  skipLakefs,
  startLakefs,
} from "../support/lakefs-servers.js";

t.setTimeout(300_000);

const MAIN = "refs/heads/main";
const FILES = 2_000;

t.test("on local blocks", { skip: skipLakefs, timeout: 300_000 }, async (t) =>
  moved(t, await startLakefs(t, "local"), FILES),
);
t.test("on S3 blocks", { skip: skipLakefs, timeout: 300_000 }, async (t) =>
  moved(t, await startLakefs(t, "s3"), 150),
);

/** Calls by name of one push, which must land. */
async function push(
  t: Test,
  node: RigNode,
  work: Work,
): Promise<{
  readonly uploads: number;
  readonly stages: number;
  readonly all: number;
  readonly bytesOut: number;
}> {
  const figures = () => {
    const { figures } = node.client.http;
    const of = (name: string) => figures.get(name)?.calls ?? 0;
    const bytesOut = [...figures.values()].reduce((sum, one) => sum + one.bytesOut, 0);
    return {
      uploads: of("uploadObject") + of("uploadStream"),
      stages: of("stageObject"),
      all: node.client.http.calls,
      bytesOut,
    };
  };
  const before = figures();
  t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }]);
  const after = figures();
  const since = (name: keyof typeof before) => after[name] - before[name];
  return {
    uploads: since("uploads"),
    stages: since("stages"),
    all: since("all"),
    bytesOut: since("bytesOut"),
  };
}

/**
 * Another node with an empty store has exactly the pushed commits, and lakeFS the bytes of each
 * file.
 */
async function isWhole(
  t: Test,
  server: RunningLakefs,
  pool: Awaited<ReturnType<typeof testPool>>,
  repository: string,
  work: Work,
  paths: readonly string[],
): Promise<void> {
  const { refs, fsck, node } = await freshView(t, server, pool, repository);
  t.same([refs[MAIN], fsck], [work.tip(), ""]);
  t.equal(await node.git("ls-tree", "-r", "main"), work.git("ls-tree", "-r", "HEAD"));
  const { commit_id: head } = await server.client.in(repository).getBranch("main", signal);
  for (const path of paths) {
    const bytes = await readFile(join(work.folder, path));
    t.ok(
      bytes.equals(await server.client.in(repository).readObject(head, path, bytes.length, signal)),
      `lakeFS has the bytes of ${path}`,
    );
  }
}

async function moved(t: Test, server: RunningLakefs, files: number): Promise<void> {
  const pool = await testPool(t);
  const opened = async () => {
    const repository = await newRepository(server);
    return { repository, node: await rigNode(t, server, pool, repository), work: await newWork(t) };
  };

  await t.test(`${files} renamed files: nothing is uploaded`, async (t) => {
    const { repository, node, work } = await opened();
    await work.commit("many", async (folder) => {
      for (let at = 0; at < files; at++) {
        await mkdir(join(folder, `old/d${at % 40}`), { recursive: true });
        await writeFile(join(folder, `old/d${at % 40}/f${at}`), `file ${at}\n`.repeat(20));
      }
    });
    const first = await push(t, node, work);
    t.equal(first.uploads, files + 1, "and the guard's file");
    await work.commit("renamed", async (folder) => {
      for (let folderAt = 0; folderAt < 40; folderAt += 2)
        await rename(join(folder, `old/d${folderAt}`), join(folder, `old/e${folderAt}`));
      await mkdir(join(folder, "flat"));
      for (let at = 1; at < files; at += 2)
        await rename(join(folder, `old/d${at % 40}/f${at}`), join(folder, `flat/g${at}`));
    });
    const second = await push(t, node, work);
    t.same([second.uploads, second.stages], [0, files]);
    const stats = (await isBefore(server, 62)) ? LIMITS.lakefsStatsMax : 0; // its comparison names no checksum
    t.ok(second.all <= files + 40 + stats, `${second.all} calls`);
    await isWhole(t, server, pool, repository, work, ["old/e0/f0", "flat/g1"]);
  });

  await t.test(
    "copies, modes, swapped names, large files, and what is renamed in the push that brings it",
    async (t) => {
      const { repository, node, work } = await opened();
      const large = randomBytes(3_000_000);
      await work.commit("first", async (folder) => {
        await mkdir(join(folder, "d/deep"), { recursive: true });
        for (const name of ["a", "b", "d/x", "d/deep/y", "empty"])
          await writeFile(join(folder, name), name === "empty" ? "" : `content of ${name}\n`);
        await writeFile(join(folder, "large"), large);
      });
      await push(t, node, work);
      await work.commit("moved", async (folder) => {
        await cp(join(folder, "d"), join(folder, "copied"), { recursive: true });
        await chmod(join(folder, "d/x"), 0o755);
        await rename(join(folder, "large"), join(folder, "big"));
        await rename(join(folder, "empty"), join(folder, "nothing"));
        await rename(join(folder, "a"), join(folder, "c"));
        await rename(join(folder, "b"), join(folder, "a"));
        await rename(join(folder, "c"), join(folder, "b"));
      });
      const second = await push(t, node, work);
      t.same([second.uploads, second.stages], [0, 7]);
      t.ok(second.bytesOut < 100_000, `${second.bytesOut} bytes were sent`);
      await work.commit("new", (folder) => writeFile(join(folder, "new"), "it is new\n"));
      await work.commit("renamed at once", (folder) =>
        rename(join(folder, "new"), join(folder, "newer")),
      );
      t.match(await push(t, node, work), { uploads: 1 });
      await isWhole(t, server, pool, repository, work, [
        "big",
        "nothing",
        "a",
        "b",
        "copied/deep/y",
        "d/x",
        "newer",
      ]);
    },
  );

  await t.test(
    "what somebody has put at the old path in lakeFS is not taken for what it says",
    async (t) => {
      const { repository, node, work } = await opened();
      const source = new Source(server.client, repository);
      await work.commit("first", async (folder) => {
        await mkdir(join(folder, "old"));
        for (const name of ["one", "two", "three"])
          await writeFile(join(folder, "old", name), `the true ${name}\n`);
      });
      await push(t, node, work);
      // An entry that says it is the true one, at other bytes; what looks like an MD5 would be
      // compared with them.
      await source.put({ evil: "the fals one\n" });
      const { physical_address } = await server.client
        .in(repository)
        .statObject("main", "evil", signal);
      const {
        size_bytes = 0,
        checksum: md5,
        metadata: true_ = {},
      } = await server.client.in(repository).statObject("main", "old/one", signal);
      const checksum = "0123-2";
      const metadata = Object.fromEntries(
        Object.entries(true_).map(([name, value]) => [name, value.replace(md5, checksum)]),
      );
      await server.client
        .in(repository)
        .stageObject(
          "main",
          "old/one",
          { physical_address, checksum, size_bytes, metadata },
          signal,
        );
      // Other bytes with the name of a blob that is to come.
      const wanted = await work.commit("wanted", (folder) =>
        writeFile(join(folder, "wanted"), "wanted bytes\n"),
      );
      const blob = work.git("rev-parse", `${wanted}:wanted`);
      work.git("reset", "-q", "--hard", "HEAD~1");
      await source.put({ claimed: "other bytes.\n" });
      const other = await server.client.in(repository).statObject("main", "claimed", signal);
      await source.put(
        { claimed: "other bytes.\n" },
        {
          metadata: {
            "lakepack-blob": `${blob} ${other.size_bytes} ${other.checksum}`,
            "lakepack-sha256": `${"ab".repeat(32)} ${other.size_bytes} ${other.checksum}`,
          },
        },
      );
      await source.commit("forged");
      await node.refs.read();
      const pulled = await node.git("rev-parse", "--absolute-git-dir");
      work.git("fetch", "-q", pulled, "main");
      work.git("reset", "-q", "--hard", "FETCH_HEAD");
      t.equal(
        await readFile(join(work.folder, "old/one"), "utf8"),
        "the fals one\n",
        "Git has what the bytes are",
      );
      await work.commit("harmless", (folder) =>
        writeFile(join(folder, "harmless"), "nothing to see\n"),
      );
      await push(t, node, work);
      const forged = await server.client.in(repository).statObject("main", "old/one", signal);
      t.equal(forged.checksum, checksum, "lakeFS says that it is the true one");
      await work.commit("renamed", async (folder) => {
        await rename(join(folder, "old"), join(folder, "new"));
        await rm(join(folder, "claimed"));
        await writeFile(join(folder, "new/one"), "the true one\n");
        await writeFile(join(folder, "wanted"), "wanted bytes\n");
      });
      const made = await push(t, node, work);
      t.same([made.uploads, made.stages], [2, 2], "what is not proven is sent");
      await isWhole(t, server, pool, repository, work, [
        "new/one",
        "new/two",
        "new/three",
        "wanted",
      ]);
    },
  );
}
