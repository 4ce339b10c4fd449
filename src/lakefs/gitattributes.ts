/**
 * What .gitattributes files say of `filter`, the one attribute that makes a file an LFS object.
 *
 *   <pattern> SP <attribute>…     attribute: name (set), -name (unset), !name (unspecified), name=value
 *   [attr]<macro> <attribute>…    in the root's file only
 *
 * The last line that matches decides, and a deeper file before a higher one. Source: gitattributes(5).
 */
import { latin1 } from "../base/bytes.js";
import { LIMITS } from "../base/limits.js";
import { type Glob, parseGlob } from "../odb/glob.js";

/** A value; false: unset or set without one; null: unspecified; undefined: not said here. */
type Filter = string | false | null | undefined;

interface Rule {
  readonly glob: Glob;
  readonly wholePath: boolean;
  readonly filter: string | false | null;
}

/** Git does not read lines that long. attr.h ATTR_MAX_LINE_LENGTH. */
export const ATTRIBUTE_LINE_BYTES_MAX = 2_047;
const BOM = "\xef\xbb\xbf";

export class AttributeRules {
  readonly #rules: Rule[] = [];

  constructor(text: Uint8Array) {
    if (text.length > LIMITS.specialFileBytesMax) return; // Git passes it over as well
    const macros = new Map<string, string | false | null>();
    const body = latin1(text);
    for (const line of (body.startsWith(BOM) ? body.slice(3) : body).split("\n")) {
      if (line.length <= ATTRIBUTE_LINE_BYTES_MAX) this.#add(line.replace(/\r$/, "").replace(/^[ \t]+/, ""), macros);
    }
  }

  #add(line: string, macros: Map<string, string | false | null>): void {
    if (line === "" || line.startsWith("#")) return;
    const { pattern, rest } = splitPattern(line);
    const filter = filterOf(rest, macros);
    if (filter === undefined) return;
    if (pattern.startsWith("[attr]")) {
      macros.set(pattern.slice("[attr]".length), filter);
      return;
    }
    if (pattern.startsWith("!") || pattern.endsWith("/")) return; // Git: negative patterns are forbidden, folders have no attributes
    const wholePath = pattern.includes("/");
    const glob = parseGlob(pattern.startsWith("/") ? pattern.slice(1) : pattern);
    if (glob !== undefined) this.#rules.push({ glob, wholePath, filter });
  }

  /** `path`: relative to the file's folder. */
  filter(path: string): Filter {
    const name = path.slice(path.lastIndexOf("/") + 1);
    for (let at = this.#rules.length - 1; at >= 0; at--) {
      const rule = this.#rules[at] as Rule;
      if (rule.glob.matches(rule.wholePath ? path : name)) return rule.filter;
    }
    return undefined;
  }
}

/** Whether `filter=lfs` holds for `path`. `rulesOf`: the rules of a folder's own file ("" the root, "a/b"); undefined: it has none. */
export function isLfsPath(path: string, rulesOf: (folder: string) => AttributeRules | undefined): boolean {
  for (let cut = path.lastIndexOf("/"); ; cut = path.lastIndexOf("/", cut - 1)) {
    const filter = rulesOf(path.slice(0, Math.max(cut, 0)))?.filter(path.slice(cut + 1));
    if (filter !== undefined) return filter === "lfs";
    if (cut <= 0) return false;
  }
}

function splitPattern(line: string): { readonly pattern: string; readonly rest: string } {
  if (line.startsWith('"')) {
    const match = /^"((?:[^"\\]|\\.)*)"(?=[ \t]|$)/.exec(line);
    if (match !== null) return { pattern: unquote(match[1] as string), rest: line.slice(match[0].length) };
  }
  const end = line.search(/[ \t]/);
  return end < 0 ? { pattern: line, rest: "" } : { pattern: line.slice(0, end), rest: line.slice(end) };
}

const ESCAPES: Readonly<Record<string, string>> = { a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v", "\\": "\\", '"': '"' };

/** Git's C-style quoting. quote.c unquote_c_style. */
function unquote(text: string): string {
  return text.replace(/\\([0-3][0-7]{2}|.)/g, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (ESCAPES[code] ?? code),
  );
}

function filterOf(attributes: string, macros: ReadonlyMap<string, string | false | null>): Filter {
  let filter: Filter;
  for (const word of attributes.split(/[ \t]+/)) {
    if (word.startsWith("filter=")) filter = word.slice("filter=".length);
    else if (word === "filter" || word === "-filter") filter = false;
    else if (word === "!filter") filter = null;
    else if (macros.has(word)) filter = macros.get(word);
  }
  return filter;
}
