/**
 * A reading that lakeFS breaks off: what was read is kept, and the next attempt, of another process
 * too, goes on from there.
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { commitMany } from "../support/many-files.js";
import { type Call, kindOf, type LakefsProxy, startProxy } from "../support/lakefs-proxy.js";
import { createSource, type Node, openNode, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { tempFolder } from "../support/temp-folder.js";

const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );
const FILES = 300;

/** Contents that have passed a proxy, by path: how often. */
const passed = new Map<string, number>();

function note(call: Call): void {
  const path =
    kindOf(call) === "content" ? new URL(call.path, "http://x").searchParams.get("path") : null;
  if (path !== null) passed.set(path, (passed.get(path) ?? 0) + 1);
}

/** Behind so many calls that `is`, nothing answers any more. */
function awayAfter(proxy: LakefsProxy, count: number, is: (path: string) => boolean): void {
  let left = count;
  proxy.onCall = (call) => {
    if (kindOf(call) === "content" && is(call.path)) left--;
    if (left < 0) return { as: "drop" };
    note(call);
    return undefined;
  };
}

function isBack(proxy: LakefsProxy): void {
  awayAfter(proxy, Number.POSITIVE_INFINITY, () => true);
}

const impatient = ({ server }: LakefsProxy): RunningLakefs => ({
  ...server,
  access: { ...server.access, patienceMs: 0 },
});

async function numbered(t: Test, node: Node, files: number): Promise<void> {
  t.equal((await node.git("ls-tree", "-r", "--name-only", "main")).split("\n").length, files);
  t.equal(await node.git("fsck", "--strict", "--full"), "");
}

t.test("readings that are broken off", { skip: skipLakefs, timeout: 180_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);

  await t.test(
    "in the middle of a commit of many files: none of those that were read is read again",
    async (t) => {
      const source = await createSource(server);
      await commitMany(server.client.in(source.name), { from: 0, to: FILES, bytes: 200 });
      const proxy = await startProxy(t, server);
      const folder = join(await tempFolder(t), "node");
      const node = await openNode(t, impatient(proxy), pool, source.name, { folder });
      for (const [attempt, before] of [100, 100].entries()) {
        awayAfter(proxy, before, () => true);
        t.equal(await faultOf(node.refs.read()), "lakefs/unreachable", `attempt ${attempt}`);
      }
      t.ok(
        (node.client.http.figures.get("readObject")?.calls ?? 0) > 200,
        "calls of what failed are counted",
      );
      t.ok(passed.size >= 200 && passed.size < FILES, `${passed.size} were read`);
      isBack(proxy);
      const later = await node.reopen();
      await numbered(t, later, FILES);
      t.equal(passed.size, FILES);
      t.same(
        [...passed.values()].filter((times) => times > 1),
        [],
        "each once",
      );
      const other = await openNode(t, server, pool, source.name);
      t.equal(
        await later.git("rev-parse", "main"),
        await other.git("rev-parse", "main"),
        "the same ids",
      );
      t.equal((await later.refs.read()).refs.length, 1);
    },
  );

  await t.test("in the middle of a history: commits that were done are done", async (t) => {
    const source = await createSource(server);
    for (let at = 0; at < 12; at++) {
      await source.put({ [`f${at}`]: `text ${at}` });
      await source.commit();
    }
    const proxy = await startProxy(t, server);
    const node = await openNode(t, impatient(proxy), pool, source.name);
    awayAfter(proxy, 0, (path) => /path=f8/.test(path));
    t.equal(await faultOf(node.refs.read()), "lakefs/unreachable");
    isBack(proxy);
    passed.clear();
    await numbered(t, node, 12);
    t.same([...passed.keys()].sort(), ["f10", "f11", "f8", "f9"]);
    t.equal(node.commits.progress.total, 0);
  });
});
