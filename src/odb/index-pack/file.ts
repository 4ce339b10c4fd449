/**
 * Indexing a pack that already lies on disk (`lakepack index-pack`, tests, the bench): scanned in
 * place, nothing is copied.
 */
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { LIMITS } from "../../base/limits.js";
import type { FsckRules } from "../../git/fsck/levels.js";
import type { Pool } from "../../pool/task.js";
import type { PackHandle } from "../packs/handle.js";
import type { IngestedPack, IngestProgress } from "./contract.js";
import { PackIndexing } from "./passes.js";

export interface IndexFileOptions {
  readonly pool: Pool;
  /** Threads for resolving deltas; default: all of the pool's. */
  readonly threads?: number;
  /** Default: true. */
  readonly fsck?: boolean;
  /** As in IngestOptions. */
  readonly rules?: FsckRules | undefined;
  /** As in IngestOptions. */
  readonly stored?: boolean;
  /** For temporary files, where objects outgrow memory; default: the pack's own folder. */
  readonly folder?: string;
  /** Default: the pack's path with `.idx` and `.rev` for `.pack`. */
  readonly idxPath?: string;
  readonly revPath?: string;
  readonly memoryBytes?: number;
  /**
   * Live packs that links may lead into, and the checksums of those that are closed. Default: none.
   */
  readonly packs?: readonly PackHandle[];
  readonly closed?: ReadonlySet<string>;
  /** As in IngestOptions. */
  readonly promised?: readonly SharedArrayBuffer[];
  /** True if the pack is to be synced to disk, as idx and rev are. Default: false. */
  readonly sync?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: IngestProgress) => void;
}

/**
 * Writes idx and rev of the pack at `path`, which must be complete (not thin): both or, with a
 * throw of "pack/…", neither.
 */
export async function indexPackFile(
  path: string,
  options: IndexFileOptions,
): Promise<IngestedPack> {
  const { size } = await stat(path);
  const stem = path.endsWith(".pack") ? path.slice(0, -".pack".length) : path;
  const { pool, threads, onProgress, promised } = options;
  const folder = options.folder ?? dirname(path);
  await mkdir(folder, { recursive: true });
  const idxPath = options.idxPath ?? `${stem}.idx`;
  const revPath = options.revPath ?? `${stem}.rev`;
  const suffix = `.${randomBytes(6).toString("hex")}`;
  const indexing = new PackIndexing(
    {
      path,
      folder,
      idxPath: idxPath + suffix,
      revPath: revPath + suffix,
      packs: options.packs ?? [],
      closed: options.closed ?? new Set(),
      fsck: options.fsck ?? true,
      rules: options.rules,
      stored: options.stored ?? false,
      memoryBytes: options.memoryBytes ?? LIMITS.ingestMemoryBytes,
      signal: options.signal ?? new AbortController().signal,
      ...(threads === undefined ? {} : { threads }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(promised === undefined ? {} : { promised }),
    },
    pool,
  );
  try {
    const pack = await indexing.finish(size, options.sync ?? false);
    await rename(revPath + suffix, revPath);
    await rename(idxPath + suffix, idxPath);
    return { ...pack, idxPath, revPath, folder };
  } finally {
    await indexing.close();
    await Promise.all([idxPath, revPath].map((file) => rm(file + suffix, { force: true })));
  }
}
