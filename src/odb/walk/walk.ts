/**
 * Finds the objects that a fetch is to bring: everything reachable from the wants and not from the
 * haves, shallow boundaries and filter applied. Runs in a pool thread.
 *
 * Order of work: commits by date (commit-walk), then the boundary's trees against ours
 * (tree-edges), then trees and blobs. Nothing recurses. Objects that the other side is known to
 * have stay marked, for thin packs.
 */
import { Fault } from "../../base/fault.js";
import { OBJECT_TYPE, type Oid } from "../../git/oid.js";
import { TreeCursor } from "../../git/tree.js";
import type { TaskWatch } from "../../pool/control.js";
import type { WalkRequest } from "./tasks.js";
import { LIMITS } from "../../base/limits.js";
import { WorkBudget } from "../../base/work-budget.js";
import type { Filter } from "../../wire/filter.js";
import { MARK, walkCommits, type WalkedCommits } from "./commit-walk.js";
import { type CommitNode, Commits, peel } from "./commits.js";
import { wantsReachEverything, markAll } from "./whole-store.js";
import { FilteredWalk } from "./filtered-walk.js";
import { createFilter, type SparseBlobs } from "./filter.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";
import { type SizeBounds, SizeLimit, sizeLimitOf } from "./size-limits.js";
import { isCheaperThanTrees, storedTypes } from "../packs/types.js";
import { markEdgeTrees } from "./tree-edges.js";

export interface WalkedObjects {
  /** Objects to send. */
  readonly count: number;
  /** By number, MARK bits: `sent`, and `uninteresting` where the client is known to have it. */
  readonly marks: Uint8Array;
  /**
   * Numbers of those to send, in any order, where they are few among all that is stored; undefined:
   * look through `marks`.
   */
  readonly few: readonly number[] | undefined;
  /** For a filter by size, the sizes it has seen. */
  readonly sizes?: SizeBounds;
}

/** Above this share of all objects nobody keeps a list of those to send. */
const FEW = 1 / 16;

/** Called now and then with the number of objects found. */
export type OnFound = (count: number) => void;

/** Throws "odb/missing" where something reachable is not here. */
export function walkObjects(
  reader: ObjectReader,
  request: WalkRequest,
  watch: TaskWatch,
  onFound: OnFound,
): Promise<WalkedObjects> {
  return new ObjectWalk(reader, request, watch, onFound).run();
}

/** The starts of a walk: the wants and haves, peeled and sorted by type. */
interface Starts {
  readonly tags: readonly number[];
  readonly commits: readonly number[];
  readonly trees: readonly number[];
  readonly blobs: readonly number[];
}

type BlobChoice = (blob: number) => boolean;

const NO_BLOB: BlobChoice = () => false;

class ObjectWalk {
  readonly #reader: ObjectReader;
  readonly #request: WalkRequest;
  readonly #watch: TaskWatch;
  readonly #onFound: OnFound;
  readonly #commits: Commits;
  readonly #marks: Uint8Array;
  readonly #limit: SizeLimit;
  #count = 0;
  #few: number[] | undefined = [];

  constructor(reader: ObjectReader, request: WalkRequest, watch: TaskWatch, onFound: OnFound) {
    this.#reader = reader;
    this.#request = request;
    this.#watch = watch;
    this.#onFound = onFound;
    this.#commits = new Commits(reader);
    this.#marks = new Uint8Array(reader.space.size);
    this.#limit = new SizeLimit(sizeLimitOf(request.filter) ?? Number.POSITIVE_INFINITY);
  }

  async run(): Promise<WalkedObjects> {
    if (await this.#isAll()) await this.#sendStored();
    else await this.#walk();
    this.#onFound(this.#count);
    const { keptMax, refusedMin } = this.#limit;
    return {
      count: this.#count,
      marks: this.#marks,
      few: this.#few,
      sizes: { keptMax, refusedMin },
    };
  }

  /**
   * Returns whether the answer is all that is stored, or all but blobs in a store where those are
   * found without a walk.
   */
  async #isAll(): Promise<boolean> {
    const { wants, haves, shallow, filter, packTips } = this.#request;
    if (packTips === undefined || haves.length > 0 || shallow.length > 0) return false;
    if (filter !== undefined && (filter.kind !== "blob:none" || !isCheaperThanTrees(this.#reader)))
      return false;
    return wantsReachEverything(this.#commits, wants, packTips, this.#watch);
  }

  async #sendStored(): Promise<void> {
    const { wants, filter } = this.#request;
    this.#few = undefined;
    if (filter === undefined) {
      this.#count = await markAll(this.#reader, this.#marks, this.#watch);
      return;
    }
    this.#count = await markAll(this.#reader, this.#marks, this.#watch, async (at) => {
      const types = await storedTypes(this.#reader, at, this.#watch);
      return (position) => types[position] === OBJECT_TYPE.blob;
    });
    for (const blob of sortStarts(this.#reader, wants, true).blobs) this.#send(blob);
  }

  async #walk(): Promise<void> {
    const { wants, haves, shallow, filter } = this.#request;
    this.#commits.cutAt(
      new Set(shallow.map((oid) => this.#reader.locate(oid)).filter((number) => number !== NONE)),
    );
    const ours = sortStarts(this.#reader, wants, true);
    const theirs = sortStarts(this.#reader, haves, false);
    await this.#markTheirs(theirs);
    const walked = await walkCommits(
      this.#commits,
      this.#marks,
      { wants: ours.commits, haves: theirs.commits },
      this.#watch,
    );
    await this.#markEdges(walked, theirs);
    if (filter === undefined) await this.#sendAll(ours, walked, undefined);
    else if (filter.kind === "blob:none") await this.#sendAll(ours, walked, NO_BLOB);
    else if (filter.kind === "blob:limit")
      await this.#sendAll(ours, walked, (blob) => this.#limit.keeps(this.#reader.size(blob)));
    else await this.#sendFiltered(ours, walked, filter);
    this.#addTags();
  }

  async #markTheirs(theirs: Starts): Promise<void> {
    for (const number of [...theirs.tags, ...theirs.trees, ...theirs.blobs])
      this.#mark(number, MARK.uninteresting);
    const waiting = [...theirs.trees];
    for (let tree = waiting.pop(); tree !== undefined; tree = waiting.pop()) {
      this.#watch.step();
      if (this.#watch.shouldYield()) await this.#watch.turn();
      const cursor = new TreeCursor(this.#reader.readAs("tree", tree));
      while (cursor.next()) {
        const number = cursor.isGitlink ? NONE : this.#reader.space.find(cursor.data, cursor.oidAt);
        if (number === NONE || this.#has(number, MARK.uninteresting)) continue;
        this.#mark(number, MARK.uninteresting);
        if (cursor.isTree) waiting.push(number);
      }
    }
  }

  /**
   * The trees of the boundary. A shallow client's haves count as boundary too: deepening walks
   * below what it has, so that its own commits are nobody's parents there. Git:
   * "--objects-edge-aggressive" where a client is shallow.
   */
  async #markEdges(walked: WalkedCommits, theirs: Starts): Promise<void> {
    const edges = new Set(walked.edges);
    if (this.#request.shallow.length > 0) for (const have of theirs.commits) edges.add(have);
    if (edges.size === 0 || walked.commits.length === 0) return;
    const trees = [...edges]
      .map((edge) => this.#commits.node(edge).tree)
      .filter((tree) => tree !== NONE);
    const ours = walked.commits.map((node) => this.#treeOf(node));
    await markEdgeTrees(this.#reader, this.#marks, trees, ours, this.#watch);
  }

  #treeOf(node: CommitNode): number {
    if (node.tree === NONE) throw this.#commits.missingLink(node);
    return node.tree;
  }

  /**
   * `keeps`: which of the blobs in trees to send; undefined: all. Those asked for by id come in any
   * case.
   */
  async #sendAll(
    ours: Starts,
    walked: WalkedCommits,
    keeps: BlobChoice | undefined,
  ): Promise<void> {
    for (const node of walked.commits) this.#send(node.number);
    for (const number of [...ours.tags, ...ours.blobs]) this.#send(number);
    for (const tree of ours.trees) await this.#sendTree(tree, keeps);
    for (const node of walked.commits) await this.#sendTree(this.#treeOf(node), keeps);
  }

  /** A tree and everything below it that is not known yet. */
  async #sendTree(root: number, keeps: BlobChoice | undefined): Promise<void> {
    if (!this.#send(root)) return;
    const { space } = this.#reader;
    const waiting = [root];
    for (let tree = waiting.pop(); tree !== undefined; tree = waiting.pop()) {
      this.#watch.step();
      if (this.#watch.shouldYield()) await this.#watch.turn();
      const cursor = new TreeCursor(this.#reader.readAs("tree", tree));
      while (cursor.next()) {
        if (cursor.isGitlink || (keeps === NO_BLOB && !cursor.isTree)) continue;
        const number = space.find(cursor.data, cursor.oidAt);
        if (number === NONE)
          throw new Fault("odb/missing", { oid: cursor.oid, tree: space.oid(tree) });
        if (cursor.isTree) {
          if (this.#send(number)) waiting.push(number);
        } else if (keeps === undefined || this.#isKept(number, keeps)) this.#send(number);
      }
    }
  }

  /** Asks once about each blob. */
  #isKept(blob: number, keeps: BlobChoice): boolean {
    if (this.#has(blob, MARK.refused)) return false;
    if (this.#has(blob, MARK.sent) || keeps(blob)) return true;
    this.#mark(blob, MARK.refused);
    return false;
  }

  async #sendFiltered(ours: Starts, walked: WalkedCommits, filter: Filter): Promise<void> {
    const sparse = findSparse(this.#reader, filter);
    const stepsMax =
      LIMITS.patternStepsBase + LIMITS.patternStepsPerObject * this.#reader.space.size;
    const budget = new WorkBudget(stepsMax, "steps of matching patterns", "fetch/filter-work");
    const objectFilter = createFilter(filter, {
      reader: this.#reader,
      sparse,
      budget,
      limit: this.#limit,
    });
    const walk = new FilteredWalk(this.#reader, objectFilter, this.#marks, this.#watch, (number) =>
      this.#send(number),
    );
    for (const node of walked.commits) walk.commit(node.number, this.#treeOf(node));
    for (const tag of ours.tags) walk.tag(tag);
    for (const blob of ours.blobs) walk.blob(blob, "");
    for (const tree of ours.trees) await walk.tree(tree);
    for (const node of walked.commits) await walk.tree(node.tree);
  }

  /** include-tag: gitprotocol-capabilities(5). Tags of tags come with the outer one. */
  #addTags(): void {
    for (const { oid, peeled } of this.#request.tags) {
      const target = this.#reader.locate(peeled);
      if (target === NONE || !this.#has(target, MARK.sent)) continue;
      for (const tag of peel(this.#reader, this.#reader.space.need(oid)).tags) this.#send(tag);
    }
  }

  /**
   * Puts the object among those to send; false where it is there already or the other side has it.
   */
  #send(number: number): boolean {
    const bits = this.#marks[number] as number;
    if ((bits & (MARK.sent | MARK.uninteresting)) !== 0) return false;
    this.#marks[number] = bits | MARK.sent;
    this.#count++;
    if (this.#count > this.#reader.space.size * FEW) this.#few = undefined;
    this.#few?.push(number);
    if (this.#count % LIMITS.walkProgressObjects === 0) this.#onFound(this.#count);
    return true;
  }

  #mark(number: number, mark: number): void {
    this.#marks[number] = (this.#marks[number] as number) | mark;
  }

  #has(number: number, mark: number): boolean {
    return ((this.#marks[number] as number) & mark) !== 0;
  }
}

/** With `needed` an id that is not here throws "odb/missing", else it is passed over. */
function sortStarts(reader: ObjectReader, oids: readonly Oid[], needed: boolean): Starts {
  const starts = {
    tags: [] as number[],
    commits: [] as number[],
    trees: [] as number[],
    blobs: [] as number[],
  };
  for (const oid of oids) {
    const number = needed ? reader.space.need(oid) : reader.locate(oid);
    if (number === NONE) continue;
    const { tags, target, type } = peel(reader, number);
    for (const tag of tags) starts.tags.push(tag);
    if (target !== NONE) starts[`${type}s`].push(target);
    else if (needed) throw new Fault("odb/missing", { tag: oid });
  }
  return starts;
}

/**
 * The blob of each `sparse:oid` in the filter. Its spec is an id here: names were resolved before.
 */
function findSparse(reader: ObjectReader, filter: Filter): SparseBlobs {
  const blobs = new Map<string, number>();
  for (const part of filter.kind === "combine" ? filter.filters : [filter]) {
    if (part.kind === "sparse:oid") blobs.set(part.spec, reader.space.need(part.spec));
  }
  return blobs;
}
