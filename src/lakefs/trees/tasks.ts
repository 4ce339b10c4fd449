/** Tasks of the lakeFS bridge's reading half: Git objects are made of lakeFS commits. */
import type { MessagePort } from "node:worker_threads";
import type { FaultCode, FaultRecord } from "../../base/fault.js";
import type { Oid } from "../../git/oid.js";
import type { PackHandle } from "../../odb/packs/handle.js";
import { task, type TaskControl } from "../../pool/task.js";
import type { LakefsAccess } from "../api/http.js";

/** A lakeFS commit as its API gives it. */
export interface SourceCommit {
  readonly id: string;
  readonly parents: readonly string[];
  readonly committer: string;
  readonly message: string;
  readonly creation_date: number;
  readonly meta_range_id: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** State of a commit's tree: lets its children follow the change instead of listing everything. */
export interface ListingState {
  readonly metarange: string;
  /** The tree of the listing, before any managed block. */
  readonly listing: Oid;
  /** Paths that could not cross: how many, and the first ten with their reasons. */
  readonly refused: number;
  readonly refusals: readonly string[];
  /** Undefined: too much to keep. Paths are sorted latin1 text. */
  readonly census:
    | {
        readonly pointers: readonly string[];
        readonly plain: readonly (readonly [suffix: string, files: number])[];
      }
    | undefined;
}

/** The Git side of a commit. */
export interface SynthesizedCommit {
  readonly lakeId: string;
  readonly commit: Oid;
  readonly tree: Oid;
  /** The record stands for this annotated tag of `commit`. */
  readonly tag: Oid | undefined;
  /** Undefined: children list everything. */
  readonly state: ListingState | undefined;
}

export interface SynthesizeItem {
  readonly source: SourceCommit;
  /**
   * lakeFS ids of its Git parents, in order: those that map to nothing are left out, a landing's
   * merge stands for its tip.
   */
  readonly parents: readonly string[];
}

export interface SynthesizeRequest extends TaskControl {
  readonly access: LakefsAccess;
  /**
   * Expressions, by id, for commits that lakeFS does not find by their ids (api/lost-commits.ts).
   */
  readonly ways: Readonly<Record<string, string>>;
  readonly repository: string;
  /** lakeFS's storage namespace of it. */
  readonly namespace: string;
  /** Keys of seals (rules/claim-seal.ts). */
  readonly sealKeys: readonly Uint8Array[];
  /** Mapping: which files are pointers (rules/contract.ts). */
  readonly mapping:
    | {
        readonly version: 3;
        readonly threshold: number;
        readonly suffixes: readonly string[];
        readonly namespace?: string;
      }
    | { readonly version: 2; readonly pointers: "linked"; readonly namespace: string };
  readonly packs: readonly PackHandle[];
  /** Oldest first: parents come before, or are among `known`. */
  readonly items: readonly SynthesizeItem[];
  readonly known: readonly SynthesizedCommit[];
  /** Pack file to write; it must not exist. None is written if there is nothing new. */
  readonly path: string;
  /**
   * File for the list of blobs whose ids are known and whose contents were not read
   * (trees/promised-list.ts).
   */
  readonly promisedPath: string;
  /**
   * Contents that an attempt before has read, whose blobs are in `packs` (trees/kept-contents.ts).
   */
  readonly kept: Uint8Array;
  /** A TaskPort of SynthesisNews, SynthesisQuestions and SynthesisWord. */
  readonly port: MessagePort;
  /** Never read raw ranges. For tests: both ways must give the same. */
  readonly pagesOnly?: boolean;
}

export type SynthesisNews =
  /** `files`: of the listing that is being read, where it is known how many it has. */
  | {
      readonly kind: "progress";
      readonly commits: number;
      readonly objects: number;
      readonly files: FilesRead | undefined;
    }
  /** Blobs of a list looked at so far. */
  | { readonly kind: "contents"; readonly blobs: number }
  /** A promised content that cannot be brought. */
  | {
      readonly kind: "left";
      readonly commit: string;
      readonly path: string;
      readonly code: FaultCode;
      readonly reason: string;
    }
  /** A content was hashed: to be remembered durably. */
  | { readonly kind: "hashed"; readonly key: string; readonly facts: HashedContent }
  /** Small contents were hashed: ids of trees/proven-contents.ts. */
  | { readonly kind: "proven"; readonly ids: Uint8Array }
  /**
   * A file that Git sees as a pointer, and where its bytes can be read: to be found by its SHA-256.
   * `path` as lakeFS spells it. `proven`: one of us has hashed them; else a hub's link says so.
   */
  | {
      readonly kind: "pointer";
      readonly sha256: string;
      readonly commit: string;
      readonly path: string;
      readonly size: number;
      readonly proven: boolean;
    }
  /** A claim in user metadata that its content does not confirm. */
  | {
      readonly kind: "unconfirmed";
      readonly commit: string;
      readonly path: string;
      readonly claimed: Oid;
      readonly is: Oid;
    };

/** Questions of a task while it reads contents. */
export type SynthesisQuestions = {
  /** Returns the values remembered under each key, in order. */
  recall(keys: readonly string[]): readonly (HashedContent | undefined)[];
};

/** Nobody waits any more: the task ends with what it has. */
export type SynthesisWord = "leave off";

export interface FilesRead {
  readonly done: number;
  readonly total: number;
}

/** Hashes of a content's bytes (rules/claim.ts). */
export interface HashedContent {
  readonly sha256: string;
  /** Undefined: it was not computed. */
  readonly blob: Oid | undefined;
}

/** Calls and bytes by the name of the call. */
export type LakefsFigures = Readonly<
  Record<
    string,
    {
      readonly calls: number;
      readonly bytesIn: number;
      readonly bytesOut: number;
      readonly retries: number;
    }
  >
>;

/** Blobs that a pack promises. */
export interface PromisedIds {
  /** Sorted, 20 bytes each. */
  readonly ids: SharedArrayBuffer;
  /** SHA-256 of the list, hex. */
  readonly check: string;
}

/** A list of promised blobs, for a thread to read. */
export interface PromisedListFile {
  readonly path: string;
  /** Checksum of the pack that promises. */
  readonly pack: string;
  readonly count: number;
  /** SHA-256 of the file, hex; undefined: it was written before there were checksums. */
  readonly check: string | undefined;
}

/** A failure that was not the end of what had been done by then. */
export interface SynthesisFailure extends FaultRecord {
  /** As `SynthesizeRequest.kept`, once the pack is there. */
  readonly kept: Uint8Array;
}

export interface SynthesizeResult {
  /** With a failure those before it, and in the pack nothing of its own but blobs. */
  readonly commits: readonly SynthesizedCommit[];
  /** New objects in the pack; 0: no pack was written. */
  readonly objects: number;
  /** Undefined: none, and no list was written. */
  readonly promised: PromisedIds | undefined;
  readonly failure: SynthesisFailure | undefined;
  readonly figures: LakefsFigures;
}

/** Contents that were not read when their commits were synthesized. */
export interface ContentsRequest extends TaskControl {
  readonly access: SynthesizeRequest["access"];
  readonly ways: SynthesizeRequest["ways"];
  readonly repository: string;
  readonly namespace: string;
  readonly packs: readonly PackHandle[];
  /** The list to go by. */
  readonly list: PromisedListFile;
  /** The wanted ids of it, sorted, 20 bytes each; undefined: all. */
  readonly wanted: SharedArrayBuffer | undefined;
  /**
   * Path of a list of contents that cannot be brought: they are left out and stay promised.
   * Undefined: it fails all.
   */
  readonly leftPath: string | undefined;
  /**
   * Pack whose entries the new one begins with; it is one of `packs`, and its entries are whole
   * objects.
   */
  readonly base: PackHandle | undefined;
  /**
   * Pack file to write; it must not exist. None is written where every wanted blob is in a pack.
   */
  readonly path: string;
  /** As of a synthesis; its news are of kinds "contents" and "left". */
  readonly port: MessagePort;
}

export interface ContentsResult {
  /** Blobs that were read. */
  readonly blobs: number;
  /** Contents that could not be brought; undefined: none, and no list was written. */
  readonly left: PromisedIds | undefined;
  /** The pack has what was read before it, without `base`, and nothing was left out. */
  readonly failure: FaultRecord | undefined;
  readonly figures: LakefsFigures;
}

/** Asks which promised blobs some commits reach. */
export interface ReachedRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
  /** Tables of promised ids, each sorted, 20 bytes each. */
  readonly promised: readonly SharedArrayBuffer[];
  readonly wants: readonly Oid[];
  /** Commits that the client has, with all below down to its boundary. */
  readonly haves: readonly Oid[];
  readonly clientShallow: readonly Oid[];
  /** Commits whose parents the client will not have. */
  readonly shallow: readonly Oid[];
}

export interface ReachedResult {
  /** Sorted, 20 bytes each; those that are in packs by now among them. */
  readonly ids: SharedArrayBuffer;
}

/** Lists of what packs promise, to become one for the pack that they were folded into. */
export interface MergePromisedRequest extends TaskControl {
  readonly lists: readonly PromisedListFile[];
  /** The pack whose objects are promised no more. */
  readonly by: PackHandle;
  /** List to write; it must not exist. */
  readonly path: string;
}

/** Merges lists of promises; undefined: nothing is promised any more, and no list was written. */
export const mergePromisedTask = task<MergePromisedRequest, PromisedIds | undefined>(
  "synthesize/merge",
);
export const reachedTask = task<ReachedRequest, ReachedResult>("synthesize/reached");
export const contentsTask = task<ContentsRequest, ContentsResult>("synthesize/contents");
export const synthesizeTask = task<SynthesizeRequest, SynthesizeResult>("synthesize/chain");
