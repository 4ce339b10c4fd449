/**
 * Eight cold clones at once, of what lakeFS made and of what was pushed: a server reads each
 * content once, two servers that share lakeFS and nothing else once each. Counted where lakeFS is
 * asked; with S3 blocks, where the bytes come from the bucket by signed addresses, as the server
 * counts.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import t, { type Test } from "tap";
import { blockStores } from "../support/everyday.js";
import { stageableAddress } from "../../src/lakefs/api/address.js";
import { startProxy } from "../support/lakefs-proxy.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, commit, git, type Lakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, put, settingsFor, signal, startBeside } from "../support/lakefs-rig.js";

t.setTimeout(300_000);

const CLONES = 8;
const FILES = 40;
const VERSIONS = 3;
/** Each server takes the other's recorded ids for what they are. */
const SEAL = { LAKEPACK_SEAL_KEY: "5e".repeat(32), LAKEPACK_LAKEFS_POLL_SECONDS: "0" };

interface Repository {
  readonly name: string;
  /** Contents that a server has to read for a whole clone. */
  readonly contents: number;
}

/**
 * Two commits of lakeFS's own: files of their own contents, one at two paths, one above the
 * threshold of LFS, one changed.
 */
async function madeInLakefs(lakefs: RunningLakefs): Promise<Repository> {
  const name = await emptyRepository(lakefs, "made");
  for (let at = 0; at < FILES; at++) await put(lakefs, name, `d${at % 5}/f${at}`, `file ${at}\n`);
  await put(lakefs, name, "same-1", "the same\n");
  const { physical_address, checksum, size_bytes } = await lakefs.client
    .in(name)
    .statObject("main", "same-1", signal);
  // Its bytes uploaded again would be another object, of which only their reading tells that they
  // are the same.
  const json = {
    physical_address: stageableAddress(physical_address, lakefs.namespace(name)),
    checksum,
    size_bytes: size_bytes ?? 0,
    metadata: {},
  };
  await lakefs.client.in(name).stageObject("main", "same-2", json, signal);
  await put(lakefs, name, "large.bin", randomBytes(1_500_000));
  await lakefs.client.in(name).commit("main", { message: "one", metadata: {} }, signal);
  await put(lakefs, name, "d0/f0", "changed\n");
  await lakefs.client.in(name).commit("main", { message: "two", metadata: {} }, signal);
  return { name, contents: FILES + 3 };
}

/**
 * Pushed through a server that is no part of what follows: nobody reads its contents before a clone
 * wants them.
 */
async function pushed(t: Test, lakefs: RunningLakefs): Promise<Repository> {
  const name = await emptyRepository(lakefs, "pushed");
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  for (let version = 0; version < VERSIONS; version++) {
    const files = Array.from(
      { length: FILES },
      (_, at) =>
        [`d${at % 5}/f${at}`, `pushed ${at} ${at % VERSIONS === version ? version : 0}\n`] as const,
    );
    await commit(work, `version ${version}`, {
      ...Object.fromEntries(files),
      "plain.bin": "plain\n".repeat(300_000),
    });
  }
  const blobs = new Set(
    (
      await git(
        ["rev-list", "--objects", "main", "--filter=object:type=blob", "--filter-provided-objects"],
        { cwd: work },
      )
    ).split("\n"),
  );
  const server = await startBeside(t, lakefs, SEAL);
  await git(["push", "-q", `${server.url}/lakefs/${name}.git`, "main"], { cwd: work });
  await server.stop();
  return { name, contents: blobs.size };
}

/** Whole ones, shallow ones, and one that asks for its files as it checks them out. */
async function crowd(t: Test, servers: readonly Lakepack[], name: string): Promise<void> {
  const folder = await tempFolder(t);
  const kinds = [[], [], ["--depth=1"], [], ["--filter=blob:none"], ["--depth=2"], [], []];
  const clones = Array.from({ length: CLONES }, (_, at) => ({
    args: kinds[at % kinds.length] as string[],
    path: join(folder, `clone-${at}`),
    server: servers[at % servers.length] as Lakepack,
  }));
  await Promise.all(
    clones.map(({ args, path, server }) =>
      git(["clone", "-q", ...args, `${server.url}/lakefs/${name}.git`, path], {
        env: { GIT_LFS_SKIP_SMUDGE: "1" },
      }),
    ),
  );
  const heads = new Set(
    await Promise.all(
      clones.map(({ path }) => git(["rev-parse", "HEAD", "HEAD^{tree}"], { cwd: path })),
    ),
  );
  t.equal(heads.size, 1, "all have the same");
  for (const { path, args } of clones) if (args.length === 0) await checkFsck(t, path);
}

/** Contents that a server has read, as it counts them. */
async function readBy(server: Lakepack): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const calls =
    /^lakepack_lakefs_calls_total\{call="(readObject|streamObject|readPresigned|streamPresigned)"\} (\d+)$/gm;
  return [...text.matchAll(calls)].reduce((sum, [, , count]) => sum + Number(count), 0);
}

for (const blocks of blockStores) {
  for (const count of [1, 2]) {
    t.test(
      `${CLONES} cold clones at once of ${count} server${count > 1 ? "s" : ""}, ${blocks} blocks`,
      { skip: skipLakefs, timeout: 240_000 },
      async (t) => {
        const lakefs = await startLakefs(t, blocks);
        for (const { name, contents } of [await madeInLakefs(lakefs), await pushed(t, lakefs)]) {
          const proxy = await startProxy(t, lakefs);
          const servers = await Promise.all(
            Array.from({ length: count }, () =>
              startBeside(t, lakefs, { ...settingsFor(lakefs, proxy.url), ...SEAL }),
            ),
          );
          await crowd(t, servers, name);
          const reads = await Promise.all(servers.map(readBy));
          t.same(
            reads,
            Array(count).fill(contents),
            `${name}: each content once for each server, as they count`,
          );
          const asked = proxy.calls.filter(
            ({ method, path }) =>
              method === "GET" &&
              /\/refs\/\w+\/objects\?/.test(path) &&
              !path.includes("presign=true"),
          );
          if (blocks === "local")
            t.equal(asked.length, count * contents, `${name}: and as lakeFS was asked`);
          else
            t.ok(
              asked.length <= count * contents,
              `${name}: and as lakeFS was asked (${asked.length})`,
            );
          for (const server of servers) await server.stop();
        }
      },
    );
  }
}
