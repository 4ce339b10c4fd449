/**
 * The row `fetch`: what is not a whole clone: a client 1 and 50 commits behind, depth 1,
 * `blob:none`; CPU and bytes beside the repacked peer.
 */
import { join } from "node:path";
import { git } from "../git.js";
import { rawClone, type RawCloneOptions } from "../raw-clone.js";
import { startServer } from "../server.js";
import type { BenchContext } from "./context.js";
import { cpuOf, oursCpu, type Pair, pushBoth } from "./pair.js";

export async function fetchRows(context: BenchContext): Promise<void> {
  const { peer, report, scale, folder } = context;
  if (peer === undefined)
    return report.fail("fetches", "the peer (nginx, fcgiwrap, git http-backend) is not installed");
  const server = await startServer(join(folder, "fetch-data"));
  try {
    const pair = await pushBoth(context, "code", server, peer, "fetch");
    const runs = scale === "tiny" ? 2 : 20;
    const line = git(
      ["rev-list", "--first-parent", "main", `--max-count=${runs + OLDER + 1}`],
      pair.corpus,
    )
      .trim()
      .split("\n");
    for (const behind of scale === "tiny" ? [1] : [1, 50]) {
      // The tip is wanted, as by clients. An older commit that they have too makes each a request
      // that the response cache has not seen.
      const older = (n: number) => line[Math.min(OLDER + n, line.length - 1)] as string;
      const each = Array.from({ length: runs }, (_, n) => ({
        wants: [line[0] as string],
        haves: [line[behind] as string, older(n)],
        lines: ["thin-pack"],
      }));
      await row(
        context,
        pair,
        `fetch, ${behind} commit${behind > 1 ? "s" : ""} behind`,
        each,
        each,
        { cpu: 1, bytes: 1.1 },
      );
    }
    // The first want that is no tip, in a new state of the refs: what is reachable is counted, and
    // later fetches look it up.
    const counting = [
      { wants: [line[1] as string], haves: [line[2] as string], lines: ["thin-pack"] },
    ];
    await row(context, pair, "first fetch of what is no tip", counting, counting, {});
    const tip = { wants: [line[0] as string] };
    const shallow = { ...tip, lines: ["deepen 1"] };
    await row(context, pair, "depth 1, first", [shallow], [shallow], { cpu: 0.5 });
    await row(
      context,
      pair,
      "depth 1, repeated",
      Array.from({ length: runs }, () => shallow),
      [shallow, shallow],
      { cpu: 0.05 },
    );
    const partial = { ...tip, lines: ["filter blob:none"] };
    await row(context, pair, "blob:none, first", [partial], [partial, partial], { cpu: 1 });
    await row(
      context,
      pair,
      "blob:none, repeated",
      Array.from({ length: runs }, () => partial),
      [partial, partial],
      { cpu: 1 },
    );
    const other = { wants: [line[1] as string] };
    await row(
      context,
      pair,
      "clone of a commit that is no tip, first",
      [other],
      [other, other],
      {},
    );
  } finally {
    await server.stop();
  }
}

/** Commits behind the tip where the further haves begin. */
const OLDER = 100;

interface Bars {
  readonly cpu?: number;
  readonly bytes?: number;
}

async function row(
  { report, scale }: BenchContext,
  pair: Pair,
  name: string,
  ours: readonly RawCloneOptions[],
  theirs: readonly RawCloneOptions[],
  bars: Bars,
): Promise<void> {
  const mine = await measure(pair.ours, oursCpu(pair), ours);
  const peers = await measure(pair.theirs, pair.peer.cpuSeconds, theirs);
  const bar = (value: number | undefined) =>
    scale === "tiny" || value === undefined ? {} : { bar: value };
  report.add({
    row: `${name}, server CPU`,
    ours: mine.cpuMs,
    peer: peers.cpuMs,
    unit: "ms",
    ...bar(bars.cpu),
  });
  report.add({
    row: "  first pack byte",
    ours: mine.firstByteMs,
    peer: peers.firstByteMs,
    unit: "ms",
  });
  report.add({
    row: "  pack",
    ours: mine.bytes / 1_024,
    peer: peers.bytes / 1_024,
    unit: "KiB",
    ...bar(bars.bytes),
  });
}

interface Measured {
  readonly cpuMs: number;
  readonly firstByteMs: number;
  readonly bytes: number;
}

/** Means. */
async function measure(
  url: string,
  cpu: () => number,
  requests: readonly RawCloneOptions[],
): Promise<Measured> {
  let [bytes, firstByteMs] = [0, 0];
  const used = await cpuOf(cpu, async () => {
    for (const request of requests) {
      const clone = await rawClone(url, request);
      bytes += clone.packBytes;
      firstByteMs += clone.firstByteMs;
    }
  });
  const { length } = requests;
  return {
    cpuMs: (used * 1_000) / length,
    firstByteMs: firstByteMs / length,
    bytes: bytes / length,
  };
}
