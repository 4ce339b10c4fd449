/**
 * A file that has changed on disk: the server starts, other repositories work, the damaged one says
 * which file it is, and lakepack verify says what to do.
 */
import { readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { someOf } from "../support/everyday.js";
import { lakepack } from "../support/lakepack-command.js";
import {
  checkFsck,
  commit,
  copyData,
  folderOf,
  git,
  startLakepack,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(600_000);

const MANY_REFS = 405;

interface Case {
  /** The file, among those in the repository's git folder. */
  readonly file: RegExp;
  readonly damage: (path: string) => Promise<void>;
  /** Text that `git clone` shows. */
  readonly says: RegExp;
  /** Text of verify about that file. */
  readonly problem: RegExp;
  /** A part of what verify tells to do. */
  readonly advice: RegExp;
}

const flip = (fraction: number) => async (path: string) => {
  const bytes = await readFile(path);
  const at = Math.floor(bytes.length * fraction);
  bytes[at] = (bytes[at] as number) ^ 0x04;
  await rm(path);
  await writeFile(path, bytes);
};
const cut = async (path: string) => truncate(path, 100);

const CASES: Readonly<Record<string, Case>> = {
  "a bit of a pack flips": {
    file: /\.pack$/,
    damage: flip(0.5),
    says: /pack-[0-9a-f]{40}\.pack.*checksum/,
    problem: /\.pack: /,
    advice: /restore this file/,
  },
  "a pack is cut": {
    file: /\.pack$/,
    damage: cut,
    says: /pack-[0-9a-f]{40}\.pack/,
    problem: /\.pack: it has 100 bytes/,
    advice: /restore this file/,
  },
  "a pack is gone": {
    file: /\.pack$/,
    damage: rm,
    says: /pack-[0-9a-f]{40}\.pack/,
    problem: /\.pack: /,
    advice: /restore this file/,
  },
  "a bit of an index flips": {
    file: /\.idx$/,
    damage: flip(0.7),
    says: /pack-[0-9a-f]{40}\.idx.*checksum/,
    problem: /\.idx: it differs/,
    advice: /lakepack index-pack/,
  },
  "an index is gone": {
    file: /\.idx$/,
    damage: rm,
    says: /pack-[0-9a-f]{40}\.idx/,
    problem: /\.idx: /,
    advice: /lakepack index-pack/,
  },
  "a bit of a reverse index flips": {
    file: /\.rev$/,
    damage: flip(0.5),
    says: /pack-[0-9a-f]{40}\.rev.*checksum/,
    problem: /\.rev: it differs/,
    advice: /lakepack index-pack/,
  },
  "a bit of the manifest flips": {
    file: /manifest$/,
    damage: flip(0.6),
    says: /manifest cannot be read: repos\/[0-9a-f]{32}\/git\/manifest/,
    problem: /manifest: /,
    advice: /packed-refs/,
  },
  "the manifest is cut": {
    file: /manifest$/,
    damage: cut,
    says: /manifest cannot be read: repos\/[0-9a-f]{32}\/git\/manifest/,
    problem: /manifest: /,
    advice: /packed-refs/,
  },
  "a bit of the ref snapshot flips": {
    file: /snapshots\/[0-9a-f.]+$/,
    damage: flip(0.5),
    says: /git\/snapshots\/[0-9a-f]{64}\.[0-9a-f]{16}/,
    problem: /snapshots\/[0-9a-f]{64}\.[0-9a-f]{16}: /,
    advice: /packed-refs/,
  },
};

async function twoRepositories(t: Test): Promise<string> {
  const folder = await tempFolder(t);
  const [work, data] = [join(folder, "work"), join(folder, "data")];
  await git(["init", "-q", work]);
  for (let n = 0; n < 5; n++)
    await commit(work, `change ${n}`, {
      [`f${n}.txt`]: `${n}\n`.repeat(100 * n),
      "a.txt": `${Math.E * n}\n`,
    });
  const head = await git(["rev-parse", "HEAD"], { cwd: work });
  await writeFile(
    join(work, ".git", "packed-refs"),
    Array.from({ length: MANY_REFS }, (_, n) => `${head} refs/tags/t${n}\n`)
      .sort()
      .join(""),
  );
  const server = await startLakepack(t, { data });
  await git(["push", "-q", `${server.url}/d/one.git`, "main", "--tags"], { cwd: work });
  await git(["push", "-q", `${server.url}/d/good.git`, "main"], { cwd: work });
  await server.stop();
  return data;
}

let made: Promise<string> | undefined;
/** A data folder that lasts as long as all tests here; each damages a copy. */
function everything(whole: Test): Promise<string> {
  made ??= twoRepositories(whole);
  return made;
}

t.test("what is whole is good", async (t) => {
  const data = await everything(t.parent as Test);
  const all = await lakepack(["verify", "--all", "--data", data]);
  t.match(all, {
    code: 0,
    out: /^d\/good: good \(1 refs, 1 packs, \d+ objects\)\nd\/one: good \(406 refs/,
  });
  const one = await lakepack(["verify", "d/good", "--json", "--data", data]);
  t.same(JSON.parse(one.out).findings, []);
  t.match(await lakepack(["verify", "d/none", "--data", data]), {
    code: 1,
    err: /repository not found/,
  });
  t.equal((await lakepack(["verify", "--data", data])).code, 2, "names or --all");
  t.equal((await lakepack(["verify", "--help"])).code, 0);
});

for (const [title, { file, damage, says, problem, advice }] of someOf(Object.entries(CASES), 2)) {
  t.test(title, async (t) => {
    const data = join(await tempFolder(t), "data");
    await copyData(await everything(t.parent as Test), data);
    const root = join(await folderOf(data, "d/one"), "git");
    const names = (await readdir(root, { recursive: true })).filter(
      (name) => file.test(name) && !name.includes("~tmp"),
    );
    t.equal(names.length, 1, String(names));
    await damage(join(root, names[0] as string));
    const server = await startLakepack(t, { data });
    for (const version of [0, 2] as const) {
      const broken = await tryGit(
        ["clone", `${server.url}/d/one.git`, join(await tempFolder(t), "broken")],
        { version },
      );
      t.not(broken.code, 0);
      t.match(broken.stderr, says, `version ${version} names it`);
      t.notMatch(broken.stderr, data, "without the server's folders");
    }
    const clone = join(await tempFolder(t), "good");
    await git(["clone", "-q", `${server.url}/d/good.git`, clone]);
    await checkFsck(t, clone);
    const pushed = await tryGit(
      ["push", "-q", `${server.url}/d/good.git`, "HEAD:refs/heads/more"],
      { cwd: clone },
    );
    t.equal(pushed.code, 0, "the other repository takes pushes");
    const found = await lakepack(["verify", "--all", "--data", data]);
    t.match(found, { code: 1, out: problem });
    t.match(found.out, advice);
    t.match(found.out, /^d\/good: good/m);
    t.match(found.err, /damaged: 1, checked: 2/);
    t.equal(
      (await lakepack(["verify", "d/good", "--data", data])).code,
      0,
      "beside the server, of the good one",
    );
  });
}

t.test("an index that verify names is made anew as it says", async (t) => {
  const data = join(await tempFolder(t), "data");
  await copyData(await everything(t.parent as Test), data);
  const packs = join(await folderOf(data, "d/one"), "git/objects/pack");
  const names = await readdir(packs);
  for (const name of names.filter((each) => /\.(idx|rev)$/.test(each)))
    await flip(0.5)(join(packs, name));
  t.equal((await lakepack(["verify", "d/one", "--data", data])).code, 1);
  t.equal(
    (
      await lakepack([
        "index-pack",
        join(packs, names.find((each) => each.endsWith(".pack")) as string),
      ])
    ).code,
    0,
  );
  t.equal((await lakepack(["verify", "d/one", "--data", data])).code, 0);
});
