/** Refs whose truth is a real lakeFS, by the rules of every ref store. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { newRepository, newWork, rigNode } from "../support/landing-rig.js";
import { testPool } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { refStoreConformance } from "./ref-store.js";

const COMMITS = 17;

t.setTimeout(300_000);

t.test("lakeFS", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);
  const work = await newWork(t);
  const oids: string[] = [];
  for (let at = 1; at <= COMMITS; at++)
    oids.push(
      await work.commit(`commit ${at}`, (folder) => writeFile(join(folder, "file"), `${at}`)),
    );
  work.git("tag", "-a", "-m", "annotated", "v1", oids[7] as string);
  const tag = { oid: work.tip("v1"), peeled: oids[7] as string };
  const make = async () => {
    const node = await rigNode(t, server, pool, await newRepository(server), {
      policy: { allowForced: true },
    });
    await node.load(work, [tag.oid, ...oids]);
    return node.refs;
  };
  // lakeFS has no transaction over several refs, and its default branch is set when a repository is
  // made.
  await refStoreConformance(t, make, {
    oid: (n) => oids[n - 1] ?? "9".repeat(40),
    tag,
    atomic: /cannot move several refs at once/,
    headStays: false,
    scale: false,
  });
});
