/**
 * What mapping 3 keeps as it was pushed: pointers in every form that git-lfs reads, modes of files and folders, old
 * commits; what it leaves in lakeFS and names; and that a repository bound by mapping 2 has all of it as before.
 */
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import type { FsckRules } from "../../src/git/fsck-levels.js";
import { formatPointer } from "../../src/git/lfs-pointer.js";
import type { Mapping } from "../../src/lakefs/contract.js";
import { MAPPING_BRANCH, DEFAULT_MAPPING, LINKED_MAPPING } from "../../src/lakefs/mapping.js";
import { MAPPING_KEY } from "../../src/lakefs/metadata-keys.js";
import { tempFolder } from "../interop/harness.js";
import { newRepository, newWork, rigNode, type RigNode, type Work } from "./landing-rig.js";
import { openNode, signal, Source, testPool } from "./reading.js";
import { skipLakefs, startLakefs } from "./servers.js";

t.setTimeout(300_000);

const MAIN = "refs/heads/main";

async function write(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

t.test("as pushed", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);

  interface Scene {
    readonly source: Source;
    readonly node: RigNode;
    readonly work: Work;
    push(rules?: FsckRules): ReturnType<RigNode["push"]>;
    /** Pushes HEAD; servers with an empty store, with the seal key and without, must read it back. */
    lands(t: Test, says: string, rules?: FsckRules): Promise<RigNode>;
  }
  /** Bytes of LFS objects by their SHA-256, and where they lie. */
  const known = new Map<string, string>();
  const scene = async (t: Test, mappingSeed: Mapping = DEFAULT_MAPPING): Promise<Scene> => {
    const repository = await newRepository(server);
    const source = new Source(server.client, repository);
    const lfs = { address: async (oid: string) => known.get(oid) };
    const node = await rigNode(t, server, pool, repository, { lfs, mappingSeed });
    const work = await newWork(t);
    const push = (rules?: FsckRules) => node.push(work, [[MAIN, work.tip()]], rules === undefined ? {} : { rules });
    const lands = async (t: Test, says: string, rules?: FsckRules) => {
      t.same(await push(rules), [{ name: MAIN, ok: true }], says);
      for (const sealKeys of [undefined, []]) {
        const other = await rigNode(t, server, pool, repository, sealKeys === undefined ? {} : { sealKeys });
        t.equal((await other.refs.read()).byName.get(MAIN)?.oid, work.tip(), `${says}: reads back ${sealKeys === undefined ? "with the key" : "without it"}`);
        if (sealKeys !== undefined) return other;
      }
      return node;
    };
    return { source, node, work, push, lands };
  };
  const upload = async (source: Source, bytes: Buffer): Promise<string> => {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    await server.client.createBranch(source.name, { name: `bytes-${sha256.slice(0, 8)}`, source: await source.head(), hidden: true }, signal);
    known.set(sha256, (await server.client.uploadObject(source.name, `bytes-${sha256.slice(0, 8)}`, "x", bytes, {}, signal)).physical_address);
    return sha256;
  };
  const lakeText = async (source: Source, path: string) => Buffer.from(await server.client.readObject(source.name, await source.head(), path, 10_000, signal)).toString();
  const pull = async (work: Work, node: RigNode) => {
    work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
    work.git("reset", "-q", "--hard", "FETCH_HEAD");
  };

  const FORMS = (sha256: string, size: number) => {
    const text = Buffer.from(formatPointer({ sha256, size })).toString();
    const extension = `ext-0-foo sha256:${"cd".repeat(32)}\n`;
    return {
      "canonical.bin": text,
      "crlf.bin": text.replaceAll("\n", "\r\n"),
      "cut.bin": text.slice(0, -1),
      "blank.bin": `${text}\n`,
      "old.bin": text.replace("https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2"),
      "older.bin": text.replace("git-lfs", "hawser"),
      "extension.bin": text.replace("oid", `${extension}oid`),
      "signed.bin": text.replace(`size ${size}`, `size +0${size}`),
    };
  };

  await t.test("pointers in every form: lakeFS shows the real bytes, Git keeps the exact text", async (t) => {
    const { source, node, work, push, lands } = await scene(t);
    const bytes = Buffer.from("the real bytes of all of them\n");
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const forms = FORMS(sha256, bytes.length);
    await work.commit("pointers", (folder) => write(folder, { ".gitattributes": "*.bin filter=lfs -text\n", ...forms, "plain.txt": forms["crlf.bin"] }));
    t.match(await push(), [{ ok: false, reason: /LFS objects are not on the server \((\w+\.bin, ){4}\w+\.bin, and 3 more\)/ }], "they are asked for like any other's");
    await upload(source, bytes);
    const other = await lands(t, "known objects");
    for (const path of Object.keys(forms)) {
      t.equal(await lakeText(source, path), bytes.toString(), path);
      t.equal((await server.client.statObject(source.name, await source.head(), path, signal)).checksum, `sha256:${sha256}`);
    }
    t.equal(await lakeText(source, "plain.txt"), forms["crlf.bin"], "elsewhere it is a text like others");
    await source.put({ "native.txt": "native" });
    await source.commit("native");
    for (const reader of [node, other]) {
      await reader.refs.read();
      t.equal(await reader.git("rev-parse", "main:crlf.bin"), work.tip("HEAD:crlf.bin"), "a lakeFS commit on top keeps the text");
    }
  });

  await t.test("modes of git.git's first commit, and folders' modes with zeroes, through lakeFS commits and back", async (t) => {
    const { source, node, work, push, lands } = await scene(t);
    const blob = (text: string) => work.run(["hash-object", "-w", "--stdin"], text).toString().trim();
    const tree = (...entries: readonly (readonly [mode: string, name: string, oid: string])[]) => {
      const data = Buffer.concat(entries.map(([mode, name, oid]) => Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")])));
      return work.run(["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], data).toString().trim();
    };
    const commit = (treeId: string, parents: readonly string[] = [], who = "Linus Torvalds <torvalds@ppc970.osdl.org> 1112911993 -0700") => {
      const raw = `tree ${treeId}\n${parents.map((oid) => `parent ${oid}\n`).join("")}author ${who}\ncommitter ${who}\n\nInitial revision of "git", the information manager from hell\n`;
      const oid = work.run(["hash-object", "-t", "commit", "-w", "--literally", "--stdin"], raw).toString().trim();
      work.git("update-ref", "refs/heads/main", oid);
      return oid;
    };
    const first = commit(tree(["100664", "Makefile", blob("all:\n")], ["100664", "README", blob("GIT\n")], ["100775", "run", blob("#!/bin/sh\n")]));
    await lands(t, "100664 and 100775");
    const head = await server.client.statObject(source.name, await source.head(), "README", signal);
    t.equal(head.metadata?.["lakepack-mode"], "100664");
    const inner = tree(["040000", "deep", tree(["100644", "y", blob("y\n")])], ["100644", "x", blob("x\n")]);
    const second = commit(tree(["100664", "README", blob("GIT\n")], ["040000", "src", inner]), [first], "A a@b 01 +051800");
    t.match(await push().catch((error: unknown) => String(error)), /zeroPadded|missingEmail/, "not by Git's own levels");
    const rules = { skip: [], levels: { zeroPaddedFilemode: "ignore", zeroPaddedDate: "ignore", missingEmail: "ignore", badTimezone: "ignore" } } as const;
    await lands(t, "zeroes before the modes of folders", rules);
    t.match((await server.client.getCommit(source.name, await source.head(), signal)).metadata?.["lakepack.padding"], /^1 .{4,40}$/);
    const third = commit(tree(["100664", "README", blob("GIT\n")], ["100664", "next", blob("next\n")], ["040000", "src", inner]), [second]);
    await lands(t, "and on top of it", rules);
    await source.put({ native: "native" });
    await source.commit("native");
    const fresh = await openNode(t, server, pool, source.name);
    t.equal(await fresh.git("rev-parse", "main~1"), third);
    // ls-tree would show the modes that Git makes of them.
    t.same((await fresh.git("cat-file", "tree", "main")).match(/\d+ \w+\0/g), ["100664 README\0", "100644 native\0", "100664 next\0", "40000 src\0"]);
    t.match(await fresh.git("fsck", "--strict").catch((error: unknown) => String(error)), /zeroPadded/, "but only in what was pushed");
    t.equal(await fresh.git("cat-file", "-p", "main:src"), await fresh.git("cat-file", "-p", "main~1:src"));
    t.not(await fresh.git("rev-parse", "main:src"), inner, "what lakeFS has made has no zeroes");
    await node.refs.read();
    t.equal(await node.git("rev-parse", "main"), await fresh.git("rev-parse", "main"));
    work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
    const last = commit(work.tip("FETCH_HEAD^{tree}"), [work.tip("FETCH_HEAD")]);
    t.equal(last, work.tip("main"));
    await lands(t, "on top of what lakeFS has made", rules);
  });

  await t.test("what a file system cannot have stays in lakeFS and is named; a push of it is refused", async (t) => {
    const { source, node, work, push } = await scene(t);
    const long = "é".repeat(128);
    await source.put({ [`a/${long}`]: "too long", [`${long}/b`]: "in such a folder", "fine.txt": "fine" });
    const { id } = await source.commit();
    t.same(await node.git("ls-tree", "-r", "--name-only", "main"), "fine.txt");
    const why = "a part of it has more than 255 bytes, which file systems do not take";
    t.match(await node.commits.listing(id, signal), { refused: 2, refusals: [`a/${long}: ${why}`, `${long}/b: ${why}`] });
    await pull(work, node);
    const blob = work.run(["hash-object", "-w", "--stdin"], "x").toString().trim();
    work.git("update-index", "--add", "--cacheinfo", `100644,${blob},${long}`);
    work.git("commit", "-q", "-m", "too long");
    t.match(await push(), [{ ok: false, reason: /^'[é…]+' cannot be in lakeFS: a part of it has more than 255 bytes/ }]);
  });

  await t.test("a file beside a folder of its name is never overwritten, nor brought to light, unseen", async (t) => {
    const { source, node, work, push } = await scene(t);
    await source.put({ a: "hidden", "a/b": "shown", "a/c": "shown", other: "other", ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = -u\n' });
    await source.commit();
    await pull(work, node);
    t.equal(work.git("ls-files"), "a/b\na/c\nother");
    await work.commit("part of it", () => work.git("rm", "-q", "a/b"));
    t.match(await push(), [{ ok: true }], "while something is left in it");
    const start = work.tip();
    const hidden = async () => [await lakeText(source, "a"), await lakeText(source, ".gitmodules")];
    const before = await hidden();
    await work.commit("removed", () => work.git("rm", "-q", "-r", "a"));
    t.match(await push(), [{ ok: false, reason: /^'a' cannot be in lakeFS: it is also a file in lakeFS, which Git was not shown beside the folder of its name/ }]);
    await work.commit("replaced", (folder) => write(folder, { a: "by git" }));
    t.match(await push(), [{ ok: false, reason: /'a' cannot be in lakeFS: it is also a file in lakeFS/ }]);
    work.git("reset", "-q", "--hard", start);
    await work.commit("moved over", () => work.git("mv", "a", "d"));
    t.match(await push(), [{ ok: false, reason: /'a' cannot be in lakeFS/ }]);
    work.git("reset", "-q", "--hard", start);
    await work.commit("over what Git refuses", (folder) => write(folder, { ".gitmodules": "# mine\n" }));
    t.match(await push(), [{ ok: false, reason: /^'\.gitmodules' cannot be in lakeFS: lakeFS has an object there that Git was not shown/ }]);
    t.same(await hidden(), before, "nothing was touched");
    work.git("reset", "-q", "--hard", start);
    await source.remove(["a", ".gitmodules"]);
    await source.commit("made room");
    await pull(work, node);
    await work.commit("replaced", async (folder) => {
      work.git("rm", "-q", "-r", "a");
      await write(folder, { a: "by git", ".gitmodules": "# mine\n" });
    });
    t.match(await push(), [{ ok: true }], "after it was removed there");
  });

  await t.test("what truly cannot be in lakeFS says why", async (t) => {
    const { work, push } = await scene(t);
    const empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    work.run(["hash-object", "-t", "tree", "-w", "--stdin"], "");
    const blob = work.run(["hash-object", "-w", "--stdin"], "x").toString().trim();
    const at = (entries: string) => work.run(["mktree"], entries).toString().trim();
    const commitOf = (tree: string) => {
      const oid = work.run(["commit-tree", tree, "-m", "odd"]).toString().trim();
      work.git("update-ref", "refs/heads/main", oid);
    };
    commitOf(at(`100644 blob ${blob}\tf\n040000 tree ${at(`040000 tree ${empty}\tinner\n`)}\touter\n`));
    t.match(await push(), [{ ok: false, reason: "'outer/inner' cannot be in lakeFS: it is an empty folder, which lakeFS has no place for" }]);
    commitOf(at(`120000 blob ${blob}\t.gitattributes\n040000 tree ${at(`100644 blob ${blob}\tx\n`)}\td\n`));
    t.match(await push(), [{ ok: true }], "a link of that name is none of these");
  });

  await t.test("cherry-picked in lakeFS: the author of the pushed commit, lakeFS's committer and date", async (t) => {
    const { source, node, work, push } = await scene(t);
    await work.commit("base", (folder) => write(folder, { base: "base" }));
    t.match(await push(), [{ ok: true }]);
    const base = await source.head();
    await work.commit("picked", (folder) => write(folder, { picked: "picked" }));
    t.match(await push(), [{ ok: true }]);
    const picked = await source.head();
    await server.client.createBranch(source.name, { name: "onto", source: base }, signal);
    await source.put({ "in-between": "x" }, { branch: "onto" });
    await source.commit("in between", { branch: "onto" });
    await server.client.http.json({ name: "test", method: "POST", path: `/repositories/${source.name}/branches/onto/cherry-pick`, json: { ref: picked }, repeatable: false, signal });
    await node.refs.read();
    const [author, committer, subject] = (await node.git("log", "-1", "--format=%an <%ae> %ad|%cn|%s", "--date=raw", "onto")).split("|");
    t.equal(author, "A U Thor <author@example.com> 1700000000 +0200");
    t.not(committer, "A U Thor");
    t.equal(subject, "picked");
    t.equal(await node.git("log", "-1", "--format=%an", "onto~1"), committer, "lakeFS's own commits are by lakeFS's user");
    const other = await openNode(t, server, pool, source.name);
    t.equal((await other.refs.read()).byName.get("refs/heads/onto")?.oid, await node.git("rev-parse", "onto"));
  });

  await t.test("a repository bound by mapping 2 keeps its ids", async (t) => {
    const { source, node, work, push } = await scene(t, LINKED_MAPPING);
    const bytes = Buffer.from("bytes of mapping 2\n");
    const forms = FORMS(await upload(source, bytes), bytes.length);
    await source.put({ ".gitattributes": "*.bin filter=lfs\n", "small.bin": "small" });
    await source.commit("native");
    await pull(work, node);
    t.equal(work.git("show", "HEAD:small.bin"), "small", "attributes do not decide");
    t.equal(work.git("show", "HEAD:.gitattributes"), "*.bin filter=lfs");
    await work.commit("pointers", (folder) => write(folder, { "crlf.bin": forms["crlf.bin"], "canonical.bin": forms["canonical.bin"] }));
    t.match(await push(), [{ ok: true }]);
    t.same([await lakeText(source, "crlf.bin"), await lakeText(source, "canonical.bin")], [forms["crlf.bin"], bytes.toString()], "only the canonical form is a pointer");
    const fresh = await openNode(t, server, pool, source.name);
    t.same(fresh.mapping, LINKED_MAPPING);
    t.equal((await fresh.refs.read()).byName.get(MAIN)?.oid, work.tip());
    const odd = work.run(["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], Buffer.concat([Buffer.from("100664 f\0"), Buffer.from(work.tip("HEAD:small.bin"), "hex")])).toString().trim();
    work.git("update-ref", "refs/heads/main", work.run(["commit-tree", odd, "-p", "HEAD", "-m", "100664"]).toString().trim());
    t.match(await push(), [{ ok: false, reason: "'f' cannot be in lakeFS: its mode 100664 would read back as 100644" }]);
    // Vectors: what this history is by mapping 2, whatever becomes of later ones.
    const vector = await newRepository(server);
    const own = new Source(server.client, vector);
    const two = await openNode(t, server, pool, vector, { mappingSeed: LINKED_MAPPING });
    await own.put({ ".gitattributes": "*.txt filter=lfs\n", "a.txt": "a", [`a/${"n".repeat(256)}`]: "too long for a file system" });
    await own.commit("vector");
    await two.refs.read();
    t.equal(await two.git("rev-parse", "main^{tree}"), "efa435bf242916991c25d33682fda897727a9d62", "a tree by mapping 2 that must never change");
  });

  await t.test("vectors of mapping 3: the tree of a listing with all of it", async (t) => {
    const source = new Source(server.client, await newRepository(server));
    const node = await openNode(t, server, pool, source.name, { mappingSeed: { ...DEFAULT_MAPPING, threshold: 100, suffixes: ["big"] } });
    await source.put({
      ".gitattributes": "[attr]weights filter=lfs\n*.bin weights\n", "a.bin": "small", "d/.gitattributes": "*.bin -filter\n", "d/b.bin": "x".repeat(200), "d/large": "y".repeat(200),
      "e.big": "e", "empty.bin": "", [`${"n".repeat(256)}`]: "long", f: "hidden", "f/g": "shown",
    });
    await source.put({ h: "h" }, { metadata: { "lakepack-mode": "100664" } });
    await source.commit("vector");
    await node.refs.read();
    t.equal(await node.git("rev-parse", "main^{tree}"), "6584abde8d813636602241ca7f0469234132ccb8", "a tree by mapping 3 that must never change");
  });

  await t.test("mapping 1 is refused by name, in lakeFS and in a server's note", async (t) => {
    const source = new Source(server.client, await newRepository(server));
    const old = JSON.stringify({ version: 1, threshold: 1_000_000, suffixes: [] });
    const branch = await server.client.createBranch(source.name, { name: "w", source: await source.head(), hidden: true }, signal);
    t.ok(branch !== null);
    const { id } = await source.commit("mapping", { branch: "w", metadata: { [MAPPING_KEY]: old } });
    await server.client.createBranch(source.name, { name: MAPPING_BRANCH, source: id, hidden: true }, signal);
    const refused = { code: "lakefs/old-mapping", message: /has version 1, .* not read any more: delete the branch lakepack-mapping in lakeFS/ };
    const folder = join(await tempFolder(t), "node");
    await t.rejects(openNode(t, server, pool, source.name, { folder }), refused);
    await server.client.deleteBranch(source.name, MAPPING_BRANCH, signal);
    t.same((await openNode(t, server, pool, source.name, { folder })).mapping, DEFAULT_MAPPING, "without it the repository is bound anew");
  });
});
