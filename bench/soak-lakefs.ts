/**
 * `npm run soak -- lakefs [minutes [file.svg]]`: a real lakeFS in which a writer commits every 300
 * ms, and beside it clones, fetches and pushes through one server, for ten minutes. Every ten
 * seconds: resident memory, descriptors, live packs, bytes of the manifest and of the disk. Fails
 * where an honest client or the writer fails, where a clone at the end has not every commit, or
 * where memory or descriptors still grow in the last quarter.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startLakefs } from "../test/support/lakefs-servers.js";
import { createSource, type Source } from "../test/support/lakefs-reading.js";
import { drawTimelines } from "./chart.js";
import { git, timeGit } from "./git.js";
import { type BenchServer, startServer } from "./server.js";

const EVERY_MS = 10_000;
const WRITE_EVERY_MS = 300;
/** The writer's files, one changed by each commit. */
const FILES = 400;
const FILE_BYTES = 2_000;
/** Growth that may be told apart from noise. */
const GROWTH_MAX = 1.15;
const DESCRIPTORS_SLACK = 20;

interface Sample {
  readonly seconds: number;
  readonly commits: number;
  readonly rssMiB: number;
  readonly descriptors: number;
  readonly packs: number;
  readonly manifestKiB: number;
  readonly diskMiB: number;
}

interface Counts {
  commits: number;
  clones: number;
  fetches: number;
  pushes: number;
  /** Pushes refused as somebody else was first: that is no failure. */
  moved: number;
  readonly failures: string[];
}

interface Soak {
  readonly source: Source;
  readonly server: BenchServer;
  readonly url: string;
  readonly folder: string;
  readonly until: number;
  readonly counts: Counts;
}

export async function soakLakefs(minutes: number, drawing: string | undefined): Promise<void> {
  const endings: (() => unknown)[] = [];
  const folder = await mkdtemp(join(tmpdir(), "lakepack-soak-"));
  const samples: Sample[] = [];
  try {
    const lakefs = await startLakefs({
      teardown: (end) => void endings.push(end as () => unknown),
    });
    const source = await createSource(lakefs);
    for (let at = 0; at < FILES; at++) await source.put({ [pathOf(at)]: textOf(at, "first") });
    await source.commit("first");
    const { endpoint, accessKeyId, secretAccessKey } = lakefs.access;
    const env = {
      LAKEPACK_LAKEFS_ENDPOINT: endpoint,
      LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId,
      LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey,
    };
    const server = await startServer(join(folder, "data"), [], env);
    endings.push(() => server.stop());
    const counts: Counts = { commits: 1, clones: 0, fetches: 0, pushes: 0, moved: 0, failures: [] };
    const soak: Soak = {
      source,
      server,
      url: `${server.url}/lakefs/${source.name}.git`,
      folder,
      until: Date.now() + minutes * 60_000,
      counts,
    };
    await Promise.all([
      write(soak),
      clone(soak, 0),
      clone(soak, 1),
      fetch(soak),
      push(soak),
      watch(soak, samples),
    ]);
    await noteFailure(counts, "the clone at the end", () => checkWhole(soak));
    samples.push(await sample(soak, Date.now() - minutes * 60_000));
    report(samples, counts);
    if (drawing !== undefined) await writeFile(drawing, draw(samples));
  } finally {
    for (const end of endings.reverse()) await end();
    await rm(folder, { recursive: true, force: true });
  }
}

const pathOf = (at: number) => `d${at % 20}/f${at}.txt`;
const textOf = (at: number, what: string) => `${what} ${at} ${"x".repeat(FILE_BYTES)}\n`;

async function noteFailure(counts: Counts, who: string, work: () => Promise<void>): Promise<void> {
  await work().catch((error: unknown) => {
    counts.failures.push(`${who}: ${error instanceof Error ? error.message : String(error)}`);
  });
}

/**
 * A user of lakeFS: one file, one commit, on main itself every fourth time and on a branch of their
 * own otherwise.
 */
async function write({ source, until, counts }: Soak): Promise<void> {
  await source.client
    .in(source.name)
    .createBranch({ name: "writer", source: "main" }, new AbortController().signal);
  for (let at = 0; Date.now() < until; at++) {
    const started = Date.now();
    await noteFailure(counts, "the writer", async () => {
      const branch = at % 4 === 0 ? "main" : "writer";
      await source.put({ [pathOf(at % FILES)]: textOf(at, "written") }, { branch });
      await source.commit(`written ${at}`, { branch });
      counts.commits++;
    });
    await sleep(Math.max(0, WRITE_EVERY_MS - (Date.now() - started)));
  }
}

async function clone({ url, folder, until, counts }: Soak, lane: number): Promise<void> {
  const path = join(folder, `copy-${lane}`);
  while (Date.now() < until) {
    const depth = counts.clones % 3 === 0 ? [`--depth=${1 + (counts.clones % 7)}`] : [];
    await noteFailure(counts, "a clone", async () => {
      await timeGit(["clone", "-q", "--bare", ...depth, url, path], tmpdir());
      counts.clones++;
    });
    await rm(path, { recursive: true, force: true });
    await sleep(200);
  }
}

async function fetch({ url, folder, until, counts }: Soak): Promise<void> {
  const path = join(folder, "mirror");
  await noteFailure(
    counts,
    "the mirror",
    async () => void (await timeGit(["clone", "-q", "--mirror", url, path], tmpdir())),
  );
  while (Date.now() < until) {
    await noteFailure(counts, "a fetch", async () => {
      await timeGit(["fetch", "-q", "--prune"], path);
      counts.fetches++;
    });
    await sleep(100);
  }
}

/** Pushes to main, where the writer is as well. */
async function push({ url, folder, until, counts }: Soak): Promise<void> {
  const work = join(folder, "work");
  await noteFailure(
    counts,
    "the pusher's clone",
    async () => void (await timeGit(["clone", "-q", "-b", "main", url, work], tmpdir())),
  );
  for (let at = 0; Date.now() < until; at++) {
    await noteFailure(counts, "a push", async () => {
      await timeGit(["fetch", "-q", "origin"], work);
      await timeGit(["reset", "-q", "--hard", "origin/main"], work);
      await mkdir(join(work, "pushed"), { recursive: true });
      await writeFile(join(work, "pushed", `${at % 50}.txt`), `${at}\n`);
      await timeGit(["add", "-A"], work);
      await timeGit(["commit", "-q", "-m", `pushed ${at}`], work);
      await timeGit(["push", "-q", "origin", "HEAD:main"], work).then(
        () => counts.pushes++,
        (error: Error) => {
          if (!/fetch first|moved in lakeFS|uncommitted changes/.test(error.message)) throw error;
          counts.moved++;
        },
      );
    });
    await sleep(1_000);
  }
}

/** Checks that a fresh clone has all that lakeFS has. */
async function checkWhole({ url, folder, counts, source }: Soak): Promise<void> {
  const path = join(folder, "whole.git");
  await timeGit(["clone", "-q", "--mirror", url, path], tmpdir());
  git(["fsck", "--full"], path);
  const written = git(["log", "--all", "--format=%s"], path)
    .split("\n")
    .filter((subject) => /^(written|first)/.test(subject));
  if (written.length !== counts.commits)
    throw new Error(`${written.length} of ${counts.commits} commits of ${source.name} are there`);
}

async function watch(soak: Soak, samples: Sample[]): Promise<void> {
  const started = Date.now();
  for (
    ;
    Date.now() < soak.until;
    await sleep(Math.min(EVERY_MS, Math.max(0, soak.until - Date.now())))
  ) {
    const one = await sample(soak, started);
    samples.push(one);
    process.stdout.write(`${lineOf(one)}\n`);
  }
}

function lineOf({
  seconds,
  commits,
  rssMiB,
  descriptors,
  packs,
  manifestKiB,
  diskMiB,
}: Sample): string {
  return `${seconds} s\t${commits} commits\t${rssMiB} MiB\t${descriptors} descriptors\t${packs} packs\tmanifest ${manifestKiB} KiB\tdisk ${diskMiB} MiB`;
}

async function sample({ server, counts }: Soak, startedMs: number): Promise<Sample> {
  const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1];
  const descriptors = readdirSync(`/proc/${server.pid}/fd`).length;
  const stored = await storedIn(server.data);
  return {
    seconds: Math.round((Date.now() - startedMs) / 1_000),
    commits: counts.commits,
    rssMiB: Math.round(Number(rss) / 1_024),
    descriptors,
    ...stored,
  };
}

/** Live packs (those that the manifest names) and bytes of what is stored. */
async function storedIn(data: string): Promise<Pick<Sample, "packs" | "manifestKiB" | "diskMiB">> {
  let [packs, manifest, disk] = [0, 0, 0];
  for (const path of await readdir(data, { recursive: true })) {
    const found = await stat(join(data, path)).catch(() => undefined); // it may be gone by now
    if (found?.isFile() !== true) continue;
    disk += found.blocks * 512;
    if (!path.endsWith("git/manifest")) continue;
    manifest += found.size;
    const text = await readFile(join(data, path), "utf8").catch(() => "{}");
    packs += (JSON.parse(text) as { packs?: readonly unknown[] }).packs?.length ?? 0;
  }
  return {
    packs,
    manifestKiB: Math.round(manifest / 1_024),
    diskMiB: Math.round(disk / 1_048_576),
  };
}

function report(samples: readonly Sample[], counts: Counts): void {
  const { commits, clones, fetches, pushes, moved, failures } = counts;
  for (const failure of failures.slice(0, 10)) process.stdout.write(`FAILED: ${failure}\n`);
  const last = samples.at(-1) as Sample;
  const middle = (from: number, to: number, key: "rssMiB" | "descriptors") => {
    const part = samples
      .slice(Math.floor(samples.length * from), Math.ceil(samples.length * to))
      .map((one) => one[key]);
    return part.sort((a, b) => a - b)[part.length >> 1] ?? 0;
  };
  const [rssBefore, rssAfter] = [middle(0.5, 0.75, "rssMiB"), middle(0.75, 1, "rssMiB")];
  const [fdBefore, fdAfter] = [middle(0.5, 0.75, "descriptors"), middle(0.75, 1, "descriptors")];
  process.stdout.write(`${commits} commits in lakeFS, ${clones} clones, ${fetches} fetches, ${pushes} pushes (${moved} were late), ${failures.length} failures
at the end: ${last.packs} packs, manifest ${last.manifestKiB} KiB, disk ${last.diskMiB} MiB; third and last quarter: ${rssBefore} and ${rssAfter} MiB, ${fdBefore} and ${fdAfter} descriptors\n`);
  if (
    failures.length > 0 ||
    rssAfter > rssBefore * GROWTH_MAX ||
    fdAfter > fdBefore + DESCRIPTORS_SLACK
  )
    process.exitCode = 1;
}

function draw(samples: readonly Sample[]): string {
  const line = (title: string, unit: string, key: "rssMiB" | "packs" | "diskMiB") => ({
    title,
    unit,
    points: samples.map((one) => [one.seconds, one[key]] as const),
  });
  return drawTimelines([
    line("resident memory", "MiB", "rssMiB"),
    line("live packs", "packs", "packs"),
    line("disk", "MiB", "diskMiB"),
  ]);
}
