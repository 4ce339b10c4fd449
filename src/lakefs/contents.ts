/**
 * Blobs of files: what is known is not read, what must be read is read in parallel, the same stored object once. A content that is gone, has another
 * size than listed or contradicts its recorded id fails the synthesis naming the path: never a missing file, never a new id.
 */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { fromLatin1 } from "../base/bytes.js";
import { asFault, Fault } from "../base/fault.js";
import { Semaphore } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import { isSpecialName } from "../git/dot-git.js";
import { checkGitattributes, checkGitmodules } from "../git/fsck.js";
import { formatPointer } from "../git/lfs-pointer.js";
import { objectId } from "../git/object-id.js";
import type { Oid } from "../git/oid.js";
import { ContentReader, lakePath, type SignedAddresses, type Window } from "./content-reader.js";
import { type HashMemory, hashKey } from "./hash-memory.js";
import type { ListingSource } from "./listing.js";
import { toEntry } from "./listing.js";
import type { ObjectOutput } from "./object-output.js";
import { baseName, type Crossing, FILE_MODE, type LakeEntry } from "./path-rules.js";
import type { PromisedWriter } from "./promised-list.js";

export interface FileToResolve {
  readonly entry: LakeEntry;
  readonly crossing: Crossing & { readonly as: "file" };
  /** Its blob in a tree in which it is the same; a pointer's too. */
  readonly unchanged: Oid | undefined;
}

export type ResolvedFile = { readonly oid: Oid; readonly pointer: boolean } | { readonly refused: string };

export class Contents {
  readonly #source: ListingSource;
  readonly #output: ObjectOutput;
  readonly #memory: HashMemory;
  readonly #reader: ContentReader;
  readonly #turns = new Semaphore(LIMITS.lakefsReadsMax);
  /** Contents read in this task: by recorded blob id, or address, checksum and size → blob. */
  readonly #known = new LRUCache<string, Oid>({ max: LIMITS.lakefsContentsMax });
  /** Those being read. */
  readonly #underWay = new Map<string, Promise<Oid>>();
  /** Undefined: contents are read now. */
  readonly #promises: PromisedWriter | undefined;
  /** The first failure: nothing more is read then. */
  #failure: Fault | undefined;

  /** `promises`: contents whose ids are known are put on that list instead of being read. */
  constructor(source: ListingSource, output: ObjectOutput, memory: HashMemory, promises?: PromisedWriter) {
    this.#promises = promises;
    this.#source = source;
    this.#output = output;
    this.#memory = memory;
    this.#reader = new ContentReader(source);
  }

  /**
   * One answer a file, in order. `window`: where the files stand in the commit's listing, if that is where they come from. May be called again
   * before it resolves: no more is read at once for that.
   */
  async resolve(commit: string, files: readonly FileToResolve[], window?: Window): Promise<ResolvedFile[]> {
    const hashes = await this.#recall(files);
    const answers = files.map((file) => this.#naming(file, () => this.#withoutReading(commit, file, hashes)));
    const toRead = files.filter((file, at) => answers[at] === undefined && !isStreamed(file) && !isHashed(file));
    const signed = await this.#reader.sign(commit, toRead.map(({ entry }) => entry), window);
    const read = (file: FileToResolve): Promise<ResolvedFile> => {
      if (isHashed(file)) return this.#hashed(commit, file);
      return isStreamed(file) ? this.#streamed(commit, file) : this.#plain(commit, file, signed);
    };
    const waiting = files.map(async (file, at) => answers[at] ?? this.#namingLater(file, () => read(file)));
    // All of them end before a failure is told, so that nothing is read for nobody: the first one stops what has not begun.
    for (const one of await Promise.allSettled(waiting)) if (one.status === "rejected") throw this.#failure ?? one.reason;
    return Promise.all(waiting);
  }

  /** What is known of a file without its content; undefined: it must be read. */
  #withoutReading(commit: string, file: FileToResolve, hashes: ReadonlyMap<FileToResolve, string>): ResolvedFile | undefined {
    const { entry, crossing: { blob, sha256, pointer }, unchanged } = file;
    const known = knownPointer(file);
    if (known !== undefined) {
      this.#tellPointer(commit, entry, sha256 as string);
      return { oid: this.#output.add("blob", known), pointer: true };
    }
    if (blob === undefined && pointer) {
      if (unchanged !== undefined) return { oid: unchanged, pointer: true };
      const found = sha256 ?? hashes.get(file);
      return found === undefined ? undefined : this.#pointer(commit, entry, found);
    }
    const expected = blob ?? unchanged;
    if (expected === undefined) return undefined;
    const special = specialKind(file);
    const held = special === "gitattributes" ? this.#output.canRead(expected) : this.#output.has(expected);
    if (held && (special !== "gitmodules" || unchanged === expected)) return { oid: expected, pointer: false };
    return special === undefined && this.#isPromised(commit, entry, expected) ? { oid: expected, pointer: false } : undefined;
  }

  /** True: nobody needs the content yet, whose id is known. */
  #isPromised(commit: string, { path, size }: LakeEntry, oid: Oid): boolean {
    this.#promises?.add({ oid, size, path, commit });
    return this.#promises !== undefined;
  }

  #pointer(commit: string, entry: LakeEntry, sha256: string): ResolvedFile {
    this.#tellPointer(commit, entry, sha256);
    return { oid: this.#output.add("blob", formatPointer({ sha256, size: entry.size })), pointer: true };
  }

  async #hashed(commit: string, { entry }: FileToResolve): Promise<ResolvedFile> {
    return this.#pointer(commit, entry, await this.#hash(commit, entry));
  }

  /** Where the bytes of a pointer can be read: git-lfs will ask. */
  #tellPointer(commit: string, entry: LakeEntry, sha256: string): void {
    this.#memory.tell({ kind: "pointer", sha256, commit, path: lakePath(entry), size: entry.size });
  }

  async #plain(commit: string, file: FileToResolve, signed: SignedAddresses): Promise<ResolvedFile> {
    const { entry, crossing: { blob }, unchanged } = file;
    const expected = blob ?? unchanged;
    const special = specialKind(file);
    if (special === undefined) return { oid: await this.#readOnce(commit, entry, expected, signed), pointer: false };
    const data = await this.#inTurn(() => this.#reader.read(commit, entry, signed));
    checkExpected(objectId("blob", data), expected);
    const refusal = special === "gitmodules" ? checkGitmodules(data) : checkGitattributes(data);
    if (refusal !== undefined) return { refused: `Git refuses it: ${refusal.text}` };
    return { oid: this.#output.add("blob", data, true), pointer: false };
  }

  async #readOnce(commit: string, entry: LakeEntry, expected: Oid | undefined, signed: SignedAddresses): Promise<Oid> {
    // A diff does not tell addresses; a recorded id counts for all that have it as soon as one content proves it.
    const key = expected ?? hashKey(entry);
    const read = () => this.#inTurn(async () => this.#output.add("blob", await this.#reader.read(commit, entry, signed)));
    const oid = await (key === undefined ? read() : this.#knownOr(key, read));
    checkExpected(oid, expected);
    return oid;
  }

  async #knownOr(key: string, read: () => Promise<Oid>): Promise<Oid> {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const waiting = this.#underWay.get(key);
    if (waiting !== undefined) return waiting;
    const reading = read().finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, reading);
    const oid = await reading;
    this.#known.set(key, oid);
    return oid;
  }

  /** Runs when it may read, unless something has failed by then. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    // Without the signal: thousands wait here, each would listen to it, and those who hold a turn see it.
    return this.#turns.run(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      return work();
    });
  }

  /** Too large to be held: a plain file that says so itself. */
  async #streamed(commit: string, { entry, crossing: { blob }, unchanged }: FileToResolve): Promise<ResolvedFile> {
    const oid = await this.#inTurn(() => this.#output.addStream(entry.size, this.#reader.stream(commit, entry)));
    checkExpected(oid, blob ?? unchanged);
    return { oid, pointer: false };
  }

  /** Remembered hashes of the files that need one. */
  async #recall(files: readonly FileToResolve[]): Promise<ReadonlyMap<FileToResolve, string>> {
    const needed = files.flatMap((file) => {
      const { blob, sha256, pointer } = file.crossing;
      const key = blob === undefined && pointer && sha256 === undefined && file.unchanged === undefined ? hashKey(file.entry) : undefined;
      return key === undefined ? [] : [{ file, key }];
    });
    const answers = await this.#memory.recall(needed.map(({ key }) => key));
    return new Map(needed.flatMap(({ file }, at) => (answers[at] === undefined ? [] : [[file, answers[at]] as const])));
  }

  /** Reads all of a large file; nothing of it is kept but its SHA-256. */
  async #hash(commit: string, listed: LakeEntry): Promise<string> {
    const { client, repository, signal } = this.#source;
    // A diff does not say where the bytes lie, without which their hash could not be remembered.
    const entry = listed.address === undefined ? toEntry(await client.statObject(repository, commit, lakePath(listed), signal)) : listed;
    if (listed.address === undefined) {
      const [remembered] = await this.#memory.recall([hashKey(entry) as string]);
      if (remembered !== undefined) return remembered;
    }
    return this.#inTurn(async () => {
      const hash = createHash("sha256");
      for await (const chunk of this.#reader.stream(commit, entry)) hash.update(chunk);
      const sha256 = hash.digest("hex");
      this.#memory.tell({ kind: "hashed", key: hashKey(entry) as string, sha256 });
      return sha256;
    });
  }

  #naming<T>(file: FileToResolve, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw withPath(file, error);
    }
  }

  async #namingLater<T>(file: FileToResolve, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#failure ??= withPath(file, error);
      throw this.#failure;
    }
  }
}

/** Adds the path to whatever fails. */
function withPath({ entry }: FileToResolve, error: unknown): Fault {
  const fault = asFault(error);
  return new Fault(fault.code, { ...fault.facts, path: lakePath(entry) }, fault);
}

/** The pointer, where metadata hold both ids and they agree. */
function knownPointer({ entry, crossing: { blob, sha256 } }: FileToResolve): Uint8Array | undefined {
  if (blob === undefined || sha256 === undefined) return undefined;
  const pointer = formatPointer({ sha256, size: entry.size });
  return objectId("blob", pointer) === blob ? pointer : undefined;
}

/** A pointer of which nobody knows the hash. */
function isHashed({ crossing: { blob, pointer } }: FileToResolve): boolean {
  return blob === undefined && pointer;
}

function isStreamed(file: FileToResolve): boolean {
  const { entry, crossing: { blob, pointer } } = file;
  const isPlain = blob === undefined ? !pointer : knownPointer(file) === undefined;
  return isPlain && entry.size > LIMITS.lakefsHeldBytesMax;
}

/** Whether Git itself reads this file, and so refuses some contents. */
export function specialKind({ entry, crossing: { mode } }: FileToResolve): "gitmodules" | "gitattributes" | undefined {
  if (mode === FILE_MODE.symlink) return undefined;
  const name = fromLatin1(baseName(entry.path));
  if (isSpecialName(name, "gitmodules")) return "gitmodules";
  return isSpecialName(name, "gitattributes") ? "gitattributes" : undefined;
}

function checkExpected(oid: Oid, expected: Oid | undefined): void {
  if (expected === undefined || oid === expected) return;
  throw new Fault("lakefs/bad-reply", { reason: "the content contradicts its recorded blob id", recorded: expected, is: oid });
}
