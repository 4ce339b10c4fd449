/**
 * Cost of each operation in calls of lakeFS, counted on the wire between a real lakepack and a real
 * lakeFS, with stock git in front.
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { commit, git, type Lakepack, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { commitMany, manyPath } from "../support/many-files.js";
import { kindOf, type LakefsProxy, startProxy } from "../support/lakefs-proxy.js";
import {
  createSource,
  openNode,
  signal,
  type Source,
  testPool,
} from "../support/lakefs-reading.js";
import {
  isBefore,
  type RunningLakefs,
  skipLakefs,
  startLakefs,
} from "../support/lakefs-servers.js";

const FILES = 2_500;
const FILE_BYTES = 200;
/**
 * Calls that a conversation may make besides: refs, once or twice, with room for a session's first
 * contact.
 */
const CONSTANT = 12;

function start(t: Test, { server }: LakefsProxy, data?: string): Promise<Lakepack> {
  const { endpoint, accessKeyId, secretAccessKey } = server.access;
  const env = {
    LAKEPACK_LAKEFS_ENDPOINT: endpoint,
    LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId,
    LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey,
    LAKEPACK_LAKEFS_PATIENCE_SECONDS: "1",
  };
  return startLakepack(t, { env, ...(data === undefined ? {} : { data }) });
}

/** Calls by kind while `work` runs. The watch for new heads is no part of an operation. */
async function counted(
  proxy: LakefsProxy,
  work: () => Promise<unknown>,
): Promise<{ listing: number; content: number; other: number; all: number }> {
  proxy.calls.length = 0;
  await work();
  const counts = { listing: 0, content: 0, other: 0, all: proxy.calls.length };
  for (const call of proxy.calls) counts[kindOf(call)]++;
  return counts;
}

t.setTimeout(300_000);
t.test("calls of clones and pushes", { skip: skipLakefs, timeout: 240_000 }, async (t) => {
  const lakefs = await startLakefs(t, "local");
  const proxy = await startProxy(t, lakefs);
  const source = await createSource(lakefs);
  await commitMany(lakefs.client.in(source.name), { from: 0, to: FILES, bytes: FILE_BYTES });
  const folder = await tempFolder(t);
  const first = await start(t, proxy);
  const url = `${first.url}/lakefs/${source.name}.git`;
  const clone = (name: string, from = url) => git(["clone", "-q", from, join(folder, name)]);
  const stats = (await isBefore(lakefs, 62)) ? LIMITS.lakefsStatsMax : 0; // its comparison names no checksum
  const within = (
    t: Test,
    what: string,
    made: Awaited<ReturnType<typeof counted>>,
    most: { listing: number; content: number; all?: number },
  ) => {
    t.comment(`${what}: ${JSON.stringify(made)}`);
    t.ok(made.listing <= most.listing, `${what}: ${made.listing} listing calls`);
    t.ok(made.content <= most.content, `${what}: ${made.content} contents`);
    t.ok(
      made.all <= (most.all ?? most.listing + most.content + CONSTANT) + stats,
      `${what}: ${made.all} calls`,
    );
  };

  await t.test("reading", async (t) => {
    within(t, "first clone", await counted(proxy, () => clone("first")), {
      listing: 3,
      content: FILES,
      all: FILES + 3 + 2 * CONSTANT,
    });
    within(t, "second clone", await counted(proxy, () => clone("second")), {
      listing: 0,
      content: 0,
    });
    within(t, "ls-remote", await counted(proxy, () => git(["ls-remote", url])), {
      listing: 0,
      content: 0,
      all: 6,
    });
    await commitMany(lakefs.client.in(source.name), {
      from: 100,
      to: 120,
      bytes: FILE_BYTES,
      salt: "changed",
    });
    within(
      t,
      "fetch of a commit with 20 changed files",
      await counted(proxy, () => git(["pull", "-q"], { cwd: join(folder, "first") })),
      { listing: 0, content: 20 },
    );
    t.equal(await git(["rev-list", "--count", "HEAD"], { cwd: join(folder, "first") }), "2");
  });

  await t.test("pushing", async (t) => {
    const work = join(folder, "second");
    await git(["pull", "-q"], { cwd: work });
    let listings = 0;
    for (const [what, files, most] of [
      ["the first push, which puts the guard there", 1, 40],
      ["push", 1, 28],
      ["push", 40, 70],
    ] as const) {
      await commit(
        work,
        `${files} files`,
        Object.fromEntries(
          Array.from({ length: files }, (_, at) => [manyPath(at), `${what} ${files} ${at}\n`]),
        ),
      );
      const made = await counted(proxy, () => git(["push", "-q", "origin", "main"], { cwd: work }));
      // Once an hour the leftovers of crashes are looked for, behind a push; hooks of the first
      // one's base, which no push has made. Where many were put is looked at in pages of the
      // listing.
      within(t, `${what} of ${files} small files`, made, {
        listing: files === 1 ? 2 : 4,
        content: 0,
        all: most,
      });
      if (files === 1) listings += made.listing;
    }
    t.ok(listings <= 2, `${listings} listings of all pushes of one file together`);
    within(t, "clone of what was pushed", await counted(proxy, () => clone("pushed")), {
      listing: 0,
      content: 0,
    });
    t.equal(
      await git(["rev-parse", "HEAD"], { cwd: join(folder, "pushed") }),
      await git(["rev-parse", "HEAD"], { cwd: work }),
    );
  });

  await t.test("after a restart", async (t) => {
    await first.stop();
    const second = await start(t, proxy, first.data);
    const again = `${second.url}/lakefs/${source.name}.git`;
    within(t, "clone", await counted(proxy, () => clone("restarted", again)), {
      listing: 0,
      content: 0,
      all: 2 * CONSTANT,
    });
    await commitMany(lakefs.client.in(source.name), {
      from: 200,
      to: 205,
      bytes: FILE_BYTES,
      salt: "after",
    });
    within(
      t,
      "a commit with 5 changed files",
      await counted(proxy, () => clone("changed", again)),
      { listing: 0, content: 5 },
    );
    const work = join(folder, "changed");
    await git(["config", "user.name", "t"], { cwd: work });
    await git(["config", "user.email", "t@example.com"], { cwd: work });
    for (let at = 0; at < 80; at++)
      await git(["mv", `d${String(at).padStart(3, "0")}`, `e${at}`], { cwd: work });
    await git(["commit", "-q", "-m", "renamed"], { cwd: work });
    const renamed = await counted(proxy, () =>
      git(["push", "-q", "origin", "main"], { cwd: work }),
    );
    // The first push after a restart proves that the guard runs.
    within(t, "push that renames 2,000 files", renamed, {
      listing: 12,
      content: 0,
      all: 2_000 + 60,
    });
    const uploads = proxy.calls
      .filter(({ method, path }) => method === "POST" && /\/objects\?path=/.test(path))
      .map(({ path }) => path);
    t.ok(
      uploads.length <= 30,
      `what others have changed is sent, whose address nobody has told: ${uploads.length} uploads`,
    );
    await second.stop();
  });
});

for (const blocks of ["local", "s3"] as const) {
  t.test(`calls by name, ${blocks} blocks`, { skip: skipLakefs, timeout: 120_000 }, async (t) =>
    byName(t, await startLakefs(t, blocks)),
  );
}

/** As the counters of the server itself tell. */
async function byName(t: Test, server: RunningLakefs): Promise<void> {
  const pool = await testPool(t);
  const files = 1_100;
  const source = await createSource(server);
  await commitMany(server.client.in(source.name), { from: 0, to: files, bytes: 100 });
  const contents =
    server.blocks === "s3"
      ? { config: 1, listPresigned: 2, readPresigned: files }
      : { config: 1, readObject: files };
  const folder = await tempFolder(t);
  const node = await openNode(t, server, pool, source.name, { folder });
  const reading = async (at = node) => {
    at.calls();
    await at.refs.read();
    return at.calls();
  };
  const refs = { listBranches: 1, listTags: 1 };

  t.same(
    await reading(),
    { listBranches: 2, listTags: 1, log: 1, readRange: 2, ...contents },
    "first, by raw ranges; and what is cut",
  );
  const bytesIn =
    node.client.http.figures.get("readObject")?.bytesIn ??
    node.client.http.figures.get("readPresigned")?.bytesIn;
  t.equal(bytesIn, files * 100, "bytes are counted");
  t.same(await reading(), refs, "second");
  t.same(await reading(await node.reopen()), refs, "another node with the same store");
  await source.put({ "d001/s1/f000001.txt": "changed", new: "n" });
  await source.remove([manyPath(2)]);
  await source.commit();
  t.same(
    await reading(),
    {
      ...refs,
      log: 1,
      diff: 1,
      readObject: 2,
      ...((await isBefore(server, 62)) ? { statObject: 2 } : {}),
    },
    "two files changed, one removed",
  );
  await source.commit("nothing changed");
  t.same(await reading(), { ...refs, log: 1 }, "the same tree");

  const { listObjects, readRange, ...paged } = await reading(
    await openNode(t, server, pool, source.name, { pagesOnly: true }),
  );
  t.same([listObjects, readRange], [2, undefined], "by pages");
  t.equal((paged["readObject"] ?? 0) + (paged["readPresigned"] ?? 0), files + 2);

  const same = await createSource(server);
  await stageCopies(same);
  const { readObject } = await reading(await openNode(t, server, pool, same.name));
  t.ok((readObject ?? 0) <= 2, `one stored object under 51 paths: ${readObject} reads`);
}

/**
 * One stored object under many paths. The local adapter writes the address of what was staged in
 * another form.
 */
async function stageCopies(source: Source): Promise<void> {
  const { client, name } = source;
  await source.put({ seed: "the same content" });
  const {
    physical_address,
    checksum,
    size_bytes = 0,
  } = await client.in(name).statObject("main", "seed", signal);
  const stage = (at: number) =>
    client
      .in(name)
      .stageObject(
        "main",
        `copy${at}`,
        { physical_address, checksum, size_bytes, metadata: {} },
        signal,
      );
  await Promise.all(Array.from({ length: 50 }, (_, at) => stage(at)));
  await source.commit();
}
