/**
 * Large files both ways, with stock git, git-lfs and lakeFS's own tools: what lakectl uploaded
 * comes out of a clone with its real bytes, and what git-lfs pushed is a file like any other to
 * lakeFS's API, to lakectl and to its S3 gateway.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { blockStores } from "../support/everyday.js";
import { RssWatch } from "../../bench/process.js";
import { Random } from "../../bench/random.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, commit, git, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import {
  emptyRepository,
  headOf,
  listed,
  put,
  signal,
  startBeside,
} from "../support/lakefs-rig.js";
import { gatewayObject, gatewayPaths } from "../support/s3-gateway.js";

t.setTimeout(300_000);

const SKIP =
  spawnSync("git", ["lfs", "version"]).status === 0 ? skipLakefs : "git-lfs is not installed";
const FILTERS = [
  "clean=git-lfs clean -- %f",
  "smudge=git-lfs smudge -- %f",
  "process=git-lfs filter-process",
  "required=true",
].flatMap((pair) => ["-c", `filter.lfs.${pair}`]);
const MIB = 1024 * 1024;

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

type Lakectl = (...args: string[]) => string;

function lakectlOf({ lakectl: { program, env } }: RunningLakefs): Lakectl {
  return (...args) =>
    execFileSync(program, args, { env, stdio: "pipe", encoding: "utf8", maxBuffer: 2 ** 28 });
}

/** Made and filled by lakectl alone. */
async function seed(
  t: Test,
  lakefs: RunningLakefs,
  name: string,
  weights: Uint8Array,
): Promise<void> {
  const lakectl = lakectlOf(lakefs);
  const folder = await tempFolder(t);
  await mkdir(join(folder, "model/weights"), { recursive: true });
  await writeFile(join(folder, "model/README.md"), "# Model\n");
  await writeFile(join(folder, "model/weights/model.safetensors"), weights);
  await writeFile(join(folder, "model/weights/five.bin"), weights.subarray(0, 5_000_000));
  lakectl("repo", "create", `lakefs://${name}`, lakefs.namespace(name));
  lakectl("fs", "upload", "-r", "-s", `${folder}/model/`, `lakefs://${name}/main/`);
  lakectl("commit", `lakefs://${name}/main`, "-m", "by lakectl");
}

for (const blocks of blockStores) {
  t.test(`large files, ${blocks} blocks`, { skip: SKIP, timeout: 300_000 }, async (t) => {
    const lakefs = await startLakefs(t, blocks);
    const weights = new Random(5).bytes(7_000_000);
    await seed(t, lakefs, "model", weights);
    const server = await startBeside(t, lakefs);
    const url = `${server.url}/lakefs/model.git`;
    const work = join(await tempFolder(t), "work");

    await t.test("a repository of lakectl's is cloned with its real bytes", async (t) => {
      await git([...FILTERS, "clone", "-q", url, work]);
      t.equal(sha256(await readFile(join(work, "weights/model.safetensors"))), sha256(weights));
      t.equal(
        sha256(await readFile(join(work, "weights/five.bin"))),
        sha256(weights.subarray(0, 5_000_000)),
      );
      t.equal(await git([...FILTERS, "status", "--porcelain"], { cwd: work }), "");
      const through = (
        server.log().match(/"method":"GET","path":"[^"]*info\/lfs\/objects\//g) ?? []
      ).length;
      t.equal(
        through,
        blocks === "s3" ? 0 : 2,
        "by presigned address where the block store has them",
      );
    });

    const more = new Random(6).bytes(3_000_000);
    await t.test(
      "a push of a covered suffix uploads by git-lfs, and lakeFS shows the real bytes in all its ways",
      async (t) => {
        await git(["lfs", "install", "--local"], { cwd: work });
        await writeFile(join(work, "weights/more.safetensors"), more);
        await commit(work, "more weights", {
          "README.md": "# Model, larger\n",
          "src/a b+c.py": "print()\n",
        });
        t.match(
          await git(["show", "HEAD:weights/more.safetensors"], { cwd: work }),
          /^version https:\/\/git-lfs/,
        );
        const push = await tryGit(["push", "origin", "main"], { cwd: work });
        t.equal(push.code, 0, push.stderr);
        const { id } = await headOf(lakefs, "model");
        const tree = (await git(["ls-tree", "-r", "--name-only", "HEAD"], { cwd: work })).split(
          "\n",
        );
        t.same(
          (await listed(lakefs, "model")).map(({ path }) => path),
          tree,
          "the API",
        );
        t.equal(
          (await lakefs.client.in("model").statObject(id, "weights/more.safetensors", signal))
            .checksum,
          `sha256:${sha256(more)}`,
        );
        t.equal(
          sha256(
            await lakefs.client
              .in("model")
              .readObject(id, "weights/more.safetensors", 3_000_000, signal),
          ),
          sha256(more),
        );
        const lakectl = lakectlOf(lakefs);
        t.same(
          lakectl("fs", "ls", "-r", "lakefs://model/main/")
            .trimEnd()
            .split("\n")
            .map((line) => line.split(/ {2,}/).at(-1)),
          tree,
          "lakectl",
        );
        const down = join(await tempFolder(t), "more");
        lakectl("fs", "download", "lakefs://model/main/weights/more.safetensors", down);
        t.equal(sha256(await readFile(down)), sha256(more), "lakectl's download");
        t.same(await gatewayPaths(lakefs.access, "model", "main"), tree, "the S3 gateway");
        t.equal(
          sha256(await gatewayObject(lakefs.access, "model", "main", "weights/more.safetensors")),
          sha256(more),
        );
        t.equal(
          (await gatewayObject(lakefs.access, "model", "main", "src/a b+c.py")).toString(),
          "print()\n",
        );
      },
    );

    await t.test(
      "a new large file of a covered suffix, put there by lakeFS, is a pointer under the attributes that are there",
      async (t) => {
        const attributes = await git(["show", "HEAD:.gitattributes"], { cwd: work });
        await put(lakefs, "model", "late.safetensors", weights.subarray(0, 2_000_000));
        await lakefs.client.in("model").commit("main", { message: "late" }, signal);
        const before = await git(["rev-parse", "HEAD"], { cwd: work });
        await git(["pull", "-q", "--ff-only", "origin", "main"], { cwd: work });
        t.equal(
          await git(["rev-parse", "HEAD~1"], { cwd: work }),
          before,
          "a child of what was pushed",
        );
        t.same(
          (await git(["diff", "--name-only", "HEAD~1"], { cwd: work })).split("\n"),
          ["late.safetensors"],
          "and nothing else changed",
        );
        t.equal(await git(["show", "HEAD:.gitattributes"], { cwd: work }), attributes);
        t.equal(
          sha256(await readFile(join(work, "late.safetensors"))),
          sha256(weights.subarray(0, 2_000_000)),
        );
      },
    );

    await t.test(
      "small files that lakeFS users write under a commit's own attributes leave clones clean",
      async (t) => {
        const files = {
          "sets/.gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\nraw.bin -filter\n",
          "sets/small.bin": "small",
          "sets/raw.bin": "raw",
          "sets/deep/.a.bin": "deep",
        };
        for (const [path, content] of Object.entries(files))
          await put(lakefs, "model", path, content);
        await lakefs.client.in("model").commit("main", { message: "small" }, signal);
        await git(["pull", "-q", "--ff-only", "origin", "main"], { cwd: work });
        t.match(
          await git(["show", "HEAD:sets/small.bin"], { cwd: work }),
          /^version https:\/\/git-lfs.*\noid sha256:\w+\nsize 5$/,
        );
        for (const [path, content] of Object.entries(files))
          t.equal(await readFile(join(work, path), "utf8"), content);
        // Touched, so that git looks at what is in them.
        for (const path of (await git(["ls-files", "-z"], { cwd: work })).split("\0"))
          if (path !== "") await utimes(join(work, path), 1, 1);
        t.equal(await git([...FILTERS, "status", "--porcelain"], { cwd: work }), "");
      },
    );

    await t.test(
      "another server with an empty store serves the same ids and the same bytes",
      async (t) => {
        const other = await startBeside(t, lakefs);
        t.same(await remoteRefs(`${other.url}/lakefs/model.git`), await remoteRefs(url));
        const copy = join(await tempFolder(t), "copy");
        await git([...FILTERS, "clone", "-q", `${other.url}/lakefs/model.git`, copy]);
        await checkFsck(t, copy);
        t.equal(sha256(await readFile(join(copy, "weights/more.safetensors"))), sha256(more));
        t.equal(await git([...FILTERS, "status", "--porcelain"], { cwd: copy }), "");
      },
    );

    await t.test(
      "pointers of CR LF and of old versions, by git-lfs itself: asked for, uploaded, shown, kept",
      async (t) => {
        const content = Buffer.from("bytes behind an odd pointer\n");
        const pointer =
          (await git(["lfs", "clean", "--", "odd.bin"], { cwd: work, input: content })) + "\n";
        const odd = {
          "sets/crlf.bin": pointer.replaceAll("\n", "\r\n"),
          "sets/old.bin": `${pointer.replace("https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2")}\n`,
        };
        for (const [path, text] of Object.entries(odd)) {
          const oid = await git(["hash-object", "-w", "--stdin"], {
            cwd: work,
            input: Buffer.from(text),
          });
          await git(["update-index", "--add", "--cacheinfo", `100644,${oid},${path}`], {
            cwd: work,
          });
        }
        await git(["commit", "-q", "-m", "odd pointers"], { cwd: work });
        const bare = await tryGit(["-c", "core.hooksPath=/dev/null", "push", "origin", "main"], {
          cwd: work,
        });
        t.match(
          bare,
          {
            code: 1,
            stderr: /an LFS pointer points to a file that does not exist: sets\/(crlf|old)\.bin/,
          },
          "without its object it is refused",
        );
        const push = await tryGit(["push", "origin", "main"], { cwd: work });
        t.equal(push.code, 0, push.stderr);
        const { id } = await headOf(lakefs, "model");
        for (const path of Object.keys(odd))
          t.same(
            Buffer.from(await lakefs.client.in("model").readObject(id, path, 1_000, signal)),
            content,
            path,
          );
        const clone = join(await tempFolder(t), "clone");
        await git([...FILTERS, "clone", "-q", url, clone]);
        for (const [path, text] of Object.entries(odd)) {
          t.same(
            await readFile(join(clone, path)),
            content,
            `${path} is checked out with its bytes`,
          );
          t.equal(
            await git(["hash-object", "--stdin"], { input: Buffer.from(text) }),
            await git(["rev-parse", `HEAD:${path}`], { cwd: clone }),
          );
        }
      },
    );
  });
}

t.test(
  "ten gigabytes that a hub has linked under their SHA-256: no byte of them is read",
  { skip: SKIP, timeout: 120_000 },
  async (t) => {
    const lakefs = await startLakefs(t, "s3");
    const name = await emptyRepository(lakefs, "huge");
    for (let at = 0; at < 99; at++) await put(lakefs, name, `small/${at}`, `small ${at}`);
    // There is no such object: whoever reads a byte of it fails.
    const size = 10_000_000_000;
    const oid = "ab".repeat(32);
    const address = `s3://lakefs/lfs/ab/ab/${oid}`;
    await lakefs.client
      .in(name)
      .stageObject(
        "main",
        "huge.safetensors",
        { physical_address: address, checksum: `sha256:${oid}`, size_bytes: size },
        signal,
      );
    await lakefs.client.in(name).commit("main", { message: "huge" }, signal);
    const server = await startBeside(t, lakefs);
    const watch = new RssWatch([server.pid]);
    const started = performance.now();
    const clone = join(await tempFolder(t), "clone");
    await git(["clone", "-q", `${server.url}/lakefs/${name}.git`, clone], {
      env: { GIT_LFS_SKIP_SMUDGE: "1" },
    });
    const ms = Math.round(performance.now() - started);
    const growth = watch.stop();
    t.comment(`cloned in ${ms} ms, RSS grew ${Math.round(growth / MIB)} MiB`);
    t.equal(
      await readFile(join(clone, "huge.safetensors"), "utf8"),
      `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${size}\n`,
    );
    t.ok(growth < 150 * MIB, `${growth}`);
    await commit(clone, "on top", { "small/0": "changed" });
    const push = await tryGit(["push", "-q", "origin", "main"], { cwd: clone });
    t.equal(push.code, 0, push.stderr);
    t.equal(
      (await listed(lakefs, name)).find(({ path }) => path === "huge.safetensors")?.size_bytes,
      size,
      "a push on top of it leaves it where it is",
    );
  },
);
