/** Indexing a pack that already lies on disk (`lakepack index-pack`, tests, the bench): scanned in place, nothing is copied. */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { LIMITS } from "../base/limits.js";
import type { Pool } from "../pool/tasks.js";
import type { IngestedPack, IngestProgress } from "./ingest-contract.js";
import { PackIndexing } from "./ingest-passes.js";

export interface IndexFileOptions {
  readonly pool: Pool;
  /** Threads for resolving deltas; default: all of the pool's. */
  readonly threads?: number;
  /** Default: true. */
  readonly fsck?: boolean;
  /** For temporary files, where objects outgrow memory; default: the pack's own folder. */
  readonly folder?: string;
  /** Default: the pack's path with `.idx` and `.rev` for `.pack`. */
  readonly idxPath?: string;
  readonly revPath?: string;
  readonly memoryBytes?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: IngestProgress) => void;
}

/** Writes idx and rev of the pack at `path`, which must be complete (not thin). Throws "pack/…". */
export async function indexPackFile(path: string, options: IndexFileOptions): Promise<IngestedPack> {
  const { size } = await stat(path);
  const stem = path.endsWith(".pack") ? path.slice(0, -".pack".length) : path;
  const { pool, threads, onProgress } = options;
  const folder = options.folder ?? dirname(path);
  await mkdir(folder, { recursive: true });
  const indexing = new PackIndexing(
    {
      path,
      folder,
      idxPath: options.idxPath ?? `${stem}.idx`,
      revPath: options.revPath ?? `${stem}.rev`,
      packs: [],
      closed: new Set(),
      fsck: options.fsck ?? true,
      memoryBytes: options.memoryBytes ?? LIMITS.ingestMemoryBytes,
      signal: options.signal ?? new AbortController().signal,
      sync: false,
      ...(threads === undefined ? {} : { threads }),
      ...(onProgress === undefined ? {} : { onProgress }),
    },
    pool,
  );
  try {
    return { ...(await indexing.finish(size)), folder };
  } finally {
    await indexing.close();
  }
}
