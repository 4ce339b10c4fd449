/**
 * A KohakuHub's repositories under the hub's names: which one a name means, what is a pointer, what
 * is refused.
 */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { blockStores } from "../support/everyday.js";
import { formatPointer } from "../../src/git/lfs-pointer.js";
import { LINKED_MAPPING } from "../../src/lakefs/agreed/mapping.js";
import { type HubType, kohakuHubName } from "../../src/lakefs/rules/hub-names.js";
import { openNode, refsOf, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, commit, git, logShows, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { seed, signal, startBeside } from "../support/lakefs-rig.js";
import { lakepack } from "../support/lakepack-command.js";

const SKIP =
  spawnSync("git", ["lfs", "version"]).status === 0 ? skipLakefs : "git-lfs is not installed";
const HUB = { LAKEPACK_NAMING: "kohakuhub" };
const NO_SMUDGE = { GIT_LFS_SKIP_SMUDGE: "1" };
const FILTERS = [
  "filter.lfs.clean=git-lfs clean -- %f",
  "filter.lfs.smudge=git-lfs smudge -- %f",
  "filter.lfs.process=git-lfs filter-process",
  "filter.lfs.required=true",
];
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

t.test("which repository a name means", { skip: SKIP, timeout: 180_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const make = (type: HubType, id: string) =>
    seed(lakefs, kohakuHubName(type, id), { "which.txt": `${type} ${id}\n` });
  await make("model", "org/both");
  await make("dataset", "org/both");
  await make("space", "org/both");
  await make("dataset", "org/data.v2");
  await make("space", "Org/My_Space");
  const server = await startBeside(t, lakefs, HUB);
  const folder = await tempFolder(t);
  let clones = 0;
  const which = async (path: string): Promise<string> => {
    const clone = join(folder, String(clones++));
    const run = await tryGit(["clone", `${server.url}/${path}`, clone]);
    if (run.code !== 0) return /not found/.test(run.stderr) ? "not found" : run.stderr;
    const warning = /remote: (warning: .*)/.exec(run.stderr)?.[1]?.trim();
    return `${(await readFile(join(clone, "which.txt"), "utf8")).trim()}${warning === undefined ? "" : `; ${warning}`}`;
  };
  const several =
    "warning: org/both is several repositories, and this is the model; the dataset is at /datasets/org/both.git, the space is at /spaces/org/both.git";

  await t.test(
    "typed names are exact; without a type model, then dataset, then space, and what else it could have been is said",
    async (t) => {
      const expected = {
        "org/both.git": `model org/both; ${several}`,
        "org/both": `model org/both; ${several}`,
        "models/org/both.git": "model org/both",
        "datasets/org/both": "dataset org/both",
        "spaces/org/both.git": "space org/both",
        "org/data.v2.git": "dataset org/data.v2",
        "datasets/org/data.v2": "dataset org/data.v2",
        "Org/My_Space": "space Org/My_Space",
        "models/org/data.v2.git": "not found",
        "spaces/org/data.v2.git": "not found",
        "org/my_space": "not found",
        "org/none.git": "not found",
        [`lakefs/${kohakuHubName("dataset", "org/both")}.git`]: "dataset org/both",
      };
      for (const [path, found] of Object.entries(expected)) t.equal(await which(path), found, path);
      const facts = (await (await fetch(`${server.url}/api/repos/org/data.v2`)).json()) as Record<
        string,
        unknown
      >;
      t.match(facts, {
        name: "datasets/org/data.v2",
        kind: "dataset",
        lakefs: "d-org-data-v2-" + facts["lakefs"]?.toString().slice(-22),
      });
    },
  );

  await t.test("a name bound by hand comes before the computed one", async (t) => {
    await seed(lakefs, "by-hand", { "which.txt": "by hand\n" });
    t.equal(
      (
        await lakepack([
          "repo",
          "create",
          "spaces/org/data.v2",
          "--lakefs",
          "by-hand",
          "--data",
          server.data,
        ])
      ).code,
      0,
    );
    t.equal(await which("spaces/org/data.v2.git"), "by hand", "known at once");
    t.match(
      await which("org/data.v2"),
      /^dataset org\/data.v2; warning: .* this is the dataset; the space is at \/spaces\/org\/data.v2.git$/,
    );
  });

  await t.test(
    "a push is refused with the reason, LFS uploads too, and none makes a repository",
    async (t) => {
      const work = join(folder, "push");
      await git(["clone", "-q", `${server.url}/org/both`, work]);
      await commit(work, "mine", { "mine.txt": "m\n" });
      for (const path of [
        "org/both.git",
        "models/org/both",
        `lakefs/${kohakuHubName("model", "org/both")}.git`,
      ]) {
        const push = await tryGit(["push", `${server.url}/${path}`, "main"], { cwd: work });
        t.not(push.code, 0, path);
        t.match(
          push.stderr,
          /remote: lakepack: this repository cannot be pushed to: it is a KohakuHub's, and a push from here would be missing in the hub's own tables/,
          path,
        );
        t.match(push.stderr, /error: 403/, path);
      }
      const batch = await fetch(`${server.url}/org/both.git/info/lfs/objects/batch`, {
        method: "POST",
        headers: { "Content-Type": "application/vnd.git-lfs+json" },
        body: JSON.stringify({ operation: "upload", objects: [{ oid: "0".repeat(64), size: 1 }] }),
      });
      t.equal(batch.status, 403);
      t.match(((await batch.json()) as { message: string }).message, /cannot be pushed to/);
      t.match(
        (await tryGit(["push", `${server.url}/org/new.git`, "main"], { cwd: work })).stderr,
        /not found/,
      );
      const branches = [];
      for await (const { id } of lakefs.client
        .in(kohakuHubName("model", "org/both"))
        .listBranches({ hidden: true }, signal))
        branches.push(id);
      t.same(branches.sort(), ["lakepack-mapping", "main"], "nothing but the mapping was written");
    },
  );
});

for (const blocks of blockStores) {
  t.test(
    `a file is a pointer where the hub has linked it (${blocks} blocks)`,
    { skip: SKIP, timeout: 180_000 },
    async (t) => linked(t, await startLakefs(t, blocks)),
  );
}

async function linked(t: Test, lakefs: RunningLakefs): Promise<void> {
  const { client } = lakefs;
  const name = kohakuHubName("model", "org/weights");
  const plain = randomBytes(1_500_000);
  const first = randomBytes(300_000);
  await seed(lakefs, "elsewhere", {});
  await seed(lakefs, name, { "README.md": "# weights\n" });
  await client.in(name).uploadObject("main", "large-and-plain.bin", plain, {}, signal);
  const stage = (path: string, physical_address: string, bytes: Uint8Array) =>
    client
      .in(name)
      .stageObject(
        "main",
        path,
        { physical_address, checksum: `sha256:${sha256(bytes)}`, size_bytes: bytes.length },
        signal,
      );
  /**
   * As the hub does: the bytes lie outside of the repository's data, the listing says their
   * SHA-256.
   */
  const link = async (path: string, bytes: Uint8Array) => {
    const { physical_address } = await client
      .in("elsewhere")
      .uploadObject("main", path, bytes, {}, signal);
    await stage(path, physical_address, bytes);
  };
  await link("model.safetensors", first);
  await link("small.txt", Buffer.from("small, and linked\n"));
  const own = await client
    .in(name)
    .uploadObject("main", "own.txt", Buffer.from("own data\n"), {}, signal);
  await stage("own-again.txt", own.physical_address, Buffer.from("own data\n"));
  await client.in(name).commit("main", { message: "linked" }, signal);

  const hub = await startBeside(t, lakefs, HUB);
  const folder = await tempFolder(t);
  const url = `${hub.url}/org/weights.git`;
  const clone = join(folder, "clone");
  await git(["clone", "-q", ...FILTERS.flatMap((filter) => ["-c", filter]), url, clone]);
  await checkFsck(t, clone);

  await t.test("by address and checksum, not by size; git-lfs brings the bytes", async (t) => {
    const show = (path: string) => git(["show", `HEAD:${path}`], { cwd: clone });
    const pointer = (bytes: Uint8Array) =>
      Buffer.from(formatPointer({ sha256: sha256(bytes), size: bytes.length }))
        .toString()
        .trimEnd();
    t.equal(await show("model.safetensors"), pointer(first));
    t.equal(await show("small.txt"), pointer(Buffer.from("small, and linked\n")));
    t.equal(
      await git(["cat-file", "-s", "HEAD:large-and-plain.bin"], { cwd: clone }),
      String(plain.length),
    );
    t.equal(await show("own-again.txt"), "own data", "a SHA-256 on own data makes no pointer");
    t.ok((await readFile(join(clone, "model.safetensors"))).equals(first));
    t.equal(await readFile(join(clone, "small.txt"), "utf8"), "small, and linked\n");
    t.equal(await git(["status", "--porcelain"], { cwd: clone }), "");
  });

  await t.test(
    "every node agrees: warm and cold, other settings and naming, ranges and pages",
    async (t) => {
      const second = randomBytes(200_000);
      await link("model.safetensors", second);
      await link("more.safetensors", randomBytes(100_000));
      await client
        .in(name)
        .uploadObject("main", "small.txt", Buffer.from("small and no longer linked\n"), {}, signal);
      await client.in(name).commit("main", { message: "changed" }, signal);
      const warm = await remoteRefs(url);
      await git(["pull", "-q", "--ff-only"], { cwd: clone });
      t.ok(
        (await readFile(join(clone, "model.safetensors"))).equals(second),
        "followed by its change",
      );
      t.equal(await git(["show", "HEAD:small.txt"], { cwd: clone }), "small and no longer linked");
      const other = await startBeside(t, lakefs, {
        LAKEPACK_LFS_THRESHOLD: "10",
        LAKEPACK_POOL_THREADS: "1",
      });
      t.same(
        await remoteRefs(`${other.url}/lakefs/${name}.git`),
        warm,
        "a server without that naming, all read at once",
      );
      const pool = await testPool(t);
      const refs = await refsOf(await openNode(t, lakefs, pool, name));
      t.same(
        refs,
        await refsOf(await openNode(t, lakefs, pool, name, { pagesOnly: true })),
        "pages and ranges",
      );
      t.same(refs, [`${warm[0]?.split("\t")[0]} refs/heads/main`]);
      const { metadata } = await client
        .in(name)
        .getCommit((await client.in(name).getBranch("lakepack-mapping", signal)).commit_id, signal);
      t.same(JSON.parse(metadata?.["lakepack.mapping"] ?? ""), LINKED_MAPPING);
    },
  );

  await t.test(
    "what a server without that naming pushes there reads back the same under it",
    async (t) => {
      const other = await startBeside(t, lakefs);
      const work = join(folder, "pushed");
      await git([
        "clone",
        "-q",
        ...FILTERS.flatMap((filter) => ["-c", filter]),
        `${other.url}/lakefs/${name}.git`,
        work,
      ]);
      await git(["lfs", "install", "--local"], { cwd: work });
      const large = randomBytes(250_000).toString("base64");
      await commit(work, "by git", {
        "pushed.safetensors": large,
        "pushed-and-plain.bin": randomBytes(900_000).toString("base64"),
        "model.safetensors": undefined,
      });
      await git(["push", "-q", "origin", "main"], { cwd: work });
      const pushed = await git(["rev-parse", "HEAD"], { cwd: work });
      const cold = await startBeside(t, lakefs, HUB);
      for (const server of [hub, cold])
        t.match((await remoteRefs(`${server.url}/models/org/weights`))[0], pushed);
      const again = join(folder, "again");
      await git([
        "clone",
        "-q",
        ...FILTERS.flatMap((filter) => ["-c", filter]),
        `${cold.url}/org/weights`,
        again,
      ]);
      t.equal(await readFile(join(again, "pushed.safetensors"), "utf8"), large);
      t.match(
        await git(["show", "HEAD:pushed.safetensors"], { cwd: again }),
        /^version https:\/\/git-lfs/,
        "a pointer in Git",
      );
    },
  );

  await t.test("a mapping of an unknown version is refused, not guessed at", async (t) => {
    await seed(lakefs, "from-the-future", { "a.txt": "a\n" });
    await client.in("from-the-future").createBranch({ name: "work", source: "main" }, signal);
    const { id } = await client.in("from-the-future").commit(
      "work",
      {
        message: "m",
        metadata: { "lakepack.mapping": '{"version":3,"pointers":"linked"}' },
        allow_empty: true,
      },
      signal,
    );
    await client
      .in("from-the-future")
      .createBranch({ name: "lakepack-mapping", source: id }, signal);
    const run = await tryGit(
      ["clone", `${hub.url}/lakefs/from-the-future.git`, join(folder, "future")],
      { env: NO_SMUDGE },
    );
    t.not(run.code, 0);
    t.ok(await logShows(hub, /it holds no mapping that this version knows/));
  });
}
