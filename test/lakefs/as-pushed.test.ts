/**
 * Mapping 3 keeps as it was pushed: pointers in every form that git-lfs reads, modes of files and
 * folders, old commits; it leaves the rest in lakeFS and names it.
 */
import { createHash } from "node:crypto";
import t from "tap";
import { openNode, signal, testPool } from "../support/lakefs-reading.js";
import { pointerForms, PushedScene, write } from "../support/pushed-scene.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(300_000);

t.test("as pushed", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);

  await t.test(
    "pointers in every form: lakeFS shows the real bytes, Git keeps the exact text",
    async (t) => {
      const scene = await PushedScene.start(t, server, pool);
      const { source, node, work } = scene;
      const bytes = Buffer.from("the real bytes of all of them\n");
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      const forms = pointerForms(sha256, bytes.length);
      await work.commit("pointers", (folder) =>
        write(folder, {
          ".gitattributes": "*.bin filter=lfs -text\n",
          ...forms,
          "plain.txt": forms["crlf.bin"],
        }),
      );
      t.match(
        await scene.push(),
        [
          {
            ok: false,
            reason: /LFS objects are not on the server \((\w+\.bin, ){4}\w+\.bin, and 3 more\)/,
          },
        ],
        "they are asked for like any other's",
      );
      await scene.upload(bytes);
      const other = await scene.lands(t, "known objects");
      for (const path of Object.keys(forms)) {
        t.equal(await scene.lakeText(path), bytes.toString(), path);
        t.equal(
          (await server.client.in(source.name).statObject(await source.head(), path, signal))
            .checksum,
          `sha256:${sha256}`,
        );
      }
      t.equal(
        await scene.lakeText("plain.txt"),
        forms["crlf.bin"],
        "elsewhere it is a text like others",
      );
      await source.put({ "native.txt": "native" });
      await source.commit("native");
      for (const reader of [node, other]) {
        await reader.refs.read();
        t.equal(
          await reader.git("rev-parse", "main:crlf.bin"),
          work.tip("HEAD:crlf.bin"),
          "a lakeFS commit on top keeps the text",
        );
      }
    },
  );

  await t.test(
    "modes of git.git's first commit, and folders' modes with zeroes, through lakeFS commits and back",
    async (t) => {
      const scene = await PushedScene.start(t, server, pool);
      const { source, node, work } = scene;
      const blob = (text: string) =>
        work.run(["hash-object", "-w", "--stdin"], text).toString().trim();
      const tree = (
        ...entries: readonly (readonly [mode: string, name: string, oid: string])[]
      ) => {
        const data = Buffer.concat(
          entries.map(([mode, name, oid]) =>
            Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")]),
          ),
        );
        return work
          .run(["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], data)
          .toString()
          .trim();
      };
      const commit = (
        treeId: string,
        parents: readonly string[] = [],
        who = "Linus Torvalds <torvalds@ppc970.osdl.org> 1112911993 -0700",
      ) => {
        const raw = `tree ${treeId}\n${parents.map((oid) => `parent ${oid}\n`).join("")}author ${who}\ncommitter ${who}\n\nInitial revision of "git", the information manager from hell\n`;
        const oid = work
          .run(["hash-object", "-t", "commit", "-w", "--literally", "--stdin"], raw)
          .toString()
          .trim();
        work.git("update-ref", "refs/heads/main", oid);
        return oid;
      };
      const first = commit(
        tree(
          ["100664", "Makefile", blob("all:\n")],
          ["100664", "README", blob("GIT\n")],
          ["100775", "run", blob("#!/bin/sh\n")],
        ),
      );
      await scene.lands(t, "100664 and 100775");
      const head = await server.client
        .in(source.name)
        .statObject(await source.head(), "README", signal);
      t.equal(head.metadata?.["lakepack-mode"], "100664");
      const inner = tree(
        ["040000", "deep", tree(["100644", "y", blob("y\n")])],
        ["100644", "x", blob("x\n")],
      );
      const second = commit(
        tree(["100664", "README", blob("GIT\n")], ["040000", "src", inner]),
        [first],
        "A a@b 01 +051800",
      );
      t.match(
        await scene.push().catch((error: unknown) => String(error)),
        /zeroPadded|missingEmail/,
        "not by Git's own levels",
      );
      const rules = {
        skip: [],
        levels: {
          zeroPaddedFilemode: "ignore",
          zeroPaddedDate: "ignore",
          missingEmail: "ignore",
          badTimezone: "ignore",
        },
      } as const;
      await scene.lands(t, "zeroes before the modes of folders", rules);
      t.match(
        (await server.client.in(source.name).getCommit(await source.head(), signal)).metadata?.[
          "lakepack.padding"
        ],
        /^1 .{4,40}$/,
      );
      const third = commit(
        tree(
          ["100664", "README", blob("GIT\n")],
          ["100664", "next", blob("next\n")],
          ["040000", "src", inner],
        ),
        [second],
      );
      await scene.lands(t, "and on top of it", rules);
      await source.put({ native: "native" });
      await source.commit("native");
      const fresh = await openNode(t, server, pool, source.name);
      t.equal(await fresh.git("rev-parse", "main~1"), third);
      // ls-tree would show the modes that Git makes of them.
      t.same((await fresh.git("cat-file", "tree", "main")).match(/\d+ \w+\0/g), [
        "100664 README\0",
        "100644 native\0",
        "100664 next\0",
        "40000 src\0",
      ]);
      t.match(
        await fresh.git("fsck", "--strict").catch((error: unknown) => String(error)),
        /zeroPadded/,
        "but only in what was pushed",
      );
      t.equal(
        await fresh.git("cat-file", "-p", "main:src"),
        await fresh.git("cat-file", "-p", "main~1:src"),
      );
      t.not(await fresh.git("rev-parse", "main:src"), inner, "what lakeFS has made has no zeroes");
      await node.refs.read();
      t.equal(await node.git("rev-parse", "main"), await fresh.git("rev-parse", "main"));
      work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
      const last = commit(work.tip("FETCH_HEAD^{tree}"), [work.tip("FETCH_HEAD")]);
      t.equal(last, work.tip("main"));
      await scene.lands(t, "on top of what lakeFS has made", rules);
    },
  );

  await t.test(
    "what a file system cannot have stays in lakeFS and is named; a push of it is refused",
    async (t) => {
      const scene = await PushedScene.start(t, server, pool);
      const { source, node, work } = scene;
      const long = "é".repeat(128);
      await source.put({
        [`a/${long}`]: "too long",
        [`${long}/b`]: "in such a folder",
        "fine.txt": "fine",
      });
      const { id } = await source.commit();
      t.same(await node.git("ls-tree", "-r", "--name-only", "main"), "fine.txt");
      const why = "a part of it has more than 255 bytes, which file systems do not take";
      t.match(await node.commits.listing(id, signal), {
        refused: 2,
        refusals: [`a/${long}: ${why}`, `${long}/b: ${why}`],
      });
      await scene.pull();
      const blob = work.run(["hash-object", "-w", "--stdin"], "x").toString().trim();
      work.git("update-index", "--add", "--cacheinfo", `100644,${blob},${long}`);
      work.git("commit", "-q", "-m", "too long");
      t.match(await scene.push(), [
        { ok: false, reason: /^'[é…]+' cannot be in lakeFS: a part of it has more than 255 bytes/ },
      ]);
    },
  );

  await t.test(
    "a file beside a folder of its name is never overwritten, nor brought to light, unseen",
    async (t) => {
      const scene = await PushedScene.start(t, server, pool);
      const { source, work } = scene;
      await source.put({
        a: "hidden",
        "a/b": "shown",
        "a/c": "shown",
        other: "other",
        ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = -u\n',
      });
      await source.commit();
      await scene.pull();
      t.equal(work.git("ls-files"), "a/b\na/c\nother");
      await work.commit("part of it", () => work.git("rm", "-q", "a/b"));
      t.match(await scene.push(), [{ ok: true }], "while something is left in it");
      const start = work.tip();
      const hidden = async () => [await scene.lakeText("a"), await scene.lakeText(".gitmodules")];
      const before = await hidden();
      await work.commit("removed", () => work.git("rm", "-q", "-r", "a"));
      t.match(await scene.push(), [
        {
          ok: false,
          reason:
            /^'a' cannot be in lakeFS: it is also a file in lakeFS, which Git was not shown beside the folder of its name/,
        },
      ]);
      await work.commit("replaced", (folder) => write(folder, { a: "by git" }));
      t.match(await scene.push(), [
        { ok: false, reason: /'a' cannot be in lakeFS: it is also a file in lakeFS/ },
      ]);
      work.git("reset", "-q", "--hard", start);
      await work.commit("moved over", () => work.git("mv", "a", "d"));
      t.match(await scene.push(), [{ ok: false, reason: /'a' cannot be in lakeFS/ }]);
      work.git("reset", "-q", "--hard", start);
      await work.commit("over what Git refuses", (folder) =>
        write(folder, { ".gitmodules": "# mine\n" }),
      );
      t.match(await scene.push(), [
        {
          ok: false,
          reason:
            /^'\.gitmodules' cannot be in lakeFS: lakeFS has an object there that Git was not shown/,
        },
      ]);
      t.same(await hidden(), before, "nothing was touched");
      work.git("reset", "-q", "--hard", start);
      await source.remove(["a", ".gitmodules"]);
      await source.commit("made room");
      await scene.pull();
      await work.commit("replaced", async (folder) => {
        work.git("rm", "-q", "-r", "a");
        await write(folder, { a: "by git", ".gitmodules": "# mine\n" });
      });
      t.match(await scene.push(), [{ ok: true }], "after it was removed there");
    },
  );

  await t.test("what truly cannot be in lakeFS says why", async (t) => {
    const scene = await PushedScene.start(t, server, pool);
    const { work } = scene;
    const empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    work.run(["hash-object", "-t", "tree", "-w", "--stdin"], "");
    const blob = work.run(["hash-object", "-w", "--stdin"], "x").toString().trim();
    const at = (entries: string) => work.run(["mktree"], entries).toString().trim();
    const commitOf = (tree: string) => {
      const oid = work.run(["commit-tree", tree, "-m", "odd"]).toString().trim();
      work.git("update-ref", "refs/heads/main", oid);
    };
    commitOf(
      at(`100644 blob ${blob}\tf\n040000 tree ${at(`040000 tree ${empty}\tinner\n`)}\touter\n`),
    );
    t.match(await scene.push(), [
      {
        ok: false,
        reason:
          "'outer/inner' cannot be in lakeFS: it is an empty folder, which lakeFS has no place for",
      },
    ]);
    commitOf(
      at(`120000 blob ${blob}\t.gitattributes\n040000 tree ${at(`100644 blob ${blob}\tx\n`)}\td\n`),
    );
    t.match(await scene.push(), [{ ok: true }], "a link of that name is none of these");
  });

  await t.test(
    "cherry-picked in lakeFS: the author of the pushed commit, lakeFS's committer and date",
    async (t) => {
      const scene = await PushedScene.start(t, server, pool);
      const { source, node, work } = scene;
      await work.commit("base", (folder) => write(folder, { base: "base" }));
      t.match(await scene.push(), [{ ok: true }]);
      const base = await source.head();
      await work.commit("picked", (folder) => write(folder, { picked: "picked" }));
      t.match(await scene.push(), [{ ok: true }]);
      const picked = await source.head();
      await server.client.in(source.name).createBranch({ name: "onto", source: base }, signal);
      await source.put({ "in-between": "x" }, { branch: "onto" });
      await source.commit("in between", { branch: "onto" });
      await server.client.http.json({
        name: "test",
        method: "POST",
        path: `/repositories/${source.name}/branches/onto/cherry-pick`,
        json: { ref: picked },
        repeatable: false,
        signal,
      });
      await node.refs.read();
      const [author, committer, subject] = (
        await node.git("log", "-1", "--format=%an <%ae> %ad|%cn|%s", "--date=raw", "onto")
      ).split("|");
      t.equal(author, "A U Thor <author@example.com> 1700000000 +0200");
      t.not(committer, "A U Thor");
      t.equal(subject, "picked");
      t.equal(
        await node.git("log", "-1", "--format=%an", "onto~1"),
        committer,
        "lakeFS's own commits are by lakeFS's user",
      );
      const other = await openNode(t, server, pool, source.name);
      t.equal(
        (await other.refs.read()).byName.get("refs/heads/onto")?.oid,
        await node.git("rev-parse", "onto"),
      );
    },
  );
});
