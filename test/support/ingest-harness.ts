/**
 * Runs packs through the real ingest on a real pool, and asks stock git and the plain reference for
 * their opinion.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { Fault, type FaultCode } from "../../src/base/fault.js";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { writePackIndex, writeReverseIndex } from "../reference/pack-index.js";
import { parsePack } from "../reference/pack-parser.js";
import { resolvePack } from "../reference/pack-resolver.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { startIngest } from "../../src/odb/index-pack/spool.js";
import type { IngestedPack, IngestOptions } from "../../src/odb/index-pack/contract.js";
import { createPool, type ThreadPool } from "../../src/pool/pool.js";
import { calibrateTask } from "../../src/pool/calibrate.js";

export interface IngestBench {
  readonly folder: string;
  readonly pool: ThreadPool;
  ingest(pack: Uint8Array, options?: RunOptions): Promise<Ingested>;
  /** The fault's code; what it left behind is checked. */
  refuse(pack: Uint8Array, options?: RunOptions): Promise<FaultCode | string>;
}

export interface RunOptions extends Partial<IngestOptions> {
  readonly chunk?: number;
}

export interface Ingested extends IngestedPack {
  readonly packBytes: Buffer;
  readonly idx: Buffer;
  readonly rev: Buffer;
}

/** Packs up to here go through all passes in one task; the tests send them both ways. */
const SMALL_BYTES = 256 * 1024;

const codeOf = (run: Promise<Ingested>): Promise<FaultCode | string> =>
  run.then(
    () => "accepted",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );

const EMPTY_PACK = Buffer.from(
  "5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e",
  "hex",
);

export async function ingestBench(t: Test, threads = 2): Promise<IngestBench> {
  const folder = mkdtempSync(join(tmpdir(), "lakepack-ingest-"));
  const pool = createPool({ threads, kernelsModule: await loadKernels() });
  t.teardown(async () => {
    await pool.close();
    rmSync(folder, { recursive: true, force: true });
  });
  let number = 0;
  const run = async (
    pack: Uint8Array,
    { chunk = 65_536, ...options }: RunOptions,
  ): Promise<Ingested> => {
    const incoming = join(folder, `incoming-${number++}`);
    const ingest = await startIngest(
      {
        folder: incoming,
        packs: [],
        closed: new Set(),
        fsck: true,
        packBytesMax: 2 ** 40,
        memoryBytes: 2 ** 26,
        signal: new AbortController().signal,
        ...options,
      },
      pool,
    );
    const take = async () => {
      for (let at = 0; at < pack.length; at += chunk)
        await ingest.write(pack.subarray(at, at + chunk));
      const done = await ingest.finish();
      return {
        ...done,
        packBytes: readFileSync(done.packPath),
        idx: readFileSync(done.idxPath),
        rev: readFileSync(done.revPath),
      };
    };
    const taken = await take().finally(() => ingest.discard());
    if (existsSync(incoming)) throw new Error("discard left its folder behind");
    return taken;
  };
  // Threads load their code now: what they take for that is not an ingest's memory.
  await Promise.all(Array.from({ length: threads }, () => pool.run(calibrateTask, {})));
  await Promise.all(Array.from({ length: 2 * threads }, () => run(EMPTY_PACK, {})));
  return {
    folder,
    pool,
    async ingest(pack, options = {}) {
      const taken = await run(pack, options);
      if (pack.length > SMALL_BYTES) return taken;
      const inTasks = await run(pack, { ...options, smallBytes: 0 });
      for (const part of ["packBytes", "idx", "rev"] as const)
        if (!taken[part].equals(inTasks[part]))
          throw new Error(`${part} is another where each pass is a task`);
      return taken;
    },
    async refuse(pack, options = {}) {
      const code = await codeOf(run(pack, options));
      const inTasks =
        pack.length > SMALL_BYTES ? code : await codeOf(run(pack, { ...options, smallBytes: 0 }));
      return code === inTasks ? code : `${code} in one task, ${inTasks} where each pass is one`;
    },
  };
}

/** idx and rev that the plain reference makes of a complete pack. */
export function plainTables(pack: Uint8Array): { idx: Uint8Array; rev: Uint8Array } {
  const objects = resolvePack(parsePack(pack, plainKernels), plainKernels);
  const entries = objects.map(({ oid, entry }) => ({ oid, offset: entry.offset, crc: entry.crc }));
  const checksum = pack.subarray(-20);
  return { idx: writePackIndex(entries, checksum), rev: writeReverseIndex(entries, checksum) };
}

/** idx that stock git makes. */
export function gitIndex(pack: Uint8Array): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "lakepack-git-index-"));
  try {
    const path = join(folder, "input.pack");
    writeFileSync(path, pack);
    execFileSync("git", ["index-pack", "-o", join(folder, "output.idx"), path], { stdio: "pipe" });
    return readFileSync(join(folder, "output.idx"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
