/**
 * Pointers of Git LFS: what stands in a tree in place of a large file.
 *
 *   version https://git-lfs.github.com/spec/v1\n   oid sha256:<64 hex>\n   size <decimal>\n
 *
 * This is the canonical form, the only one that is written here. git-lfs reads others as well
 * (`parsePointer`), and asks for their objects: a text in any of them is a pointer wherever
 * .gitattributes make its path an LFS file.
 *
 * Source: git-lfs docs/spec.md "The Pointer"; lfs/pointer.go of git-lfs 3.3.
 */
import { latin1, utf8 } from "../base/bytes.js";

export interface LfsPointer {
  /** SHA-256 of the content, 64 lower-case hex digits. */
  readonly sha256: string;
  /** Bytes of the content. */
  readonly size: number;
}

/** git-lfs takes no longer file for a pointer. */
export const POINTER_BYTES_MAX = 1_023;
/**
 * The shortest text that `parsePointer` reads: the oldest version's URL, a size of one digit, no LF
 * at the end.
 */
export const POINTER_BYTES_MIN = 8 + 23 + 1 + 75 + 1 + 6;
/** The longest canonical pointer: a size of 16 digits. */
const CANONICAL_BYTES_MAX = 43 + 76 + 5 + 16 + 1;
const CANONICAL =
  /^version https:\/\/git-lfs\.github\.com\/spec\/v1\noid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,15})\n$/;
/** The forms that mapping 2 takes for a pointer in metadata. */
const SECOND =
  /^version https:\/\/git-lfs\.github\.com\/spec\/v1\r?\n(?:ext-\d-[0-9A-Za-z.-]+ [^\r\n]*\r?\n)*oid sha256:([0-9a-f]{64})\r?\nsize (0|[1-9][0-9]{0,15})(?:\r?\n)?$/;
/** From the newest to the first of all. */
const VERSIONS: ReadonlySet<string> = new Set([
  "https://git-lfs.github.com/spec/v1",
  "https://hawser.github.com/spec/v1",
  "http://git-media.io/v/2",
]);
/** In this order; lines of extensions may stand before any of them. */
const KEYS = ["version", "oid", "size"] as const;
const SHA256 = /^[0-9a-f]{64}$/;
const OID_VALUE = /^sha256:([0-9a-f]{64})$/;
const EXTENSION = /^ext-\d-\w/;
/** strconv.ParseInt. */
const SIZE = /^[+-]?[0-9]+$/;
/** White space of Unicode, as latin1 text of its UTF-8 bytes. */
const SPACE =
  "(?:[\\t-\\r ]|\\xc2[\\x85\\xa0]|\\xe1\\x9a\\x80|\\xe2\\x80[\\x80-\\x8a\\xa8\\xa9\\xaf]|\\xe2\\x81\\x9f|\\xe3\\x80\\x80)";
const LEADING_SPACE = new RegExp(`^${SPACE}+`);
const TRAILING_SPACE = new RegExp(`${SPACE}+$`);
/** Beginning of every pointer: most files are told apart by it. */
const BEGINNING = new RegExp(`^${SPACE}*(?:version |ext-)`);

export function isSha256(text: string): boolean {
  return SHA256.test(text);
}

export function formatPointer({ sha256, size }: LfsPointer): Uint8Array {
  return utf8(`version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`);
}

/**
 * Reads a pointer in any form that git-lfs takes: CR LF, blank lines, white space around the whole,
 * the URLs of older versions, lines of extensions, signs and zeroes before the size. Undefined:
 * git-lfs takes it for no pointer.
 */
export function parsePointer(content: Uint8Array): LfsPointer | undefined {
  if (content.length < POINTER_BYTES_MIN || content.length > POINTER_BYTES_MAX) return undefined;
  const text = latin1(content);
  if (!BEGINNING.test(text)) return undefined;
  const values: string[] = [];
  const extensions = new Map<string, string>();
  for (const line of text.replace(LEADING_SPACE, "").replace(TRAILING_SPACE, "").split("\n")) {
    const split = splitLine(line.endsWith("\r") ? line.slice(0, -1) : line);
    if (split === "blank") continue;
    if (split === undefined || values.length === KEYS.length) return undefined;
    if (split.key === KEYS[values.length]) values.push(split.value);
    else if (EXTENSION.test(split.key)) extensions.set(split.key, split.value);
    else return undefined;
  }
  const [version = "", oid = "", size = ""] = values;
  return VERSIONS.has(version) && areExtensions(extensions)
    ? pointerOf(OID_VALUE.exec(oid)?.[1], SIZE.test(size) ? Number(size) : -1)
    : undefined;
}

interface Line {
  readonly key: string;
  readonly value: string;
}

function splitLine(line: string): Line | "blank" | undefined {
  if (line === "") return "blank";
  const space = line.indexOf(" ");
  return space < 0 ? undefined : { key: line.slice(0, space), value: line.slice(space + 1) };
}

/**
 * Returns whether each has an object, and a priority that no other has. Of a line that comes
 * twice the last counts.
 */
function areExtensions(extensions: ReadonlyMap<string, string>): boolean {
  const priorities = new Set(
    [...extensions.keys()].map((key) => key.slice("ext-".length, "ext-".length + 1)),
  );
  return (
    priorities.size === extensions.size &&
    [...extensions.values()].every((value) => OID_VALUE.test(value))
  );
}

function pointerOf(sha256: string | undefined, size: number): LfsPointer | undefined {
  if (sha256 === undefined || !Number.isSafeInteger(size) || size < 0) return undefined;
  return { sha256, size: size === 0 ? 0 : size }; // not -0
}

/** Reads a pointer in its canonical form; undefined: it is none. */
export function parseCanonicalPointer(content: Uint8Array): LfsPointer | undefined {
  return content.length > CANONICAL_BYTES_MAX ? undefined : matchPointer(CANONICAL, content);
}

/**
 * Reads a pointer in the forms that mapping 2 takes from metadata: an id that it has given stays.
 */
export function parseSecondPointer(content: Uint8Array): LfsPointer | undefined {
  return content.length > POINTER_BYTES_MAX + 1 ? undefined : matchPointer(SECOND, content);
}

function matchPointer(form: RegExp, content: Uint8Array): LfsPointer | undefined {
  const match = form.exec(latin1(content));
  return match === null ? undefined : pointerOf(match[1], Number(match[2]));
}
