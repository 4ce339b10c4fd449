/**
 * Stock git clones lakeFS repositories that lakeFS's own API made, from a real lakepack beside a
 * real lakeFS.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { blockStores } from "../support/everyday.js";
import { utf8 } from "../../src/base/bytes.js";
import type { RunningLakefs } from "../support/lakefs-servers.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, git, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { signal, startBeside } from "../support/lakefs-rig.js";

/** Large files stay pointers: here it is Git that is looked at. */
const NO_SMUDGE = { GIT_LFS_SKIP_SMUDGE: "1" };

/** Three commits, a branch with a name that needs an escape, a merge, a tag, a large file. */
async function seed(lakefs: RunningLakefs, name: string): Promise<void> {
  const { client } = lakefs;
  await client.createRepository(
    { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
    signal,
  );
  const put = (branch: string, path: string, text: string) =>
    client.in(name).uploadObject(branch, path, utf8(text), {}, signal);
  await put("main", "README.md", "# seeded\n");
  await put("main", "data/nested/deep/file.txt", "deep\n");
  await put("main", "café.txt", "names\n");
  const first = await client.in(name).commit("main", { message: "first" }, signal);
  await client.in(name).createBranch({ name: "feature_-2fone", source: first.id }, signal);
  await put("feature_-2fone", "feature.txt", "feature\n");
  const side = await client
    .in(name)
    .commit("feature_-2fone", { message: "on the side", metadata: { key: "value" } }, signal);
  await client
    .in(name)
    .uploadObject("main", "weights.safetensors", new Uint8Array(1_200_000).fill(7), {}, signal);
  await client.in(name).commit("main", { message: "weights" }, signal);
  await client
    .in(name)
    .merge(side.id, "main", { message: "merged in lakeFS", metadata: {} }, signal);
  await client.in(name).createTag({ id: "v1.0", ref: first.id }, signal);
  await put("main", "staged-only.txt", "must not leak\n");
}

for (const blocks of blockStores) {
  t.test(
    `a lakeFS repository with ${blocks} blocks`,
    { skip: skipLakefs, timeout: 120_000 },
    async (t) => {
      const lakefs = await startLakefs(t, blocks);
      await seed(lakefs, "seeded");
      const server = await startBeside(t, lakefs);
      const url = `${server.url}/lakefs/seeded.git`;
      const folder = await tempFolder(t);
      const clone = join(folder, "clone");
      await git(["clone", "-q", url, clone], { env: NO_SMUDGE });
      await checkFsck(t, clone);

      await t.test("files, history, names", async (t) => {
        t.equal(await readFile(join(clone, "data/nested/deep/file.txt"), "utf8"), "deep\n");
        t.match(
          await readFile(join(clone, "weights.safetensors"), "utf8"),
          /^version https:\/\/git-lfs.github.com\/spec\/v1\noid sha256:[0-9a-f]{64}\nsize 1200000\n$/,
        );
        t.match(
          await readFile(join(clone, ".gitattributes"), "utf8"),
          /\*\.safetensors filter=lfs diff=lfs merge=lfs -text/,
        );
        t.equal(
          (await tryGit(["cat-file", "-e", "HEAD:staged-only.txt"], { cwd: clone })).code,
          128,
          "nothing staged leaks",
        );
        const subjects = await git(["log", "--format=%s"], { cwd: clone });
        t.same(subjects.split("\n").sort(), [
          "first",
          "merged in lakeFS",
          "on the side",
          "weights",
        ]);
        t.equal(
          (await git(["rev-list", "--parents", "-1", "HEAD"], { cwd: clone })).split(" ").length,
          3,
          "a merge has two parents",
        );
        t.match(
          (await remoteRefs(url)).map((line) => line.split("\t")[1]),
          ["HEAD", "refs/heads/feature/one", "refs/heads/main", "refs/tags/v1.0"],
        );
      });

      await t.test(
        "another server with other settings and an empty store gives the same ids; so does a restarted one",
        async (t) => {
          const other = await startBeside(t, lakefs, {
            LAKEPACK_LFS_THRESHOLD: "10",
            LAKEPACK_POOL_THREADS: "1",
          });
          t.same(await remoteRefs(`${other.url}/lakefs/seeded.git`), await remoteRefs(url));
          await server.stop();
          const again = await startBeside(t, lakefs, {}, { data: server.data });
          t.same(
            await remoteRefs(`${again.url}/lakefs/seeded.git`),
            await remoteRefs(`${other.url}/lakefs/seeded.git`),
          );
        },
      );

      await t.test("a new commit in lakeFS is the next fetch", async (t) => {
        const fresh = await startBeside(t, lakefs);
        const { client } = lakefs;
        const copy = join(folder, "copy");
        await git(["clone", "-q", `${fresh.url}/lakefs/seeded.git`, copy], { env: NO_SMUDGE });
        const before = await git(["rev-parse", "HEAD"], { cwd: copy });
        await client.in("seeded").deleteObjects("main", ["staged-only.txt", "café.txt"], signal);
        await client
          .in("seeded")
          .uploadObject("main", "data/nested/deep/file.txt", utf8("changed\n"), {}, signal);
        await client.in("seeded").commit("main", { message: "more" }, signal);
        await git(["pull", "-q", "--ff-only"], { cwd: copy, env: NO_SMUDGE });
        t.equal(await git(["rev-parse", "HEAD~1"], { cwd: copy }), before);
        t.equal(
          await git(["show", "--format=", "--name-status", "HEAD"], { cwd: copy }),
          'D\t"caf\\303\\251.txt"\nM\tdata/nested/deep/file.txt',
        );
        await checkFsck(t, copy);
      });

      await t.test("shallow and partial clones", async (t) => {
        const fresh = await startBeside(t, lakefs);
        const shallow = join(folder, "shallow");
        await git(["clone", "-q", "--depth", "1", `${fresh.url}/lakefs/seeded.git`, shallow], {
          env: NO_SMUDGE,
        });
        t.equal(await git(["rev-list", "--count", "HEAD"], { cwd: shallow }), "1");
        await git([
          "clone",
          "-q",
          "--bare",
          "--filter=blob:none",
          `${fresh.url}/lakefs/seeded.git`,
          join(folder, "partial.git"),
        ]);
      });

      await t.test(
        "what is not there is not found, and lakeFS being down is an error with its reason, never an empty repository",
        async (t) => {
          const fresh = await startBeside(t, lakefs);
          t.match(
            (await tryGit(["ls-remote", `${fresh.url}/lakefs/no-such-repository.git`])).stderr,
            /not found/,
          );
          await git(["ls-remote", `${fresh.url}/lakefs/seeded.git`]);
          await lakefs.stop();
          const down = await tryGit(["ls-remote", `${fresh.url}/lakefs/seeded.git`]);
          t.not(down.code, 0);
          t.match(down.stderr, /lakeFS does not answer|503|502/);
        },
      );
    },
  );
}
