/**
 * The batch API: what a client wants to move, and where each object goes or comes from. Every
 * object that was asked for comes back, with actions, with an error, or with neither (there
 * already): a client waits for ever for one that does not. Source: git-lfs docs/api/batch.md.
 */
import { asFault, Fault } from "../base/fault.js";
import { Semaphore } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import { isSha256 } from "../git/lfs-pointer.js";
import type { LfsObject, LfsStore } from "./store.js";

export type LfsOperation = "download" | "upload";

export interface BatchRequest {
  readonly operation: LfsOperation;
  readonly objects: readonly LfsObject[];
  /** Undefined: one we know. */
  readonly unknownHash: string | undefined;
}

export interface BatchAction {
  readonly href: string;
  readonly header?: Readonly<Record<string, string>>;
  readonly expires_in: number;
}

export interface BatchObject extends LfsObject {
  /** The links carry their own proof: credentials are not needed and should not travel. */
  readonly authenticated?: true;
  readonly actions?: Readonly<Partial<Record<"upload" | "download" | "verify", BatchAction>>>;
  readonly error?: { readonly code: number; readonly message: string };
}

export interface BatchReply {
  readonly transfer: "basic";
  readonly hash_algo: "sha256";
  readonly objects: readonly BatchObject[];
}

/** Addresses of one object on this server. */
export interface BatchLinks {
  transfer(operation: LfsOperation, object: LfsObject): string;
  verify(object: LfsObject): string;
}

/** "sha_256" is what the JavaScript client of the hub says. */
const HASHES: ReadonlySet<unknown> = new Set([undefined, null, "", "sha256", "sha_256"]);

/**
 * Reads a request. Throws "lfs/bad-batch", "lfs/too-large". A fault of one object only is answered
 * with that object.
 */
export function readBatchRequest(body: unknown): BatchRequest {
  const {
    operation,
    objects,
    hash_algo: hash,
  } = (body ?? {}) as { operation?: unknown; objects?: unknown; hash_algo?: unknown };
  if (operation !== "download" && operation !== "upload")
    throw new Fault("lfs/bad-batch", { reason: "operation is download or upload" });
  if (!Array.isArray(objects)) throw new Fault("lfs/bad-batch", { reason: "objects is a list" });
  if (objects.length > LIMITS.lfsBatchObjectsMax) {
    throw new Fault("lfs/too-large", {
      objects: objects.length,
      lfsBatchObjectsMax: LIMITS.lfsBatchObjectsMax,
    });
  }
  return {
    operation,
    objects: objects.map(readObject),
    unknownHash: HASHES.has(hash) ? undefined : String(hash).slice(0, LIMITS.messageNameBytesMax),
  };
}

/**
 * As sent, so that it can be echoed; `complaint` looks closer. Throws "lfs/bad-batch" where nothing
 * could be echoed.
 */
function readObject(value: unknown): LfsObject {
  const { oid, size } = (value ?? {}) as { oid?: unknown; size?: unknown };
  if (typeof oid !== "string" || typeof size !== "number")
    throw new Fault("lfs/bad-batch", { reason: "each object has an oid and a size" });
  return { oid, size };
}

/** Returns the fault of an object as named, or undefined if there is none. */
export function complaint({ oid, size }: LfsObject): string | undefined {
  if (!isSha256(oid)) return "the oid is not a SHA-256 in 64 lower-case hex digits";
  if (!Number.isSafeInteger(size) || size < 0) return "the size is not a number of bytes";
  if (size > LIMITS.lfsObjectBytesMax)
    return `larger than this server accepts (${LIMITS.lfsObjectBytesMax} bytes)`;
  return undefined;
}

export async function answerBatch(
  request: BatchRequest,
  store: LfsStore,
  links: BatchLinks,
  signal: AbortSignal,
): Promise<BatchReply> {
  const looks = new Semaphore(LIMITS.lfsLooksMax);
  const answer = (object: LfsObject) =>
    looks.run(() => answerObject(request, object, store, links, signal), signal);
  return {
    transfer: "basic",
    hash_algo: "sha256",
    objects: await Promise.all(request.objects.map(answer)),
  };
}

async function answerObject(
  { operation, unknownHash }: BatchRequest,
  object: LfsObject,
  store: LfsStore,
  links: BatchLinks,
  signal: AbortSignal,
): Promise<BatchObject> {
  const { oid, size } = object;
  const failed = (code: number, message: string): BatchObject => ({
    oid,
    size,
    error: { code, message },
  });
  if (unknownHash !== undefined) return failed(409, `the hash is sha256 here, not ${unknownHash}`);
  const wrong = complaint(object);
  if (wrong !== undefined) return failed(422, wrong);
  const present =
    operation === "download" && store.readable !== undefined
      ? await store.readable(object, signal)
      : await store.size(object, signal);
  if (present !== undefined && present !== size)
    return failed(422, `this object has ${present} bytes, not ${size}`);
  const action = (href: string): BatchAction => ({ href, expires_in: LIMITS.lfsLinkSeconds });
  if (operation === "download") {
    if (present === undefined) return failed(404, "the repository has no such object");
    let href: string;
    try {
      href = (await store.link(object, signal)) ?? links.transfer("download", object);
    } catch (error) {
      const fault = asFault(error);
      if (fault.code !== "lfs/gone") throw fault;
      return failed(fault.row.http, fault.message); // a client that was given a link would ask for it again and again
    }
    return { oid, size, authenticated: true, actions: { download: action(href) } };
  }
  if (present !== undefined) return { oid, size };
  return {
    oid,
    size,
    authenticated: true,
    actions: {
      upload: action(links.transfer("upload", object)),
      verify: action(links.verify(object)),
    },
  };
}
