/**
 * Power loss. Histories of pushes and uploads run on the real process, recorded (recorder.ts)
 * change by change. Then the disk is put back to what a crash could have left at each moment, under
 * many fates of what was not synced: every `ok` that was said is there and whole, nothing else is
 * shown. And the same with the syncs of each place in the code taken out in turn: the loss must be
 * found, so a change that drops one fails here.
 */
import { randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { verifyRecords } from "../../src/lakefs/read/verify-records.js";
import { checkFsck, commit, git, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { settingsFor, startBeside } from "../support/lakefs-rig.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { type Examination, examineAll, losesWithout, sitesOf, testPool } from "./examination.js";
import { History, pointerTo, recording } from "./history.js";
import { type JournalRecord, readJournal } from "./journal.js";
import { LossyDisk } from "./lossy-disk.js";

t.setTimeout(900_000);

/** Enough refs that a snapshot holds them (limits: manifestRefsMax). */
const MANY_REFS = 405;
/** Every so many-th state gets a real server. */
const SERVED_STRIDE = 120;
const { signal } = new AbortController();

/**
 * Every fsync of the product, by the function that needs it: what is lost without it is shown
 * below.
 */
const SITES = [
  "lakefs/trees/promised-list: PromisedWriter.finish, file",
  "lfs/hashed-spool: #hashNext, file",
  "odb/index-pack/spool: #sync, file",
  "odb/index-pack/sync-files: syncFiles idx, file",
  "odb/index-pack/sync-files: syncFiles pack, file",
  "odb/index-pack/sync-files: syncFiles rev, file",
  "store/disk: #copyAcross, file",
  "store/disk: #makeFolder, folder",
  "store/disk: #publishFile, folder",
  "store/disk: #publishOver, folder",
  "store/disk: #putNew, folder",
  "store/disk: #replace, folder",
  "store/disk: #replaceAgain, folder",
  "store/disk: #settleFound, folder",
  "store/disk: #writeTemporary, file",
  "store/disk: makeRoot, folder",
];
/** The calls behind them, a file: one that no history here reaches is noticed too. */
const CALLS: Readonly<Record<string, number>> = {
  "lakefs/trees/promised-list.ts": 1,
  "lfs/hashed-spool.ts": 1,
  "odb/index-pack/spool.ts": 1,
  "odb/index-pack/sync-files.ts": 1,
  "store/disk.ts": 2,
};
/** Sites whose loss was found. */
const proven = new Set<string>();

async function proveEach(
  t: Test,
  examination: Examination,
  wanted: readonly string[],
): Promise<void> {
  for (const site of sitesOf(examination.journal)) {
    if (!wanted.includes(site)) continue;
    const loss = await losesWithout(examination, site);
    t.ok(loss !== undefined, `without ${site}: ${loss}`);
    if (loss !== undefined) proven.add(site);
  }
}

/**
 * Pushes of every kind: first, thin, many refs at once and one more, a delete, two at a time, LFS,
 * and a folder on another file system.
 */
async function everyKind(t: Test): Promise<History> {
  const history = await History.begin(t);
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const noise = randomBytes(20_000).toString("base64");
  const first = await commit(work, "one", { "a.txt": noise, "b/c.txt": "c\n" });
  await history.push(work, "a/one", { "refs/heads/main": first });
  // Deltas against what the server has: a thin pack, to be completed.
  const second = await commit(work, "two", {
    "a.txt": `${noise.slice(0, 9_000)}changed${noise.slice(9_000)}`,
  });
  await history.push(work, "a/one", { "refs/heads/main": second, "refs/heads/gone": first });
  await history.push(work, "a/one", { "refs/heads/gone": undefined });
  // Large enough that its pack is synced while it is indexed.
  const large = join(await tempFolder(t), "large");
  await git(["init", "-q", large]);
  await history.push(large, "a/large", {
    "refs/heads/main": await commit(large, "large", {
      "noise.txt": randomBytes(1_200_000).toString("base64"),
    }),
  });
  const many = Object.fromEntries(
    Array.from({ length: MANY_REFS }, (_, n) => [`refs/tags/t${n}`, first]),
  );
  await history.push(work, "a/one", many);
  const third = await commit(work, "three", { "b/c.txt": "d\n" });
  await Promise.all([
    history.push(work, "a/one", { "refs/heads/side": third, "refs/tags/t7": undefined }),
    history.push(work, "a/two", { "refs/heads/main": third }),
    history.push(work, "b/three", { "refs/heads/main": second }),
  ]);
  const content = randomBytes(3_000);
  t.ok(await history.upload("b/three", content), "an LFS object is taken");
  const pointing = await commit(work, "pointer", {
    "m.bin": pointerTo(content),
    ".gitattributes": "*.bin filter=lfs\n",
  });
  await history.push(work, "b/three", { "refs/heads/main": pointing });
  await history.order({ act: "EXDEV", site: "linkOrCopy", once: true });
  const fourth = await commit(work, "four", { "b/c.txt": "e\n" });
  await history.push(work, "b/three", { "refs/heads/main": fourth });
  t.notOk(history.isOrderOpen, "one file had to be copied");
  await history.server.stop();
  t.same(history.failedPushes(), [], "all were taken");
  return history;
}

t.test("every kind of push and upload", { timeout: 600_000 }, async (t) => {
  const history = await everyKind(t);
  const onState = async (data: string, number: number) => {
    if (number % SERVED_STRIDE === SERVED_STRIDE / 2) await serves(t, history, data);
  };
  const examination = { history, journal: history.journal(), pool: await testPool(t), onState };
  const { states, problems } = await examineAll(examination, 1);
  t.comment(`${examination.journal.length} records, ${states} states`);
  t.ok(states > 100, "there was something to lose");
  t.same(problems, [], "every ok is kept, nothing else is shown");
  await proveEach(
    t,
    examination,
    SITES.filter((site) => !/#settleFound|Over|Again/.test(site)),
  ); // the start's own probe comes by the first; the others need a failure
});

/** The real server starts on it, stock git finds it whole, and the next push lands. */
async function serves(t: Test, history: History, crashed: string): Promise<void> {
  const data = join(await tempFolder(t), "data");
  await cp(crashed, data, { recursive: true });
  // The journal has no changes of the database: its own writes last by what SQLite does.
  for (const file of await readdir(history.data))
    if (/^lakepack\.db(?!-shm)/.test(file)) await cp(join(history.data, file), join(data, file));
  const server = await startLakepack(t, { data });
  for (const repository of history.repositories()) {
    const url = `${server.url}/${repository}.git`;
    const refs = await git(["ls-remote", url]).catch(() => "");
    if (refs === "") continue;
    const clone = join(await tempFolder(t), "clone.git");
    await git(["clone", "-q", "--mirror", url, clone]);
    await checkFsck(t, clone);
    await git(["push", "-q", url, `${refs.slice(0, 40)}:refs/heads/after`], { cwd: clone });
  }
  await server.stop();
}

t.test(
  "killed between a change and its sync, started again, and then the power goes",
  { timeout: 300_000 },
  async (t) => {
    const history = await History.begin(t);
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    const first = await commit(work, "one", { "a.txt": "a\n" });
    const many = Object.fromEntries(
      Array.from({ length: MANY_REFS }, (_, n) => [`refs/tags/t${n}`, first]),
    );
    for (const [site, repository, refs] of [
      ["#makeFolder", "k/one", { "refs/heads/main": first }],
      ["#publishFile", "k/two", { "refs/heads/main": first }],
      ["#putNew", "k/three", many],
      ["#replace", "k/four", { "refs/heads/main": first }],
    ] as const) {
      // A place, because the upkeep of another repository may come by the same code.
      const place = await history.reserve(repository);
      await history.order({
        act: "die",
        site,
        kinds: ["sync"],
        once: true,
        ...(site === "#makeFolder" ? {} : { place }),
      });
      await history.push(work, repository, refs);
      t.notOk(history.isOrderOpen, `it died before the sync of ${site}`);
      await history.server.kill("SIGKILL");
      await history.start();
      await history.push(work, repository, refs);
    }
    await history.server.stop();
    const examination = { history, journal: history.journal(), pool: await testPool(t) };
    const { states, problems } = await examineAll(examination, 2);
    t.comment(`${examination.journal.length} records, ${states} states`);
    t.same(problems, [], "every ok is kept, nothing else is shown");
  },
);

/** What a disk shows of a file after a crash that loses all that was not synced. */
async function afterLoss(
  t: Test,
  journal: readonly JournalRecord[],
  ignored: string | undefined,
  key: string,
): Promise<string | undefined> {
  const disk = new LossyDisk(ignored);
  for (const record of journal) if (record.op !== "answer") disk.apply(record);
  const folder = join(await tempFolder(t), "crashed");
  disk.crash(
    "data",
    folder,
    () => "lost",
    () => 0,
  );
  return readFile(join(folder, key), "utf8").catch(() => undefined);
}

t.test(
  "a name that is found may be that of a writer who died before its sync",
  { timeout: 120_000 },
  async (t) => {
    for (const [site, dies, call] of [
      ["#settleFound", "#putNew", "putIfAbsent"],
      ["#publishOver", "#publishFile", "publish"],
    ] as const) {
      const folder = await tempFolder(t);
      await mkdir(join(folder, "root"));
      const order = { act: "die", site: dies, kinds: ["sync"], once: true };
      await writeFile(join(folder, "order"), JSON.stringify(order));
      const write = () => runStoreWriter(folder, [call, "k/one", "content"]);
      t.equal((await write()).signal, "SIGKILL", `it died before the sync of ${dies}`);
      t.equal((await write()).code, 0);
      const journal = readJournal(readFileSync(join(folder, "journal")));
      const shown = (ignored: string | undefined) => afterLoss(t, journal, ignored, "k/one");
      t.equal(await shown(undefined), "content", `${call}: what was said to be there is`);
      const without = `store/disk: ${site}, folder`;
      t.not(await shown(without), "content", `without ${without}`);
      proven.add(without);
    }
  },
);

function runStoreWriter(
  folder: string,
  call: readonly string[],
): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }> {
  const script = join(import.meta.dirname, "store-writer.js");
  const child = spawn(process.execPath, [script, join(folder, "root/data"), ...call], {
    env: { ...process.env, ...recording(folder) },
    stdio: "inherit",
  });
  return new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
}

t.test(
  "a sync fails, and what it should have written is dropped: only what was written again counts",
  { timeout: 300_000 },
  async (t) => {
    const history = await History.begin(t);
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    const first = await commit(work, "one", { "a.txt": "a\n" });
    const many = Object.fromEntries(
      Array.from({ length: MANY_REFS }, (_, n) => [`refs/tags/t${n}`, first]),
    );
    // Dies with the pack's names not synced: who pushes it again finds them.
    await history.order({ act: "die", site: "#publishFile", kinds: ["sync"], once: true, skip: 2 }); // of pack, rev and idx
    await history.push(work, "u/over", { "refs/heads/main": first });
    await history.server.kill("SIGKILL");
    await history.start();
    for (const [site, repository, refs, once] of [
      ["none", "u/over", { "refs/heads/main": first }, true],
      ["#makeFolder", "u/one", { "refs/heads/main": first }, true],
      ["#publishFile", "u/two", { "refs/heads/main": first }, true],
      ["#putNew", "u/three", many, true],
      ["#replace", "u/four", { "refs/heads/main": first }, true],
      ["#replace", "u/five", { "refs/heads/main": first }, false],
    ] as const) {
      const place = repository === "u/over" ? repository : await history.reserve(repository);
      await history.order({
        act: "EIO",
        site,
        kinds: ["sync"],
        once,
        ...(site === "#makeFolder" ? {} : { place }),
      });
      const said = await history.push(work, repository, refs);
      if (once) t.equal(history.isOrderOpen, site === "none", `the sync of ${site} failed`);
      else t.match(said, /outcome unknown; fetch to see/);
      await history.withdraw();
      await history.push(work, repository, { ...refs, "refs/heads/next": first });
    }
    t.same(
      history.failedPushes().filter((key) => key.endsWith("/next")),
      [],
      "the next push lands",
    );
    await history.server.stop();
    const examination = {
      history,
      journal: history.journal(),
      pool: await testPool(t),
      isBrief: true,
    };
    const { states, problems } = await examineAll(examination, 4);
    t.comment(`${examination.journal.length} records, ${states} states`);
    t.same(problems, [], "every ok is kept, nothing else is shown");
    await proveEach(t, examination, ["store/disk: #replaceAgain, folder"]);
  },
);

t.test(
  "what is read from lakeFS: what a manifest names is whole",
  { skip: skipLakefs, timeout: 300_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    const name = "kept";
    await lakefs.client.createRepository(
      { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
      signal,
    );
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    await commit(work, "one", { "README.md": "# one\n", "a/b.txt": "line\n".repeat(200) });
    await commit(work, "two", { "README.md": "# two\n", "new.txt": "new\n" });
    // Whoever has the writer's key believes what it has vouched for: contents are promised, and a
    // list of them is written.
    const shared = { LAKEPACK_SEAL_KEY: "5e".repeat(32) };
    const writer = await startBeside(t, lakefs, shared);
    await git(["push", "-q", `${writer.url}/lakefs/${name}.git`, "main"], { cwd: work });
    await writer.stop();
    const history = await History.begin(t, {
      ...settingsFor(lakefs),
      ...shared,
      LAKEPACK_LAKEFS_POLL_SECONDS: "0",
    });
    history.include(`lakefs/${name}`);
    const url = `${history.server.url}/lakefs/${name}.git`;
    await git(["ls-remote", url]);
    await git(["clone", "-q", "--filter=blob:none", url, join(await tempFolder(t), "part")]);
    const third = await commit(work, "three", { "README.md": "# three\n" });
    await git(["push", "-q", url, `${third}:refs/heads/main`], { cwd: work });
    await git(["clone", "-q", url, join(await tempFolder(t), "whole")]);
    await history.server.stop();
    const examination: Examination = {
      history,
      journal: history.journal(),
      pool: await testPool(t),
      beyond: (store, prefix, manifest) => verifyRecords(store, prefix, manifest, signal),
    };
    const { states, problems } = await examineAll(examination, 3);
    t.comment(`${examination.journal.length} records, ${states} states`);
    t.same(problems, [], "in every state");
    await proveEach(t, examination, ["lakefs/trees/promised-list: PromisedWriter.finish, file"]);
  },
);

t.test("every fsync of the product is one of those", { skip: skipLakefs }, async (t) => {
  t.same([...proven].sort(), SITES, "each is needed");
  const root = join(import.meta.dirname, "../../..");
  const calls: Record<string, number> = {};
  for (const entry of readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })) {
    // Copies of what an object store has: nothing is lost with one, and its size is looked at.
    if (!entry.isFile() || entry.parentPath.endsWith("store/cache")) continue;
    const found =
      readFileSync(join(entry.parentPath, entry.name), "utf8").match(
        /\.(data)?sync\(\)|\bf(data)?syncSync\(/g,
      ) ?? [];
    if (found.length > 0)
      calls[join(entry.parentPath, entry.name).slice(join(root, "src").length + 1)] = found.length;
  }
  t.same(calls, CALLS, "no other is in the code");
});
