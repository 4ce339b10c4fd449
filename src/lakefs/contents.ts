/**
 * Blobs of files: what is known is not read, what must be read is read in parallel, the same stored object once. A content that is gone, has another
 * size than listed or contradicts its recorded id fails the synthesis naming the path: never a missing file, never a new id.
 */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { fromLatin1, lossyText } from "../base/bytes.js";
import { asFault, Fault } from "../base/fault.js";
import { checkAborted, Semaphore } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import { isSpecialName } from "../git/dot-git.js";
import { checkGitattributes, checkGitmodules } from "../git/fsck.js";
import { formatPointer } from "../git/lfs-pointer.js";
import { objectId } from "../git/object-id.js";
import type { Oid } from "../git/oid.js";
import { type HashMemory, hashKey } from "./hash-memory.js";
import type { ListingSource } from "./listing.js";
import { toEntry } from "./listing.js";
import type { ObjectOutput } from "./object-output.js";
import { baseName, type Crossing, FILE_MODE, type LakeEntry } from "./path-rules.js";

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
  readonly #reads = new Semaphore(LIMITS.lakefsReadsMax);
  /** Stored objects read in this task: address, checksum and size → blob. */
  readonly #known = new LRUCache<string, Promise<Oid>>({ max: LIMITS.lakefsContentsMax });
  /** The first failure: nothing more is read then. */
  #failure: Fault | undefined;

  constructor(source: ListingSource, output: ObjectOutput, memory: HashMemory) {
    this.#source = source;
    this.#output = output;
    this.#memory = memory;
  }

  /** One answer a file, in order. */
  async resolve(commit: string, files: readonly FileToResolve[]): Promise<ResolvedFile[]> {
    const hashes = await this.#recall(files);
    const answers: (ResolvedFile | undefined)[] = new Array(files.length);
    const streamed: number[] = [];
    await Promise.all(
      files.map((file, at) => {
        if (isStreamed(file)) return void streamed.push(at);
        const answer = (resolved: ResolvedFile): void => {
          answers[at] = resolved;
        };
        return this.#naming(file, () => this.#resolveOne(commit, file, hashes)).then(answer, (error: unknown) => {
          this.#failure ??= asFault(error);
        });
      }),
    );
    if (this.#failure !== undefined) throw this.#failure;
    // One after another: each is written while it arrives.
    for (const at of streamed) {
      const file = files[at] as FileToResolve;
      answers[at] = await this.#naming(file, () => this.#resolveStreamed(commit, file));
    }
    return answers as ResolvedFile[];
  }

  async #resolveOne(commit: string, file: FileToResolve, hashes: ReadonlyMap<FileToResolve, string>): Promise<ResolvedFile> {
    const { entry, crossing: { blob, sha256, pointer }, unchanged } = file;
    const known = knownPointer(file);
    if (known !== undefined) {
      this.#tellPointer(commit, entry, sha256 as string);
      return { oid: this.#output.add("blob", known), pointer: true };
    }
    if (blob === undefined && pointer) {
      if (unchanged !== undefined) return { oid: unchanged, pointer: true };
      const found = sha256 ?? hashes.get(file) ?? (await this.#hash(commit, entry));
      this.#tellPointer(commit, entry, found);
      return { oid: this.#output.add("blob", formatPointer({ sha256: found, size: entry.size })), pointer: true };
    }
    return this.#plain(commit, file, blob ?? unchanged);
  }

  /** Where the bytes of a pointer can be read: git-lfs will ask. */
  #tellPointer(commit: string, entry: LakeEntry, sha256: string): void {
    this.#memory.tell({ kind: "pointer", sha256, commit, path: lakePath(entry), size: entry.size });
  }

  async #plain(commit: string, file: FileToResolve, expected: Oid | undefined): Promise<ResolvedFile> {
    const special = specialKind(file);
    const held = expected !== undefined && (special === "gitattributes" ? this.#output.canRead(expected) : this.#output.has(expected));
    if (held && special !== "gitmodules") return { oid: expected as Oid, pointer: false };
    if (held && file.unchanged === expected) return { oid: expected as Oid, pointer: false };
    if (special === undefined) return { oid: await this.#readOnce(commit, file.entry, expected), pointer: false };
    const data = await this.#read(commit, file.entry, expected);
    const refusal = special === "gitmodules" ? checkGitmodules(data) : checkGitattributes(data);
    if (refusal !== undefined) return { refused: `Git refuses it: ${refusal.text}` };
    return { oid: this.#output.add("blob", data, true), pointer: false };
  }

  #readOnce(commit: string, entry: LakeEntry, expected: Oid | undefined): Promise<Oid> {
    const key = hashKey(entry);
    const known = key === undefined ? undefined : this.#known.get(key);
    const blob = known ?? this.#read(commit, entry, undefined).then((data) => this.#output.add("blob", data));
    if (key !== undefined && known === undefined) this.#known.set(key, blob);
    return blob.then((oid) => {
      checkExpected(oid, expected);
      return oid;
    });
  }

  async #read(commit: string, entry: LakeEntry, expected: Oid | undefined): Promise<Uint8Array> {
    const { client, repository, signal } = this.#source;
    const data = await this.#reads.run(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      return client.readObject(repository, commit, lakePath(entry), entry.size, signal);
    }, signal);
    if (data.length !== entry.size) throw wrongSize(entry.size, data.length);
    if (expected !== undefined) checkExpected(objectId("blob", data), expected);
    return data;
  }

  /** Too large to be held: a plain file that says so itself. */
  async #resolveStreamed(commit: string, { entry, crossing: { blob }, unchanged }: FileToResolve): Promise<ResolvedFile> {
    const expected = blob ?? unchanged;
    if (expected !== undefined && this.#output.has(expected)) return { oid: expected, pointer: false };
    const { client, repository, signal } = this.#source;
    const { body } = await client.streamObject(repository, commit, lakePath(entry), undefined, signal);
    const oid = await this.#output.addStream(entry.size, body);
    checkExpected(oid, expected);
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
    return this.#reads.run(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      const hash = createHash("sha256");
      let bytes = 0;
      const { body } = await client.streamObject(repository, commit, lakePath(entry), undefined, signal);
      for await (const chunk of body) {
        checkAborted(signal);
        bytes += chunk.length;
        hash.update(chunk);
      }
      if (bytes !== entry.size) throw wrongSize(entry.size, bytes);
      const sha256 = hash.digest("hex");
      this.#memory.tell({ kind: "hashed", key: hashKey(entry) as string, sha256 });
      return sha256;
    }, signal);
  }

  /** Adds the path to whatever fails. */
  async #naming<T>({ entry }: FileToResolve, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const fault = asFault(error);
      throw new Fault(fault.code, { ...fault.facts, path: lossyText(fromLatin1(entry.path)) }, fault);
    }
  }
}

/** The pointer, where metadata hold both ids and they agree. */
function knownPointer({ entry, crossing: { blob, sha256 } }: FileToResolve): Uint8Array | undefined {
  if (blob === undefined || sha256 === undefined) return undefined;
  const pointer = formatPointer({ sha256, size: entry.size });
  return objectId("blob", pointer) === blob ? pointer : undefined;
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

function wrongSize(size: number, bytes: number): Fault {
  return new Fault("lakefs/bad-reply", { reason: "content of another size than listed", size, bytes });
}

/** The path as the API takes it; one that is not UTF-8 has not crossed. */
function lakePath({ path }: LakeEntry): string {
  return lossyText(fromLatin1(path));
}
