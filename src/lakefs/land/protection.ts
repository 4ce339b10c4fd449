/**
 * lakeFS's branch protection: glob patterns over branch ids. Merges pass it in lakeFS, so a push
 * must ask for itself.
 *
 * ?         as in a shell           [a-z]  [!a-z]     one character of a class, or not of it
 *   {a,b}        either; may be nested   \x                x itself
 *
 * Source: github.com/gobwas/glob, as lakeFS 1.86 compiles patterns: without separators. A branch id
 * holds none of these characters.
 */
import { LIMITS } from "../../base/limits.js";
import { matchesGlob } from "../api/go-glob.js";

export function isProtected(branch: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) =>
    alternatives(pattern).some((one) => matchesGlob(one, branch, "!")),
  );
}

/**
 * The patterns that a pattern with braces stands for; itself where they are too many to be looked
 * at, or do not pair.
 */
function alternatives(pattern: string): readonly string[] {
  const found: string[] = [];
  const left = [pattern];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const group = innerGroup(next);
    if (group === undefined) found.push(next);
    else for (const item of group.items) left.push(group.before + item + group.after);
    if (found.length + left.length > LIMITS.protectionAlternativesMax) return [pattern];
  }
  return found;
}

interface Group {
  readonly before: string;
  readonly items: readonly string[];
  readonly after: string;
}

/** The first pair of braces that holds no other; undefined: there is none. */
function innerGroup(pattern: string): Group | undefined {
  let open: number | undefined;
  let commas: number[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at];
    if (char === "\\") at++;
    else if (char === "{") [open, commas] = [at, []];
    else if (char === "," && open !== undefined) commas.push(at);
    else if (char === "}" && open !== undefined) {
      const ends = [...commas, at];
      const starts = [open, ...commas].map((start) => start + 1);
      const items = starts.map((start, index) => pattern.slice(start, ends[index]));
      return { before: pattern.slice(0, open), items, after: pattern.slice(at + 1) };
    }
  }
  return undefined;
}
