/**
 * Storage in a bucket of S3, or of a server that speaks like it. Relied on are the conditions of
 * PUT and of the completion of uploads in parts, lists and reads that see what was written, and
 * ranges (probe.ts looks). Durable means: storage has said so. Keys are "<prefix>/<key>", tags are
 * ETags.
 *
 * Large objects are read by ranges. Whole local copies are LocalCache's.
 */
import { stat } from "node:fs/promises";
import { compareBytes } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { checkAborted, Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { ObjectStart } from "../cache/download.js";
import { LocalCache } from "../cache/local-cache.js";
import type { LocalCopy } from "../blocks.js";
import { checkKey } from "../key.js";
import type { Amount, Store, Stored, StoreEntry, StoreKey, StoreTag } from "../store.js";
import { abandonBelow, deleteBelow, type Listed, pagesOf } from "./list.js";
import { type ObjectPlace, readRange, readStart, readWhole } from "./read.js";
import { type S3Figures, S3Requests } from "./requests.js";
import { connectS3, type S3Clients, type S3Connection } from "./sdk.js";
import { fileFault, type Upload, type Uploaded, uploadParts, uploadWhole } from "./upload.js";
import { type Condition, putIf, putRequest } from "./write.js";

export interface S3Options extends S3Connection {
  /** "a/b"; without: keys begin at the bucket's root. */
  readonly prefix?: string;
  /** Milliseconds within which a call is tried again. */
  readonly patienceMs?: number;
  readonly cache: {
    readonly folder: string;
    readonly bytesMax: number;
  };
}

/**
 * Opens a store. Throws "store/no-bucket", "store/denied", "store/bad-signature" and their like
 * where the bucket cannot be listed. Whether it is fit is `probeS3`'s question.
 */
export async function openS3Store(options: S3Options, signal?: AbortSignal): Promise<S3Store> {
  const prefix = options.prefix === undefined ? "" : `${checkKey(options.prefix)}/`;
  const clients = await connectS3(options);
  try {
    const store = new S3Store(options, prefix, clients);
    await store.reach(signal);
    await store.cache.open();
    return store;
  } catch (error) {
    clients.close();
    throw error;
  }
}

export class S3Store implements Store {
  readonly kind = "s3";
  readonly cache: LocalCache;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #clients: S3Clients;
  readonly #requests: S3Requests;
  readonly #bodies = new Semaphore(LIMITS.s3BodiesInFlightMax);

  constructor(options: S3Options, prefix: string, clients: S3Clients) {
    this.#bucket = options.bucket;
    this.#prefix = prefix;
    this.#clients = clients;
    this.#requests = new S3Requests(clients, options.patienceMs ?? patienceOf(options));
    this.cache = new LocalCache({ ...options.cache, source: this });
  }

  /** Requests so far by operation ("PutObject"). A view: it goes on counting. */
  get figures(): ReadonlyMap<string, Readonly<S3Figures>> {
    return this.#requests.figures;
  }

  /** Asks for one page of a list, which needs a bucket, its permission and our credentials. */
  async reach(signal?: AbortSignal): Promise<void> {
    for await (const _ of pagesOf(this.#below(""), "/", signal)) return;
  }

  /** Answers that were held against their tags, and those that did not fit. A view. */
  get tagFigures(): Readonly<{ readonly checked: number; readonly wrong: number }> {
    return this.#requests.tagDigests.figures;
  }

  /** Ends the connections, and with them what is under way. */
  close(): void {
    void this.cache.close();
    this.#clients.close();
  }

  async get(key: StoreKey, bytesMax: number, signal?: AbortSignal): Promise<Stored | undefined> {
    const stored = await readWhole(this.#place(key), undefined, bytesMax, signal);
    if (stored !== "unchanged") return stored;
    throw new Fault("store/failed", { key, reason: "an answer to another question" });
  }

  async getIfChanged(
    key: StoreKey,
    tag: StoreTag,
    bytesMax: number,
    signal?: AbortSignal,
  ): Promise<Stored | "unchanged" | undefined> {
    return readWhole(this.#place(key), tag, bytesMax, signal);
  }

  async readRange(
    key: StoreKey,
    start: number,
    end: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    if (end > start) return readRange(this.#place(key), start, end, signal);
    if ((await this.size(key, signal)) === undefined) throw new Fault("store/missing", { key });
    return new Uint8Array(0);
  }

  /** Reads at most `bytesMax` bytes from the beginning; undefined where there is nothing. */
  async readStart(
    key: StoreKey,
    bytesMax: number,
    signal?: AbortSignal,
  ): Promise<ObjectStart | undefined> {
    return readStart(this.#place(key), bytesMax, signal);
  }

  async size(key: StoreKey, signal?: AbortSignal): Promise<number | undefined> {
    const place = this.#place(key);
    const answer = await this.#requests.ask(
      {
        operation: "HeadObject",
        key: place.key,
        send: (api, options) => api.headObject({ Bucket: place.bucket, Key: place.key }, options),
      },
      signal,
    );
    if (answer.as !== "ok") return undefined;
    const { ContentLength } = answer.value;
    if (ContentLength !== undefined) return ContentLength;
    throw new Fault("store/failed", { key, reason: "an answer without Content-Length" });
  }

  async putIfAbsent(key: StoreKey, bytes: Uint8Array, signal?: AbortSignal): Promise<StoreTag> {
    const written = await this.#putIf(key, bytes, { IfNoneMatch: "*" }, signal);
    if (written.as === "done") return written.tag;
    // Keys that are put so are never replaced, so other bytes were there before ours.
    if (written.as === "not-ours") throw new Fault("store/exists", { key });
    throw unknownOutcome(key, written.fault);
  }

  async putIfMatch(
    key: StoreKey,
    bytes: Uint8Array,
    tag: StoreTag | undefined,
    signal?: AbortSignal,
  ): Promise<StoreTag> {
    const condition = tag === undefined ? ({ IfNoneMatch: "*" } as const) : { IfMatch: tag };
    const written = await this.#putIf(key, bytes, condition, signal);
    if (written.as === "done") return written.tag;
    if (written.as === "not-ours" && !written.mayHaveLanded)
      throw new Fault("store/conflict", { key });
    // Ours may have landed and been replaced: whoever did may have seen it.
    throw unknownOutcome(key, "fault" in written ? written.fault : undefined);
  }

  async put(key: StoreKey, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const answer = await this.#requests.ask(await putRequest(this.#place(key), bytes), signal);
    if (answer.as !== "ok")
      throw new Fault("store/failed", { key, reason: "not stored", answer: answer.as });
    await this.cache.forget(key);
  }

  async publish(key: StoreKey, path: string, signal?: AbortSignal): Promise<void> {
    const upload = await this.#upload(key, path, signal);
    const isSmall = upload.bytes <= LIMITS.s3PutBytesMax;
    const uploaded = await (isSmall ? uploadWhole(upload, signal) : uploadParts(upload, signal));
    await this.#published(key, upload, uploaded, signal);
  }

  /** The same in parts, whatever the size. */
  async publishParts(key: StoreKey, path: string, signal?: AbortSignal): Promise<void> {
    const upload = await this.#upload(key, path, signal);
    await this.#published(key, upload, await uploadParts(upload, signal), signal);
  }

  async *list(prefix: StoreKey, signal?: AbortSignal): AsyncIterable<StoreEntry> {
    // Some tools put an object in the place of a folder.
    for await (const { Contents = [] } of pagesOf(this.#below(prefix), undefined, signal))
      for (const { Key = "", Size = 0 } of Contents)
        if (!Key.endsWith("/")) yield { key: Key.slice(this.#prefix.length), bytes: Size };
  }

  async names(prefix: StoreKey, signal?: AbortSignal): Promise<readonly string[]> {
    const below = this.#below(prefix);
    const names: string[] = [];
    for await (const { Contents = [], CommonPrefixes = [] } of pagesOf(below, "/", signal)) {
      for (const { Key = "" } of Contents) if (!Key.endsWith("/")) names.push(Key);
      for (const { Prefix = "" } of CommonPrefixes) names.push(Prefix);
      if (names.length > LIMITS.storeNamesMax)
        throw new Fault("store/failed", { key: prefix, reason: "too many names" });
    }
    return names.map((name) => name.slice(below.prefix.length)).sort();
  }

  async delete(key: StoreKey, signal?: AbortSignal): Promise<void> {
    const place = this.#place(key);
    await this.#requests.ask(
      {
        operation: "DeleteObject",
        key: place.key,
        send: (api, options) => api.deleteObject({ Bucket: place.bucket, Key: place.key }, options),
      },
      signal,
    );
    await this.cache.forget(key);
  }

  async deleteAll(prefix: StoreKey, signal?: AbortSignal): Promise<Amount> {
    return deleteBelow(this.#below(prefix), signal);
  }

  async sweep(prefix: StoreKey, beforeMs: number, signal?: AbortSignal): Promise<Amount> {
    return abandonBelow(this.#below(prefix), beforeMs, signal);
  }

  async localFile(key: StoreKey, signal?: AbortSignal): Promise<string> {
    return this.cache.file(checkKey(key), signal);
  }

  async localCopy(key: StoreKey, bytes: number, signal?: AbortSignal): Promise<LocalCopy> {
    return this.cache.copy(checkKey(key), bytes, signal);
  }

  #place(key: StoreKey): ObjectPlace {
    const { bucket, requests } = this.#room();
    return { bucket, requests, key: this.#prefix + checkKey(key) };
  }

  #below(prefix: StoreKey): Listed {
    if (prefix !== "") checkKey(prefix.replace(/\/$/, ""));
    return { ...this.#room(), prefix: this.#prefix + prefix };
  }

  #room() {
    return { bucket: this.#bucket, requests: this.#requests };
  }

  async #upload(key: StoreKey, path: string, signal: AbortSignal | undefined): Promise<Upload> {
    const place = this.#place(key);
    checkAborted(signal);
    const { size } = await stat(path).catch((error: unknown) => {
      throw fileFault(error, key);
    });
    return { ...place, path, bytes: size, bodies: this.#bodies };
  }

  async #published(
    key: StoreKey,
    { path, bytes }: Upload,
    uploaded: Uploaded,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (uploaded === "there") await this.#mustHave(key, bytes, signal);
    await this.cache.adopt(key, path, bytes);
  }

  /** A publication's name is its own: what is there and has its size is an earlier try of it. */
  async #mustHave(key: StoreKey, expected: number, signal: AbortSignal | undefined): Promise<void> {
    const bytes = await this.size(key, signal);
    if (bytes === undefined) throw new Fault("store/failed", { key, reason: "it has vanished" });
    if (bytes !== expected) throw new Fault("store/conflict", { key, bytes, expected });
  }

  async #putIf(
    key: StoreKey,
    bytes: Uint8Array,
    condition: Condition,
    signal: AbortSignal | undefined,
  ): Promise<Settled> {
    const written = await putIf(this.#place(key), bytes, condition, signal);
    if (written.as !== "refused") return written;
    const { mayHaveLanded } = written;
    const there = mayHaveLanded ? await this.#whatIsThere(key, bytes, signal) : undefined;
    return there ?? { as: "not-ours", mayHaveLanded };
  }

  /** Reads back what has a key after a write of ours that may have landed. */
  async #whatIsThere(
    key: StoreKey,
    ours: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Settled | undefined> {
    try {
      const there = await this.get(key, ours.length, signal);
      if (there === undefined) return { as: "unknown", fault: new Fault("store/missing", { key }) };
      return compareBytes(there.bytes, ours) === 0 ? { as: "done", tag: there.tag } : undefined;
    } catch (error) {
      checkAborted(signal);
      if (!(error instanceof Fault)) throw error;
      return error.code === "store/oversized" ? undefined : { as: "unknown", fault: error };
    }
  }
}

/** Three silent tries, and not less than what a restart takes. */
function patienceOf({ silenceMs = LIMITS.s3SilenceMs }: S3Options): number {
  return Math.max(LIMITS.s3PatienceMs, 3 * silenceMs);
}

/** What became of a conditional write, after all tries and a look at what is there. */
type Settled =
  | { readonly as: "done"; readonly tag: StoreTag }
  | { readonly as: "not-ours"; readonly mayHaveLanded: boolean }
  | { readonly as: "unknown"; readonly fault: Fault };

function unknownOutcome(key: StoreKey, fault: Fault | undefined): Fault {
  const reason = fault?.row.says ?? "an answer was lost, and it was replaced meanwhile";
  return new Fault("store/unknown-outcome", { storage: "object storage", key, reason }, fault);
}
