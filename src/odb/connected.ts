/** Connectivity and ancestry: the questions a push asks of objects that are already stored. Runs in a pool thread. */
import { TreeCursor } from "../git/tree.js";
import { parseCommit } from "../git/commit.js";
import { type ObjectType, type Oid, oidBytes } from "../git/oid.js";
import { parseTag } from "../git/tag.js";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { TaskWatch } from "../pool/control.js";
import type { ObjectSummary, Unconnected } from "../pool/push-tasks.js";
import type { ObjectReader } from "./object-reader.js";
import { NONE, type ObjectSpace } from "./object-space.js";
import { holdsId } from "./sorted-ids.js";

/** Type of an object and, of a tag, what it finally points at. Undefined where any of it is not here. */
export function describeObject(reader: ObjectReader, oid: Oid): ObjectSummary | undefined {
  const number = reader.locate(oid);
  if (number === NONE) return undefined;
  const type = reader.type(number);
  if (type !== "tag") return { oid, type };
  let target = { oid, type: type as ObjectType };
  for (let depth = 0; target.type === "tag"; depth++) {
    if (depth === LIMITS.tagDepthMax) throw new Fault("odb/too-deep", { oid, tagDepthMax: LIMITS.tagDepthMax });
    const link = parseTag(reader.readAs("tag", reader.space.need(target.oid)));
    const linked = reader.locate(link.target);
    if (linked === NONE) return undefined;
    target = { oid: link.target, type: reader.type(linked) };
  }
  return { oid, type, peeled: target.oid, peeledType: target.type };
}

/**
 * Looks below tips for objects that are not here. What is in a closed pack is complete and not looked into; everything else
 * is read once, with an explicit stack. Marks are kept between tips: a part found complete is not walked again.
 */
export class ConnectivityWalk {
  readonly #reader: ObjectReader;
  readonly #closed: ObjectSpace;
  readonly #watch: TaskWatch;
  readonly #promised: readonly Uint8Array[];
  /** Per object number: walked. */
  readonly #seen: Uint8Array;

  /** `promised`: tables of ids (sorted-ids.ts) that may be missing. */
  constructor(reader: ObjectReader, closed: ObjectSpace, watch: TaskWatch, promised: readonly Uint8Array[] = []) {
    this.#reader = reader;
    this.#closed = closed;
    this.#watch = watch;
    this.#promised = promised;
    this.#seen = new Uint8Array(reader.space.size);
  }

  /** The first object below `tip` that is missing, or not of the type its link says; undefined: all is there. */
  async below(tip: Oid): Promise<Unconnected | undefined> {
    const pending: Pending = { oids: [tip], types: [undefined] };
    const entered: number[] = [];
    for (let oid = pending.oids.pop(); oid !== undefined; oid = pending.oids.pop()) {
      this.#watch.step();
      if (this.#watch.shouldYield()) await this.#watch.turn();
      const expected = pending.types.pop();
      const number = this.#reader.locate(oid);
      const wrong = this.#wrong(oid, number, expected);
      if (wrong !== undefined) {
        // What was walked on the way here is not proven complete: another tip must find the gap as well.
        for (const walked of entered) this.#seen[walked] = 0;
        return wrong;
      }
      if (number === NONE || this.#seen[number] === 1 || this.#closed.find(this.#reader.space.oidView(number), 0) !== NONE) continue;
      this.#seen[number] = 1;
      entered.push(number);
      this.#pushLinks(number, pending);
    }
    return undefined;
  }

  /** What came later than a link to it may be of another type, in a closed pack too: so each link's is compared. */
  #wrong(oid: Oid, number: number, expected: ObjectType | undefined): Unconnected | undefined {
    const isPromised = number === NONE && this.#isPromised(oid);
    if (number === NONE && !isPromised) return { oid };
    if (expected === undefined) return undefined;
    const found = isPromised ? "blob" : this.#reader.type(number);
    return found === expected ? undefined : { oid, expected, found };
  }

  #isPromised(oid: Oid): boolean {
    return this.#promised.length > 0 && this.#promised.some((ids) => holdsId(ids, oidBytes(oid), 0));
  }

  #pushLinks(number: number, { oids, types }: Pending): void {
    const push = (oid: Oid, type: ObjectType) => {
      oids.push(oid);
      types.push(type);
    };
    const type = this.#reader.type(number);
    if (type === "blob") return;
    const { data } = this.#reader.read(number);
    if (type === "tree") {
      const cursor = new TreeCursor(data);
      while (cursor.next()) if (!cursor.isGitlink) push(cursor.oid, cursor.isTree ? "tree" : "blob");
    } else if (type === "tag") {
      const { target, targetType } = parseTag(data);
      push(target, targetType);
    } else {
      const { tree, parents } = parseCommit(data);
      for (const parent of parents) push(parent, "commit");
      push(tree, "tree");
    }
  }
}

/** Objects to look at, and the type that the link to each says; undefined: a tip may be anything. */
interface Pending {
  readonly oids: Oid[];
  readonly types: (ObjectType | undefined)[];
}

/** Whether `old` is among the ancestors of `young`. */
export async function isAncestor(reader: ObjectReader, old: Oid, young: Oid, watch: TaskWatch): Promise<boolean> {
  const target = peelToCommit(reader, old);
  const start = peelToCommit(reader, young);
  if (target === undefined || start === undefined) return false;
  const seen = new Uint8Array(reader.space.size);
  const pending = [start];
  for (let number = pending.pop(); number !== undefined; number = pending.pop()) {
    watch.step();
    if (watch.shouldYield()) await watch.turn();
    if (number === target) return true;
    if (seen[number] === 1) continue;
    seen[number] = 1;
    for (const parent of parseCommit(reader.readAs("commit", number)).parents) pending.push(reader.space.need(parent));
  }
  return false;
}

function peelToCommit(reader: ObjectReader, oid: Oid): number | undefined {
  const summary = describeObject(reader, oid);
  const commit = summary?.peeled ?? summary?.oid;
  if (commit === undefined || (summary?.peeledType ?? summary?.type) !== "commit") return undefined;
  return reader.space.need(commit);
}
