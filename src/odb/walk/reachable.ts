/**
 * Marks the objects that are reachable from refs: one bit an object and pack. With it a wanted id
 * is checked by a look-up.
 *
 * Commits are walked first. A pack whose tips (objects that nothing else in it links to) are all
 * reachable is reachable as a whole: one push of everything costs the commits and nothing more. The
 * rest is walked tree by tree.
 */
import { Fault } from "../../base/fault.js";
import type { Oid } from "../../git/oid.js";
import { TreeCursor } from "../../git/tree.js";
import type { TaskWatch } from "../../pool/control.js";
import type { ReachableBits } from "./tasks.js";
import { Commits, peel } from "./commits.js";
import { wantsReachEverything, type PackTips } from "./whole-store.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";
import type { PackLookup } from "../packs/lookup.js";

export interface ReachableInput {
  readonly tips: readonly Oid[];
  readonly packTips: Readonly<Record<string, readonly Oid[]>>;
  readonly before?: ReachableBits;
  /** Tips of each pack by checksum, where every pack is closed. */
  readonly closedTips?: PackTips;
  /** Blobs may be missing: lakeFS still has them alone. */
  readonly promises: boolean;
}

/** Throws "odb/missing" where something reachable is not here. */
export async function findReachable(
  reader: ObjectReader,
  { tips, packTips, before, closedTips, promises }: ReachableInput,
  watch: TaskWatch,
): Promise<ReachableBits> {
  if (before !== undefined) {
    const extended = new ReachableWalk(reader, packTips, promises, watch);
    extended.inherit(before);
    await extended.run(tips);
    // Only while all that was reachable still is: a ref deleted or moved aside means a new count.
    const now = new Set(tips);
    if (before.tips.every((tip) => extended.met.has(tip) || now.has(tip)))
      return extended.bits(tips);
  }
  const walk = new ReachableWalk(reader, packTips, promises, watch);
  // Where no branch was ever deleted or moved aside the refs reach all that is stored: a walk back
  // to the oldest tip of a pack shows it.
  if (
    closedTips !== undefined &&
    (await wantsReachEverything(new Commits(reader), tips, closedTips, watch))
  )
    walk.fill();
  else await walk.run(tips);
  return walk.bits(tips);
}

class ReachableWalk {
  /**
   * Ids of objects already marked that the walk came upon again: old tips among them are still
   * reachable.
   */
  readonly met = new Set<Oid>();
  readonly #reader: ObjectReader;
  readonly #packTips: Readonly<Record<string, readonly Oid[]>>;
  readonly #promises: boolean;
  readonly #watch: TaskWatch;
  readonly #bits: Uint8Array[];
  readonly #shared: SharedArrayBuffer[];
  readonly #old = new Set<number>();

  constructor(
    reader: ObjectReader,
    packTips: Readonly<Record<string, readonly Oid[]>>,
    promises: boolean,
    watch: TaskWatch,
  ) {
    this.#reader = reader;
    this.#promises = promises;
    this.#packTips = packTips;
    this.#watch = watch;
    this.#shared = reader.space.packs.map(
      ({ lookup }) => new SharedArrayBuffer(Math.ceil(lookup.count / 8)),
    );
    this.#bits = this.#shared.map((shared) => new Uint8Array(shared));
  }

  inherit(before: ReachableBits): void {
    const byChecksum = new Map(before.packs.map(({ checksum, bits }) => [checksum, bits]));
    this.#reader.space.packs.forEach(({ handle }, at) => {
      const bits = byChecksum.get(handle.checksum);
      if (bits !== undefined) this.#bits[at]?.set(new Uint8Array(bits));
    });
    for (const tip of before.tips) {
      const number = this.#reader.locate(tip);
      if (number !== NONE) this.#old.add(number);
    }
  }

  /** Marks everything. */
  fill(): void {
    for (const bits of this.#bits) bits.fill(0xff);
  }

  async run(tips: readonly Oid[]): Promise<void> {
    const trees = await this.#walkCommits(tips);
    this.#fillPacks();
    for (let tree = trees.pop(); tree !== undefined; tree = trees.pop()) {
      if (this.#watch.shouldYield()) await this.#watch.turn();
      this.#walkTree(tree, trees);
    }
    this.#fillPacks();
  }

  bits(tips: readonly Oid[]): ReachableBits {
    const packs = this.#reader.space.packs.map(({ handle }, at) => ({
      checksum: handle.checksum,
      bits: this.#shared[at] as SharedArrayBuffer,
    }));
    return { tips, packs };
  }

  /** Marks commits and tags; the trees to look at next. */
  async #walkCommits(tips: readonly Oid[]): Promise<number[]> {
    const commits = new Commits(this.#reader);
    const trees: number[] = [];
    const waiting: number[] = [];
    for (const tip of tips) this.#start(tip, waiting, trees);
    for (let number = waiting.pop(); number !== undefined; number = waiting.pop()) {
      this.#watch.step();
      if (this.#watch.shouldYield()) await this.#watch.turn();
      if (!this.#mark(number)) continue;
      const node = commits.node(number);
      if (node.tree === NONE || node.parents.includes(NONE)) throw commits.missingLink(node);
      trees.push(node.tree);
      for (const parent of node.parents) waiting.push(parent);
    }
    return trees;
  }

  #start(tip: Oid, commits: number[], trees: number[]): void {
    const { tags, target, type } = peel(this.#reader, this.#reader.space.need(tip));
    for (const tag of tags) this.#mark(tag);
    if (target === NONE) throw new Fault("odb/missing", { tag: tip });
    if (type === "commit") commits.push(target);
    else if (type === "tree") trees.push(target);
    else this.#mark(target);
  }

  #walkTree(tree: number, waiting: number[]): void {
    if (!this.#mark(tree)) return;
    this.#watch.step();
    const { space } = this.#reader;
    const cursor = new TreeCursor(this.#reader.readAs("tree", tree));
    while (cursor.next()) {
      if (cursor.isGitlink) continue;
      const number = space.find(cursor.data, cursor.oidAt);
      if (number === NONE && this.#promises && !cursor.isTree) continue;
      if (number === NONE)
        throw new Fault("odb/missing", { oid: cursor.oid, tree: space.oid(tree) });
      if (cursor.isTree) waiting.push(number);
      else this.#mark(number);
    }
  }

  /** Marks whole packs as long as one more is found whose tips are all marked. */
  #fillPacks(): void {
    const open = new Set(this.#reader.space.packs.keys());
    for (let filled = true; filled; ) {
      filled = false;
      for (const at of open) {
        const tips = this.#packTips[this.#reader.space.packs[at]?.handle.checksum ?? ""];
        if (tips === undefined || !tips.every((tip) => this.#isMarked(tip))) continue;
        this.#bits[at]?.fill(0xff);
        open.delete(at);
        filled = true;
      }
    }
  }

  #isMarked(oid: Oid): boolean {
    return isReachable(this.#reader.space.packs, this.#bits, oid);
  }

  /** False where it was marked before: in this pack or, for the same object, in another. */
  #mark(number: number): boolean {
    const { space } = this.#reader;
    const at = space.packIndex(number);
    const position = number - (space.starts[at] as number);
    const bits = this.#bits[at] as Uint8Array;
    if (hasBit(bits, position)) {
      if (this.#old.has(number)) this.met.add(space.oid(number));
      return false;
    }
    bits[position >> 3] = (bits[position >> 3] as number) | (1 << (position & 7));
    return true;
  }
}

/**
 * Returns whether any of the packs has the object under `oid` marked. `bits` are in the packs'
 * order.
 */
export function isReachable(
  packs: readonly { readonly lookup: PackLookup }[],
  bits: readonly Uint8Array[],
  oid: Oid,
): boolean {
  const bytes = Buffer.from(oid, "hex");
  return packs.some(({ lookup }, at) => {
    const position = lookup.find(bytes, 0);
    return position >= 0 && hasBit(bits[at] as Uint8Array, position);
  });
}

function hasBit(bits: Uint8Array, position: number): boolean {
  return ((bits[position >> 3] as number) & (1 << (position & 7))) !== 0;
}
