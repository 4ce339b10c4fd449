/** Versions of the mapping: 2 keeps its ids, 3 has vectors of its own, 1 is refused by name. */
import { join } from "node:path";
import t from "tap";
import {
  DEFAULT_MAPPING,
  LINKED_MAPPING,
  MAPPING_BRANCH,
  parseNote,
} from "../../src/lakefs/agreed/mapping.js";
import { MAPPING_KEY } from "../../src/lakefs/rules/metadata-keys.js";
import { tempFolder } from "../support/temp-folder.js";
import { newRepository } from "../support/landing-rig.js";
import { MAIN, pointerForms, PushedScene, write } from "../support/pushed-scene.js";
import { openNode, signal, Source, testPool } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(180_000);

t.test("versions of the mapping", { skip: skipLakefs, timeout: 180_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);

  await t.test("a repository bound by mapping 2 keeps its ids", async (t) => {
    const scene = await PushedScene.start(t, server, pool, LINKED_MAPPING);
    const { source, work } = scene;
    const bytes = Buffer.from("bytes of mapping 2\n");
    const forms = pointerForms(await scene.upload(bytes), bytes.length);
    await source.put({ ".gitattributes": "*.bin filter=lfs\n", "small.bin": "small" });
    await source.commit("native");
    await scene.pull();
    t.equal(work.git("show", "HEAD:small.bin"), "small", "attributes do not decide");
    t.equal(work.git("show", "HEAD:.gitattributes"), "*.bin filter=lfs");
    await work.commit("pointers", (folder) =>
      write(folder, { "crlf.bin": forms["crlf.bin"], "canonical.bin": forms["canonical.bin"] }),
    );
    t.match(await scene.push(), [{ ok: true }]);
    t.same(
      [await scene.lakeText("crlf.bin"), await scene.lakeText("canonical.bin")],
      [forms["crlf.bin"], bytes.toString()],
      "only the canonical form is a pointer",
    );
    const fresh = await openNode(t, server, pool, source.name);
    t.same(fresh.mapping, LINKED_MAPPING);
    t.equal((await fresh.refs.read()).byName.get(MAIN)?.oid, work.tip());
    const odd = work
      .run(
        ["hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        Buffer.concat([Buffer.from("100664 f\0"), Buffer.from(work.tip("HEAD:small.bin"), "hex")]),
      )
      .toString()
      .trim();
    work.git(
      "update-ref",
      "refs/heads/main",
      work.run(["commit-tree", odd, "-p", "HEAD", "-m", "100664"]).toString().trim(),
    );
    t.match(await scene.push(), [
      { ok: false, reason: "'f' cannot be in lakeFS: its mode 100664 would read back as 100644" },
    ]);
    // Vectors: what this history is by mapping 2, whatever becomes of later ones.
    const vector = await newRepository(server);
    const own = new Source(server.client, vector);
    const two = await openNode(t, server, pool, vector, { mappingSeed: LINKED_MAPPING });
    await own.put({
      ".gitattributes": "*.txt filter=lfs\n",
      "a.txt": "a",
      [`a/${"n".repeat(256)}`]: "too long for a file system",
    });
    await own.commit("vector");
    await two.refs.read();
    t.equal(
      await two.git("rev-parse", "main^{tree}"),
      "efa435bf242916991c25d33682fda897727a9d62",
      "a tree by mapping 2 that must never change",
    );
  });

  await t.test("vectors of mapping 3: the tree of a listing with all of it", async (t) => {
    const source = new Source(server.client, await newRepository(server));
    const node = await openNode(t, server, pool, source.name, {
      mappingSeed: { ...DEFAULT_MAPPING, threshold: 100, suffixes: ["big"] },
    });
    await source.put({
      ".gitattributes": "[attr]weights filter=lfs\n*.bin weights\n",
      "a.bin": "small",
      "d/.gitattributes": "*.bin -filter\n",
      "d/b.bin": "x".repeat(200),
      "d/large": "y".repeat(200),
      "e.big": "e",
      "empty.bin": "",
      [`${"n".repeat(256)}`]: "long",
      f: "hidden",
      "f/g": "shown",
    });
    await source.put({ h: "h" }, { metadata: { "lakepack-mode": "100664" } });
    await source.commit("vector");
    await node.refs.read();
    t.equal(
      await node.git("rev-parse", "main^{tree}"),
      "6584abde8d813636602241ca7f0469234132ccb8",
      "a tree by mapping 3 that must never change",
    );
  });

  await t.test("mapping 1 is refused by name, in lakeFS and in a server's note", async (t) => {
    const source = new Source(server.client, await newRepository(server));
    const old = JSON.stringify({ version: 1, threshold: 1_000_000, suffixes: [] });
    const branch = await server.client
      .in(source.name)
      .createBranch({ name: "w", source: await source.head(), hidden: true }, signal);
    t.ok(branch !== null);
    const { id } = await source.commit("mapping", {
      branch: "w",
      metadata: { [MAPPING_KEY]: old },
    });
    await server.client
      .in(source.name)
      .createBranch({ name: MAPPING_BRANCH, source: id, hidden: true }, signal);
    const refused = {
      code: "lakefs/old-mapping",
      message: /has version 1, .* not read any more: delete the branch lakepack-mapping in lakeFS/,
    };
    const folder = join(await tempFolder(t), "node");
    await t.rejects(openNode(t, server, pool, source.name, { folder }), refused);
    t.throws(() => parseNote(JSON.stringify({ version: 2, mapping: JSON.parse(old) })), refused);
    await server.client.in(source.name).deleteBranch(MAPPING_BRANCH, signal);
    t.same(
      (await openNode(t, server, pool, source.name, { folder })).mapping,
      DEFAULT_MAPPING,
      "without it the repository is bound anew",
    );
  });
});
