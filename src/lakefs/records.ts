/**
 * What was found out about lakeFS commits, durably, under the repository's prefix. Each is put if absent and never changes; all but `format` of a record
 * is msgpackr.
 *
 *   git/lake/<lakeFS commit id>            what that commit became
 *   git/lake-by-git/<Git id>/<lakeFS id>   the way back (empty but for the id)
 *   git/lake-lfs/<SHA-256>                 a commit and path where the bytes of an LFS pointer can be read
 *   git/lake-sha256/<key>                  SHA-256 of a large file, hex (hash-memory.ts has the key)
 *   git/lake-promised/<pack checksum>      blobs that pack names and does not hold (promised-list.ts has the form)
 *   git/lake-promised/<pack checksum>.ids  their ids, sorted, 20 bytes each
 */
import { readFile } from "node:fs/promises";
import { Packr } from "msgpackr";
import { z } from "zod";
import { latin1, utf8 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { Semaphore } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Oid } from "../git/oid.js";
import type { SynthesizedCommit } from "../pool/synthesize-tasks.js";
import type { Store } from "../store/store.js";
import type { LakeRecord } from "./contract.js";

const OID = z.string().regex(/^[0-9a-f]{40}$/);
const RECORD = z.object({
  version: z.literal(1),
  lakeId: z.string(),
  commit: OID,
  tree: OID,
  pack: OID.optional(),
  tag: OID.optional(),
  alias: z.literal(true).optional(),
  state: z
    .object({
      metarange: z.string(),
      listing: OID,
      refused: z.number(),
      refusals: z.array(z.string()),
      census: z.object({ pointers: z.array(z.string()), plain: z.array(z.tuple([z.string(), z.number()])) }).optional(),
    })
    .optional(),
});

const POINTER = z.object({ commit: z.string(), path: z.string(), size: z.number().int().nonnegative() });
/** A full lakeFS commit id, a path there, and how many bytes it has. */
export type PointerPlace = Readonly<z.infer<typeof POINTER>>;

/** A record with what synthesis knows beyond both ids. A landing's has neither `tag` nor `state`. */
export interface StoredLakeRecord extends LakeRecord, Partial<Pick<SynthesizedCommit, "tag" | "state">> {
  /** A landing's merge under its tip's ids: its own tree may differ. */
  readonly alias?: true;
}

/** Small files written at once: each waits for the disk. */
const WRITES_AT_ONCE = 16;
const HASH_BYTES = 64;
/** A path of at most 1,024 bytes, an id, a number. */
const POINTER_BYTES = 4_096;

export class LakeRecords {
  readonly #store: Store;
  readonly #prefix: string;
  readonly #packr = new Packr({ useRecords: false });
  readonly #writes = new Semaphore(WRITES_AT_ONCE);

  constructor(store: Store, prefix: string) {
    this.#store = store;
    this.#prefix = `${prefix}/git`;
  }

  /** Throws "odb/damaged": a record that cannot be read is not the same as none. */
  async get(lakeId: string, signal?: AbortSignal): Promise<StoredLakeRecord | undefined> {
    const key = `${this.#prefix}/lake/${lakeId}`;
    const stored = await this.#store.get(key, LIMITS.lakeRecordBytesMax, signal);
    if (stored === undefined) return undefined;
    const parsed = RECORD.safeParse(this.#decode(key, stored.bytes));
    if (!parsed.success || parsed.data.lakeId !== lakeId) throw new Fault("odb/damaged", { file: key });
    const { pack, tag, alias, state, ...ids } = parsed.data;
    return { ...ids, pack, tag, ...(alias ? { alias } : {}), state: state && { ...state, census: state.census } };
  }

  /** Durable when it resolves. The way back is written first: who finds the record finds that too. */
  async put(records: readonly StoredLakeRecord[], signal?: AbortSignal): Promise<void> {
    await Promise.all(records.map((record) => this.#writes.run(() => this.#putOne(record, signal), signal)));
  }

  async #putOne(record: StoredLakeRecord, signal: AbortSignal | undefined): Promise<void> {
    await this.#putIfAbsent(`lake-by-git/${record.tag ?? record.commit}/${record.lakeId}`, utf8(record.lakeId), signal);
    await this.#putIfAbsent(`lake/${record.lakeId}`, this.#packr.pack(record), signal);
  }

  /** lakeFS ids that became this commit or tag. */
  async byGit(oid: Oid, signal?: AbortSignal): Promise<string[]> {
    const ids: string[] = [];
    const folder = `${this.#prefix}/lake-by-git/${oid}/`;
    for await (const { key } of this.#store.list(folder, signal)) ids.push(key.slice(folder.length));
    return ids;
  }

  async hash(key: string, signal?: AbortSignal): Promise<string | undefined> {
    const stored = await this.#store.get(`${this.#prefix}/lake-sha256/${key}`, HASH_BYTES, signal);
    return stored && latin1(stored.bytes);
  }

  putHash(key: string, sha256: string, signal?: AbortSignal): Promise<void> {
    return this.#putIfAbsent(`lake-sha256/${key}`, utf8(sha256), signal);
  }

  /** Where a pointer's bytes are; undefined: no commit read so far shows it. */
  async pointer(sha256: string, signal?: AbortSignal): Promise<PointerPlace | undefined> {
    const key = `${this.#prefix}/lake-lfs/${sha256}`;
    const stored = await this.#store.get(key, POINTER_BYTES, signal);
    return stored && POINTER.parse(this.#decode(key, stored.bytes));
  }

  putPointer(sha256: string, place: PointerPlace, signal?: AbortSignal): Promise<void> {
    return this.#writes.run(
      () => this.#putIfAbsent(`lake-lfs/${sha256}`, this.#packr.pack({ commit: place.commit, path: place.path, size: place.size }), signal),
      signal,
    );
  }

  /** Keeps the list of blobs that a pack names and does not hold, and their ids, sorted. To be called before the pack is live. */
  async putPromised(pack: string, listPath: string, ids: SharedArrayBuffer, signal?: AbortSignal): Promise<void> {
    await this.#store.publish(this.#promisedKey(pack), listPath, signal);
    await this.#putIfAbsent(`lake-promised/${pack}.ids`, new Uint8Array(ids), signal);
  }

  /** The ids of that list: sorted, 20 bytes each. Throws "store/missing". */
  async promisedIds(pack: string, signal?: AbortSignal): Promise<SharedArrayBuffer> {
    const bytes = await readFile(await this.#store.localFile(`${this.#promisedKey(pack)}.ids`, signal));
    const ids = new SharedArrayBuffer(bytes.length);
    new Uint8Array(ids).set(bytes);
    return ids;
  }

  /** A local file with that list. Throws "store/missing". */
  promisedFile(pack: string, signal?: AbortSignal): Promise<string> {
    return this.#store.localFile(this.#promisedKey(pack), signal);
  }

  #promisedKey(pack: string): string {
    return `${this.#prefix}/lake-promised/${pack}`;
  }

  async #putIfAbsent(name: string, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    await this.#store.putIfAbsent(`${this.#prefix}/${name}`, bytes, signal).catch((error: unknown) => {
      if (!(error instanceof Fault && error.code === "store/exists")) throw error;
    });
  }

  #decode(key: string, bytes: Uint8Array): unknown {
    try {
      return this.#packr.unpack(bytes);
    } catch (error) {
      throw new Fault("odb/damaged", { file: key }, error);
    }
  }
}
