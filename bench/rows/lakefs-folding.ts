/**
 * Part of the row `lakefs`: one-file commits that are made in lakeFS and read one at a time, each
 * into a pack of its own. What they come to in the store beside what stock git makes of the same,
 * and what a clone costs beside one of a single pack.
 */
import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  historyBytes,
  readRefs,
  repackedByGit,
  StoredSide,
} from "../../test/support/lakefs-folding.js";
import { prefixOf } from "../../test/support/harness.js";
import { GeneratedLake, oneFileListing } from "../../test/support/generated-objects.js";
import type { RunningLakefs } from "../../test/support/lakefs-servers.js";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { toHandles } from "../../src/odb/packs/handle.js";
import { startIngest } from "../../src/odb/index-pack/spool.js";
import { indexPackFile } from "../../src/odb/index-pack/file.js";
import { ManifestObjects } from "../../src/odb/manifest/objects.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import { PackChecks } from "../../src/odb/packs/checks.js";
import { PackTables } from "../../src/odb/packs/tables.js";
import { createPool } from "../../src/pool/pool.js";
import { DiskStore } from "../../src/store/disk.js";
import { timeGit } from "../git.js";
import { cpuSeconds } from "../process.js";
import { median, type Report } from "../report.js";
import type { BenchServer } from "../server.js";
import { foldTask } from "../../src/odb/pack-objects/tasks.js";

export interface FoldingRig {
  readonly report: Report;
  readonly folder: string;
  readonly tiny: boolean;
  /** A lakepack that asks this lakeFS, and only when it is asked itself. */
  readonly start: (data: string, lakefs: RunningLakefs) => Promise<BenchServer>;
}

export async function foldingRows({ report, folder, tiny, start }: FoldingRig): Promise<void> {
  const [commits, files] = tiny ? [30, 60] : [10_000, 1_000];
  const endings: (() => unknown)[] = [];
  try {
    const lake = await GeneratedLake.start({
      teardown: (end) => void endings.push(end as () => unknown),
    });
    const data = join(folder, "data-folding");
    const beside = (where: string) => start(where, lake.proxy.server);
    const server = await beside(data);
    const { name } = lake.source;
    const stored = new StoredSide({ data }, name);
    const most = await readOneByOne(lake, server, stored, { commits, files });
    const bar = (largest: number) => (tiny ? {} : { bar: largest });
    report.add({
      row: `${commits} lakeFS commits read one at a time, packs`,
      ours: most.packs,
      unit: "at most",
      ...bar(40),
    });
    report.add({ row: "  manifest", ours: most.manifest, unit: "bytes at most", bar: 65_536 });
    await stored.collect();
    const mirror = await repackedByGit(
      `${server.url}/lakefs/${name}.git`,
      join(folder, "folding-mirror.git"),
    );
    report.add({
      row: "  trees and commits in packs",
      ours: await stored.historyBytes(),
      peer: historyBytes(mirror),
      peerName: "git repack -adf",
      unit: "bytes",
      ...bar(1.5),
    });
    await server.stop();
    const { ours, one } = await clonesBeside({
      data,
      name,
      folder,
      start: beside,
      rounds: tiny ? 1 : 5,
    });
    report.add({
      row: "  clone, CPU of server and client",
      ours,
      peer: one,
      peerName: "one pack",
      unit: "s",
      ...bar(1.3),
    });
  } finally {
    for (const end of endings.reverse()) await end();
  }
}

/**
 * Makes the commits, and has each read; the most there was of packs and of the manifest's bytes.
 */
export async function readOneByOne(
  lake: GeneratedLake,
  server: Pick<BenchServer, "url">,
  stored: StoredSide,
  {
    commits,
    files,
    onCommit,
  }: {
    readonly commits: number;
    readonly files: number;
    readonly onCommit?: (commit: number) => Promise<void>;
  },
): Promise<{ readonly packs: number; readonly manifest: number }> {
  const most = { packs: 0, manifest: 0 };
  let head = await lake.commit(oneFileListing(files, 0));
  await readRefs(server, lake.source.name);
  for (let commit = 1; commit <= commits; commit++) {
    head = await lake.record(oneFileListing(files, commit), head);
    await readRefs(server, lake.source.name);
    most.packs = Math.max(most.packs, (await stored.packs()).length);
    most.manifest = Math.max(most.manifest, await stored.manifestBytes());
    await onCommit?.(commit);
  }
  return most;
}

export interface ClonesBesideOptions {
  /** Data folder of a server that has ended. */
  readonly data: string;
  readonly name: string;
  /** For a copy of it, and clones. */
  readonly folder: string;
  readonly start: (data: string) => Promise<Pick<BenchServer, "url" | "pid" | "stop">>;
  readonly rounds: number;
}

/**
 * CPU seconds of server and client for a clone as things lie, and for one of a store whose packs
 * were all made one: both in turn, the pair of the median ratio.
 */
export async function clonesBeside({
  data,
  name,
  folder,
  start,
  rounds,
}: ClonesBesideOptions): Promise<{ readonly ours: number; readonly one: number }> {
  const copy = join(folder, "data-one");
  rmSync(copy, { recursive: true, force: true });
  cpSync(data, copy, { recursive: true });
  await makeOne(copy, name);
  const [lies, whole] = [await start(data), await start(copy)];
  const cost = async (server: Pick<BenchServer, "url" | "pid">): Promise<number> => {
    const clone = join(folder, "clone-folding");
    const before = cpuSeconds([server.pid]) + waitedSeconds();
    await timeGit(
      ["clone", "--quiet", "--bare", `${server.url}/lakefs/${name}.git`, clone],
      folder,
    );
    const spent = cpuSeconds([server.pid]) + waitedSeconds() - before;
    rmSync(clone, { recursive: true, force: true });
    return spent;
  };
  const pairs: { ours: number; one: number }[] = [];
  try {
    for (let round = 0; round <= rounds; round++) {
      const [ours, one] = [await cost(lies), await cost(whole)];
      if (round > 0) pairs.push({ ours, one }); // the first ones have their files checked, and caches to fill
    }
  } finally {
    await lies.stop();
    await whole.stop();
  }
  const middle = median(pairs.map(({ ours, one }) => ours / one));
  return pairs.find(({ ours, one }) => ours / one === middle) as { ours: number; one: number };
}

/** CPU of all processes that this one has started and waited for: cutime and cstime of proc(5). */
function waitedSeconds(): number {
  const stat = readFileSync("/proc/self/stat", "latin1");
  const fields = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  return ((fields[13] as number) + (fields[14] as number)) / 100;
}

/** Makes all packs of a store that no server has one pack. */
async function makeOne(data: string, name: string): Promise<void> {
  const prefix = await prefixOf(data, `lakefs/${name}`);
  const store = new DiskStore(data);
  const pool = createPool({ threads: 1, kernelsModule: await loadKernels() });
  const folder = join(dirname(data), "one");
  mkdirSync(folder);
  try {
    const services = {
      store,
      pool,
      tables: new PackTables(),
      checks: new PackChecks(),
      incoming: folder,
      ingest: { packBytesMax: 1e12, memoryBytes: 1e8 },
      startIngest,
    };
    const objects = new ManifestObjects(
      services,
      new ManifestStore(store, prefix, "refs/heads/main"),
      prefix,
    );
    const { packs } = await objects.packs();
    const path = join(folder, "all.pack");
    await pool.run(foldTask, { packs: toHandles(packs), path });
    const made = await indexPackFile(path, { pool, fsck: false });
    for (const { checksum } of packs) await objects.supersede(checksum, made, { origin: "repack" });
  } finally {
    await pool.close();
    rmSync(folder, { recursive: true });
  }
}
