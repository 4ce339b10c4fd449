/**
 * Bodies of objects. One that is not read keeps its connection, so each is read to its end or
 * destroyed; one that breaks off or stands still is asked for again from where it was.
 */
import type { Readable } from "node:stream";
import type { GetObjectCommandInput, GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { Fault } from "../../base/fault.js";
import { checkAborted, sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { ObjectStart } from "../cache/download.js";
import type { Stored, StoreTag } from "../store.js";
import { outcomeOf } from "./outcome.js";
import type { Answer, S3Requests } from "./requests.js";

const OPERATION = "GetObject";

export interface ObjectPlace {
  readonly requests: S3Requests;
  readonly bucket: string;
  /** With the store's prefix. */
  readonly key: string;
}

/**
 * Returns the whole of an object, "unchanged" where it still is what `tag` names, undefined where
 * there is none. A body that is cut is read again from its beginning: the object may be another
 * meanwhile. Throws "store/oversized".
 */
export async function readWhole(
  place: ObjectPlace,
  tag: StoreTag | undefined,
  bytesMax: number,
  signal: AbortSignal | undefined,
): Promise<Stored | "unchanged" | undefined> {
  const patience = place.requests.patience();
  let misfits = 0;
  for (;;) {
    const answer = await ask(place, tag === undefined ? {} : { IfNoneMatch: tag }, signal);
    if (answer.as === "missing") return undefined;
    if (answer.as === "unchanged") return "unchanged";
    if (answer.as !== "ok") throw new Fault("store/failed", { key: place.key, answer: answer.as });
    const { ETag, ContentLength } = answer.value;
    const body = answer.value.Body as Readable;
    const bytes = new Uint8Array(admitted(ContentLength, bytesMax, place, body));
    const end = await fill(place, body, bytes, 0, signal);
    const found = { bytes, tag: tagOf(ETag, place) };
    const isWhole = end.at === bytes.length;
    if (isWhole && place.requests.tagDigests.fits(found.tag, bytes)) return found;
    if (isWhole) await pauseForAnother(place, misfits++, signal);
    else if (!(await patience.again(end.failure, signal))) throw end.failure.fault;
    place.requests.figuresOf(OPERATION).retries++;
  }
}

/** Waits a moment before an object is read again whose content and tag are not one another's. */
async function pauseForAnother(
  { key }: ObjectPlace,
  misfits: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (misfits >= LIMITS.s3MisfitsMax)
    throw new Fault("store/failed", {
      key,
      reason: "one content is answered with the tag of another, again and again",
    });
  await sleep(Math.random() * LIMITS.s3MisfitMs * 2 ** misfits, signal);
}

/**
 * Returns the beginning of an object, at most `bytesMax` bytes of it, and how many there are;
 * undefined where there is none.
 */
export async function readStart(
  place: ObjectPlace,
  bytesMax: number,
  signal: AbortSignal | undefined,
): Promise<ObjectStart | undefined> {
  const patience = place.requests.patience();
  for (;;) {
    const answer = await ask(place, { Range: `bytes=0-${bytesMax - 1}` }, signal);
    if (answer.as === "missing") return undefined;
    if (answer.as === "beyond") return { bytes: new Uint8Array(0), total: 0 };
    if (answer.as !== "ok") throw new Fault("store/failed", { key: place.key, answer: answer.as });
    const { ContentRange = "", ContentLength } = answer.value;
    const body = answer.value.Body as Readable;
    const bytes = new Uint8Array(admitted(ContentLength, bytesMax, place, body));
    const end = await fill(place, body, bytes, 0, signal);
    // An empty object may be answered whole.
    const [, total = bytes.length] = /^bytes 0-\d+\/(\d+)$/.exec(ContentRange) ?? [];
    if (end.at === bytes.length) return { bytes, total: Number(total) };
    if (!(await patience.again(end.failure, signal))) throw end.failure.fault;
    place.requests.figuresOf(OPERATION).retries++;
  }
}

/** Returns bytes [start, end), `start` below `end`. Throws "store/missing". */
export async function readRange(
  place: ObjectPlace,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start);
  const patience = place.requests.patience();
  let tag: StoreTag | undefined;
  let at = 0;
  for (;;) {
    const answer = await askRange(place, start + at, end, tag, signal);
    tag = answer.ETag;
    const part = await fill(place, answer.Body as Readable, bytes, at, signal);
    if (part.at === bytes.length) return bytes;
    at = part.at;
    if (!(await patience.again(part.failure, signal))) throw part.failure.fault;
    place.requests.figuresOf(OPERATION).retries++;
  }
}

/** `tag`: of the part that was read before. */
async function askRange(
  place: ObjectPlace,
  start: number,
  end: number,
  tag: StoreTag | undefined,
  signal: AbortSignal | undefined,
): Promise<GetObjectCommandOutput> {
  const range = { Range: `bytes=${start}-${end - 1}` };
  const input = tag === undefined ? range : { ...range, IfMatch: tag };
  const answer = await ask(place, input, signal);
  const { key } = place;
  if (answer.as === "missing") throw new Fault("store/missing", { key });
  if (answer.as === "beyond")
    throw new Fault("store/failed", { key, reason: "shorter than expected", at: start });
  if (answer.as !== "ok")
    throw new Fault("store/failed", { key, reason: "it was replaced while it was read" });
  const { ContentRange = "", ContentLength } = answer.value;
  if (ContentLength === end - start && ContentRange.startsWith(`bytes ${start}-${end - 1}/`))
    return answer.value;
  (answer.value.Body as Readable).destroy();
  throw new Fault("store/failed", {
    key,
    reason: "shorter than expected, or the range was not honoured",
    expected: `${start}-${end - 1}`,
    range: ContentRange,
  });
}

function ask(
  { requests, bucket, key }: ObjectPlace,
  input: Partial<GetObjectCommandInput>,
  signal: AbortSignal | undefined,
): Promise<Answer<GetObjectCommandOutput>> {
  return requests.ask(
    {
      operation: OPERATION,
      key,
      send: (api, options) => api.getObject({ Bucket: bucket, Key: key, ...input }, options),
    },
    signal,
  );
}

/** Returns the length of a body that is not too long; of one that is, destroys it and throws. */
function admitted(
  length: number | undefined,
  bytesMax: number,
  { key }: ObjectPlace,
  body: Readable,
): number {
  if (length !== undefined && length <= bytesMax) return length;
  body.destroy();
  if (length === undefined)
    throw new Fault("store/failed", { key, reason: "an answer without Content-Length" });
  throw new Fault("store/oversized", { file: key, bytes: length, bytesMax });
}

/** Throws "store/failed" where storage gave no ETag. */
export function tagOf(tag: StoreTag | undefined, { key }: { readonly key: string }): StoreTag {
  if (tag !== undefined && tag !== "") return tag;
  throw new Fault("store/failed", { key, reason: "an answer without ETag" });
}

interface Filled {
  readonly at: number;
  /** Why there is no more. */
  readonly failure: { readonly as: "unknown"; readonly fault: Fault };
}

/** Reads a body into `target` from `at` on; returns where it ended, and why where that is early. */
async function fill(
  { requests, key }: ObjectPlace,
  body: Readable,
  target: Uint8Array,
  at: number,
  signal: AbortSignal | undefined,
): Promise<Filled> {
  let filled = at;
  let error: unknown = Object.assign(new Error("the body ends early"), { code: "ECONNRESET" });
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      if (chunk.length > target.length - filled) break; // which destroys it
      target.set(chunk, filled);
      filled += chunk.length;
    }
  } catch (thrown) {
    error = thrown;
  }
  requests.figuresOf(OPERATION).bytesIn += filled - at;
  if (filled < target.length) checkAborted(signal);
  const outcome = outcomeOf(error, { operation: OPERATION, key });
  const fault = "fault" in outcome ? outcome.fault : new Fault("store/unreachable", { key });
  return { at: filled, failure: { as: "unknown", fault } };
}
