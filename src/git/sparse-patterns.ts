/**
 * Sparse-checkout patterns as `sparse:oid` uses them: gitignore(5) lines, the last that matches a
 * path decides.
 *
 * A line "# …" is a comment, "!" before a pattern turns it around, "/" at its end asks for a
 * folder. A pattern with another "/" is matched against the whole path from the root, one without
 * against the last component. "*" and "?" do not cross "/", "**" does.
 *
 * The patterns are a client's, so matching is never a search that goes back (glob.ts).
 */
import { latin1 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { WorkBudget } from "../base/work-budget.js";
import { type Glob, parseGlob } from "./glob.js";

interface Pattern {
  readonly include: boolean;
  readonly folderOnly: boolean;
  readonly wholePath: boolean;
  readonly glob: Glob;
}

export class PatternList {
  /** Those with wildcards, last first: each is tried. */
  readonly #globs: readonly (Pattern & { readonly at: number })[];
  /**
   * The last place of each text without wildcards, by what it is held against: lists of plain names
   * cost one look-up, however long.
   */
  readonly #names: ReadonlyMap<string, Literal>;
  readonly #paths: ReadonlyMap<string, Literal>;
  readonly #budget: WorkBudget;

  constructor(patterns: readonly Pattern[], budget: WorkBudget) {
    const numbered = patterns.map((pattern, at) => ({ ...pattern, at }));
    this.#globs = numbered.filter(({ glob }) => glob.literal === undefined).reverse();
    this.#names = literals(numbered.filter(({ wholePath }) => !wholePath));
    this.#paths = literals(numbered.filter(({ wholePath }) => wholePath));
    this.#budget = budget;
  }

  /**
   * Returns whether the last pattern that matches includes `path` (latin1, no "/" around) or
   * excludes it; undefined if none matches.
   */
  matches(path: string, isFolder: boolean): boolean | undefined {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const plain = later(
      lastOf(this.#names.get(name), isFolder),
      lastOf(this.#paths.get(path), isFolder),
    );
    this.#budget.spend(1);
    for (const pattern of this.#globs) {
      if (plain !== undefined && plain.at > pattern.at) break;
      if (pattern.folderOnly && !isFolder) continue;
      if (pattern.glob.matches(pattern.wholePath ? path : name, this.#budget))
        return pattern.include;
    }
    return plain?.include;
  }
}

interface Placed {
  readonly at: number;
  readonly include: boolean;
}

/** The last pattern of one text, of all and of those that are not for folders only. */
interface Literal {
  ofFolders?: Placed;
  ofFiles?: Placed;
}

function literals(
  patterns: readonly (Pattern & { readonly at: number })[],
): ReadonlyMap<string, Literal> {
  const byText = new Map<string, Literal>();
  for (const { glob, folderOnly, include, at } of patterns) {
    if (glob.literal === undefined) continue;
    const literal = byText.get(glob.literal) ?? {};
    literal.ofFolders = { at, include };
    if (!folderOnly) literal.ofFiles = { at, include };
    byText.set(glob.literal, literal);
  }
  return byText;
}

function lastOf(literal: Literal | undefined, isFolder: boolean): Placed | undefined {
  return isFolder ? literal?.ofFolders : literal?.ofFiles;
}

function later(left: Placed | undefined, right: Placed | undefined): Placed | undefined {
  if (left === undefined || right === undefined) return left ?? right;
  return left.at > right.at ? left : right;
}

/**
 * Throws "wire/bad-filter" above LIMITS.sparsePatternBytesMax: every pattern is tried on every
 * path.
 */
export function parsePatterns(text: Uint8Array, budget: WorkBudget): PatternList {
  const { sparsePatternBytesMax } = LIMITS;
  if (text.length > sparsePatternBytesMax)
    throw new Fault("wire/bad-filter", { bytes: text.length, sparsePatternBytesMax });
  const patterns: Pattern[] = [];
  const body = latin1(text);
  // A byte order mark at the start is no part of the first pattern. Git: add_patterns_from_buffer.
  for (const line of (body.startsWith("\xef\xbb\xbf") ? body.slice(3) : body).split("\n")) {
    const pattern = parsePattern(line.replace(/\r$/, ""));
    if (pattern !== undefined) patterns.push(pattern);
  }
  return new PatternList(patterns, budget);
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
