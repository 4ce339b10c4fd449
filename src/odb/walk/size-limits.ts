/**
 * Limits of blob sizes that come to the same pack. `blob:limit=1000000000` and `=1000000001` differ
 * as texts and mean the same wherever no blob's size lies between them: a walk learns which sizes
 * it kept and which it refused, and every limit between the largest kept and the smallest refused
 * goes by the name of the first.
 */
import { LRUCache } from "lru-cache";
import { LIMITS } from "../../base/limits.js";
import type { Filter } from "../../wire/filter.js";

/** Blob sizes that a walk has seen: all below a limit were kept, all others refused. */
export interface SizeBounds {
  /** Largest size kept; -1: none was. */
  readonly keptMax: number;
  /** Smallest size refused; Infinity: none was. */
  readonly refusedMin: number;
}

interface Known extends SizeBounds {
  /** The limit whose pack stands for all between them. */
  readonly bytes: number;
}

export class SizeLimits {
  /** By the key of the request with its limit left out. */
  readonly #families = new LRUCache<string, readonly Known[]>({ max: LIMITS.sizeLimitFamiliesMax });

  /** The limit that stands for this one, as far as is known. */
  standIn(family: string, bytes: number): number {
    return (
      this.#families
        .get(family)
        ?.find(({ keptMax, refusedMin }) => bytes > keptMax && bytes <= refusedMin)?.bytes ?? bytes
    );
  }

  /** Takes note of what the walk for `bytes` has seen. */
  learn(family: string, bytes: number, bounds: SizeBounds): void {
    const known = this.#families.get(family) ?? [];
    if (this.standIn(family, bytes) !== bytes || known.some((each) => each.bytes === bytes)) return;
    this.#families.set(family, [...known.slice(-LIMITS.sizeLimitsMax + 1), { ...bounds, bytes }]);
  }
}

/** Judges sizes by one limit and keeps the bounds of what it has seen. */
export class SizeLimit {
  readonly #bytes: number;
  keptMax = -1;
  refusedMin = Number.POSITIVE_INFINITY;

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  keeps(size: number): boolean {
    if (size < this.#bytes) {
      if (size > this.keptMax) this.keptMax = size;
      return true;
    }
    if (size < this.refusedMin) this.refusedMin = size;
    return false;
  }
}

/**
 * The one limit of blob sizes in a filter (wire/filter leaves the smallest); undefined: there is
 * none.
 */
export function sizeLimitOf(filter: Filter | undefined): number | undefined {
  if (filter?.kind === "blob:limit") return filter.bytes;
  return filter?.kind === "combine"
    ? filter.filters.map(sizeLimitOf).find((bytes) => bytes !== undefined)
    : undefined;
}

/** The filter with another limit. */
export function withSizeLimit(filter: Filter, bytes: number): Filter {
  if (filter.kind === "blob:limit") return { kind: "blob:limit", bytes };
  if (filter.kind !== "combine") return filter;
  return {
    kind: "combine",
    filters: filter.filters.map((part) =>
      part.kind === "blob:limit" ? { kind: "blob:limit", bytes } : part,
    ),
  };
}
