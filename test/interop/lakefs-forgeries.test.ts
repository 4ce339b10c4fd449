/**
 * Forgeries by a second user of lakeFS, who may write objects, branches and commits there and
 * nothing else: any user metadata, any checksum, any address, the hidden branches too. Servers with
 * the key of seals, without it and with another one must show the same ids, and Git the very bytes
 * that lakeFS shows.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstat, mkdir, readFile, readlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { blockStores } from "../support/everyday.js";
import { Random } from "../../bench/random.js";
import { formatPointer } from "../../src/git/lfs-pointer.js";
import { objectId } from "../../src/git/object-id.js";
import { writeCommitRecord } from "../../src/lakefs/api/commit-record.js";
import { GUARD_FILE } from "../../src/lakefs/hooks/guard.js";
import { GUARD_PATH } from "../../src/lakefs/rules/metadata-keys.js";
import { MAPPING_BRANCH } from "../../src/lakefs/agreed/mapping.js";
import type { LakefsCommit, LakefsObject } from "../../src/lakefs/api/types.js";
import { LFS_BRANCH } from "../../src/lfs/lakefs-files.js";
import { type SharedLakefs, skipLakefs, startSharedLakefs } from "../support/lakefs-servers.js";
import {
  checkFsck,
  commit,
  git,
  type Lakepack,
  logShows,
  remoteRefs,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import {
  emptyRepository,
  headOf,
  listed,
  settingsFor,
  signal,
  startBeside,
} from "../support/lakefs-rig.js";

t.setTimeout(600_000);

const SKIP =
  spawnSync("git", ["lfs", "version"]).status === 0 ? skipLakefs : "git-lfs is not installed";
const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const [KEY, OTHER_KEY] = ["5e".repeat(32), Buffer.alloc(32, "another").toString("base64")];
const NO_SMUDGE = { env: { GIT_LFS_SKIP_SMUDGE: "1" } };

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest("hex");
const blobOf = (bytes: Uint8Array) => objectId("blob", bytes);
const bound = (id: string, bytes: Uint8Array, checksum = md5(bytes)) =>
  `${id} ${bytes.length} ${checksum}`;

/** Makes the claim that a landing would write of plain bytes, but for the seal. */
const plainClaim = (bytes: Uint8Array) => ({
  "lakepack-blob": bound(blobOf(bytes), bytes),
  "lakepack-sha256": bound(sha256(bytes), bytes),
});

function pointerClaim(
  bytes: Uint8Array,
  oid = sha256(bytes),
  text = formatPointer({ sha256: oid, size: bytes.length }),
) {
  return { "lakepack-blob": bound(blobOf(text), bytes), "lakepack-sha256": bound(oid, bytes) };
}

const crlfPointer = (oid: string, size: number) =>
  Buffer.from(
    `version https://git-lfs.github.com/spec/v1\r\noid sha256:${oid}\r\nsize ${size}\r\n`,
  );

interface Files {
  readonly [path: string]: {
    readonly bytes: Uint8Array;
    readonly metadata: Record<string, string>;
  };
}

/** Uploads and commits as the second user. */
async function write(
  { writer }: SharedLakefs,
  name: string,
  branch: string,
  files: Files,
  metadata: Record<string, string> = {},
): Promise<void> {
  for (const [path, file] of Object.entries(files))
    await writer.in(name).uploadObject(branch, path, file.bytes, file.metadata, signal);
  await writer
    .in(name)
    .commit(branch, { message: "by the writer", metadata, allow_empty: true }, signal);
}

const start = (
  t: Test,
  lakefs: SharedLakefs,
  key = "",
  more: Record<string, string> = {},
  data?: string,
) =>
  startBeside(
    t,
    lakefs,
    {
      ...(key === "" ? {} : { LAKEPACK_SEAL_KEY: key }),
      LAKEPACK_LAKEFS_POLL_SECONDS: "0",
      ...more,
    },
    data === undefined ? {} : { data },
  );

const urlOf = (server: Lakepack, name: string) => `${server.url}/lakefs/${name}.git`;

/** Makes and pushes everything whose form the rules alone would not tell. */
async function pushAll(
  t: Test,
  server: Lakepack,
  name: string,
): Promise<{ readonly work: string; readonly files: Record<string, Uint8Array> }> {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "main", work]);
  const model = Buffer.from("the bytes behind a pointer of CR LF\n");
  await git(["lfs", "clean", "--", "x.dat"], { cwd: work, input: model });
  await git(["lfs", "push", "--object-id", urlOf(server, name), sha256(model)], { cwd: work });
  const files: Record<string, Uint8Array> = {
    "plain.bin": new Random(11).bytes(2_000_000),
    "raw.dat": Buffer.from("raw, and no pointer\n"),
    "empty.dat": new Uint8Array(0),
    "crlf.dat": crlfPointer(sha256(model), model.length),
    "README.md": Buffer.from("# read me\n"),
    "five.txt": Buffer.from("five5"),
    ".gitattributes": Buffer.from("*.dat filter=lfs diff=lfs merge=lfs -text\n"),
  };
  for (const [path, bytes] of Object.entries(files)) await writeFile(join(work, path), bytes);
  // Without git-lfs's filter: its files are pushed as they are.
  await git(
    [
      "-c",
      "filter.lfs.clean=cat",
      "-c",
      "filter.lfs.process=",
      "-c",
      "filter.lfs.required=false",
      "add",
      "-A",
    ],
    {
      cwd: work,
    },
  );
  await git(["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "-m", "raw"], {
    cwd: work,
  });
  const push = await tryGit(["push", "-q", urlOf(server, name), "main"], { cwd: work });
  t.equal(push.code, 0, push.stderr);
  return { work, files };
}

/** Ids and every readable byte, as each of several servers shows them. */
async function checkAlike(
  t: Test,
  lakefs: SharedLakefs,
  name: string,
  servers: Readonly<Record<string, Lakepack>>,
): Promise<string> {
  let first: string[] | undefined;
  let copy = "";
  for (const [what, server] of Object.entries(servers)) {
    const refs = await remoteRefs(urlOf(server, name));
    first ??= refs;
    t.same(refs, first, `${what}: the same ids`);
    copy = join(await tempFolder(t), "clone");
    const run = await tryGit(["clone", "-q", urlOf(server, name), copy], NO_SMUDGE);
    t.equal(run.code, 0, `${what}: ${run.stderr}`);
    await checkFsck(t, copy);
  }
  for (const { path, size_bytes = 0 } of await listed(lakefs, name)) {
    if (path === ".gitattributes") continue;
    const there = Buffer.from(
      await lakefs.client
        .in(name)
        .readObject((await headOf(lakefs, name)).id, path, size_bytes, signal),
    );
    const at = join(copy, path);
    const here = (await lstat(at)).isSymbolicLink()
      ? Buffer.from(await readlink(at))
      : await readFile(at);
    const isPointer =
      here.length !== there.length &&
      here.toString().includes(`oid sha256:${sha256(there)}`) &&
      here.toString().includes(`size ${there.length}`);
    t.ok(isPointer || here.equals(there), `${path}: Git shows what lakeFS shows`);
  }
  return copy;
}

for (const blocks of blockStores) {
  t.test(`forgeries, ${blocks} blocks`, { skip: SKIP, timeout: 600_000 }, async (t) => {
    const lakefs = await startSharedLakefs(t, blocks);
    const { writer } = lakefs;
    const signer = await start(t, lakefs, KEY);

    await t.test("the second user may do no more than write", async (t) => {
      await t.rejects(
        writer.createRepository(
          {
            name: "not-theirs",
            storage_namespace: lakefs.namespace("not-theirs"),
            default_branch: "main",
          },
          signal,
        ),
      );
    });

    await t.test(
      "pushed files have the same ids with the key, without it, with another, and with both",
      async (t) => {
        const name = await emptyRepository(lakefs, "ids");
        const { work, files } = await pushAll(t, signer, name);
        const servers = {
          "with the key": signer,
          "without it": await start(t, lakefs),
          "with another": await start(t, lakefs, OTHER_KEY),
          "with both": await start(t, lakefs, `${OTHER_KEY},${KEY}`),
        };
        const copy = await checkAlike(t, lakefs, name, servers);
        t.equal(
          await git(["rev-parse", "HEAD"], { cwd: copy }),
          await git(["rev-parse", "main"], { cwd: work }),
        );
        for (const [path, bytes] of Object.entries(files))
          t.equal(await git(["rev-parse", `HEAD:${path}`], { cwd: copy }), blobOf(bytes), path);
      },
    );

    await t.test(
      "what is claimed counts only where the content says so, on every server",
      async (t) => {
        const name = await emptyRepository(lakefs, "claims");
        await pushAll(t, signer, name);
        const entries = new Map(
          (await listed(lakefs, name)).map((object) => [object.path, object]),
        );
        const sealed = (entries.get("plain.bin") as LakefsObject).metadata ?? {};
        t.ok(sealed["lakepack-seal"] !== undefined, "a large file is sealed");
        const [readme, two, small, model] = [
          Buffer.from("# read me\n"),
          new Random(12).bytes(2_000_000),
          Buffer.from("forged text\n"),
          new Random(13).bytes(1_500_000),
        ];
        const exact = crlfPointer(sha256(model), model.length);
        const files: Files = {
          "f/random-id": {
            bytes: small,
            metadata: { ...plainClaim(small), "lakepack-blob": bound("12".repeat(20), small) },
          },
          "f/held-id": {
            bytes: small,
            metadata: { ...plainClaim(small), "lakepack-blob": bound(blobOf(readme), small) },
          },
          "f/held-id-large": {
            bytes: two,
            metadata: { ...plainClaim(two), "lakepack-blob": bound(blobOf(readme), two) },
          },
          "f/pointer-of-nothing": { bytes: small, metadata: pointerClaim(small, "cd".repeat(32)) },
          "f/pointer-of-nothing-large": {
            bytes: two,
            metadata: pointerClaim(two, "cd".repeat(32)),
          },
          "f/another-seal": {
            bytes: small,
            metadata: {
              ...plainClaim(small),
              "lakepack-seal": `1 ${"0".repeat(16)} ${"0".repeat(64)}`,
            },
          },
          "f/copied-seal": { bytes: new Random(14).bytes(2_000_000), metadata: sealed },
          "f/no-seal": { bytes: two, metadata: { ...plainClaim(two), "lakepack-seal": "yes" } },
          "f/crlf-false": {
            bytes: model,
            metadata: {
              "lakepack-blob": bound(blobOf(exact), model),
              "lakepack-sha256": bound("ee".repeat(32), model),
              "lakepack-pointer": exact.toString("base64"),
            },
          },
          "f/link": {
            bytes: Buffer.from("README.md"),
            metadata: { ...pointerClaim(Buffer.from("README.md")), "lakepack-mode": "120000" },
          },
          // True ones, which nobody has sealed.
          "t/plain-large": { bytes: two, metadata: plainClaim(two) },
          "t/pointer-small": { bytes: small, metadata: pointerClaim(small) },
          "t/crlf": {
            bytes: model,
            metadata: {
              "lakepack-blob": bound(blobOf(exact), model),
              "lakepack-sha256": bound(sha256(model), model),
              "lakepack-pointer": exact.toString("base64"),
            },
          },
        };
        await write(lakefs, name, "main", files, { ...(await headOf(lakefs, name)).metadata });
        // Other bytes under a sealed entry's own metadata and checksum: refused by path wherever
        // they are read, so on a branch of their own.
        const servers = {
          "with the key": signer,
          "without it": await start(t, lakefs),
          "with another": await start(t, lakefs, OTHER_KEY),
          "with the key, anew": await start(t, lakefs, KEY),
        };
        const copy = await checkAlike(t, lakefs, name, servers);
        const idOf = (path: string) => git(["rev-parse", `HEAD:${path}`], { cwd: copy });
        t.equal(await idOf("f/random-id"), blobOf(small));
        t.equal(await idOf("f/held-id"), blobOf(small), "not the text of the blob that we hold");
        t.equal(
          await idOf("f/held-id-large"),
          blobOf(formatPointer({ sha256: sha256(two), size: two.length })),
          "as if there were no claim",
        );
        t.equal(await idOf("f/pointer-of-nothing"), blobOf(small));
        t.equal(
          await idOf("f/pointer-of-nothing-large"),
          blobOf(formatPointer({ sha256: sha256(two), size: two.length })),
        );
        t.equal(
          await idOf("f/no-seal"),
          blobOf(two),
          "a claim that the content confirms still decides the form",
        );
        t.equal(await idOf("t/plain-large"), blobOf(two));
        t.equal(
          await idOf("t/pointer-small"),
          blobOf(formatPointer({ sha256: sha256(small), size: small.length })),
        );
        t.equal(await idOf("t/crlf"), blobOf(exact), "the exact text of the pointer");
        for (const server of Object.values(servers))
          t.ok(
            await logShows(server, /claim a blob id that the content does not confirm/),
            "and the log names those that are ignored",
          );
        // It goes on: a push on top, and a branch more.
        await commit(copy, "on top", { "new.txt": "new\n" });
        const push = await tryGit(
          ["push", "-q", urlOf(servers["without it"], name), "HEAD:main", "HEAD:refs/heads/more"],
          {
            cwd: copy,
          },
        );
        t.equal(push.code, 0, push.stderr);
        t.same(
          await remoteRefs(urlOf(signer, name)),
          await remoteRefs(urlOf(servers["with another"], name)),
        );
      },
    );

    await t.test(
      "a file that somebody is about to push is not there because a forger says so",
      async (t) => {
        const name = await emptyRepository(lakefs, "oid");
        const [real, forged] = [new Random(21).bytes(1_200_000), new Random(22).bytes(1_200_000)];
        const oid = sha256(real);
        const work = join(await tempFolder(t), "work");
        await git(["init", "-q", "-b", "main", work]);
        await git(["lfs", "install", "--local"], { cwd: work });
        await git(["lfs", "track", "*.bin"], { cwd: work });
        await commit(work, "first", { "README.md": "# one\n" });
        await git(["push", "-q", urlOf(signer, name), "main"], { cwd: work });
        // On main, under its oid in the metadata; on a branch, under its checksum; and on the
        // hidden branch under its name.
        await write(lakefs, name, "main", {
          "trap.bin": { bytes: forged, metadata: pointerClaim(forged, oid) },
        });
        await writer.in(name).createBranch({ name: "trap", source: "main" }, signal);
        const { physical_address } = await writer
          .in(name)
          .uploadObject("trap", "other.bin", forged, {}, signal);
        const entry = { physical_address, checksum: `sha256:${oid}`, size_bytes: forged.length };
        const metadata = {
          "lakepack-sha256": bound(oid, forged, `sha256:${oid}`),
          "lakepack-blob": bound(
            blobOf(formatPointer({ sha256: oid, size: forged.length })),
            forged,
            `sha256:${oid}`,
          ),
          "lakepack-address": physical_address,
        };
        await writer
          .in(name)
          .createBranch({ name: LFS_BRANCH, source: "main", hidden: true } as never, signal)
          .catch(() => undefined);
        await writer
          .in(name)
          .stageObject(
            LFS_BRANCH,
            `lfs/${oid.slice(0, 2)}/${oid.slice(2, 4)}/${oid}`,
            { ...entry, metadata },
            signal,
          );
        for (const [what, server] of Object.entries({
          "with the key": signer,
          "without it": await start(t, lakefs),
        })) {
          const branch = what === "without it" ? "second" : "main";
          if (branch === "second") await git(["checkout", "-q", "-b", "second"], { cwd: work });
          else
            await git(["pull", "-q", "--rebase", urlOf(server, name), "main"], {
              cwd: work,
              ...NO_SMUDGE,
            });
          await mkdir(join(work, dirname(`${branch}/model.bin`)), { recursive: true });
          await writeFile(join(work, `${branch}/model.bin`), real);
          await git(["add", "-A"], { cwd: work });
          await commit(work, `the model on ${branch}`, { [`${branch}.txt`]: "x\n" });
          const push = await tryGit(["push", urlOf(server, name), `HEAD:${branch}`], { cwd: work });
          t.equal(push.code, 0, push.stderr);
          const { id } = await headOf(lakefs, name, branch);
          const there = await lakefs.client
            .in(name)
            .readObject(id, `${branch}/model.bin`, real.length, signal);
          t.equal(sha256(there), oid, `${what}: lakeFS shows the pusher's bytes`);
        }
        // The branch whose checksum is a lie is refused by itself, by name.
        await writer.in(name).stageObject("trap", "other.bin", { ...entry, metadata: {} }, signal);
        await writer.in(name).commit("trap", { message: "trap" }, signal);
        const fresh = await start(t, lakefs, KEY);
        t.notOk(
          (await remoteRefs(urlOf(fresh, name))).some((line) => line.includes("refs/heads/trap")),
        );
        const clone = await tryGit(
          ["clone", urlOf(fresh, name), join(await tempFolder(t), "clone")],
          NO_SMUDGE,
        );
        t.equal(clone.code, 0, clone.stderr);
        t.match(clone.stderr, /refs\/heads\/trap is not in this answer: .*other\.bin/);
      },
    );

    await t.test(
      "one file that is pushed to two branches merges in lakeFS without a conflict",
      async (t) => {
        const name = await emptyRepository(lakefs, "twins");
        const other = await start(t, lakefs);
        const work = join(await tempFolder(t), "work");
        await git(["init", "-q", "-b", "main", work]);
        await git(["lfs", "install", "--local"], { cwd: work });
        await git(["lfs", "track", "*.lfs"], { cwd: work });
        await commit(work, "first", { "README.md": "# one\n" });
        await git(
          ["push", "-q", urlOf(signer, name), "main", "main:left", "main:right", "main:native"],
          { cwd: work },
        );
        const [large, model, native] = [
          new Random(31).bytes(2_500_000),
          new Random(32).bytes(300_000),
          Buffer.from("by lakeFS's own tools\n"),
        ];
        await writer
          .in(name)
          .uploadObject("native", "native.txt", native, { author: "somebody" }, signal);
        await writer.in(name).uploadObject("native", "native.bin", large, {}, signal);
        await writer.in(name).commit("native", { message: "native" }, signal);
        for (const branch of ["left", "right"]) {
          await git(["checkout", "-q", "-B", branch, "main"], { cwd: work });
          await writeFile(join(work, "large.txt"), large);
          await writeFile(join(work, "model.lfs"), model);
          await writeFile(join(work, "native.txt"), native);
          await writeFile(
            join(work, "native.bin"),
            formatPointer({ sha256: sha256(large), size: large.length }),
          );
          await writeFile(
            join(work, ".gitattributes"),
            "*.lfs filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs diff=lfs merge=lfs -text\n",
          );
          await git(["add", "-A"], { cwd: work });
          await commit(work, `the same on ${branch}`, {
            [`${branch}.txt`]: "x\n",
            "small.txt": "small\n",
          });
          // The second server has neither the key nor the records of the first.
          const push = await tryGit(
            ["push", urlOf(branch === "left" ? signer : other, name), branch],
            { cwd: work },
          );
          t.equal(push.code, 0, push.stderr);
        }
        const objectsOf = async (branch: string) =>
          new Map((await listed(lakefs, name, branch)).map((object) => [object.path, object]));
        const [left, right, natives] = [
          await objectsOf("left"),
          await objectsOf("right"),
          await objectsOf("native"),
        ];
        for (const path of ["large.txt", "model.lfs", "small.txt", "native.txt", "native.bin"])
          t.same(left.get(path)?.metadata, right.get(path)?.metadata, path);
        for (const path of ["native.txt", "native.bin"])
          t.same(left.get(path)?.metadata, natives.get(path)?.metadata, `${path}, as it was there`);
        for (const source of ["right", "native"])
          await t.resolves(
            writer
              .in(name)
              .merge(source, "left", { message: `merge ${source}`, metadata: {} }, signal),
            `${source} merges`,
          );
        await checkAlike(t, lakefs, name, {
          "with the key": signer,
          "without it": other,
          anew: await start(t, lakefs, OTHER_KEY),
        });
      },
    );

    await t.test(
      "the mapping is its branch's first record; another one is refused by name and put back",
      async (t) => {
        const name = await emptyRepository(lakefs, "mapping");
        const { work } = await pushAll(t, signer, name);
        const before = await start(t, lakefs, KEY);
        const refs = await remoteRefs(urlOf(before, name));
        await before.stop();
        const odd = {
          "lakepack.mapping": JSON.stringify({ version: 3, threshold: 10, suffixes: ["md"] }),
        };
        await write(lakefs, name, MAPPING_BRANCH, {
          junk: { bytes: Buffer.from("junk"), metadata: {} },
        });
        await write(lakefs, name, MAPPING_BRANCH, {}, odd);
        const again = await start(t, lakefs, KEY, {}, before.data);
        t.same(await remoteRefs(urlOf(again, name)), refs, "after a restart");
        t.same(
          await remoteRefs(urlOf(await start(t, lakefs), name)),
          refs,
          "and on a server that has never seen it",
        );
        await commit(work, "more", { "more.txt": "more\n" });
        const push = await tryGit(["push", "-q", urlOf(again, name), "main"], { cwd: work });
        t.equal(push.code, 0, push.stderr);
        await again.stop();
        // The branch itself made anew, with another mapping as its first record.
        const { id: root } = (
          await lakefs.client.in(name).firstParents((await headOf(lakefs, name)).id, 100, signal)
        ).results.at(-1) as {
          id: string;
        };
        await writer.in(name).deleteBranch(MAPPING_BRANCH, signal);
        await writer
          .in(name)
          .createBranch({ name: MAPPING_BRANCH, source: root, hidden: true }, signal);
        await write(lakefs, name, MAPPING_BRANCH, {}, odd);
        const refused = await start(t, lakefs, KEY, {}, before.data);
        const clone = await tryGit(["ls-remote", urlOf(refused, name)]);
        t.not(clone.code, 0);
        t.ok(await logShows(refused, /lakefs\/remapped/));
        const lakepack = (args: readonly string[]) =>
          spawnSync(process.execPath, [MAIN, ...args], {
            encoding: "utf8",
            env: { PATH: process.env["PATH"], LAKEPACK_DATA: before.data, ...settingsFor(lakefs) },
          });
        const repaired = lakepack(["doctor", "--lakefs", name, "--repair-mapping"]);
        t.equal(repaired.status, 0, repaired.stderr);
        t.match(
          repaired.stdout,
          /the mapping is \{"version":3,"threshold":1000000,"suffixes":\[\]\}/,
        );
        t.equal((await remoteRefs(urlOf(refused, name))).length, refs.length);
        t.same(
          await remoteRefs(urlOf(refused, name)),
          await remoteRefs(urlOf(await start(t, lakefs), name)),
        );
      },
    );

    await t.test(
      "metadata of landings, raw commits and seals that a forger writes move and show nothing",
      async (t) => {
        const name = await emptyRepository(lakefs, "landings");
        const { work } = await pushAll(t, signer, name);
        await commit(work, "two", { "two.txt": "two\n" });
        await git(["push", "-q", urlOf(signer, name), "main"], { cwd: work });
        const head = await headOf(lakefs, name);
        const landed = {
          "lakepack.base": head.id,
          "lakepack.tip": head.parents[0] as string,
          "lakepack.step": "3",
        };
        await write(
          lakefs,
          name,
          "main",
          { "three.txt": { bytes: Buffer.from("three\n"), metadata: {} } },
          { ...head.metadata, ...landed },
        );
        const forged = await headOf(lakefs, name);
        const fresh = await start(t, lakefs, KEY);
        const refs = await remoteRefs(urlOf(fresh, name));
        t.same(refs, await remoteRefs(urlOf(signer, name)));
        t.equal(
          (await headOf(lakefs, name)).id,
          forged.id,
          "the branch stays where its writer has put it",
        );
        const copy = await checkAlike(t, lakefs, name, {
          "with the key": fresh,
          "without it": await start(t, lakefs),
        });
        t.equal(await readFile(join(copy, "three.txt"), "utf8"), "three\n");
        t.equal(
          await git(["rev-parse", "HEAD^"], { cwd: copy }),
          await git(["rev-parse", "main"], { cwd: work }),
        );
      },
    );

    await t.test(
      "a merge that looks like a half-landed push takes no commits away and hides no bytes",
      async (t) => {
        const name = await emptyRepository(lakefs, "merges");
        const { work } = await pushAll(t, signer, name);
        const older = await headOf(lakefs, name);
        await commit(work, "two", { "two.txt": "two\n" });
        await git(["push", "-q", urlOf(signer, name), "main"], { cwd: work });
        const base = await headOf(lakefs, name);
        const { id: root } = (
          await lakefs.client.in(name).firstParents(base.id, 100, signal)
        ).results.at(-1) as { id: string };
        const step = 128;
        /**
         * As `commit-point.ts` does it: tip, road, signpost, merge. `shows`: the tree that the
         * merge gets.
         */
        const forge = async (
          branch: string,
          from: LakefsCommit,
          tipOf: LakefsCommit,
          shows: string,
          parents: readonly string[],
        ): Promise<string> => {
          const facts = {
            committer: "writer",
            message: "forged",
            creationDate: from.creation_date,
            metadata: {},
            generation: 9,
          };
          const tip = await writeCommitRecord(
            writer.in(name),
            {
              ...facts,
              metarangeId: tipOf.meta_range_id,
              parents,
              metadata: { ...tipOf.metadata },
            },
            signal,
          );
          const road = await writeCommitRecord(
            writer.in(name),
            { ...facts, metarangeId: tipOf.meta_range_id, parents: [tip] },
            signal,
          );
          const signpost = await writeCommitRecord(
            writer.in(name),
            {
              ...facts,
              metarangeId: shows,
              parents: [from.id, ...Array<string>(step - 2).fill(root), road],
            },
            signal,
          );
          const metadata = {
            "lakepack.base": from.id,
            "lakepack.tip": tip,
            "lakepack.step": String(step),
          };
          return (
            await writer.in(name).merge(signpost, branch, { message: "landing", metadata }, signal)
          ).reference;
        };
        const withGuard = async (
          branch: string,
          source: string,
          more: Record<string, string>,
        ): Promise<string> => {
          await writer.in(name).createBranch({ name: branch, source, hidden: true }, signal);
          for (const [path, text] of Object.entries({
            [GUARD_PATH]: Buffer.from(GUARD_FILE).toString(),
            ...more,
          }))
            await writer.in(name).uploadObject(branch, path, Buffer.from(text), {}, signal);
          return (await writer.in(name).commit(branch, { message: "tree" }, signal)).meta_range_id;
        };
        // Back to the older commit's tree, as a commit that has nothing to do with the head.
        const back = await forge("main", base, older, await withGuard("w1", older.id, {}), [root]);
        const servers = {
          "with the key": signer,
          "without it": await start(t, lakefs),
          anew: await start(t, lakefs, KEY),
        };
        const refs = await Promise.all(
          Object.values(servers).map((server) => remoteRefs(urlOf(server, name))),
        );
        for (const list of refs) t.same(list, refs[0], "the same ids");
        const copy = join(await tempFolder(t), "clone");
        await git(["clone", "-q", urlOf(servers["without it"], name), copy], NO_SMUDGE);
        t.equal(
          (
            await tryGit(
              [
                "merge-base",
                "--is-ancestor",
                await git(["rev-parse", "main"], { cwd: work }),
                "HEAD",
              ],
              { cwd: copy },
            )
          ).code,
          0,
          "what was pushed is still in the branch",
        );
        t.equal((await headOf(lakefs, name)).id, back, "and nobody has moved it for the forger");
        // Forward, but with other bytes in the merge than in the commit that it names.
        const now = await headOf(lakefs, name);
        await writer.in(name).createBranch({ name: "other", source: now.id }, signal);
        const swapped = await forge(
          "other",
          now,
          now,
          await withGuard("w2", now.id, { "README.md": "other bytes\n" }),
          [now.id],
        );
        const fresh = await start(t, lakefs);
        await git(["fetch", "-q", urlOf(fresh, name), "refs/heads/other"], { cwd: copy });
        if ((await headOf(lakefs, name, "other")).id === swapped)
          t.equal(
            await git(["show", "FETCH_HEAD:README.md"], { cwd: copy }),
            "other bytes",
            "Git shows what lakeFS shows",
          );
        else t.equal(await git(["show", "FETCH_HEAD:README.md"], { cwd: copy }), "# read me");
      },
    );

    await t.test(
      "an imported object that was overwritten with as many bytes is refused by path, and only its branch",
      async (t) => {
        const name = await emptyRepository(lakefs, "imported");
        const [before, after] = [
          Buffer.from("the first bytes\n"),
          Buffer.from("other bytes now\n"),
        ];
        const { physical_address } = await lakefs.client
          .in(name)
          .uploadObject("main", "seed", after, {}, signal);
        await write(lakefs, name, "main", { good: { bytes: before, metadata: {} } });
        await writer.in(name).createBranch({ name: "bad", source: "main" }, signal);
        for (const [path, checksum] of [
          ["as-md5", md5(before)],
          ["as-sha256", `sha256:${sha256(before)}`],
        ] as const) {
          await writer
            .in(name)
            .stageObject(
              "bad",
              path,
              { physical_address, checksum, size_bytes: after.length },
              signal,
            );
        }
        await writer
          .in(name)
          .stageObject(
            "bad",
            "etag",
            { physical_address, checksum: `${md5(before)}-2`, size_bytes: after.length },
            signal,
          );
        await writer.in(name).commit("bad", { message: "imported" }, signal);
        const server = await start(t, lakefs);
        t.same(
          (await remoteRefs(urlOf(server, name))).map((line) => line.split("\t")[1]),
          ["HEAD", "refs/heads/main"],
        );
        t.ok(await logShows(server, /lakefs\/damaged.*as-(md5|sha256)/));
        const copy = join(await tempFolder(t), "clone");
        t.equal((await tryGit(["clone", "-q", urlOf(server, name), copy])).code, 0);
        await commit(copy, "more", { "more.txt": "more\n" });
        t.equal(
          (await tryGit(["push", "-q", urlOf(server, name), "HEAD:main"], { cwd: copy })).code,
          0,
        );
        await writer.in(name).deleteObjects("bad", ["as-md5", "as-sha256"], signal);
        await writer.in(name).commit("bad", { message: "without them" }, signal);
        await writer.in(name).createBranch({ name: "mended", source: "main" }, signal);
        await writer
          .in(name)
          .stageObject(
            "mended",
            "etag",
            { physical_address, checksum: `${md5(before)}-2`, size_bytes: after.length },
            signal,
          );
        await writer.in(name).commit("mended", { message: "an ETag of parts" }, signal);
        t.ok(
          (await remoteRefs(urlOf(server, name))).some((line) =>
            line.endsWith("refs/heads/mended"),
          ),
          "what tells nothing is not compared",
        );
      },
    );
  });
}
