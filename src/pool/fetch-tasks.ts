/** Tasks of a fetch: from what a client asks for to the file of its pack. */
import type { MessagePort } from "node:worker_threads";
import type { Oid } from "../git/oid.js";
import type { Filter } from "../wire/filter.js";
import type { PackHandle, TaskControl } from "./tasks.js";

export interface PacksRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
}

/** What a pack is to bring, all of it checked and resolved. */
export interface WalkRequest {
  readonly wants: readonly Oid[];
  /** Objects the client has with all they reach; those that are not here are passed over. */
  readonly haves: readonly Oid[];
  /** Commits whose parents the client will not have after this fetch. */
  readonly shallow: readonly Oid[];
  /** `sparse:oid` with ids only. */
  readonly filter?: Filter;
  /** Annotated tags that come along if what they point at is sent. */
  readonly tags: readonly TagRef[];
  /**
   * Where every pack is closed: the tips of each, by checksum. Lets a clone of everything do
   * without reading trees.
   */
  readonly packTips?: Readonly<Record<string, readonly Oid[]>>;
}

export interface TagRef {
  readonly oid: Oid;
  readonly peeled: Oid;
}

export interface CommonAncestry {
  readonly wants: readonly Oid[];
  /** Ids both sides have. */
  readonly common: readonly Oid[];
  /** The client's boundary: it has no ancestors below. */
  readonly shallow: readonly Oid[];
}

export interface DeepenRequest {
  readonly wants: readonly Oid[];
  /** The client's boundary now. */
  readonly clientShallow: readonly Oid[];
  readonly depth: DeepenBy;
}

export type DeepenBy =
  | { readonly by: "depth"; readonly depth: number; readonly relative: boolean }
  /** `not`: ids, names being resolved. */
  | { readonly by: "revisions"; readonly since: number | undefined; readonly not: readonly Oid[] };

export interface Boundary {
  /** New boundary commits, to be told to the client. Sorted. */
  readonly shallow: readonly Oid[];
  /** Boundary commits of the client whose parents it gets now. Sorted. */
  readonly unshallow: readonly Oid[];
  /** Parents of those: wanted from now on. Sorted. */
  readonly parents: readonly Oid[];
}

/** Objects to be deflated that threads share (odb/deflate-board). */
export interface BoardMessage {
  /** Two doubles an object: index of its pack in the space's order, offset of its entry. */
  readonly entries: SharedArrayBuffer;
  readonly words: SharedArrayBuffer;
  /** Batch n goes to `<path>.<n>`. */
  readonly path: string;
}

export interface GenerateRequest extends PacksRequest {
  readonly walk: WalkRequest;
  /** The client takes deltas on bases it has. */
  readonly thin: boolean;
  readonly ofsDelta: boolean;
  /** File to write; it must not exist. */
  readonly path: string;
  /** Takes GenerationNews. */
  readonly port: MessagePort;
}

/**
 * What the generating thread tells on its way; the newest of a kind makes the older ones worthless.
 */
export type GenerationNews =
  /** Objects found so far. */
  | { readonly kind: "found"; readonly objects: number }
  | { readonly kind: "planned"; readonly plan: PlanFigures }
  /** The file's first `bytes` are final. */
  | { readonly kind: "written"; readonly bytes: number; readonly objects: number }
  /** Others may help. */
  | { readonly kind: "board"; readonly board: BoardMessage };

export interface PlanFigures {
  readonly objects: number;
  /** Sent as deltas. */
  readonly deltas: number;
  /** Objects whose compressed bytes are those stored. */
  readonly reused: number;
  /** Objects deflated anew. */
  readonly whole: number;
  /** Bytes of the stored entries that the pack is made of: about its size. */
  readonly storedBytes: number;
}

export interface GenerateResult {
  /** SHA-1 of the pack, hex. */
  readonly checksum: string;
  readonly bytes: number;
  readonly plan: PlanFigures;
  /**
   * Of a filter by size: the largest blob it kept (-1: none) and the smallest it refused (Infinity:
   * none).
   */
  readonly sizes: { readonly keptMax: number; readonly refusedMin: number };
  readonly walkMs: number;
  readonly planMs: number;
  readonly writeMs: number;
}

export interface ReachableRequest extends PacksRequest {
  /** What refs point at. */
  readonly tips: readonly Oid[];
  /**
   * Objects that no other object of their pack links to, by checksum: where all of them are
   * reachable, the whole pack is.
   */
  readonly packTips: Readonly<Record<string, readonly Oid[]>>;
  /** What was found before, for older packs or older tips. */
  readonly before?: ReachableBits;
  /** Where every pack is closed: the tips of each, by checksum. */
  readonly closedTips?: Readonly<Record<string, readonly Oid[]>>;
  /** Blobs may be missing: lakeFS still has them alone. */
  readonly promises: boolean;
}

/** One bit an object and pack, by position in the idx. */
export interface ReachableBits {
  readonly tips: readonly Oid[];
  readonly packs: readonly { readonly checksum: string; readonly bits: SharedArrayBuffer }[];
}

/** One pack in place of several. */
export interface FoldedPack {
  /** SHA-1 of the pack, hex. */
  readonly checksum: string;
  readonly bytes: number;
  readonly objects: number;
}

export interface FetchTasks {
  "pack-objects/generate": { request: GenerateRequest; result: GenerateResult };
  /** Batches deflated for somebody else's pack. */
  "pack-objects/help": { request: PacksRequest & { readonly board: BoardMessage }; result: number };
  /** Whether every want has an ancestor among the common. */
  "pack-objects/negotiate": { request: PacksRequest & CommonAncestry; result: boolean };
  "pack-objects/deepen": { request: PacksRequest & DeepenRequest; result: Boundary };
  "pack-objects/reachable": { request: ReachableRequest; result: ReachableBits };
  /** Sizes in bytes, undefined where no pack holds the object. */
  "pack-objects/sizes": {
    request: PacksRequest & { readonly oids: readonly Oid[] };
    result: readonly (number | undefined)[];
  };
  /** The object at `path` (latin1) of a commit's or tag's tree; undefined: nothing is there. */
  "pack-objects/resolve": {
    request: PacksRequest & { readonly oid: Oid; readonly path: string };
    result: Oid | undefined;
  };
  /** All objects of the packs, which come newest first, into one file, which must not exist. */
  "pack-objects/fold": { request: PacksRequest & { readonly path: string }; result: FoldedPack };
  /** Throws "odb/missing" where `by` lacks an object of the packs. */
  "pack-objects/holds": { request: PacksRequest & { readonly by: PackHandle }; result: undefined };
  /** Whether a file is a whole pack: its trailer is the SHA-1 of all before. */
  "pack-objects/check": { request: TaskControl & { readonly path: string }; result: boolean };
}
