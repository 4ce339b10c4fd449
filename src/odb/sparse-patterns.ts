/**
 * Sparse-checkout patterns as `sparse:oid` uses them: gitignore(5) lines, the last that matches a path decides.
 *
 * A line "# …" is a comment, "!" before a pattern turns it around, "/" at its end asks for a folder. A pattern with another "/" is matched
 * against the whole path from the root, one without against the last component. "*" and "?" do not cross "/", "**" does.
 *
 * The patterns are a client's, so matching is never a search that goes back (glob.ts).
 */
import { latin1 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { type Glob, parseGlob } from "./glob.js";

interface Pattern {
  readonly include: boolean;
  readonly folderOnly: boolean;
  readonly wholePath: boolean;
  readonly glob: Glob;
}

export class PatternList {
  readonly #patterns: readonly Pattern[];

  constructor(patterns: readonly Pattern[]) {
    this.#patterns = patterns;
  }

  /** Whether the last pattern that matches includes or excludes `path` (latin1, no "/" around); undefined: none matches. */
  matches(path: string, isFolder: boolean): boolean | undefined {
    const name = path.slice(path.lastIndexOf("/") + 1);
    for (let at = this.#patterns.length - 1; at >= 0; at--) {
      const pattern = this.#patterns[at] as Pattern;
      if (pattern.folderOnly && !isFolder) continue;
      if (pattern.glob.matches(pattern.wholePath ? path : name)) return pattern.include;
    }
    return undefined;
  }
}

/** Throws "wire/bad-filter" above LIMITS.sparsePatternBytesMax: every pattern is tried on every path. */
export function parsePatterns(text: Uint8Array): PatternList {
  const { sparsePatternBytesMax } = LIMITS;
  if (text.length > sparsePatternBytesMax) throw new Fault("wire/bad-filter", { bytes: text.length, sparsePatternBytesMax });
  const patterns: Pattern[] = [];
  const body = latin1(text);
  // A byte order mark at the start is no part of the first pattern. Git: add_patterns_from_buffer.
  for (const line of (body.startsWith("\xef\xbb\xbf") ? body.slice(3) : body).split("\n")) {
    const pattern = parsePattern(line.replace(/\r$/, ""));
    if (pattern !== undefined) patterns.push(pattern);
  }
  return new PatternList(patterns);
}

function parsePattern(line: string): Pattern | undefined {
  if (line.startsWith("#")) return undefined;
  let text = withoutTrailingSpaces(line);
  const include = !text.startsWith("!");
  if (!include) text = text.slice(1);
  const folderOnly = text.endsWith("/");
  if (folderOnly) text = text.slice(0, -1);
  if (text === "") return undefined;
  const wholePath = text.includes("/");
  if (text.startsWith("/")) text = text.slice(1);
  const glob = parseGlob(text);
  return glob === undefined ? undefined : { include, folderOnly, wholePath, glob };
}

/** gitignore(5): "Trailing spaces are ignored unless they are quoted with backslash". */
function withoutTrailingSpaces(line: string): string {
  let end = line.length;
  while (end > 0 && line[end - 1] === " ") end--;
  let slashes = 0;
  while (slashes < end && line[end - 1 - slashes] === "\\") slashes++;
  return slashes % 2 === 1 && end < line.length ? line.slice(0, end + 1) : line.slice(0, end);
}
