/** Seeded pseudo-random numbers (mulberry32), so that a failing case can be run again. */
export interface Random {
  /** An integer in [0, bound). */
  below(bound: number): number;
  bytes(length: number): Uint8Array;
  pick<T>(items: readonly T[]): T;
  oid(): string;
}

export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const below = (bound: number) => next() % bound;
  const bytes = (length: number) => Uint8Array.from({ length }, () => next() & 0xff);
  return {
    below,
    bytes,
    pick: (items) => {
      const item = items[below(items.length)];
      if (item === undefined) throw new RangeError("nothing to pick from");
      return item;
    },
    oid: () => Buffer.from(bytes(20)).toString("hex"),
  };
}
