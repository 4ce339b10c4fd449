/**
 * Memory of reading does not follow the length of a listing. test/large has the same with a million
 * objects.
 */
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { filesAt, GeneratedLake, readGenerated } from "../support/generated-objects.js";
import { skipLakefs } from "../support/lakefs-servers.js";

const MIB = 1024 * 1024;
const OBJECTS = 300_000;
/** 140 MiB were measured, 40 bytes an object of them trees; with a flat listing kept it was 253. */
const GROWTH_MAX = 200 * MIB;

t.setTimeout(300_000);
t.test("300,000 objects in generated ranges", { skip: skipLakefs, timeout: 240_000 }, async (t) => {
  const lake = await GeneratedLake.start(t);
  await lake.commit({ objects: OBJECTS, content: (object) => object % 2_000 });
  const { url, read } = await readGenerated(t, lake);
  const { rssGrowth, seconds } = await read();
  t.comment(`${Math.round(rssGrowth / MIB)} MiB, ${seconds.toFixed(1)} s`);
  t.same(
    lake.asked,
    { contents: 2_000, listing: 7, diffs: 0 },
    "identical content once; a metarange and its ranges",
  );
  t.ok(rssGrowth < GROWTH_MAX, `${Math.round(rssGrowth / MIB)} MiB`);
  t.equal(await filesAt(t, url), OBJECTS);
});

t.test("more changes than are held", { skip: skipLakefs, timeout: 240_000 }, async (t) => {
  const objects = LIMITS.lakefsChangesMax + 10_000;
  const lake = await GeneratedLake.start(t);
  await lake.commit({ objects, content: (object) => object % 100 });
  const { url, read } = await readGenerated(t, lake);
  await read();
  const { contents, listing } = lake.asked;
  // Every content changes but in one of a hundred objects, which is not read again.
  await lake.commit({
    objects,
    content: (object) => (object % 100 === 7 ? 7 : 1_000 + (object % 100)),
  });
  await read();
  t.equal(lake.asked.contents - contents, 99);
  t.ok(
    lake.asked.diffs <= LIMITS.lakefsDiffMax / 1_000 + 1,
    `${lake.asked.diffs} pages of the diff`,
  );
  t.ok(
    lake.asked.listing - listing <= 4 * (objects / 50_000 + 2),
    `${lake.asked.listing - listing} listing calls`,
  );
  t.equal(await filesAt(t, url), objects);
});
