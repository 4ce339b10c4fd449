/**
 * Blobs of files: what is known is not read, what must be read is read in parallel, the same stored
 * object once. A content that is gone, has another size than listed or contradicts what is sealed
 * or recorded of it fails the synthesis naming the path: never a missing file, never a new id.
 *
 * What a file is, in this order: what it was in a tree in which it is the same; a claim that is
 * sealed, that stands in a commit whose whole tree is sealed, or that its content confirms
 * (claim.ts); the mapping's rules. All of them say the same of the same bytes, so an id never
 * depends on which of them was at hand.
 */
import { LRUCache } from "lru-cache";
import { asFault, Fault } from "../../base/fault.js";
import { Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { checkGitattributes, checkGitmodules } from "../../git/fsck/fsck.js";
import { formatPointer, parsePointer } from "../../git/lfs-pointer.js";
import type { Oid } from "../../git/oid.js";
import { fullAddress } from "../api/address.js";
import { type Claim, type ContentFacts, judge } from "../rules/claim.js";
import type { SealKeys } from "../rules/claim-seal.js";
import { ContentDigests } from "../rules/content-digests.js";
import {
  type Form,
  formOf,
  isPointerForm,
  mustBeSeen,
  type PointerForm,
} from "../rules/content-form.js";
import { ContentReader, lakePath, type SignedAddresses, type Window } from "./content-reader.js";
import {
  type FileToResolve,
  isHashed,
  isLarge,
  isOpenClaim,
  isRecalled,
  isSealable,
  POINTER_CONTENT,
  specialKind,
} from "../rules/file-to-resolve.js";
import { contentKey, type HashMemory } from "./hash-memory.js";
import { formatKept, readKept } from "./kept-contents.js";
import type { ListingSource } from "./listing.js";
import { locate } from "./locate.js";
import type { ObjectOutput } from "./object-output.js";
import type { LakeEntry } from "../rules/path-rules.js";
import type { PromisedWriter } from "./promised-list.js";

export interface ContentsSource extends ListingSource {
  /** lakeFS's storage namespace. */
  readonly namespace: string;
  readonly seals: SealKeys;
}

export type ResolvedFile =
  | { readonly oid: Oid; readonly pointer: boolean }
  | { readonly refused: string };

/** The source of files. */
export interface Circumstances {
  /** Their window in the commit's listing, if that is where they come from. */
  readonly window?: Window | undefined;
  /** Their commit is sealed: claims hold, as the whole tree will show. */
  readonly believed?: boolean;
}

/** The work left for a file. */
type Plan =
  | { readonly done: ResolvedFile }
  /** Its blob is known and must be here. */
  | { readonly read: "plain"; readonly expected: Oid }
  /** The content says what it is. */
  | { readonly read: "judge" };

export class Contents {
  readonly #source: ContentsSource;
  readonly #output: ObjectOutput;
  readonly #memory: HashMemory;
  readonly #reader: ContentReader;
  readonly #turns = new Semaphore(LIMITS.lakefsReadsMax);
  /** Facts of contents read in this task, by content key, or by the blob id that is expected. */
  readonly #known = new LRUCache<string, ContentFacts>({ max: LIMITS.lakefsContentsMax });
  /** Those being read. */
  readonly #underWay = new Map<string, Promise<ContentFacts>>();
  /** Undefined: contents are read now. */
  readonly #promises: PromisedWriter | undefined;
  /** By commit. */
  readonly #unproven = new Map<string, Fault>();
  /** The first failure: nothing more is read then. */
  #failure: Fault | undefined;

  /**
   * `promises`: contents whose ids are known are put on that list instead of being read. `kept`:
   * what an attempt before has read.
   */
  constructor(
    source: ContentsSource,
    output: ObjectOutput,
    memory: HashMemory,
    promises?: PromisedWriter,
    kept?: Uint8Array,
  ) {
    if (kept !== undefined) for (const [key, facts] of readKept(kept)) this.#known.set(key, facts);
    this.#promises = promises;
    this.#source = source;
    this.#output = output;
    this.#memory = memory;
    this.#reader = new ContentReader(source);
  }

  /**
   * Returns the contents that the next attempt need not read again, once the output's blobs are in
   * a pack.
   */
  kept(): Uint8Array {
    return formatKept(this.#known.entries(), (blob) => this.#output.has(blob));
  }

  /**
   * One answer a file, in order. May be called again before it resolves: no more is read at once
   * for that.
   */
  async resolve(
    commit: string,
    given: readonly FileToResolve[],
    { window, believed = false }: Circumstances = {},
  ): Promise<ResolvedFile[]> {
    const files = await this.#located(commit, given, believed);
    const facts = await this.#recall(files, believed);
    const plans = files.map((file) =>
      this.#naming(commit, file, () => this.#plan(commit, file, facts.get(file), believed)),
    );
    const toRead = files.filter(
      (file, at) => "read" in (plans[at] as Plan) && !isLarge(file) && !isHashed(file),
    );
    const signed = await this.#reader.sign(
      commit,
      toRead.map(({ entry }) => entry),
      window,
    );
    const waiting = files.map(async (file, at) => {
      const plan = plans[at] as Plan;
      return "done" in plan
        ? plan.done
        : this.#namingLater(commit, file, () => this.#read(commit, file, plan, signed));
    });
    // All of them end before a failure is told, so that nothing is read for nobody: the first one
    // stops what has not begun.
    for (const one of await Promise.allSettled(waiting))
      if (one.status === "rejected") throw this.#failure ?? one.reason;
    return Promise.all(waiting);
  }

  // What is known ---------------------------------------------------------------------------------

  #plan(
    commit: string,
    file: FileToResolve,
    facts: ContentFacts | undefined,
    believed: boolean,
  ): Plan {
    const {
      entry,
      crossing: { claim, pointer, linked },
      unchanged,
    } = file;
    if (unchanged !== undefined && !isOpenClaim(claim, unchanged))
      return this.#asBefore(commit, file, unchanged);
    if (claim?.sha256 !== undefined && (believed || this.#isSealed(entry, claim))) {
      if (claim.pointer === undefined) return this.#asPlain(commit, file, claim.blob);
      return {
        done: this.#pointer(commit, entry, {
          as: "pointer",
          sha256: claim.sha256,
          text: claim.pointer,
          proven: true,
        }),
      };
    }
    if (
      facts !== undefined &&
      !(claim !== undefined && judge(claim, facts, entry.size).as === "open")
    ) {
      const form = this.#form(commit, file, facts);
      if (mustBeSeen(entry, form)) return { read: "judge" };
      if (form.as === "pointer") return { done: this.#pointer(commit, entry, form) };
      if (facts.blob !== undefined) return this.#asPlain(commit, file, facts.blob);
    }
    if (claim !== undefined || !pointer || linked === undefined) return { read: "judge" };
    return {
      done: this.#pointer(commit, entry, {
        as: "pointer",
        sha256: linked,
        text: formatPointer({ sha256: linked, size: entry.size }),
        proven: false,
      }),
    };
  }

  /** Plans an entry as the same one was in a tree that is known. */
  #asBefore(commit: string, file: FileToResolve, unchanged: Oid): Plan {
    const { claim, pointer } = file.crossing;
    const isPointer = claim?.blob === unchanged ? claim.pointer !== undefined : pointer;
    return isPointer
      ? { done: { oid: unchanged, pointer: true } }
      : this.#asPlain(commit, file, unchanged);
  }

  #asPlain(commit: string, file: FileToResolve, oid: Oid): Plan {
    const special = specialKind(file);
    const held = special === "gitattributes" ? this.#output.canRead(oid) : this.#output.has(oid);
    if (held && (special !== "gitmodules" || file.unchanged === oid))
      return { done: { oid, pointer: false } };
    const isLater = special === undefined && this.#isPromised(commit, file.entry, oid);
    return isLater ? { done: { oid, pointer: false } } : { read: "plain", expected: oid };
  }

  /** True: nobody needs the content yet, whose id is known. */
  #isPromised(commit: string, { path, size }: LakeEntry, oid: Oid): boolean {
    this.#promises?.add({ oid, size, path, commit });
    return this.#promises !== undefined;
  }

  #isSealed(
    { size, checksum, address }: LakeEntry,
    { blob, sha256, pointer, seal }: Claim,
  ): boolean {
    if (seal === undefined || sha256 === undefined || address === undefined) return false;
    const { namespace, seals } = this.#source;
    const kind = pointer === undefined ? "plain" : "pointer";
    return seals.isContentSealed(seal, {
      kind,
      blob,
      sha256,
      size,
      checksum,
      address: fullAddress(address, namespace),
    });
  }

  /**
   * The files with the addresses that seals and remembered facts are about, which a diff does not
   * tell.
   */
  async #located(
    commit: string,
    files: readonly FileToResolve[],
    believed: boolean,
  ): Promise<readonly FileToResolve[]> {
    const isAsked = (file: FileToResolve) =>
      file.entry.address === undefined &&
      (isRecalled(file, believed) || isSealable(file, believed));
    const asked = files.filter(isAsked).map(({ entry }) => entry.path);
    if (asked.length === 0) return files;
    const found = await locate(this.#source, commit, asked);
    return files.map((file) => {
      const entry = found.get(file.entry.path);
      return entry === undefined ? file : { ...file, entry };
    });
  }

  /** Remembered facts of the files that may have some. */
  async #recall(
    files: readonly FileToResolve[],
    believed: boolean,
  ): Promise<ReadonlyMap<FileToResolve, ContentFacts>> {
    const needed = files.flatMap((file) => {
      const key = isRecalled(file, believed) ? this.#keyOf(file.entry) : undefined;
      return key === undefined ? [] : [{ file, key }];
    });
    const answers = await this.#memory.recall(needed.map(({ key }) => key));
    return new Map(
      needed.flatMap(({ file }, at) =>
        answers[at] === undefined ? [] : [[file, answers[at]] as const],
      ),
    );
  }

  #keyOf(entry: LakeEntry): string | undefined {
    return contentKey(entry, this.#source.namespace);
  }

  // What the content says -------------------------------------------------------------------------

  #form(commit: string, file: FileToResolve, facts: ContentFacts): Form {
    const is = facts.blob ?? facts.sha256;
    return formOf(file, facts, ({ blob }) =>
      this.#memory.tell({
        kind: "unconfirmed",
        commit,
        path: lakePath(file.entry),
        claimed: blob,
        is,
      }),
    );
  }

  /** A pointer in the tree, whose bytes git-lfs will ask for. */
  #pointer(commit: string, entry: LakeEntry, { sha256, text, proven }: PointerForm): ResolvedFile {
    this.#memory.tell({
      kind: "pointer",
      sha256,
      commit,
      path: lakePath(entry),
      size: entry.size,
      proven,
    });
    return { oid: this.#output.add("blob", text), pointer: true };
  }

  /**
   * The failure to read a file of this commit that was taken for what it claims; undefined: there
   * was none.
   */
  unproven(commit: string): Fault | undefined {
    return this.#unproven.get(commit);
  }

  async #read(
    commit: string,
    file: FileToResolve,
    plan: Exclude<Plan, { readonly done: ResolvedFile }>,
    signed: SignedAddresses,
  ): Promise<ResolvedFile> {
    try {
      return await this.#readNow(commit, file, plan, signed);
    } catch (error) {
      const claimed =
        asFault(error).code === "lakefs/gone" ? this.#claimed(commit, file) : undefined;
      if (claimed === undefined) throw error;
      this.#unproven.set(commit, withPlace(commit, file, error));
      return claimed;
    }
  }

  /**
   * Takes a file whose content is gone for what its claim says. That nothing confirms; but where
   * all claims of a commit come to the tree of the pushed commit that it carries, that is what it
   * was, and nobody can read anything else there any more.
   */
  #claimed(commit: string, file: FileToResolve): ResolvedFile | undefined {
    const { entry, crossing } = file;
    const { claim } = crossing;
    if (claim === undefined || specialKind(file) !== undefined) return undefined;
    const { sha256, pointer: text, blob } = claim;
    if (text !== undefined && sha256 !== undefined)
      return this.#pointer(commit, entry, { as: "pointer", sha256, text, proven: false });
    return this.#isPromised(commit, entry, blob) ? { oid: blob, pointer: false } : undefined;
  }

  #readNow(
    commit: string,
    file: FileToResolve,
    plan: Exclude<Plan, { readonly done: ResolvedFile }>,
    signed: SignedAddresses,
  ): Promise<ResolvedFile> {
    const expected = plan.read === "plain" ? plan.expected : undefined;
    if (expected === undefined && isHashed(file)) return this.#hashed(commit, file);
    return isLarge(file)
      ? this.#streamed(commit, file, expected)
      : this.#held(commit, file, expected, signed);
  }

  /** A content that fits into memory. */
  async #held(
    commit: string,
    file: FileToResolve,
    expected: Oid | undefined,
    signed: SignedAddresses,
  ): Promise<ResolvedFile> {
    // A diff does not tell addresses; an id that is known counts for all that have it as soon as
    // one content proves it.
    const key = expected ?? this.#keyOf(file.entry);
    // No wait in between: the first of many must have begun before the second looks.
    const reader = key === undefined ? undefined : this.#underWay.get(key);
    const known =
      key === undefined ? undefined : (this.#known.get(key) ?? (reader && (await reader)));
    const settled = known && this.#settle(commit, file, known, expected);
    if (settled !== undefined) return settled;
    const reading = this.#inTurn(async () => {
      const data = await this.#reader.read(commit, file.entry, signed);
      const digests = new ContentDigests(file.entry, true);
      digests.update(data);
      const facts = digests.finish();
      return { facts, result: this.#settle(commit, file, facts, expected, data) as ResolvedFile };
    });
    if (key === undefined) return (await reading).result;
    const later = reading.then(({ facts }) => facts);
    later.catch(() => undefined); // told by `reading`
    this.#underWay.set(key, later);
    const { facts, result } = await reading.finally(() => this.#underWay.delete(key));
    this.#known.set(key, facts);
    return result;
  }

  /** Undefined where that takes the bytes, and they are not given. */
  #settle(
    commit: string,
    file: FileToResolve,
    facts: ContentFacts,
    expected: Oid | undefined,
    read?: Uint8Array,
  ): ResolvedFile | undefined {
    const oid = facts.blob as Oid;
    checkExpected(oid, expected);
    const form: Form = expected === undefined ? this.#form(commit, file, facts) : { as: "plain" };
    if (mustBeSeen(file.entry, form)) {
      if (read === undefined) return undefined;
      if (parsePointer(read) !== undefined) return { refused: POINTER_CONTENT };
    }
    this.#remember(file.entry, facts, form);
    if (form.as === "pointer") return this.#pointer(commit, file.entry, form);
    const special = specialKind(file);
    // Attributes are read ahead of all other files.
    const data =
      read ??
      (special === "gitattributes" && this.#output.canRead(oid)
        ? this.#output.readBlob(oid)
        : undefined);
    if (data === undefined)
      return special === undefined && this.#output.has(oid) ? { oid, pointer: false } : undefined;
    const refusal =
      special && (special === "gitmodules" ? checkGitmodules(data) : checkGitattributes(data));
    if (refusal !== undefined) return { refused: `Git refuses it: ${refusal.text}` };
    return { oid: this.#output.add("blob", data, special !== undefined), pointer: false };
  }

  /**
   * Remembers the hashes of a content: one that stays in no pack, or is large, need not be read a
   * second time to be known.
   */
  #remember(entry: LakeEntry, facts: ContentFacts, form: Form): void {
    const key = this.#keyOf(entry);
    if (key === undefined) return;
    if (form.as === "plain" && entry.size < LIMITS.contentRecordBytesMin)
      this.#memory.prove(key, facts.sha256);
    else this.#memory.tell({ kind: "hashed", key, facts });
  }

  /** Too large to be held: a plain file, unless its bytes say otherwise. */
  async #streamed(
    commit: string,
    file: FileToResolve,
    expected: Oid | undefined,
  ): Promise<ResolvedFile> {
    const { entry } = file;
    let form: Form = { as: "plain" };
    const oid = await this.#inTurn(() => {
      const digests = new ContentDigests(entry, false);
      return this.#output.addStream(
        entry.size,
        passing(this.#reader.stream(commit, entry), digests),
        (blob) => {
          const facts = { ...digests.finish(), blob };
          checkExpected(blob, expected);
          if (expected === undefined) form = this.#form(commit, file, facts);
          this.#remember(entry, facts, form);
          return form.as === "plain";
        },
      );
    });
    return isPointerForm(form) ? this.#pointer(commit, entry, form) : { oid, pointer: false };
  }

  /** Most likely a pointer: nothing of it is kept but its hashes. */
  async #hashed(commit: string, file: FileToResolve): Promise<ResolvedFile> {
    const {
      entry,
      crossing: { claim },
    } = file;
    const facts = await this.#inTurn(async () => {
      const digests = new ContentDigests(entry, claim !== undefined);
      for await (const chunk of this.#reader.stream(commit, entry)) digests.update(chunk);
      return digests.finish();
    });
    const form = this.#form(commit, file, facts);
    this.#remember(entry, facts, form);
    if (form.as === "pointer") return this.#pointer(commit, entry, form);
    const plan = this.#asPlain(commit, file, facts.blob as Oid);
    if ("done" in plan) return plan.done;
    return isLarge(file)
      ? this.#streamed(commit, file, facts.blob)
      : this.#held(commit, file, facts.blob, new Map());
  }

  /** Runs when it may read, unless something has failed by then. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    // Without the signal: thousands wait here, each would listen to it, and those who hold a turn
    // see it.
    return this.#turns.run(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      return work();
    });
  }

  #naming<T>(commit: string, file: FileToResolve, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw withPlace(commit, file, error);
    }
  }

  async #namingLater<T>(commit: string, file: FileToResolve, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#failure ??= withPlace(commit, file, error);
      throw this.#failure;
    }
  }
}

/** Adds the path, and the commit, to whatever fails. */
function withPlace(commit: string, { entry }: FileToResolve, error: unknown): Fault {
  const fault = asFault(error);
  return new Fault(fault.code, { ...fault.facts, path: lakePath(entry), commit }, fault);
}

async function* passing(
  content: AsyncIterable<Uint8Array>,
  digests: ContentDigests,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of content) {
    digests.update(chunk);
    yield chunk;
  }
}

function checkExpected(oid: Oid, expected: Oid | undefined): void {
  if (expected === undefined || oid === expected) return;
  throw new Fault("lakefs/damaged", {
    reason: "the content contradicts its recorded blob id",
    recorded: expected,
    is: oid,
  });
}
