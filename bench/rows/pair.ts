/** The same history on our server and on the peer, pushed by the same git. */
import { setTimeout as sleep } from "node:timers/promises";
import type { CorpusName } from "../corpus.js";
import { git, timeGit } from "../git.js";
import { makePeerRepository, type Peer } from "../peer.js";
import { cpuSeconds } from "../process.js";
import type { BenchServer } from "../server.js";
import type { BenchContext } from "./context.js";

export interface Pair {
  readonly server: BenchServer;
  readonly peer: Peer;
  readonly ours: string;
  readonly theirs: string;
  /** The peer's with kept packs. */
  readonly theirsCached: string;
  readonly corpus: string;
  readonly peerPath: string;
}

/** The whole corpus is pushed to both; the peer is then repacked as a careful operator does. */
export async function pushBoth(
  context: BenchContext,
  name: CorpusName,
  server: BenchServer,
  peer: Peer,
  title: string = name,
): Promise<Pair> {
  const corpus = await context.corpus(name);
  const peerPath = makePeerRepository(peer, title);
  const ours = `${server.url}/bench/${title}.git`;
  const theirs = `${peer.url}/${title}.git`;
  await timeGit(["push", "--quiet", ours, "main"], corpus);
  await timeGit(["push", "--quiet", theirs, "main"], corpus);
  repack(peerPath);
  return {
    server,
    peer,
    ours,
    theirs,
    theirsCached: `${peer.cachedUrl}/${title}.git`,
    corpus,
    peerPath,
  };
}

export function repack(path: string): void {
  git(["repack", "-adfq", "--write-bitmap-index"], path);
  git(["commit-graph", "write", "--reachable"], path);
}

/**
 * CPU seconds of a server while something runs; the peer's processes write theirs down a moment
 * after their answer.
 */
export async function cpuOf(cpu: () => number, work: () => Promise<unknown>): Promise<number> {
  const before = cpu();
  await work();
  await sleep(100);
  return cpu() - before;
}

export function oursCpu({ server }: Pair): () => number {
  return () => cpuSeconds([server.pid]);
}
