/**
 * Every fact about lakeFS that the bridge relies on, as a suite. Run against real servers by the
 * files beside it.
 */
import type { Test } from "tap";
import { utf8 } from "../../../src/base/bytes.js";
import { Fault } from "../../../src/base/fault.js";
import { fullAddress, stageableAddress } from "../../../src/lakefs/api/address.js";
import type { LakefsServer } from "../../../src/lakefs/api/client.js";
import { lakefsCommitId } from "../../../src/lakefs/api/commit-id.js";
import type { LakefsCommit, LakefsRef } from "../../../src/lakefs/api/types.js";
import type { RunningLakefs } from "../../support/lakefs-servers.js";

const { signal } = new AbortController();

/** Code of the fault a call ends with, "none" if it succeeds. */
export function faultOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

let made = 0;

interface Fixture {
  readonly client: LakefsServer;
  readonly name: string;
  /** Id of the repository's first commit. */
  readonly root: string;
  put(branch: string, path: string, text: string, metadata?: Record<string, string>): Promise<void>;
  commit(branch: string, message?: string): Promise<LakefsCommit>;
  head(branch: string): Promise<string>;
}

export async function fixture(server: RunningLakefs): Promise<Fixture> {
  const { client } = server;
  const name = `contract-${Date.now().toString(36)}-${made++}`;
  await client.createRepository(
    { name, storage_namespace: server.namespace(name), default_branch: "main" },
    signal,
  );
  const head = async (branch: string) =>
    (await client.in(name).getBranch(branch, signal)).commit_id;
  return {
    client,
    name,
    root: await head("main"),
    head,
    put: async (branch, path, text, metadata = {}) =>
      void (await client.in(name).uploadObject(branch, path, utf8(text), metadata, signal)),
    commit: (branch, message = "change") =>
      client.in(name).commit(branch, { message, allow_empty: true }, signal),
  };
}

export async function lakefsContract(t: Test, server: RunningLakefs): Promise<void> {
  await t.test(
    "a new repository has a root commit with no parent and the empty tree",
    async (t) => {
      const { client, name, root } = await fixture(server);
      const commit = await client.in(name).getCommit(root, signal);
      t.same([commit.parents, commit.meta_range_id, commit.committer], [[], "", ""]);
      t.equal((await client.in(name).listObjects(root, "", signal)).results.length, 0);
      t.equal(
        await faultOf(
          client.createRepository(
            { name, storage_namespace: server.namespace(`${name}-x`) },
            signal,
          ),
        ),
        "lakefs/conflict",
      );
    },
  );

  await t.test(
    "objects: any path, metadata with lower-case keys, read by commit id, staging does not leak",
    async (t) => {
      const { client, name, put, commit } = await fixture(server);
      const paths = [
        "a//b",
        "/a",
        "dir/é.txt",
        "plus+and space.txt",
        "a/b",
        ".git/config",
        "q?x=1&y#z%41",
      ];
      for (const path of paths) await put("main", path, path, { "lakepack-blob": "x" });
      const first = await commit("main");
      await put("main", "staged-only", "no");
      const listed = (await client.in(name).listObjects(first.id, "", signal)).results;
      t.same(
        listed.map((object) => object.path),
        [...paths].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      );
      t.same(listed[0]?.metadata, { "lakepack-blob": "x" });
      t.same(
        Buffer.from(
          await client.in(name).readObject(first.id, "plus+and space.txt", 100, signal),
        ).toString(),
        "plus+and space.txt",
      );
      t.same(await client.in(name).dirtyPaths("main", 1, signal), ["staged-only"]);
      t.equal(
        await faultOf(client.in(name).readObject(first.id, "staged-only", 100, signal)),
        "lakefs/missing",
      );
    },
  );

  await t.test(
    "a copy has an address of its own; staging takes an address as it comes back; a merge base is found between commits",
    async (t) => {
      const { client, name, root, put, commit } = await fixture(server);
      await put("main", "a", "content");
      const first = await commit("main");
      const namespace = server.namespace(name);
      const there = await client.in(name).statObject(first.id, "a", signal);
      const copied = await client
        .in(name)
        .copyObject("main", "copy", { src_ref: first.id, src_path: "a" }, signal);
      t.same([copied.checksum, copied.size_bytes], [there.checksum, there.size_bytes]);
      t.not(
        fullAddress(copied.physical_address, namespace),
        fullAddress(there.physical_address, namespace),
      );
      t.equal(
        await faultOf(
          client
            .in(name)
            .copyObject("main", "copy", { src_ref: first.id, src_path: "nothing" }, signal),
        ),
        "lakefs/missing",
      );
      for (const path of ["again", "and again"]) {
        const { physical_address } = await client
          .in(name)
          .statObject("main", path === "again" ? "a" : "again", signal);
        const json = {
          physical_address: stageableAddress(physical_address, namespace),
          checksum: "any",
          size_bytes: 7,
          metadata: {},
        };
        await client.in(name).stageObject("main", path, json, signal);
        const staged = await client.in(name).statObject("main", path, signal);
        t.equal(
          fullAddress(staged.physical_address, namespace),
          fullAddress(there.physical_address, namespace),
          `${path}: one spelling`,
        );
      }
      const second = await commit("main");
      t.equal(
        Buffer.from(
          await client.in(name).readObject(second.id, "and again", 100, signal),
        ).toString(),
        "content",
      );
      t.same(
        (await client.in(name).firstParents(second.id, 2, signal)).results.map(({ id }) => id),
        [second.id, first.id],
      );
      t.equal(await client.in(name).findMergeBase(second.id, first.id, signal), first.id);
      t.equal(await client.in(name).findMergeBase(first.id, second.id, signal), first.id);
      t.equal(await client.in(name).findMergeBase(root, second.id, signal), root);
    },
  );

  await t.test("an empty object, one range, and a range past the end", async (t) => {
    const { client, name, put, commit } = await fixture(server);
    await put("main", "empty", "");
    await put("main", "ten", "0123456789");
    const { id } = await commit("main");
    t.equal((await client.in(name).readObject(id, "empty", 10, signal)).length, 0);
    const part = await client.in(name).streamObject(id, "ten", "bytes=2-4", signal);
    t.equal(part.status, 206);
    t.equal(Buffer.concat(await all(part.body)).toString(), "234");
    t.equal(
      await faultOf(client.in(name).streamObject(id, "ten", "bytes=20-30", signal)),
      "lakefs/bad-request",
    );
  });

  await t.test("creating a branch is a test-and-set: of twenty at once one wins", async (t) => {
    const { client, name, root } = await fixture(server);
    const results = await Promise.all(
      Array.from({ length: 20 }, () =>
        faultOf(client.in(name).createBranch({ name: "once", source: root, hidden: true }, signal)),
      ),
    );
    t.equal(results.filter((result) => result === "none").length, 1);
    const names = (refs: LakefsRef[]) => refs.map(({ id }) => id);
    t.same(
      names(await all(client.in(name).listBranches({}, signal))),
      ["main"],
      "hidden branches are not listed",
    );
    t.same(names(await all(client.in(name).listBranches({ hidden: true }, signal))), [
      "main",
      "once",
    ]);
    await client.in(name).deleteBranch("once", signal);
    await client.in(name).deleteBranch("once", signal);
    t.match(
      await faultOf(client.in(name).deleteBranch("main", signal)),
      /^lakefs\/(denied|failed)$/,
      "not the default branch (1.48 answers 500)",
    );
  });

  await t.test("a branch and a tag cannot share a name; tags never move", async (t) => {
    const { client, name, root, commit } = await fixture(server);
    await client.in(name).createTag({ id: "v1", ref: root }, signal);
    t.equal(
      await faultOf(client.in(name).createBranch({ name: "v1", source: root }, signal)),
      "lakefs/conflict",
    );
    const next = await commit("main");
    t.equal(
      await faultOf(client.in(name).createTag({ id: "v1", ref: next.id }, signal)),
      "lakefs/conflict",
    );
    t.equal(
      await faultOf(client.in(name).createTag({ id: "main", ref: root }, signal)),
      "lakefs/conflict",
    );
  });

  await t.test("refs are found by their ids and by how these begin", async (t) => {
    const { client, name, root } = await fixture(server);
    const gather = async (refs: AsyncIterable<{ readonly id: string }>) => {
      const ids: string[] = [];
      for await (const { id } of refs) ids.push(id);
      return ids;
    };
    for (const id of ["v1", "v1_-2fa", "v10"])
      await client.in(name).createTag({ id, ref: root }, signal);
    for (const branch of ["b1", "b1_-2fa", "b10"])
      await client.in(name).createBranch({ name: branch, source: root }, signal);
    t.same(await gather(client.in(name).listTags({ prefix: "v1_-2f" }, signal)), ["v1_-2fa"]);
    t.same(await gather(client.in(name).listBranches({ prefix: "b1_-2f" }, signal)), ["b1_-2fa"]);
    t.equal((await client.in(name).getTag("v1_-2fa", signal)).commit_id, root);
    t.equal(await faultOf(client.in(name).getTag("v2", signal)), "lakefs/missing");
    t.equal(await faultOf(client.in(name).getTag("b1", signal)), "lakefs/missing");
    t.match(
      await faultOf(client.in(name).getBranch("a.dot", signal)),
      /^lakefs\/(missing|bad-request)$/,
    );
  });

  await t.test(
    "a commit record sets everything, moves no branch, and being there already is no failure",
    async (t) => {
      const { client, name, put, commit, head } = await fixture(server);
      await put("main", "f", "1");
      const real = await commit("main", "real");
      const again = {
        commit_id: real.id,
        version: real.version ?? 1,
        committer: real.committer,
        message: real.message,
        metarange_id: real.meta_range_id,
        creation_date: real.creation_date,
        parents: real.parents,
        metadata: real.metadata ?? {},
        generation: real.generation ?? 0,
      };
      await client.in(name).createCommitRecord(again, signal);
      t.equal(
        await faultOf(
          client
            .in(name)
            .createCommitRecord({ ...again, message: "other", commit_id: "0".repeat(64) }, signal),
        ),
        "lakefs/bad-request",
        "the id is checked",
      );
      t.equal(await head("main"), real.id);
    },
  );

  await t.test("the id of a commit is what we compute", async (t) => {
    const { client, name, root, put, head } = await fixture(server);
    const check = async (id: string) => {
      const {
        committer,
        message,
        meta_range_id: metarangeId,
        creation_date: creationDate,
        parents,
        metadata = {},
      } = await client.in(name).getCommit(id, signal);
      t.equal(
        lakefsCommitId({ committer, message, metarangeId, creationDate, parents, metadata }),
        id,
      );
    };
    await check(root);
    await put("main", "f", "1");
    const metadata = { b: "1", a: "é\u0000\r\n ", "": "x", "lakepack.commit": "A".repeat(10_000) };
    const odd = await client
      .in(name)
      .commit("main", { message: "ünïcode\n\nbody ", metadata, date: 0 }, signal);
    await check(odd.id);
    await client.in(name).createBranch({ name: "side", source: root }, signal);
    await put("side", "g", "2");
    const side = await client.in(name).commit("side", { message: "side", date: -5 }, signal);
    await check(side.id);
    await client
      .in(name)
      .merge(side.id, "main", { message: "merge", metadata: { k: "v" } }, signal);
    await check(await head("main"));
  });

  await t.test("bulk delete: absent paths are fine", async (t) => {
    const { client, name, put, commit } = await fixture(server);
    await put("main", "a", "1");
    await put("main", "b", "1");
    await commit("main");
    await client.in(name).deleteObjects("main", ["a", "never"], signal);
    const { id } = await commit("main");
    t.same(
      (await client.in(name).listObjects(id, "", signal)).results.map(({ path }) => path),
      ["b"],
    );
  });

  await t.test("staging by address copies nothing and keeps the client's checksum", async (t) => {
    const { client, name, put, commit } = await fixture(server);
    await put("main", "source", "the data");
    const first = await commit("main");
    const source = await client.in(name).statObject(first.id, "source", signal);
    const checksum = `sha256:${"ab".repeat(32)}`;
    await client.in(name).stageObject(
      "main",
      "copy",
      {
        physical_address: source.physical_address,
        checksum,
        size_bytes: 8,
        metadata: { k: "v" },
      },
      signal,
    );
    const { id } = await commit("main");
    const copy = await client.in(name).statObject(id, "copy", signal);
    t.same([copy.checksum, copy.size_bytes, copy.metadata], [checksum, 8, { k: "v" }]);
    // The local adapter writes a longer form of the same address.
    if (server.blocks === "s3") t.equal(copy.physical_address, source.physical_address);
    t.equal(
      Buffer.from(await client.in(name).readObject(id, "copy", 100, signal)).toString(),
      "the data",
    );
  });

  await t.test("diff of two commits names what changed", async (t) => {
    const { client, name, root, put, commit } = await fixture(server);
    for (const path of ["a", "b", "c"]) await put("main", path, path);
    const first = await commit("main");
    await put("main", "b", "changed");
    await put("main", "d", "new");
    await client.in(name).deleteObjects("main", ["a"], signal);
    const second = await commit("main");
    const changes = await all(client.in(name).diff(first.id, second.id, signal));
    t.same(
      changes.map(({ type, path }) => `${type} ${path}`),
      ["removed a", "changed b", "added d"],
    );
    t.equal((await all(client.in(name).diff(root, first.id, signal))).length, 3);
  });

  await t.test(
    "hard_reset evaluates its expression inside the update: a conditional move",
    async (t) => {
      const { client, name, root, commit, head } = await fixture(server);
      const first = await commit("main");
      const second = await commit("main");
      await client.in(name).hardReset("main", "main~1", signal);
      t.equal(await head("main"), first.id);
      t.equal(
        await faultOf(client.in(name).hardReset("main", "main^3", signal)),
        "lakefs/bad-request",
        "names nothing: nothing moves",
      );
      t.equal(await head("main"), first.id);
      t.not(second.id, root);
    },
  );

  await t.test(
    "a merge onto an unmoved head gives the source's tree; hooks of the source's tree run inside the update",
    async (t) => {
      const { client, name, put, commit, head } = await fixture(server);
      await put("main", "f", "1");
      const base = await commit("main");
      await client.in(name).createBranch({ name: "work", source: base.id, hidden: true }, signal);
      await put("work", "g", "2");
      await put("work", "_lakefs_actions/guard.yaml", GUARD);
      const change = await commit("work");
      const refused = client
        .in(name)
        .merge(
          change.id,
          "main",
          { message: "m", metadata: { "lakepack.base": "0".repeat(64) } },
          signal,
        );
      t.equal(await faultOf(refused), "lakefs/refused", "the guard runs and sees the parents");
      t.equal(await head("main"), base.id);
      await client
        .in(name)
        .merge(change.id, "main", { message: "m", metadata: { "lakepack.base": base.id } }, signal);
      const landed = await client.in(name).getCommit(await head("main"), signal);
      t.equal(landed.meta_range_id, change.meta_range_id);
      t.same(landed.parents, [base.id, change.id]);
    },
  );

  await t.test("raw metaranges and ranges can be read", async (t) => {
    const { client, name, put, commit } = await fixture(server);
    await put("main", "f", "1");
    const { meta_range_id } = await commit("main");
    const bytes = await client.in(name).readRange("meta_range", meta_range_id, 1_000_000, signal);
    t.same(
      Buffer.from(bytes.subarray(-8)).toString("hex"),
      "f7cff485b741e288",
      "an SSTable's magic",
    );
    t.equal(
      await faultOf(client.in(name).readRange("range", "0".repeat(64), 100, signal)),
      "lakefs/gone",
    );
  });

  await t.test("unknown things are missing, wrong keys are denied", async (t) => {
    const { client, name } = await fixture(server);
    t.equal(await faultOf(client.in("no-such-repository").getRepository(signal)), "lakefs/missing");
    t.equal(await faultOf(client.in(name).getBranch("none", signal)), "lakefs/missing");
    t.equal(await faultOf(client.in(name).getCommit("0".repeat(64), signal)), "lakefs/missing");
  });
}

/** As the landing's guard: refuses a merge that was meant for another head. */
export const GUARD = `name: guard
on:
  pre-merge:
hooks:
  - id: base
    type: lua
    properties:
      script: |
        local base = action.commit.metadata["lakepack.base"]
        if base ~= nil and action.commit.parents[1] ~= base then error("the branch has moved") end
`;
