/**
 * A disk that fails: full, or failing one change. The client reads why, no ref moves that was not reported, and the next push works.
 * The real process runs with test/crash/recorder.ts, which fails what an order names.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { checkFsck, commit, git, tempFolder } from "../interop/harness.js";
import { testPool } from "./examination.js";
import { Acknowledgements, History } from "./history.js";
import type { Order } from "./journal.js";

t.setTimeout(600_000);

/** What one push changes on the disk, by kind and function. */
const CHANGES: readonly (readonly [kind: string, site: string])[] = [
  ["mkdir", "startIngest"],
  ["open", "startIngest"],
  ["write", "#spool"],
  ["sync", "ingest: #sync"],
  ["open", "#writeTable"],
  ["write", "#writeTable"],
  ["sync", "#writeTable"],
  ["mkdir", "#makeFolder"],
  ["sync", "#makeFolder"],
  ["link", "#linkOrCopy"],
  ["sync", "DiskStore.publish"],
  ["open", "#writeTemporary"],
  ["write", "#writeTemporary"],
  ["sync", "#writeTemporary"],
  ["rename", "#rename"],
  ["sync", "#replace"],
];

async function begun(t: Parameters<typeof History.begin>[0]): Promise<{ history: History; work: string; change: () => Promise<string> }> {
  const history = await History.begin(t);
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  let count = 0;
  return { history, work, change: () => commit(work, `change ${count++}`, { "a.txt": `${count}\n`.repeat(100) }) };
}

function acknowledged(history: History): Acknowledgements {
  const all = new Acknowledgements();
  for (const record of history.journal()) all.take(record);
  return all;
}

t.test("a full disk is what the client reads; with room again the next push works", async (t) => {
  const { history, work, change } = await begun(t);
  const first = await change();
  await history.push(work, "f/full", { "refs/heads/main": first });
  const second = await change();
  await history.order({ act: "ENOSPC", kinds: ["write", "mkdir", "copy"], once: false });
  t.match(await history.push(work, "f/full", { "refs/heads/main": second }), /the disk is full/);
  t.match(await git(["ls-remote", `${history.server.url}/f/full.git`, "refs/heads/main"]), first, "the ref is where it was");
  t.notOk(await history.upload("f/full", Buffer.alloc(1_000, "x")), "an LFS upload fails too");
  await history.withdraw();
  t.match(await history.push(work, "f/full", { "refs/heads/main": second }), /main/);
  t.ok(await history.upload("f/full", Buffer.alloc(1_000, "x")));
  t.same(await readdir(join(history.data, "incoming")), [], "nothing of the failed ones is left");
  await history.server.stop();
  t.same(await history.problems(history.data, acknowledged(history), await testPool(t)), []);
});

t.test("one change fails: a reason or an ok, and the next push lands", async (t) => {
  const { history, work, change } = await begun(t);
  for (const act of ["ENOSPC", "EIO"] as const) {
    for (const [kind, site] of CHANGES) {
      const order: Order = { act, site, kinds: [kind], once: true };
      const repository = `f/${act}-${kind}-${site.replace(/[^a-zA-Z]/g, "")}`.toLowerCase();
      await history.order(order);
      const oid = await change();
      const said = await history.push(work, repository, { "refs/heads/main": oid });
      t.notOk(history.isOrderOpen, `${act} of ${kind} in ${site} came`);
      if (history.failedPushes().includes(`${repository} refs/heads/main`)) t.match(said, act === "ENOSPC" ? /the disk is full/ : /storage failed|internal error/, `${kind} in ${site}`);
      await history.push(work, repository, { "refs/heads/main": await change() });
      const main = await git(["ls-remote", `${history.server.url}/${repository}.git`, "refs/heads/main"]);
      t.match(main, await git(["rev-parse", "HEAD"], { cwd: work }), "the next push lands");
    }
  }
  const clone = join(await tempFolder(t), "clone.git");
  await git(["clone", "-q", "--mirror", `${history.server.url}/f/eio-sync-replace.git`, clone]);
  await checkFsck(t, clone);
  t.same(await readdir(join(history.data, "incoming")), [], "nothing of the failed ones is left");
  await history.server.stop();
  t.same(await history.problems(history.data, acknowledged(history), await testPool(t)), []);
});
