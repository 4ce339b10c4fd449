/**
 * The row `crowd`: 16 and 64 clones of one repository at once, beside `git http-backend` (repacked)
 * and beside the same with kept packs. The readers are one `curl --parallel`, which costs little,
 * takes all bytes and looks at none.
 */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { fetchBody, listTips } from "../raw-clone.js";
import { median } from "../report.js";
import { startServer } from "../server.js";
import type { BenchContext } from "./context.js";
import { cpuOf, oursCpu, type Pair, pushBoth } from "./pair.js";

/** Time of ours over the peer's: 2.5 times the clones a second, and 5 times. */
const CACHED_BAR = 1 / 2.5;
const BACKEND_BAR = 1 / 5;
const RUNS = 3;

interface Measured {
  readonly secondsPerClone: number;
  readonly cpuPerClone: number;
}

export async function crowdRows(context: BenchContext): Promise<void> {
  const { peer, report, scale } = context;
  if (peer === undefined)
    return report.fail(
      "clones at once",
      "the peer (nginx, fcgiwrap, git http-backend) is not installed",
    );
  const server = await startServer(join(context.folder, "crowd-data"));
  try {
    const pair = await pushBoth(context, "code", server, peer, "crowd");
    const body = join(context.folder, "crowd.request");
    await writeFile(body, fetchBody((await listTips(pair.ours)).map((oid) => `want ${oid}`)));
    for (const clones of scale === "tiny" ? [2] : [16, 64])
      await clonesRow(context, pair, body, clones);
  } finally {
    await server.stop();
  }
}

async function clonesRow(
  { report, scale }: BenchContext,
  pair: Pair,
  body: string,
  clones: number,
): Promise<void> {
  const { ours, theirs, theirsCached, peer } = pair;
  const measure = (url: string, cpu: () => number, runs: number) =>
    crowd(url, body, clones, cpu, runs);
  const [mine, cached] = await inTurn(
    scale === "tiny" ? 1 : RUNS,
    () => measure(ours, oursCpu(pair), 1),
    () => measure(theirsCached, peer.cpuSeconds, 1),
  );
  const backend = await measure(theirs, peer.cpuSeconds, 1);
  const bar = (ratio: number) => (scale === "tiny" ? {} : { bar: ratio });
  const row = `${clones} clones of code at once`;
  const second = (value: number) => value * 1_000;
  report.add({
    row: `${row}, wall a clone`,
    ours: second(mine.secondsPerClone),
    peer: second(cached.secondsPerClone),
    peerName: "git with kept packs",
    unit: "ms",
    ...bar(CACHED_BAR),
  });
  report.add({
    row: "  beside git without",
    ours: second(mine.secondsPerClone),
    peer: second(backend.secondsPerClone),
    unit: "ms",
    ...bar(BACKEND_BAR),
  });
  report.add({
    row: "  server CPU a clone",
    ours: second(mine.cpuPerClone),
    peer: second(cached.cpuPerClone),
    peerName: "git with kept packs",
    unit: "ms",
  });
}

/**
 * Both in turn, so that what else the machine does meets both; of each the run of the median ratio
 * in wall time.
 */
async function inTurn(
  runs: number,
  one: () => Promise<Measured>,
  other: () => Promise<Measured>,
): Promise<readonly [Measured, Measured]> {
  await one();
  await other(); // the first of each fills its cache
  const pairs: (readonly [Measured, Measured])[] = [];
  for (let run = 0; run < runs; run++) pairs.push([await one(), await other()]);
  const ratioOf = ([left, right]: readonly [Measured, Measured]) =>
    left.secondsPerClone / right.secondsPerClone;
  const middle = median(pairs.map(ratioOf));
  return pairs.find((pair) => ratioOf(pair) === middle) as readonly [Measured, Measured];
}

async function crowd(
  url: string,
  body: string,
  clones: number,
  cpu: () => number,
  runs: number,
): Promise<Measured> {
  const start = performance.now();
  let seconds = 0;
  const used = await cpuOf(cpu, async () => {
    for (let run = 0; run < runs; run++) await readAll(url, body, clones);
    seconds = (performance.now() - start) / 1_000;
  });
  return { secondsPerClone: seconds / (clones * runs), cpuPerClone: used / (clones * runs) };
}

const execute = promisify(execFile);

/**
 * Throws where one of the answers is an error, or where their lengths differ by more than progress
 * and framing may.
 */
async function readAll(url: string, body: string, clones: number): Promise<void> {
  const head = [
    "--silent",
    "--fail",
    "--no-keepalive",
    "--data-binary",
    `@${body}`,
    "--header",
    "Content-Type: application/x-git-upload-pack-request",
    "--header",
    "Git-Protocol: version=2",
    "--header",
    "Expect:",
  ];
  const each = Array.from({ length: clones }, () => [
    "--output",
    "/dev/null",
    `${url}/git-upload-pack`,
  ]).flat();
  const parallel = [
    "--parallel",
    "--parallel-immediate",
    "--parallel-max",
    String(clones),
    "--write-out",
    "%{size_download}\n",
  ];
  const { stdout } = await execute("curl", [...parallel, ...head, ...each]);
  const sizes = stdout.trim().split("\n").map(Number);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  if (sizes.length !== clones || least < 1_000 || most > least * 1.01)
    throw new Error(`${sizes.length} answers of ${least} to ${most} bytes`);
}
