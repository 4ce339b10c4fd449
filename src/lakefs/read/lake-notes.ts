/**
 * Durable records of lakeFS commits, under the repository's prefix. Each is put if absent and never
 * changes, unless it is found damaged: all of it can be made again from lakeFS. "Sealed": under a
 * checksum (seal.ts).
 *
 *   git/lake/<lakeFS commit id>            what that commit became: msgpackr, sealed
 *   git/lake-mapping                       the mapping all of this was made by, and its record in
 *                                          lakeFS (mapping.ts): JSON, sealed
 *   git/lake-by-git/<Git id>/<lakeFS id>   the way back: its name says all
 *   git/lake-lfs/<SHA-256>                 a commit and path where the bytes of an LFS pointer can
 *                                          be read: msgpackr, sealed; whether one of us has hashed
 *                                          them
 *   git/lake-content/<key>                 hashes of a content: msgpackr, sealed (hash-memory.ts
 *                                          has the key)
 *   git/lake-proven                        sealed: small contents whose bytes are known
 *                                          (proven-contents.ts): ids, 20 bytes each
 *   git/lake-cuts                          sealed: commits that are cut from Git's history, as they
 *                                          were agreed on (cuts.ts): JSON
 *   git/lake-lost                          sealed: files of pushed commits whose data is gone
 *                                          (lost-contents.ts): JSON
 *   git/lake-served                        sealed: what was served last, for the time in which
 *                                          lakeFS is away: JSON
 *   git/lake-kept                          sealed: contents that a failed synthesis has read
 *                                          (kept-contents.ts)
 *   git/lake-promised/<pack checksum>      blobs that pack names and does not hold
 *                                          (promised-list.ts has the form)
 *   git/lake-promised/<pack checksum>.ids  sealed: the SHA-256 of that list, 32 bytes, and its ids,
 *                                          sorted, 20 bytes each
 */
import { readFile } from "node:fs/promises";
import { Packr } from "msgpackr";
import { z } from "zod";
import { lossyText, toHex, utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { OID_BYTES, type Oid } from "../../git/oid.js";
import { PROMISED_FOLDER } from "../../odb/manifest/manifest.js";
import type { PackName } from "../../odb/pack-line.js";
import type {
  HashedContent,
  PromisedIds,
  PromisedListFile,
  SynthesizedCommit,
} from "../trees/tasks.js";
import type { Store } from "../../store/store.js";
import type { LakeNote } from "../rules/contract.js";
import type { Cut } from "../agreed/cuts.js";
import { KEPT_BYTES_MAX } from "../trees/kept-contents.js";
import { formatNote, type MappingRecord, parseNote } from "../agreed/mapping.js";
import { SEAL_BYTES, seal, unseal } from "./seal.js";
import { damagedList } from "../trees/promised-list.js";

const OID = z.string().regex(/^[0-9a-f]{40}$/);
const RECORD = z.object({
  version: z.literal(2),
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
      census: z
        .object({
          pointers: z.array(z.string()),
          plain: z.array(z.tuple([z.string(), z.number()])),
        })
        .optional(),
    })
    .optional(),
});

const POINTER = z.object({
  version: z.literal(2),
  commit: z.string(),
  path: z.string(),
  size: z.number().int().nonnegative(),
  proven: z.boolean(),
});
/**
 * A full lakeFS commit id, a path there, and how many bytes it has. `proven`: one of us has hashed
 * them, or believed another's seal.
 */
export type PointerPlace = Readonly<Omit<z.infer<typeof POINTER>, "version">>;

const SHA256 = z.string().regex(/^[0-9a-f]{64}$/);
const CONTENT = z.object({ version: z.literal(1), sha256: SHA256, blob: OID.optional() });

/**
 * A record with what synthesis knows beyond both ids. A landing's has neither `tag` nor `state`.
 */
export interface StoredLakeNote
  extends LakeNote,
    Partial<Pick<SynthesizedCommit, "tag" | "state">> {
  /** A landing's merge under its tip's ids: its own tree may differ. */
  readonly alias?: true;
}

/** Small files written at once: each waits for the disk. */
const WRITES_AT_ONCE = 16;
const MAPPING_NAME = "lake-mapping";
const KEPT_NAME = "lake-kept";
const PROVEN_NAME = "lake-proven";
const PROVEN_BYTES_MAX = 2 * LIMITS.provenContentsMax * OID_BYTES;
const SERVED_NAME = "lake-served";
const SERVED = z.object({
  version: z.literal(1),
  /** Milliseconds since 1970. */
  atMs: z.number(),
  defaultBranch: z.string(),
  namespace: z.string(),
  head: z.string(),
  /** Name, id, and of an annotated tag what it peels to. */
  refs: z.array(z.tuple([z.string(), OID]).or(z.tuple([z.string(), OID, OID]))),
});
/** The state of a lakeFS repository when it was last listed. */
export type Served = z.infer<typeof SERVED>;
const CUTS_NAME = "lake-cuts";
const LOST_NAME = "lake-lost";
const CUTS = z.object({
  version: z.literal(1),
  cuts: z.array(z.object({ commit: z.string(), path: z.string() })),
});
const SHA256_BYTES = 32;
/** Two hashes and a version. */
const CONTENT_BYTES = 512;
/** A path of at most 1,024 bytes, an id, a number. */
const POINTER_BYTES = 4_096;

export class LakeNotes {
  readonly #store: Store;
  readonly #prefix: string;
  readonly #packr = new Packr({ useRecords: false });
  readonly #writes = new Semaphore(WRITES_AT_ONCE);

  constructor(store: Store, prefix: string) {
    this.#store = store;
    this.#prefix = `${prefix}/git`;
  }

  /** Throws "odb/damaged": a record that cannot be read is not the same as none. */
  async get(lakeId: string, signal?: AbortSignal): Promise<StoredLakeNote | undefined> {
    const key = this.#key(`lake/${lakeId}`);
    const bytes = await this.#read(key, LIMITS.lakeRecordBytesMax, signal);
    if (bytes === undefined) return undefined;
    const parsed = RECORD.safeParse(this.#decode(key, bytes));
    if (!parsed.success)
      throw new Fault("odb/damaged", {
        file: key,
        reason: "it is no record that this version knows",
      });
    if (parsed.data.lakeId !== lakeId)
      throw new Fault("odb/damaged", { file: key, reason: "it is of another commit" });
    const { pack, tag, alias, state, ...ids } = parsed.data;
    return {
      ...ids,
      pack,
      tag,
      ...(alias ? { alias } : {}),
      state: state && { ...state, census: state.census },
    };
  }

  /** lakeFS ids of all commits that there are records of, good or not. */
  async ids(signal?: AbortSignal): Promise<string[]> {
    const ids: string[] = [];
    const folder = `${this.#prefix}/lake/`;
    for await (const { key } of this.#store.list(folder, signal))
      ids.push(key.slice(folder.length));
    return ids;
  }

  /**
   * Durable when it resolves. The way back is written first: who finds the record finds that too. A
   * damaged record is replaced.
   */
  async put(records: readonly StoredLakeNote[], signal?: AbortSignal): Promise<void> {
    await Promise.all(
      records.map((record) => this.#writes.run(() => this.#putOne(record, signal), signal)),
    );
  }

  async #putOne(record: StoredLakeNote, signal: AbortSignal | undefined): Promise<void> {
    await this.#putIfAbsent(
      `lake-by-git/${record.tag ?? record.commit}/${record.lakeId}`,
      utf8(record.lakeId),
      signal,
    );
    await this.#putSealed(
      `lake/${record.lakeId}`,
      this.#packr.pack(record),
      () => this.get(record.lakeId, signal),
      signal,
    );
  }

  /** Replaces records that are there: their commits were made anew, into other packs. */
  async replace(records: readonly StoredLakeNote[], signal?: AbortSignal): Promise<void> {
    const one = (record: StoredLakeNote) => {
      const key = this.#key(`lake/${record.lakeId}`);
      return this.#store.put(key, seal(key, this.#packr.pack(record)), signal);
    };
    await Promise.all(records.map((record) => this.#writes.run(() => one(record), signal)));
  }

  /** lakeFS ids that became this commit or tag. */
  async byGit(oid: Oid, signal?: AbortSignal): Promise<string[]> {
    const ids: string[] = [];
    const folder = `${this.#prefix}/lake-by-git/${oid}/`;
    for await (const { key } of this.#store.list(folder, signal))
      ids.push(key.slice(folder.length));
    return ids;
  }

  /**
   * The mapping by which this repository was read before, and its record in lakeFS. Throws
   * "odb/damaged".
   */
  async mapping(signal?: AbortSignal): Promise<MappingRecord | undefined> {
    const key = this.#key(MAPPING_NAME);
    const bytes = await this.#read(key, LIMITS.lakeRecordBytesMax, signal);
    if (bytes === undefined) return undefined;
    const note = parseNote(lossyText(bytes));
    if (note === undefined)
      throw new Fault("odb/damaged", {
        file: key,
        reason: "it is no note of a mapping that this version knows",
      });
    return note;
  }

  /** Replaces the note: its mapping stays, its record may be another one after a repair. */
  putMapping(record: MappingRecord, signal?: AbortSignal): Promise<void> {
    return this.#replace(MAPPING_NAME, utf8(formatNote(record)), signal);
  }

  /** Returns the state served last; undefined: nothing is noted, or it is damaged. */
  async served(signal?: AbortSignal): Promise<Served | undefined> {
    const bytes = await this.#readUnlessDamaged(SERVED_NAME, LIMITS.lakeServedBytesMax, signal);
    return bytes === undefined ? undefined : SERVED.safeParse(jsonOf(bytes)).data;
  }

  putServed(served: Omit<Served, "version">, signal?: AbortSignal): Promise<void> {
    return this.#replace(SERVED_NAME, utf8(JSON.stringify({ version: 1, ...served })), signal);
  }

  /**
   * Commits that are cut from Git's history, as this server has noted them. Throws "odb/damaged".
   */
  cuts(signal?: AbortSignal): Promise<readonly Cut[]> {
    return this.#cutsIn(CUTS_NAME, signal);
  }

  putCuts(cuts: readonly Cut[], signal?: AbortSignal): Promise<void> {
    return this.#putCutsIn(CUTS_NAME, cuts, signal);
  }

  /**
   * Files of pushed commits whose data is gone: what was found when somebody asked for it. Throws
   * "odb/damaged".
   */
  lost(signal?: AbortSignal): Promise<readonly Cut[]> {
    return this.#cutsIn(LOST_NAME, signal);
  }

  putLost(lost: readonly Cut[], signal?: AbortSignal): Promise<void> {
    return this.#putCutsIn(LOST_NAME, lost, signal);
  }

  async #cutsIn(name: string, signal: AbortSignal | undefined): Promise<readonly Cut[]> {
    const key = this.#key(name);
    const bytes = await this.#read(key, LIMITS.lakeRecordBytesMax, signal);
    if (bytes === undefined) return [];
    const parsed = CUTS.safeParse(jsonOf(bytes));
    if (!parsed.success)
      throw new Fault("odb/damaged", {
        file: key,
        reason: "it holds no cuts that this version knows",
      });
    return parsed.data.cuts;
  }

  #putCutsIn(name: string, cuts: readonly Cut[], signal: AbortSignal | undefined): Promise<void> {
    return this.#replace(name, utf8(JSON.stringify({ version: 1, cuts })), signal);
  }

  /** Removes what is known of commits: all of it is made again. */
  async forgetCommits(signal?: AbortSignal): Promise<void> {
    for (const folder of [this.#key("lake/"), this.#key("lake-by-git/")]) {
      for await (const { key } of this.#store.list(folder, signal))
        await this.#store.delete(key, signal);
    }
  }

  /**
   * Contents that a failed synthesis has read; empty where there are none. Throws "odb/damaged".
   */
  async kept(signal?: AbortSignal): Promise<Uint8Array> {
    return (await this.#read(this.#key(KEPT_NAME), KEPT_BYTES_MAX, signal)) ?? new Uint8Array(0);
  }

  /** Replaces them; empty: there are none. */
  async putKept(table: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (table.length === 0) await this.#store.delete(this.#key(KEPT_NAME), signal);
    else await this.#replace(KEPT_NAME, table, signal);
  }

  /**
   * Ids of small contents whose bytes are known; empty where there are none, or the table is
   * damaged: they are found out again.
   */
  async proven(signal?: AbortSignal): Promise<Uint8Array> {
    const bytes = await this.#readUnlessDamaged(PROVEN_NAME, PROVEN_BYTES_MAX, signal);
    return bytes ?? new Uint8Array(0);
  }

  /** Replaces them. */
  putProven(ids: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#replace(PROVEN_NAME, ids, signal);
  }

  /** Hashes of the content with this key. Throws "odb/damaged". */
  async content(name: string, signal?: AbortSignal): Promise<HashedContent | undefined> {
    const key = this.#key(`lake-content/${name}`);
    const bytes = await this.#read(key, CONTENT_BYTES, signal);
    if (bytes === undefined) return undefined;
    const parsed = CONTENT.safeParse(this.#decode(key, bytes));
    if (!parsed.success)
      throw new Fault("odb/damaged", {
        file: key,
        reason: "it holds no hashes that this version knows",
      });
    return { sha256: parsed.data.sha256, blob: parsed.data.blob };
  }

  /**
   * Keeps a content's hashes; one that has only its SHA-256 and is hashed once more for its blob id
   * keeps both.
   */
  putContent(name: string, { sha256, blob }: HashedContent, signal?: AbortSignal): Promise<void> {
    const there = async () => {
      const known = await this.content(name, signal);
      if (known !== undefined && known.blob === undefined && blob !== undefined)
        throw new Fault("odb/damaged", { file: name, reason: "it says less than is known now" });
    };
    const body = this.#packr.pack({ version: 1, sha256, ...(blob === undefined ? {} : { blob }) });
    return this.#writes.run(
      () => this.#putSealed(`lake-content/${name}`, body, there, signal),
      signal,
    );
  }

  /**
   * Returns where a pointer's bytes are; undefined: no commit read so far shows it. Throws
   * "odb/damaged".
   */
  async pointer(sha256: string, signal?: AbortSignal): Promise<PointerPlace | undefined> {
    const key = this.#key(`lake-lfs/${sha256}`);
    const bytes = await this.#read(key, POINTER_BYTES, signal);
    if (bytes === undefined) return undefined;
    const parsed = POINTER.safeParse(this.#decode(key, bytes));
    if (!parsed.success)
      throw new Fault("odb/damaged", {
        file: key,
        reason: "it names no place that this version knows",
      });
    const { version: _, ...place } = parsed.data;
    return place;
  }

  /** One that is proven replaces one that is not. */
  putPointer(
    sha256: string,
    { commit, path, size, proven }: PointerPlace,
    signal?: AbortSignal,
  ): Promise<void> {
    const there = async () => {
      const known = await this.pointer(sha256, signal);
      if (known?.proven === false && proven)
        throw new Fault("odb/damaged", { file: sha256, reason: "nobody had hashed it then" });
    };
    const body = this.#packr.pack({ version: 2, commit, path, size, proven });
    return this.#writes.run(
      () => this.#putSealed(`lake-lfs/${sha256}`, body, there, signal),
      signal,
    );
  }

  /** Reads the files kept beside the records of commits, one by one. */
  async *besides(
    signal?: AbortSignal,
  ): AsyncGenerator<
    { readonly kind: "lake-lfs" | "lake-content"; readonly key: string; read(): Promise<unknown> },
    void,
    undefined
  > {
    for (const kind of ["lake-lfs", "lake-content"] as const) {
      const folder = this.#key(`${kind}/`);
      for await (const { key } of this.#store.list(folder, signal)) {
        const name = key.slice(folder.length);
        yield {
          kind,
          key,
          read: () =>
            kind === "lake-lfs" ? this.pointer(name, signal) : this.content(name, signal),
        };
      }
    }
  }

  /**
   * Keeps the list of blobs that a pack names and does not hold, in place of one that is there. To
   * be called before the pack is live.
   */
  async putPromised(
    pack: PackName,
    listPath: string,
    { ids, check }: PromisedIds,
    signal?: AbortSignal,
  ): Promise<void> {
    const key = this.#promisedKey(pack);
    // The list last: while one of the two is not the other's, they are told apart by the checksum
    // and made again.
    await this.#store.put(
      `${key}.ids`,
      seal(`${key}.ids`, Buffer.concat([Buffer.from(check, "hex"), new Uint8Array(ids)])),
      signal,
    );
    await this.#store.delete(key, signal);
    await this.#store.publish(key, listPath, signal);
  }

  /**
   * The ids of that list: sorted, 20 bytes each, `count` of them. Throws "odb/damaged" with the
   * fact `promisedOf`, the pack.
   */
  async promisedIds(
    pack: PackName,
    count: number,
    signal?: AbortSignal,
  ): Promise<SharedArrayBuffer> {
    const body = await this.#promised(pack, count, signal);
    const own = body.subarray(body.length - count * OID_BYTES);
    const ids = new SharedArrayBuffer(own.length);
    new Uint8Array(ids).set(own);
    return ids;
  }

  /** Returns that list: a local file, and the count it must hold. Throws as `promisedIds`. */
  async promisedList(
    pack: PackName,
    count: number,
    signal?: AbortSignal,
  ): Promise<PromisedListFile> {
    const body = await this.#promised(pack, count, signal);
    const check =
      body.length === count * OID_BYTES ? undefined : toHex(body.subarray(0, SHA256_BYTES));
    const path = await this.#store
      .localFile(this.#promisedKey(pack), signal)
      .catch((error: unknown) => {
        throw damagedList(pack.checksum, error);
      });
    return { path, pack: pack.checksum, count, check };
  }

  async #promised(
    pack: PackName,
    count: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    const key = `${this.#promisedKey(pack)}.ids`;
    try {
      const bytes = await readFile(await this.#store.localFile(key, signal));
      const body = unseal(key, bytes);
      const expected = count * OID_BYTES + (body.length === bytes.length ? 0 : SHA256_BYTES);
      if (body.length !== expected)
        throw new Fault("odb/damaged", {
          file: key,
          reason: `it has ${body.length} bytes in place of ${expected}`,
        });
      return body;
    } catch (error) {
      throw damagedList(pack.checksum, error);
    }
  }

  #promisedKey({ name }: PackName): string {
    return this.#key(`${PROMISED_FOLDER}/${name}`);
  }

  #key(name: string): string {
    return `${this.#prefix}/${name}`;
  }

  /** Reads the bytes under a key, without their seal. */
  async #read(
    key: string,
    bodyBytesMax: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | undefined> {
    const stored = await this.#store
      .get(key, bodyBytesMax + SEAL_BYTES, signal)
      .catch((error: unknown) => {
        if (error instanceof Fault && error.code === "store/oversized")
          throw new Fault(
            "odb/damaged",
            { file: key, reason: "it is larger than any that was written" },
            error,
          );
        throw error;
      });
    return stored && unseal(key, stored.bytes);
  }

  #readUnlessDamaged(
    name: string,
    bodyBytesMax: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | undefined> {
    return this.#read(this.#key(name), bodyBytesMax, signal).catch((error: unknown) => {
      if (error instanceof Fault && error.code === "odb/damaged") return undefined;
      throw error;
    });
  }

  async #replace(name: string, body: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const key = this.#key(name);
    await this.#store.put(key, seal(key, body), signal);
  }

  /** Puts if absent, or in place of what is damaged. */
  async #putSealed(
    name: string,
    body: Uint8Array,
    readThere: () => Promise<unknown>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const sealed = seal(this.#key(name), body);
    if (await this.#putIfAbsent(name, sealed, signal)) return;
    await readThere().catch((error: unknown) => {
      if (error instanceof Fault && error.code === "odb/damaged")
        return this.#store.put(this.#key(name), sealed, signal);
      throw error;
    });
  }

  /** False: something is there. */
  async #putIfAbsent(
    name: string,
    bytes: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    try {
      await this.#store.putIfAbsent(this.#key(name), bytes, signal);
      return true;
    } catch (error) {
      if (error instanceof Fault && error.code === "store/exists") return false;
      throw error;
    }
  }

  #decode(key: string, bytes: Uint8Array): unknown {
    try {
      return this.#packr.unpack(bytes);
    } catch (error) {
      throw new Fault("odb/damaged", { file: key, reason: "it cannot be decoded" }, error);
    }
  }
}

/** Undefined: it is none. */
function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(lossyText(bytes));
  } catch {
    return undefined; // said by the caller
  }
}
