/**
 * The bench at its smallest, so that it cannot rot: every row runs, and none is FAILED where its
 * peer is installed.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { bench, ROW_NAMES, type RowResult } from "../bench/main.js";
import { peerIsInstalled } from "../bench/peer.js";
import { skipLakefs } from "./support/lakefs-servers.js";
import { skipS3 } from "./support/s3-server.js";

const hasPeer = await peerIsInstalled();
const needPeer = new Set(["serve", "push", "crowd", "refs", "fetch", "commits"]);
/** Returns the reason why a row cannot run here. */
function skipOf(row: string): false | string {
  if (row === "lakefs") return skipLakefs;
  if (row === "store") return skipS3;
  return needPeer.has(row) && !hasPeer ? "nginx and fcgiwrap are not installed" : false;
}

for (const row of ROW_NAMES) {
  t.test(`row ${row}`, { timeout: 120_000, skip: skipOf(row) }, async (t) => {
    const folder = t.testdir();
    const report = await bench([row], "tiny", folder);
    t.equal(report.failures, 0);
    const result = JSON.parse(await readFile(join(folder, `${row}.json`), "utf8")) as RowResult;
    t.match(result, { row, date: /^\d{4}-\d\d-\d\d$/, machine: /^node v/ });
    t.ok(
      result.entries.some((entry) => "figure" in entry),
      "its figures are in the file",
    );
  });
}

t.test(
  "a row that is not there, or whose peer did not run, is FAILED and not left out",
  async (t) => {
    const report = await bench(["nothing"], "tiny");
    t.equal(report.failures, 1);
  },
);
