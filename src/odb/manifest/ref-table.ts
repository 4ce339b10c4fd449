/**
 * Refs while they change: a sorted base that is never copied, the changes on top, and the
 * directory/file clashes of both. The cost of a push here follows its commands; only the snapshot
 * it ends with is as large as the refs.
 */
import type { Turns } from "../../base/flow.js";
import { filtered, merge, sorted } from "../../base/long-lists.js";
import { lowerBound, RefNames } from "../../git/ref-name.js";
import type { Ref, RefSnapshot } from "../ref-store.js";

export class RefTable {
  readonly #base: readonly Ref[];
  /** undefined: deleted. */
  readonly #changed = new Map<string, Ref | undefined>();
  readonly #names: RefNames;
  #size: number;
  /** Bytes of all names; summed when they are first asked for. */
  #nameBytes: number | undefined;

  /** `sorted`: bytewise by name, unchanged while the table is in use. */
  constructor(sorted: readonly Ref[]) {
    this.#base = sorted;
    this.#names = new RefNames(sorted);
    this.#size = sorted.length;
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of all names. */
  get nameBytes(): number {
    if (this.#nameBytes === undefined) {
      let bytes = 0;
      for (const { name } of this.#base) bytes += name.length;
      for (const [name, ref] of this.#changed)
        if (isIn(this.#base, name) !== (ref !== undefined))
          bytes += ref === undefined ? -name.length : name.length;
      this.#nameBytes = bytes;
    }
    return this.#nameBytes;
  }

  get(name: string): Ref | undefined {
    if (this.#changed.has(name)) return this.#changed.get(name);
    const found = this.#base[lowerBound(this.#base, name)];
    return found?.name === name ? found : undefined;
  }

  set(ref: Ref): void {
    if (!this.#names.has(ref.name)) {
      this.#size++;
      if (this.#nameBytes !== undefined) this.#nameBytes += ref.name.length;
    }
    this.#names.add(ref.name);
    this.#changed.set(ref.name, ref);
  }

  delete(name: string): void {
    if (!this.#names.has(name)) return;
    this.#size--;
    if (this.#nameBytes !== undefined) this.#nameBytes -= name.length;
    this.#names.remove(name);
    this.#changed.set(name, undefined);
  }

  /**
   * A ref that keeps `name` from being created: `name` would be its folder, or it is a folder of
   * `name`.
   */
  clash(name: string): string | undefined {
    return this.#names.conflict(name);
  }

  /** All refs, in no order. */
  *[Symbol.iterator](): Generator<Ref> {
    for (const ref of this.#base) if (!this.#changed.has(ref.name)) yield ref;
    for (const ref of this.#changed.values()) if (ref !== undefined) yield ref;
  }

  /** All refs, sorted. Throws "base/aborted". */
  async sorted(turns: Turns): Promise<readonly Ref[]> {
    if (this.#changed.size === 0) return this.#base;
    const kept = await filtered(this.#base, (ref) => !this.#changed.has(ref.name), turns);
    const changed = [...this.#changed.values()].filter((ref) => ref !== undefined);
    return merge(kept, await sorted(changed, compareRefs, turns), compareRefs, turns);
  }

  /** Throws "base/aborted". */
  async snapshot(revision: string, head: string, turns: Turns): Promise<RefSnapshot> {
    const refs = await this.sorted(turns);
    const byName = new Map<string, Ref>();
    for (const ref of refs) {
      if (turns.isDue) await turns.next();
      byName.set(ref.name, ref);
    }
    return { revision, head, refs, byName };
  }
}

function isIn(sorted: readonly Ref[], name: string): boolean {
  return sorted[lowerBound(sorted, name)]?.name === name;
}

export function compareRefs(left: Ref, right: Ref): number {
  return left.name < right.name ? -1 : left.name > right.name ? 1 : 0;
}
