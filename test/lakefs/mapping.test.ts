/**
 * The mapping record in lakeFS decides about object ids, on every node and for ever, also where it
 * cannot be written or got lost.
 */
import { join } from "node:path";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import {
  DEFAULT_MAPPING,
  MAPPING_BRANCH,
  openMappingRecord,
  readMapping,
} from "../../src/lakefs/agreed/mapping.js";
import { MAPPING_KEY } from "../../src/lakefs/rules/metadata-keys.js";
import { tempFolder } from "../support/temp-folder.js";
import { createSource, openNode, signal, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(180_000);

/** A mapping that no node has by default: everything above ten bytes is a pointer. */
const ODD = { version: 3, threshold: 10, suffixes: ["bin"] } as const;
const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (error: unknown) =>
      error instanceof Fault ? `${error.code}: ${error.message}` : String(error),
  );

/** A read-only repository with a commit: what `force` is for in lakeFS. */
async function readOnly({ client, namespace }: RunningLakefs, name: string): Promise<void> {
  await client.createRepository(
    { name, storage_namespace: namespace(name), default_branch: "main", read_only: true } as never,
    signal,
  );
  const post = { name: "test", method: "POST", repeatable: false, signal } as const;
  const path = `/repositories/${name}/branches/main`;
  await client.http.json({
    ...post,
    path: `${path}/objects`,
    query: { path: "file.txt", force: true },
    body: Buffer.from("twelve bytes"),
    headers: { "Content-Type": "application/octet-stream" },
  });
  await client.http.json({
    ...post,
    path: `${path}/commits`,
    json: { message: "forced", force: true },
  });
}

t.test("mappings on the real server", { skip: skipLakefs }, async (t) => {
  const server = await startLakefs(t);
  const { client } = server;
  const pool = await testPool(t);

  await t.test(
    "a read-only repository has the default mapping on every node, and no call of lakeFS makes it another",
    async (t) => {
      const name = "for-reading";
      await readOnly(server, name);
      const [odd, plain] = await Promise.all([
        openNode(t, server, pool, name, { mappingSeed: ODD }),
        openNode(t, server, pool, name),
      ]);
      t.same([odd.mapping, plain.mapping], [DEFAULT_MAPPING, DEFAULT_MAPPING]);
      const refs = (await odd.refs.read()).refs;
      t.ok(refs.length > 0);
      t.same(refs, (await plain.refs.read()).refs, "the same ids");
      t.equal(await readMapping(client.in(name), signal), undefined, "nothing was written");
      for (const method of ["PUT", "POST"] as const) {
        t.not(
          await faultOf(
            client.http.done({
              name: "test",
              method,
              path: `/repositories/${name}`,
              json: { read_only: false },
              repeatable: false,
              signal,
            }),
          ),
          "none",
          `${method} is no way`,
        );
      }
      t.match(
        await faultOf(
          client.createRepository(
            { name, storage_namespace: server.namespace(`${name}-2`) },
            signal,
          ),
        ),
        /^lakefs\/conflict/,
      );
      t.equal((await client.in(name).getRepository(signal)).read_only, true);
    },
  );

  await t.test(
    "a record that comes later is another mapping: who has read by the old one says so and mixes nothing",
    async (t) => {
      const name = "restored";
      await readOnly(server, name);
      const folder = await tempFolder(t);
      const before = await openNode(t, server, pool, name, { folder });
      const refs = (await before.refs.read()).refs;
      await client.http.done({
        name: "test",
        method: "POST",
        path: `/repositories/${name}/branches`,
        json: { name: "work", source: "main", force: true },
        repeatable: false,
        signal,
      });
      const json = {
        message: "mapping",
        allow_empty: true,
        force: true,
        metadata: { [MAPPING_KEY]: JSON.stringify(ODD) },
      };
      const { id } = await client.http.json<{ id: string }>({
        name: "test",
        method: "POST",
        path: `/repositories/${name}/branches/work/commits`,
        json,
        repeatable: false,
        signal,
      });
      await client.http.done({
        name: "test",
        method: "POST",
        path: `/repositories/${name}/branches`,
        json: { name: MAPPING_BRANCH, source: id, hidden: true, force: true },
        repeatable: false,
        signal,
      });
      t.match(
        await faultOf(openNode(t, server, pool, name, { folder })),
        /^lakefs\/remapped: .*before: \{"version":3,"threshold":1000000.*now: \{"version":3,"threshold":10,.*lakepack repo delete/,
      );
      const fresh = await openNode(t, server, pool, name);
      t.same(fresh.mapping, ODD, "what is in lakeFS counts");
      t.not(
        (await fresh.refs.read()).refs.find(({ name: ref }) => ref === "refs/heads/main")?.oid,
        refs.find(({ name: ref }) => ref === "refs/heads/main")?.oid,
        "for it does make other ids",
      );
    },
  );

  await t.test(
    "a record that got lost is written again as it was, whatever the settings say by now",
    async (t) => {
      const source = await createSource(server);
      await source.put({ "file.txt": "twelve bytes" });
      await source.commit();
      const folder = join(await tempFolder(t), "node");
      const first = await openNode(t, server, pool, source.name, { folder });
      const refs = (await first.refs.read()).refs;
      await client.in(source.name).deleteBranch(MAPPING_BRANCH, signal);
      const second = await openNode(t, server, pool, source.name, { folder, mappingSeed: ODD });
      t.same(second.mapping, DEFAULT_MAPPING);
      t.same((await second.refs.read()).refs, refs);
      t.same(
        (await openMappingRecord(client.in(source.name), ODD, signal)).mapping,
        DEFAULT_MAPPING,
        "and so for all others",
      );
    },
  );
});
