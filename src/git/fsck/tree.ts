/**
 * fsck of trees, in pieces: one of a million entries takes longer than a task may keep others
 * waiting. git-fsck(1) "FSCK MESSAGES".
 */
import {
  hasBackslashDotGit,
  isDotGit,
  isSpecialName,
  isSuspiciousStart,
} from "./protected-names.js";
import type { CheckMarks, Refusal } from "./refusal.js";
import { type Report, STRICT } from "./levels.js";
import { OID_BYTES, oidAt } from "../oid.js";

const KIND = { tree: 0o040000, symlink: 0o120000 } as const;
const KIND_MASK = 0o170000;
const [SPACE, DOT, SLASH, BACKSLASH, ZERO_DIGIT] = [0x20, 0x2e, 0x2f, 0x5c, 0x30];
/**
 * Seven digits at most: Git reads on and takes what its 16 bits have left, so that one tree means
 * two things to two readers.
 */
const MODE_DIGITS_MAX = 7;

/** The modes that Git writes; others it reads as one of them. */
const MODES: ReadonlySet<number> = new Set([0o100644, 0o100755, 0o120000, 0o040000, 0o160000]);

/** A name as it lies in the tree. */
interface Name {
  readonly start: number;
  readonly end: number;
  readonly isTree: boolean;
}

export class TreeCheck {
  readonly #data: Buffer;
  readonly #marks: CheckMarks;
  #at = 0;
  #before: Name | undefined;
  /** Files whose name a folder behind them may have as well (Git: fsck.c, verify_ordered). */
  readonly #candidates: Name[] = [];
  readonly #report: Report;
  /** Ids that were said of this tree: each is said once, however many entries it is true of. */
  readonly #said = new Set<string>();
  #isUnsorted = false;
  #hasTwice = false;

  /** `data` is read in place and must not change meanwhile. `marks` takes note of special files. */
  constructor(data: Uint8Array, marks: CheckMarks, report: Report = STRICT) {
    this.#data = Buffer.from(data.buffer, data.byteOffset, data.length);
    this.#marks = marks;
    this.#report = report;
  }

  /**
   * Looks at the next `bytes`, about: the first reason to refuse the tree, "more", or undefined
   * where all is well.
   */
  next(bytes: number): Refusal | "more" | undefined {
    const until = Math.min(this.#data.length, this.#at + bytes);
    while (this.#at < until) {
      const refusal = this.#entry();
      if (refusal !== undefined) return refusal;
    }
    if (this.#at < this.#data.length) return "more";
    const twice = this.#hasTwice
      ? this.#say("duplicateEntries", "contains duplicate file entries")
      : undefined;
    return (
      twice ?? (this.#isUnsorted ? this.#say("treeNotSorted", "not properly sorted") : undefined)
    );
  }

  #say(id: string, text: string): Refusal | undefined {
    if (this.#said.has(id)) return undefined;
    this.#said.add(id);
    return this.#report(id, text);
  }

  #entry(): Refusal | undefined {
    const data = this.#data;
    const first = this.#at;
    let mode = 0;
    let at = first;
    for (; data[at] !== SPACE; at++) {
      const digit = (data[at] ?? 0) - ZERO_DIGIT;
      if (digit < 0 || digit > 7 || at - first === MODE_DIGITS_MAX) return BAD_TREE;
      mode = mode * 8 + digit;
    }
    const start = at + 1;
    const end = data.indexOf(0, start);
    if (at === first || end <= start || data.length - end - 1 < OID_BYTES) return BAD_TREE;
    this.#at = end + 1 + OID_BYTES;
    const name = { start, end, isTree: (mode & KIND_MASK) === KIND.tree };
    const refusal = this.#judge(name, mode, data[first] === ZERO_DIGIT);
    if (refusal !== undefined) return refusal;
    if (this.#before !== undefined) this.#compare(this.#before, name);
    this.#before = name;
    return undefined;
  }

  #judge({ start, end }: Name, mode: number, isPadded: boolean): Refusal | undefined {
    const data = this.#data;
    const odd = oddBytes(data, start, end);
    const isSymlink = (mode & KIND_MASK) === KIND.symlink;
    const isSuspicious = isSuspiciousStart(data[start] as number);
    const name = isSuspicious || isSymlink || odd !== 0 ? data.subarray(start, end) : undefined;
    return (
      (isNull(data, end + 1)
        ? this.#say("nullSha1", "contains entries pointing to null sha1")
        : undefined) ??
      (odd === SLASH ? this.#say("fullPathname", "contains full pathnames") : undefined) ??
      (name === undefined || (odd === 0 && !isSuspicious) ? undefined : this.#judgeName(name)) ??
      (isPadded ? this.#say("zeroPaddedFilemode", "contains zero-padded file modes") : undefined) ??
      (MODES.has(mode) ? undefined : this.#say("badFilemode", "contains bad file modes")) ??
      (name === undefined ? undefined : this.#special(name, isSymlink, end + 1))
    );
  }

  #judgeName(name: Uint8Array): Refusal | undefined {
    const isDot = name[0] === DOT && name.length === 1;
    const isDotDot = name[0] === DOT && name.length === 2 && name[1] === DOT;
    if (isDot) return this.#say("hasDot", "contains '.'");
    if (isDotDot) return this.#say("hasDotdot", "contains '..'");
    return isDotGit(name) || hasBackslashDotGit(name)
      ? this.#say("hasDotgit", "contains '.git'")
      : undefined;
  }

  /** Files that Git reads by itself, and links in their place. */
  #special(name: Uint8Array, isSymlink: boolean, oid: number): Refusal | undefined {
    if (isSymlink) return this.#specialLink(name);
    if (!isSuspiciousStart(name[0] as number)) return undefined;
    if (isSpecialName(name, "gitmodules")) this.#marks.gitmodules.push(oidAt(this.#data, oid));
    if (isSpecialName(name, "gitattributes"))
      this.#marks.gitattributes.push(oidAt(this.#data, oid));
    return undefined;
  }

  #specialLink(name: Uint8Array): Refusal | undefined {
    return (
      (isSpecialName(name, "gitmodules")
        ? this.#say("gitmodulesSymlink", ".gitmodules is a symbolic link")
        : undefined) ??
      (isSpecialName(name, "gitattributes")
        ? this.#say("gitattributesSymlink", ".gitattributes is a symlink")
        : undefined) ??
      (isSpecialName(name, "gitignore")
        ? this.#say("gitignoreSymlink", ".gitignore is a symlink")
        : undefined) ??
      (isSpecialName(name, "mailmap")
        ? this.#say("mailmapSymlink", ".mailmap is a symlink")
        : undefined)
    );
  }

  /**
   * Names in order, each once: a folder sorts as if its name ended in "/", and may not share its
   * name with a file anywhere.
   */
  #compare(left: Name, right: Name): void {
    const data = this.#data;
    const shared = Math.min(left.end - left.start, right.end - right.start);
    const order = data.compare(
      data,
      right.start,
      right.start + shared,
      left.start,
      left.start + shared,
    );
    if (order !== 0) {
      if (order > 0) this.#isUnsorted = true;
      return;
    }
    const after = (name: Name) =>
      name.start + shared < name.end ? (data[name.start + shared] as number) : 0;
    const [afterLeft, afterRight] = [after(left), after(right)];
    if (afterLeft === 0 && afterRight === 0) {
      this.#hasTwice = true;
      return;
    }
    const one = afterLeft === 0 && left.isTree ? SLASH : afterLeft;
    const other = afterRight === 0 && right.isTree ? SLASH : afterRight;
    if (one === 0 && other < SLASH) this.#candidates.push(left);
    else if (other === SLASH && one < SLASH) this.#checkCandidates(right);
    if (one >= other) this.#isUnsorted = true;
  }

  #checkCandidates(folder: Name): void {
    const data = this.#data;
    for (let file = this.#candidates.pop(); file !== undefined; file = this.#candidates.pop()) {
      const length = file.end - file.start;
      if (length > folder.end - folder.start) continue;
      if (data.compare(data, folder.start, folder.start + length, file.start, file.end) !== 0)
        continue;
      if (length === folder.end - folder.start) {
        this.#hasTwice = true;
        return;
      }
      if ((data[folder.start + length] as number) >= SLASH) continue;
      this.#candidates.push(file);
      return;
    }
  }
}

const BAD_TREE: Refusal = { id: "badTree", text: "cannot be parsed as a tree" };

function isNull(data: Uint8Array, at: number): boolean {
  for (let byte = 0; byte < OID_BYTES; byte++) if (data[at + byte] !== 0) return false;
  return true;
}

/** SLASH where the name holds one, else BACKSLASH where it holds one of these, else 0. */
function oddBytes(data: Uint8Array, start: number, end: number): number {
  let odd = 0;
  for (let at = start; at < end; at++) {
    if (data[at] === SLASH) return SLASH;
    if (data[at] === BACKSLASH) odd = BACKSLASH;
  }
  return odd;
}
