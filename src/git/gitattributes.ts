/**
 * Reads `filter` out of .gitattributes files, the one attribute that makes a file an LFS object.
 *
 *   <pattern> <attribute>…         attribute: name (set), -name (unset), !name (unspecified),
 *                                  name=value
 *   [attr]<macro> <attribute>…     in the root's file only; who sets the macro sets these, in any
 *                                  folder
 *
 * Words are separated by blanks, tabs and CR; patterns may stand in C-style quotes. The last line
 * that matches decides, within a line the last word, and a deeper file before a higher one; what is
 * decided of a macro decides what it brings.
 *
 * Sources: gitattributes(5); attr.c of Git 2.39, parse_attr_line and fill.
 */
import { latin1 } from "../base/bytes.js";
import { LIMITS } from "../base/limits.js";
import type { WorkBudget } from "../base/work-budget.js";
import { type Glob, parseGlob } from "./glob.js";

/** A value; true: set; false: unset; null: unspecified; undefined: no line says anything. */
export type Filter = string | boolean | null | undefined;

interface State {
  readonly name: string;
  readonly value: Exclude<Filter, undefined>;
}

interface Line {
  readonly pattern: string;
  readonly states: readonly State[];
}

type Macros = ReadonlyMap<string, readonly State[]>;

const NO_MACROS: Macros = new Map();
/** Git does not read lines that long. attr.h ATTR_MAX_LINE_LENGTH. */
export const ATTRIBUTE_LINE_BYTES_MAX = 2_047;
const BOM = "\xef\xbb\xbf";
const MACRO = "[attr]";
const BLANKS = /[ \t\r]+/;
const NAME = /^[0-9A-Za-z_.][0-9A-Za-z_.-]*$/;
/** "*" and a text without wildcards: all that most lines are. */
const ENDING = /^\*([^*?[\\/]+)$/;
const LITERAL = /^[^*?[\\]+$/;

/**
 * The lines of one file. Of which folder it is, and of which macros there are, who asks must know.
 */
export class AttributeRules {
  /** Attributes its macros set, where it is the root's file. */
  readonly macros: Macros;
  readonly #lines: readonly Line[];
  #compiled: { readonly macros: Macros; readonly rules: Compiled } | undefined;

  constructor(text: Uint8Array) {
    // Git passes over what is larger as well.
    const all = text.length > LIMITS.specialFileBytesMax ? [] : parseLines(latin1(text));
    this.#lines = all.filter(({ pattern }) => !isMacro(pattern));
    const macros = all.filter(({ pattern }) => isMacro(pattern));
    this.macros =
      macros.length === 0
        ? NO_MACROS
        : new Map(macros.map(({ pattern, states }) => [pattern.slice(MACRO.length), states]));
  }

  /** Adds to `values` what this file says of a path relative to its folder. */
  fill(path: string, values: Values, budget?: WorkBudget): void {
    if (this.#compiled?.macros !== values.macros) {
      this.#compiled = { macros: values.macros, rules: new Compiled(this.#lines, values.macros) };
    }
    this.#compiled.rules.fill(path, values, budget);
  }
}

/** The attributes of one path as far as they are known: `filter`, and macros that lead to it. */
class Values {
  readonly macros: Macros;
  readonly #known = new Map<string, State["value"]>();

  constructor(macros: Macros) {
    this.macros = macros;
  }

  get filter(): Filter {
    return this.#known.get("filter");
  }

  /**
   * Takes a line's words, the last first, and what a macro brings at once: what is known already
   * stays. Macros may name each other in any depth; each is known once.
   */
  take(states: readonly State[], budget: WorkBudget | undefined): void {
    const stack = [{ states, left: states.length }];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      budget?.spend(1);
      if (top.left === 0) {
        stack.pop();
        continue;
      }
      const { name, value } = top.states[--top.left] as State;
      if (this.#known.has(name)) continue;
      this.#known.set(name, value);
      const brings = value === true ? this.macros.get(name) : undefined;
      if (brings !== undefined) stack.push({ states: brings, left: brings.length });
    }
  }
}

interface Rule {
  /** Place of its line among those that count. */
  readonly at: number;
  readonly states: readonly State[];
  readonly glob: Glob;
  readonly wholePath: boolean;
}

/**
 * Lines that can lead to `filter`, found by what they match: most have no wildcard, or one before
 * an ending.
 */
class Compiled {
  readonly #rules: Rule[] = [];
  /** By the path, or by the file's name, that a pattern without wildcards is. */
  readonly #paths = new Map<string, Rule[]>();
  readonly #names = new Map<string, Rule[]>();
  /** By the ending's text from its last dot on, or by "" where it has none. */
  readonly #endings = new Map<string, Rule[]>();
  readonly #others: Rule[] = [];

  constructor(lines: readonly Line[], macros: Macros) {
    const leading = leadingNames(macros);
    for (const { pattern, states } of lines) {
      if (states.some(({ name }) => leading.has(name)))
        this.#add(
          pattern,
          states.filter(({ name }) => leading.has(name)),
        );
    }
  }

  #add(pattern: string, states: readonly State[]): void {
    const wholePath = pattern.includes("/");
    const text = pattern.startsWith("/") ? pattern.slice(1) : pattern;
    const glob = parseGlob(text, true);
    if (glob === undefined) return;
    const rule = { at: this.#rules.length, states, glob, wholePath };
    this.#rules.push(rule);
    const ending = wholePath ? undefined : ENDING.exec(text)?.[1];
    if (ending !== undefined) append(this.#endings, finalSuffixOf(ending), rule);
    else if (LITERAL.test(text)) append(wholePath ? this.#paths : this.#names, text, rule);
    else this.#others.push(rule);
  }

  fill(path: string, values: Values, budget: WorkBudget | undefined): void {
    budget?.spend(1);
    if (this.#rules.length === 0) return;
    const name = path.slice(path.lastIndexOf("/") + 1);
    const matching = (this.#paths.get(path) ?? []).concat(this.#names.get(name) ?? []);
    const dotted = finalSuffixOf(name);
    for (const suffix of dotted === "" ? [""] : ["", dotted])
      this.#match(this.#endings.get(suffix), path, name, matching, budget);
    this.#match(this.#others, path, name, matching, budget);
    budget?.spend(matching.length);
    matching.sort((left, right) => right.at - left.at);
    for (const { states } of matching) {
      values.take(states, budget);
      if (values.filter !== undefined) return;
    }
  }

  #match(
    rules: readonly Rule[] | undefined,
    path: string,
    name: string,
    into: Rule[],
    budget: WorkBudget | undefined,
  ): void {
    for (const rule of rules ?? [])
      if (rule.glob.matches(rule.wholePath ? path : name, budget)) into.push(rule);
  }
}

function append<T>(index: Map<string, T[]>, key: string, item: T): void {
  const held = index.get(key);
  if (held === undefined) index.set(key, [item]);
  else held.push(item);
}

/**
 * From the last dot on; "" where there is none. Two texts of which one ends in the other have the
 * same, or the shorter has none.
 */
function finalSuffixOf(text: string): string {
  const dot = text.lastIndexOf(".");
  return dot < 0 ? "" : text.slice(dot);
}

/** `filter`, and all macros that bring it, if by others. */
function leadingNames(macros: Macros): ReadonlySet<string> {
  const bringing = new Map<string, string[]>();
  for (const [macro, states] of macros) {
    for (const { name } of states) append(bringing, name, macro);
  }
  const names = new Set(["filter"]);
  // What is added while it runs comes as well.
  for (const name of names) for (const macro of bringing.get(name) ?? []) names.add(macro);
  return names;
}

/** The rules of a folder's own file ("" the root, "a/b"); undefined: it has none. */
export type RulesOf = (folder: string) => AttributeRules | undefined;

/** Returns the value of `filter` that a path's attributes give. Throws the budget's fault. */
export function filterOf(path: string, rulesOf: RulesOf, budget?: WorkBudget): Filter {
  const values = new Values(rulesOf("")?.macros ?? NO_MACROS);
  for (let cut = path.lastIndexOf("/"); ; cut = path.lastIndexOf("/", cut - 1)) {
    rulesOf(path.slice(0, Math.max(cut, 0)))?.fill(path.slice(cut + 1), values, budget);
    if (values.filter !== undefined || cut <= 0) return values.filter;
  }
}

/** Returns whether `filter=lfs` holds for `path`. */
export function isLfsPath(path: string, rulesOf: RulesOf, budget?: WorkBudget): boolean {
  return filterOf(path, rulesOf, budget) === "lfs";
}

// Lines -------------------------------------------------------------------------------------------

function parseLines(body: string): Line[] {
  const lines: Line[] = [];
  for (const text of (body.startsWith(BOM) ? body.slice(BOM.length) : body).split("\n")) {
    const end = text.indexOf("\0"); // a C string's
    const line = end < 0 ? text : text.slice(0, end);
    const parsed =
      line.length <= ATTRIBUTE_LINE_BYTES_MAX
        ? parseLine(line.replace(/^[ \t\r]+/, ""))
        : undefined;
    if (parsed !== undefined) lines.push(parsed);
  }
  return lines;
}

/**
 * Undefined where it says nothing to Git, or nothing of files: a name that is none spoils its whole
 * line.
 */
function parseLine(line: string): Line | undefined {
  if (line === "" || line.startsWith("#")) return undefined;
  const { pattern, rest } = splitPattern(line);
  if (
    isMacro(pattern)
      ? !NAME.test(pattern.slice(MACRO.length))
      : pattern.startsWith("!") || pattern.endsWith("/")
  )
    return undefined;
  const states: State[] = [];
  for (const word of rest.split(BLANKS)) {
    if (word === "") continue;
    const state = parseState(word);
    if (state === undefined) return undefined;
    states.push(state);
  }
  return { pattern, states };
}

function isMacro(pattern: string): boolean {
  return pattern.startsWith(MACRO) && pattern.length > MACRO.length;
}

function parseState(word: string): State | undefined {
  const sign = word.startsWith("-") || word.startsWith("!") ? word.slice(0, 1) : "";
  const equals = word.indexOf("=");
  const name = word.slice(sign.length, equals < 0 ? undefined : equals);
  if (!NAME.test(name)) return undefined;
  if (sign !== "") return { name, value: sign === "-" ? false : null };
  return { name, value: equals < 0 ? true : word.slice(equals + 1) };
}

function splitPattern(line: string): { readonly pattern: string; readonly rest: string } {
  const quoted = line.startsWith('"') ? unquote(line) : undefined;
  if (quoted !== undefined) return quoted;
  const end = line.search(BLANKS);
  return end < 0
    ? { pattern: line, rest: "" }
    : { pattern: line.slice(0, end), rest: line.slice(end) };
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  '"': '"',
};

/** Git's C-style quoting; undefined: it is none. quote.c unquote_c_style. */
function unquote(line: string): { readonly pattern: string; readonly rest: string } | undefined {
  const parts: string[] = [];
  for (let at = 1; at < line.length; ) {
    const plain = /^[^"\\]+/.exec(line.slice(at))?.[0];
    if (plain !== undefined) {
      parts.push(plain);
      at += plain.length;
    } else if (line[at] === '"') {
      return { pattern: parts.join(""), rest: line.slice(at + 1) };
    } else {
      const octal = /^[0-3][0-7]{2}/.exec(line.slice(at + 1, at + 4))?.[0];
      const escaped =
        octal === undefined
          ? ESCAPES[line[at + 1] ?? ""]
          : String.fromCharCode(Number.parseInt(octal, 8));
      if (escaped === undefined) return undefined;
      parts.push(escaped);
      at += octal === undefined ? 2 : 4;
    }
  }
  return undefined;
}
