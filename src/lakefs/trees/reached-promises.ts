/**
 * Finds the promised blobs that some commits reach, in a pool thread: a fetch needs the contents of
 * what it asks for, and of nothing else. Looks through more than a fetch would send, never less:
 * what the client's commits have in common with the wanted ones is left out only where that is
 * cheap to tell.
 */
import { parseCommit } from "../../git/commit.js";
import { type Oid, oidBytes } from "../../git/oid.js";
import { OidSet } from "../../git/oid-set.js";
import { parseTag } from "../../git/tag.js";
import { TreeCursor } from "../../git/tree.js";
import type { Kernels } from "../../kernels/kernels.js";
import { ObjectReader, threadReaderCaches } from "../../odb/packs/reader.js";
import { NONE } from "../../odb/packs/numbering.js";
import { holdsId } from "../../git/sorted-ids.js";
import { TaskWatch } from "../../pool/control.js";
import type { ReachedRequest, ReachedResult } from "./tasks.js";

export function reachedPromises(
  { packs, promised, wants, haves, clientShallow, shallow, control }: ReachedRequest,
  kernels: Kernels,
): ReachedResult {
  const walk = new PromiseWalk(
    new ObjectReader(packs, kernels, threadReaderCaches()),
    promised.map((ids) => new Uint8Array(ids)),
    new TaskWatch(control),
  );
  walk.passOver(haves, new Set(clientShallow));
  walk.reach(wants, new Set(shallow));
  return { ids: walk.reached.sorted() };
}

class PromiseWalk {
  readonly reached = new OidSet();
  readonly #reader: ObjectReader;
  readonly #promised: readonly Uint8Array[];
  readonly #watch: TaskWatch;
  /** Per object number. */
  readonly #seen: Uint8Array;

  constructor(reader: ObjectReader, promised: readonly Uint8Array[], watch: TaskWatch) {
    this.#reader = reader;
    this.#promised = promised;
    this.#watch = watch;
    this.#seen = new Uint8Array(reader.space.size);
  }

  /**
   * The client has these: all commits down to its boundary, and what is in the trees of the tips.
   */
  passOver(haves: readonly Oid[], boundary: ReadonlySet<Oid>): void {
    const trees: Oid[] = [];
    this.#commits(
      haves,
      (commit) => !boundary.has(commit),
      (tree, isTip) => isTip && trees.push(tree),
    );
    for (const tree of trees) this.#tree(tree, () => undefined);
  }

  reach(wants: readonly Oid[], shallow: ReadonlySet<Oid>): void {
    this.#commits(
      wants,
      (commit) => !shallow.has(commit),
      (tree) => this.#tree(tree, (blob) => this.#blob(blob)),
    );
  }

  /**
   * `goesOn`: whether a commit's parents are walked to. The wanted may be anything; only tips are
   * known to be.
   */
  #commits(
    tips: readonly Oid[],
    goesOn: (commit: Oid) => boolean,
    onTree: (tree: Oid, isTip: boolean) => unknown,
  ): void {
    const pending = tips.map((oid) => ({ oid, isTip: true }));
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { oid, isTip } = next;
      const number = this.#enter(oid);
      if (number === NONE) {
        if (isTip) this.#blob(oid);
        continue;
      }
      const type = this.#reader.type(number);
      if (type === "tag")
        pending.push({ oid: parseTag(this.#reader.read(number).data).target, isTip });
      else if (type === "tree") this.#entries(number, (blob) => this.#blob(blob));
      else if (type === "commit") {
        const { tree, parents } = parseCommit(this.#reader.read(number).data);
        onTree(tree, isTip);
        if (goesOn(oid)) for (const parent of parents) pending.push({ oid: parent, isTip: false });
      }
    }
  }

  #tree(oid: Oid, onBlob: (blob: Oid) => void): void {
    const number = this.#enter(oid);
    if (number !== NONE && this.#reader.type(number) === "tree") this.#entries(number, onBlob);
  }

  /** Everything below a tree that was entered. */
  #entries(root: number, onBlob: (blob: Oid) => void): void {
    const pending = [root];
    for (let number = pending.pop(); number !== undefined; number = pending.pop()) {
      const cursor = new TreeCursor(this.#reader.readAs("tree", number));
      while (cursor.next()) {
        if (cursor.isGitlink) continue;
        if (!cursor.isTree) onBlob(cursor.oid);
        else {
          const tree = this.#enter(cursor.oid);
          if (tree !== NONE) pending.push(tree);
        }
      }
    }
  }

  /** Its number; NONE: it is not here, or was entered before. */
  #enter(oid: Oid): number {
    this.#watch.step();
    const number = this.#reader.locate(oid);
    if (number === NONE || this.#seen[number] === 1) return NONE;
    this.#seen[number] = 1;
    return number;
  }

  #blob(oid: Oid): void {
    const bytes = oidBytes(oid);
    if (this.#promised.some((ids) => holdsId(ids, bytes, 0))) this.reached.add(oid);
  }
}
