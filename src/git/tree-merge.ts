/**
 * Two trees held beside each other: both are lists of entries in name order, so one walk over the
 * two finds what they share and where they differ.
 */
import { OID_BYTES } from "./oid.js";

/** Kind of the step that the walk is at. */
export type Step =
  /** Bytes that both have: whole entries. */
  | "same"
  /** One entry of the same mode and name, and another id. */
  | "changed"
  /** An entry of the newer tree alone. */
  | "added"
  /** An entry of the older tree alone. */
  | "removed";

const SPACE = 0x20;
const ZERO = 0x30;
/** A folder's mode is 40000; those of files, links and submodules begin with "1". */
const FOLDER = 0x34;
const SLASH = 0x2f;

/**
 * `while (merge.next()) …`. Trees that are not sorted come out as more differences than there are,
 * never as fewer.
 */
export class TreeMerge {
  step: Step = "same";
  /** Offsets in the older and in the newer tree where the step's bytes start. */
  from = 0;
  to = 0;
  /** Number of these bytes, in the tree or trees that have them. */
  bytes = 0;
  /** "changed": bytes before the id. */
  head = 0;
  readonly #older: Uint8Array;
  readonly #newer: Uint8Array;
  #fromNext = 0;
  #toNext = 0;

  /** Both are read in place. */
  constructor(older: Uint8Array, newer: Uint8Array) {
    this.#older = older;
    this.#newer = newer;
  }

  /** Moves on; false at the end of both. */
  next(): boolean {
    this.from = this.#fromNext;
    this.to = this.#toNext;
    this.#skipSame();
    const same = this.#toNext - this.to;
    if (same > 0) return this.#is("same", same);
    const isOver = [this.from >= this.#older.length, this.to >= this.#newer.length];
    if (isOver[0] && isOver[1]) return false;
    if (this.head > 0)
      return this.#is(
        "changed",
        this.head + OID_BYTES,
        this.head + OID_BYTES,
        this.head + OID_BYTES,
      );
    const [older, newer] = [entryBytes(this.#older, this.from), entryBytes(this.#newer, this.to)];
    const order = isOver[0]
      ? 1
      : isOver[1]
        ? -1
        : compareNames(this.#older, this.from, older, this.#newer, this.to, newer);
    // One name with two modes is a removed entry and then an added one.
    return order <= 0 ? this.#is("removed", older, older, 0) : this.#is("added", newer, 0, newer);
  }

  /** "changed": whether it is a folder. */
  get isFolder(): boolean {
    return isFolderAt(this.#newer, this.to);
  }

  /**
   * Goes over equal entries. `head`: of the entry behind them, where only its id differs; else 0.
   */
  #skipSame(): void {
    const [older, newer] = [this.#older, this.#newer];
    let [from, to] = [this.from, this.to];
    this.head = 0;
    for (;;) {
      const head = sameHead(older, from, newer, to);
      if (head === 0) break;
      if (!isSameId(older, from + head, newer, to + head)) {
        this.head = head;
        break;
      }
      from += head + OID_BYTES;
      to += head + OID_BYTES;
    }
    [this.#fromNext, this.#toNext] = [from, to];
  }

  #is(step: Step, bytes: number, older = 0, newer = 0): true {
    this.step = step;
    this.bytes = bytes;
    this.#fromNext += older;
    this.#toNext += newer;
    return true;
  }
}

/** Bytes of mode and name, their NUL included, where both entries have the same; else 0. */
function sameHead(older: Uint8Array, from: number, newer: Uint8Array, to: number): number {
  const most = Math.min(older.length - from, newer.length - to) - OID_BYTES;
  let at = 0;
  while (at < most && older[from + at] === newer[to + at] && newer[to + at] !== 0) at++;
  return at < most && newer[to + at] === 0 && older[from + at] === 0 ? at + 1 : 0;
}

function isSameId(older: Uint8Array, from: number, newer: Uint8Array, to: number): boolean {
  for (let at = 0; at < OID_BYTES; at++) if (older[from + at] !== newer[to + at]) return false;
  return true;
}

/** Bytes of the entry at `at`; of one that is cut, those that are there. */
function entryBytes(tree: Uint8Array, at: number): number {
  const nul = tree.indexOf(0, at);
  return (nul < 0 ? tree.length : Math.min(nul + 1 + OID_BYTES, tree.length)) - at;
}

/** Order of two entries by name, a folder's as if it ended in "/": tree.c base_name_compare. */
function compareNames(
  older: Uint8Array,
  from: number,
  olderBytes: number,
  newer: Uint8Array,
  to: number,
  newerBytes: number,
): number {
  const left = older.indexOf(SPACE, from) + 1;
  const right = newer.indexOf(SPACE, to) + 1;
  const leftEnd = from + olderBytes - OID_BYTES - 1;
  const rightEnd = to + newerBytes - OID_BYTES - 1;
  const [leftMark, rightMark] = [
    isFolderAt(older, from) ? SLASH : 0,
    isFolderAt(newer, to) ? SLASH : 0,
  ];
  for (let at = 0; ; at++) {
    const isLeftOver = left + at >= leftEnd;
    const isRightOver = right + at >= rightEnd;
    const one = isLeftOver ? leftMark : (older[left + at] as number);
    const other = isRightOver ? rightMark : (newer[right + at] as number);
    if (one !== other) return one - other;
    if (isLeftOver || isRightOver) return Number(isRightOver) - Number(isLeftOver);
  }
}

function isFolderAt(tree: Uint8Array, start: number): boolean {
  let at = start;
  while (tree[at] === ZERO) at++;
  return tree[at] === FOLDER;
}
