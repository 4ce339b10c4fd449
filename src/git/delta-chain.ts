/**
 * Chooses which older version of a tree it becomes a delta of. Versions of one path are a list; the
 * newest as the base of the next makes the shortest deltas, and chains that are as long as the
 * history. So versions count like a number in base 8: at every eighth place a version steps back to
 * the one eight before, at every 64th to the one 64 before, and so on. A history of 8^n versions
 * has chains of 7n at most, and a delta is some four changes long on average.
 *
 *   place   0 ← 1 ← 2 … ← 7      0 ← 8 ← 9 …      0 ← 8 ← 16 …      0 ← 64
 *
 * Chains that exist already, with versions hanging on their first one, are put together in the same
 * way: that first version may step back as far as there are versions that hang on it.
 */
import { LIMITS } from "../base/limits.js";

/** Versions by number. Those of one path are linked: each knows the one before. */
export interface Versions {
  /** -1: there is none. */
  readonly previous: ArrayLike<number>;
  /** Number of versions that come before it on its list. */
  readonly place: ArrayLike<number>;
  /**
   * Deltas to be applied until it is whole. Above `treeDeltaDepthMax`: it is no base for anything.
   */
  readonly depth: ArrayLike<number>;
}

/** Versions that hang on one that looks for its base; nothing hangs on a new one. */
export interface Hanging {
  readonly count: number;
  /** Deltas from there to the last of them. */
  readonly height: number;
}

const BASE = 8;

/** Number of the version to be the base of `version`; -1: none can be. */
export function baseOf(
  { previous, place, depth }: Versions,
  version: number,
  { count, height }: Hanging = { count: 0, height: 0 },
): number {
  const depthMax = LIMITS.treeDeltaDepthMax - height - 1;
  let reach = Math.max(roundness(place[version] as number), count + 1);
  let best = -1;
  let steps = 0;
  for (
    let at = previous[version] as number;
    at >= 0 && steps < LIMITS.treeDeltaStepsMax;
    at = previous[at] as number
  ) {
    if (steps++ >= reach) {
      if (best >= 0) break;
      reach *= BASE; // all near ones are too deep
    }
    const better = best < 0 ? depthMax + 1 : (depth[best] as number);
    if ((depth[at] as number) < better) best = at;
  }
  return best;
}

/** The largest power of 8 that divides it. */
function roundness(place: number): number {
  let power = 1;
  while (place > 0 && place % (power * BASE) === 0) power *= BASE;
  return power;
}
