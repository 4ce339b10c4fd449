/**
 * Failures while a lakeFS is read: never an empty repository, never a missing file, and the next
 * attempt goes on.
 */
import { execFileSync } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import type { Log } from "../../src/observe/log.js";
import { LakefsWatch } from "../../src/lakefs/watch.js";
import { tempFolder } from "../support/temp-folder.js";
import { createSource, openNode, refsOf, testPool } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );

t.test(
  "failures and upkeep on a real lakeFS",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const pool = await testPool(t);

    await t.test("a server that is down is a failure, not an empty repository", async (t) => {
      const server = await startLakefs(t);
      const source = await createSource(server);
      await source.put({ a: "1" });
      await source.commit();
      const node = await openNode(t, server, pool, source.name);
      t.equal((await node.refs.read()).refs.length, 1);
      await server.stop();
      t.equal(await faultOf(node.refs.read()), "lakefs/unreachable");
    });

    const server = await startLakefs(t);

    await t.test(
      "a request that goes away does not stop the work; nothing is left behind",
      async (t) => {
        const source = await createSource(server);
        for (let at = 0; at < 30; at++) await source.put({ [`f${at}`]: String(at) });
        await source.commit();
        const folder = await tempFolder(t);
        const node = await openNode(t, server, pool, source.name, { folder });
        const gone = new AbortController();
        const read = faultOf(node.refs.read(gone.signal));
        setTimeout(() => gone.abort(), 20);
        t.match(await read, /base\/aborted|none/);
        t.equal((await node.refs.read()).refs.length, 1);
        t.same(await readdir(join(folder, "incoming")), []);
        t.equal(await node.git("fsck", "--strict"), "");
      },
    );

    await t.test("a repository that is not there is missing", async (t) => {
      t.equal(await faultOf(openNode(t, server, pool, "no-such-repository")), "lakefs/missing");
    });

    await t.test("the watch reads new heads before anyone asks", async (t) => {
      const source = await createSource(server);
      const node = await openNode(t, server, pool, source.name);
      const log = { error() {}, warn() {}, info() {}, debug() {}, trace() {} } satisfies Log;
      const watch = new LakefsWatch(log, 60_000);
      watch.add("repos/any", source.name, node.refs);
      await source.put({ a: "1" });
      await source.commit();
      await watch.look();
      node.calls();
      t.equal((await node.refs.read()).refs.length, 1);
      t.same(node.calls(), { listBranches: 1, listTags: 1 });
      await watch.close();
    });

    await t.test("a repository that lakeFS's own tool has made", async (t) => {
      const { program, env } = server.lakectl;
      const lakectl = (...args: string[]) =>
        execFileSync(program, args, { env, stdio: "pipe", encoding: "utf8" });
      const folder = await tempFolder(t);
      const name = `lakectl-${Date.now().toString(36)}`;
      lakectl("repo", "create", `lakefs://${name}`, server.namespace(name));
      await mkdir(join(folder, "model/deep"), { recursive: true });
      await writeFile(join(folder, "model/README.md"), "# a model\n");
      await writeFile(join(folder, "model/deep/weights.safetensors"), Buffer.alloc(5_000_000, 7));
      await writeFile(join(folder, "model/tiny.safetensors"), "small");
      lakectl("fs", "upload", "-r", "-s", `${folder}/model/`, `lakefs://${name}/main/`);
      lakectl("commit", `lakefs://${name}/main`, "-m", "by lakectl", "--meta", "key=value");
      const node = await openNode(t, server, pool, name);
      t.same((await node.git("ls-tree", "-r", "--name-only", "main")).split("\n"), [
        ".gitattributes",
        "README.md",
        "deep/weights.safetensors",
        "tiny.safetensors",
      ]);
      t.match(
        await node.git("show", "main:.gitattributes"),
        '"/deep/weights.safetensors" filter=lfs',
      );
      t.match(await node.git("show", "main:deep/weights.safetensors"), "size 5000000");
      const other = await openNode(t, server, pool, name, { pagesOnly: true });
      t.same(await refsOf(other), await refsOf(node));
    });
  },
);
