/**
 * Sparse-checkout patterns as `sparse:oid` uses them: gitignore(5) lines, the last that matches a path decides.
 *
 * A line "# …" is a comment, "!" before a pattern turns it around, "/" at its end asks for a folder. A pattern with another "/" is matched
 * against the whole path from the root, one without against the last component. "*" and "?" do not cross "/", "**" does.
 */
import { latin1 } from "../base/bytes.js";

interface Pattern {
  readonly include: boolean;
  readonly folderOnly: boolean;
  readonly wholePath: boolean;
  readonly expression: RegExp;
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
      if (pattern.expression.test(pattern.wholePath ? path : name)) return pattern.include;
    }
    return undefined;
  }
}

export function parsePatterns(text: Uint8Array): PatternList {
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
  const expression = toExpression(text);
  return expression === undefined ? undefined : { include, folderOnly, wholePath, expression };
}

/** gitignore(5): "Trailing spaces are ignored unless they are quoted with backslash". */
function withoutTrailingSpaces(line: string): string {
  let end = line.length;
  while (end > 0 && line[end - 1] === " ") end--;
  let slashes = 0;
  while (slashes < end && line[end - 1 - slashes] === "\\") slashes++;
  return slashes % 2 === 1 && end < line.length ? line.slice(0, end + 1) : line.slice(0, end);
}

/** A whole-text expression of a glob; undefined for one that ends in a lone backslash, which matches nothing. */
function toExpression(glob: string): RegExp | undefined {
  let source = "";
  for (let at = 0; at < glob.length; ) {
    const part = starsAt(glob, at) ?? classAt(glob, at) ?? charAt(glob, at);
    if (part === undefined) return undefined;
    source += part.source;
    at = part.end;
  }
  return new RegExp(`^${source}$`, "s");
}

interface Part {
  readonly source: string;
  readonly end: number;
}

/** Runs of stars: "**" counts as such only between slashes or ends. */
function starsAt(glob: string, at: number): Part | undefined {
  if (glob[at] !== "*") return undefined;
  let end = at;
  while (glob[end] === "*") end++;
  const alone = (at === 0 || glob[at - 1] === "/") && (end === glob.length || glob[end] === "/");
  if (end - at < 2 || !alone) return { source: "[^/]*", end };
  if (end === glob.length) return { source: ".*", end };
  return { source: "(?:.*/)?", end: end + 1 };
}

const NAMED_CLASSES: Readonly<Record<string, string>> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  blank: " \\t",
  cntrl: "\\x00-\\x1f\\x7f",
  digit: "0-9",
  graph: "\\x21-\\x7e",
  lower: "a-z",
  print: "\\x20-\\x7e",
  punct: "!-\\/:-@\\[-`{-~",
  space: "\\s",
  upper: "A-Z",
  xdigit: "0-9A-Fa-f",
};

/** "[…]" with ranges, "!" or "^" for "not", and named classes. Never matches "/". One that is never closed matches nothing. */
function classAt(glob: string, at: number): Part | undefined {
  if (glob[at] !== "[") return undefined;
  const isNegated = glob[at + 1] === "!" || glob[at + 1] === "^";
  const first = at + (isNegated ? 2 : 1);
  let members = "";
  let before: string | undefined; // what a "-" would start from
  for (let next = first; next < glob.length; ) {
    if (glob[next] === "]" && next > first) return { source: `(?!/)[${isNegated ? "^" : ""}${members}]`, end: next + 1 };
    const named = /^\[:([a-z]+):\]/.exec(glob.slice(next, next + 12));
    const isRange = glob[next] === "-" && before !== undefined && next + 1 < glob.length && glob[next + 1] !== "]";
    if (named !== null) {
      members += NAMED_CLASSES[named[1] ?? ""] ?? "";
      before = undefined;
      next += named[0].length;
    } else {
      const member = memberAt(glob, isRange ? next + 1 : next);
      // Its first character is a member by itself already: that is all that a range upside down has.
      if (!isRange) members += codeOf(member.char);
      else if (before !== undefined && before <= member.char) members += `${codeOf(before)}-${codeOf(member.char)}`;
      before = isRange ? undefined : member.char;
      next = member.end;
    }
  }
  return { source: "(?!)", end: glob.length };
}

/** One character of a class; a backslash takes the next one as it is. */
function memberAt(glob: string, at: number): { readonly char: string; readonly end: number } {
  const isEscaped = glob[at] === "\\" && at + 1 < glob.length;
  return isEscaped ? { char: glob[at + 1] as string, end: at + 2 } : { char: glob[at] as string, end: at + 1 };
}

/** A latin1 character as an expression writes it inside a class. */
function codeOf(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

function charAt(glob: string, at: number): Part | undefined {
  const char = glob[at] as string;
  if (char === "?") return { source: "[^/]", end: at + 1 };
  if (char !== "\\") return { source: quoted(char), end: at + 1 };
  const next = glob[at + 1];
  return next === undefined ? undefined : { source: quoted(next), end: at + 2 };
}

function quoted(char: string): string {
  return char.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
}
