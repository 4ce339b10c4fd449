/**
 * The walk through trees where a filter is asked: depth first and in the order of the entries,
 * because filters that remember (tree depth, sparse paths, combinations) answer by what came
 * before. Git: list-objects.c visits in this order.
 */
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { WorkBudget } from "../../base/work-budget.js";
import { TreeCursor } from "../../git/tree.js";
import type { TaskWatch } from "../../pool/control.js";
import { MARK } from "./commit-walk.js";
import { ANSWER, type ObjectFilter } from "./filter.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";

interface Frame {
  readonly tree: number;
  readonly path: string;
  readonly cursor: TreeCursor;
}

/** Asked for by id: shown whatever the filter says. */
const GIVEN = ANSWER.seen | ANSWER.show;

export class FilteredWalk {
  readonly #reader: ObjectReader;
  readonly #filter: ObjectFilter;
  readonly #marks: Uint8Array;
  readonly #watch: TaskWatch;
  readonly #send: (number: number) => void;
  /** Objects that need not be looked at again. */
  readonly #seen = new Set<number>();

  /**
   * Entries of trees. Filters that look at a tree again under each of its paths could go on for
   * ever.
   */
  readonly #budget: WorkBudget;

  constructor(
    reader: ObjectReader,
    filter: ObjectFilter,
    marks: Uint8Array,
    watch: TaskWatch,
    send: (number: number) => void,
  ) {
    this.#budget = new WorkBudget(
      LIMITS.filterEntriesBase + LIMITS.filterEntriesPerObject * reader.space.size,
      "entries of folders",
      "fetch/filter-work",
    );
    this.#reader = reader;
    this.#filter = filter;
    this.#marks = marks;
    this.#watch = watch;
    this.#send = send;
  }

  /** A commit in the walk; its root tree is from now on one that filters apply to. */
  commit(number: number, tree: number): void {
    this.#settle(number, this.#isLinked(number) ? this.#filter.commit(number) : GIVEN);
    this.#link(tree);
  }

  tag(number: number): void {
    this.#settle(number, this.#isLinked(number) ? this.#filter.tag(number) : GIVEN);
  }

  blob(number: number, path: string): void {
    if (this.#isDone(number)) return;
    this.#settle(number, this.#isLinked(number) ? this.#filter.blob(number, path) : GIVEN);
  }

  async tree(root: number): Promise<void> {
    const stack: Frame[] = [];
    this.#enter(stack, root, "");
    for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
      if (this.#watch.shouldYield()) await this.#watch.turn();
      if (frame.cursor.next()) this.#entry(stack, frame);
      else {
        stack.pop();
        this.#leave(frame.tree, frame.path);
      }
    }
  }

  #entry(stack: Frame[], frame: Frame): void {
    const { cursor } = frame;
    this.#budget.spend(1);
    if (cursor.isGitlink) return;
    const number = this.#reader.space.find(cursor.data, cursor.oidAt);
    if (number === NONE)
      throw new Fault("odb/missing", { oid: cursor.oid, tree: this.#reader.space.oid(frame.tree) });
    const path = frame.path === "" ? cursor.name : `${frame.path}/${cursor.name}`;
    this.#link(number);
    if (cursor.isTree) this.#enter(stack, number, path);
    else this.blob(number, path);
  }

  #enter(stack: Frame[], tree: number, path: string): void {
    if (this.#isDone(tree)) return;
    if (stack.length >= LIMITS.treeDepthMax)
      throw new Fault("odb/too-deep", {
        tree: this.#reader.space.oid(tree),
        depthMax: LIMITS.treeDepthMax,
      });
    this.#watch.step();
    const answer = this.#isLinked(tree) ? this.#filter.enterTree(tree, path) : GIVEN;
    this.#settle(tree, answer);
    if (answer & ANSWER.skip) this.#leave(tree, path);
    else stack.push({ tree, path, cursor: new TreeCursor(this.#reader.readAs("tree", tree)) });
  }

  #leave(tree: number, path: string): void {
    if (this.#isLinked(tree)) this.#settle(tree, this.#filter.leaveTree(tree, path));
  }

  #settle(number: number, answer: number): void {
    if (answer & ANSWER.seen) this.#seen.add(number);
    if (answer & ANSWER.show) this.#send(number);
  }

  #isDone(number: number): boolean {
    return this.#seen.has(number) || ((this.#marks[number] as number) & MARK.uninteresting) !== 0;
  }

  #isLinked(number: number): boolean {
    return ((this.#marks[number] as number) & MARK.linked) !== 0;
  }

  #link(number: number): void {
    this.#marks[number] = (this.#marks[number] as number) | MARK.linked;
  }
}
