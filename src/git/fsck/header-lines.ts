/**
 * fsck of what has headers: commits and tags. Messages and their order are Git's. git-fsck(1) "FSCK
 * MESSAGES".
 */
import { latin1 } from "../../base/bytes.js";
import { LIMITS } from "../../base/limits.js";
import type { Refusal } from "./refusal.js";
import { type Report, STRICT } from "./levels.js";
import { isRefName } from "../ref-name.js";

const OID_LINE = /^[0-9a-fA-F]{40}\n/;
const TYPES: ReadonlySet<string> = new Set(["commit", "tree", "blob", "tag"]);
/** The largest time Git's 64-bit clock holds. */
const TIME_MAX = 2n ** 63n - 1n;

/** The unread rest of an object, as latin1 text. */
interface Rest {
  text: string;
}

/** "tree", parents, one author, a committer; no NUL anywhere. */
export function checkCommit(data: Uint8Array, report: Report = STRICT): Refusal | undefined {
  const text = latin1(data);
  const rest: Rest = { text };
  const shape =
    checkHeaders(text, report) ?? checkLinks(rest, report) ?? checkAuthors(rest, report);
  if (shape !== undefined) return shape;
  if (!skip(rest, "committer "))
    return report("missingCommitter", "invalid format - expected 'committer' line");
  const bad = checkIdent(rest, report);
  if (bad !== undefined) return bad;
  return text.includes("\0")
    ? report("nulInCommit", "NUL byte in the commit object body")
    : undefined;
}

/** Checks the text behind "author " on its line, by Git's own severities. */
export function checkAuthor(line: string): Refusal | undefined {
  return checkIdent({ text: `${line}\n` }, STRICT);
}

/** Checks the lines whose faults no level lets pass: the rest is then not looked at. */
function checkLinks(rest: Rest, report: Report): Refusal | undefined {
  if (!skip(rest, "tree ")) return report("missingTree", "invalid format - expected 'tree' line");
  if (!skipOid(rest)) return report("badTreeSha1", "invalid 'tree' line format - bad sha1");
  while (skip(rest, "parent ")) {
    if (!skipOid(rest)) return report("badParentSha1", "invalid 'parent' line format - bad sha1");
  }
  return undefined;
}

function checkAuthors(rest: Rest, report: Report): Refusal | undefined {
  let authors = 0;
  for (; skip(rest, "author "); authors++) {
    const bad = checkIdent(rest, report);
    if (bad !== undefined) return bad;
  }
  if (authors === 0) return report("missingAuthor", "invalid format - expected 'author' line");
  return authors > 1
    ? report("multipleAuthors", "invalid format - multiple 'author' lines")
    : undefined;
}

/** "object", "type", "tag"; a missing tagger is only worth a remark, as is an odd name. */
export function checkTag(data: Uint8Array, report: Report = STRICT): Refusal | undefined {
  const text = latin1(data);
  const rest: Rest = { text };
  const shape = checkHeaders(text, report);
  if (shape !== undefined) return shape;
  if (!skip(rest, "object "))
    return report("missingObject", "invalid format - expected 'object' line");
  if (!skipOid(rest)) return report("badObjectSha1", "invalid 'object' line format - bad sha1");
  if (!skip(rest, "type "))
    return report("missingTypeEntry", "invalid format - expected 'type' line");
  const type = takeLine(rest);
  if (type === undefined)
    return report("missingType", "invalid format - unexpected end after 'type' line");
  if (!TYPES.has(type)) return report("badType", "invalid 'type' value");
  return checkNamed(rest, report);
}

/** A tag from its name on. */
function checkNamed(rest: Rest, report: Report): Refusal | undefined {
  if (!skip(rest, "tag ")) return report("missingTagEntry", "invalid format - expected 'tag' line");
  const name = takeLine(rest);
  if (name === undefined)
    return report("missingTag", "invalid format - unexpected end after 'tag' line");
  const badName = isRefName(`refs/tags/${name}`)
    ? undefined
    : report("badTagName", `invalid 'tag' name: ${name.slice(0, LIMITS.messageNameBytesMax)}`);
  if (badName !== undefined) return badName;
  const bad = skip(rest, "tagger ")
    ? checkIdent(rest, report)
    : report("missingTaggerEntry", "invalid format - expected 'tagger' line");
  if (bad !== undefined || rest.text === "" || rest.text.startsWith("\n")) return bad;
  return report("extraHeaderEntry", "invalid format - extra header(s) after 'tagger'");
}

/** Headers hold no NUL and end in an empty line, or with the object's last LF. */
function checkHeaders(text: string, report: Report): Refusal | undefined {
  const end = text.indexOf("\n\n");
  const headers = end < 0 ? text : text.slice(0, end);
  if (headers.includes("\0"))
    return report("nulInHeader", "unterminated header: NUL at offset " + headers.indexOf("\0"));
  if (end < 0 && !text.endsWith("\n")) return report("unterminatedHeader", "unterminated header");
  return undefined;
}

function skip(rest: Rest, word: string): boolean {
  if (!rest.text.startsWith(word)) return false;
  rest.text = rest.text.slice(word.length);
  return true;
}

function skipOid(rest: Rest): boolean {
  if (!OID_LINE.test(rest.text)) return false;
  rest.text = rest.text.slice(41);
  return true;
}

function takeLine(rest: Rest): string | undefined {
  const end = rest.text.indexOf("\n");
  if (end < 0) return undefined;
  const line = rest.text.slice(0, end);
  rest.text = rest.text.slice(end + 1);
  return line;
}

/**
 * The rest of an author, committer or tagger line: "Name <mail> seconds zone\n". The first thing
 * found there is all that is said of it.
 */
function checkIdent(rest: Rest, report: Report): Refusal | undefined {
  const line = takeLine(rest) ?? takeRest(rest);
  const at = (id: string, text: string) => report(id, `invalid author/committer line - ${text}`);
  if (line.startsWith("<")) return at("missingNameBeforeEmail", "missing space before email");
  const open = line.search(/[<>]/);
  if (line[open] === ">") return at("badName", "bad name");
  if (open < 0) return at("missingEmail", "missing email");
  if (line[open - 1] !== " ") return at("missingSpaceBeforeEmail", "missing space before email");
  const close = open + 1 + line.slice(open + 1).search(/[<>]/);
  if (close === open || line[close] !== ">") return at("badEmail", "bad email");
  if (line[close + 1] !== " ") return at("missingSpaceBeforeDate", "missing space before date");
  return checkDate(line.slice(close + 2), at);
}

function takeRest(rest: Rest): string {
  const { text } = rest;
  rest.text = "";
  return text;
}

function checkDate(date: string, at: Report): Refusal | undefined {
  if (/^0(?! )/.test(date)) return at("zeroPaddedDate", "zero-padded date");
  const digits = /^[0-9]*/.exec(date)?.[0] ?? "";
  if (digits !== "" && BigInt(digits) > TIME_MAX)
    return at("badDateOverflow", "date causes integer overflow");
  if (digits === "" || date[digits.length] !== " ") return at("badDate", "bad date");
  if (!/^[+-][0-9]{4}$/.test(date.slice(digits.length + 1)))
    return at("badTimezone", "bad time zone");
  return undefined;
}
