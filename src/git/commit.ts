/**
 * Commits: where they link to and when they were made.
 *
 *   tree <40 hex>\n   parent <40 hex>\n (any number)   author …\n   committer <name> <<mail>> <seconds> <zone>\n   …   \n\n message
 *
 * Source: git-commit-tree(1), gitglossary(7) "commit object"; the header lines stand in exactly
 * this order (git-fsck(1)).
 */
import { concat, utf8 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { OID_BYTES, OID_HEX_LENGTH, type Oid, oidAt } from "./oid.js";

export interface CommitLinks {
  readonly tree: Oid;
  readonly parents: readonly Oid[];
  /** Committer's clock, seconds since 1970; 0 where the line cannot be read, as Git takes it. */
  readonly date: number;
}

const [TREE, PARENT, COMMITTER] = ["tree ", "parent ", "committer "].map(utf8) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
];
const LF = 0x0a;
const SPACE = 0x20;
const ANGLE = 0x3e;
const DATE_DIGITS_MAX = 15;
/** ASCII code → value of the lower-case hex digit, NO_DIGIT for others. */
const NO_DIGIT = 0xff;
const DIGITS = Uint8Array.from({ length: 256 }, (_, code) =>
  code >= 0x30 && code <= 0x39
    ? code - 0x30
    : code >= 0x61 && code <= 0x66
      ? code - 0x57
      : NO_DIGIT,
);

/**
 * Reads the header of a commit. Throws "odb/bad-object" where tree or parents are malformed; dates
 * never throw.
 */
export function parseCommit(data: Uint8Array): CommitLinks {
  const cursor = new CommitCursor();
  cursor.read(data);
  const parents = Array.from({ length: cursor.parentCount }, (_, at) =>
    oidAt(cursor.ids, (at + 1) * OID_BYTES),
  );
  return { tree: oidAt(cursor.ids, 0), parents, date: cursor.date };
}

/**
 * Reads one commit's header after the other, without making text of it: walks read tens of
 * thousands.
 */
export class CommitCursor {
  /** Ids of the tree and then of the parents, in binary. */
  ids: Uint8Array = new Uint8Array(4 * OID_BYTES);
  parentCount = 0;
  /** As CommitLinks has it. */
  date = 0;

  /** Throws "odb/bad-object" where tree or parents are malformed; dates never throw. */
  read(data: Uint8Array): void {
    this.parentCount = 0;
    if (!startsWith(data, 0, TREE) || !this.#readId(data, TREE.length, 0))
      throw new Fault("odb/bad-object", { type: "commit", reason: "no tree line" });
    let at = TREE.length + OID_HEX_LENGTH + 1;
    for (; startsWith(data, at, PARENT); at += PARENT.length + OID_HEX_LENGTH + 1) {
      this.parentCount++;
      if (!this.#readId(data, at + PARENT.length, this.parentCount * OID_BYTES))
        throw new Fault("odb/bad-object", { type: "commit", reason: "bad parent line" });
    }
    this.date = committerDate(data, at);
  }

  /** The hex digits at `at`, which must end a line, into `ids` at `to`. */
  #readId(data: Uint8Array, at: number, to: number): boolean {
    const end = at + OID_HEX_LENGTH;
    if (end > data.length || (end < data.length && data[end] !== LF)) return false;
    if (to + OID_BYTES > this.ids.length)
      this.ids = concat([this.ids, new Uint8Array(this.ids.length)]);
    const { ids } = this;
    let all = 0;
    for (let byte = 0; byte < OID_BYTES; byte++) {
      const high = DIGITS[data[at + 2 * byte] as number] as number;
      const low = DIGITS[data[at + 2 * byte + 1] as number] as number;
      all |= high | low;
      ids[to + byte] = (high << 4) | low;
    }
    return all < 16;
  }
}

function startsWith(data: Uint8Array, at: number, prefix: Uint8Array): boolean {
  for (let byte = 0; byte < prefix.length; byte++)
    if (data[at + byte] !== prefix[byte]) return false;
  return true;
}

/**
 * Seconds after the mail's ">" of the committer line, among the lines from `start` to the first
 * empty one.
 */
function committerDate(data: Uint8Array, start: number): number {
  for (let at = start; at < data.length && data[at] !== LF; ) {
    const lf = data.indexOf(LF, at);
    const end = lf < 0 ? data.length : lf;
    if (startsWith(data, at, COMMITTER)) return dateIn(data, at + COMMITTER.length, end);
    at = end + 1;
  }
  return 0;
}

/** Returns the date in the committer line's text, [start, end). */
function dateIn(data: Uint8Array, start: number, end: number): number {
  const angle = data.lastIndexOf(ANGLE, end - 1);
  let at = angle < start ? start : angle + 1;
  while (at < end && data[at] === SPACE) at++;
  const first = at;
  let seconds = 0;
  for (; at < end && at - first <= DATE_DIGITS_MAX; at++) {
    const digit = (data[at] as number) - 0x30;
    if (digit < 0 || digit > 9) break;
    seconds = seconds * 10 + digit;
  }
  const isNumber =
    at > first && at - first <= DATE_DIGITS_MAX && (at === end || data[at] === SPACE);
  return isNumber ? seconds : 0;
}
