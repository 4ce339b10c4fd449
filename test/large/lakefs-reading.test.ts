/**
 * First readings of large lakeFS repositories in bounded memory. Only with `npm run test:large`:
 * minutes.
 */
import t from "tap";
import { RssWatch } from "../../bench/process.js";
import { git, startLakepack } from "../support/harness.js";
import { filesAt, GeneratedLake, readGenerated } from "../support/generated-objects.js";
import { commitMany } from "../support/many-files.js";
import { createSource } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const MIB = 1024 * 1024;
const OBJECTS = 1_000_000;
/**
 * 810 MiB were measured: 300 in the synthesis, the rest while the pack is indexed. A flat listing
 * would be 350 more.
 */
const GROWTH_MAX = 950 * MIB;
const skip = process.env["TEST_LARGE"] === undefined ? "only with npm run test:large" : skipLakefs;

t.test(
  "1,000,000 objects in generated ranges, each of its own content",
  { skip, timeout: 1_800_000 },
  async (t) => {
    const lake = await GeneratedLake.start(t);
    await lake.commit({ objects: OBJECTS, content: (object) => object });
    const { url, read } = await readGenerated(t, lake);
    const { rssGrowth, seconds } = await read();
    t.comment(`${Math.round(rssGrowth / MIB)} MiB, ${seconds.toFixed(1)} s`);
    t.same(lake.asked, { contents: OBJECTS, listing: 21, diffs: 0 });
    t.ok(rssGrowth < GROWTH_MAX, `${Math.round(rssGrowth / MIB)} MiB`);
    t.equal(await filesAt(t, url), OBJECTS);
  },
);

t.test("100,000 objects of a real lakeFS", { skip, timeout: 900_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const source = await createSource(lakefs);
  await commitMany(lakefs.client.in(source.name), { from: 0, to: 100_000, bytes: 300 });
  const { endpoint, accessKeyId, secretAccessKey } = lakefs.access;
  const env = {
    LAKEPACK_LAKEFS_ENDPOINT: endpoint,
    LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId,
    LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey,
    LAKEPACK_LAKEFS_REFS_WAIT_SECONDS: "3600",
  };
  const server = await startLakepack(t, { env });
  const watch = new RssWatch([server.pid]);
  t.match(
    await git(["ls-remote", `${server.url}/lakefs/${source.name}.git`, "refs/heads/main"]),
    /refs\/heads\/main/,
  );
  const growth = watch.stop();
  t.comment(`${Math.round(growth / MIB)} MiB`);
  t.ok(growth < 350 * MIB, `${Math.round(growth / MIB)} MiB`);
});
