/**
 * Odd objects that levels let pass, pushed to a repository in lakeFS: what lands comes back byte
 * for byte to a server that has nothing but lakeFS.
 */
import { join } from "node:path";
import t from "tap";
import { frontEnds } from "../support/everyday.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { commit, git, remoteRefs, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, headOf, startBeside } from "../support/lakefs-rig.js";
import { fetched, makeOdd, original, pushOdd } from "../support/odd-objects.js";

const IDS = [
  "missingEmail",
  "missingSpaceBeforeDate",
  "badTimezone",
  "zeroPaddedDate",
  "badDateOverflow",
  "missingAuthor",
  "multipleAuthors",
  "missingCommitter",
  "nulInCommit",
  "zeroPaddedFilemode",
  "badFilemode",
  "missingTaggerEntry",
  "badTagName",
  "gitmodulesUrl",
];
/** Files that Git itself reads at each checkout stay in lakeFS, whatever a level says. */
const STAYS = "gitmodulesUrl";

for (const kind of frontEnds) {
  t.test(`odd objects in lakeFS, ${kind}`, { skip: skipLakefs, timeout: 300_000 }, async (t) => {
    const lakefs = await startLakefs(t, "local");
    const args = ["--transport", kind];
    const levels = IDS.map((id) => `${id}=warn`).join(",");
    const server = await startBeside(
      t,
      lakefs,
      { LAKEPACK_FSCK_LEVELS: levels, LAKEPACK_LFS_MISSING_OBJECTS: "warn" },
      { args },
    );
    const other = await startBeside(t, lakefs, {}, { args });
    for (const id of IDS) {
      const [name, one] = [await emptyRepository(lakefs, "odd"), await makeOdd(t, id)];
      const url = `${server.url}/lakefs/${name}.git`;
      const before = await headOf(lakefs, name);
      const { code, stderr } = await pushOdd(one, url);
      const text = stderr.replace(/\s*\nremote: /g, " ");
      t.match(text, new RegExp(`warning: object ${one.object}: ${id}: `), id);
      t.equal(code, id === STAYS ? 1 : 0, `${id}: ${stderr}`);
      if (code === 0) {
        t.same(await fetched(t, url, one), await original(one), `${id} comes back`);
        t.same(
          await fetched(t, `${other.url}/lakefs/${name}.git`, one),
          await original(one),
          `${id} comes back from lakeFS alone`,
        );
      } else {
        t.match(
          text,
          /'\.gitmodules' cannot be in lakeFS: Git refuses it: disallowed submodule url/,
        );
        t.same(
          [await headOf(lakefs, name), await remoteRefs(url)],
          [before, []],
          `${id}: nothing has moved: ${stderr}`,
        );
      }
    }

    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"ab".repeat(32)}\nsize 12345\n`;
    await commit(work, "pointer", { ".gitattributes": "*.bin filter=lfs\n", "w.bin": pointer });
    const name = await emptyRepository(lakefs, "pointer");
    const push = await tryGit(["push", `${server.url}/lakefs/${name}.git`, "main"], { cwd: work });
    t.match(push, { code: 1, stderr: /points to a file that does not exist: w\.bin/ });
    t.match(
      push.stderr.replace(/\s+/g, " "),
      /lfs_missing_objects=warn does not help where the repository is in lakeFS/,
    );
  });
}
