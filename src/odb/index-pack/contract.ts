/**
 * The contract of ingest that receive-pack works with: bytes of a pack go in as they arrive, an
 * indexed and fsck'ed pack in a private folder comes out. Nothing is visible to readers until
 * `publish`.
 */
import type { FsckRules, FsckWarning } from "../../git/fsck/levels.js";
import type { Oid } from "../../git/oid.js";
import type { PackHandle } from "../packs/handle.js";

export interface IngestOptions {
  /** Private folder of this ingest, made by it (`incoming/<random>`) and removed by `discard`. */
  readonly folder: string;
  /** Live packs: bases of thin packs, and objects that links may point to. */
  readonly packs: readonly PackHandle[];
  /** Checksums among `packs` that are closed: existence there proves connectivity. */
  readonly closed: ReadonlySet<string>;
  /**
   * Tables of ids, each sorted, 20 bytes each, that count as held: somebody brings them before they
   * are needed.
   */
  readonly promised?: readonly SharedArrayBuffer[];
  readonly fsck: boolean;
  /**
   * Levels of the findings: some refuse, others are only told. Default: as Git judges by itself.
   * Means nothing without `fsck`.
   */
  readonly rules?: FsckRules | undefined;
  /**
   * All of it was taken in before (default: false): it may cost what it costs, and a link to an
   * object of another type is not refused, but the pack does not count as closed.
   */
  readonly stored?: boolean;
  readonly packBytesMax: number;
  /** Bytes of inflated deltas kept between the passes; beyond it they are inflated again. */
  readonly memoryBytes: number;
  /**
   * Packs up to this size that are all here go through their passes in one task. Default: 256 KiB.
   */
  readonly smallBytes?: number;
  readonly signal: AbortSignal;
  /** Called at most ten times a second. */
  readonly onProgress?: (progress: IngestProgress) => void;
}

export interface IngestProgress {
  readonly stage: "receiving" | "resolving" | "connectivity";
  readonly done: number;
  /** 0 while unknown. */
  readonly total: number;
  readonly bytes: number;
}

export interface IngestedPack {
  readonly checksum: string;
  /** Random, 40 hex digits: the name it is published by, which no other publication has. */
  readonly name: string;
  readonly folder: string;
  /** Files inside `folder`, each fsynced: pack, idx (v2), rev. */
  readonly packPath: string;
  readonly idxPath: string;
  readonly revPath: string;
  readonly bytes: number;
  readonly objectCount: number;
  readonly deltaCount: number;
  /** Bases appended to complete a thin pack. */
  readonly appendedCount: number;
  /** Every link of every object leads into this pack or a closed pack. */
  readonly closed: boolean;
  /** OBJECT_TYPE of each object, in the order of ids. */
  readonly types: SharedArrayBuffer;
  /** Every link of every object leads into this very pack. */
  readonly selfContained: boolean;
  /**
   * Objects of this pack no other object of it links to: with these as wants, everything in it is
   * reachable. Undefined above 10,000 of them. Sorted.
   */
  readonly tips: readonly Oid[] | undefined;
  /**
   * The first 100 links that lead neither into this pack nor into a closed pack (so: must be
   * walked, or are missing).
   */
  readonly openLinks: readonly Oid[];
  /** Findings that the rules let pass, to be told: the first `fsckWarningsMax` of `warned`. */
  readonly warnings: readonly FsckWarning[];
  readonly warned: number;
  /** Counters for metrics, tests and the bench. */
  readonly counters: Readonly<Record<string, number>>;
}

/** One running ingest. */
export interface Ingest {
  /**
   * Takes the next bytes of the pack; resolves when more are welcome. Throws "pack/…" as soon as a
   * defect is seen.
   */
  write(bytes: Uint8Array): Promise<void>;
  /** No more bytes: resolves deltas, completes a thin pack, writes idx and rev, fsyncs. */
  finish(): Promise<IngestedPack>;
  /** Frees everything, removes the folder. Safe at any time, any number of times. */
  discard(): Promise<void>;
}
