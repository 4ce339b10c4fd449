/**
 * The row `refs`: ls-refs with 3 and with 10,000 refs, one request after the other on one
 * connection, beside `git http-backend` with packed refs.
 */
import { Agent } from "node:http";
import { join } from "node:path";
import { git, timeGit } from "../git.js";
import { makePeerRepository } from "../peer.js";
import { cpuSeconds } from "../process.js";
import { LS_REFS, postWhole } from "../raw-clone.js";
import { median } from "../report.js";
import { startServer } from "../server.js";
import type { BenchContext } from "./context.js";
import { cpuOf } from "./pair.js";

/** Milliseconds that an answer of three refs may take. */
const FEW_BAR_MS = 0.5;
const MANY_BAR = 0.2;

export async function refsRows(context: BenchContext): Promise<void> {
  const { peer, report, scale, folder } = context;
  if (peer === undefined)
    return report.fail("ls-refs", "the peer (nginx, fcgiwrap, git http-backend) is not installed");
  const server = await startServer(join(folder, "refs-data"));
  try {
    for (const refs of scale === "tiny" ? [3, 50] : [3, 10_000]) {
      const source = manyRefs(folder, refs);
      makePeerRepository(peer, `refs-${refs}`);
      const urls = {
        ours: `${server.url}/bench/refs-${refs}.git`,
        theirs: `${peer.url}/refs-${refs}.git`,
      };
      await timeGit(["push", "--quiet", urls.ours, "refs/*:refs/*"], source);
      // How refs get there is not measured, and 10,000 loose ones, each synced, would take a
      // minute.
      const theirs = join(peer.repositories, `refs-${refs}.git`);
      git(["-c", "core.fsync=none", "fetch", "--quiet", source, "refs/*:refs/*"], theirs);
      git(["pack-refs", "--all"], theirs);
      const requests = scale === "tiny" ? 5 : refs > 100 ? 100 : 1_000;
      const mine = await measure(urls.ours, () => cpuSeconds([server.pid]), requests);
      const peers = await measure(urls.theirs, peer.cpuSeconds, Math.min(requests, 100));
      if (mine.bytes !== peers.bytes)
        report.fail(`ls-refs, ${refs} refs`, `answers of ${mine.bytes} and ${peers.bytes} bytes`);
      const row = `ls-refs, ${refs.toLocaleString("en")} refs`;
      const few = refs <= 100;
      report.add({
        row: `${row}, wall`,
        ours: mine.wallMs,
        peer: peers.wallMs,
        unit: "ms",
        ...(scale === "full" && !few ? { bar: MANY_BAR } : {}),
      });
      report.add({
        row: `${row}, server CPU`,
        ours: mine.cpuMs,
        peer: peers.cpuMs,
        unit: "ms",
        ...(scale === "full" && !few ? { bar: MANY_BAR } : {}),
      });
      if (few && scale === "full")
        report.add({ row: "  and by itself", ours: mine.wallMs, unit: "ms", bar: FEW_BAR_MS });
    }
  } finally {
    await server.stop();
  }
}

/**
 * A repository of one commit with so many refs: `main`, branches, and annotated tags for every
 * tenth.
 */
function manyRefs(folder: string, count: number): string {
  const path = join(folder, `refs-source-${count}.git`);
  git(["init", "--quiet", "--bare", "--initial-branch=main", path], folder);
  const tree = git(["mktree"], path, "").trim();
  const commit = git(["commit-tree", tree, "-m", "one"], path).trim();
  git(["tag", "-a", "-m", "a tag", "v1", commit], path);
  const tag = git(["rev-parse", "v1"], path).trim();
  const lines = Array.from({ length: count - 2 }, (_, n) =>
    n % 10 === 9
      ? `create refs/tags/t${n} ${tag}\n`
      : `create refs/heads/topic/branch-${n} ${commit}\n`,
  );
  git(["update-ref", "--stdin"], path, `create refs/heads/main ${commit}\n${lines.join("")}`);
  return path;
}

interface Measured {
  /** Median of one answer. */
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly bytes: number;
}

async function measure(url: string, cpu: () => number, requests: number): Promise<Measured> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const { length: bytes } = await postWhole(url, LS_REFS, { agent });
  const walls: number[] = [];
  const used = await cpuOf(cpu, async () => {
    for (let n = 0; n < requests; n++) {
      const start = performance.now();
      await postWhole(url, LS_REFS, { agent });
      walls.push(performance.now() - start);
    }
  });
  agent.destroy();
  return { wallMs: median(walls), cpuMs: (used * 1_000) / requests, bytes };
}
