/**
 * A node that has never seen a repository answers refs and clones without blobs from the listing
 * alone; contents are read once, when somebody wants them.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { blockStores } from "../support/everyday.js";
import type { Test } from "tap";
import { bind, BLOB_KEY } from "../../src/lakefs/rules/metadata-keys.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import {
  checkFsck,
  commit,
  folderOf,
  git,
  type Lakepack,
  logShows,
  startLakepack,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const { signal } = new AbortController();
/** All servers here have it: what one has landed the others take for what it is. */
const SEAL_KEY = "5e".repeat(32);

async function start(t: Test, { access }: RunningLakefs, data?: string): Promise<Lakepack> {
  const { endpoint, accessKeyId, secretAccessKey } = access;
  const env = {
    LAKEPACK_SEAL_KEY: SEAL_KEY,
    LAKEPACK_LAKEFS_ENDPOINT: endpoint,
    LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId,
    LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey,
    LAKEPACK_LAKEFS_PATIENCE_SECONDS: "1",
  };
  return startLakepack(t, {
    env: { ...env, LAKEPACK_LAKEFS_POLL_SECONDS: "0" },
    ...(data === undefined ? {} : { data }),
  });
}

/** Contents read from lakeFS so far, as the server counts them. */
async function contentsRead(server: Lakepack): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const calls =
    /^lakepack_lakefs_calls_total\{call="(readObject|streamObject|readPresigned|streamPresigned)"\} (\d+)$/gm;
  return [...text.matchAll(calls)].reduce((sum, [, , count]) => sum + Number(count), 0);
}

/** Packs that are not known to be complete. */
async function openPacks({ data }: Lakepack): Promise<string[]> {
  const manifest = JSON.parse(
    await readFile(join(await folderOf(data, "lakefs/promised"), "git/manifest"), "utf8"),
  ) as { packs: { checksum: string; closed: boolean }[] };
  return manifest.packs.filter(({ closed }) => !closed).map(({ checksum }) => checksum);
}

const LARGE = Buffer.alloc(5_000_000, "large and plain\n");
/**
 * Blobs that the pushed history names: its six versions of files, and one content that two paths
 * share.
 */
const BLOBS = 7;

for (const blocks of blockStores) {
  t.test(
    `contents that nobody has asked for yet, ${blocks} blocks`,
    { skip: skipLakefs, timeout: 240_000 },
    async (t) => {
      const lakefs = await startLakefs(t, blocks);
      const name = "promised";
      await lakefs.client.createRepository(
        { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
        signal,
      );
      const folder = await tempFolder(t);
      const work = join(folder, "work");
      await git(["init", "-q", work]);
      await commit(work, "one", {
        "README.md": "# one\n",
        "a/b.txt": `${"line\n".repeat(2_000)}`,
        "a/same.txt": "the same\n",
        "c/same.txt": "the same\n",
      });
      await writeFile(join(work, "large.bin"), LARGE);
      await commit(work, "two", { "README.md": "# two\n" });
      await commit(work, "three", {
        "a/b.txt": `${"line\n".repeat(2_000)}changed\n`,
        "new.txt": "new\n",
      });
      const first = await start(t, lakefs);
      await git(["push", "-q", `${first.url}/lakefs/${name}.git`, "main"], { cwd: work });
      const urlOf = (server: Lakepack) => `${server.url}/lakefs/${name}.git`;

      await t.test(
        "refs, a clone without blobs, one blob, a checkout, a clone: each content is read once",
        async (t) => {
          const server = await start(t, lakefs);
          t.equal(await git(["ls-remote", urlOf(server)]), await git(["ls-remote", urlOf(first)]));
          t.equal(await contentsRead(server), 0, "ls-remote");
          const clone = join(folder, `clone-${blocks}`);
          await git(["clone", "-q", "--filter=blob:none", "--no-checkout", urlOf(server), clone]);
          t.equal(await contentsRead(server), 0, "a clone without blobs");
          t.equal(await git(["log", "--format=%s"], { cwd: clone }), "three\ntwo\none");
          t.equal(await git(["cat-file", "-p", "HEAD:README.md"], { cwd: clone }), "# two");
          t.equal(await contentsRead(server), 1, "one blob");
          await git(["checkout", "-q"], { cwd: clone });
          t.equal(await contentsRead(server), 5, "what the checkout needs");
          const whole = join(folder, `whole-${blocks}`);
          const run = await tryGit(["clone", "--progress", urlOf(server), whole]);
          t.match(run.stderr, /remote: Reading from lakeFS: 2\/7 files, done\./);
          await checkFsck(t, whole);
          t.equal(await contentsRead(server), BLOBS, "the rest of the history");
          await git(["clone", "-q", urlOf(server), join(folder, `again-${blocks}`)]);
          t.equal(await contentsRead(server), BLOBS, "and nothing twice");
        },
      );

      await t.test(
        "a whole clone at once is one complete pack, also after a restart in between, in versions 0 and 2",
        async (t) => {
          const data = join(folder, `data-${blocks}`);
          const before = await start(t, lakefs, data);
          await git(["ls-remote", urlOf(before)]);
          await before.stop();
          const server = await start(t, lakefs, data);
          for (const version of [0, 2] as const) {
            const clone = join(folder, `v${version}-${blocks}`);
            await git(["clone", "-q", urlOf(server), clone], { version });
            await checkFsck(t, clone);
            t.equal(
              await git(["rev-parse", "HEAD"], { cwd: clone }),
              await git(["rev-parse", "main"], { cwd: work }),
            );
          }
          t.equal(await contentsRead(server), BLOBS);
          t.match(
            await (await fetch(`${server.url}/metrics`)).text(),
            /^lakepack_pack_bytes_sent_total\{source="stored"\} [1-9]/m,
            "sent as it lies in the store",
          );
          const shallow = join(folder, `shallow-${blocks}`);
          await git(["clone", "-q", "--depth=1", urlOf(server), shallow]);
          await checkFsck(t, shallow);
        },
      );

      await t.test("filters by size, and commits made in lakeFS meanwhile", async (t) => {
        const server = await start(t, lakefs);
        await git(["ls-remote", urlOf(server)]);
        await lakefs.client
          .in(name)
          .uploadObject("main", "a/native.txt", Buffer.from("native\n"), {}, signal);
        await lakefs.client.in(name).commit("main", { message: "native" }, signal);
        await git(["ls-remote", urlOf(server)]);
        t.equal(await contentsRead(server), 1, "only what has no recorded id");
        t.same(
          await openPacks(server),
          [],
          "trees that name what an older pack has promised are closed too",
        );
        const clone = join(folder, `limit-${blocks}`);
        await git(["clone", "-q", "--filter=blob:limit=100", urlOf(server), clone]);
        t.match(await git(["cat-file", "-p", "HEAD:a/native.txt"], { cwd: clone }), "native");
        await git(["clone", "-q", urlOf(server), join(folder, `limited-${blocks}`)]);
        await checkFsck(t, join(folder, `limited-${blocks}`));
        t.equal(await contentsRead(server), BLOBS + 1);
        t.same(await openPacks(server), []);
      });

      await t.test("a push whose deltas build on what this node has never read", async (t) => {
        const server = await start(t, lakefs);
        const pusher = join(folder, `pusher-${blocks}`);
        await git(["clone", "-q", urlOf(first), pusher]);
        await git(["ls-remote", urlOf(server)]);
        await commit(pusher, "four", { "a/b.txt": `${"line\n".repeat(2_000)}changed again\n` });
        const push = await tryGit(["push", "--progress", urlOf(server), "main"], { cwd: pusher });
        t.equal(push.code, 0, push.stderr);
        t.match(push.stderr, /remote: Reading from lakeFS: 7\/7 files, done\./);
        const clone = join(folder, `pushed-${blocks}`);
        await git(["clone", "-q", urlOf(first), clone]);
        t.equal(
          await git(["rev-parse", "HEAD"], { cwd: clone }),
          await git(["rev-parse", "HEAD"], { cwd: pusher }),
        );
      });
    },
  );
}

t.test(
  "a claimed id that the content contradicts is no claim: the file is what it is, and the log says so",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    const { client } = lakefs;
    await client.createRepository(
      { name: "forged", storage_namespace: lakefs.namespace("forged"), default_branch: "main" },
      signal,
    );
    const { checksum } = await client
      .in("forged")
      .uploadObject("main", "good.txt", Buffer.from("good\n"), {}, signal);
    await client
      .in("forged")
      .uploadObject(
        "main",
        "dir/good.txt",
        Buffer.from("good\n"),
        { [BLOB_KEY]: bind("12".repeat(20), 5, checksum) },
        signal,
      );
    await client.in("forged").commit("main", { message: "forged" }, signal);
    const server = await start(t, lakefs);
    const url = `${server.url}/lakefs/forged.git`;
    t.match(await git(["ls-remote", url]), /^[0-9a-f]{40}\tHEAD/);
    for (const version of [0, 2] as const) {
      const clone = join(await tempFolder(t), "clone");
      const run = await tryGit(["clone", url, clone], { version });
      t.equal(run.code, 0, run.stderr);
      t.equal(await readFile(join(clone, "dir/good.txt"), "utf8"), "good\n");
    }
    t.ok(
      await logShows(server, /dir\/good\.txt.*claim a blob id that the content does not confirm/),
    );
  },
);
