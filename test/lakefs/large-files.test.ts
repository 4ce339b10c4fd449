/** LFS pointers of large files, the managed block, and what all of it costs in calls to lakeFS. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { formatPointer } from "../../src/git/lfs-pointer.js";
import { bind } from "../../src/lakefs/rules/metadata-keys.js";
import {
  createSource,
  type Node,
  openNode,
  signal,
  type Source,
  testPool,
} from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest("hex");
const blobId = (bytes: Uint8Array) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
const large = (fill: number) => Buffer.alloc(1_000_000, fill);

t.test("on local blocks", { skip: skipLakefs, timeout: 120_000 }, async (t) =>
  suite(t, await startLakefs(t, "local")),
);
t.test("on S3 blocks", { skip: skipLakefs, timeout: 120_000 }, async (t) =>
  suite(t, await startLakefs(t, "s3")),
);

async function suite(t: Test, server: RunningLakefs): Promise<void> {
  const pool = await testPool(t);

  await t.test(
    "at the threshold a file is a pointer, and attributes say so; a byte below it is content",
    async (t) => {
      const source = await createSource(server);
      await source.put({
        "m.safetensors": large(1),
        "sub/n.safetensors": large(2),
        "big.txt": large(3),
        "small.txt": "s",
        "almost.dat": Buffer.alloc(999_999),
      });
      await source.commit();
      const node = await openNode(t, server, pool, source.name);
      t.equal(await node.git("fsck", "--strict"), await dangling(node));
      t.equal(
        (await node.git("show", "main:m.safetensors")) + "\n",
        Buffer.from(formatPointer({ sha256: sha256(large(1)), size: 1_000_000 })).toString(),
      );
      t.equal(await node.git("cat-file", "-s", "main:almost.dat"), "999999");
      t.same((await node.git("show", "main:.gitattributes")).split("\n").slice(1, -1), [
        "/.gitattributes merge=union",
        '"/big.txt" filter=lfs diff=lfs merge=lfs -text',
        "*.safetensors filter=lfs diff=lfs merge=lfs -text",
      ]);
      const work = await node.clone();
      const filters = execFileSync(
        "git",
        [
          "-C",
          work,
          "check-attr",
          "filter",
          "--",
          "m.safetensors",
          "sub/n.safetensors",
          "big.txt",
          "small.txt",
          "sub/big.txt",
        ],
        { encoding: "utf8" },
      );
      t.same(
        filters
          .trimEnd()
          .split("\n")
          .map((line) => line.split(": ")[2]),
        ["lfs", "lfs", "lfs", "unspecified", "unspecified"],
      );
    },
  );

  await t.test(
    "the user's attributes are kept, and what they cover is not covered again",
    async (t) => {
      const source = await createSource(server);
      await source.put({
        ".gitattributes": "*.bin filter=lfs -text",
        "a.bin": large(1),
        "b.pt": large(2),
      });
      await source.commit();
      const node = await openNode(t, server, pool, source.name);
      const lines = (await node.git("show", "main:.gitattributes")).split("\n");
      t.same(
        [lines[0], ...lines.slice(3, -1)],
        ["*.bin filter=lfs -text", "*.pt filter=lfs diff=lfs merge=lfs -text"],
      );
      await source.put({ "c.pt": "small" });
      await source.commit();
      t.match(
        (await node.git("show", "main:.gitattributes")).split("\n")[3],
        /^"\/b\.pt" /,
        "a small file of the suffix came",
      );
      await source.remove(["b.pt"]);
      await source.commit();
      t.equal(
        await node.git("show", "main:.gitattributes"),
        "*.bin filter=lfs -text",
        "nothing is left to cover",
      );
    },
  );

  await t.test(
    "a hash once computed is remembered; a claim without a seal is read once, and still decides",
    async (t) => {
      const source = await createSource(server);
      await source.put({ "a.bin": large(1) });
      const known = large(2);
      const pointer = formatPointer({ sha256: sha256(known), size: known.length });
      const bound = (id: string) => bind(id, known.length, md5(known));
      await source.put(
        { "b.bin": known },
        {
          metadata: {
            "lakepack-blob": bound(blobId(pointer)),
            "lakepack-sha256": bound(sha256(known)),
          },
        },
      );
      await source.put(
        { "c.bin": known },
        { metadata: { "lakepack-sha256": bind("0".repeat(64), 5, "other") } },
      );
      await source.commit();
      const node = await openNode(t, server, pool, source.name);
      await node.refs.read();
      t.equal(
        streams(node),
        3,
        "a.bin, b.bin, whose claim nobody has sealed, and c.bin, whose record is not of this content",
      );
      t.equal(await node.git("rev-parse", "main:b.bin"), blobId(pointer));
      t.equal(await node.git("rev-parse", "main:c.bin"), blobId(pointer));
      // Another line of history lists the same files anew.
      await source.client
        .in(source.name)
        .createBranch({ name: "other", source: await firstCommit(source) }, signal);
      await node.refs.read();
      await source.client
        .in(source.name)
        .stageObject("other", "copy.bin", await stageOf(source, "a.bin"), signal);
      await source.commit("copied", { branch: "other" });
      node.calls();
      await node.refs.read();
      t.equal(streams(node), 0, "the same address, in whatever form the local adapter writes it");
    },
  );

  await t.test("large files that say they are no pointers arrive side by side", async (t) => {
    const source = await createSource(server);
    const ids: string[] = [];
    for (let at = 0; at < 4; at++) {
      const content = randomBytes(5_000_000 + at);
      ids.push(blobId(content));
      await source.put(
        { [`plain${at}`]: content },
        { metadata: { "lakepack-blob": bind(blobId(content), content.length, md5(content)) } },
      );
      await source.put({ [`small${at}`]: `small ${at}` });
    }
    await source.commit();
    const node = await openNode(t, server, pool, source.name);
    await node.refs.read();
    t.equal(await node.git("fsck", "--strict"), "");
    for (const [at, id] of ids.entries())
      t.equal(await node.git("rev-parse", `main:plain${at}`), id);
  });

  await t.test(
    "content that is not what lakeFS has recorded fails, naming the path; so does what is gone or has another size",
    async (t) => {
      const content = Buffer.from("the content");
      const cases: Record<string, (source: Source) => Promise<unknown>> = {
        "not those that lakeFS has recorded": async (source) => {
          await source.commit();
          await source.client
            .in(source.name)
            .stageObject(
              "main",
              "dir/bad",
              { ...(await stageOf(source, "fine")), checksum: md5(content) },
              signal,
            );
        },
        "gone from its storage": async (source) => {
          await source.commit();
          const real = await stageOf(source, "fine");
          await source.client
            .in(source.name)
            .stageObject(
              "main",
              "dir/bad",
              { ...real, physical_address: `${real.physical_address}-not` },
              signal,
            );
        },
        size: async (source) => {
          await source.put({ "dir/good": content });
          await source.commit();
          await source.client
            .in(source.name)
            .stageObject(
              "main",
              "dir/bad",
              { ...(await stageOf(source, "dir/good")), size_bytes: 500 },
              signal,
            );
        },
      };
      for (const [says, spoil] of Object.entries(cases)) {
        const source = await createSource(server);
        await source.put({ fine: "f" });
        await spoil(source);
        await source.commit();
        const node = await openNode(t, server, pool, source.name);
        // What has a recorded id is read when it is wanted.
        const failure = await node.refs
          .read()
          .then(() => node.promised.bringAll(signal))
          .then(
            () => undefined,
            (error: unknown) => error,
          );
        t.ok(failure instanceof Fault, says);
        t.equal((failure as Fault).facts["path"], "dir/bad", says);
        if (says !== "size") t.match((failure as Fault).message, says);
      }
    },
  );
}

/** Contents streamed since the last look, wherever from. */
function streams(node: Node): number {
  const { streamObject = 0, streamPresigned = 0 } = node.calls();
  return streamObject + streamPresigned;
}

/** fsck mentions what only the next commit needs. */
async function dangling(node: { git(...args: string[]): Promise<string> }): Promise<string> {
  const text = await node.git("fsck", "--strict");
  return /^(dangling (tree|blob) [0-9a-f]{40}\n?)*$/.test(text) ? text : "";
}

async function firstCommit(source: Source): Promise<string> {
  const log = await source.client.in(source.name).log(await source.head(), 10, signal);
  return log.results.at(-1)?.id as string;
}

async function stageOf(source: Source, path: string) {
  const {
    physical_address,
    checksum,
    size_bytes = 0,
  } = await source.client.in(source.name).statObject(await source.head(), path, signal);
  return { physical_address, checksum, size_bytes };
}
