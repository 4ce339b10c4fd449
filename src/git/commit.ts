/**
 * Commits: where they link to and when they were made.
 *
 *   tree <40 hex>\n   parent <40 hex>\n (any number)   author …\n   committer <name> <<mail>> <seconds> <zone>\n   …   \n\n message
 *
 * Source: git-commit-tree(1), gitglossary(7) "commit object"; the header lines stand in exactly this order (git-fsck(1)).
 */
import { latin1 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { isOid, OID_HEX_LENGTH, type Oid } from "./oid.js";

export interface CommitLinks {
  readonly tree: Oid;
  readonly parents: readonly Oid[];
  /** Committer's clock, seconds since 1970; 0 where the line cannot be read, as Git takes it. */
  readonly date: number;
}

const TREE_PREFIX = "tree ";
const PARENT_PREFIX = "parent ";
const COMMITTER_PREFIX = "\ncommitter ";
const LF = 0x0a;

/** Reads the header of a commit. Throws "odb/bad-object" where tree or parents are malformed; dates never throw. */
export function parseCommit(data: Uint8Array): CommitLinks {
  const header = latin1(data.subarray(0, headerLength(data)));
  let at = 0;
  const tree = linkAt(header, at, TREE_PREFIX);
  if (tree === undefined) throw new Fault("odb/bad-object", { type: "commit", reason: "no tree line" });
  at += lineLength(TREE_PREFIX);
  const parents: Oid[] = [];
  while (header.startsWith(PARENT_PREFIX, at)) {
    const parent = linkAt(header, at, PARENT_PREFIX);
    if (parent === undefined) throw new Fault("odb/bad-object", { type: "commit", reason: "bad parent line" });
    parents.push(parent);
    at += lineLength(PARENT_PREFIX);
  }
  return { tree, parents, date: committerDate(header) };
}

function lineLength(prefix: string): number {
  return prefix.length + OID_HEX_LENGTH + 1;
}

/** Bytes before the empty line; a commit without one is all header. */
function headerLength(data: Uint8Array): number {
  for (let at = data.indexOf(LF); at >= 0; at = data.indexOf(LF, at + 1)) {
    if (data[at + 1] === LF) return at;
  }
  return data.length;
}

function linkAt(header: string, at: number, prefix: string): Oid | undefined {
  if (!header.startsWith(prefix, at)) return undefined;
  const start = at + prefix.length;
  const oid = header.slice(start, start + OID_HEX_LENGTH);
  const end = header[start + OID_HEX_LENGTH];
  return isOid(oid) && (end === "\n" || end === undefined) ? oid : undefined;
}

/** Seconds after the mail's ">" of the committer line. */
function committerDate(header: string): number {
  const line = header.indexOf(COMMITTER_PREFIX);
  if (line < 0) return 0;
  const end = header.indexOf("\n", line + 1);
  const text = header.slice(line + COMMITTER_PREFIX.length, end < 0 ? undefined : end);
  const seconds = /^ *(\d{1,15})(?: |$)/.exec(text.slice(text.lastIndexOf(">") + 1));
  return seconds === null ? 0 : Number(seconds[1]);
}
