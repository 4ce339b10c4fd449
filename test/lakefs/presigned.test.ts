/**
 * Contents by addresses that the block store has signed: where it pays, and never at the price of a
 * content.
 */
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import { startProxy } from "../support/lakefs-proxy.js";
import {
  createSource,
  openNode,
  refsOf,
  signal,
  type Source,
  testPool,
} from "../support/lakefs-reading.js";
import { isBefore, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const FILES = 60;

async function fill(source: Source): Promise<void> {
  for (let at = 0; at < FILES; at++) await source.put({ [`d${at % 7}/ü&f${at}`]: `content ${at}` });
  await source.put({ "z/large.bin": new Uint8Array(3_000_000).fill(7) });
  await source.commit();
}

t.setTimeout(200_000);
t.test("on S3 blocks", { skip: skipLakefs, timeout: 120_000 }, async (t) => {
  const server = await startLakefs(t, "s3");
  const pool = await testPool(t);
  const source = await createSource(server);
  await fill(source);
  const plain = await openNode(t, server, pool, source.name);
  plain.calls();
  const refs = await refsOf(plain);
  const tree = await plain.git("rev-parse", "main^{tree}");
  const { listBranches: _, listTags: __, log: ___, ...calls } = plain.calls();
  const firstStore = {
    readRange: 2,
    config: 1,
    listPresigned: 1,
    readPresigned: FILES,
    presignObject: 1,
    streamPresigned: 1,
  };
  t.same(calls, firstStore, "a page is signed, and a redirect for the large one");
  await plain.git("fsck", "--strict"); // throws where something is wrong

  await t.test("a few contents of many are read through the API", async (t) => {
    const changing = await createSource(server);
    await fill(changing);
    const node = await openNode(t, server, pool, changing.name);
    await node.refs.read();
    await changing.put({ "d1/ü&f1": "changed", new: "n" });
    await changing.commit();
    node.calls();
    await node.refs.read();
    const more = (await isBefore(server, 62)) ? { statObject: 2 } : {}; // its comparison names no checksum
    t.same(node.calls(), { listBranches: 1, listTags: 1, log: 1, diff: 1, readObject: 2, ...more });
  });

  const head = await source.head();
  const other = async (
    t: Test,
    onCall: (path: string) => "refused" | "cut" | "away" | undefined,
  ) => {
    const blocks = await startProxy(t, server, await blocksOf(source, head));
    const proxy = await startProxy(t, server);
    blocks.onCall = ({ path }) => {
      const how = onCall(path);
      if (how === "refused")
        return {
          as: "answer",
          status: 403,
          body: "<Error><Code>AccessDenied</Code><Detail>X-Amz-Signature</Detail></Error>",
        };
      return how === "cut" ? { as: "cut", bodyBytes: 3 } : undefined;
    };
    // lakeFS answers with addresses of the block store: here of the one in the way.
    const away = onCall("") === "away" ? "http://127.0.0.1:1" : blocks.url;
    proxy.onCall = ({ path }) =>
      /objects\/ls\?.*presign=true/.test(path)
        ? { as: "rewrite", body: (body) => redirected(body, away) }
        : undefined;
    const node = await openNode(t, proxy.server, pool, source.name);
    node.calls();
    t.same((await refsOf(node)).map(nameOf), refs.map(nameOf));
    t.equal(await node.git("rev-parse", "main^{tree}"), tree, "the same content");
    t.same(
      blocks.calls.filter(({ authorization }) => authorization !== undefined),
      [],
      "the block store is not given our key",
    );
    return { node, blocks, calls: node.calls() };
  };

  await t.test(
    "an address that is refused is read through the API; after some of them all are",
    async (t) => {
      const { calls, blocks } = await other(t, () => "refused");
      t.equal(calls["readObject"], FILES);
      t.ok(
        blocks.calls.length >= 3 && blocks.calls.length < FILES,
        `${blocks.calls.length} were tried`,
      );
    },
  );

  await t.test("one address that has expired costs one call more", async (t) => {
    let refused = 0;
    const { calls } = await other(t, () => (refused++ === 5 ? "refused" : undefined));
    t.same([calls["readPresigned"], calls["readObject"]], [FILES, 1]);
  });

  await t.test("a block store that cuts, and one that cannot be reached from here", async (t) => {
    t.equal((await other(t, () => "cut")).calls["readObject"], FILES);
    t.equal((await other(t, () => "away")).calls["readObject"], FILES);
  });

  await t.test("settings that are not for this user", async (t) => {
    const proxy = await startProxy(t, server);
    proxy.onCall = ({ path }) =>
      /\/config$/.test(path) ? { as: "answer", status: 401, body: "{}" } : undefined;
    const node = await openNode(t, proxy.server, pool, source.name);
    node.calls();
    await node.refs.read();
    const { config, readObject, streamObject } = node.calls();
    t.same([config, readObject, streamObject], [1, FILES, 1]);
    t.equal(await node.git("rev-parse", "main^{tree}"), tree);
  });

  await t.test("no fault tells a signature", async (t) => {
    const blocks = await startProxy(t, server, await blocksOf(source, head));
    blocks.onCall = () => ({
      as: "answer",
      status: 403,
      body: "<Error><Code>SignatureDoesNotMatch</Code><SignatureProvided>0123abcd</SignatureProvided></Error>",
    });
    const told: string[] = [];
    const client = new LakefsServer(
      server.access,
      (call) => void told.push(JSON.stringify(call)),
    ).in("any");
    const address = new URL(`${blocks.url}/bucket/key?X-Amz-Signature=0123abcd`);
    const fault = await client.readPresigned(address, 100, signal).catch((error: unknown) => error);
    t.ok(fault instanceof Fault && fault.code === "lakefs/denied");
    t.match(String(fault), /SignatureDoesNotMatch/);
    t.notMatch(String(fault) + JSON.stringify((fault as Fault).facts) + told.join(), /0123abcd/);
  });
});

t.test(
  "on local blocks everything goes through the API",
  { skip: skipLakefs, timeout: 60_000 },
  async (t) => {
    const server = await startLakefs(t, "local");
    const source = await createSource(server);
    await fill(source);
    const node = await openNode(t, server, await testPool(t), source.name);
    node.calls();
    await node.refs.read();
    t.same(node.calls(), {
      listBranches: 2,
      listTags: 1,
      log: 1,
      readRange: 2,
      config: 1,
      readObject: FILES,
      streamObject: 1,
    });
  },
);

async function blocksOf(source: Source, commit: string): Promise<string> {
  return new URL(await source.client.in(source.name).presignObject(commit, "d0/ü&f0", signal))
    .origin;
}

function nameOf(line: string): string | undefined {
  return line.split(" ")[1];
}

/**
 * A page whose addresses lead elsewhere. The host is signed: only a proxy that passes the right one
 * on is believed.
 */
function redirected(body: Buffer, to: string): Buffer {
  const page = JSON.parse(body.toString()) as { results: { physical_address: string }[] };
  for (const result of page.results)
    result.physical_address = result.physical_address.replace(/^http:\/\/[^/]*/, to);
  return Buffer.from(JSON.stringify(page));
}
