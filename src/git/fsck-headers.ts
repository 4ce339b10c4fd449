/** fsck of what has headers: commits and tags. Messages and their order are Git's. git-fsck(1) "FSCK MESSAGES". */
import { latin1 } from "../base/bytes.js";
import type { Refusal } from "./fsck.js";

const OID_LINE = /^[0-9a-fA-F]{40}\n/;
const TYPES = new Set(["commit", "tree", "blob", "tag"]);
/** The largest time Git's 64-bit clock holds. */
const TIME_MAX = 2n ** 63n - 1n;

/** What is left to read of an object, as latin1 text. */
interface Rest {
  text: string;
}

/** "tree", parents, one author, a committer; no NUL anywhere. */
export function checkCommit(data: Uint8Array): Refusal | undefined {
  const text = latin1(data);
  const rest: Rest = { text };
  const shape = checkHeaders(text);
  if (shape !== undefined) return shape;
  if (!skip(rest, "tree ")) return { id: "missingTree", text: "invalid format - expected 'tree' line" };
  if (!skipOid(rest)) return { id: "badTreeSha1", text: "invalid 'tree' line format - bad sha1" };
  while (skip(rest, "parent ")) {
    if (!skipOid(rest)) return { id: "badParentSha1", text: "invalid 'parent' line format - bad sha1" };
  }
  let authors = 0;
  for (; skip(rest, "author "); authors++) {
    const bad = checkIdent(rest);
    if (bad !== undefined) return bad;
  }
  if (authors === 0) return { id: "missingAuthor", text: "invalid format - expected 'author' line" };
  if (authors > 1) return { id: "multipleAuthors", text: "invalid format - multiple 'author' lines" };
  if (!skip(rest, "committer ")) return { id: "missingCommitter", text: "invalid format - expected 'committer' line" };
  const bad = checkIdent(rest);
  if (bad !== undefined) return bad;
  return text.includes("\0") ? { id: "nulInCommit", text: "NUL byte in the commit object body" } : undefined;
}

/** "object", "type", "tag"; a missing tagger is only worth a remark, as is an odd name. */
export function checkTag(data: Uint8Array): Refusal | undefined {
  const text = latin1(data);
  const rest: Rest = { text };
  const shape = checkHeaders(text);
  if (shape !== undefined) return shape;
  if (!skip(rest, "object ")) return { id: "missingObject", text: "invalid format - expected 'object' line" };
  if (!skipOid(rest)) return { id: "badObjectSha1", text: "invalid 'object' line format - bad sha1" };
  if (!skip(rest, "type ")) return { id: "missingTypeEntry", text: "invalid format - expected 'type' line" };
  const type = takeLine(rest);
  if (type === undefined) return { id: "missingType", text: "invalid format - unexpected end after 'type' line" };
  if (!TYPES.has(type)) return { id: "badType", text: "invalid 'type' value" };
  if (!skip(rest, "tag ")) return { id: "missingTagEntry", text: "invalid format - expected 'tag' line" };
  if (takeLine(rest) === undefined) return { id: "missingTag", text: "invalid format - unexpected end after 'tag' line" };
  return skip(rest, "tagger ") ? checkIdent(rest) : undefined;
}

/** Headers hold no NUL and end in an empty line, or with the object's last LF. */
function checkHeaders(text: string): Refusal | undefined {
  const end = text.indexOf("\n\n");
  const headers = end < 0 ? text : text.slice(0, end);
  if (headers.includes("\0")) return { id: "nulInHeader", text: "unterminated header: NUL at offset " + headers.indexOf("\0") };
  if (end < 0 && !text.endsWith("\n")) return { id: "unterminatedHeader", text: "unterminated header" };
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

/** The rest of an author, committer or tagger line: "Name <mail> seconds zone\n". */
function checkIdent(rest: Rest): Refusal | undefined {
  const line = takeLine(rest) ?? rest.text;
  const at = (text: string) => ({ text: `invalid author/committer line - ${text}` });
  if (line.startsWith("<")) return { id: "missingNameBeforeEmail", ...at("missing space before email") };
  const open = line.search(/[<>]/);
  if (line[open] === ">") return { id: "badName", ...at("bad name") };
  if (open < 0) return { id: "missingEmail", ...at("missing email") };
  if (line[open - 1] !== " ") return { id: "missingSpaceBeforeEmail", ...at("missing space before email") };
  const close = open + 1 + line.slice(open + 1).search(/[<>]/);
  if (close === open || line[close] !== ">") return { id: "badEmail", ...at("bad email") };
  if (line[close + 1] !== " ") return { id: "missingSpaceBeforeDate", ...at("missing space before date") };
  return checkDate(line.slice(close + 2), at);
}

function checkDate(date: string, at: (text: string) => { text: string }): Refusal | undefined {
  if (/^0(?! )/.test(date)) return { id: "zeroPaddedDate", ...at("zero-padded date") };
  const digits = /^[0-9]*/.exec(date)?.[0] ?? "";
  if (digits !== "" && BigInt(digits) > TIME_MAX) return { id: "badDateOverflow", ...at("date causes integer overflow") };
  if (digits === "" || date[digits.length] !== " ") return { id: "badDate", ...at("bad date") };
  if (!/^[+-][0-9]{4}$/.test(date.slice(digits.length + 1))) return { id: "badTimezone", ...at("bad time zone") };
  return undefined;
}
