/**
 * Filters at work: what a walk asks on meeting an object, and what it is told. The rules, down to
 * what is looked at twice, are those of git-rev-list(1) "--filter", so that a client gets the same
 * objects from us as from Git.
 */
import type { WorkBudget } from "../../base/work-budget.js";
import type { Filter } from "../../wire/filter.js";
import type { ObjectReader } from "../packs/reader.js";
import type { SizeLimit } from "./size-limits.js";
import { parsePatterns, type PatternList } from "../../git/sparse-patterns.js";

/** Answers, added up. */
export const ANSWER = {
  /** Need not be asked about again. */
  seen: 1,
  /** Send it. */
  show: 2,
  /** Do not look into this tree. */
  skip: 4,
} as const;

const SEEN_AND_SHOW = ANSWER.seen | ANSWER.show;

export interface ObjectFilter {
  commit(number: number): number;
  tag(number: number): number;
  /** `path` from the root, "" for the root itself; latin1. */
  enterTree(number: number, path: string): number;
  leaveTree(number: number, path: string): number;
  blob(number: number, path: string): number;
}

/** A pattern list for each `sparse:oid`, by its spec: the caller has found the blob. */
export type SparseBlobs = ReadonlyMap<string, number>;

/** The parts that filters are made of. */
export interface FilterParts {
  readonly reader: ObjectReader;
  readonly sparse: SparseBlobs;
  /** Budget of pattern matching, for all parts of the filter together. */
  readonly budget: WorkBudget;
  /** Judges sizes for `blob:limit`. */
  readonly limit: SizeLimit;
}

export function createFilter(filter: Filter, parts: FilterParts): ObjectFilter {
  const { reader, sparse, budget, limit } = parts;
  switch (filter.kind) {
    case "blob:none":
      return new BlobFilter(() => false);
    case "blob:limit":
      return new BlobFilter((number) => limit.keeps(reader.size(number)));
    case "tree":
      return new DepthFilter(filter.depth);
    case "object:type":
      return new TypeFilter(filter.type);
    case "sparse:oid": {
      const blob = sparse.get(filter.spec);
      if (blob === undefined) throw new TypeError(`sparse filter ${filter.spec} was not resolved`);
      return new SparseFilter(parsePatterns(reader.readAs("blob", blob), budget));
    }
    case "combine":
      return new CombinedFilter(filter.filters.map((part) => createFilter(part, parts)));
  }
}

/** blob:none and blob:limit: every blob is asked about once. */
class BlobFilter implements ObjectFilter {
  readonly #keeps: (number: number) => boolean;

  constructor(keeps: (number: number) => boolean) {
    this.#keeps = keeps;
  }

  commit(): number {
    return SEEN_AND_SHOW;
  }
  tag(): number {
    return SEEN_AND_SHOW;
  }
  enterTree(): number {
    return SEEN_AND_SHOW;
  }
  leaveTree(): number {
    return 0;
  }
  blob(number: number): number {
    return this.#keeps(number) ? SEEN_AND_SHOW : ANSWER.seen;
  }
}

/** tree:<depth>. A tree that was met is looked into again when it turns up nearer to a root. */
class DepthFilter implements ObjectFilter {
  readonly #limit: number;
  readonly #nearest = new Map<number, number>();
  #depth = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  commit(): number {
    return SEEN_AND_SHOW;
  }
  tag(): number {
    return SEEN_AND_SHOW;
  }

  enterTree(number: number): number {
    const depth = this.#depth++;
    const nearest = this.#nearest.get(number);
    if (nearest !== undefined && depth >= nearest) return ANSWER.skip;
    this.#nearest.set(number, depth);
    return depth < this.#limit ? ANSWER.show : ANSWER.skip;
  }

  leaveTree(): number {
    this.#depth--;
    return 0;
  }

  blob(): number {
    return this.#depth < this.#limit ? SEEN_AND_SHOW : 0;
  }
}

/** object:type=<type>. Trees are looked into only where what is wanted can be in them. */
class TypeFilter implements ObjectFilter {
  readonly #type: string;

  constructor(type: string) {
    this.#type = type;
  }

  commit(): number {
    return this.#answer("commit");
  }
  tag(): number {
    return this.#answer("tag");
  }
  enterTree(): number {
    return this.#type === "commit" || this.#type === "tag" ? ANSWER.skip : this.#answer("tree");
  }
  leaveTree(): number {
    return 0;
  }
  blob(): number {
    return this.#answer("blob");
  }

  #answer(type: string): number {
    return type === this.#type ? SEEN_AND_SHOW : ANSWER.seen;
  }
}

interface Folder {
  /** The answer for names no pattern speaks of. */
  readonly matches: boolean;
  /** Something in it was left out, and might be wanted under another path. */
  leftOut: boolean;
}

/**
 * sparse:oid: blobs whose path the patterns match; trees always. The outcome of a tree under a path
 * hangs on nothing else, so it is looked into once under each: the trees of a history cost no more
 * than one of them and its changes.
 */
class SparseFilter implements ObjectFilter {
  readonly #patterns: PatternList;
  readonly #folders: Folder[] = [{ matches: false, leftOut: false }];
  readonly #shown = new Set<number>();
  /** By path, the trees of which something was left out there. */
  readonly #known = new Map<string, Set<number>>();

  constructor(patterns: PatternList) {
    this.#patterns = patterns;
  }

  commit(): number {
    return SEEN_AND_SHOW;
  }
  tag(): number {
    return SEEN_AND_SHOW;
  }

  enterTree(number: number, path: string): number {
    const isKnown = this.#known.get(path)?.has(number) === true;
    this.#folders.push({ matches: isKnown || this.#matches(path, true), leftOut: isKnown });
    if (isKnown) return ANSWER.skip;
    // The same tree under another path may match other patterns: shown once, looked into again.
    if (this.#shown.has(number)) return 0;
    this.#shown.add(number);
    return ANSWER.show;
  }

  leaveTree(number: number, path: string): number {
    const left = this.#folders.pop();
    if (left?.leftOut !== true) return ANSWER.seen;
    this.#top.leftOut = true;
    const known = this.#known.get(path);
    if (known === undefined) this.#known.set(path, new Set([number]));
    else known.add(number);
    return 0;
  }

  blob(_number: number, path: string): number {
    if (this.#matches(path, false)) return SEEN_AND_SHOW;
    this.#top.leftOut = true;
    return 0;
  }

  #matches(path: string, isFolder: boolean): boolean {
    return this.#patterns.matches(path, isFolder) ?? this.#top.matches;
  }

  get #top(): Folder {
    return this.#folders[this.#folders.length - 1] as Folder;
  }
}

interface Part {
  readonly filter: ObjectFilter;
  readonly seen: Set<number>;
  /** The tree it does not look into, while the others do. */
  skipping: number | undefined;
}

/**
 * combine: what every filter shows. Each keeps its own account of what it has seen and of the tree
 * it skips.
 */
class CombinedFilter implements ObjectFilter {
  readonly #parts: readonly Part[];

  constructor(filters: readonly ObjectFilter[]) {
    this.#parts = filters.map((filter) => ({ filter, seen: new Set(), skipping: undefined }));
  }

  commit(number: number): number {
    return this.#ask(number, false, (filter) => filter.commit(number));
  }
  tag(number: number): number {
    return this.#ask(number, false, (filter) => filter.tag(number));
  }
  enterTree(number: number, path: string): number {
    return this.#ask(number, false, (filter) => filter.enterTree(number, path));
  }
  leaveTree(number: number, path: string): number {
    return this.#ask(number, true, (filter) => filter.leaveTree(number, path));
  }
  blob(number: number, path: string): number {
    return this.#ask(number, false, (filter) => filter.blob(number, path));
  }

  #ask(number: number, leaving: boolean, ask: (filter: ObjectFilter) => number): number {
    let combined: number = ANSWER.seen | ANSWER.show | ANSWER.skip;
    for (const part of this.#parts) {
      const answer = askPart(part, number, leaving, ask);
      combined &= answer | ANSWER.skip;
      if (part.skipping === undefined) combined &= ~ANSWER.skip;
    }
    return combined;
  }
}

function askPart(
  part: Part,
  number: number,
  leaving: boolean,
  ask: (filter: ObjectFilter) => number,
): number {
  if (part.skipping !== undefined) {
    if (!leaving || part.skipping !== number) return 0;
    part.skipping = undefined;
  }
  if (part.seen.has(number)) return 0;
  const answer = ask(part.filter);
  if (answer & ANSWER.seen) part.seen.add(number);
  if (answer & ANSWER.skip) part.skipping = number;
  return answer;
}
