/**
 * An id that a client may not see counts as unknown wherever a fetch lets it name one: want, have,
 * shallow, deepen-not. A branch is deleted, its commits are stored still, and whoever knows their
 * ids learns nothing and gets nothing.
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { commit, git, type Lakepack, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, signal, startBeside } from "../support/lakefs-rig.js";
import { packFacts, pkts, rawFetch } from "../support/raw-fetch.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

interface Hidden {
  /** The one branch's tip. */
  readonly tip: string;
  /** Its commits that no ref leads to any more: the second is the first's child. */
  readonly commits: readonly [string, string];
  /** Every object that must never leave. */
  readonly objects: readonly string[];
  /** The tip's parent: to be seen, and no tip. */
  readonly visible: string;
}

/** Pushes two commits to main and two more to a branch, then deletes the branch by `remove`. */
async function hide(
  t: Test,
  url: string,
  remove: (work: string) => Promise<void>,
): Promise<Hidden> {
  const work = join(await tempFolder(t), "work");
  await git(["clone", "-q", url, work]);
  await git(["checkout", "-q", "-B", "main"], { cwd: work });
  const visible = await commit(work, "one", { "a.txt": "a\n" });
  const tip = await commit(work, "two", { "b.txt": "b\n" });
  await git(["push", "-q", "origin", "main"], { cwd: work });
  await git(["checkout", "-q", "-b", "secret"], { cwd: work });
  const first = await commit(work, "secret one", { "secret.txt": "secret\n" });
  const second = await commit(work, "secret two", { "secret.txt": "more secret\n" });
  await git(["push", "-q", "origin", "secret"], { cwd: work });
  await remove(work);
  const objects = (
    await git(["rev-list", "--objects", "--no-object-names", "secret", "^main"], { cwd: work })
  ).split("\n");
  return { tip, commits: [first, second], objects, visible };
}

async function check(
  t: Test,
  server: Lakepack,
  name: string,
  { tip, commits: [first, second], objects, visible }: Hidden,
): Promise<void> {
  const v2 = (...lines: string[]) =>
    rawFetch(server, name, 2, pkts("command=fetch", "0001", ...lines, "0000"));
  const v0 = (wants: readonly string[], haves: readonly string[]) =>
    rawFetch(server, name, 0, pkts(...wants, "0000", ...haves));
  const holdsNothing = async (pack: Buffer, what: string) => {
    const { oids } = await packFacts(t, pack);
    t.same(
      oids.filter((oid) => objects.includes(oid)),
      [],
      `${what}: nothing hidden in the pack`,
    );
  };
  for (const shallow of [first, second])
    for (const depth of [
      ["deepen 5"],
      ["deepen 2147483647"],
      ["deepen-relative", "deepen 1"],
      ["deepen-relative", "deepen 5"],
      ["deepen-since 1"],
    ]) {
      const what = `shallow ${shallow === first ? "hidden" : "hidden child"}, ${depth.join(" ")}`;
      const said = await v2(`want ${tip}`, `shallow ${shallow}`, ...depth, "done");
      t.notMatch(
        said.lines.join("\n"),
        new RegExp(`shallow (${first}|${second})`),
        `version 2, ${what}`,
      );
      await holdsNothing(said.pack, `version 2, ${what}`);
      const caps = depth.includes("deepen-relative")
        ? "side-band-64k deepen-relative"
        : "side-band-64k";
      const old = await v0(
        [`want ${tip} ${caps}`, `shallow ${shallow}`, depth.at(-1) as string],
        ["done"],
      );
      t.notMatch(
        old.lines.join("\n"),
        new RegExp(`shallow (${first}|${second})`),
        `version 0, ${what}`,
      );
      await holdsNothing(old.pack, `version 0, ${what}`);
    }
  for (const have of [first, second, ...objects]) {
    t.same(
      (await v2(`want ${tip}`, `have ${have}`)).lines,
      ["acknowledgments", "NAK", "flush"],
      `version 2 does not confirm ${have}`,
    );
    for (const mode of ["", " multi_ack", " multi_ack_detailed"])
      t.same(
        (await v0([`want ${tip} side-band-64k${mode}`], [`have ${have}`, "0000"])).lines,
        ["NAK"],
        `version 0${mode} does not confirm ${have}`,
      );
    await holdsNothing(
      (await v2(`want ${tip}`, `have ${have}`, "done")).pack,
      "a have that is none",
    );
  }
  const thin = await v2(`want ${tip}`, `have ${second}`, "thin-pack", "ofs-delta", "done");
  t.not((await packFacts(t, thin.pack)).count, 0, "a hidden have spares nothing");
  for (const not of [first, second, "refs/heads/secret", "secret"])
    t.match(
      (await v2(`want ${tip}`, `deepen-not ${not}`, "done")).lines,
      [/^ERR /],
      `deepen-not ${not}`,
    );
  for (const want of objects) {
    t.match((await v2(`want ${want}`, "done")).lines, [/^ERR .*not our ref/], `want ${want}`);
    t.match(
      (await v0([`want ${want} side-band-64k`], ["done"])).lines,
      [/^ERR .*not our ref/],
      `version 0, want ${want}`,
    );
  }
  // What may be seen still counts, though no ref points there.
  t.same((await v2(`want ${tip}`, `have ${visible}`, "wait-for-done")).lines, [
    "acknowledgments",
    `ACK ${visible}`,
    "flush",
  ]);
  t.match(
    (await v2(`want ${tip}`, `shallow ${visible}`, "deepen 2147483647", "done")).lines.join("\n"),
    new RegExp(`unshallow ${visible}`),
  );
}

for (const kind of frontEnds)
  t.test(`our own store, ${kind}`, { timeout: 120_000 }, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", kind] });
    const work = join(await tempFolder(t), "first");
    await git(["init", "-q", work]);
    await commit(work, "zero", { "z.txt": "z\n" });
    const url = `${server.url}/ns/hidden.git`;
    await git(["push", "-q", url, "main"], { cwd: work });
    const deleted = await hide(
      t,
      url,
      async (clone) =>
        void (await git(["push", "-q", "origin", "--delete", "secret"], { cwd: clone })),
    );
    await check(t, server, "ns/hidden", deleted);
    const movedUrl = `${server.url}/ns/moved.git`;
    await git(["push", "-q", movedUrl, "main"], { cwd: work });
    const moved = await hide(
      t,
      movedUrl,
      async (clone) =>
        void (await git(["push", "-q", "-f", "origin", "main:secret"], { cwd: clone })),
    );
    await check(t, server, "ns/moved", moved);
  });

t.test("a branch deleted in lakeFS", { skip: skipLakefs, timeout: 120_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const server = await startBeside(t, lakefs);
  const repository = await emptyRepository(lakefs, "hidden");
  const url = `${server.url}/lakefs/${repository}.git`;
  const byGit = await hide(
    t,
    url,
    async (clone) =>
      void (await git(["push", "-q", "origin", "--delete", "secret"], { cwd: clone })),
  );
  await check(t, server, `lakefs/${repository}`, byGit);
  const other = await emptyRepository(lakefs, "hidden");
  const byLakefs = await hide(t, `${server.url}/lakefs/${other}.git`, () =>
    lakefs.client.in(other).deleteBranch("secret", signal),
  );
  await check(t, server, `lakefs/${other}`, byLakefs);
});
