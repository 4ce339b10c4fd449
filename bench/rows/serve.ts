/**
 * Clones beside the peer: repeated, first after a push, many at once. Both serve the same history,
 * pushed by the same git.
 */
import { join } from "node:path";
import type { CorpusName } from "../corpus.js";
import { git, timeGit } from "../git.js";
import { makePeerRepository } from "../peer.js";
import { cpuSeconds, RssWatch } from "../process.js";
import { listTips, type RawClone, rawClone } from "../raw-clone.js";
import { median } from "../report.js";
import { startServer } from "../server.js";
import type { BenchContext } from "./context.js";
import { type Pair, pushBoth } from "./pair.js";

const MIB = 1024 * 1024;

export async function serveRows(context: BenchContext): Promise<void> {
  const { peer, report } = context;
  if (peer === undefined)
    return report.fail("clones", "the peer (nginx, fcgiwrap, git http-backend) is not installed");
  const server = await startServer(join(context.folder, "serve-data"));
  try {
    for (const name of ["code", "dataset"] as const) {
      const pair = await pushBoth(context, name, server, peer);
      await firstByteRow(context, name, pair);
      await repeatedRow(context, name, pair);
    }
  } finally {
    await server.stop();
  }
}

async function firstByteRow(
  { report, scale }: BenchContext,
  name: CorpusName,
  { ours, theirs }: Pair,
): Promise<void> {
  const mine = await rawClone(ours);
  const peers = await rawClone(theirs);
  const bar = scale === "tiny" ? {} : { bar: 1.5 };
  report.add({
    row: `first clone of ${name}, first pack byte`,
    ours: mine.firstByteMs,
    peer: peers.firstByteMs,
    unit: "ms",
    ...bar,
  });
}

async function repeatedRow(
  { report, scale }: BenchContext,
  name: CorpusName,
  pair: Pair,
): Promise<void> {
  const runs = scale === "tiny" ? 3 : 10;
  const [ours, peers] = await Promise.all([listTips(pair.ours), listTips(pair.theirs)]);
  await rawClone(pair.theirs, { wants: peers });
  const mine = await cpuPerMib(
    () => cpuSeconds([pair.server.pid]),
    runs * 3,
    () => rawClone(pair.ours, { wants: ours }),
  );
  const theirs = await cpuPerMib(pair.peer.cpuSeconds, runs, () =>
    rawClone(pair.theirs, { wants: peers }),
  );
  const bar = scale === "tiny" ? {} : { bar: 0.15 };
  report.add({
    row: `repeated clone of ${name}, server CPU`,
    ours: mine,
    peer: theirs,
    unit: "ms/MiB",
    ...bar,
  });
}

async function cpuPerMib(
  cpu: () => number,
  runs: number,
  clone: () => Promise<RawClone>,
): Promise<number> {
  const before = cpu();
  let bytes = 0;
  for (let run = 0; run < runs; run++) bytes += (await clone()).packBytes;
  return ((cpu() - before) * 1000) / (bytes / MIB);
}

/**
 * 16 clones at once of one large pack: 15 raw readers that check the trailer and one stock git.
 * Memory must stay flat.
 */
export async function memoryRow(context: BenchContext): Promise<void> {
  const { report, scale, folder } = context;
  const corpus = await context.corpus("blobs");
  const server = await startServer(join(folder, "memory-data"));
  try {
    const url = `${server.url}/bench/blobs.git`;
    await timeGit(["push", "--quiet", url, "main"], corpus);
    const wants = await listTips(url);
    // A depth is no stored pack: it is made, and should be on its way long before it is whole.
    const generated = await rawClone(url, { wants, lines: ["deepen 1"] });
    const bar = scale === "tiny" ? {} : { bar: 0.1 };
    report.add({
      row: "generated clone of the blobs, first pack byte",
      ours: generated.firstByteMs,
      peer: generated.totalMs,
      peerName: "all of it",
      unit: "ms",
      ...bar,
    });
    const watch = new RssWatch([server.pid]);
    const raw = Array.from({ length: 15 }, () => rawClone(url, { wants, checkTrailer: true }));
    const stock = timeGit(
      ["clone", "--quiet", "--bare", url, join(folder, "stock-clone.git")],
      folder,
    );
    const clones = await Promise.all(raw);
    await stock;
    const growth = watch.stop() / MIB;
    if (!clones.every((clone) => clone.trailerIsRight))
      report.fail("16 clones at once", "a pack's trailer is wrong");
    report.add({
      row: "16 clones at once of the blobs, RSS growth",
      ours: growth,
      unit: "MiB",
      bar: 300,
    });
    report.add({
      row: "  of packs of",
      ours: (clones[0] as RawClone).packBytes / MIB,
      unit: "MiB",
    });
  } finally {
    await server.stop();
  }
  if (scale === "full") git(["fsck", "--full", "--strict"], join(folder, "stock-clone.git"));
}

/** One push of all the blobs, durable in both, with fsck. */
export async function pushRow(context: BenchContext): Promise<void> {
  const { report, peer, folder, scale } = context;
  if (peer === undefined) return report.fail("push of the blobs", "the peer is not installed");
  const corpus = await context.corpus("blobs");
  const server = await startServer(join(folder, "push-data"));
  try {
    const ratios: { ours: number; theirs: number; cpu: number; peerCpu: number; growth: number }[] =
      [];
    for (let run = 0; run < (scale === "tiny" ? 1 : 3); run++) {
      makePeerRepository(peer, `push-${run}`);
      const peerCpu = peer.cpuSeconds();
      const theirs = await timeGit(
        ["push", "--quiet", `${peer.url}/push-${run}.git`, "main"],
        corpus,
      );
      const peerUsed = peer.cpuSeconds() - peerCpu;
      const cpu = cpuSeconds([server.pid]);
      const watch = new RssWatch([server.pid]);
      const ours = await timeGit(
        ["push", "--quiet", `${server.url}/bench/push-${run}.git`, "main"],
        corpus,
      );
      ratios.push({
        ours,
        theirs,
        cpu: cpuSeconds([server.pid]) - cpu,
        peerCpu: peerUsed,
        growth: watch.stop() / MIB,
      });
    }
    const middle = median(ratios.map(({ ours, theirs }) => ours / theirs));
    const run = ratios.find(
      ({ ours, theirs }) => ours / theirs === middle,
    ) as (typeof ratios)[number];
    const bar = scale === "tiny" ? {} : { bar: 1 };
    report.add({
      row: "push of the blobs, wall",
      ours: run.ours,
      peer: run.theirs,
      unit: "s",
      ...bar,
    });
    report.add({
      row: "push of the blobs, server CPU",
      ours: run.cpu,
      peer: run.peerCpu,
      unit: "s",
    });
    report.add({
      row: "push of the blobs, RSS growth",
      ours: Math.max(...ratios.map(({ growth }) => growth)),
      unit: "MiB",
      bar: 300,
    });
  } finally {
    await server.stop();
  }
}
