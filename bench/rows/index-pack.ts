/**
 * Index a pushed pack: our ingest with warm threads beside `git index-pack --strict --threads=2`,
 * fsck on in both; and the row `pool`.
 */
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { indexPackFile } from "../../src/odb/index-pack/file.js";
import { createPool, type ThreadPool } from "../../src/pool/pool.js";
import type { CorpusName } from "../corpus.js";
import { git, timeGit } from "../git.js";
import { median } from "../report.js";
import type { BenchContext } from "./context.js";

const RUNS = 3;
const BAR = 0.5;

export async function indexRows(context: BenchContext): Promise<void> {
  const kernelsModule = await loadKernels();
  const pool = createPool({ kernelsModule, threads: 2 });
  try {
    for (const name of ["code", "dataset", "blobs"] as const) await indexRow(context, name, pool);
  } finally {
    await pool.close();
  }
}

async function indexRow(context: BenchContext, name: CorpusName, pool: ThreadPool): Promise<void> {
  const folder = join(context.folder, `index-${name}`);
  await mkdir(folder, { recursive: true });
  const pack = await copyPack(await context.corpus(name), folder);
  await indexOnce(pack, folder, pool); // warm: kernels reach their fast tier, as in a server that has run for a while
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    theirs.push(await indexByGit(pack, join(folder, `peer-${run}.git`)));
    ours.push(await indexOnce(pack, folder, pool));
  }
  const ratios = ours.map((seconds, run) => seconds / (theirs[run] as number));
  const middle = ratios.indexOf(median(ratios));
  const bar = name === "blobs" || context.scale === "tiny" ? {} : { bar: BAR };
  context.report.add({
    row: `index ${name}, 2 threads, wall`,
    ours: ours[middle] as number,
    peer: theirs[middle] as number,
    unit: "s",
    ...bar,
  });
}

/**
 * Wall seconds. In a fresh repository: outside of one, git 2.39 dies of --strict on some packs, and
 * one that holds the objects flatters it.
 */
async function indexByGit(pack: string, repository: string): Promise<number> {
  await mkdir(repository, { recursive: true });
  git(["init", "--quiet", "--bare", "."], repository);
  const seconds = await timeGit(
    ["index-pack", "--strict", "--threads=2", "--stdin"],
    repository,
    pack,
  );
  await rm(repository, { recursive: true, force: true });
  return seconds;
}

/** Wall seconds. */
export async function indexOnce(pack: string, folder: string, pool: ThreadPool): Promise<number> {
  const work = join(folder, "work");
  const start = performance.now();
  await indexPackFile(pack, { pool, folder: work, fsck: true });
  const seconds = (performance.now() - start) / 1000;
  await rm(work, { recursive: true, force: true });
  return seconds;
}

export async function copyPack(repository: string, folder: string): Promise<string> {
  const packs = join(repository, "objects/pack");
  const name = (await readdir(packs)).find((file) => file.endsWith(".pack"));
  if (name === undefined) throw new Error(`no pack in ${repository}`);
  await copyFile(join(packs, name), join(folder, "input.pack"));
  return join(folder, "input.pack");
}
