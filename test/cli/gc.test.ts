/** Files that nothing names any more go after their grace period, and nothing else does. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import {
  checkFsck,
  commit,
  folderOf,
  git,
  type Lakepack,
  logShows,
  objectSet,
  startLakepack,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { lakepack } from "../support/lakepack-command.js";

t.setTimeout(240_000);

const HOUR_MS = 3_600_000;

interface Named {
  readonly packs: { readonly name: string }[];
  readonly snapshot?: { readonly key: string };
  readonly unnamed: Readonly<Record<string, string>>;
  readonly dropped: Readonly<Record<string, string>>;
}

class Place {
  readonly data: string;
  readonly #name: string;

  constructor({ data }: Lakepack, name: string) {
    this.data = data;
    this.#name = name;
  }

  async manifest(): Promise<Named> {
    return JSON.parse(
      await readFile(join(await folderOf(this.data, this.#name), "git/manifest"), "utf8"),
    ) as Named;
  }

  /** Names in a folder of the repository, those that its manifest names apart from the others. */
  async files(folder: string): Promise<{ readonly named: string[]; readonly unnamed: string[] }> {
    const { packs, snapshot } = await this.manifest();
    const all = (await readdir(join(await folderOf(this.data, this.#name), "git", folder))).sort();
    const isNamed = (name: string) =>
      packs.some((pack) => name.includes(pack.name)) || snapshot?.key.endsWith(`/${name}`) === true;
    return { named: all.filter(isNamed), unnamed: all.filter((name) => !isNamed(name)) };
  }

  /** As if so many hours more had passed for all that is on its way out. No server runs. */
  async age(hours: number): Promise<void> {
    const earlier = (times: Named["unnamed"]) =>
      Object.fromEntries(
        Object.entries(times).map(([stem, since]) => [
          stem,
          new Date(Date.parse(since) - hours * HOUR_MS).toISOString(),
        ]),
      );
    const { check: _, ...manifest } = (await this.manifest()) as Named & { readonly check: string };
    const { unnamed, dropped } = manifest;
    await writeFile(
      join(await folderOf(this.data, this.#name), "git/manifest"),
      JSON.stringify({ ...manifest, unnamed: earlier(unnamed), dropped: earlier(dropped) }),
    );
  }

  gc(...args: string[]): ReturnType<typeof lakepack> {
    return lakepack(["gc", ...args, "--data", this.data]);
  }
}

async function pushes(work: string, url: string, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n++) {
    await commit(work, `change ${n}`, { "file.txt": `${"a line that stays\n".repeat(50)}${n}\n` });
    await git(["push", "-q", url, "HEAD:refs/heads/main"], { cwd: work });
  }
}

/** A repository whose pushes have been made one pack. */
async function foldedPlace(t: Test, server: Lakepack, work: string): Promise<Place> {
  await git(["init", "-q", "-b", "main", work]);
  const place = new Place(server, "ns/many");
  const url = `${server.url}/ns/many.git`;
  await pushes(work, url, 0, LIMITS.foldPacksMin + 1);
  for (
    let attempt = 0;
    attempt < 300 && (await place.manifest()).packs.length >= LIMITS.foldPacksMin - 1;
    attempt++
  )
    await sleep(100);
  t.ok((await place.manifest()).packs.length < LIMITS.foldPacksMin - 1, "they were made one");
  return place;
}

t.test("packs that were made one with others go a day after that, and not before", async (t) => {
  const work = join(await tempFolder(t), "work");
  const first = await startLakepack(t);
  const place = await foldedPlace(t, first, work);
  const { unnamed } = await place.files("objects/pack");
  t.ok(
    unnamed.length >= (3 * LIMITS.foldPacksMin) / 2,
    `${unnamed.length} files are named by nothing`,
  );
  const early = await place.gc("ns/many");
  t.equal(early.code, 0, early.err);
  t.match(early.out, `ns/many: 0 files (0 bytes) removed; ${unnamed.length} more (`);
  t.same(
    (await place.files("objects/pack")).unnamed,
    unnamed,
    "who began to read by the old manifest still finds them",
  );

  await first.stop();
  await place.age(25);
  const server = await startLakepack(t, { data: first.data });
  const late = await place.gc("--all", "--json");
  t.equal(late.code, 0, late.err);
  t.match(JSON.parse(late.out), {
    name: "ns/many",
    removed_files: unnamed.length,
    waiting_files: 0,
  });
  const { named, unnamed: left } = await place.files("objects/pack");
  t.same(left, []);
  t.equal(
    named.length,
    3 * (await place.manifest()).packs.length,
    "what is named stays, however old",
  );
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", "--mirror", `${server.url}/ns/many.git`, copy]);
  await checkFsck(t, copy);
  t.same(await objectSet(copy), await objectSet(work));
  t.equal((await lakepack(["verify", "ns/many", "--data", server.data])).code, 0);
  t.match((await place.gc("ns/many", "--grace", "0")).out, "0 files (0 bytes) removed\n");
});

t.test("a server does it by itself after a push", async (t) => {
  const work = join(await tempFolder(t), "work");
  const first = await startLakepack(t);
  const place = await foldedPlace(t, first, work);
  await first.stop();
  await place.age(3);
  const patient = await startLakepack(t, { data: first.data });
  await pushes(work, `${patient.url}/ns/many.git`, 100, 101);
  await patient.stop();
  t.not(
    (await place.files("objects/pack")).unnamed.length,
    0,
    "not within the day that is the default",
  );
  const server = await startLakepack(t, {
    data: first.data,
    env: { LAKEPACK_GC_GRACE_HOURS: "2" },
  });
  await pushes(work, `${server.url}/ns/many.git`, 101, 102);
  t.ok(await logShows(server, /files that nothing names are removed/));
  t.same((await place.files("objects/pack")).unnamed, []);
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", "--mirror", `${server.url}/ns/many.git`, copy]);
  t.same(await objectSet(copy), await objectSet(work));
});

t.test("an old list of refs goes, without a server too; the refs stay", async (t) => {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "main", work]);
  await commit(work, "one", { a: "a" });
  let server = await startLakepack(t);
  const place = new Place(server, "ns/refs");
  const tags = async (from: number, to: number) => {
    const names = Array.from({ length: to - from }, (_, at) => `refs/tags/v${from + at}`);
    await git(["update-ref", "--stdin"], {
      cwd: work,
      input: names.map((name) => `create ${name} HEAD\n`).join(""),
    });
    await git(["push", "-q", `${server.url}/ns/refs.git`, "main", "--tags"], { cwd: work });
  };
  await tags(0, LIMITS.manifestRefsMax + 1);
  const [first] = (await place.files("snapshots")).named;
  await tags(LIMITS.manifestRefsMax + 1, LIMITS.manifestRefsMax + LIMITS.snapshotChangesMax + 2);
  t.same((await place.files("snapshots")).unnamed, [first]);
  await server.stop();
  t.match((await place.gc("--all")).out, /ns\/refs: 0 files \(0 bytes\) removed; 1 more/);
  const now = await place.gc("ns/refs", "--grace", "0");
  t.match(now.out, /ns\/refs: 1 files \(\d+ bytes\) removed\n/, now.err);
  t.match(await place.files("snapshots"), { named: { length: 1 }, unnamed: { length: 0 } });
  server = await startLakepack(t, { data: place.data });
  const listed = (await git(["ls-remote", "--tags", `${server.url}/ns/refs.git`])).split("\n");
  t.equal(listed.length, LIMITS.manifestRefsMax + LIMITS.snapshotChangesMax + 2);
});

t.test("what is wrong on the command line is said", async (t) => {
  const server = await startLakepack(t);
  const place = new Place(server, "ns/none");
  for (const args of [
    [],
    ["ns/a", "--all"],
    ["--all", "--grace", "x"],
    ["--all", "--grace", "-1"],
    ["--all", "--grace", "9000"],
  ]) {
    t.equal((await place.gc(...args)).code, 2, args.join(" "));
  }
  const missing = await place.gc("ns/none");
  t.equal(missing.code, 1);
  t.match(missing.err, /ns\/none/);
  t.same(await place.gc("--all"), { code: 0, out: "", err: "" });
});

t.test("a push that failed behind its publication: two periods, and no sooner", async (t) => {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "main", work]);
  let server = await startLakepack(t);
  const place = new Place(server, "ns/one");
  await pushes(work, `${server.url}/ns/one.git`, 0, 1);
  await server.stop();
  const left = `pack-${"ab".repeat(20)}.pack`;
  const folder = join(await folderOf(server.data, "ns/one"), "git/objects/pack");
  await writeFile(join(folder, left), "what a crash has left");
  const removed = async () =>
    JSON.parse((await place.gc("ns/one", "--json")).out) as Record<string, number>;
  for (const step of ["found", "dropped"]) {
    t.match(await removed(), { removed_files: 0, waiting_files: 1 }, step);
    t.match(await removed(), { removed_files: 0, waiting_files: 1 }, "and no sooner");
    await place.age(25);
  }
  t.match(await removed(), { removed_files: 1, waiting_files: 0 });
  const { unnamed, dropped } = await place.manifest();
  t.same([unnamed, dropped], [{}, {}], "nothing is kept of it");
  t.notOk((await readdir(folder)).includes(left));
  server = await startLakepack(t, { data: server.data });
  await pushes(work, `${server.url}/ns/one.git`, 1, 2);
});
