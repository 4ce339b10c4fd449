/**
 * Claims in user metadata: when they count, what a seal is worth, and what becomes of contents that
 * contradict it.
 */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Random } from "../../bench/random.js";
import { asFault } from "../../src/base/fault.js";
import { formatPointer, parsePointer } from "../../src/git/lfs-pointer.js";
import { objectId } from "../../src/git/object-id.js";
import { fullAddress, stageableAddress } from "../../src/lakefs/api/address.js";
import { judge, readClaim } from "../../src/lakefs/rules/claim.js";
import { SealKeys } from "../../src/lakefs/rules/claim-seal.js";
import { ContentDigests } from "../../src/lakefs/rules/content-digests.js";
import { bind } from "../../src/lakefs/rules/metadata-keys.js";
import { newRepository, newWork, rigNode } from "../support/landing-rig.js";
import { startProxy } from "../support/lakefs-proxy.js";
import { createSource, openNode, signal, testPool } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(240_000);

const MAIN = "refs/heads/main";
const hex = (algorithm: string, bytes: Uint8Array) =>
  createHash(algorithm).update(bytes).digest("hex");
const blobOf = (bytes: Uint8Array) => objectId("blob", bytes);
const [KEY, OTHER] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];

t.test("one spelling for an address, whatever lakeFS shows", async (t) => {
  for (const shown of ["data/x", "s3://bucket/ns/data/x"])
    t.equal(fullAddress(shown, "s3://bucket/ns/"), "s3://bucket/ns/data/x");
  t.equal(fullAddress("s3://bucket/lfs/ab", "s3://bucket/ns"), "s3://bucket/lfs/ab");
  t.equal(fullAddress("s3://other/ns/data/x", "s3://bucket/ns"), "s3://other/ns/data/x");
  for (const shown of [
    "data/x",
    "local:///disk/blocks/ns/data/x",
    "local:///disk/blocks/disk/blocks/ns/data/x",
  ]) {
    t.equal(fullAddress(shown, "local://ns"), "local://ns/data/x");
  }
  t.equal(
    stageableAddress("local:///disk/blocks/disk/blocks/ns/data/x", "local://ns"),
    "local:///disk/blocks/ns/data/x",
  );
  t.equal(
    stageableAddress("local:///disk/blocks/ns/data/x", "local://ns"),
    "local:///disk/blocks/ns/data/x",
  );
  t.equal(stageableAddress("s3://bucket/ns/data/x", "s3://bucket/ns"), "s3://bucket/ns/data/x");
});

t.test("a claim is judged by the bytes", async (t) => {
  const bytes = Buffer.from("the content");
  const [size, checksum, sha256, blob] = [
    bytes.length,
    hex("md5", bytes),
    hex("sha256", bytes),
    blobOf(bytes),
  ];
  const claimOf = (id: string, sha: string | undefined, more: Record<string, string> = {}) =>
    readClaim(
      {
        size,
        checksum,
        metadata: {
          "lakepack-blob": bind(id, size, checksum),
          ...(sha === undefined ? {} : { "lakepack-sha256": bind(sha, size, checksum) }),
          ...more,
        },
      },
      parsePointer,
    );
  const judged = (claim: ReturnType<typeof claimOf>, is: string | "unknown" = blob) =>
    claim === undefined
      ? "none"
      : judge(claim, { sha256, blob: is === "unknown" ? undefined : is }, size).as;
  const pointer = blobOf(formatPointer({ sha256, size }));
  t.equal(judged(claimOf(blob, sha256)), "plain");
  t.equal(judged(claimOf(pointer, sha256)), "pointer");
  t.equal(judged(claimOf(pointer, undefined)), "pointer", "its SHA-256 need not be told");
  t.equal(judged(claimOf(pointer, "ab".repeat(32))), "pointer", "nor told rightly");
  t.equal(judged(claimOf("12".repeat(20), sha256)), "contradicted");
  t.equal(
    judged(claimOf(blobOf(formatPointer({ sha256: "ab".repeat(32), size })), "ab".repeat(32))),
    "contradicted",
  );
  t.equal(
    judged(claimOf(blobOf(formatPointer({ sha256, size: size + 1 })), sha256)),
    "contradicted",
    "a pointer of another size",
  );
  t.equal(judged(claimOf(blob, sha256), "unknown"), "open", "the bytes' own id must be known");
  const crlf = Buffer.from(
    `version https://git-lfs.github.com/spec/v1\r\noid sha256:${sha256}\r\nsize ${size}\r\n`,
  );
  t.same(parsePointer(crlf), { sha256, size });
  t.equal(
    judged(claimOf(blobOf(crlf), sha256)),
    "contradicted",
    "without the text nobody can make it",
  );
  t.equal(
    judged(claimOf(blobOf(crlf), sha256, { "lakepack-pointer": crlf.toString("base64") })),
    "pointer",
  );
  t.equal(
    judged(claimOf(blobOf(crlf), "ab".repeat(32), { "lakepack-pointer": crlf.toString("base64") })),
    "contradicted",
  );
  t.equal(
    readClaim(
      { size, checksum, metadata: { "lakepack-blob": bind(blob, size, "another") } },
      parsePointer,
    ),
    undefined,
    "written for another content",
  );
  t.equal(
    readClaim({ size, checksum, metadata: { "lakepack-blob": blob } }, parsePointer),
    undefined,
  );
});

t.test(
  "a seal is about every word of its statement; several keys verify, the first signs",
  async (t) => {
    const statement = {
      kind: "plain",
      blob: "1".repeat(40),
      sha256: "2".repeat(64),
      size: 3,
      checksum: "c",
      address: "s3://b/ns/data/x",
    } as const;
    const [keys, both, other, none] = [
      new SealKeys([KEY]),
      new SealKeys([OTHER, KEY]),
      new SealKeys([OTHER]),
      new SealKeys([]),
    ];
    const seal = keys.sealContent(statement) as string;
    t.match(seal, /^1 [0-9a-f]{16} [0-9a-f]{64}$/);
    t.equal(keys.sealContent(statement), seal, "the same for equal content");
    t.ok(keys.isContentSealed(seal, statement));
    t.ok(both.isContentSealed(seal, statement));
    t.notOk(other.isContentSealed(seal, statement));
    t.notOk(none.isContentSealed(seal, statement));
    t.equal(none.sealContent(statement), undefined);
    t.not(both.sealContent(statement), seal);
    const changes = {
      kind: "pointer",
      blob: "3".repeat(40),
      sha256: "4".repeat(64),
      size: 4,
      checksum: "d",
      address: "s3://b/other/data/x",
    } as const;
    for (const [name, value] of Object.entries(changes))
      t.notOk(keys.isContentSealed(seal, { ...statement, [name]: value }), name);
    for (const bad of [
      undefined,
      "",
      "1",
      seal.slice(1),
      `${seal} `,
      seal.toUpperCase(),
      `2${seal.slice(1)}`,
    ])
      t.notOk(keys.isContentSealed(bad, statement), String(bad));
    const listing = { namespace: "s3://b/ns", metarange: "m", mapping: "{}", tree: "1".repeat(40) };
    const listed = keys.sealListing(listing);
    t.ok(keys.isListingSealed(listed, listing));
    for (const name of Object.keys(listing))
      t.notOk(keys.isListingSealed(listed, { ...listing, [name]: "x" }), name);
    t.notOk(keys.isContentSealed(listed, statement), "one kind of statement is not the other");
  },
);

t.test("what looks like an MD5 or a SHA-256 is compared, other strings are not", async (t) => {
  const bytes = Buffer.from("bytes");
  const finish = (checksum: string) => {
    const digests = new ContentDigests({ checksum, size: bytes.length }, true);
    digests.update(bytes);
    return digests.finish();
  };
  const facts = { sha256: hex("sha256", bytes), blob: blobOf(bytes) };
  for (const good of [
    hex("md5", bytes),
    `sha256:${facts.sha256}`,
    `${"0".repeat(32)}-3`,
    "whatever",
    "",
    "sha256:short",
  ])
    t.same(finish(good), facts, good);
  for (const bad of ["0".repeat(32), `sha256:${"0".repeat(64)}`])
    t.throws(() => finish(bad), { code: "lakefs/damaged" });
});

t.test("on the real server", { skip: skipLakefs }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);

  await t.test("a merge made by lakeFS reads nothing again that its parents have", async (t) => {
    const source = await createSource(server);
    await source.put({ first: "first" });
    await source.commit();
    await source.client.in(source.name).createBranch({ name: "feature", source: "main" }, signal);
    await source.put(
      Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`f/${at}`, `file ${at}`])),
      {
        branch: "feature",
        metadata: { by: "hand" },
      },
    );
    await source.commit("files", { branch: "feature" });
    await source.put({ second: "second" });
    await source.commit("second");
    const node = await openNode(t, server, pool, source.name);
    await node.refs.read();
    await source.client
      .in(source.name)
      .merge("feature", "main", { message: "merged", metadata: {} }, signal);
    node.calls();
    await node.refs.read();
    const { readObject = 0, diff = 0 } = node.calls();
    t.same([readObject, diff], [0, 2]);
    t.equal((await node.git("ls-tree", "-r", "--name-only", "main")).split("\n").length, 22);
    t.equal(await node.git("fsck", "--strict"), "");
  });

  await t.test(
    "bytes that contradict a good seal are damage, named by path and commit; who does not need them is served",
    async (t) => {
      const repository = await newRepository(server);
      const node = await rigNode(t, server, pool, repository);
      const work = await newWork(t);
      const large = new Random(3).bytes(2_000_000);
      await node.push(work, [
        [MAIN, await work.commit("one", (folder) => writeFile(join(folder, "small"), "small"))],
      ]);
      const small = work.tip();
      await node.push(work, [
        [
          "refs/heads/large",
          await work.commit("two", (folder) => writeFile(join(folder, "large"), large)),
        ],
      ]);
      const { commit_id: commit } = await server.client.in(repository).getBranch("large", signal);
      const { physical_address, metadata = {} } = await server.client
        .in(repository)
        .statObject(commit, "large", signal);
      t.ok(metadata["lakepack-seal"]);
      const file = stageableAddress(physical_address, server.namespace(repository)).slice(
        "local://".length,
      );
      await writeFile(file, new Random(4).bytes(2_000_000));
      const reader = await openNode(t, server, pool, repository);
      t.equal((await reader.refs.read()).refs.length, 2, "a seal saves the reading");
      const needed = (wants: readonly string[]) =>
        reader.promised.bringFor({ wants, haves: [], clientShallow: [], shallow: [] }, signal);
      await needed([small]);
      const fault = await needed([work.tip()]).then(() => undefined, asFault);
      t.match(fault, { code: "lakefs/damaged", facts: { path: "large", commit } });
      await reader.promised.bringAll(signal);
      t.ok(
        reader.warnings.some((line) => line.includes('"path":"large"')),
        "a push passes it over, and the log names it",
      );
      await needed([small]);
      const unsealed = await openNode(t, server, pool, repository, { sealKeys: [OTHER] });
      t.same(
        (await unsealed.refs.read()).refs.map(({ name }) => name),
        [MAIN],
        "without the key it is found out at once: that branch is not served",
      );
      await writeFile(file, large);
      await needed([work.tip()]);
    },
  );

  await t.test(
    "who writes to a push's work branch while it lands makes the push fail",
    async (t) => {
      const repository = await newRepository(server);
      const proxy = await startProxy(t, server);
      const node = await rigNode(t, proxy.server, pool, repository);
      const work = await newWork(t);
      await server.client
        .in(repository)
        .createBranch({ name: "elsewhere", source: "main" }, signal);
      const { physical_address } = await server.client
        .in(repository)
        .uploadObject("elsewhere", "elsewhere", Buffer.from("forged"), {}, signal);
      let forged = 0;
      proxy.onCall = ({ method, path }) => {
        const branch = /branches\/(lakepack-work-[^/]+)\/commits/.exec(path)?.[1];
        if (method !== "POST" || branch === undefined) return undefined;
        // The same entry to lakeFS's eye, at another address.
        const stage = async () => {
          const seen = await server.client.in(repository).statObject(branch, "a", signal);
          await server.client.in(repository).stageObject(
            branch,
            "a",
            {
              physical_address,
              checksum: seen.checksum,
              size_bytes: seen.size_bytes ?? 0,
              metadata: seen.metadata ?? {},
            },
            signal,
          );
          forged++;
        };
        void stage().catch((error: unknown) => t.comment(String(error)));
        return { as: "late", ms: 1_000 };
      };
      const [outcome] = await node.push(work, [
        [MAIN, await work.commit("one", (folder) => writeFile(join(folder, "a"), "honest"))],
      ]);
      t.ok(forged > 0);
      t.match(outcome, {
        ok: false,
        reason: /somebody else has written to this push's work branch/,
      });
      proxy.onCall = () => undefined;
      t.match(await node.push(work, [[MAIN, work.tip()]]), [{ ok: true }]);
      const { commit_id: head } = await server.client.in(repository).getBranch("main", signal);
      t.equal(
        Buffer.from(
          await server.client.in(repository).readObject(head, "a", 100, signal),
        ).toString(),
        "honest",
      );
    },
  );
});
