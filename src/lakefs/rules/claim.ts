/**
 * Claims: what an object's user metadata say it is in Git. Anybody who may write in lakeFS may
 * write them, so a claim counts only where the content confirms it: its blob id is that of the
 * bytes, or of a pointer text whose oid and size are those of the bytes. A seal (claim-seal.ts)
 * saves the reading. A claim that the content does not confirm is no claim: the mapping's rules
 * decide then, as if it were not there.
 */
import {
  formatPointer,
  isSha256,
  type LfsPointer,
  POINTER_BYTES_MAX,
} from "../../git/lfs-pointer.js";
import { objectId } from "../../git/object-id.js";
import { isOid, type Oid } from "../../git/oid.js";
import {
  BLOB_KEY,
  boundId,
  decodeBase64,
  POINTER_KEY,
  SEAL_KEY,
  SHA256_KEY,
} from "./metadata-keys.js";

export interface Claim {
  readonly blob: Oid;
  readonly sha256: string | undefined;
  /**
   * The pointer text that `blob` is the id of, which speaks of `sha256` and of the listed size;
   * undefined: no such text is known.
   */
  readonly pointer: Uint8Array | undefined;
  readonly seal: string | undefined;
}

/** Facts about a content that were found by reading it. */
export interface ContentFacts {
  readonly sha256: string;
  /** Blob id of the bytes; undefined: it was not computed. */
  readonly blob: Oid | undefined;
}

/** The outcome of a claim beside the facts. */
export type Judgement =
  | { readonly as: "plain" }
  | { readonly as: "pointer"; readonly text: Uint8Array }
  | { readonly as: "contradicted" }
  /** The blob id of the bytes must be known. */
  | { readonly as: "open" };

interface Described {
  readonly size: number;
  readonly checksum: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Reads pointers: parsePointer, or under mapping 2 parseSecondPointer. */
export type ReadsPointer = (text: Uint8Array) => LfsPointer | undefined;

/** The claim of an entry; undefined: it makes none, or one for another content. */
export function readClaim(
  { size, checksum, metadata }: Described,
  readsPointer: ReadsPointer,
): Claim | undefined {
  const blob = boundId(metadata[BLOB_KEY], size, checksum);
  if (blob === undefined || !isOid(blob)) return undefined;
  const bound = boundId(metadata[SHA256_KEY], size, checksum);
  const sha256 = bound !== undefined && isSha256(bound) ? bound : undefined;
  const pointer =
    sha256 === undefined
      ? undefined
      : claimedPointer(blob, { sha256, size }, metadata[POINTER_KEY], readsPointer);
  return { blob, sha256, pointer, seal: metadata[SEAL_KEY] };
}

function claimedPointer(
  blob: Oid,
  pointer: LfsPointer,
  encoded: string | undefined,
  readsPointer: ReadsPointer,
): Uint8Array | undefined {
  const canonical = formatPointer(pointer);
  if (objectId("blob", canonical) === blob) return canonical;
  return encoded === undefined ? undefined : exactPointer(blob, pointer, encoded, readsPointer);
}

/** The text that stands beside the claim, if it is the pointer that the claim speaks of. */
function exactPointer(
  blob: Oid,
  { sha256, size }: LfsPointer,
  encoded: string,
  readsPointer: ReadsPointer,
): Uint8Array | undefined {
  if (encoded.length > 2 * POINTER_BYTES_MAX) return undefined;
  const text = decodeBase64(encoded);
  const pointer = text && readsPointer(text);
  return text !== undefined &&
    pointer?.sha256 === sha256 &&
    pointer.size === size &&
    objectId("blob", text) === blob
    ? text
    : undefined;
}

/** Judges whether the content is what the claim says. */
export function judge(
  { blob, pointer, sha256 }: Claim,
  facts: ContentFacts,
  size: number,
): Judgement {
  if (pointer !== undefined && sha256 === facts.sha256) return { as: "pointer", text: pointer };
  const canonical = formatPointer({ sha256: facts.sha256, size });
  if (objectId("blob", canonical) === blob) return { as: "pointer", text: canonical };
  if (facts.blob === undefined) return { as: "open" };
  return facts.blob === blob ? { as: "plain" } : { as: "contradicted" };
}
