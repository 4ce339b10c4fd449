/** Tasks of Git LFS. */
import type { Oid } from "../git/oid.js";
import type { PackHandle } from "../odb/packs/handle.js";
import { task, type TaskControl } from "../pool/task.js";

/**
 * Bytes [start, end) of a file, or the first `length` of shared memory that nobody writes to
 * meanwhile.
 */
export type HashPiece =
  | { readonly path: string; readonly start: number; readonly end: number }
  | { readonly memory: SharedArrayBuffer; readonly length: number };

export interface HashPieceRequest extends TaskControl {
  readonly piece: HashPiece;
  /** State that the piece before left; undefined: this is the first. */
  readonly state: Uint8Array | undefined;
  readonly last: boolean;
}

/**
 * The SHA-256 in hex of all pieces after the last, else the state that the next one goes on with.
 */
export type HashPieceResult = { readonly sha256: string } | { readonly state: Uint8Array };

export interface FindPointersRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
  /** Checksum of the pushed one among them. */
  readonly pushed: string;
  /** Place in pack order to go on from. */
  readonly from: number;
}

export interface FindPointersResult {
  readonly found: readonly FoundPointer[];
  /** Place to go on from; undefined: that was all. */
  readonly next: number | undefined;
}

export interface FoundPointer {
  readonly blob: Oid;
  readonly sha256: string;
  readonly size: number;
}

export interface PointerPathsRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
  readonly pushed: string;
  readonly tips: readonly Oid[];
  /** Pointers to look for. */
  readonly blobs: readonly Oid[];
}

/** A path of one of the blobs in a pushed commit whose .gitattributes give it to LFS. */
export interface PointerPath {
  readonly tip: Oid;
  readonly blob: Oid;
  /** One UTF-16 unit a byte. */
  readonly path: string;
}

export interface PointerPathsResult {
  /** At most `LIMITS.lfsOffendersMax` a tip. */
  readonly paths: readonly PointerPath[];
  /** There were more paths to look at than are: of a tip without a path here nothing is known. */
  readonly exhausted: boolean;
}

export const hashTask = task<HashPieceRequest, HashPieceResult>("lfs/hash");
export const pointersTask = task<FindPointersRequest, FindPointersResult>("lfs/pointers");
export const pointerPathsTask = task<PointerPathsRequest, PointerPathsResult>("lfs/paths");
