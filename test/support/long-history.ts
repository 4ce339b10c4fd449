/**
 * Histories of many commits that lakeFS alone has made, in a minute: its own commits make the
 * trees, commit records over them the rest.
 */
import { writeCommitRecord } from "../../src/lakefs/api/commit-record.js";
import { lakefsCommitId } from "../../src/lakefs/api/commit-id.js";
import { signal, type Source } from "./lakefs-reading.js";

/** Commits by lakeFS's own call, a file each. */
const STATES = 1_000;
const AT_ONCE = 16;

/**
 * Leaves main with so many commits, each of which changes one file. Says nothing of lakepack: a
 * record has what a commit of lakeFS's own user has.
 */
export async function makeLongHistory(source: Source, commits: number): Promise<void> {
  const { client, name } = source;
  const metaranges: string[] = [];
  for (let at = 0; at < Math.min(STATES, commits); at++) {
    await source.put({ [`d${at % 40}/f${at}.txt`]: `file ${at}\n` });
    metaranges.push((await source.commit(`file ${at}`)).meta_range_id);
  }
  let parent = await client
    .in(name)
    .getCommit((await client.in(name).getBranch("main", signal)).commit_id, signal);
  let records: Promise<string>[] = [];
  for (let at = metaranges.length; at < commits; at++) {
    const facts = {
      committer: "admin",
      message: `change ${at}`,
      metarangeId: metaranges[there(at, metaranges.length)] as string,
      creationDate: parent.creation_date + 1,
      parents: [parent.id],
      metadata: {},
      generation: (parent.generation ?? 0) + 1,
    };
    parent = {
      ...parent,
      id: lakefsCommitId(facts),
      creation_date: facts.creationDate,
      generation: facts.generation,
    };
    records.push(writeCommitRecord(client.in(name), facts, signal));
    if (records.length < AT_ONCE) continue;
    await Promise.all(records);
    records = [];
  }
  await Promise.all(records);
  await client.in(name).hardReset("main", parent.id, signal);
}

/** Back and forth over so many trees: each differs from the one before by a file. */
function there(at: number, count: number): number {
  const step = at % (2 * (count - 1));
  return step < count ? step : 2 * (count - 1) - step;
}
