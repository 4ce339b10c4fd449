/**
 * Pointers of Git LFS: what stands in a tree in place of a large file.
 *
 *   version https://git-lfs.github.com/spec/v1\n   oid sha256:<64 hex>\n   size <decimal>\n
 *
 * Only this very text, the canonical form, is a pointer to us: whatever else looks like one (extensions, other orders, CR LF) stays a
 * plain file. Source: git-lfs docs/spec.md "The Pointer".
 */
import { latin1, utf8 } from "../base/bytes.js";

export interface LfsPointer {
  /** SHA-256 of the content, 64 lower-case hex digits. */
  readonly sha256: string;
  /** Bytes of the content. */
  readonly size: number;
}

/** The longest canonical pointer: a size of 16 digits. */
export const POINTER_BYTES_MAX = 43 + 76 + 5 + 16 + 1;
const POINTER = /^version https:\/\/git-lfs\.github\.com\/spec\/v1\noid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,15})\n$/;
/** What git-lfs takes for a pointer as well: CR LF, extensions, no line feed at the end. */
const LENIENT_POINTER =
  /^version https:\/\/git-lfs\.github\.com\/spec\/v1\r?\n(?:ext-\d-[0-9A-Za-z.-]+ [^\r\n]*\r?\n)*oid sha256:([0-9a-f]{64})\r?\nsize (0|[1-9][0-9]{0,15})(?:\r?\n)?$/;
/** git-lfs reads no more of a file that may be a pointer. */
export const LENIENT_POINTER_BYTES_MAX = 1_024;
const SHA256 = /^[0-9a-f]{64}$/;

export function isSha256(text: string): boolean {
  return SHA256.test(text);
}

export function formatPointer({ sha256, size }: LfsPointer): Uint8Array {
  return utf8(`version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`);
}

/** Undefined: not a pointer in its canonical form. */
export function parsePointer(content: Uint8Array): LfsPointer | undefined {
  return content.length > POINTER_BYTES_MAX ? undefined : matchPointer(POINTER, content);
}

/** As `parsePointer`, of every form that git-lfs itself would read. */
export function parseLenientPointer(content: Uint8Array): LfsPointer | undefined {
  return content.length > LENIENT_POINTER_BYTES_MAX ? undefined : matchPointer(LENIENT_POINTER, content);
}

function matchPointer(form: RegExp, content: Uint8Array): LfsPointer | undefined {
  const match = form.exec(latin1(content));
  if (match === null) return undefined;
  const size = Number(match[2]);
  return Number.isSafeInteger(size) ? { sha256: match[1] as string, size } : undefined;
}
