/**
 * lakeFS commits → Git objects, in a pool thread: a chain of commits, oldest first, into one pack
 * file. Work follows the change: a commit takes the tree of a parent and what `diff` says, or the
 * parent's very tree where both have one metarange, or else lists everything. All three give the
 * same ids; the last is also the way out wherever the change alone does not say enough.
 */
import type { MessagePort } from "node:worker_threads";
import { fromLatin1, lossyText } from "../../base/bytes.js";
import { asFault, Fault, toRecord } from "../../base/fault.js";
import { lookAhead } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { commitText, rawCommit, rawTag, rawTree } from "../rules/commit-text.js";
import type { Oid } from "../../git/oid.js";
import type { Kernels } from "../../kernels/kernels.js";
import { ObjectReader, threadReaderCaches } from "../../odb/packs/reader.js";
import type {
  ListingState,
  SourceCommit,
  SynthesizedCommit,
  SynthesizeItem,
  SynthesizeRequest,
  SynthesizeResult,
} from "./tasks.js";
import { Census } from "./census.js";
import { LakefsServer } from "../api/client.js";
import { locate, locateThere } from "./locate.js";
import { SealKeys } from "../rules/claim-seal.js";
import {
  type Circumstances,
  Contents,
  type ContentsSource,
  type ResolvedFile,
} from "./contents.js";
import type { FileToResolve } from "../rules/file-to-resolve.js";
import type { PathMapping } from "../rules/contract.js";
import {
  attributeBudget,
  type AttributesFile,
  NOTHING_SAID,
  PassingAttributes,
  saidByTree,
  type SaidOf,
} from "../rules/commit-attributes.js";
import type { Filter } from "../../git/gitattributes.js";
import { HashMemory } from "./hash-memory.js";
import { type LakeChange, listChanges, listCommit, listCompared, type Side } from "./listing.js";
import { formatMapping } from "../agreed/mapping.js";
import { COMMIT_SEAL_KEY, PADDING_KEY } from "../rules/metadata-keys.js";
import { ObjectOutput } from "./object-output.js";
import { padTree } from "../rules/padded-modes.js";
import {
  checksumSha256,
  type Crossing,
  crossing,
  FILE_MODE,
  isFileMode,
  type LakeEntry,
  pathRefusal,
} from "../rules/path-rules.js";
import { PromisedWriter } from "./promised-list.js";
import { shownTree, treeAttributes } from "./shown-tree.js";
import { changeTree, type PathChanges, TreeBuilder, TreeLookup } from "./tree-builder.js";
import { threadTreeCache } from "./tree-cache.js";
import {
  blobAt,
  inForm,
  NOTHING_UNCHANGED,
  touchesAttributes,
  type Unchanged,
} from "./unchanged.js";
import { watchedSignal } from "./watched-signal.js";

/** Refusals that are named; all are counted. */
const REFUSALS_NAMED = 10;

export async function synthesizeChain(
  request: SynthesizeRequest,
  kernels: Kernels,
): Promise<SynthesizeResult> {
  const memory = new HashMemory(request.port as MessagePort);
  const abort = watchedSignal(request.control, memory.leftOff);
  const client = new LakefsServer(request.access).in(request.repository);
  client.server.lost.know(request.repository, request.ways);
  const { namespace, sealKeys, pagesOnly = false } = request;
  const source = {
    client,
    namespace,
    seals: new SealKeys(sealKeys),
    signal: abort.signal,
    pagesOnly,
  };
  const disbelieved = new Set<string>();
  try {
    for (;;) {
      const made = await synthesizeOnce(request, source, {
        kernels,
        memory,
        disbelieved,
        gone: abort.gone,
      });
      if (made === undefined) continue;
      await memory.heard();
      return { ...made, figures: Object.fromEntries(client.http.figures) };
    }
  } finally {
    abort.stop();
    request.port.close();
  }
}

interface Attempt {
  readonly kernels: Kernels;
  readonly memory: HashMemory;
  /** Aborted when nobody takes a result any more. */
  readonly gone: AbortSignal;
  /** Commits whose seal does not fit what they hold. */
  readonly disbelieved: Set<string>;
}

/**
 * Undefined: a seal does not fit what its commit holds, and all has to be made again without it.
 * Promises made meanwhile rested on that seal.
 */
async function synthesizeOnce(
  request: SynthesizeRequest,
  source: ContentsSource,
  { kernels, memory, disbelieved, gone }: Attempt,
): Promise<Omit<SynthesizeResult, "figures"> | undefined> {
  const trees = threadTreeCache();
  const output = new ObjectOutput(
    request.path,
    new ObjectReader(request.packs, kernels, threadReaderCaches()),
    trees,
  );
  const promises = new PromisedWriter(request.promisedPath);
  const commits: SynthesizedCommit[] = [];
  // By the clock: one commit may hold more objects than a thousand others.
  const tell = () =>
    memory.tell({
      kind: "progress",
      commits: commits.length,
      objects: output.count,
      files: chain.files,
    });
  const chain = new Chain(source, output, memory, promises, request, disbelieved);
  const telling = setInterval(tell, LIMITS.progressMs);
  try {
    for (const item of request.items) {
      const made = await chain.synthesize(item);
      if (made === undefined) {
        promises.discard();
        return undefined;
      }
      commits.push(made);
      output.mark();
      promises.mark();
      trees.set(`${request.repository} ${item.source.id}`, output.takeTrees());
    }
    const objects = output.count;
    output.finish();
    return { commits, objects, promised: promises.finish(), failure: undefined };
  } catch (error) {
    const fault = asFault(error);
    if (gone.aborted) throw fault;
    // What is whole, and what was read, is worth as much as before.
    const kept = chain.kept();
    promises.rollBack();
    const objects = output.finishWhole();
    return { commits, objects, promised: promises.finish(), failure: { ...toRecord(fault), kept } };
  } finally {
    clearInterval(telling);
    output.discard();
    promises.close();
  }
}

/** The result of a listing. */
interface Listed {
  readonly tree: Oid;
  readonly refusals: { count: number; readonly first: string[] };
  readonly census: Census;
}

class Chain {
  readonly #source: ContentsSource;
  readonly #output: ObjectOutput;
  readonly #mapping: PathMapping;
  readonly #contents: Contents;
  readonly #done = new Map<string, SynthesizedCommit>();
  readonly #disbelieved: Set<string>;
  #files: { readonly done: number; readonly total: number } | undefined;

  constructor(
    given: ContentsSource,
    output: ObjectOutput,
    memory: HashMemory,
    promises: PromisedWriter,
    { mapping, known, kept }: SynthesizeRequest,
    disbelieved: Set<string>,
  ) {
    this.#disbelieved = disbelieved;
    const onCount = (total: number) => {
      this.#files = { done: 0, total };
    };
    const source = { ...given, onCount };
    this.#source = source;
    this.#output = output;
    this.#mapping = mapping;
    this.#contents = new Contents(source, output, memory, promises, kept);
    for (const commit of known) this.#done.set(commit.lakeId, commit);
  }

  /**
   * Progress of the listing that is being read, and its files; undefined: it is short, or nobody
   * knows.
   */
  get files(): { readonly done: number; readonly total: number } | undefined {
    return this.#files;
  }

  /** Contents that were read. */
  kept(): Uint8Array {
    return this.#contents.kept();
  }

  /** Undefined: the commit's seal does not fit what it holds; it is among the disbelieved now. */
  async synthesize({ source, parents }: SynthesizeItem): Promise<SynthesizedCommit | undefined> {
    const made = this.#tag(source) ?? (await this.#commit(source, parents));
    if (made !== undefined) this.#done.set(source.id, made);
    this.#files = undefined;
    return made;
  }

  /** A commit record that stands for an annotated tag. */
  #tag(source: SourceCommit): SynthesizedCommit | undefined {
    const target = this.#done.get(source.parents[0] ?? "");
    const raw = rawTag(source, target?.commit, this.#mapping);
    if (raw === undefined || target === undefined) return undefined;
    return {
      lakeId: source.id,
      commit: target.commit,
      tree: target.tree,
      tag: this.#output.add("tag", raw),
      state: target.state,
    };
  }

  async #commit(
    source: SourceCommit,
    lakeParents: readonly string[],
  ): Promise<SynthesizedCommit | undefined> {
    const parents = lakeParents.map((id) => this.#need(id).commit);
    const sealed = this.#sealedTree(source);
    const listed = await this.#list(source, sealed !== undefined);
    const pushed = this.#asPushed(source, listed.tree);
    if (sealed !== undefined && pushed !== sealed) {
      this.#disbelieved.add(source.id);
      return undefined;
    }
    const raw = rawCommit(source, pushed, parents, this.#mapping);
    const unproven = raw === undefined ? this.#contents.unproven(source.id) : undefined;
    if (unproven !== undefined) throw unproven;
    const tree =
      raw === undefined
        ? shownTree(this.#output, listed.tree, listed.census, this.#mapping)
        : pushed;
    const commit = this.#output.add(
      "commit",
      raw ?? commitText(source, tree, parents, this.#mapping),
    );
    const { count, first } = listed.refusals;
    const state: ListingState = {
      metarange: source.meta_range_id,
      listing: listed.tree,
      refused: count,
      refusals: first,
      census: listed.census.toState(),
    };
    return { lakeId: source.id, commit, tree, tag: undefined, state };
  }

  /**
   * The tree that the raw commit would have: with the zeroes before its modes that the metadata
   * tell.
   */
  #asPushed({ metadata }: SourceCommit, listing: Oid): Oid {
    const padding = this.#mapping.version < 3 ? undefined : metadata?.[PADDING_KEY];
    const output = this.#output;
    return padTree(
      listing,
      padding,
      (oid) => output.readTree(oid),
      (data) => output.addTree(data),
    );
  }

  /**
   * The tree that a server with the key has found this commit's metarange to be. Claims of its
   * entries hold then if together they give this very tree, so that none of their contents has to
   * be read.
   */
  #sealedTree(source: SourceCommit): Oid | undefined {
    const seal = source.metadata?.[COMMIT_SEAL_KEY];
    const tree =
      seal === undefined || this.#disbelieved.has(source.id)
        ? undefined
        : rawTree(source, this.#mapping);
    if (tree === undefined) return undefined;
    const { namespace, seals } = this.#source;
    const statement = {
      namespace,
      metarange: source.meta_range_id,
      mapping: formatMapping(this.#mapping),
      tree,
    };
    return seals.isListingSealed(seal, statement) ? tree : undefined;
  }

  #need(lakeId: string): SynthesizedCommit {
    const commit = this.#done.get(lakeId);
    if (commit === undefined)
      throw new Fault("base/internal", {
        reason: "a parent is to be synthesized first",
        commit: lakeId,
      });
    return commit;
  }

  // The tree of the listing -----------------------------------------------------------------------

  async #list(source: SourceCommit, believed: boolean): Promise<Listed> {
    const states = source.parents.flatMap((id) => {
      const state = this.#done.get(id)?.state;
      return state === undefined ? [] : [{ id, state }];
    });
    const equal = states.find(
      ({ state }) => state.metarange === source.meta_range_id && state.census !== undefined,
    );
    if (equal !== undefined) return listedOf(equal.state);
    const [base] = states;
    const right = { id: source.id, metarange: source.meta_range_id };
    if (base === undefined || right.metarange === "")
      return this.#listAll(
        source,
        believed,
        listCommit(this.#source, right.id, right.metarange),
        () => undefined,
      );
    const left = { id: base.id, metarange: base.state.metarange };
    const changes = await listChanges(this.#source, left, right);
    const merged =
      changes === undefined || believed
        ? NOTHING_UNCHANGED
        : await this.#mergedFrom(states[1], right, changes);
    const listed = changes && (await this.#change(source, believed, base.state, changes, merged));
    if (listed !== undefined) return listed;
    const blobs = new TreeLookup(this.#output, base.state.listing);
    if (changes === undefined) {
      const same = new WeakSet<LakeEntry>();
      const known = inForm(base.state, this.#mapping.version >= 3, (entry) =>
        same.has(entry) ? blobAt(blobs, entry) : undefined,
      );
      return this.#listAll(source, believed, listCompared(this.#source, left, right, same), known);
    }
    const changed = new Set(changes.map(({ path }) => path));
    const all = listCommit(this.#source, right.id, right.metarange);
    const known = inForm(
      base.state,
      this.#mapping.version >= 3 && touchesAttributes(changes),
      (entry) => (changed.has(entry.path) ? undefined : blobAt(blobs, entry)),
    );
    return this.#listAll(source, believed, all, known);
  }

  /**
   * Finds the files that a merge has taken over unchanged from its other parent, whose tree is
   * known: one call more, and they are not read a second time.
   */
  async #mergedFrom(
    other: { readonly id: string; readonly state: ListingState } | undefined,
    right: Side,
    changes: readonly LakeChange[],
  ): Promise<Unchanged> {
    if (other === undefined || changes.length < MERGED_CHANGES_MIN) return NOTHING_UNCHANGED;
    const differing = await listChanges(
      this.#source,
      { id: other.id, metarange: other.state.metarange },
      right,
    );
    if (differing === undefined || touchesAttributes(differing)) return NOTHING_UNCHANGED;
    const differs = new Set(differing.map(({ path }) => path));
    const blobs = new TreeLookup(this.#output, other.state.listing);
    return (entry) => (differs.has(entry.path) ? undefined : blobAt(blobs, entry));
  }

  /**
   * The base's tree with the changes in it; undefined: the change alone does not say what the tree
   * is.
   */
  async #change(
    source: SourceCommit,
    believed: boolean,
    base: ListingState,
    changes: readonly LakeChange[],
    merged: Unchanged,
  ): Promise<Listed | undefined> {
    if (base.census === undefined || base.refused > 0) return undefined;
    // Others decide for files that have not changed as well.
    if (this.#mapping.version >= 3 && touchesAttributes(changes)) return undefined;
    const said = this.#saidIn(base);
    const placed: Placed[] = [];
    const gone: string[] = [];
    for (const { path, entry } of await this.#located(source.id, changes)) {
      if (entry === undefined) gone.push(path);
      else placed.push({ entry, crossing: crossing(entry, this.#mapping, said(path)) });
    }
    if (placed.some(({ crossing }) => crossing.as === "refused")) return undefined;
    const resolved = await this.#resolve(source.id, placed, merged, { believed });
    if (resolved.some((one) => one !== undefined && "refused" in one)) return undefined;
    const listed = listedOf(base);
    const paths: Map<string, { mode: number; oid: Oid } | undefined> = new Map(
      gone.map((path) => [path, undefined]),
    );
    // A changed path that is no part of the tree any more leaves it.
    for (const [at, { entry }] of placed.entries())
      paths.set(entry.path, resolved[at] as InTree | undefined);
    for (const path of paths.keys()) if (path.endsWith("/")) paths.delete(path); // markers
    const tree = changeTree(this.#output, base.listing, paths as PathChanges, (path, mode) =>
      listed.census.remove(path, isFileMode(mode)),
    );
    if (tree === "clash") return undefined;
    for (const [path, file] of paths)
      if (file !== undefined)
        listed.census.add(path, (file as InTree).pointer, isFileMode(file.mode));
    return { ...listed, tree };
  }

  /** Returns the attributes of a known tree. */
  #saidIn({ listing, census }: ListingState): SaidOf {
    if (this.#mapping.version < 3) return NOTHING_SAID;
    const pointers = Census.of(census);
    const files = treeAttributes(this.#output, new TreeLookup(this.#output, listing), (path) =>
      pointers.isPointer(path),
    );
    return saidByTree(files, attributeBudget());
  }

  /** The changes, with the addresses that tell a hub's links, and that a diff does not tell. */
  async #located(commit: string, changes: readonly LakeChange[]): Promise<readonly LakeChange[]> {
    const asked = changes.filter(({ path, entry }) => {
      const isTold =
        entry === undefined ||
        entry.address !== undefined ||
        checksumSha256(entry.checksum) === undefined;
      return !isTold && pathRefusal(path, this.#mapping) === undefined;
    });
    if (asked.length === 0) return changes;
    const found = await locate(
      this.#source,
      commit,
      asked.map(({ path }) => path),
    );
    return changes.map((change) => ({ ...change, entry: found.get(change.path) ?? change.entry }));
  }

  /**
   * Reads a whole listing. `unchanged`: the blob of an entry that is the same in a tree that is
   * known.
   */
  async #listAll(
    source: SourceCommit,
    believed: boolean,
    batches: AsyncIterable<readonly LakeEntry[]>,
    unchanged: Unchanged,
  ): Promise<Listed> {
    const refusals = { count: 0, first: [] as string[] };
    const census = new Census();
    const refuse = (path: string, reason: string) => {
      refusals.count++;
      if (refusals.first.length < REFUSALS_NAMED)
        refusals.first.push(`${lossyText(fromLatin1(path))}: ${reason}`);
    };
    const builder = new TreeBuilder(this.#output, (path, mode) => {
      refuse(path, "a folder has the same name");
      census.remove(path, isFileMode(mode));
    });
    const place = (
      batch: readonly LakeEntry[],
      resolved: readonly (InTree | Refused | undefined)[],
    ) => {
      for (const [at, one] of resolved.entries()) {
        const path = (batch[at] as LakeEntry).path;
        if (one === undefined) continue;
        if ("refused" in one) refuse(path, one.refused);
        else {
          builder.add(path, one.mode, one.oid);
          census.add(path, one.pointer, isFileMode(one.mode));
        }
      }
    };
    let after = "";
    const attributes = new PassingAttributes({
      find: (paths) =>
        locateThere(
          this.#source,
          source.id,
          paths.filter((path) => pathRefusal(path, this.#mapping) === undefined),
        ),
      read: (entries) => this.#readAttributes(source.id, entries, believed),
    });
    for await (const { item, result } of lookAhead(batches, async (batch) => {
      const window = { after, count: batch.length };
      after = batch.at(-1)?.path ?? after;
      const said: readonly Filter[] = this.#mapping.version < 3 ? [] : await attributes.of(batch);
      const placed = batch.map((entry, at) => ({
        entry,
        crossing: crossing(entry, this.#mapping, said[at]),
      }));
      return this.#resolve(source.id, placed, unchanged, { window, believed });
    })) {
      place(item, result);
      if (this.#files !== undefined)
        this.#files = { ...this.#files, done: this.#files.done + item.length };
    }
    return { tree: builder.finish(), refusals, census };
  }

  /** Reads .gitattributes files as Git does. One that it refuses is no part of the tree. */
  async #readAttributes(
    commit: string,
    entries: readonly LakeEntry[],
    believed: boolean,
  ): Promise<readonly AttributesFile[]> {
    const placed = entries.map((entry) => ({
      entry,
      crossing: crossing(entry, this.#mapping, undefined),
    }));
    const resolved = await this.#resolve(commit, placed, NOTHING_UNCHANGED, { believed });
    return resolved.map((one) => {
      const isFile =
        one !== undefined && !("refused" in one) && isFileMode(one.mode) && !one.pointer;
      return isFile ? { oid: one.oid, text: this.#output.readBlob(one.oid) } : undefined;
    });
  }

  /** Resolves each entry to its form in the tree; undefined: nothing. */
  async #resolve(
    commit: string,
    placed: readonly Placed[],
    unchanged: Unchanged,
    circumstances: Circumstances,
  ): Promise<(InTree | Refused | undefined)[]> {
    const answers: (InTree | Refused | undefined)[] = [];
    const files: FileToResolve[] = [];
    const places: number[] = [];
    placed.forEach(({ entry, crossing }, at) => {
      answers.push(this.#withoutContent(crossing));
      if (crossing.as !== "file") return;
      files.push({ entry, crossing, unchanged: unchanged(entry, crossing) });
      places.push(at);
    });
    const resolved = await this.#contents.resolve(commit, files, circumstances);
    places.forEach((at, index) => {
      const file = resolved[index] as ResolvedFile;
      answers[at] =
        "refused" in file ? file : { ...file, mode: (files[index] as FileToResolve).crossing.mode };
    });
    return answers;
  }

  #withoutContent(crossing: Crossing): InTree | Refused | undefined {
    switch (crossing.as) {
      case "refused":
        return { refused: crossing.reason };
      case "symlink":
        return {
          mode: FILE_MODE.symlink,
          oid: this.#output.add("blob", crossing.target),
          pointer: false,
        };
      case "gitlink":
        return { mode: FILE_MODE.gitlink, oid: crossing.oid, pointer: false };
      case "nothing":
      case "file":
        return undefined;
    }
  }
}

/**
 * Changed paths of a merge from which on its other parent is compared: fewer are read for no more
 * than that call.
 */
const MERGED_CHANGES_MIN = 8;

interface Placed {
  readonly entry: LakeEntry;
  readonly crossing: Crossing;
}
interface InTree {
  readonly mode: number;
  readonly oid: Oid;
  readonly pointer: boolean;
}
interface Refused {
  readonly refused: string;
}

function listedOf({ listing, refused, refusals, census }: ListingState): Listed {
  return {
    tree: listing,
    refusals: { count: refused, first: [...refusals] },
    census: Census.of(census),
  };
}
