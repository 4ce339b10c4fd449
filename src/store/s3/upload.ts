/** Uploads of files: one request up to a size, above it in parts, some of them in flight. */
import { type FileHandle, open } from "node:fs/promises";
import type { CompletedPart } from "@aws-sdk/client-s3";
import { asFault, Fault } from "../../base/fault.js";
import { checkAborted, type Semaphore, sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { type ObjectPlace, tagOf } from "./read.js";
import type { Answer } from "./requests.js";
import { bodyOf, putIf } from "./write.js";

export interface Upload extends ObjectPlace {
  readonly path: string;
  readonly bytes: number;
  /** One permit for each body that is held in memory. */
  readonly bodies: Semaphore;
}

/** "there": something has this key already, perhaps this very upload by an earlier try. */
export type Uploaded = "done" | "there";

/** Uploads a file of at most `LIMITS.s3PutBytesMax` under a key that nothing has. */
export async function uploadWhole(
  upload: Upload,
  signal: AbortSignal | undefined,
): Promise<Uploaded> {
  const written = await upload.bodies.run(async () => {
    const bytes = await withFile(upload, (file) => readPart(file, upload, 0, upload.bytes));
    return putIf(upload, bytes, { IfNoneMatch: "*" }, signal);
  }, signal);
  // A publication is not seen before a manifest names it: nothing rests on what is unknown here.
  if (written.as === "unknown") throw written.fault;
  return written.as === "done" ? "done" : "there";
}

/** Uploads a file of any size in parts, likewise. A failed one leaves no parts behind. */
export async function uploadParts(
  upload: Upload,
  signal: AbortSignal | undefined,
): Promise<Uploaded> {
  const partBytes = partBytesOf(upload);
  const created = await create(upload, signal);
  let end: "cut" | "refused" | "complete" = "cut";
  try {
    const parts = await withFile(upload, (file) =>
      sendParts({ ...upload, id: created.id, partBytes, file }, signal),
    );
    const answer = await complete(upload, created.id, parts, signal);
    end = answer.as === "ok" ? "complete" : "refused";
    return answer.as === "ok" ? "done" : "there";
  } finally {
    if (end === "cut") await abandonSurely(upload, created.id);
    if (end === "refused") await abandon(upload, created.id);
    if (created.mayBeSeveral) await abandonAll(upload);
  }
}

/** Throws "store/oversized": no number of parts that S3 takes would do. */
function partBytesOf({ bytes, key }: Upload): number {
  const least = Math.ceil(bytes / LIMITS.s3PartsMax);
  const partBytes = Math.max(LIMITS.s3PartBytes, least);
  if (partBytes > LIMITS.s3PartBytesMax)
    throw new Fault("store/oversized", {
      file: key,
      bytes,
      bytesMax: LIMITS.s3PartBytesMax * LIMITS.s3PartsMax,
    });
  return partBytes;
}

interface Created {
  readonly id: string;
  /** A reply was lost: there may be a second upload, whose id nobody knows. */
  readonly mayBeSeveral: boolean;
}

async function create(
  { requests, bucket, key }: Upload,
  signal: AbortSignal | undefined,
): Promise<Created> {
  let mayBeSeveral = false;
  const answer = await requests.ask(
    {
      operation: "CreateMultipartUpload",
      key,
      onUnknown: () => {
        mayBeSeveral = true;
      },
      send: (api, options) =>
        api.createMultipartUpload(
          { Bucket: bucket, Key: key, ChecksumAlgorithm: "SHA256" },
          options,
        ),
    },
    signal,
  );
  const id = resultOf(answer, key).UploadId;
  if (id === undefined) throw new Fault("store/failed", { key, reason: "an upload without an id" });
  return { id, mayBeSeveral };
}

function resultOf<T>(answer: Answer<T>, key: string): T {
  if (answer.as === "ok") return answer.value;
  throw new Fault("store/failed", { key, reason: "the upload has vanished", answer: answer.as });
}

interface PartedUpload extends Upload {
  readonly id: string;
  readonly partBytes: number;
  readonly file: FileHandle;
}

/** Sends all parts, some at once. The first that fails stops the others. */
async function sendParts(
  upload: PartedUpload,
  signal: AbortSignal | undefined,
): Promise<CompletedPart[]> {
  const count = Math.max(1, Math.ceil(upload.bytes / upload.partBytes));
  const parts: CompletedPart[] = [];
  const failed = new AbortController();
  const either = AbortSignal.any(signal === undefined ? [failed.signal] : [failed.signal, signal]);
  let next = 0;
  const work = async () => {
    for (let at = next++; at < count; at = next++) parts[at] = await sendPart(upload, at, either);
  };
  const workers = Array.from({ length: Math.min(count, LIMITS.s3PartsInFlightMax) }, () =>
    work().catch((error: unknown) => {
      failed.abort(asFault(error)); // of which the first counts
    }),
  );
  await Promise.all(workers);
  checkAborted(either);
  return parts;
}

function sendPart(upload: PartedUpload, at: number, signal: AbortSignal): Promise<CompletedPart> {
  const { requests, bucket, key, id, partBytes, file, bytes } = upload;
  const number = { PartNumber: at + 1 };
  return upload.bodies.run(async () => {
    const start = at * partBytes;
    const part = await readPart(file, upload, start, Math.min(start + partBytes, bytes));
    const body = await bodyOf(part);
    const input = { Bucket: bucket, Key: key, UploadId: id, ...number, ...body };
    const answer = await requests.ask(
      {
        operation: "UploadPart",
        key,
        bytesOut: part.length,
        send: (api, options) => api.uploadPart(input, options),
      },
      signal,
    );
    const tag = tagOf(resultOf(answer, key).ETag, upload);
    return { ...number, ETag: tag, ChecksumSHA256: body.ChecksumSHA256 };
  }, signal);
}

/** A try that was lost may have completed it: the next says that something is there, or nothing. */
function complete(
  { requests, bucket, key }: Upload,
  id: string,
  parts: CompletedPart[],
  signal: AbortSignal | undefined,
): Promise<Answer<unknown>> {
  const input = {
    Bucket: bucket,
    Key: key,
    UploadId: id,
    IfNoneMatch: "*",
    MultipartUpload: { Parts: parts },
  };
  return requests.ask(
    {
      operation: "CompleteMultipartUpload",
      key,
      isSlow: true,
      send: (api, options) => api.completeMultipartUpload(input, options),
    },
    signal,
  );
}

/** Milliseconds until a part is looked for that was under way when its upload was removed. */
const PART_SETTLES_MS = 200;
const ABANDONS_MAX = 5;

/**
 * Removes an upload with parts that may be under way yet: such a part may be kept all the same, so
 * it is removed until there is none.
 */
async function abandonSurely(place: ObjectPlace, id: string): Promise<void> {
  for (let at = 0; at < ABANDONS_MAX && (await abandon(place, id)) === "done"; at++)
    await sleep(PART_SETTLES_MS);
}

/**
 * Removes an upload. What cannot be removed now is removed by a sweep. Nobody's abort keeps it from
 * being tried.
 */
async function abandon(
  { requests, bucket, key }: ObjectPlace,
  id: string,
): Promise<"done" | "missing"> {
  const input = { Bucket: bucket, Key: key, UploadId: id };
  const answer = await requests
    .ask(
      {
        operation: "AbortMultipartUpload",
        key,
        send: (api, options) => api.abortMultipartUpload(input, options),
      },
      undefined,
    )
    .catch(() => undefined);
  return answer?.as === "ok" ? "done" : "missing";
}

/** Removes all uploads of one key: a publication's name is its own, so they are all ours. */
async function abandonAll(place: ObjectPlace): Promise<void> {
  const { requests, bucket, key } = place;
  const answer = await requests
    .ask(
      {
        operation: "ListMultipartUploads",
        key,
        send: (api, options) => api.listMultipartUploads({ Bucket: bucket, Prefix: key }, options),
      },
      undefined,
    )
    .catch(() => undefined);
  if (answer?.as !== "ok") return;
  for (const { Key, UploadId } of answer.value.Uploads ?? [])
    if (Key === key && UploadId !== undefined) await abandon(place, UploadId);
}

async function withFile<T>(
  { path, key }: Upload,
  work: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await open(path, "r").catch((error: unknown) => {
    throw fileFault(error, key);
  });
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

async function readPart(
  file: FileHandle,
  { key }: Upload,
  start: number,
  end: number,
): Promise<Uint8Array> {
  const part = new Uint8Array(end - start);
  let filled = 0;
  while (filled < part.length) {
    const { bytesRead } = await file
      .read(part, filled, part.length - filled, start + filled)
      .catch((error: unknown) => {
        throw fileFault(error, key);
      });
    if (bytesRead === 0)
      throw new Fault("store/failed", { key, reason: "the file became shorter", at: start });
    filled += bytesRead;
  }
  return part;
}

/** Throws nothing: makes the fault of a local file that cannot be read. */
export function fileFault(error: unknown, key: string): Fault {
  const fault = asFault(error);
  const { code } = error as NodeJS.ErrnoException;
  return fault.code === "base/internal"
    ? new Fault("store/failed", { key, reason: code ?? String(error) }, error)
    : fault;
}
