/**
 * Raw ranges of a real lakeFS against its pages: one level of index and two, metadata, odd paths;
 * and damage is seen.
 */
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import { listChanges, listCommit } from "../../src/lakefs/trees/listing.js";
import type { LakeEntry } from "../../src/lakefs/rules/path-rules.js";
import type { LakefsCommit } from "../../src/lakefs/api/types.js";
import { readMetarange, readRangeEntries } from "../../src/lakefs/trees/ranges.js";
import { seeded } from "../support/random.js";
import { startProxy } from "../support/lakefs-proxy.js";
import {
  createSource,
  openNode,
  refsOf,
  signal,
  type Source,
  testPool,
} from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const OBJECTS = 10_500;
const STAGED_AT_ONCE = 32;

async function listed(
  source: Source,
  commit: string,
  metarange: string,
  pagesOnly: boolean,
): Promise<LakeEntry[]> {
  const entries: LakeEntry[] = [];
  for await (const batch of listCommit(
    { client: source.client.in(source.name), signal, pagesOnly },
    commit,
    metarange,
  ))
    entries.push(...batch);
  return entries;
}

/** Addresses differ in form only: ranges have them relative to the namespace. */
const shape = ({ path, size, checksum, metadata }: LakeEntry) =>
  `${path} ${size} ${checksum} ${JSON.stringify(metadata, Object.keys(metadata).sort())}`;

/** Many entries of few objects, staged by address: quick, and as real as uploads. */
async function stageMany(source: Source, count: number): Promise<void> {
  await source.put({ seed: "the same content" });
  const { id } = await source.commit();
  const {
    physical_address,
    checksum,
    size_bytes = 0,
  } = await source.client.in(source.name).statObject(id, "seed", signal);
  let next = 0;
  const work = async () => {
    for (let at = next++; at < count; at = next++) {
      const path = `d${at % 97}/${"x".repeat(at % 40)}${at}`;
      const metadata = at % 5 === 0 ? { [`key-${at % 3}`]: "é".repeat(at % 30), b: "" } : {};
      await source.client
        .in(source.name)
        .stageObject("main", path, { physical_address, checksum, size_bytes, metadata }, signal);
    }
  };
  await Promise.all(Array.from({ length: STAGED_AT_ONCE }, work));
}

t.setTimeout(240_000);

t.test(
  "a diff that does not say what is new, as before 1.62: a few are asked for, of many the ranges tell",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const source = await createSource(server);
    const paths = Array.from({ length: 150 }, (_, at) => `d/${String(at).padStart(3, "0")}`);
    const files = (count: number, text: string) =>
      Object.fromEntries(paths.slice(0, count).map((path) => [path, `${text} ${path}`]));
    await source.put(files(150, "first"));
    const first = await source.commit();
    await source.put(files(20, "second"));
    await source.remove(["d/149"]);
    const second = await source.commit();
    await source.put(files(149, "third"));
    const third = await source.commit();
    const proxy = await startProxy(t, server);
    const older = (body: Buffer) =>
      Buffer.from(
        JSON.stringify(JSON.parse(body.toString()), (key, value) =>
          key === "right" ? undefined : value,
        ),
      );
    proxy.onCall = ({ path }) =>
      path.includes("/diff/") ? { as: "rewrite", body: older } : undefined;
    const changes = async (client: LakefsServer, left: LakefsCommit, right: LakefsCommit) => {
      const listing = { client: client.in(source.name), signal, pagesOnly: false };
      const found = await listChanges(
        listing,
        { id: left.id, metarange: left.meta_range_id },
        { id: right.id, metarange: right.meta_range_id },
      );
      return found?.map(({ path, entry }) =>
        entry === undefined ? `${path} is gone` : shape(entry),
      );
    };
    for (const [left, right, stats] of [
      [first, second, 20],
      [second, third, 100],
    ] as const) {
      const client = new LakefsServer(proxy.server.access);
      t.same(await changes(client, left, right), await changes(server.client, left, right));
      t.equal(client.http.figures.get("statObject")?.calls, stats);
    }
  },
);

t.test("ranges and pages of a real lakeFS", { skip: skipLakefs, timeout: 120_000 }, async (t) => {
  const server = await startLakefs(t);
  const source = await createSource(server);

  await t.test("few entries, with every kind of path", async (t) => {
    const paths = ["a//b", "/a", "é/日本.txt", "a b", ".git/x", "z".repeat(1_000), "d/"];
    await source.put(Object.fromEntries(paths.map((path) => [path, path])), {
      metadata: { k: "v" },
    });
    const commit = await source.commit();
    const raw = await listed(source, commit.id, commit.meta_range_id, false);
    t.equal(raw.length, paths.length);
    t.same(
      raw.map(shape),
      (await listed(source, commit.id, commit.meta_range_id, true)).map(shape),
    );
  });

  await t.test("a damaged range is never read as another", async (t) => {
    const commit = await source.client.in(source.name).getCommit(await source.head(), signal);
    const meta = await source.client
      .in(source.name)
      .readRange("meta_range", commit.meta_range_id, 2 ** 20, signal);
    const [range] = [...readMetarange(meta)];
    const table = await source.client
      .in(source.name)
      .readRange("range", range?.id ?? "", 2 ** 20, signal);
    const whole = JSON.stringify([...readRangeEntries(table)].map(shape));
    const random = seeded(3);
    for (let round = 0; round < 3_000; round++) {
      const bad = Buffer.from(table);
      const at = random.below(bad.length);
      bad[at] = (bad[at] as number) ^ (1 << random.below(8));
      let read: string | undefined;
      try {
        read = JSON.stringify([...readRangeEntries(bad)].map(shape));
      } catch (error) {
        if (!(error instanceof Fault && error.code === "lakefs/bad-reply"))
          t.fail(`byte ${at}: ${String(error)}`);
      }
      if (read !== undefined && read !== whole) t.fail(`byte ${at} makes another listing`);
    }
    for (let cut = 0; cut < table.length; cut += 7)
      t.throws(() => [...readRangeEntries(table.subarray(0, cut))], Fault);
  });

  await t.test("more than ten thousand entries, whose index has two levels", async (t) => {
    const many = await createSource(server);
    await stageMany(many, OBJECTS);
    const commit = await many.commit();
    const before = many.client.http.figures.get("readRange")?.calls ?? 0;
    const raw = await listed(many, commit.id, commit.meta_range_id, false);
    const calls = (many.client.http.figures.get("readRange")?.calls ?? 0) - before;
    t.equal(raw.length, OBJECTS + 1);
    t.ok(calls <= 5, `${calls} calls`);
    t.same(raw.map(shape), (await listed(many, commit.id, commit.meta_range_id, true)).map(shape));
    const pool = await testPool(t);
    const node = await openNode(t, server, pool, many.name);
    node.calls();
    await node.refs.read();
    const made = node.calls();
    t.ok((made["readRange"] ?? 0) + (made["diff"] ?? 0) <= 9, JSON.stringify(made));
    t.ok((made["readObject"] ?? 0) <= 2, "identical content once");
    const paged = await openNode(t, server, pool, many.name, { pagesOnly: true });
    t.same(await refsOf(paged), await refsOf(node));
    t.equal(await node.git("fsck", "--strict"), "");
    t.equal(
      (await node.git("ls-tree", "-r", "--name-only", "main")).split("\n").length,
      OBJECTS + 1,
    );
  });
});
