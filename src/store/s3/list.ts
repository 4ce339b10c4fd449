/** Lists of keys below a prefix, a page at a time, and deletions of what they name. */
import type { ListObjectsV2CommandOutput } from "@aws-sdk/client-s3";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { Amount } from "../store.js";
import type { Answer, S3Requests } from "./requests.js";

export interface Listed {
  readonly requests: S3Requests;
  readonly bucket: string;
  /** With the store's own; ends in "/". */
  readonly prefix: string;
}

type Page = ListObjectsV2CommandOutput;

/** Pages in bytewise order. `delimiter`: what lies deeper is told by its folder alone. */
export async function* pagesOf(
  { requests, bucket, prefix }: Listed,
  delimiter: "/" | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Page> {
  let token: string | undefined;
  do {
    const input = {
      Bucket: bucket,
      Prefix: prefix,
      MaxKeys: LIMITS.s3PageKeysMax,
      ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
      ...(token === undefined ? {} : { ContinuationToken: token }),
    };
    const answer = await requests.ask<Page>(
      {
        operation: "ListObjectsV2",
        key: prefix,
        send: (api, options) => api.listObjectsV2(input, options),
      },
      signal,
    );
    const page = listed(answer, bucket);
    yield page;
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    if (page.IsTruncated === true && token === undefined)
      throw new Fault("store/failed", { key: prefix, reason: "a page without a next one" });
  } while (token !== undefined);
}

/** A list of nothing is an empty page: what is missing is the bucket. */
function listed<T>(answer: Answer<T>, bucket: string): T {
  if (answer.as === "ok") return answer.value;
  throw new Fault("store/no-bucket", { bucket });
}

/** Removes all objects and unfinished uploads below a prefix; counts the objects. */
export async function deleteBelow(place: Listed, signal: AbortSignal | undefined): Promise<Amount> {
  const removed = { files: 0, bytes: 0 };
  for await (const { Contents = [] } of pagesOf(place, undefined, signal)) {
    await deletePage(
      place,
      Contents.map(({ Key = "" }) => Key),
      signal,
    );
    removed.files += Contents.length;
    for (const { Size = 0 } of Contents) removed.bytes += Size;
  }
  await abandonBelow(place, Number.POSITIVE_INFINITY, signal);
  return removed;
}

async function deletePage(
  { requests, bucket, prefix }: Listed,
  keys: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  if (keys.length === 0) return;
  const input = {
    Bucket: bucket,
    Delete: { Quiet: true, Objects: keys.map((Key) => ({ Key })) },
  };
  const answer = await requests.ask(
    {
      operation: "DeleteObjects",
      key: prefix,
      send: (api, options) => api.deleteObjects(input, options),
    },
    signal,
  );
  const [left] = listed(answer, bucket).Errors ?? [];
  if (left !== undefined)
    throw new Fault("store/failed", { key: left.Key, reason: left.Code ?? "not deleted" });
}

/** Removes uploads in parts that were begun before `beforeMs`, and counts what they held. */
export async function abandonBelow(
  place: Listed,
  beforeMs: number,
  signal: AbortSignal | undefined,
): Promise<Amount> {
  const swept = { files: 0, bytes: 0 };
  for (const { key, id } of await oldUploads(place, beforeMs, signal)) {
    const bytes = await uploadedBytes(place, key, id, signal);
    const input = { Bucket: place.bucket, Key: key, UploadId: id };
    const answer = await place.requests.ask(
      {
        operation: "AbortMultipartUpload",
        key,
        send: (api, options) => api.abortMultipartUpload(input, options),
      },
      signal,
    );
    if (answer.as !== "ok") continue; // it has ended meanwhile
    swept.files++;
    swept.bytes += bytes;
  }
  return swept;
}

interface OldUpload {
  readonly key: string;
  readonly id: string;
}

/** At most `LIMITS.s3SweepMax`: what is left is found by the next sweep. */
async function oldUploads(
  { requests, bucket, prefix }: Listed,
  beforeMs: number,
  signal: AbortSignal | undefined,
): Promise<readonly OldUpload[]> {
  const found: OldUpload[] = [];
  let marker: { KeyMarker: string; UploadIdMarker?: string } | undefined;
  do {
    const input = { Bucket: bucket, Prefix: prefix, ...marker };
    const answer = await requests.ask(
      {
        operation: "ListMultipartUploads",
        key: prefix,
        send: (api, options) => api.listMultipartUploads(input, options),
      },
      signal,
    );
    const page = listed(answer, bucket);
    for (const { Key: key, UploadId: id, Initiated } of page.Uploads ?? [])
      if (key !== undefined && id !== undefined && (Initiated?.getTime() ?? 0) < beforeMs)
        found.push({ key, id });
    marker = nextUploads(page);
  } while (marker !== undefined && found.length < LIMITS.s3SweepMax);
  return found;
}

function nextUploads(page: {
  readonly IsTruncated?: boolean | undefined;
  readonly NextKeyMarker?: string | undefined;
  readonly NextUploadIdMarker?: string | undefined;
}): { KeyMarker: string; UploadIdMarker?: string } | undefined {
  const { IsTruncated, NextKeyMarker, NextUploadIdMarker } = page;
  if (IsTruncated !== true || NextKeyMarker === undefined) return undefined;
  return {
    KeyMarker: NextKeyMarker,
    ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }),
  };
}

/** Bytes of the first page of an upload's parts: what is told of a sweep, nothing rests on it. */
async function uploadedBytes(
  { requests, bucket }: Listed,
  key: string,
  id: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const answer = await requests.ask(
    {
      operation: "ListParts",
      key,
      send: (api, options) => api.listParts({ Bucket: bucket, Key: key, UploadId: id }, options),
    },
    signal,
  );
  if (answer.as !== "ok") return 0;
  return (answer.value.Parts ?? []).reduce((sum, { Size = 0 }) => sum + Size, 0);
}
