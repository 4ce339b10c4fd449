/**
 * Commits of an object space, parsed on demand: numbers instead of ids, shallow boundaries applied.
 */
import { Fault } from "../../base/fault.js";
import { CommitCursor, parseCommit } from "../../git/commit.js";
import { OID_BYTES, type Oid } from "../../git/oid.js";
import { parseTag } from "../../git/tag.js";
import { LIMITS } from "../../base/limits.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";

export interface CommitNode {
  readonly number: number;
  /** NONE where the tree is not here: an error for whoever needs it. */
  readonly tree: number;
  /** NONE for each parent that is not here. Empty at a shallow boundary. */
  readonly parents: readonly number[];
  readonly date: number;
}

const NO_PARENTS: readonly number[] = [];

export class Commits {
  readonly reader: ObjectReader;
  readonly #cursor = new CommitCursor();
  readonly #nodes = new Map<number, CommitNode>();
  /** Commits whose parents are taken as absent: what a shallow client holds. */
  #shallow: ReadonlySet<number> = new Set();

  constructor(reader: ObjectReader) {
    this.reader = reader;
  }

  /** From now on these commits have no parents. */
  cutAt(shallow: ReadonlySet<number>): void {
    this.#shallow = shallow;
  }

  /** The commit as it is stored. Throws "odb/bad-object" where object `number` is none. */
  node(number: number): CommitNode {
    const held = this.#nodes.get(number);
    if (held !== undefined) return held;
    const cursor = this.#cursor;
    cursor.read(this.reader.readAs("commit", number));
    const { space } = this.reader;
    const parents =
      cursor.parentCount === 0
        ? NO_PARENTS
        : Array.from({ length: cursor.parentCount }, (_, at) =>
            space.find(cursor.ids, (at + 1) * OID_BYTES),
          );
    const node: CommitNode = {
      number,
      tree: space.find(cursor.ids, 0),
      parents,
      date: cursor.date,
    };
    this.#nodes.set(number, node);
    return node;
  }

  /** Its parents with the boundaries applied. */
  parents(node: CommitNode): readonly number[] {
    return this.#shallow.has(node.number) ? NO_PARENTS : node.parents;
  }

  /** "odb/missing", naming what `node` links to and nobody holds. */
  missingLink(node: CommitNode): Fault {
    const { space } = this.reader;
    const { tree, parents } = parseCommit(this.reader.readAs("commit", node.number));
    const missing = [tree, ...parents].find((oid) => space.findOid(oid) === NONE);
    return new Fault("odb/missing", { oid: missing, commit: space.oid(node.number) });
  }
}

/** The object an id leads to through any number of tags. */
export interface Peeled {
  /** Tag objects on the way, outermost first. */
  readonly tags: readonly number[];
  /** NONE where the last tag's target is not here. */
  readonly target: number;
  readonly type: "commit" | "tree" | "blob";
}

/**
 * Follows tags from object `number`. Throws "odb/too-deep" on a chain beyond LIMITS.tagDepthMax.
 */
export function peel(reader: ObjectReader, start: number): Peeled {
  const tags: number[] = [];
  let number = start;
  for (let type = reader.type(number); ; type = reader.type(number)) {
    if (type !== "tag") return { tags, target: number, type };
    if (tags.length >= LIMITS.tagDepthMax)
      throw new Fault("odb/too-deep", {
        tag: reader.space.oid(start),
        depthMax: LIMITS.tagDepthMax,
      });
    tags.push(number);
    const { target, targetType } = parseTag(reader.readAs("tag", number));
    number = reader.space.findOid(target);
    if (number === NONE)
      return { tags, target: NONE, type: targetType === "tag" ? "blob" : targetType };
  }
}

/** The commits among these ids and what their tags lead to; ids that are not here are left out. */
export function knownCommits(reader: ObjectReader, oids: readonly Oid[]): number[] {
  const commits: number[] = [];
  for (const oid of oids) {
    const number = reader.locate(oid);
    if (number === NONE) continue;
    const { target, type } = peel(reader, number);
    if (type === "commit" && target !== NONE) commits.push(target);
  }
  return commits;
}
