/**
 * One repository's objects as a conversation sees them: live packs to read, an ingest to write.
 * Runs on the main thread and does nothing heavy: tasks in the pool read and write the packs.
 */
import type { FsckRules } from "../git/fsck/levels.js";
import type { Oid } from "../git/oid.js";
import type { Pool } from "../pool/task.js";
import type { LocalCopy } from "../store/blocks.js";
import type { PackHandle } from "./packs/handle.js";
import type { PackLine } from "./pack-line.js";
import type { Ingest, IngestedPack, IngestOptions, IngestProgress } from "./index-pack/contract.js";

/** A pack as the manifest records it, and where its bytes are. */
export interface LivePack extends PackHandle {
  /** As in PackLine. */
  readonly name: string;
  readonly closed: boolean;
  readonly selfContained: boolean;
  /** Objects no other object of this pack links to, sorted; undefined: too many to keep. */
  readonly tips: readonly Oid[] | undefined;
  readonly origin: "push" | "synthesized" | "repack";
  /**
   * Blobs its trees name that lakeFS still has alone: the pack counts as closed, and who needs
   * contents brings them first.
   */
  readonly promised?: number | undefined;
  /** As in LocalCopy. */
  readonly bring?: NonNullable<LocalCopy["bring"]>;
}

/** Facts about a pack beside those its ingest found. */
export interface AdoptedPack {
  readonly origin: LivePack["origin"];
  readonly promised?: number;
}

export interface PackSet {
  /** Changes whenever the set of packs does. */
  readonly revision: string;
  /** Newest first. */
  readonly packs: readonly LivePack[];
}

export interface BeginIngestOptions {
  /** The pool to work in, as the part of one caller; default: the repository's own. */
  readonly pool?: Pool;
  readonly fsck: boolean;
  /** As in IngestOptions. */
  readonly rules?: FsckRules | undefined;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: IngestProgress) => void;
}

/** A pack that is being made from what the server has, not from a push. */
export interface PackDraft {
  /** A folder of its own, empty at first: all in it goes when the draft ends. */
  readonly folder: string;
  /** Path of the pack to write. */
  readonly path: string;
  /** Checks and indexes what lies at `path`, and syncs it. Throws "pack/…". */
  index(how: IndexDraftOptions): Promise<IngestedPack>;
}

export interface IndexDraftOptions extends Pick<IngestOptions, "promised" | "rules"> {
  /** Live packs that its links may lead into. */
  readonly packs: readonly LivePack[];
  /** Default: true. */
  readonly fsck?: boolean;
  /** As in IngestOptions. Default: false. */
  readonly stored?: boolean;
  readonly memoryBytes?: number;
}

export interface ObjectDatabase {
  /** The live packs as last committed, their tables loaded. */
  packs(signal?: AbortSignal): Promise<PackSet>;
  beginIngest(options: BeginIngestOptions): Promise<Ingest>;
  /**
   * Makes a pack: `build` writes, indexes and adopts it. All that it did not adopt is gone when
   * this settles, also where it throws or `signal` aborts.
   */
  makePack<T>(build: (draft: PackDraft) => Promise<T>, signal: AbortSignal): Promise<T>;
  /** Moves a finished pack to where it lasts (durable, still unreachable). Idempotent. */
  publish(pack: IngestedPack, signal?: AbortSignal): Promise<void>;
  /**
   * Makes published packs live, before any ref needs them: where refs are kept elsewhere (lakeFS).
   * Idempotent.
   */
  keep(packs: readonly PackLine[], signal?: AbortSignal): Promise<void>;
  /**
   * Publishes a pack and makes it live by itself, before any ref needs it: what was synthesized.
   * Idempotent.
   */
  adopt(pack: IngestedPack, as: AdoptedPack, signal?: AbortSignal): Promise<void>;
  /**
   * Puts a pack in the place of a live one all of whose objects it holds; beside the others where
   * that one was folded meanwhile. Idempotent.
   */
  supersede(
    checksum: string,
    by: IngestedPack,
    as: AdoptedPack,
    signal?: AbortSignal,
  ): Promise<void>;
  /** All that this live pack promised is in other packs now. Idempotent. */
  keepPromise(checksum: string, signal?: AbortSignal): Promise<void>;
}
