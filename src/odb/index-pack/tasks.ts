/**
 * Tasks of an ingest. All its tables lie in one shared WebAssembly.Memory, so any thread can take
 * the next slice and none is held while a client drips bytes. `memory` is used by one "scan" or
 * "conclude" at a time, by many "resolve".
 */
import type { FaultRecord } from "../../base/fault.js";
import type { FsckRules, FsckWarning } from "../../git/fsck/levels.js";
import type { Oid } from "../../git/oid.js";
import { task, type TaskControl } from "../../pool/task.js";
import type { PackHandle } from "../packs/handle.js";

/** A task that may judge objects. */
export interface Judging extends TaskControl {
  /** Undefined: as Git judges by itself. Put in by passes.ts. */
  readonly rules?: FsckRules | undefined;
}

export interface ScanRequest extends Judging {
  readonly memory: WebAssembly.Memory;
  /** Local file with the pack's bytes so far. */
  readonly path: string;
  /** Bytes of it that may be read. */
  readonly to: number;
  /** No more will come. */
  readonly final: boolean;
  /** On the first call of an ingest; later what the first answered. */
  readonly session: SessionSettings | number;
}

export interface SessionSettings {
  readonly fsck: boolean;
  /** As in IngestOptions. */
  readonly stored: boolean;
  /** Bytes of inflated data that may be kept between the passes. */
  readonly keepBytes: number;
}

export interface ScanResult {
  /** Pass as `session` to the next call: where the window on the pack lies in the memory. */
  readonly session: number;
  /** Offset of the next byte wanted; at the end, of the trailer. */
  readonly position: number;
  /** All entries the header promises were seen. */
  readonly done: boolean;
  /** `position` is inside an entry that is taken in pieces. */
  readonly inside: boolean;
  readonly objects: number;
  readonly claimed: number;
  readonly hashed: number;
  readonly marks: IngestMarks;
}

/**
 * Findings of the judging beside refusals: ids that a tree calls by a name only fsck.ts
 * recognises, and faults that were let pass.
 */
export interface IngestMarks {
  readonly gitmodules: readonly Oid[];
  readonly gitattributes: readonly Oid[];
  /** The first of them, at most `fsckWarningsMax`. */
  readonly warnings: readonly FsckWarning[];
  readonly warned: number;
}

export interface CutRequest extends Judging {
  readonly memory: WebAssembly.Memory;
  readonly path: string;
  /** Bytes of the whole pack, its checksum included. */
  readonly bytes: number;
  /** Offset where an entry surely starts: everything before it was scanned. 0: nothing was. */
  readonly from: number;
  readonly parts: number;
  /** As in ScanRequest. */
  readonly session: SessionSettings | number;
}

export interface CutResult {
  readonly session: number;
  /** Offsets where entries probably start, ascending; the first is `from`. */
  readonly starts: readonly number[];
  /** Address where the kernels find them. */
  readonly stops: number;
}

export interface SegmentsRequest extends Judging {
  readonly memory: WebAssembly.Memory;
  readonly path: string;
  readonly bytes: number;
  readonly starts: readonly number[];
  readonly stops: number;
  /** One Int32: the next segment to begin. */
  readonly next: SharedArrayBuffer;
}

export interface SegmentResult {
  readonly segment: number;
  readonly linkSet: number;
  readonly start: number;
  /** Offset where it met another segment's start, or the pack's end. */
  readonly landed: number;
  readonly marks: IngestMarks;
  readonly failure: FaultRecord | undefined;
}

export interface JoinRequest extends TaskControl {
  readonly memory: WebAssembly.Memory;
  readonly bytes: number;
  readonly chain: readonly number[];
  readonly droppedLinkSets: readonly number[];
}

export interface LinkRequest extends Judging {
  readonly memory: WebAssembly.Memory;
  readonly path: string;
  /** Packs in which bases of a thin pack are looked for. */
  readonly packs: readonly PackHandle[];
  /** Bytes of such bases that may be kept in memory. */
  readonly keepBytes: number;
}

export interface LinkResult {
  readonly deltas: number;
  /** Bases that come from other packs. */
  readonly externals: number;
  readonly families: number;
  readonly marks: IngestMarks;
}

export interface ResolveRequest extends Judging {
  readonly memory: WebAssembly.Memory;
  readonly path: string;
  readonly folder: string;
  readonly packs: readonly PackHandle[];
}

export interface ResolveResult {
  /**
   * No thread is inside this pass any more and no family is left: tasks that still wait for a
   * thread may be called off.
   */
  readonly over: boolean;
  /** Objects left to "index-pack/large". */
  readonly large: number;
  readonly marks: IngestMarks;
}

export interface TrailerRequest extends TaskControl {
  readonly path: string;
  /** Bytes the checksum is of; the checksum follows them. */
  readonly bytes: number;
}

export interface TrailerResult {
  readonly checksum: string;
  /** Calls into node:crypto. */
  readonly calls: number;
}

export interface SmallRequest extends Judging {
  readonly memory: WebAssembly.Memory;
  readonly path: string;
  /** For temporary files, where objects outgrow memory. */
  readonly folder: string;
  readonly packs: readonly PackHandle[];
  /** Bytes of the whole pack, its checksum included. */
  readonly bytes: number;
  readonly session: SessionSettings | number;
  /** As in LinkRequest. */
  readonly keepBytes: number;
}

/** The answers of all the tasks it stands for. */
export interface SmallResult {
  readonly scanned: ScanResult;
  readonly checked: TrailerResult;
  readonly linked: LinkResult;
  /** Absent where there are no deltas. */
  readonly resolved?: ResolveResult;
}

export interface ConcludeRequest extends Judging {
  readonly memory: WebAssembly.Memory;
  readonly path: string;
  readonly idxPath: string;
  readonly revPath: string;
  /** SHA-1 of the pack as it was sent, hex. */
  readonly checksum: string;
  readonly externals: number;
  readonly fsck: boolean;
  /** As in IngestOptions. */
  readonly stored: boolean;
  readonly packs: readonly PackHandle[];
  readonly closed: readonly string[];
  /**
   * Tables of ids, each sorted, 20 bytes each, that links may lead to although no pack holds them
   * yet.
   */
  readonly promised?: readonly SharedArrayBuffer[];
  readonly marks: IngestMarks;
}

export interface ConcludeResult {
  readonly checksum: string;
  readonly bytes: number;
  readonly objectCount: number;
  readonly deltaCount: number;
  readonly appendedCount: number;
  readonly closed: boolean;
  readonly selfContained: boolean;
  readonly tips: readonly Oid[] | undefined;
  readonly openLinks: readonly Oid[];
  readonly types: SharedArrayBuffer;
  /** Findings about the files that are looked at last. */
  readonly marks: IngestMarks;
  readonly counters: Readonly<Record<string, number>>;
}

export const scanTask = task<ScanRequest, ScanResult>("index-pack/scan");
export const cutTask = task<CutRequest, CutResult>("index-pack/cut");
export const segmentsTask = task<SegmentsRequest, readonly SegmentResult[]>("index-pack/segments");
export const joinTask = task<JoinRequest, ScanResult>("index-pack/join");
export const linkTask = task<LinkRequest, LinkResult>("index-pack/link");
export const resolveTask = task<ResolveRequest, ResolveResult>("index-pack/resolve");
export const largeTask = task<ResolveRequest, IngestMarks>("index-pack/large");
export const trailerTask = task<TrailerRequest, TrailerResult>("index-pack/trailer");
export const smallTask = task<SmallRequest, SmallResult>("index-pack/small");
export const concludeTask = task<ConcludeRequest, ConcludeResult>("index-pack/conclude");
