/**
 * The settings of submodules in a .gitmodules blob, and which of them Git refuses to take in.
 * gitmodules(5), git-config(1) "Syntax".
 */
import { latin1 } from "../../base/bytes.js";
import { LIMITS } from "../../base/limits.js";
import type { Refusal } from "./refusal.js";
import { type Report, STRICT } from "./levels.js";

export interface SubmoduleSetting {
  /** Subsection: what stands in quotes after "submodule". */
  readonly name: string;
  /** Lower case. */
  readonly key: string;
  readonly value: string;
}

/**
 * Settings of `[submodule "name"]` sections up to the first line that is no config: the generator's
 * result is whether it met one. Text is latin1.
 */
export function* readSubmodules(data: Uint8Array): Generator<SubmoduleSetting, boolean> {
  const text = latin1(data).replaceAll("\r\n", "\n");
  let name: string | undefined;
  let at = text.startsWith("\xef\xbb\xbf") ? 3 : 0;
  while (at < text.length) {
    BLANK.lastIndex = at;
    at += BLANK.exec(text)?.[0].length ?? 0;
    if (text[at] === "#" || text[at] === ";") {
      const end = text.indexOf("\n", at);
      at = end < 0 ? text.length : end;
      continue;
    }
    if (at === text.length) return false;
    if (text[at] === "[") {
      const section = readSection(text, at);
      if (section === undefined) return true;
      name = section.submodule;
      at = section.end;
      continue;
    }
    const setting = readSetting(text, at);
    if (setting === undefined) return true;
    if (name !== undefined) yield { name, key: setting.key, value: setting.value };
    at = setting.end;
  }
  return false;
}

interface Section {
  readonly submodule: string | undefined;
  readonly end: number;
}

// Sticky and over the whole text: Git knows no longest line, so none may end what is looked at.
const BLANK = /\s*/y;
const SECTION = /\[([0-9A-Za-z.-]+)(\]|[ \t]+")/y;
const SETTING = /([A-Za-z][0-9A-Za-z-]*)[ \t]*(=|\n|$)/y;

function readSection(text: string, start: number): Section | undefined {
  SECTION.lastIndex = start;
  const head = SECTION.exec(text);
  if (!head) return undefined;
  const [whole, word = "", sign] = head;
  const at = start + whole.length;
  if (sign !== "]") return readQuotedSection(text, at, word);
  const old = /^submodule\.(.*)$/i.exec(word)?.[1]; // "[submodule.name]", the old spelling: lower case
  return { submodule: old?.toLowerCase(), end: at };
}

/**
 * The rest of `[word "…"]`, from behind the first quote on. A backslash keeps what follows, and is
 * gone.
 */
function readQuotedSection(text: string, start: number, word: string): Section | undefined {
  const parts: string[] = [];
  let from = start;
  let at = start;
  for (; text[at] !== '"'; at++) {
    if (text[at] === "\\") {
      parts.push(text.slice(from, at));
      from = ++at;
    }
    if (at >= text.length || text[at] === "\n") return undefined;
  }
  if (text[at + 1] !== "]") return undefined;
  parts.push(text.slice(from, at));
  return {
    submodule: word.toLowerCase() === "submodule" ? parts.join("") : undefined,
    end: at + 2,
  };
}

function readSetting(
  text: string,
  start: number,
): { key: string; value: string; end: number } | undefined {
  SETTING.lastIndex = start;
  const head = SETTING.exec(text);
  if (!head) return undefined;
  const [whole, key = "", sign] = head;
  const at = start + whole.length;
  if (sign !== "=") return { key: key.toLowerCase(), value: "", end: at };
  const read = readValue(text, at);
  return read && { key: key.toLowerCase(), ...read };
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  b: "\b",
  '"': '"',
  "\\": "\\",
};

const [LINE_FEED, QUOTE, BACKSLASH, HASH, SEMICOLON] = [0x0a, 0x22, 0x5c, 0x23, 0x3b];

/** Returns the place of the next character that is not plain. */
function plainEnd(text: string, start: number): number {
  let at = start;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (
      code === BACKSLASH ||
      code === LINE_FEED ||
      code === QUOTE ||
      code === HASH ||
      code === SEMICOLON
    )
      break;
  }
  return at;
}

/**
 * A value up to the end of its line: quotes, escapes, continued lines, comments. Of one that is too
 * long for any use, the beginning.
 */
function readValue(text: string, start: number): { value: string; end: number } | undefined {
  const parts: string[] = []; // runs, not characters: a value may be as long as the file
  let length = 0;
  let kept = 0; // length up to which blanks are part of the value
  let quoted = false;
  let at = start;
  const add = (part: string, isKept: boolean) => {
    if (length <= URL_BYTES_MAX) parts.push(part);
    const solid = isKept ? part.length : part.trimEnd().length;
    if (solid > 0) kept = length + solid;
    length += part.length;
  };
  for (;;) {
    const end = plainEnd(text, at);
    if (end > at) {
      const run = text.slice(at, end);
      const plain = quoted || length > 0 ? run : run.trimStart();
      if (plain.length > 0) add(plain, quoted);
      at = end;
    }
    const char = text[at];
    if (char === undefined || char === "\n") {
      if (quoted) return undefined;
      break;
    }
    if (char === '"') quoted = !quoted;
    else if (char === "\\") {
      const next = text[++at];
      if (next !== "\n") {
        const meant = next === undefined ? undefined : ESCAPES[next];
        if (meant === undefined) return undefined;
        add(meant, true);
      }
    } else if (quoted) add(char, true);
    else {
      const end = text.indexOf("\n", at);
      at = end < 0 ? text.length : end;
      break;
    }
    at++;
  }
  return { value: parts.join("").slice(0, kept), end: at };
}

// Judgement ---------------------------------------------------------------------------------------
export function submoduleRefusal(
  { name, key, value }: SubmoduleSetting,
  report: Report = STRICT,
): Refusal | undefined {
  const says = (text: string) => text.slice(0, LIMITS.messageNameBytesMax);
  const badName = isGoodName(name)
    ? undefined
    : report("gitmodulesName", `disallowed submodule name: ${says(name)}`);
  if (badName !== undefined) return badName;
  if (key === "url" && !isGoodUrl(value))
    return report("gitmodulesUrl", `disallowed submodule url: ${says(value)}`);
  if (key === "path" && value.startsWith("-"))
    return report("gitmodulesPath", `disallowed submodule path: ${says(value)}`);
  if (key === "update" && value.startsWith("!")) {
    return report("gitmodulesUpdate", `disallowed submodule update setting: ${says(value)}`);
  }
  return undefined;
}

/** A name becomes a folder below .git/modules: no part of it may be "..". */
function isGoodName(name: string): boolean {
  return name !== "" && !name.split(/[/\\]/).includes("..");
}

/** Web servers take heads of 8 KiB. */
const URL_BYTES_MAX = 65_536;

/**
 * URLs that could be taken for an option, smuggle a line feed, or climb out of their host
 * (CVE-2018-17456, CVE-2020-11008).
 */
function isGoodUrl(url: string): boolean {
  if (url.length > URL_BYTES_MAX) return false; // no host takes it, and the patterns below keep a place for each of its parts
  if (url.startsWith("-")) return false;
  if (/^\.\.?[/\\]/.test(url)) return !hasLineFeed(url) && !/^(?:\.\.?\/)*\.\.\/[:/]/.test(url);
  const remote =
    /^(?:(?:https?|ftps?)::)?((?:https?|ftps?):\/\/.*)$/s.exec(url)?.[1] ??
    /^(?:https?|ftps?)::(.*)$/s.exec(url)?.[1];
  if (remote === undefined) return true;
  return isHttpUrl(remote) && !hasLineFeed(remote);
}

function hasLineFeed(url: string): boolean {
  return url.includes("\n") || /%0a/i.test(url);
}

/**
 * Returns whether Git can normalise the address: a scheme, a host, a port that is a number,
 * complete percent escapes.
 */
function isHttpUrl(url: string): boolean {
  const match = /^[a-z][a-z0-9+.-]*:\/\/(?:[^@/?#]*@)?([^:/?#]*)(?::([0-9]*))?(?:[/?#]|$)/is.exec(
    url,
  );
  if (!match || match[1] === "" || /%(?![0-9a-f]{2})/i.test(url)) return false;
  const port = match[2] ?? "";
  return port === "" || (Number(port) > 0 && Number(port) < 65_536);
}
