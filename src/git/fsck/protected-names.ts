/**
 * Names that some file system takes for ".git" or for a file Git reads: HFS+ ignores certain code
 * points and case, NTFS ignores case, trailing dots and spaces, has streams after ":" and short
 * names with "~". gitattributes(5), gitmodules(5), git-config(1) core.protectHFS and
 * core.protectNTFS; path rules of CVE-2014-9390 and CVE-2019-1352.
 *
 * Names are read as bytes, in place and without making text: a push may hold millions that look
 * like these.
 */
export type SpecialFile = "gitmodules" | "gitattributes" | "gitignore" | "mailmap";

interface SpecialName {
  /** With its leading dot. */
  readonly long: Uint8Array;
  /**
   * Beginning of the 8.3 name: six letters before "~1" to "~4", from the fifth clash on two letters
   * and a hash.
   */
  readonly short: Uint8Array;
  readonly hashed: Uint8Array;
}

const bytes = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));
const SPECIAL: Readonly<Record<SpecialFile, SpecialName>> = {
  gitmodules: { long: bytes(".gitmodules"), short: bytes("gitmod"), hashed: bytes("gi7eba") },
  gitattributes: { long: bytes(".gitattributes"), short: bytes("gitatt"), hashed: bytes("gi7d29") },
  gitignore: { long: bytes(".gitignore"), short: bytes("gitign"), hashed: bytes("gi250a") },
  mailmap: { long: bytes(".mailmap"), short: bytes("mailma"), hashed: bytes("maba30") },
};
const DOT_GIT = bytes(".git");
const SHORT_GIT = bytes("git~1");
const [DOT, SPACE, SLASH, COLON, BACKSLASH, TILDE, ZERO] = [
  0x2e, 0x20, 0x2f, 0x3a, 0x5c, 0x7e, 0x30,
];
/** An 8.3 name's first part. */
const SHORT_BYTES = 8;

/**
 * Returns whether a name could be any of these: others need no closer look. Backslashes are the
 * caller's to look for.
 */
export function isSuspiciousStart(first: number): boolean {
  return (
    first === DOT ||
    first === 0x67 ||
    first === 0x47 ||
    first === TILDE ||
    first === 0xe2 ||
    first === 0xef
  );
}

/** Returns whether some file system takes this name for ".git". */
export function isDotGit(name: Uint8Array): boolean {
  return isOnHfs(name, DOT_GIT) || isNtfsDotGit(name, 0);
}

/** Windows also splits at backslashes: any part may be ".git" there. */
export function hasBackslashDotGit(name: Uint8Array): boolean {
  for (let at = name.indexOf(BACKSLASH); at >= 0; at = name.indexOf(BACKSLASH, at + 1))
    if (isNtfsDotGit(name, at + 1)) return true;
  return false;
}

/** Returns whether some file system takes this name for the name of that file. */
export function isSpecialName(name: Uint8Array, file: SpecialFile): boolean {
  const special = SPECIAL[file];
  if (isOnHfs(name, special.long)) return true;
  const rest = behindSpecial(name, special);
  return rest >= 0 && endsOnNtfs(name, rest);
}

// HFS+ --------------------------------------------------------------------------------------------
/**
 * Returns whether HFS+ takes the name for `target`: without ignored code points, case aside. Bytes
 * that are not UTF-8 end the name.
 */
function isOnHfs(name: Uint8Array, target: Uint8Array): boolean {
  let matched = 0;
  for (let at = 0; at < name.length; ) {
    const byte = name[at] as number;
    if (byte === SLASH) break;
    if (byte < 0x80) {
      if (matched === target.length || lower(byte) !== target[matched]) return false;
      matched++;
      at++;
      continue;
    }
    const length = characterBytes(name, at);
    if (length === 0) break;
    if (!isIgnored(name, at)) return false;
    at += length;
  }
  return matched === target.length;
}

/** U+200C to U+200F, U+202A to U+202E, U+206A to U+206F, U+FEFF. */
function isIgnored(name: Uint8Array, at: number): boolean {
  const [first, second, third] = [name[at], name[at + 1], name[at + 2] as number];
  if (first === 0xef) return second === 0xbb && third === 0xbf;
  if (first !== 0xe2) return false;
  if (second === 0x80) return (third >= 0x8c && third <= 0x8f) || (third >= 0xaa && third <= 0xae);
  return second === 0x81 && third >= 0xaa && third <= 0xaf;
}

/**
 * Bytes of the UTF-8 character at `at`, which is no ASCII; 0 where there is none. RFC 3629, section
 * 4.
 */
function characterBytes(name: Uint8Array, at: number): number {
  const first = name[at] as number;
  const length =
    first >= 0xc2 && first <= 0xdf
      ? 2
      : first >= 0xe0 && first <= 0xef
        ? 3
        : first >= 0xf0 && first <= 0xf4
          ? 4
          : 0;
  if (length === 0 || at + length > name.length) return 0;
  const second = name[at + 1] as number;
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let byte = 2; byte < length; byte++)
    if (((name[at + byte] as number) & 0xc0) !== 0x80) return 0;
  return length;
}

// NTFS --------------------------------------------------------------------------------------------
function isNtfsDotGit(name: Uint8Array, from: number): boolean {
  const rest = startsWith(name, from, DOT_GIT)
    ? DOT_GIT.length
    : startsWith(name, from, SHORT_GIT)
      ? SHORT_GIT.length
      : 0;
  if (rest === 0) return false;
  const at = behindDots(name, from + rest);
  return at === name.length || name[at] === COLON || name[at] === SLASH || name[at] === BACKSLASH;
}

/** Returns where the rest behind one of a special file's names begins; -1 if it is none. */
function behindSpecial(name: Uint8Array, { long, short, hashed }: SpecialName): number {
  if (startsWith(name, 0, long)) return long.length;
  if (
    startsWith(name, 0, short) &&
    name[6] === TILDE &&
    isDigit(name[7], 1) &&
    (name[7] as number) <= ZERO + 4
  )
    return SHORT_BYTES;
  return isHashed(name, hashed) ? SHORT_BYTES : -1;
}

/** A beginning of `prefix`, "~" and a number that does not begin with 0, eight bytes in all. */
function isHashed(name: Uint8Array, prefix: Uint8Array): boolean {
  if (name.length < SHORT_BYTES) return false;
  let at = 0;
  while (at < prefix.length && lower(name[at] as number) === prefix[at]) at++;
  if (name[at] !== TILDE || !isDigit(name[++at], 1)) return false;
  while (++at < SHORT_BYTES) if (!isDigit(name[at], 0)) return false;
  return true;
}

function endsOnNtfs(name: Uint8Array, from: number): boolean {
  const at = behindDots(name, from);
  return at === name.length || name[at] === COLON;
}

function behindDots(name: Uint8Array, from: number): number {
  let at = from;
  while (name[at] === DOT || name[at] === SPACE) at++;
  return at;
}

function startsWith(name: Uint8Array, from: number, lowerCase: Uint8Array): boolean {
  for (let byte = 0; byte < lowerCase.length; byte++)
    if (lower(name[from + byte] as number) !== lowerCase[byte]) return false;
  return true;
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

function isDigit(byte: number | undefined, least: number): boolean {
  return byte !== undefined && byte >= ZERO + least && byte <= ZERO + 9;
}
