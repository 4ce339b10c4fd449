/** Three pushers and a lakeFS writer at one branch: what was acknowledged is in the history, what was refused is not, nothing of anybody's is lost. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { freshView, newRepository, newWork, rigNode, type RigNode, type Work } from "./landing-rig.js";
import { signal, Source, testPool } from "./reading.js";
import { skipLakefs, startLakefs } from "./servers.js";

t.setTimeout(300_000);

const MAIN = "refs/heads/main";
const ROUNDS = 10;
const PUSHERS = 3;

interface Pusher {
  readonly node: RigNode;
  readonly work: Work;
}

t.test("three pushers and a lakeFS writer", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);
  const repository = await newRepository(server);
  const source = new Source(server.client, repository);
  const pushers: Pusher[] = [];
  for (let at = 0; at < PUSHERS; at++) pushers.push({ node: await rigNode(t, server, pool, repository), work: await newWork(t) });
  const [first] = pushers as [Pusher];
  await first.work.commit("start", (folder) => writeFile(join(folder, "start"), ""));
  t.same(await first.node.push(first.work, [[MAIN, first.work.tip()]]), [{ name: MAIN, ok: true }]);
  const landed: string[] = [];
  const refused: string[] = [];
  const written: string[] = [];
  const writes = async (round: number) => {
    await new Promise((wake) => setTimeout(wake, 60 * round));
    await source.put({ [`written-${round}`]: `${round}` });
    const made = await source.commit(`written ${round}`).catch((error: unknown) => error);
    if (made instanceof Fault) t.equal(made.code, "lakefs/bad-request", "somebody's landing swept nothing: there was nothing to commit");
    else written.push((made as { id: string }).id);
  };
  const pushes = async ({ node, work }: Pusher, name: string) => {
    const [outcome] = await node.push(work, [[MAIN, work.tip(), work.tip("FETCH_HEAD")]]);
    (outcome?.ok ? landed : refused).push(work.tip());
    if (outcome?.ok === false) t.match(outcome.reason, /fetch first|uncommitted changes/, `${name}: a reason that says what to do`);
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (const [at, { node, work }] of pushers.entries()) {
      work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
      work.git("reset", "-q", "--hard", "FETCH_HEAD");
      await work.commit(`round ${round}, pusher ${at}`, (folder) => writeFile(join(folder, `pusher-${at}`), `${round}`));
    }
    await Promise.all([...pushers.map((pusher, at) => pushes(pusher, `round ${round}, pusher ${at}`)), ...(round % 2 === 0 ? [writes(round)] : [])]);
  }
  const view = await freshView(t, server, pool, repository);
  const history = new Set((await view.node.git("rev-list", "main")).split("\n"));
  t.same(landed.filter((oid) => !history.has(oid)), [], "every ok is in the history");
  t.same(refused.filter((oid) => history.has(oid)), [], "no ng is");
  const { results } = await server.client.log(repository, await source.head(), 1_000, signal);
  const ids = new Set(results.map(({ id }) => id));
  t.same(written.filter((id) => !ids.has(id)), [], "nothing of the writer's is lost");
  const listed = new Set((await server.client.listObjects(repository, await source.head(), "", signal)).results.map(({ path }) => path));
  t.equal([...listed].filter((path) => path.startsWith("written-")).length, Math.ceil(ROUNDS / 2), "and its files are there");
  t.equal(view.fsck, "");
  t.ok(landed.length >= ROUNDS / 2 && refused.length > 0, `where lakeFS does not write, one wins: landed ${landed.length}, refused ${refused.length}, written ${written.length}`);
  t.comment(`landed ${landed.length}, refused ${refused.length}, written ${written.length}`);
});
