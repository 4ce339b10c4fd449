/** Tasks of a fetch: from what a client asks for to the file of its pack. */
import type { MessagePort } from "node:worker_threads";
import type { Oid } from "../../git/oid.js";
import { task } from "../../pool/task.js";
import type { PackHandle, PacksRequest } from "../packs/handle.js";
import type { WalkRequest } from "../walk/tasks.js";

/** Objects to be deflated that threads share (odb/deflate-board). */
export interface SharedDeflateMessage {
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
 * Messages of the generating thread on its way; the newest of a kind makes the older ones
 * worthless.
 */
export type GenerationNews =
  /** Objects found so far. */
  | { readonly kind: "found"; readonly objects: number }
  | { readonly kind: "planned"; readonly plan: PlanFigures }
  /** The file's first `bytes` are final. */
  | { readonly kind: "written"; readonly bytes: number; readonly objects: number }
  /** Others may help. */
  | { readonly kind: "board"; readonly board: SharedDeflateMessage };

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
   * Bounds of a filter by size: the largest blob it kept (-1: none) and the smallest it refused
   * (Infinity: none).
   */
  readonly sizes: { readonly keptMax: number; readonly refusedMin: number };
  readonly walkMs: number;
  readonly planMs: number;
  readonly writeMs: number;
}

/** One pack in place of several. */
export interface FoldedPack {
  /** SHA-1 of the pack, hex. */
  readonly checksum: string;
  readonly bytes: number;
  readonly objects: number;
}

export const generateTask = task<GenerateRequest, GenerateResult>("pack-objects/generate");

/** Deflates batches of somebody else's pack; answers how many. */
export const helpTask = task<PacksRequest & { readonly board: SharedDeflateMessage }, number>(
  "pack-objects/help",
);

/** Sizes in bytes, undefined where no pack holds the object. */
export const sizesTask = task<
  PacksRequest & { readonly oids: readonly Oid[] },
  readonly (number | undefined)[]
>("pack-objects/sizes");

/** Finds the object at `path` (latin1) of a commit's or tag's tree; undefined: nothing is there. */
export const resolvePathTask = task<
  PacksRequest & { readonly oid: Oid; readonly path: string },
  Oid | undefined
>("pack-objects/resolve");

/** Writes all objects of the packs (newest first) into one file, which must not exist. */
export const foldTask = task<PacksRequest & { readonly path: string }, FoldedPack>(
  "pack-objects/fold",
);

/** Throws "odb/missing" where `by` lacks an object of the packs. */
export const holdsTask = task<PacksRequest & { readonly by: PackHandle }, undefined>(
  "pack-objects/holds",
);
