/**
 * The plan of a pack to be sent: its objects, and how each gets into it. It is made before the
 * first byte is written, and the writer obeys it. One row an object, in typed arrays: 26 bytes a
 * row, whatever the number.
 */

/** Ways an object gets into the pack. */
export const PLACE = {
  /** The stored entry holds it whole: its bytes are copied. */
  reuse: 0,
  /**
   * The stored entry is a delta, and its base is in this pack: compressed bytes are copied, the
   * header may change.
   */
  delta: 1,
  /** As `delta`, with a base the client has and this pack has not (thin packs). */
  thin: 2,
  /**
   * The stored entry is a delta whose base does not come along: the object is made whole and
   * deflated.
   */
  whole: 3,
  /**
   * The stored entry holds a tree whole, and a delta is made of it; where that is not worth it, as
   * `reuse`.
   */
  made: 4,
} as const;

export class PackPlan {
  readonly count: number;
  /** Index of the stored pack, rising. */
  readonly pack: Uint32Array;
  /** The stored entry's bytes [start, end); rising within a pack. */
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly place: Uint8Array;
  /** Row of the base (`delta`, `made`), -1 otherwise. */
  readonly base: Int32Array;
  /** Rows by place. */
  readonly tally = { reuse: 0, delta: 0, thin: 0, whole: 0, made: 0 };
  /** Stored packs in the order in which their rows are written; undefined: as they are numbered. */
  order: readonly number[] | undefined;

  constructor(count: number) {
    this.count = count;
    this.pack = new Uint32Array(count);
    this.start = new Float64Array(count);
    this.end = new Float64Array(count);
    this.place = new Uint8Array(count);
    this.base = new Int32Array(count).fill(-1);
  }

  /**
   * Row of the entry that starts at `offset` of the stored pack `pack`, -1 where it is not in the
   * plan.
   */
  find(pack: number, offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const there = (this.pack[middle] as number) - pack || (this.start[middle] as number) - offset;
      if (there === 0) return middle;
      if (there < 0) low = middle + 1;
      else high = middle;
    }
    return -1;
  }

  /** All rows, in the order of the pack to be written. */
  *rows(): Generator<number, void, undefined> {
    if (this.order === undefined) for (let row = 0; row < this.count; row++) yield row;
    else
      for (const pack of this.order)
        for (let row = this.#firstOf(pack); row < this.count && this.pack[row] === pack; row++)
          yield row;
  }

  /** The first row of the stored pack `pack`, or of the next that has any. */
  #firstOf(pack: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.pack[middle] as number) < pack) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  setPlace(row: number, name: keyof typeof PLACE, base = -1): void {
    this.place[row] = PLACE[name];
    this.base[row] = base;
    this.tally[name]++;
  }

  /** A row that was to be reused becomes a delta on that of `base`. */
  setMade(row: number, base: number): void {
    this.tally.reuse--;
    this.setPlace(row, "made", base);
  }

  /** Rows to be made whole, in the order of `rows`. */
  wholes(): Uint32Array {
    const wholes = new Uint32Array(this.tally.whole);
    let at = 0;
    if (wholes.length > 0)
      for (const row of this.rows()) if (this.place[row] === PLACE.whole) wholes[at++] = row;
    return wholes;
  }
}
