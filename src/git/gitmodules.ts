/** The settings of submodules in a .gitmodules blob, and which of them Git refuses to take in. gitmodules(5), git-config(1) "Syntax". */
import { latin1 } from "../base/bytes.js";
import type { Refusal } from "./fsck.js";

export interface SubmoduleSetting {
  /** Subsection: what stands in quotes after "submodule". */
  readonly name: string;
  /** Lower case. */
  readonly key: string;
  readonly value: string;
}

/** Settings of `[submodule "name"]` sections up to the first line that is no config. Text is latin1. */
export function* readSubmodules(data: Uint8Array): Generator<SubmoduleSetting> {
  const text = latin1(data).replaceAll("\r\n", "\n");
  let name: string | undefined;
  let at = text.startsWith("\xef\xbb\xbf") ? 3 : 0;
  while (at < text.length) {
    const blank = /^[\s]+|^[#;][^\n]*/.exec(text.slice(at, at + 65_536))?.[0];
    if (blank) {
      at += blank.length;
      continue;
    }
    if (text[at] === "[") {
      const section = readSection(text, at);
      if (section === undefined) return;
      name = section.submodule;
      at = section.end;
      continue;
    }
    const setting = readSetting(text, at);
    if (setting === undefined) return;
    if (name !== undefined) yield { name, key: setting.key, value: setting.value };
    at = setting.end;
  }
}

interface Section {
  readonly submodule: string | undefined;
  readonly end: number;
}

function readSection(text: string, start: number): Section | undefined {
  const plain = /^\[([0-9A-Za-z.-]+)\]/.exec(text.slice(start, start + 4_096));
  if (plain) {
    const [, word = ""] = plain;
    const old = /^submodule\.(.*)$/i.exec(word)?.[1]; // "[submodule.name]", the old spelling: lower case
    return { submodule: old?.toLowerCase(), end: start + plain[0].length };
  }
  const quoted = /^\[([0-9A-Za-z.-]+)[ \t]+"((?:[^"\\\n]|\\[^\n])*)"\]/.exec(text.slice(start, start + 65_536));
  if (!quoted) return undefined;
  const [whole, word = "", escaped = ""] = quoted;
  const submodule = word.toLowerCase() === "submodule" ? escaped.replace(/\\(.)/g, "$1") : undefined;
  return { submodule, end: start + whole.length };
}

function readSetting(text: string, start: number): { key: string; value: string; end: number } | undefined {
  const head = /^([A-Za-z][0-9A-Za-z-]*)[ \t]*(=|\n|$)/.exec(text.slice(start, start + 4_096));
  if (!head) return undefined;
  const [whole, key = "", sign] = head;
  const at = start + whole.length;
  if (sign !== "=") return { key: key.toLowerCase(), value: "", end: at };
  const read = readValue(text, at);
  return read && { key: key.toLowerCase(), ...read };
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", b: "\b", '"': '"', "\\": "\\" };

/** A value up to the end of its line: quotes, escapes, continued lines, comments. */
function readValue(text: string, start: number): { value: string; end: number } | undefined {
  let value = "";
  let kept = 0; // length up to which blanks are part of the value
  let quoted = false;
  let at = start;
  for (; at < text.length; at++) {
    const char = text[at] as string;
    if (char === "\n") {
      if (quoted) return undefined;
      break;
    }
    if (!quoted && (char === "#" || char === ";")) {
      while (at < text.length && text[at] !== "\n") at++;
      break;
    }
    if (char === '"') quoted = !quoted;
    else if (char === "\\") {
      const next = text[++at];
      if (next === "\n") continue;
      const meant = next === undefined ? undefined : ESCAPES[next];
      if (meant === undefined) return undefined;
      value += meant;
      kept = value.length;
    } else if (quoted || !/\s/.test(char)) {
      value += char;
      kept = value.length;
    } else if (value.length > 0) value += char;
  }
  return quoted ? undefined : { value: value.slice(0, kept), end: at };
}

// Judgement ---------------------------------------------------------------------------------------------------------------
export function submoduleRefusal({ name, key, value }: SubmoduleSetting): Refusal | undefined {
  if (!isGoodName(name)) return { id: "gitmodulesName", text: `disallowed submodule name: ${name}` };
  if (key === "url" && !isGoodUrl(value)) return { id: "gitmodulesUrl", text: `disallowed submodule url: ${value}` };
  if (key === "path" && value.startsWith("-")) return { id: "gitmodulesPath", text: `disallowed submodule path: ${value}` };
  if (key === "update" && value.startsWith("!")) return { id: "gitmodulesUpdate", text: `disallowed submodule update setting: ${value}` };
  return undefined;
}

/** A name becomes a folder below .git/modules: no part of it may be "..". */
function isGoodName(name: string): boolean {
  return name !== "" && !name.split(/[/\\]/).includes("..");
}

/** URLs that could be taken for an option, smuggle a line feed, or climb out of their host (CVE-2018-17456, CVE-2020-11008). */
function isGoodUrl(url: string): boolean {
  if (url.startsWith("-")) return false;
  if (/^\.\.?[/\\]/.test(url)) return !hasLineFeed(url) && !/^(?:\.\.?\/)*\.\.\/[:/]/.test(url);
  const remote = /^(?:(?:https?|ftps?)::)?((?:https?|ftps?):\/\/.*)$/s.exec(url)?.[1] ?? /^(?:https?|ftps?)::(.*)$/s.exec(url)?.[1];
  if (remote === undefined) return true;
  return isHttpUrl(remote) && !hasLineFeed(remote);
}

function hasLineFeed(url: string): boolean {
  return url.includes("\n") || /%0a/i.test(url);
}

/** What Git can normalise: a scheme, a host, a port that is a number, complete percent escapes. */
function isHttpUrl(url: string): boolean {
  const match = /^[a-z][a-z0-9+.-]*:\/\/(?:[^@/?#]*@)?([^:/?#]*)(?::([0-9]*))?(?:[/?#]|$)/is.exec(url);
  if (!match || match[1] === "" || /%(?![0-9a-f]{2})/i.test(url)) return false;
  const port = match[2] ?? "";
  return port === "" || (Number(port) > 0 && Number(port) < 65_536);
}
