/**
 * Counts the files of a tree that are pointers, and those that are not, by suffix
 * (commit-attributes.ts): followed from commit to commit.
 */
import { LIMITS } from "../../base/limits.js";
import type { ListingState } from "./tasks.js";
import { finalSuffix, type PointerCensus } from "../rules/managed-block.js";

export class Census {
  readonly #pointers = new Set<string>();
  readonly #plain = new Map<string, number>();

  static of(state: ListingState["census"]): Census {
    const census = new Census();
    for (const path of state?.pointers ?? []) census.#pointers.add(path);
    for (const [suffix, files] of state?.plain ?? []) census.#plain.set(suffix, files);
    return census;
  }

  isPointer(path: string): boolean {
    return this.#pointers.has(path);
  }

  /** `regular`: a file, no symlink and no submodule. */
  add(path: string, pointer: boolean, regular: boolean): void {
    if (pointer) this.#pointers.add(path);
    else if (regular) this.#count(path, 1);
  }

  remove(path: string, regular: boolean): void {
    if (!this.#pointers.delete(path) && regular) this.#count(path, -1);
  }

  sorted(): PointerCensus {
    return { pointers: [...this.#pointers].sort(), plain: this.#plain };
  }

  /** Undefined where it is too much to keep with every commit. */
  toState(): ListingState["census"] {
    if (this.#pointers.size > LIMITS.lakefsCensusMax || this.#plain.size > LIMITS.lakefsCensusMax)
      return undefined;
    const plain = [...this.#plain].sort(([left], [right]) => (left < right ? -1 : 1));
    return { pointers: [...this.#pointers].sort(), plain };
  }

  #count(path: string, change: number): void {
    const suffix = finalSuffix(path);
    if (suffix === undefined) return;
    const files = (this.#plain.get(suffix) ?? 0) + change;
    if (files === 0) this.#plain.delete(suffix);
    else this.#plain.set(suffix, files);
  }
}
