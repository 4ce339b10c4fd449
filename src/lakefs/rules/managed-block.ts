/**
 * The managed block of the root's .gitattributes: what makes git-lfs fetch the pointers that no
 * line of the user's covers.
 *
 *   # lakepack: begin. Lines between these two are written by the server, others are kept.
 *   /.gitattributes merge=union                              since mapping 3: Git merges two branches' blocks by itself
 *   *.safetensors filter=lfs diff=lfs merge=lfs -text        where all files of that final suffix are pointers
 *   "/some/large file" filter=lfs diff=lfs merge=lfs -text   otherwise
 *   # lakepack: end
 *
 * The other lines are sorted bytewise. A block that is there is replaced in its place, a new one
 * goes to the end. Where nothing is to be covered, there is none. A path whose line would be longer
 * than Git reads stays uncovered.
 */
import { concat, fromLatin1, latin1 } from "../../base/bytes.js";
import type { Mapping } from "./contract.js";
import { ATTRIBUTE_LINE_BYTES_MAX } from "../../git/gitattributes.js";
import { baseName } from "./path-rules.js";

const BEGIN =
  "# lakepack: begin. Lines between these two are written by the server, others are kept.\n";
const END = "# lakepack: end\n";
/**
 * Merges of this file take the lines of both sides. Twice a line, or one that covers nothing any
 * more, does no harm, and the next block that the server writes is without them. Known limit: where
 * one side removes the last file of a suffix and the other brings a new one, the suffix's line is
 * gone until that next block.
 */
const MERGED = "/.gitattributes merge=union\n";
const ATTRIBUTES = " filter=lfs diff=lfs merge=lfs -text";
/** Suffixes that need no quoting and hold no glob. */
const PLAIN_SUFFIX = /^[0-9A-Za-z_+-]+$/;

/**
 * Counts of a tree's files that the block is written from: they are kept of each commit, so that
 * the next one needs no listing.
 */
export interface PointerCensus {
  /** Paths of all pointers, sorted bytewise (latin1 text). */
  readonly pointers: readonly string[];
  /** Files that are no pointers, by final suffix. */
  readonly plain: ReadonlyMap<string, number>;
}

/** Returns the text behind the last "." of a name; undefined: there is none. */
export function finalSuffix(path: string): string | undefined {
  const name = baseName(path);
  const dot = name.lastIndexOf(".");
  return dot < 0 || dot === name.length - 1 ? undefined : name.slice(dot + 1);
}

/** The block's text; undefined: nothing to cover. */
export function managedBlock(
  { pointers, plain }: PointerCensus,
  isCovered: (path: string) => boolean,
  { version }: Pick<Mapping, "version">,
): string | undefined {
  const lines = new Set<string>();
  for (const path of pointers) {
    if (isCovered(path)) continue;
    const suffix = finalSuffix(path);
    const bySuffix =
      suffix !== undefined && PLAIN_SUFFIX.test(suffix) && (plain.get(suffix) ?? 0) === 0;
    const line = (bySuffix ? `*.${suffix}` : quotedPattern(path)) + ATTRIBUTES;
    if (line.length <= ATTRIBUTE_LINE_BYTES_MAX) lines.add(line);
  }
  if (lines.size === 0) return undefined;
  return `${BEGIN}${version < 3 ? "" : MERGED}${[...lines].sort().join("\n")}\n${END}`;
}

/** The user's part of the file: all but the block. */
export function withoutBlock(file: Uint8Array): Uint8Array {
  const text = latin1(file);
  const block = findBlock(text);
  return block === undefined
    ? file
    : fromLatin1(text.slice(0, block.start) + text.slice(block.end));
}

/**
 * The file with this block in place of the one it has, or at its end; undefined: there is to be no
 * file.
 */
export function withBlock(
  file: Uint8Array | undefined,
  block: string | undefined,
): Uint8Array | undefined {
  if (file === undefined) return block === undefined ? undefined : fromLatin1(block);
  const text = latin1(file);
  const old = findBlock(text);
  if (old !== undefined)
    return fromLatin1(text.slice(0, old.start) + (block ?? "") + text.slice(old.end));
  if (block === undefined) return file;
  const gap = text === "" || text.endsWith("\n") ? "" : "\n";
  return concat([file, fromLatin1(gap + block)]);
}

function findBlock(text: string): { readonly start: number; readonly end: number } | undefined {
  const start = text.startsWith(BEGIN) ? 0 : text.indexOf(`\n${BEGIN}`) + 1;
  if (start === 0 && !text.startsWith(BEGIN)) return undefined;
  const end = text.indexOf(`\n${END}`, start);
  return end < 0 ? undefined : { start, end: end + 1 + END.length };
}

/**
 * A pattern that matches this path only, in Git's C-style quotes: globs are escaped first, then the
 * quoting's own.
 */
function quotedPattern(path: string): string {
  const glob = `/${path.replace(/[\\*?[]/g, "\\$&")}`;
  const quoted = glob
    .replace(/["\\]/g, "\\$&")
    .replace(/[\x00-\x1f\x7f]/g, (byte) => `\\${byte.charCodeAt(0).toString(8).padStart(3, "0")}`);
  return `"${quoted}"`;
}
