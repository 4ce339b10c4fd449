/**
 * Go's `path.Match`, by which lakeFS holds a branch against the patterns of an action:
 *
 *        any characters but "/"          ?         one character but "/"
 *   [a-z]    one of a class                  [^a-z]    one that is not of it
 *   \x       x itself
 *
 * A malformed pattern matches nothing (lakeFS fails the event then, by itself). Source: Go,
 * src/path/match.go. No regular expression: a pattern of many stars would make one try for ever.
 */

type Term = "*" | ((char: string) => boolean);

/**
 * Returns whether `pattern` matches all of `text`. Takes at most the product of their lengths.
 * `not`: what a class begins with that is to be left out.
 */
export function matchesGlob(pattern: string, text: string, not: "^" | "!" = "^"): boolean {
  const terms = readTerms([...pattern], not);
  return terms !== undefined && matches(terms, [...text]);
}

/**
 * Tries the shortest text for the last star seen, then one character more: earlier stars need not
 * be tried again.
 */
function matches(terms: readonly Term[], chars: readonly string[]): boolean {
  let [term, at] = [0, 0];
  let star: { readonly term: number; at: number } | undefined;
  while (at < chars.length || term < terms.length) {
    const now = terms[term];
    if (now === "*") {
      star = { term: ++term, at };
      continue;
    }
    const char = chars[at];
    if (now !== undefined && char !== undefined && now(char)) {
      term++;
      at++;
      continue;
    }
    const taken = star && chars[star.at];
    if (star === undefined || taken === undefined || taken === "/") return false;
    star.at++;
    [term, at] = [star.term, star.at];
  }
  return true;
}

function readTerms(chars: readonly string[], not: string): readonly Term[] | undefined {
  const terms: Term[] = [];
  for (let at = 0; at < chars.length; ) {
    const char = chars[at] as string;
    if (char === "*") terms.push("*");
    else if (char === "?") terms.push((other) => other !== "/");
    else if (char === "[") {
      const found = readClass(chars, at + 1, not);
      if (found === undefined) return undefined;
      terms.push(found.term);
      at = found.next;
      continue;
    } else {
      if (char === "\\") at++;
      const literal = chars[at];
      if (literal === undefined) return undefined;
      terms.push((other) => other === literal);
    }
    at++;
  }
  return terms;
}

/** `at`: behind the "[". Undefined: it is malformed. */
function readClass(
  chars: readonly string[],
  start: number,
  not: string,
): { readonly term: Term; readonly next: number } | undefined {
  const isNot = chars[start] === not;
  const ranges: (readonly [low: number, high: number])[] = [];
  for (let at = isNot ? start + 1 : start; ; ) {
    if (chars[at] === "]" && ranges.length > 0) {
      const isIn = (char: string) =>
        ranges.some(([low, high]) => low <= codeOf(char) && codeOf(char) <= high);
      return { term: (char) => isIn(char) !== isNot, next: at + 1 };
    }
    const low = readMember(chars, at);
    if (low === undefined) return undefined;
    const high = chars[low.next] === "-" ? readMember(chars, low.next + 1) : low;
    if (high === undefined) return undefined;
    ranges.push([codeOf(low.char), codeOf(high.char)]);
    at = high.next;
  }
}

function readMember(
  chars: readonly string[],
  at: number,
): { readonly char: string; readonly next: number } | undefined {
  const first = chars[at];
  if (first === undefined || first === "-" || first === "]") return undefined;
  const isEscaped = first === "\\";
  const char = isEscaped ? chars[at + 1] : first;
  return char === undefined ? undefined : { char, next: at + (isEscaped ? 2 : 1) };
}

function codeOf(char: string): number {
  return char.codePointAt(0) as number;
}
