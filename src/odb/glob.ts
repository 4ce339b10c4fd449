/**
 * Globs as gitignore(5) has them, over latin1 text.
 *
 *   *  anything but "/"     ?  one such     **  between slashes or ends: any folders     [a-z]  [!a-z]  [[:alpha:]]  \\x
 *
 * Matching keeps the set of all places in the glob that the text so far can have led to: at most the glob's length, for each
 * character once. Going back over a glob of many stars would take longer than the universe has.
 */

/** A step of a glob, and whether it may take a character. */
type Step =
  | { readonly kind: "one"; readonly takes: (code: number) => boolean }
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
  readonly #steps: readonly Step[];

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
  }

  /** Whether the whole of `text` matches. */
  matches(text: string): boolean {
    let places = new Uint8Array(this.#steps.length + 1);
    this.#enter(places, 0);
    for (let at = 0; at < text.length; at++) {
      const next = new Uint8Array(places.length);
      const code = text.charCodeAt(at);
      let alive = false;
      for (let place = 0; place < this.#steps.length; place++) if (places[place] === 1 && this.#take(next, place, code)) alive = true;
      if (!alive) return false;
      places = next;
    }
    return places[this.#steps.length] === 1;
  }

  /** Marks `place`, and those behind it that need no character to get to. */
  #enter(places: Uint8Array, place: number): void {
    places[place] = 1;
    const step = this.#steps[place];
    if (step?.kind === "star" || step?.kind === "rest") this.#enter(places, place + 1);
    else if (step?.kind === "folders") this.#enter(places, place + 2);
  }

  /** Where one character leads from `place`; false: nowhere. */
  #take(next: Uint8Array, place: number, code: number): boolean {
    const step = this.#steps[place] as Step;
    switch (step.kind) {
      case "one":
        if (!step.takes(code)) return false;
        this.#enter(next, place + 1);
        return true;
      case "star":
        if (code === SLASH) return false;
        this.#enter(next, place);
        return true;
      case "rest":
        this.#enter(next, place);
        return true;
      case "folders":
      case "inside": {
        const inside = step.kind === "inside" ? place : place + 1;
        next[inside] = 1;
        if (code === SLASH) this.#enter(next, inside + 1);
        return true;
      }
    }
  }
}

/** Undefined for one that ends in a lone backslash, which matches nothing. */
export function parseGlob(glob: string): Glob | undefined {
  const steps: Step[] = [];
  for (let at = 0; at < glob.length; ) {
    const part = starsAt(glob, at) ?? classAt(glob, at) ?? charAt(glob, at);
    if (part === undefined) return undefined;
    steps.push(...part.steps);
    at = part.end;
  }
  return new Glob(steps);
}

interface Part {
  readonly steps: readonly Step[];
  readonly end: number;
}

/** Runs of stars: "**" counts as such only between slashes or ends. */
function starsAt(glob: string, at: number): Part | undefined {
  if (glob[at] !== "*") return undefined;
  let end = at;
  while (glob[end] === "*") end++;
  const alone = (at === 0 || glob[at - 1] === "/") && (end === glob.length || glob[end] === "/");
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

/** "[…]" with ranges, "!" or "^" for "not", and named classes. Never takes "/". One that is never closed matches nothing. */
function classAt(glob: string, at: number): Part | undefined {
  if (glob[at] !== "[") return undefined;
  const isNegated = glob[at + 1] === "!" || glob[at + 1] === "^";
  const first = at + (isNegated ? 2 : 1);
  const members = new Set<number>();
  let before: number | undefined; // what a "-" would start from
  for (let next = first; next < glob.length; ) {
    if (glob[next] === "]" && next > first) return one((code) => code !== SLASH && members.has(code) !== isNegated, next + 1);
    const named = /^\[:([a-z]+):\]/.exec(glob.slice(next, next + 12));
    const isRange = glob[next] === "-" && before !== undefined && next + 1 < glob.length && glob[next + 1] !== "]";
    if (named !== null) {
      addNamed(members, named[1] ?? "");
      before = undefined;
      next += named[0].length;
    } else {
      const member = memberAt(glob, isRange ? next + 1 : next);
      // A range's first character is a member by itself already: that is all that one upside down has.
      for (let code = (isRange ? before : undefined) ?? member.code; code <= member.code; code++) members.add(code);
      before = isRange ? undefined : member.code;
      next = member.end;
    }
  }
  return one(() => false, glob.length);
}

function addNamed(members: Set<number>, name: string): void {
  const expression = NAMED_CLASSES[name];
  for (let code = 0; code < 256; code++) if (expression?.test(String.fromCharCode(code)) === true) members.add(code);
}

/** One character of a class; a backslash takes the next one as it is. */
function memberAt(glob: string, at: number): { readonly code: number; readonly end: number } {
  const isEscaped = glob[at] === "\\" && at + 1 < glob.length;
  return isEscaped ? { code: glob.charCodeAt(at + 1), end: at + 2 } : { code: glob.charCodeAt(at), end: at + 1 };
}

function charAt(glob: string, at: number): Part | undefined {
  if (glob[at] === "?") return one((code) => code !== SLASH, at + 1);
  const from = glob[at] === "\\" ? at + 1 : at;
  if (from >= glob.length) return undefined;
  const wanted = glob.charCodeAt(from);
  return one((code) => code === wanted, from + 1);
}

function one(takes: (code: number) => boolean, end: number): Part {
  return { steps: [{ kind: "one", takes }], end };
}
