/**
 * Globs as gitignore(5) has them, over latin1 text.
 *
 * anything but "/"     ?  one such     **  between slashes or ends: any folders     [a-z]  [!a-z]
 * [[:alpha:]]  \\x
 *
 * Matching keeps the set of all places in the glob that the text so far can have led to: at most
 * the glob's length, for each character once. Going back over a glob of many stars would take
 * longer than the universe has.
 */
import type { WorkBudget } from "../base/work-budget.js";

/** A step of a glob, and whether it may take a character. */
type Step =
  | {
      readonly kind: "one";
      readonly takes: (code: number) => boolean /** The one it takes, where it takes no other. */;
      readonly only?: number;
    }
  /** Any run without "/". */
  | { readonly kind: "star" }
  /** Any run at all: a trailing "**". */
  | { readonly kind: "rest" }
  /** Nothing, or any run that ends in "/": "**" and its slash. */
  | { readonly kind: "folders" }
  /** Inside such a run. */
  | { readonly kind: "inside" };

const SLASH = 0x2f;

export class Glob {
  /** The one text that matches, where the glob has no wildcard. */
  readonly literal: string | undefined;
  readonly #steps: readonly Step[];
  /**
   * Beginning and end of each text that matches, and its number of slashes where no "**" may take
   * some: most texts are told apart by these.
   */
  readonly #prefix: string;
  readonly #suffix: string;
  readonly #slashes: number | undefined;
  /**
   * Places reached by the text so far and by one character more; each place is on a list once, by
   * its number of the round.
   */
  readonly #rounds: Float64Array;
  #round = 0;
  #places: Int32Array;
  #next: Int32Array;
  #count = 0;

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.literal = literalOf(steps);
    this.#prefix = literalRun(steps);
    this.#suffix = [...literalRun([...steps].reverse())].reverse().join("");
    this.#slashes = steps.some(({ kind }) => kind === "rest" || kind === "folders")
      ? undefined
      : steps.filter((step) => step.kind === "one" && step.only === SLASH).length;
    this.#rounds = new Float64Array(steps.length + 1);
    this.#places = new Int32Array(steps.length + 1);
    this.#next = new Int32Array(steps.length + 1);
  }

  /** Returns whether the whole of `text` matches. `budget` is spent by places looked at. */
  matches(text: string, budget?: WorkBudget): boolean {
    if (this.literal !== undefined) return text === this.literal;
    budget?.spend(1);
    if (!text.startsWith(this.#prefix) || !text.endsWith(this.#suffix)) return false;
    if (this.#slashes !== undefined && this.#slashes !== slashesIn(text)) return false;
    this.#begin();
    this.#enter(0);
    for (let at = 0; at < text.length; at++) {
      const reached = this.#count;
      budget?.spend(reached);
      if (reached === 0) return false;
      [this.#places, this.#next] = [this.#next, this.#places];
      this.#begin();
      const code = text.charCodeAt(at);
      for (let place = 0; place < reached; place++) this.#take(this.#places[place] as number, code);
    }
    return this.#rounds[this.#steps.length] === this.#round;
  }

  #begin(): void {
    this.#round++;
    this.#count = 0;
  }

  /**
   * Puts `place` on the list of the round, and those behind it that need no character to get to.
   */
  #enter(start: number): void {
    for (let place = start; this.#rounds[place] !== this.#round; ) {
      this.#put(place);
      const kind = this.#steps[place]?.kind;
      if (kind === "star" || kind === "rest") place++;
      else if (kind === "folders") place += 2;
      else return;
    }
  }

  #put(place: number): void {
    if (this.#rounds[place] === this.#round) return;
    this.#rounds[place] = this.#round;
    this.#next[this.#count++] = place;
  }

  /** Enters where one character leads from `place`. The end leads nowhere. */
  #take(place: number, code: number): void {
    const step = this.#steps[place];
    switch (step?.kind) {
      case undefined:
        return;
      case "one":
        if (step.takes(code)) this.#enter(place + 1);
        return;
      case "star":
        if (code !== SLASH) this.#enter(place);
        return;
      case "rest":
        this.#enter(place);
        return;
      case "folders":
      case "inside": {
        const inside = step.kind === "inside" ? place : place + 1;
        this.#put(inside);
        if (code === SLASH) this.#enter(inside + 1);
        return;
      }
    }
  }
}

/** The plain characters that steps begin with. */
function literalRun(steps: readonly Step[]): string {
  const end = steps.findIndex((step) => step.kind !== "one" || step.only === undefined);
  return steps
    .slice(0, end < 0 ? steps.length : end)
    .map((step) => String.fromCharCode((step as { only: number }).only))
    .join("");
}

function literalOf(steps: readonly Step[]): string | undefined {
  const run = literalRun(steps);
  return run.length === steps.length ? run : undefined;
}

function slashesIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf("/"); at >= 0; at = text.indexOf("/", at + 1)) count++;
  return count;
}

/**
 * Undefined for one that ends in a lone backslash, which matches nothing. `splits`: Git compares
 * the text before the first wildcard by itself, so that "a**" + "/b" is "a" and then any folders
 * (dir.c match_pathname).
 */
export function parseGlob(glob: string, splits = false): Glob | undefined {
  const steps: Step[] = [];
  const start = splits ? glob.search(/[*?[\\]/) : 0;
  for (let at = 0; at < glob.length; ) {
    const part = starsAt(glob, at, start) ?? classAt(glob, at) ?? charAt(glob, at);
    if (part === undefined) return undefined;
    // A run of "**/" or of stars is one of them.
    const repeats =
      part.steps[0]?.kind !== "one" && part.steps[0]?.kind === steps.at(-part.steps.length)?.kind;
    if (!repeats) for (const step of part.steps) steps.push(step);
    at = part.end;
  }
  return new Glob(steps);
}

interface Part {
  readonly steps: readonly Step[];
  readonly end: number;
}

/** Runs of stars: "**" counts as such only between slashes or ends, of which `start` is one. */
function starsAt(glob: string, at: number, start: number): Part | undefined {
  if (glob[at] !== "*") return undefined;
  let end = at;
  while (glob[end] === "*") end++;
  const alone =
    (at === 0 || at === start || glob[at - 1] === "/") &&
    (end === glob.length || glob[end] === "/");
  if (end - at < 2 || !alone) return { steps: [{ kind: "star" }], end };
  if (end === glob.length) return { steps: [{ kind: "rest" }], end };
  return { steps: [{ kind: "folders" }, { kind: "inside" }], end: end + 1 };
}

const NAMED_CLASSES: Readonly<Record<string, RegExp>> = {
  alnum: /[0-9A-Za-z]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  cntrl: /[\x00-\x1f\x7f]/,
  digit: /[0-9]/,
  graph: /[\x21-\x7e]/,
  lower: /[a-z]/,
  print: /[\x20-\x7e]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /[ \t-\r]/,
  upper: /[A-Z]/,
  xdigit: /[0-9A-Fa-f]/,
};

/**
 * "[…]" with ranges, "!" or "^" for "not", and named classes. Never takes "/". One that is never
 * closed matches nothing.
 */
function classAt(glob: string, at: number): Part | undefined {
  if (glob[at] !== "[") return undefined;
  const isNegated = glob[at + 1] === "!" || glob[at + 1] === "^";
  const first = at + (isNegated ? 2 : 1);
  const members = new Set<number>();
  let before: number | undefined; // what a "-" would start from
  for (let next = first; next < glob.length; ) {
    if (glob[next] === "]" && next > first)
      return one((code) => code !== SLASH && members.has(code) !== isNegated, next + 1);
    const named = /^\[:([a-z]+):\]/.exec(glob.slice(next, next + 12));
    const isRange =
      glob[next] === "-" &&
      before !== undefined &&
      next + 1 < glob.length &&
      glob[next + 1] !== "]";
    if (named !== null) {
      if (NAMED_CLASSES[named[1] ?? ""] === undefined) return one(() => false, glob.length);
      addNamed(members, named[1] ?? "");
      before = undefined;
      next += named[0].length;
    } else {
      const member = memberAt(glob, isRange ? next + 1 : next);
      // A range's first character is a member by itself already: that is all that one upside down
      // has.
      for (let code = (isRange ? before : undefined) ?? member.code; code <= member.code; code++)
        members.add(code);
      before = isRange ? undefined : member.code;
      next = member.end;
    }
  }
  return one(() => false, glob.length);
}

function addNamed(members: Set<number>, name: string): void {
  const expression = NAMED_CLASSES[name];
  for (let code = 0; code < 256; code++)
    if (expression?.test(String.fromCharCode(code)) === true) members.add(code);
}

/** One character of a class; a backslash takes the next one as it is. */
function memberAt(glob: string, at: number): { readonly code: number; readonly end: number } {
  const isEscaped = glob[at] === "\\" && at + 1 < glob.length;
  return isEscaped
    ? { code: glob.charCodeAt(at + 1), end: at + 2 }
    : { code: glob.charCodeAt(at), end: at + 1 };
}

function charAt(glob: string, at: number): Part | undefined {
  if (glob[at] === "?") return one((code) => code !== SLASH, at + 1);
  const from = glob[at] === "\\" ? at + 1 : at;
  if (from >= glob.length) return undefined;
  const wanted = glob.charCodeAt(from);
  return {
    steps: [{ kind: "one", takes: (code) => code === wanted, only: wanted }],
    end: from + 1,
  };
}

function one(takes: (code: number) => boolean, end: number): Part {
  return { steps: [{ kind: "one", takes }], end };
}
