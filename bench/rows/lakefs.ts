/**
 * The row `lakefs`: what clones and pushes of lakeFS repositories cost with 1,000, 10,000 and
 * 100,000 small objects, beside `lakectl fs download -r` of the same; the repository of 99 small
 * files and one of 10 GB; and ten thousand commits read one at a time. lakeFS counts the calls, a
 * forwarder the bytes.
 */
import { spawn } from "node:child_process";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { commitMany, manyContent, manyPath } from "../../test/support/many-files.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../../test/support/lakefs-servers.js";
import { type Chart, drawCharts } from "../chart.js";
import { type Forwarder, startForwarder } from "../forwarder.js";
import { git, timeGit } from "../git.js";
import { cpuSeconds, RssWatch } from "../process.js";
import { median, type Report } from "../report.js";
import { type BenchServer, startServer } from "../server.js";
import type { BenchContext } from "./context.js";
import { foldingRows } from "./lakefs-folding.js";
import { lfsRows } from "./lakefs-lfs.js";

const MIB = 1024 * 1024;
const FILE_BYTES = 1_000;
/** First clones and downloads are made in turn so often: others may use the machine. */
const ROUNDS = 3;
const ROUNDS_OBJECTS_MAX = 10_000;
/** New files of one push, and files that one renames. */
const NEW = 1_000;
const NEW_TINY = 30;
const MOVED = 2_000;
const MOVED_TINY = 50;
const CHART = fileURLToPath(new URL("../../../bench/lakefs.svg", import.meta.url));
const { signal } = new AbortController();

/** The cost of one operation. */
interface Cost {
  readonly seconds: number;
  readonly calls: number;
  readonly listing: number;
  readonly contents: number;
  readonly bytes: number;
  /** CPU seconds of lakepack; 0 for lakectl. */
  readonly cpu: number;
  readonly rssGrowth: number;
}

interface Rig {
  readonly lakefs: RunningLakefs;
  readonly forwarder: Forwarder;
  readonly report: Report;
  readonly folder: string;
  readonly tiny: boolean;
}

export async function lakefsRows({ report, folder, scale }: BenchContext): Promise<void> {
  if (skipLakefs !== false) return report.fail("lakefs", skipLakefs);
  const endings: (() => unknown)[] = [];
  try {
    const lakefs = await startLakefs({
      teardown: (end) => void endings.push(end as () => unknown),
    });
    const forwarder = await startForwarder(lakefs.access.endpoint);
    endings.push(() => forwarder.stop());
    const rig: Rig = {
      lakefs,
      forwarder,
      report,
      folder: join(folder, "lakefs"),
      tiny: scale === "tiny",
    };
    await mkdir(rig.folder);
    const costs = new Map<string, [number, Cost][]>();
    for (const objects of rig.tiny ? [60, 120] : [1_000, 10_000, 100_000])
      await sizeRows(rig, objects, costs);
    if (!rig.tiny)
      await writeFile(
        CHART,
        drawCharts([
          chartOf("seconds", "s", costs, ({ seconds }) => seconds),
          chartOf("calls of lakeFS", "number", costs, ({ calls }) => calls),
        ]),
      );
    await largeFileRow(rig);
    await foldingRows({
      ...rig,
      start: (data, { access }) =>
        startServer(data, ["--cache-bytes", "0"], settingsOf(access, access.endpoint)),
    });
    await lfsRows({
      ...rig,
      start: (data) =>
        startBeside({ ...rig, forwarder: { ...forwarder, url: lakefs.access.endpoint } }, data),
    });
  } finally {
    for (const end of endings.reverse()) await end();
  }
}

// One size ----------------------------------------------------------------------------------------

async function sizeRows(
  rig: Rig,
  objects: number,
  costs: Map<string, [number, Cost][]>,
): Promise<void> {
  const { lakefs, report, tiny } = rig;
  const name = `bench-${objects}`;
  await lakefs.client.createRepository(
    { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
    signal,
  );
  await commitMany(lakefs.client.in(name), { from: 0, to: objects, bytes: FILE_BYTES });
  const add = (operation: string, cost: Cost): Cost => {
    report.cost(
      { objects, operation, ...cost },
      `  ${objects.toLocaleString("en").padStart(7)} ${operation.padEnd(22)} ${lineOf(cost)}`,
    );
    costs.set(operation, [...(costs.get(operation) ?? []), [objects, cost]]);
    return cost;
  };
  const firsts = await firstClones(rig, name, objects);
  const download = add("lakectl fs download -r", firsts.download);
  const first = add("first clone", firsts.clone);

  let server = firsts.server;
  const clone = async (operation: string): Promise<Cost> =>
    add(operation, await cloneOnce(rig, server, name));
  const second = await clone("second clone");
  await commitMany(lakefs.client.in(name), { from: 0, to: 10, bytes: FILE_BYTES, salt: "changed" });
  const changed = await clone("after 10 files changed");
  await server.stop();
  server = await startBeside(rig, server.data);
  const restarted = await clone("after a restart");

  const { small, created, renamed } = await pushes(rig, server, name, objects, add);
  await server.stop();
  await rm(join(rig.folder, "clone"), { recursive: true, force: true });

  const bar = (most: number) => (tiny ? {} : { bar: most });
  report.add({
    row: `first clone of ${objects} objects, wall`,
    ours: first.seconds,
    peer: download.seconds,
    peerName: "lakectl",
    unit: "s",
    ...(objects === 10_000 ? bar(1.5) : {}),
  });
  report.add({
    row: "  listing calls",
    ours: first.listing,
    unit: "calls",
    bar: objects / 10_000 + 4,
  });
  report.add({
    row: "  contents read by the second clone",
    ours: second.contents,
    unit: "calls",
    bar: 0,
  });
  report.add({
    row: "  contents read after 10 files changed",
    ours: changed.contents,
    unit: "calls",
    bar: 10,
  });
  report.add({
    row: "  contents read after a restart",
    ours: restarted.contents,
    unit: "calls",
    bar: 0,
  });
  report.add({ row: "  push of one small file", ours: small.calls, unit: "calls", bar: 30 });
  const news = tiny ? NEW_TINY : NEW;
  report.add({
    row: `  push of ${news} new small files`,
    ours: created.calls,
    unit: "calls",
    bar: news + 40,
  });
  report.add({ row: "  the same, wall", ours: created.seconds, unit: "s" });
  if (renamed === undefined) return;
  const moves = tiny ? MOVED_TINY : MOVED;
  report.add({
    row: `  push that renames ${moves} files`,
    ours: renamed.calls,
    unit: "calls",
    bar: moves + 60,
  });
  report.add({ row: "  the same, wall", ours: renamed.seconds, unit: "s" });
}

/**
 * Downloads and first clones in turn, a new server for each; those of the median ratio, and the
 * last server.
 */
async function firstClones(
  rig: Rig,
  name: string,
  objects: number,
): Promise<{ readonly download: Cost; readonly clone: Cost; readonly server: BenchServer }> {
  const data = join(rig.folder, "data");
  const runs: { download: Cost; clone: Cost; ratio: number }[] = [];
  let server: BenchServer | undefined;
  for (let run = 0; run < (rig.tiny || objects > ROUNDS_OBJECTS_MAX ? 1 : ROUNDS); run++) {
    await server?.stop();
    await rm(data, { recursive: true, force: true });
    const download = await lakectl(rig, name);
    server = await startBeside(rig, data);
    const clone = await cloneOnce(rig, server, name);
    runs.push({ download, clone, ratio: clone.seconds / download.seconds });
  }
  const middle = median(runs.map(({ ratio }) => ratio));
  return {
    ...(runs.find(({ ratio }) => ratio === middle) as (typeof runs)[number]),
    server: server as BenchServer,
  };
}

async function cloneOnce(rig: Rig, server: BenchServer, name: string): Promise<Cost> {
  const to = join(rig.folder, "clone");
  await rm(to, { recursive: true, force: true });
  return measured(rig, server, () =>
    timeGit(["clone", "--quiet", urlOf(server, name), to], rig.folder),
  );
}

interface Pushes {
  /** The second push of one file: the first one puts the guard there. */
  readonly small: Cost;
  readonly created: Cost;
  readonly renamed: Cost | undefined;
}

/** Pushes of 1, 100 and 1,000 changed files, of 1,000 new ones, and of 2,000 that are renamed. */
async function pushes(
  rig: Rig,
  server: BenchServer,
  name: string,
  objects: number,
  add: (operation: string, cost: Cost) => Cost,
): Promise<Pushes> {
  const work = join(rig.folder, "clone");
  const push = async (operation: string, change: () => Promise<unknown>): Promise<Cost> => {
    await change();
    git(["add", "--all"], work);
    git(["commit", "--quiet", "-m", operation], work);
    return add(
      operation,
      await measured(rig, server, () =>
        timeGit(["push", "--quiet", urlOf(server, name), "HEAD:main"], work),
      ),
    );
  };
  const write = async (files: number, salt: string, below = "") => {
    for (let at = 0; at < files; at++) {
      const path = join(work, below, manyPath(at));
      await mkdir(join(path, ".."), { recursive: true });
      await writeFile(path, manyContent(at, FILE_BYTES, salt));
    }
  };
  const changed = (operation: string, files: number) =>
    push(operation, () => write(files, operation));
  await changed("the first push", 1);
  const small = await changed("push of 1 file", 1);
  for (const files of rig.tiny ? [20] : [100, 1_000])
    if (files <= objects) await changed(`push of ${files} files`, files);
  const news = rig.tiny ? NEW_TINY : NEW;
  const created = await push(`push of ${news} new`, () => write(news, "new", "new"));
  const moves = rig.tiny ? MOVED_TINY : MOVED;
  if (moves > objects) return { small, created, renamed: undefined };
  const renamed = await push(`push of ${moves} renamed`, async () => {
    for (let at = 0; at < moves; at++) {
      await mkdir(join(work, "moved", manyPath(at), ".."), { recursive: true });
      await rename(join(work, manyPath(at)), join(work, "moved", manyPath(at)));
    }
  });
  return { small, created, renamed };
}

async function lakectl(rig: Rig, name: string): Promise<Cost> {
  const { lakefs, forwarder, folder } = rig;
  const to = join(folder, "download");
  const { program, env } = lakefs.lakectl;
  const download = async () => {
    const started = performance.now();
    const args = ["fs", "download", "--recursive", "--no-progress", `lakefs://${name}/main/`, to];
    const child = spawn(program, args, {
      env: { ...env, LAKECTL_SERVER_ENDPOINT_URL: forwarder.url },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let errors = "";
    child.stderr.on("data", (text: Buffer) => {
      errors = (errors + text.toString()).slice(-1_000);
    });
    const code = await new Promise((resolve) => child.once("close", resolve));
    if (code !== 0) throw new Error(`lakectl ended with ${code}: ${errors}`);
    return (performance.now() - started) / 1000;
  };
  const cost = await measured(rig, undefined, download);
  await rm(to, { recursive: true, force: true });
  return cost;
}

// The large file ----------------------------------------------------------------------------------

/**
 * A hub's link tells its SHA-256, so nothing of it is read: what its entry names is not even there.
 */
async function largeFileRow(rig: Rig): Promise<void> {
  const { lakefs, report, tiny } = rig;
  const name = "bench-large";
  await lakefs.client.createRepository(
    { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
    signal,
  );
  await commitMany(lakefs.client.in(name), { from: 0, to: 99, bytes: FILE_BYTES });
  const size_bytes = 10_000_000_000;
  const stage = {
    physical_address: `${lakefs.outside}weights`,
    checksum: `sha256:${"5a".repeat(32)}`,
    size_bytes,
  };
  await lakefs.client.in(name).stageObject("main", "weights.safetensors", stage, signal);
  await lakefs.client.in(name).commit("main", { message: "10 GB" }, signal);
  const server = await startBeside(rig, join(rig.folder, "data-large"));
  try {
    const cost = await measured(rig, server, () =>
      timeGit(["clone", "--quiet", urlOf(server, name), join(rig.folder, "large")], rig.folder),
    );
    const pointer = git(["show", "HEAD:weights.safetensors"], join(rig.folder, "large"));
    if (!pointer.includes(`size ${size_bytes}`))
      report.fail(
        "99 small files and one of 10 GB",
        `the large file is no pointer: ${pointer.slice(0, 200)}`,
      );
    report.add({
      row: "99 small files and one of 10 GB, first clone",
      ours: cost.seconds,
      unit: "s",
      ...(tiny ? {} : { bar: 2 }),
    });
    report.add({ row: "  RSS growth", ours: cost.rssGrowth / MIB, unit: "MiB", bar: 150 });
    report.add({ row: "  contents read", ours: cost.contents, unit: "calls", bar: 99 });
  } finally {
    await server.stop();
  }
}

// Measuring ---------------------------------------------------------------------------------------

function startBeside({ lakefs: { access }, forwarder }: Rig, data: string): Promise<BenchServer> {
  return startServer(data, [], settingsOf(access, forwarder.url));
}

function settingsOf(
  { accessKeyId, secretAccessKey }: RunningLakefs["access"],
  endpoint: string,
): Record<string, string> {
  return {
    LAKEPACK_LAKEFS_ENDPOINT: endpoint,
    LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId,
    LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey,
    LAKEPACK_LAKEFS_POLL_SECONDS: "0", // what the clock asks belongs to no clone and no push
  };
}

function urlOf({ url }: BenchServer, name: string): string {
  return `${url}/lakefs/${name}.git`;
}

async function measured(
  { lakefs, forwarder }: Rig,
  server: BenchServer | undefined,
  work: () => Promise<number>,
): Promise<Cost> {
  const pids = server === undefined ? [] : [server.pid];
  const [calls, bytes, cpu] = [await callsOf(lakefs), forwarder.bytes(), cpuSeconds(pids)];
  const watch = new RssWatch(pids);
  const seconds = await work();
  const rssGrowth = watch.stop();
  const after = await callsOf(lakefs);
  const since = (operations: RegExp) =>
    [...after].reduce(
      (sum, [name, count]) => sum + (operations.test(name) ? count - (calls.get(name) ?? 0) : 0),
      0,
    );
  return {
    seconds,
    calls: since(/./),
    listing: since(/^(ListObjects|GetMetadataObject|DiffRefs)$/i),
    contents: since(/^GetObject$/i),
    bytes: forwarder.bytes() - bytes,
    cpu: cpuSeconds(pids) - cpu,
    rssGrowth,
  };
}

/** Calls that lakeFS has answered so far, by operation. */
async function callsOf({ access }: RunningLakefs): Promise<Map<string, number>> {
  const text = await (await fetch(`${access.endpoint}/metrics`)).text();
  const counts = new Map<string, number>();
  for (const [, operation, count] of text.matchAll(
    /^api_request_duration_seconds_count\{[^}]*operation="([^"]*)"[^}]*\} (\S+)$/gm,
  )) {
    counts.set(operation as string, (counts.get(operation as string) ?? 0) + Number(count));
  }
  return counts;
}

function lineOf({ seconds, calls, listing, contents, bytes, cpu, rssGrowth }: Cost): string {
  const figures = [
    `${seconds.toFixed(2)} s`.padStart(9),
    `${calls} calls (${listing} listing, ${contents} contents)`.padEnd(42),
    `${(bytes / MIB).toFixed(2)} MiB`.padStart(11),
    `CPU ${cpu.toFixed(2)} s`.padStart(12),
    `RSS +${Math.round(rssGrowth / MIB)} MiB`.padStart(13),
  ];
  return figures.join("  ");
}

function chartOf(
  title: string,
  unit: string,
  costs: ReadonlyMap<string, readonly [number, Cost][]>,
  value: (cost: Cost) => number,
): Chart {
  const series = [...costs].map(([name, points]) => ({
    name,
    points: points.map(([size, cost]) => [size, value(cost)] as const),
  }));
  return { title, unit, series };
}
