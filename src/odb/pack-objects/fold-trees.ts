/**
 * Chooses the trees of a fold that become deltas. Trees that came into different packs are stored
 * whole, however little they differ; here a commit's tree is held beside its first parent's, folder
 * by folder, and what is stored whole gets the base that git/delta-chain says. Deltas that are
 * stored already stay as they are.
 */
import { LIMITS } from "../../base/limits.js";
import { parseCommit } from "../../git/commit.js";
import { baseOf, type Versions } from "../../git/delta-chain.js";
import { type PackPlan, PLACE } from "../../git/pack-plan.js";
import { TreeMerge } from "../../git/tree-merge.js";
import type { TaskWatch } from "../../pool/control.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";
import type { PackFile } from "../packs/entries.js";

/** More than any depth: the row is no base, or it is not known yet how deep it is. */
const TOO_DEEP = 255;
/** States of a row while depths are worked out. */
const WAITS = 0;
const UNDER_WAY = 1;
const DONE = 2;

/** Plans deltas for all rows of the plan, none of which leaves its base out. */
export async function planTreeDeltas(
  reader: ObjectReader,
  plan: PackPlan,
  watch: TaskWatch,
): Promise<void> {
  const trees = new FoldedTrees(reader, plan);
  for (const row of plan.rows()) {
    watch.step();
    if (watch.shouldYield()) await watch.turn();
    if (trees.type(row) !== "commit") continue;
    for (const pair of trees.pairsOf(row)) {
      watch.check();
      if (watch.shouldYield()) await watch.turn();
      trees.compare(pair);
    }
  }
  for (const work of [(row: number) => trees.measure(row), (row: number) => trees.place(row)]) {
    for (let row = 0; row < plan.count; row++) {
      watch.step();
      if (watch.shouldYield()) await watch.turn();
      work(row);
    }
  }
}

/** Rows of a folder now and before. */
interface Pair {
  readonly tree: number;
  readonly before: number;
}

class FoldedTrees {
  readonly #reader: ObjectReader;
  readonly #plan: PackPlan;
  readonly #versions: {
    readonly previous: Int32Array;
    readonly place: Uint32Array;
    readonly depth: Uint8Array;
  } & Versions;
  readonly #state: Uint8Array;
  /** Number of objects that hang on a row by stored deltas. */
  readonly #count: Uint32Array;
  readonly #height: Uint8Array;
  /** Pairs of the commit that is looked at. */
  #pairs: Pair[] = [];

  constructor(reader: ObjectReader, plan: PackPlan) {
    this.#reader = reader;
    this.#plan = plan;
    const { count } = plan;
    this.#versions = {
      previous: new Int32Array(count).fill(-1),
      place: new Uint32Array(count),
      depth: new Uint8Array(count).fill(TOO_DEEP),
    };
    this.#state = new Uint8Array(count);
    this.#count = new Uint32Array(count);
    this.#height = new Uint8Array(count);
  }

  type(row: number): string {
    const pack = this.#plan.pack[row] as number;
    return this.#reader.type(
      (this.#reader.space.starts[pack] as number) +
        this.#pack(row).lookup.positionOf(this.#plan.start[row] as number),
    );
  }

  /**
   * The commit's tree beside that of its first parent, then the folders in it that differ, as
   * `compare` finds them.
   */
  *pairsOf(commit: number): Generator<Pair, void, undefined> {
    const { tree, parents } = parseCommit(this.#read(commit));
    const parent = parents[0] === undefined ? -1 : this.#rowOf(Buffer.from(parents[0], "hex"), 0);
    if (parent < 0) return;
    this.#pairs = [];
    this.#add(
      this.#rowOf(Buffer.from(tree, "hex"), 0),
      this.#rowOf(Buffer.from(parseCommit(this.#read(parent)).tree, "hex"), 0),
    );
    for (let pair = this.#pairs.pop(); pair !== undefined; pair = this.#pairs.pop()) yield pair;
  }

  /** A folder that both have under one name, with another content, is a pair as well. */
  compare({ tree, before }: Pair): void {
    const [then, now] = [this.#read(before), this.#read(tree)];
    const merge = new TreeMerge(then, now);
    while (merge.next()) {
      if (merge.step !== "changed" || !merge.isFolder) continue;
      this.#add(
        this.#rowOf(now, merge.to + merge.head),
        this.#rowOf(then, merge.from + merge.head),
      );
    }
  }

  /** A tree has one version before it: the first that is found. */
  #add(tree: number, before: number): void {
    const { previous } = this.#versions;
    if (tree < 0 || before < 0 || tree === before || previous[tree] !== -1) return;
    // A link may lead to an object of another type: nobody may reach it, and it is stored.
    if (this.type(tree) !== "tree" || this.type(before) !== "tree") return;
    previous[tree] = before;
    this.#pairs.push({ tree, before });
  }

  /** Counts a stored delta where it hangs. */
  measure(row: number): void {
    const { base } = this.#plan;
    let height = 0;
    for (
      let at = base[row] as number;
      at >= 0 && height < LIMITS.treeDeltaDepthMax;
      at = base[at] as number
    ) {
      height++;
      this.#count[at] = (this.#count[at] as number) + 1;
      this.#height[at] = Math.max(this.#height[at] as number, height);
    }
  }

  /**
   * Gives a row its place, and its base where it becomes a delta; before it all it depends on.
   * Versions may be a circle: a file changed, and changed back.
   */
  place(first: number): void {
    const pending = [first];
    for (let row = pending.at(-1); row !== undefined; row = pending.at(-1)) {
      if (this.#state[row] === WAITS) {
        this.#state[row] = UNDER_WAY;
        for (const needed of [
          this.#plan.base[row] as number,
          this.#versions.previous[row] as number,
        ])
          if (needed >= 0 && this.#state[needed] === WAITS) pending.push(needed);
        continue;
      }
      pending.pop();
      if (this.#state[row] === UNDER_WAY) this.#placeOne(row);
      this.#state[row] = DONE;
    }
  }

  #placeOne(row: number): void {
    const { previous, place, depth } = this.#versions;
    const before = previous[row] as number;
    if (before >= 0 && this.#state[before] === DONE) place[row] = (place[before] as number) + 1;
    else previous[row] = -1;
    if (this.#plan.place[row] === PLACE.reuse && previous[row] !== -1) {
      const base = baseOf(this.#versions, row, {
        count: this.#count[row] as number,
        height: this.#height[row] as number,
      });
      if (base >= 0) this.#plan.setMade(row, base);
    }
    const base = this.#plan.base[row] as number;
    if (base < 0) depth[row] = 0;
    else if (this.#state[base] === DONE)
      depth[row] = Math.min(TOO_DEEP, (depth[base] as number) + 1);
  }

  #read(row: number): Uint8Array {
    return this.#reader.readEntry(this.#pack(row), this.#plan.start[row] as number).data;
  }

  #pack(row: number): PackFile {
    return this.#reader.space.packs[this.#plan.pack[row] as number] as PackFile;
  }

  /** Row of the object whose id is at `at`; -1: it is not in the fold. */
  #rowOf(bytes: Uint8Array, at: number): number {
    const { space } = this.#reader;
    const number = space.find(bytes, at);
    if (number === NONE) return -1;
    const pack = space.packIndex(number);
    return this.#plan.find(
      pack,
      (space.packs[pack] as PackFile).lookup.offset(space.position(number)),
    );
  }
}
