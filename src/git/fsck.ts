/**
 * What makes an object unfit to be taken in: Git's own checks under Git's message ids, as `receive.fsckObjects=true` applies
 * them (index-pack --strict). There a message of severity WARN counts as ERROR, INFO and IGNORE refuse nothing; so only
 * what refuses is looked for here. Source: git-fsck(1) "FSCK MESSAGES"; verdicts compared with stock git in test/git/fsck.
 */
import { fromLatin1, latin1 } from "../base/bytes.js";
import { hasBackslashDotGit, isDotGit, isSpecialName } from "./dot-git.js";
import { checkCommit, checkTag } from "./fsck-headers.js";
import { readSubmodules, submoduleRefusal } from "./gitmodules.js";
import { type ObjectType, type Oid, OID_BYTES, oidAt, ZERO_OID } from "./oid.js";

/** Why an object is refused: Git's message id, and a sentence. */
export interface Refusal {
  readonly id: string;
  readonly text: string;
}

/** Blobs that must be looked at because of what a tree calls them. */
export interface CheckMarks {
  gitmodules: Oid[];
  gitattributes: Oid[];
}

/** First reason to refuse the object; undefined: it passes. `marks` takes note of special files. */
export function checkObject(type: ObjectType, data: Uint8Array, marks: CheckMarks): Refusal | undefined {
  switch (type) {
    case "tree":
      return checkTree(data, marks);
    case "commit":
      return checkCommit(data);
    case "tag":
      return checkTag(data);
    case "blob":
      return undefined;
  }
}

// Trees -----------------------------------------------------------------------------------------------------------------
/** One entry as it lies: "<octal mode> <name>\0<20 bytes>". Names are latin1 text, so that order is bytewise. */
interface TreeEntry {
  readonly mode: number;
  readonly padded: boolean;
  readonly name: string;
  readonly oid: Oid;
}

const KIND = { tree: 0o040000, file: 0o100000, symlink: 0o120000, gitlink: 0o160000 } as const;
const KIND_MASK = 0o170000;
const SPACE = 0x20;

function checkTree(data: Uint8Array, marks: CheckMarks): Refusal | undefined {
  const entries = readEntries(data);
  if (entries === undefined) return { id: "badTree", text: "cannot be parsed as a tree" };
  for (const entry of entries) {
    const refusal = checkEntry(entry, marks);
    if (refusal !== undefined) return refusal;
  }
  return checkOrder(entries);
}

/** Seven digits at most: Git reads on and takes what its 16 bits have left, so that one tree means two things to two readers. */
const MODE = /^[0-7]{1,7}$/;

function readEntries(data: Uint8Array): TreeEntry[] | undefined {
  const entries: TreeEntry[] = [];
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(SPACE, at);
    const end = space < 0 ? -1 : data.indexOf(0, space + 1);
    if (space === at || end < 0 || end === space + 1 || data.length - end - 1 < OID_BYTES) return undefined;
    const digits = latin1(data.subarray(at, space));
    if (!MODE.test(digits)) return undefined;
    const name = latin1(data.subarray(space + 1, end));
    entries.push({ mode: Number.parseInt(digits, 8) & 0xffff, padded: digits.startsWith("0"), name, oid: oidAt(data, end + 1) });
    at = end + 1 + OID_BYTES;
  }
  return entries;
}

function checkEntry({ mode, padded, name, oid }: TreeEntry, marks: CheckMarks): Refusal | undefined {
  if (oid === ZERO_OID) return { id: "nullSha1", text: "contains entries pointing to null sha1" };
  if (name.includes("/")) return { id: "fullPathname", text: "contains full pathnames" };
  if (name === ".") return { id: "hasDot", text: "contains '.'" };
  if (name === "..") return { id: "hasDotdot", text: "contains '..'" };
  const bytes = fromLatin1(name);
  if (isDotGit(bytes) || hasBackslashDotGit(bytes)) return { id: "hasDotgit", text: "contains '.git'" };
  if (padded) return { id: "zeroPaddedFilemode", text: "contains zero-padded file modes" };
  const symlink = (mode & KIND_MASK) === KIND.symlink;
  if (isSpecialName(bytes, "gitmodules")) {
    if (symlink) return { id: "gitmodulesSymlink", text: ".gitmodules is a symbolic link" };
    marks.gitmodules.push(oid);
  }
  if (isSpecialName(bytes, "gitattributes") && !symlink) marks.gitattributes.push(oid);
  return undefined;
}

/** Names in order, each once: a folder sorts as if its name ended in "/", and may not share its name with a file anywhere. */
function checkOrder(entries: readonly TreeEntry[]): Refusal | undefined {
  const seen = new Set<string>();
  let before: string | undefined;
  for (const { mode, name } of entries) {
    if (seen.has(name)) return { id: "duplicateEntries", text: "contains duplicate file entries" };
    seen.add(name);
    const key = (mode & KIND_MASK) === KIND.tree ? `${name}/` : name;
    if (before !== undefined && before >= key) return { id: "treeNotSorted", text: "not properly sorted" };
    before = key;
  }
  return undefined;
}

// Special blobs -----------------------------------------------------------------------------------------------------------
/** A blob that some tree calls .gitmodules. What is no config at all is only worth a remark to Git (gitmodulesParse, INFO). */
export function checkGitmodules(data: Uint8Array): Refusal | undefined {
  for (const setting of readSubmodules(data)) {
    const refusal = submoduleRefusal(setting);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Bytes of one line of .gitattributes from which Git no longer reads it. gitattributes(5) "NOTES"; attr.h ATTR_MAX_LINE_LENGTH. */
const ATTRIBUTE_LINE_BYTES = 2_048;
const LF = 0x0a;

/** A blob that some tree calls .gitattributes. */
export function checkGitattributes(data: Uint8Array): Refusal | undefined {
  const nul = data.indexOf(0);
  const end = nul < 0 ? data.length : nul; // Git reads it as a C string
  for (let at = 0; at < end; ) {
    const lineFeed = data.indexOf(LF, at);
    const stop = lineFeed < 0 || lineFeed > end ? end : lineFeed;
    if (stop - at >= ATTRIBUTE_LINE_BYTES) return { id: "gitattributesLineLength", text: ".gitattributes has too long lines to parse" };
    at = stop + 1;
  }
  return undefined;
}
