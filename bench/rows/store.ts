/**
 * The row `store`: what a push, a list of refs and clones cost with repositories in a bucket,
 * beside the disk store: requests to storage, seconds and CPU, at no latency and at longer lines.
 */
import { randomBytes } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { skipS3, startS3Server } from "../../test/support/s3-server.js";
import { git, timeGit } from "../git.js";
import { cpuSeconds, RssWatch } from "../process.js";
import { LS_REFS, postWhole, rawClone } from "../raw-clone.js";
import { median, type Report } from "../report.js";
import { type BenchServer, startServer } from "../server.js";
import { startSlowLine } from "../slow-line.js";
import type { BenchContext } from "./context.js";

const MIB = 1024 * 1024;
/** Milliseconds that a request is longer on its way. */
const LATENCIES = [0, 20, 80];
const PUSHES = 5;
const CLONES = 20;
const LISTS = 20;
const LARGE_BYTES = 256 * MIB;
const LARGE_TINY_BYTES = 40 * MIB;

interface Rig {
  readonly report: Report;
  readonly folder: string;
  readonly tiny: boolean;
  readonly endpoint: string;
  readonly env: Readonly<Record<string, string>>;
}

export async function storeRows({ report, folder, scale }: BenchContext): Promise<void> {
  if (skipS3 !== false) return report.fail("store", skipS3);
  const endings: (() => unknown)[] = [];
  try {
    const s3 = await startS3Server({
      teardown: (end) => void endings.push(end as () => unknown),
    });
    const rig = {
      report,
      folder: join(folder, "store"),
      tiny: scale === "tiny",
      endpoint: s3.endpoint,
      env: {
        AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
      },
    };
    await mkdir(rig.folder);
    const disk = await smallRows(rig, "disk", await startServer(join(rig.folder, "disk")));
    for (const ms of rig.tiny ? LATENCIES.slice(0, 2) : LATENCIES) {
      const line = await startSlowLine(s3.endpoint, ms);
      endings.push(() => line.stop());
      const env = { ...rig.env, LAKEPACK_S3_ENDPOINT: line.url };
      const start = (data: string) =>
        startServer(join(rig.folder, data), ["--store", `s3://${s3.bucket}/at-${ms}`], env);
      const data = `s3-${ms}`;
      const warm = await smallRows(rig, `S3 + ${ms} ms`, await start(data), ms);
      if (ms === 0) compare(rig, warm, disk);
      await largeRows(rig, ms, data, start);
    }
  } finally {
    for (const end of endings.reverse()) await end();
  }
}

interface Costs {
  /** Milliseconds of CPU of one repeated clone. */
  readonly cloneCpuMs: number;
}

/** A repository of some commits: pushes of one more, lists of refs, a clone again and again. */
async function smallRows(
  { report, folder }: Rig,
  name: string,
  server: BenchServer,
  ms?: number,
): Promise<Costs> {
  const work = join(folder, `work-${name.replace(/\W+/g, "-")}`);
  await mkdir(work);
  git(["init", "-q", "-b", "main"], work);
  const commit = async (text: string) => {
    await writeFile(join(work, "file.txt"), text);
    git(["add", "."], work);
    git(["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-q", "-m", text], work);
  };
  const url = `${server.url}/bench/small.git`;
  // Without stopping our own event loop: the line to the bucket is ours.
  const push = () => timeGit(["push", "-q", url, "HEAD:refs/heads/main"], work);
  await commit("first");
  await push();
  const pushed: Spent[] = [];
  for (let n = 0; n < PUSHES; n++) {
    await commit(`change ${n}`);
    pushed.push(await spent(server, push));
  }
  const listed: Spent[] = [];
  for (let n = 0; n < LISTS; n++) listed.push(await spent(server, () => postWhole(url, LS_REFS)));
  await rawClone(url);
  const cloned = await spent(server, async () => {
    for (let n = 0; n < CLONES; n++) await rawClone(url);
  });
  tell(report, `${name}: push of one commit`, pushed);
  tell(report, `${name}: list of refs`, listed);
  tell(report, `${name}: repeated clone`, [
    { ...cloned, seconds: cloned.seconds / CLONES, calls: cloned.calls / CLONES },
  ]);
  if (ms !== undefined) {
    const bar = (most: number) => ({ bar: most });
    // The fewest: upkeep after the push before is counted beside the others.
    const calls = (all: readonly Spent[]) => Math.min(...all.map((one) => one.calls));
    // Two requests of the client: refs are listed, then the pack is sent.
    const row = `${name}: requests of a push`;
    report.add({ row, ours: calls(pushed), unit: "calls", ...bar(6) });
    report.add({ row: "  of a list of refs", ours: calls(listed), unit: "calls", ...bar(1) });
    const each = cloned.calls / CLONES;
    report.add({ row: "  of a repeated clone", ours: each, unit: "calls", ...bar(2) });
  }
  await server.stop();
  return { cloneCpuMs: (cloned.cpu * 1_000) / CLONES };
}

function compare({ report, tiny }: Rig, ours: Costs, disk: Costs): void {
  report.add({
    row: "repeated clone of a warm node, CPU",
    ours: ours.cloneCpuMs,
    peer: disk.cloneCpuMs,
    peerName: "disk",
    unit: "ms",
    ...(tiny ? {} : { bar: 2 }),
  });
}

/** A pack that nobody here has a copy of: its first byte, and the memory that all of it takes. */
async function largeRows(
  { report, folder, tiny }: Rig,
  ms: number,
  data: string,
  start: (data: string) => Promise<BenchServer>,
): Promise<void> {
  const work = join(folder, "large");
  const bytes = tiny ? LARGE_TINY_BYTES : LARGE_BYTES;
  await rm(work, { recursive: true, force: true });
  await mkdir(work);
  git(["init", "-q", "-b", "main"], work);
  for (let at = 0; at * 4 * MIB < bytes; at++)
    await writeFile(join(work, `f${at}`), randomBytes(4 * MIB));
  git(["add", "."], work);
  git(["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-q", "-m", "large"], work);
  let server = await start(data);
  await timeGit(["push", "-q", `${server.url}/bench/large.git`, "HEAD:refs/heads/main"], work);
  await server.stop();
  await rm(join(folder, data, "store-cache"), { recursive: true, force: true });
  await rm(join(folder, data, "cache"), { recursive: true, force: true });
  server = await start(data);
  await postWhole(`${server.url}/bench/small.git`, LS_REFS); // connections are there
  const watch = new RssWatch([server.pid]);
  const before = await callsOf(server);
  const clone = await rawClone(`${server.url}/bench/large.git`, { checkTrailer: true });
  const rss = watch.stop();
  const calls = (await callsOf(server)) - before;
  await server.stop();
  if (clone.trailerIsRight !== true) return report.fail(`S3 + ${ms} ms: large`, "a wrong pack");
  const name = `S3 + ${ms} ms: cold clone of ${bytes / MIB} MiB`;
  report.add({
    row: `${name}, first byte`,
    ours: clone.firstByteMs,
    unit: "ms",
    ...(tiny || ms === 0 ? {} : { bar: 4 * ms + 250 }),
  });
  const most = Math.ceil(bytes / (8 * MIB)) + 8;
  report.add({ row: "  all of it", ours: clone.totalMs / 1_000, unit: "s" });
  report.add({ row: "  requests", ours: calls, unit: "calls", bar: most });
  report.add({
    row: "  RSS growth",
    ours: rss / MIB,
    unit: "MiB",
    ...(tiny ? {} : { bar: 300 }),
  });
}

interface Spent {
  readonly seconds: number;
  /** Seconds of CPU of the server. */
  readonly cpu: number;
  /** Requests to the object store; 0 on a disk. */
  readonly calls: number;
}

async function spent(server: BenchServer, work: () => Promise<unknown>): Promise<Spent> {
  const [calls, cpu, began] = [await callsOf(server), cpuSeconds([server.pid]), performance.now()];
  await work();
  const seconds = (performance.now() - began) / 1_000;
  return { seconds, cpu: cpuSeconds([server.pid]) - cpu, calls: (await callsOf(server)) - calls };
}

async function callsOf(server: BenchServer): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return [...text.matchAll(/^lakepack_store_calls_total\{[^}]*\} (\d+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
}

function tell(report: Report, row: string, all: readonly Spent[]): void {
  report.add({ row, ours: median(all.map(({ seconds }) => seconds)) * 1_000, unit: "ms" });
}
