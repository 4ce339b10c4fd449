/**
 * Many at one repository at the same time: one winner where one can win, all where all can, and
 * every clone beside them is whole.
 */
import { join } from "node:path";
import t from "tap";
import { checkFsck, commit, git, remoteRefs, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { command, parseReport, postPush } from "../support/raw-push.js";

const PUSHERS = 16;

t.test(
  "16 pushers of one ref: one wins; of 16 refs: all do; clones beside them are whole",
  { timeout: 300_000 },
  async (t) => {
    const server = await startLakepack(t);
    const folder = await tempFolder(t);
    const work = join(folder, "work");
    await git(["init", "-q", work]);
    const first = await commit(work, "first", { "a.txt": "a\n" });
    const url = `${server.url}/ns/raced.git`;
    await git(["push", "-q", url, "main"], { cwd: work });
    const tips: string[] = [];
    for (let at = 0; at < PUSHERS; at++) {
      await git(["checkout", "-q", "-B", `side-${at}`, first], { cwd: work });
      tips.push(await commit(work, `side ${at}`, { [`${at}.txt`]: `${at}\n`.repeat(500) }));
    }
    const packs = await Promise.all(
      tips.map(
        async (tip) =>
          (
            await tryGit(["pack-objects", "--stdout", "--revs", "--thin"], {
              cwd: work,
              input: `${tip}\n^${first}\n`,
            })
          ).stdoutBytes,
      ),
    );
    const push = async (at: number, old: string, name: string) =>
      parseReport(
        (
          await postPush(
            server,
            "/ns/raced.git",
            [command(old, tips[at] as string, name, "report-status")],
            packs[at],
          )
        ).body,
      ).refs[0] ?? "";
    const clones = (round: number) =>
      [0, 1].map((at) =>
        git(["clone", "-q", "--mirror", url, join(folder, `clone-${round}-${at}.git`)]).then(() =>
          join(folder, `clone-${round}-${at}.git`),
        ),
      );

    const [oneRef, cloned] = await Promise.all([
      Promise.all(tips.map((_, at) => push(at, first, "refs/heads/main"))),
      Promise.all(clones(0)),
    ]);
    t.equal(oneRef.filter((line) => line === "ok refs/heads/main").length, 1, "one of 16 wins");
    t.equal(
      oneRef.filter((line) => line.startsWith("ng refs/heads/main ")).length,
      PUSHERS - 1,
      "the others are told",
    );
    const winner = tips[oneRef.findIndex((line) => line.startsWith("ok "))];
    t.ok(
      (await remoteRefs(url)).includes(`${winner}\trefs/heads/main`),
      "and the ref is the winner's",
    );

    const [all, more] = await Promise.all([
      Promise.all(tips.map((_, at) => push(at, "0".repeat(40), `refs/heads/side-${at}`))),
      Promise.all(clones(1)),
    ]);
    t.same(
      all,
      tips.map((_, at) => `ok refs/heads/side-${at}`),
      "16 refs: all of them",
    );
    for (const path of [...cloned, ...more]) await checkFsck(t, path);
    const last = join(folder, "last.git");
    await git(["clone", "-q", "--mirror", url, last]);
    await checkFsck(t, last);
    t.same(
      await git(["for-each-ref", "--format=%(objectname)", "refs/heads/side-*"], {
        cwd: last,
      }).then((text) => text.split("\n").sort()),
      [...tips].sort(),
    );
  },
);
