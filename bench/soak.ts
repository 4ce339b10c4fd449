/**
 * `npm run soak [-- minutes [file.svg [pushes]]]`: clones, fetches, pushes and clients that break
 * off, at one server for so long (30 minutes); every ten seconds its resident memory and
 * descriptors, drawn into the file. Fails where either still grows in the second half by more than
 * a tenth, or where an honest client fails. `npm run soak -- lakefs …`: soak-lakefs.ts. A
 * repository gets so many pushes (no end), then a new one takes its place: memory follows what a
 * repository holds, and what is left of the old ones would show.
 */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readFileSync, readdirSync } from "node:fs";
import { drawTimelines } from "./chart.js";
import { faultIn } from "./check-reply.js";
import { timeGit } from "./git.js";
import { fetchBody, listTips, postWhole } from "./raw-clone.js";
import { startServer } from "./server.js";
import { soakLakefs } from "./soak-lakefs.js";

interface Sample {
  readonly seconds: number;
  readonly rssMiB: number;
  readonly descriptors: number;
}

const EVERY_MS = 10_000;
/** Growth that may be told apart from noise. */
const GROWTH_MAX = 1.1;
const DESCRIPTORS_SLACK = 20;

async function main(
  minutes: number,
  drawing: string | undefined,
  pushesEach: number,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-soak-"));
  const server = await startServer(join(folder, "data"));
  const until = Date.now() + minutes * 60_000;
  const counts = { clones: 0, read: 0, pushes: 0, broken: 0 };
  try {
    const samples: Sample[] = [];
    const target: Target = { url: `${server.url}/soak/0.git` };
    const pushing = push(join(folder, "work"), target, until, counts, pushesEach);
    await Promise.all(
      [
        pushing,
        read(target, until, counts),
        breakOff(server.url, until, counts),
        watch(server.pid, until, samples),
      ].concat([0, 1].map((at) => clone(target, join(folder, `copy-${at}`), until, counts))),
    );
    if (drawing !== undefined) await writeFile(drawing, draw(samples));
    report(samples, counts, (await readdir(join(folder, "data/incoming"))).length);
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

type Counts = { clones: number; read: number; pushes: number; broken: number };

/** The server that everybody goes to now. */
type Target = { url: string };

async function push(
  work: string,
  target: Target,
  until: number,
  counts: Counts,
  pushesEach: number,
): Promise<void> {
  const base = new URL(target.url).origin;
  for (; Date.now() < until; counts.pushes++) {
    const url = `${base}/soak/${Math.floor(counts.pushes / pushesEach)}.git`;
    if (counts.pushes === 0 || url !== target.url) {
      await rm(work, { recursive: true, force: true });
      await timeGit(["init", "-q", "-b", "main", work], tmpdir());
    }
    await mkdir(join(work, "d"), { recursive: true });
    await writeFile(
      join(work, "d", `${counts.pushes % 500}.txt`),
      `${counts.pushes} ${"x".repeat(2_000)}\n`,
    );
    await timeGit(["add", "-A"], work);
    await timeGit(["commit", "-q", "-m", `change ${counts.pushes}`], work);
    await timeGit(["push", "-q", url, "HEAD:main"], work);
    target.url = url;
    await sleep(300);
  }
}

async function clone(target: Target, path: string, until: number, counts: Counts): Promise<void> {
  await sleep(3_000);
  for (; Date.now() < until; counts.clones++) {
    await timeGit(
      [
        "clone",
        "-q",
        "--bare",
        ...(counts.clones % 3 === 0 ? [`--depth=${1 + (counts.clones % 7)}`] : []),
        target.url,
        path,
      ],
      tmpdir(),
    );
    await rm(path, { recursive: true });
    await sleep(200);
  }
}

/** Clones that only read, every line and the whole pack; a reply that is wrong is kept. */
async function read(target: Target, until: number, counts: Counts): Promise<void> {
  await sleep(3_000);
  for (; Date.now() < until; counts.read++) {
    const { url } = target;
    const [tip] = await listTips(url);
    const depth = counts.read % 3 === 0 ? [`deepen ${1 + (counts.read % 7)}`] : [];
    const reply = await postWhole(url, fetchBody([`want ${tip}`, ...depth]));
    const fault = faultIn(reply);
    if (fault !== undefined) {
      const kept = join(tmpdir(), `lakepack-soak-reply-${Date.now()}.bin`);
      await writeFile(kept, reply);
      throw new Error(`a reply is wrong: ${fault}; it is kept in ${kept}`);
    }
    await sleep(100);
  }
}

/** Uploads that end in the middle of their pack. */
async function breakOff(url: string, until: number, counts: Counts): Promise<void> {
  const { port } = new URL(url);
  const line = `${"0".repeat(40)} ${"1".repeat(40)} refs/heads/never\0report-status`;
  for (; Date.now() < until; counts.broken++) {
    const socket = connect(Number(port), "127.0.0.1");
    socket.on("error", () => socket.destroy());
    socket.write(
      `POST /soak/0.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-receive-pack-request\r\nContent-Length: 1000000\r\n\r\n`,
    );
    socket.write(`${(line.length + 4).toString(16).padStart(4, "0")}${line}0000PACK`);
    await sleep(50);
    if (counts.broken % 2 === 0) socket.resetAndDestroy();
    else socket.destroy();
  }
}

async function watch(pid: number, until: number, samples: Sample[]): Promise<void> {
  const started = Date.now();
  for (; Date.now() < until; await sleep(Math.min(EVERY_MS, Math.max(0, until - Date.now())))) {
    const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    const sample = {
      seconds: Math.round((Date.now() - started) / 1_000),
      rssMiB: Math.round(Number(rss) / 1_024),
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
    };
    samples.push(sample);
    process.stdout.write(
      `${sample.seconds} s\t${sample.rssMiB} MiB\t${sample.descriptors} descriptors\n`,
    );
  }
}

function report(samples: readonly Sample[], counts: Counts, left: number): void {
  const half = samples.slice(samples.length >> 1);
  const middle = (of: readonly Sample[], key: "rssMiB" | "descriptors") =>
    of.map((one) => one[key]).sort((a, b) => a - b)[of.length >> 1] ?? 0;
  const [third, fourth] = [half.slice(0, half.length >> 1), half.slice(half.length >> 1)];
  const [rssBefore, rssAfter] = [middle(third, "rssMiB"), middle(fourth, "rssMiB")];
  const [fdBefore, fdAfter] = [middle(third, "descriptors"), middle(fourth, "descriptors")];
  process.stdout.write(
    `${counts.clones} clones, ${counts.read} replies read, ${counts.pushes} pushes, ${counts.broken} broken off; third and last quarter: ${rssBefore} and ${rssAfter} MiB, ${fdBefore} and ${fdAfter} descriptors; ${left} folders left\n`,
  );
  if (rssAfter > rssBefore * GROWTH_MAX || fdAfter > fdBefore + DESCRIPTORS_SLACK || left > 1)
    process.exitCode = 1;
}

function draw(samples: readonly Sample[]): string {
  const line = (title: string, unit: string, key: "rssMiB" | "descriptors") => ({
    title,
    unit,
    points: samples.map((one) => [one.seconds, one[key]] as const),
  });
  return drawTimelines([
    line("resident memory", "MiB", "rssMiB"),
    line("descriptors", "open", "descriptors"),
  ]);
}

if (process.argv[2] === "lakefs") await soakLakefs(Number(process.argv[3] ?? 10), process.argv[4]);
else
  await main(
    Number(process.argv[2] ?? 30),
    process.argv[3],
    Number(process.argv[4] ?? Number.POSITIVE_INFINITY),
  );
