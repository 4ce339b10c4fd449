/**
 * Levels of fsck's messages, as the server's setting: the same outcome as stock git's
 * receive.fsck.<id>, and what is let pass comes back byte for byte.
 */
import { join } from "node:path";
import { writeFile } from "node:fs/promises";
import t from "tap";
import { frontEnds } from "../support/everyday.js";
import { FSCK_LEVELS, isProtectedId } from "../../src/git/fsck/levels.js";
import { git, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { fetched, makeOdd, ODD, original, pushOdd, pushToStock } from "../support/odd-objects.js";

t.setTimeout(600_000);
const odd = new Map(
  await Promise.all(Object.keys(ODD).map(async (id) => [id, await makeOdd(t, id)] as const)),
);

for (const level of FSCK_LEVELS) {
  const theirs = new Map<string, number | null>();
  t.before(async () => {
    for (const [id, one] of odd) theirs.set(id, (await pushToStock(t, one, { [id]: level })).code);
  });
  for (const kind of frontEnds) {
    t.test(`each id at ${level}, ${kind}`, async (t) => {
      const levels = [...odd.keys()].map((id) => `${id.toUpperCase()}=${level}`).join(",");
      const server = await startLakepack(t, {
        args: ["--transport", kind, "--fsck-levels", levels],
      });
      for (const [id, one] of odd) {
        const url = `${server.url}/me/${id}.git`;
        const { code, stderr } = await pushOdd(one, url);
        t.equal(code, theirs.get(id), `${id}=${level} as stock git: ${stderr}`);
        const says = stderr.replace(/\n(remote: )?/g, " ");
        if (level === "error") {
          t.match(says, `object ${one.object}: ${id}: `);
          t.match(
            says,
            isProtectedId(id)
              ? "(fsck_levels of the server decides)"
              : `(an administrator may let it pass: lakepack repo set me/${id} fsck_levels=${id}=warn)`,
          );
        }
        if (level === "warn") t.match(says, `warning: object ${one.object}: ${id}: `);
        if (level === "ignore") t.notMatch(says, new RegExp(id.concat(":")));
        if (code === 0 && kind === frontEnds[0])
          t.same(await fetched(t, url, one), await original(one), `${id} comes back as it was`);
      }
    });
  }
}

t.test("without levels Git's own count, and fsck: false turns all of them off", async (t) => {
  const [plain, off] = [
    await startLakepack(t),
    await startLakepack(t, { args: ["--fsck", "false", "--fsck-levels", "missingEmail=error"] }),
  ];
  for (const [id, one] of odd) {
    const { code, stderr } = await pushOdd(one, `${plain.url}/me/${id}.git`);
    t.equal(code, (await pushToStock(t, one, {})).code, `${id}: ${stderr}`);
    t.equal((await pushOdd(one, `${off.url}/me/${id}.git`)).code, 0, `${id} unchecked`);
  }
});

t.test("many findings are told up to a number, in a pack of any size", async (t) => {
  const server = await startLakepack(t, { args: ["--fsck-levels", "missingEmail=warn"] });
  const work = join(await tempFolder(t), "many");
  await git(["init", "-q", work]);
  const tree = await git(["hash-object", "-w", "-t", "tree", "--stdin"], { cwd: work });
  const commits = Array.from(
    { length: 45 },
    (_, at) =>
      `commit refs/heads/b${at}\nauthor A <a@example.com> ${at} +0000\ncommitter A <a@example.com> ${at} +0000\ndata 1\nm\n`,
  );
  await git(["fast-import", "--quiet"], { cwd: work, input: commits.join("\n") });
  for (let at = 0; at < 45; at++) {
    const text = `tree ${tree}\nauthor A ${at} +0000\ncommitter A <a@example.com> ${at} +0000\n\nm\n`;
    const id = await git(["hash-object", "-w", "--literally", "-t", "commit", "--stdin"], {
      cwd: work,
      input: text,
    });
    await git(["update-ref", `refs/heads/b${at}`, id], { cwd: work });
  }
  const { code, stderr } = await pushOdd(
    { work, ref: "refs/heads/*:refs/heads/*", object: "" },
    `${server.url}/me/many.git`,
  );
  t.equal(code, 0, stderr);
  t.equal(stderr.match(/warning: object/g)?.length, 20);
  t.match(stderr, /warning: and 25 more/);
});

t.test("a skip list: what it names is not judged, as by stock git", async (t) => {
  const file = join(await tempFolder(t), "skip");
  const skipped = ["missingEmail", "zeroPaddedFilemode", "gitmodulesUrl", "badTimezone"];
  const lines = skipped.map((id) => `${odd.get(id)?.object.toUpperCase()} # ${id}`);
  await writeFile(file, ["# odd objects of ours", "", ...lines, "  "].join("\n"));
  for (const kind of frontEnds) {
    const server = await startLakepack(t, {
      args: ["--transport", kind, "--fsck-skip-list", file],
    });
    for (const id of [...skipped, "badName", "hasDotgit"]) {
      const one = odd.get(id);
      if (one === undefined) throw new Error(id);
      const url = `${server.url}/me/${id}.git`;
      const { code, stderr } = await pushOdd(one, url);
      t.equal(code, (await pushToStock(t, one, { skipList: file })).code, `${id}: ${stderr}`);
      t.equal(code === 0, skipped.includes(id), id);
      if (code === 0) t.same(await fetched(t, url, one), await original(one));
    }
  }
});
