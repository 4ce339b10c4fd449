// Commits, trees and tags as they pass by: their links go into the link set, and what is not beyond
// doubt goes to the host, where src/git/fsck/fsck.ts decides with Git's rules. This file only ever
// says "surely good" or "look at it": it has no rules of its own. Sources: git-fsck(1) "FSCK
// MESSAGES", gitformat-signature(5), gitcore-tutorial(7).
import { CHECKS, UNWALKED } from "./layout";
import { judge } from "./host";
import {
  EXPECT_BLOB,
  EXPECT_COMMIT,
  EXPECT_TAG,
  EXPECT_TREE,
  IS_GITATTRIBUTES,
  IS_GITMODULES,
  addLink,
} from "./links";

// Modes as they stand in a tree with their space, little-endian.
const MODE_FILE: u64 = 0x20343436303031; // "100644 "
const MODE_GROUP_FILE: u64 = 0x20343636303031; // "100664 ", which old Gits wrote
const MODE_EXECUTABLE: u64 = 0x20353537303031; // "100755 "
const MODE_SYMLINK: u64 = 0x20303030303231; // "120000 "
const MODE_GITLINK: u64 = 0x20303030303631; // "160000 "
const MODE_TREE: u64 = 0x203030303034; // "40000 "
const SEVEN: u64 = 0x00ffffffffffffff;
const SIX: u64 = 0x0000ffffffffffff;
const SLASH: u32 = 0x2f;

/** Names that may come again as folders are kept here while a tree is read: {name, length}. */
const CANDIDATES_MAX: u32 = 64;
export const CHECK_SCRATCH_BYTES: usize = 1024;
let candidates: usize = 0;
let candidateCount: u32 = 0;
let idScratch: usize = 0;
/** Counter of objects whose links cannot be read. */
let unwalked: usize = UNWALKED;

export function countUnwalkedAt(at: usize): void {
  unwalked = at;
}

export function setCheckScratch(at: usize): void {
  candidates = at;
  idScratch = at + <usize>CANDIDATES_MAX * 8;
}

/**
 * Looks at one object whose `size` bytes lie at `data`, readable 32 bytes past. False: the host
 * refused it.
 */
export function checkObject(record: u32, type: u32, data: usize, size: usize): bool {
  if (type == 3) return true;
  if (load<u32>(CHECKS) != 0) {
    const good = type == 2 ? checkTree(data, size) : type == 1 ? checkCommit(data, size) : false;
    if (good) return true;
    if (judge(record, type, data, <u32>size) != 0) return false;
  }
  walkObject(type, data, size);
  return true;
}

/** Takes the links of an object nobody has to check: one that was stored before. */
export function walkObject(type: u32, data: usize, size: usize): void {
  if (type == 3) return;
  const walked = type == 2 ? walkTree(data, size) : walkHeaders(data, size, type);
  if (!walked) atomic.add<u32>(unwalked, 1);
}

// Trees -------------------------------------------------------------------------------------------
let nameLength: usize = 0;
let nameOdd: bool = false; // holds a slash or backslash
let nameHigh: bool = false; // holds a byte above 0x7f

/** Finds the NUL behind the name at `name`. */
// @ts-ignore: decorator
@inline
function scanName(name: usize, end: usize): bool {
  let at = name;
  nameOdd = false;
  nameHigh = false;
  while (at < end) {
    const block = v128.load(at);
    const zeros = i8x16.bitmask(i8x16.eq(block, i8x16.splat(0)));
    const odd = i8x16.bitmask(
      v128.or(i8x16.eq(block, i8x16.splat(0x2f)), i8x16.eq(block, i8x16.splat(0x5c))),
    );
    const high = i8x16.bitmask(block);
    if (zeros == 0) {
      if (odd) nameOdd = true;
      if (high) nameHigh = true;
      at += 16;
      continue;
    }
    const before = (zeros & -zeros) - 1;
    if (odd & before) nameOdd = true;
    if (high & before) nameHigh = true;
    at += ctz(zeros);
    nameLength = at - name;
    return at < end;
  }
  return false;
}

function checkTree(data: usize, size: usize): bool {
  const end = data + size;
  let at = data;
  let before: usize = 0;
  let beforeLength: usize = 0;
  let beforeTree: bool = false;
  const isDeep = load<u32>(CHECKS) == 2;
  candidateCount = 0;
  while (at < end) {
    if (end - at < 8) return false;
    const head = load<u64>(at);
    let tree = false;
    let link: u32 = EXPECT_BLOB;
    const seven = head & SEVEN;
    if (
      seven == MODE_FILE ||
      seven == MODE_EXECUTABLE ||
      seven == MODE_SYMLINK ||
      seven == MODE_GROUP_FILE
    ) {
      if (isDeep && (seven == MODE_SYMLINK || seven == MODE_GROUP_FILE)) return false;
      at += 7;
    } else if ((head & SIX) == MODE_TREE) {
      tree = true;
      link = EXPECT_TREE;
      at += 6;
    } else if (seven == MODE_GITLINK) {
      link = 0;
      at += 7;
    } else return false;
    const name = at;
    if (!scanName(name, end) || nameLength == 0 || nameOdd) return false;
    const length = nameLength;
    const first: u32 = load<u8>(name);
    if (first == 0x2e || first == 0x67 || first == 0x47 || first == 0x7e || nameHigh) {
      const special = specialName(name, length, first);
      if (special == SUSPICIOUS) return false;
      if (special != 0) {
        if (seven != MODE_FILE && seven != MODE_EXECUTABLE) return false;
        link |= special;
      }
    }
    if (before != 0 && !inOrder(before, beforeLength, beforeTree, name, length, tree)) return false;
    before = name;
    beforeLength = length;
    beforeTree = tree;
    at = name + length + 1;
    if (end - at < 20) return false;
    if (load<u64>(at) == 0 && load<u64>(at, 8) == 0 && load<u32>(at, 16) == 0) return false;
    if (link != 0) addLink(at, link);
    at += 20;
  }
  return at == end;
}

const SUSPICIOUS: u32 = 0x80000000;
const GIT: u32 = 0x7469672e; // ".git"

/**
 * 0 for an ordinary name, link flags for the two files Git reads, SUSPICIOUS for whatever could be
 * read as ".git", a special file or a folder's own name on some file system.
 */
function specialName(name: usize, length: usize, first: u32): u32 {
  if (first == 0x2e) {
    if (length == 1 || nameHigh) return SUSPICIOUS;
    const second: u32 = load<u8>(name, 1);
    if (second == 0x2e) return length == 2 ? SUSPICIOUS : 0;
    if (length < 4 || (load<u32>(name) | 0x20202000) != GIT) return 0;
    if (length == 4) return SUSPICIOUS;
    const fifth: u32 = load<u8>(name, 4);
    if (fifth == 0x69 || fifth == 0x68 || fifth == 0x6b) return 0; // .gitignore, .github, .gitkeep
    if (length == 11 && load<u64>(name) == 0x75646f6d7469672e && load<u32>(name + 7) == 0x73656c75)
      return IS_GITMODULES;
    if (
      length == 14 &&
      load<u64>(name) == 0x727474617469672e &&
      load<u64>(name + 6) == 0x7365747562697274
    )
      return IS_GITATTRIBUTES;
    return SUSPICIOUS;
  }
  if (first == 0x67 || first == 0x47) {
    if (nameHigh) return SUSPICIOUS;
    if (length < 5 || (load<u8>(name, 1) | 0x20) != 0x69) return 0;
    // git~1, gitmod~1, gi7eba~1
    for (let at: usize = 2; at < length; at++) if (load<u8>(name + at) == 0x7e) return SUSPICIOUS;
    return 0;
  }
  // An 8.3 name after so many clashes that only "~" and a number are left.
  if (first == 0x7e) return length >= 8 && <u32>load<u8>(name, 1) - 0x31 < 9 ? SUSPICIOUS : 0;
  // code points that HFS+ ignores start with these
  return first == 0xe2 || first == 0xef ? SUSPICIOUS : 0;
}

/**
 * Trees sort as if folder names ended in "/"; a file and a folder may not share a name, however far
 * apart.
 */
function inOrder(
  left: usize,
  leftLength: usize,
  leftTree: bool,
  right: usize,
  rightLength: usize,
  rightTree: bool,
): bool {
  const shared = leftLength < rightLength ? leftLength : rightLength;
  let at: usize = 0;
  while (at + 8 <= shared && load<u64>(left + at) == load<u64>(right + at)) at += 8;
  while (at < shared) {
    const l: u32 = load<u8>(left + at);
    const r: u32 = load<u8>(right + at);
    if (l != r) return l < r;
    at++;
  }
  if (leftLength == rightLength) return false;
  let l: u32 = load<u8>(left + shared);
  let r: u32 = load<u8>(right + shared);
  if (leftLength == shared && leftTree) l = SLASH;
  if (rightLength == shared && rightTree) r = SLASH;
  if (l == 0 && r < SLASH) return pushCandidate(left, leftLength) && l < r;
  if (r == SLASH && rightTree && l < SLASH && !checkCandidates(right, rightLength)) return false;
  return l < r;
}

function pushCandidate(name: usize, length: usize): bool {
  if (candidateCount == CANDIDATES_MAX) return false;
  const slot = candidates + ((<usize>candidateCount) << 3);
  store<u32>(slot, <u32>name);
  store<u32>(slot, <u32>length, 4);
  candidateCount++;
  return true;
}

/**
 * False: the folder `name` has the name of a file before it. Candidates that cannot match any more
 * are dropped.
 */
function checkCandidates(name: usize, length: usize): bool {
  while (candidateCount > 0) {
    const slot = candidates + ((<usize>(candidateCount - 1)) << 3);
    const other: usize = load<u32>(slot);
    const otherLength: usize = load<u32>(slot, 4);
    if (otherLength <= length && memory.compare(other, name, otherLength) == 0) {
      if (otherLength == length) return false;
      if (load<u8>(name + otherLength) < SLASH) return true;
    }
    candidateCount--;
  }
  return true;
}

/** Links of a tree that only has to be readable. False: it is not. */
function walkTree(data: usize, size: usize): bool {
  const end = data + size;
  let at = data;
  while (at < end) {
    let mode: u32 = 0;
    const digits = at;
    while (at < end && load<u8>(at) != 0x20) {
      const digit: u32 = load<u8>(at++) - 0x30;
      if (digit > 7 || at - digits > 7) return false;
      mode = (mode << 3) | digit;
    }
    if (at >= end || !scanName(at + 1, end)) return false;
    const length = nameLength;
    const special = specialFlags(at + 1, length);
    at += length + 2;
    if (end - at < 20) return false;
    const kind = mode & 0xf000;
    if (kind != 0xe000) addLink(at, (kind == 0x4000 ? EXPECT_TREE : EXPECT_BLOB) | special);
    at += 20;
  }
  return true;
}

function specialFlags(name: usize, length: usize): u32 {
  if (load<u8>(name) != 0x2e) return 0;
  const special = specialName(name, length, 0x2e);
  return special == SUSPICIOUS ? 0 : special;
}

// Commits and tags --------------------------------------------------------------------------------
/** Reads 40 lower-case hex digits at `at` to idScratch. */
function readHex(at: usize): bool {
  for (let byte: usize = 0; byte < 20; byte++) {
    const high = hexDigit(load<u8>(at));
    const low = hexDigit(load<u8>(at, 1));
    if ((high | low) > 15) return false;
    store<u8>(idScratch + byte, <u8>((high << 4) | low));
    at += 2;
  }
  return true;
}

// @ts-ignore: decorator
@inline
function hexDigit(code: u32): u32 {
  const digit = code - 0x30;
  if (digit < 10) return digit;
  const letter = code - 0x61;
  return letter < 6 ? letter + 10 : 255;
}

const TREE_: u64 = 0x2065657274; // "tree "
const PARENT_: u64 = 0x20746e65726170; // "parent "
const AUTHOR_: u64 = 0x20726f68747561; // "author "
const FIVE: u64 = 0xffffffffff;

function checkCommit(data: usize, size: usize): bool {
  const end = data + size;
  if (
    size < 46 ||
    (load<u64>(data) & FIVE) != TREE_ ||
    load<u8>(data, 45) != 0x0a ||
    !readHex(data + 5)
  )
    return false;
  addLink(idScratch, EXPECT_TREE);
  let at = data + 46;
  while (end - at >= 48 && (load<u64>(at) & SEVEN) == PARENT_) {
    if (load<u8>(at, 47) != 0x0a || !readHex(at + 7)) return false;
    addLink(idScratch, EXPECT_COMMIT);
    at += 48;
  }
  if (end - at < 24 || (load<u64>(at) & SEVEN) != AUTHOR_) return false;
  at = checkIdent(at + 7, end);
  if (at == 0 || end - at < 24) return false;
  // "committer "
  if (load<u64>(at) != 0x657474696d6d6f63 || load<u16>(at, 8) != 0x2072) return false;
  at = checkIdent(at + 10, end);
  if (at == 0) return false;
  return cleanRest(at, end);
}

/**
 * "Name <mail> 1234567890 +0100\n" in its plainest form; answers what follows, 0 where it is not
 * plain.
 */
function checkIdent(start: usize, end: usize): usize {
  let at = start;
  let byte: u32 = 0;
  while (at < end) {
    byte = load<u8>(at);
    if (byte == 0x3c || byte == 0x3e || byte == 0x0a || byte == 0) break;
    at++;
  }
  if (
    at >= end ||
    byte != 0x3c ||
    at - start < 2 ||
    load<u8>(at - 1) != 0x20 ||
    load<u8>(start) == 0x20
  )
    return 0;
  at++;
  while (at < end) {
    byte = load<u8>(at);
    if (byte == 0x3c || byte == 0x3e || byte == 0x0a || byte == 0) break;
    at++;
  }
  if (end - at < 10 || byte != 0x3e || load<u8>(at, 1) != 0x20) return 0;
  at += 2;
  const digits = at;
  while (at < end && <u32>load<u8>(at) - 0x30 < 10) at++;
  const count = at - digits;
  if (count == 0 || count > 12 || (load<u8>(digits) == 0x30 && count > 1)) return 0;
  if (end - at < 7 || load<u8>(at) != 0x20) return 0;
  const sign: u32 = load<u8>(at, 1);
  if (sign != 0x2b && sign != 0x2d) return 0;
  for (let digit: usize = 2; digit < 6; digit++) if (<u32>load<u8>(at + digit) - 0x30 > 9) return 0;
  return load<u8>(at, 6) == 0x0a ? at + 7 : 0;
}

/**
 * No NUL anywhere behind the committer, and the headers end: in an empty line or with the object.
 */
function cleanRest(start: usize, end: usize): bool {
  let at = start;
  const zero = i8x16.splat(0);
  while (end - at >= 16) {
    if (v128.any_true(i8x16.eq(v128.load(at), zero))) return false;
    at += 16;
  }
  while (at < end) if (load<u8>(at++) == 0) return false;
  if (load<u8>(end - 1) == 0x0a) return true;
  for (at = start - 1; at + 1 < end; at++) if (load<u16>(at) == 0x0a0a) return true;
  return false;
}

/** Links in the headers of a commit or tag the host let pass (or nobody checks). */
function walkHeaders(data: usize, size: usize, type: u32): bool {
  const end = data + size;
  if (type == 1) {
    if (size < 46 || (load<u64>(data) & FIVE) != TREE_ || !readHex(data + 5)) return false;
    addLink(idScratch, EXPECT_TREE);
    let at = data + 46;
    while (end - at >= 48 && (load<u64>(at) & SEVEN) == PARENT_) {
      if (!readHex(at + 7)) return false;
      addLink(idScratch, EXPECT_COMMIT);
      at += 48;
    }
    return true;
  }
  // "object " id "\ntype " …
  if (size < 57 || (load<u64>(data) & SEVEN) != 0x207463656a626f || !readHex(data + 7))
    return false;
  if (load<u32>(data, 48) != 0x65707974) return false; // "type"
  const word = load<u32>(data, 53);
  const expect: u32 =
    word == 0x6d6d6f63
      ? EXPECT_COMMIT
      : word == 0x65657274
        ? EXPECT_TREE
        : word == 0x626f6c62
          ? EXPECT_BLOB
          : EXPECT_TAG;
  addLink(idScratch, expect);
  return true;
}
