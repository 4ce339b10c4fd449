/**
 * Stock git pushes to lakeFS repositories: what lands is what lakeFS shows, and what another server
 * reads back.
 */
import { createHash } from "node:crypto";
import { chmod, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { blockStores } from "../support/everyday.js";
import { Random } from "../../bench/random.js";
import { utf8 } from "../../src/base/bytes.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { checkFsck, commit, git, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { filesOf, headOf, listed, signal, startBeside } from "../support/lakefs-rig.js";

t.setTimeout(300_000);

for (const blocks of blockStores) {
  t.test(
    `pushes to lakeFS with ${blocks} blocks`,
    { skip: skipLakefs, timeout: 180_000 },
    async (t) => {
      const lakefs = await startLakefs(t, blocks);
      const { client } = lakefs;
      const name = "pushed";
      await client.createRepository(
        { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
        signal,
      );
      const server = await startBeside(t, lakefs);
      const url = `${server.url}/lakefs/${name}.git`;
      const work = join(await tempFolder(t), "work");
      await git(["init", "-q", work]);

      await t.test(
        "a first push of three commits: one lakeFS commit each, the pushed tree in lakeFS",
        async (t) => {
          await commit(work, "one", { "README.md": "# one\n", "a/b/c.txt": "deep\n" });
          await commit(work, "two", { "README.md": "# two\n", "run.sh": "#!/bin/sh\n" });
          await chmod(join(work, "run.sh"), 0o755);
          await symlink("README.md", join(work, "link"));
          await commit(work, "three\n\nwith a body", {
            "a/b/c.txt": undefined,
            "a/new.txt": "new\n",
          });
          const push = await tryGit(["push", "--progress", url, "main"], { cwd: work });
          t.equal(push.code, 0, push.stderr);
          t.match(push.stderr, /remote: Landing 3\/3 in lakeFS, 8\/8 files/);
          t.match(
            push.stderr,
            /remote: refs\/heads\/main: [0-9a-f]{40} is lakeFS commit [0-9a-f]{64}/,
            "both ids of the new head",
          );
          t.same(
            [...(await filesOf(lakefs, name, "main"))],
            [
              ["README.md", "# two\n"],
              ["a/new.txt", "new\n"],
              ["link", "README.md"],
              ["run.sh", "#!/bin/sh\n"],
            ],
          );
          const { commit_id } = await client.in(name).getBranch("main", signal);
          const log = (await client.in(name).log(commit_id, 10, signal)).results;
          t.same(
            log.map(({ message }) => message.split("\n")[0]),
            ["three", "two", "one", "Repository created"],
          );
        },
      );

      await t.test(
        "another server with an empty store reads the same commits back, byte for byte",
        async (t) => {
          const other = await startBeside(t, lakefs);
          const clone = join(await tempFolder(t), "clone");
          await git(["clone", "-q", `${other.url}/lakefs/${name}.git`, clone]);
          await checkFsck(t, clone);
          t.equal(
            await git(["rev-parse", "HEAD"], { cwd: clone }),
            await git(["rev-parse", "main"], { cwd: work }),
          );
          t.same(await remoteRefs(`${other.url}/lakefs/${name}.git`), await remoteRefs(url));
        },
      );

      await t.test(
        "branches with slashes and dots, both kinds of tags, a merge, deletes",
        async (t) => {
          await git(["checkout", "-q", "-b", "feature/x.1"], { cwd: work });
          await commit(work, "aside", { "side.txt": "side\n" });
          await git(["checkout", "-q", "main"], { cwd: work });
          await commit(work, "ahead", { "main.txt": "main\n" });
          await git(["merge", "-q", "--no-ff", "-m", "merged", "feature/x.1"], { cwd: work });
          await git(["tag", "light"], { cwd: work });
          await git(["tag", "-a", "-m", "annotated", "v1.0"], { cwd: work });
          const push = await tryGit(["push", url, "main", "feature/x.1", "light", "v1.0"], {
            cwd: work,
          });
          t.equal(push.code, 0, push.stderr);
          const other = await startBeside(t, lakefs);
          const seen = (await remoteRefs(`${other.url}/lakefs/${name}.git`)).filter(
            (line) => !line.endsWith("HEAD"),
          );
          const mine = (await remoteRefs(work)).filter((line) => !line.endsWith("HEAD"));
          t.same(seen, mine);
          const gone = await tryGit(["push", url, ":feature/x.1", ":refs/tags/light"], {
            cwd: work,
          });
          t.equal(gone.code, 0, gone.stderr);
          t.notMatch((await remoteRefs(url)).join("\n"), /feature|light/);
        },
      );

      await t.test(
        "a commit made in lakeFS is a child on the next fetch; a stale push is refused and nothing is lost",
        async (t) => {
          await client
            .in(name)
            .uploadObject("main", "from-lakefs.txt", utf8("theirs\n"), {}, signal);
          await client.in(name).commit("main", { message: "made in lakeFS" }, signal);
          await commit(work, "mine", { "mine.txt": "mine\n" });
          const stale = await tryGit(["push", url, "main"], { cwd: work });
          t.not(stale.code, 0);
          await git(["pull", "-q", "--no-rebase", "--no-edit", url, "main"], { cwd: work });
          const push = await tryGit(["push", url, "main"], { cwd: work });
          t.equal(push.code, 0, push.stderr);
          const there = await filesOf(lakefs, name, "main");
          t.equal(there.get("from-lakefs.txt"), "theirs\n");
          t.equal(there.get("mine.txt"), "mine\n");
        },
      );

      await t.test(
        "a large plain file is streamed and stays plain; so does one that Git stores as a delta of another",
        async (t) => {
          const random = new Random(11).bytes(40_000_000);
          const text = Buffer.from(
            Array.from({ length: 300_000 }, (_, line) => `line ${line} ${"x".repeat(60)}\n`).join(
              "",
            ),
          );
          const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
          await writeFile(join(work, "random.bin"), random);
          await writeFile(join(work, "text.csv"), text);
          await commit(work, "large", {});
          const longer = Buffer.concat([text, Buffer.from("one more line\n")]);
          await writeFile(join(work, "text.csv"), longer);
          await commit(work, "longer", {});
          await git(["repack", "-q", "-adf"], { cwd: work });
          const packed = await git(
            ["cat-file", "--batch-check=%(objectsize) %(deltabase)", "--batch-all-objects"],
            { cwd: work },
          );
          t.match(
            packed,
            new RegExp(`^(${text.length}|${longer.length}) (?!0{40})`, "m"),
            "one is stored as a delta",
          );
          const push = await tryGit(["push", url, "main"], { cwd: work });
          t.equal(push.code, 0, push.stderr);
          const { id } = await headOf(lakefs, name);
          for (const [path, content] of [
            ["random.bin", random],
            ["text.csv", longer],
          ] as const) {
            t.equal(
              sha256(await client.in(name).readObject(id, path, 50_000_000, signal)),
              sha256(content),
              `lakeFS has ${path}`,
            );
          }
          const { metadata } =
            (await listed(lakefs, name)).find(({ path }) => path === "random.bin") ?? {};
          t.match(metadata?.["lakepack-sha256"], new RegExp(`^${sha256(random)} 40000000 `));
          const other = await startBeside(t, lakefs);
          const clone = join(await tempFolder(t), "clone");
          await git(["clone", "-q", `${other.url}/lakefs/${name}.git`, clone]);
          await checkFsck(t, clone);
          t.equal(
            await git(["rev-parse", "HEAD"], { cwd: clone }),
            await git(["rev-parse", "HEAD"], { cwd: work }),
          );
        },
      );
    },
  );
}
