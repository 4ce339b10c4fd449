/**
 * Conditional writes. Each try is sent once; what became of it is told apart by name. A reply that
 * is lost leaves it unknown whether the write has landed: then the same write is sent again, whose
 * own condition keeps it from landing twice.
 */
import { createHash, webcrypto } from "node:crypto";
import type { PutObjectCommandOutput } from "@aws-sdk/client-s3";
import { Fault } from "../../base/fault.js";
import type { StoreTag } from "../store.js";
import type { ObjectPlace } from "./read.js";
import { tagOf } from "./read.js";
import type { S3Request } from "./requests.js";

export type Condition = { readonly IfNoneMatch: "*" } | { readonly IfMatch: StoreTag };

export type Written =
  | { readonly as: "done"; readonly tag: StoreTag }
  /** The condition does not hold; `mayHaveLanded`: perhaps because of an earlier try of ours. */
  | { readonly as: "refused"; readonly mayHaveLanded: boolean }
  /** Nobody can tell. */
  | { readonly as: "unknown"; readonly fault: Fault };

const OPERATION = "PutObject";

/** Throws "base/aborted", and the fault of the last try where nothing can have landed. */
export async function putIf(
  place: ObjectPlace,
  bytes: Uint8Array,
  condition: Condition,
  signal: AbortSignal | undefined,
): Promise<Written> {
  const { requests } = place;
  const request = await putRequest(place, bytes, condition);
  const patience = requests.patience();
  let mayHaveLanded = false;
  for (;;) {
    const outcome = await requests.once(request, signal);
    if (outcome.as === "ok") {
      const tag = tagOf(outcome.value.ETag, place);
      requests.tagDigests.learn(tag, bytes);
      return { as: "done", tag };
    }
    // 404: there is nothing that could match.
    if (outcome.as === "precondition" || outcome.as === "missing")
      return { as: "refused", mayHaveLanded };
    if (outcome.as === "unchanged" || outcome.as === "beyond")
      throw new Fault("store/failed", { key: place.key, reason: "an answer to a read" });
    mayHaveLanded ||= outcome.as === "unknown";
    const isOver = outcome.as === "refused" || !(await patience.again(outcome, signal));
    if (isOver && mayHaveLanded) return { as: "unknown", fault: outcome.fault };
    if (isOver) throw outcome.fault;
    requests.figuresOf(OPERATION).retries++;
  }
}

/** A write of an object's bytes, with their checksum. */
export async function putRequest(
  { bucket, key }: ObjectPlace,
  bytes: Uint8Array,
  condition?: Condition,
): Promise<S3Request<PutObjectCommandOutput>> {
  const input = { Bucket: bucket, Key: key, ...(await bodyOf(bytes)), ...condition };
  return {
    operation: OPERATION,
    key,
    bytesOut: bytes.length,
    send: (api, options) => api.putObject(input, options),
  };
}

export interface CheckedBody {
  readonly Body: Uint8Array;
  readonly ContentLength: number;
  /** Base64. Some servers keep what came of a body that was cut, where it has no checksum. */
  readonly ChecksumSHA256: string;
}

export async function bodyOf(bytes: Uint8Array): Promise<CheckedBody> {
  return { Body: bytes, ContentLength: bytes.length, ChecksumSHA256: await checksumOf(bytes) };
}

/** Bytes that are hashed here: handing them to another thread takes longer. */
const HASHED_HERE_BYTES_MAX = 64 * 1024;

async function checksumOf(bytes: Uint8Array): Promise<string> {
  if (bytes.length <= HASHED_HERE_BYTES_MAX)
    return createHash("sha256").update(bytes).digest("base64");
  return Buffer.from(await webcrypto.subtle.digest("SHA-256", bytes)).toString("base64");
}
