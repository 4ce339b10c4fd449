/**
 * Index tables of live packs in shared memory: loaded once, read by every thread, dropped least
 * recently used first.
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { LRUCache } from "lru-cache";
import { Fault } from "../../base/fault.js";
import { SingleFlight } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { unopened } from "./unopened.js";

export interface PackTable {
  readonly idx: SharedArrayBuffer;
  readonly rev: SharedArrayBuffer;
  /** As PackHandle has it. */
  readonly types: SharedArrayBuffer;
}

/**
 * Fixed parts of an .idx v2 (header, fanout, two checksums) and of a .rev (header, two checksums).
 * gitformat-pack(5).
 */
const IDX_FIXED_BYTES = 8 + 1024 + 40;
const REV_FIXED_BYTES = 12 + 40;
/** Per object: id 20, CRC 4, offset 4, and 8 more where offsets pass 2 GiB. */
const IDX_ENTRY_BYTES_MIN = 28;
const IDX_ENTRY_BYTES_MAX = 36;
const REV_ENTRY_BYTES = 4;
const CHECKSUM_BYTES = 20;
/** Read and hashed at a time: a millisecond of the main thread. */
const PIECE_BYTES = 1024 * 1024;

export interface PackFiles {
  readonly checksum: string;
  readonly objectCount: number;
  readonly idxPath: string;
  readonly revPath: string;
  /** Types that the ingest of the pack has found; default: none is known. */
  readonly types?: SharedArrayBuffer | undefined;
}

export class PackTables {
  readonly #tables: LRUCache<string, PackTable>;
  readonly #loading = new SingleFlight<string, PackTable>();

  constructor(bytesMax: number = LIMITS.packTableBytesMax) {
    this.#tables = new LRUCache({
      maxSize: bytesMax,
      sizeCalculation: (table) =>
        table.idx.byteLength + table.rev.byteLength + Math.max(1, table.types.byteLength),
    });
  }

  /** Throws "odb/damaged" where the files are not what their checksums say, or not of this pack. */
  async load(files: PackFiles, signal?: AbortSignal): Promise<PackTable> {
    const held = this.#tables.get(files.checksum);
    if (held !== undefined) return held;
    return this.#loading.run(files.checksum, () => this.#read(files), signal);
  }

  async #read(files: PackFiles): Promise<PackTable> {
    const table = await loadTable(files);
    this.#tables.set(files.checksum, table);
    return table;
  }
}

/** Reads the tables of one pack. Throws "odb/damaged". */
export async function loadTable({
  checksum,
  objectCount,
  idxPath,
  revPath,
  types,
}: PackFiles): Promise<PackTable> {
  const revBytes = REV_FIXED_BYTES + objectCount * REV_ENTRY_BYTES;
  const [idx, rev] = await Promise.all([
    readShared(
      idxPath,
      IDX_FIXED_BYTES + objectCount * IDX_ENTRY_BYTES_MIN,
      IDX_FIXED_BYTES + objectCount * IDX_ENTRY_BYTES_MAX,
      checksum,
    ),
    readShared(revPath, revBytes, revBytes, checksum),
  ]);
  return { idx, rev, types: types ?? new SharedArrayBuffer(objectCount) };
}

/**
 * A whole table in shared memory, its size checked before anything is allocated, and both checksums
 * at its end: the pack's and its own.
 */
async function readShared(
  path: string,
  bytesMin: number,
  bytesMax: number,
  packChecksum: string,
): Promise<SharedArrayBuffer> {
  const file = await open(path, "r").catch((error: unknown) => {
    throw unopened(path, error);
  });
  try {
    const { size } = await file.stat();
    if (size < bytesMin || size > bytesMax)
      throw new Fault("odb/damaged", {
        file: path,
        bytes: size,
        expectedMin: bytesMin,
        expectedMax: bytesMax,
      });
    const shared = new SharedArrayBuffer(size);
    const bytes = new Uint8Array(shared);
    const hash = createHash("sha1");
    const hashedBytes = size - CHECKSUM_BYTES;
    for (let filled = 0; filled < size; ) {
      const { bytesRead } = await file.read(
        bytes,
        filled,
        Math.min(PIECE_BYTES, size - filled),
        filled,
      );
      if (bytesRead === 0)
        throw new Fault("odb/damaged", {
          file: path,
          reason: "it became shorter while it was read",
        });
      hash.update(bytes.subarray(filled, Math.min(filled + bytesRead, hashedBytes)));
      filled += bytesRead;
    }
    const hexAt = (start: number) => Buffer.from(shared, start, CHECKSUM_BYTES).toString("hex");
    if (hexAt(hashedBytes) !== hash.digest("hex"))
      throw new Fault("odb/damaged", {
        file: path,
        reason: "its content does not match its checksum",
      });
    if (hexAt(hashedBytes - CHECKSUM_BYTES) !== packChecksum)
      throw new Fault("odb/damaged", { file: path, reason: "it belongs to another pack" });
    return shared;
  } finally {
    await file.close();
  }
}
