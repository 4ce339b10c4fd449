/** Memory of a first reading does not follow the length of the listing. test/large has the same with a million objects. */
import t from "tap";
import { readGenerated } from "./generated.js";
import { skipLakefs } from "./servers.js";

const MIB = 1024 * 1024;
const OBJECTS = 300_000;
/** What is kept of each object is 30 bytes of a tree; a flat listing of so many was 107 MiB more. */
const GROWTH_MAX = 200 * MIB;

t.setTimeout(300_000);
t.test("300,000 objects in generated ranges", { skip: skipLakefs, timeout: 240_000 }, async (t) => {
  const { rssGrowth, contents, listing, seconds, files } = await readGenerated(t, { objects: OBJECTS, contents: 2_000 });
  t.comment(`${Math.round(rssGrowth / MIB)} MiB, ${seconds.toFixed(1)} s`);
  t.equal(files, OBJECTS);
  t.equal(contents, 2_000, "identical content once");
  t.equal(listing, 7, "a metarange and its ranges");
  t.ok(rssGrowth < GROWTH_MAX, `${Math.round(rssGrowth / MIB)} MiB`);
});
