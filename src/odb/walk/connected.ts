/**
 * Connectivity and ancestry: the questions a push asks of objects that are already stored. Runs in
 * a pool thread.
 */
import { TreeCursor } from "../../git/tree.js";
import { CommitCursor } from "../../git/commit.js";
import { OID_BYTES, type ObjectType, type Oid, oidAt, oidBytes } from "../../git/oid.js";
import { parseTag } from "../../git/tag.js";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { WorkBudget } from "../../base/work-budget.js";
import type { TaskWatch } from "../../pool/control.js";
import type { ObjectSummary, Unconnected } from "./tasks.js";
import { Commits } from "./commits.js";
import { DateQueue } from "./date-queue.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE, type ObjectNumbers } from "../packs/numbering.js";
import { holdsId } from "../../git/sorted-ids.js";

/**
 * Type of an object and, of a tag, what it finally points at. Undefined where any of it is not
 * here.
 */
export function describeObject(reader: ObjectReader, oid: Oid): ObjectSummary | undefined {
  const number = reader.locate(oid);
  if (number === NONE) return undefined;
  const type = reader.type(number);
  if (type !== "tag") return { oid, type };
  let target = { oid, type: type as ObjectType };
  for (let depth = 0; target.type === "tag"; depth++) {
    if (depth === LIMITS.tagDepthMax)
      throw new Fault("odb/too-deep", { oid, tagDepthMax: LIMITS.tagDepthMax });
    const link = parseTag(reader.readAs("tag", reader.space.need(target.oid)));
    const linked = reader.locate(link.target);
    if (linked === NONE) return undefined;
    target = { oid: link.target, type: reader.type(linked) };
  }
  return { oid, type, peeled: target.oid, peeledType: target.type };
}

/**
 * Looks below tips for objects that are not here. An object in a closed pack is complete and not
 * looked into; everything else is read once, with an explicit stack. Marks are kept between tips: a
 * part found complete is not walked again.
 */
export class ConnectivityWalk {
  readonly #reader: ObjectReader;
  readonly #closed: ObjectNumbers;
  readonly #watch: TaskWatch;
  readonly #promised: readonly Uint8Array[];
  /** Per object number: walked, or waiting for it. */
  readonly #seen: Uint8Array;
  /** Objects whose links are still to be looked at, and all that this tip has led to. */
  readonly #pending: number[] = [];
  readonly #entered: number[] = [];

  /** `promised`: tables of ids (sorted-ids.ts) that may be missing. */
  constructor(
    reader: ObjectReader,
    closed: ObjectNumbers,
    watch: TaskWatch,
    promised: readonly Uint8Array[] = [],
  ) {
    this.#reader = reader;
    this.#closed = closed;
    this.#watch = watch;
    this.#promised = promised;
    this.#seen = new Uint8Array(reader.space.size);
  }

  /**
   * The first object below `tip` that is missing, or not of the type its link says; undefined: all
   * is there.
   */
  async below(tip: Oid): Promise<Unconnected | undefined> {
    this.#pending.length = 0;
    const entered = this.#entered;
    entered.length = 0;
    let wrong = this.#follow(oidBytes(tip), 0, undefined);
    for (
      let number = this.#pending.pop();
      number !== undefined && wrong === undefined;
      number = this.#pending.pop()
    ) {
      this.#watch.step();
      if (this.#watch.shouldYield()) await this.#watch.turn();
      wrong = await this.#followAll(number);
    }
    // What was walked on the way here is not proven complete: another tip must find the gap as
    // well.
    if (wrong !== undefined) for (const walked of entered) this.#seen[walked] = 0;
    return wrong;
  }

  /**
   * Looks at one link, to the id at `at` of `bytes`; what lies below is still to be walked. Each
   * object waits once, and blobs never: a tree may name one a million times. An object that came
   * later than a link to it may be of another type, in a closed pack too: so each link's type is
   * compared.
   */
  #follow(
    bytes: Uint8Array,
    at: number,
    expected: ObjectType | undefined,
  ): Unconnected | undefined {
    const number = this.#reader.space.find(bytes, at);
    const isPromised = number === NONE && this.#promised.some((ids) => holdsId(ids, bytes, at));
    if (number === NONE && !isPromised) return { oid: oidAt(bytes, at) };
    const found = isPromised ? "blob" : this.#reader.type(number);
    if (expected !== undefined && found !== expected)
      return { oid: oidAt(bytes, at), expected, found };
    if (found === "blob" || this.#seen[number] === 1 || this.#closed.find(bytes, at) !== NONE)
      return undefined;
    this.#seen[number] = 1;
    this.#entered.push(number);
    this.#pending.push(number);
    return undefined;
  }

  async #followAll(number: number): Promise<Unconnected | undefined> {
    const { type, data } = this.#reader.read(number);
    if (type === "tree") return this.#followTree(data);
    if (type === "tag") {
      const { target, targetType } = parseTag(data);
      return this.#follow(oidBytes(target), 0, targetType);
    }
    const commit = new CommitCursor();
    commit.read(data);
    let wrong = this.#follow(commit.ids, 0, "tree");
    for (let parent = 1; parent <= commit.parentCount && wrong === undefined; parent++) {
      wrong = this.#follow(commit.ids, parent * OID_BYTES, "commit");
    }
    return wrong;
  }

  async #followTree(data: Uint8Array): Promise<Unconnected | undefined> {
    const cursor = new TreeCursor(data);
    while (cursor.next()) {
      this.#watch.step();
      if (this.#watch.shouldYield()) await this.#watch.turn();
      const wrong = cursor.isGitlink
        ? undefined
        : this.#follow(data, cursor.oidAt, cursor.isTree ? "tree" : "blob");
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }
}

/** Tells of pairs of commits whether one is an ancestor of the other. */
export class AncestorWalks {
  readonly #commits: Commits;
  readonly #watch: TaskWatch;
  readonly #budget = new WorkBudget(LIMITS.ancestorCommitsMax, "commits", "push/history-work");

  constructor(reader: ObjectReader, watch: TaskWatch) {
    this.#commits = new Commits(reader);
    this.#watch = watch;
  }

  /**
   * Returns whether `old` is among the ancestors of `young`. The newest are looked at first: a
   * branch that goes on costs its new commits, one that does not costs all of its history. Throws
   * "push/history-work" once all walks together have taken more than the limit.
   */
  async isAncestor(old: Oid, young: Oid): Promise<boolean> {
    const { reader } = this.#commits;
    const target = peelToCommit(reader, old);
    const start = peelToCommit(reader, young);
    if (target === undefined || start === undefined) return false;
    const seen = new Set([start]);
    const queue = new DateQueue();
    queue.push(this.#commits.node(start));
    for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
      this.#budget.spend(1);
      this.#watch.step();
      if (this.#watch.shouldYield()) await this.#watch.turn();
      if (node.number === target) return true;
      for (const parent of node.parents) {
        if (parent === NONE) throw this.#commits.missingLink(node);
        if (seen.has(parent)) continue;
        seen.add(parent);
        queue.push(this.#commits.node(parent));
      }
    }
    return false;
  }
}

function peelToCommit(reader: ObjectReader, oid: Oid): number | undefined {
  const summary = describeObject(reader, oid);
  const commit = summary?.peeled ?? summary?.oid;
  if (commit === undefined || (summary?.peeledType ?? summary?.type) !== "commit") return undefined;
  return reader.space.need(commit);
}
