/**
 * The Git commit of a lakeFS commit, in exact bytes:
 *
 *   tree <id>\n   parent <id>\n (mapped in order, duplicates folded)
 *   author NAME <MAIL> DATE +0000\n   committer (the same)\n   \n
 *   MESSAGE   LF if it does not end in one   LF   Lakefs-Commit: <id>\n        (an empty message: the trailer only)
 *
 * NAME is the lakeFS committer without "<", ">", LF and NUL; "lakeFS" if nothing is left. MAIL is NAME in lower case with each run of other
 * characters than [a-z0-9] and "-" as one "-", none at the ends, "lakefs" if nothing is left, @lakefs.invalid. DATE is creation_date
 * clamped to 0…2^32-1. In MESSAGE, NUL becomes U+FFFD. So it passes `git fsck --strict` whatever lakeFS holds.
 */
import { utf8 } from "../base/bytes.js";
import { parseCommit } from "../git/commit.js";
import { checkCommit, checkTag } from "../git/fsck-headers.js";
import type { Oid } from "../git/oid.js";
import { parseTag } from "../git/tag.js";
import { COMMIT_KEY, decodeBase64, TAG_KEY } from "./metadata-keys.js";
import type { LakefsCommit } from "./types.js";

const DATE_MAX = 2 ** 32 - 1;

/** `parents`: the Git commits of its parents, in order; those that map to nothing left out. */
export function commitText(lake: LakefsCommit, tree: Oid, parents: readonly Oid[]): Uint8Array {
  const person = `${nameOf(lake.committer)} <${mailOf(lake.committer)}> ${dateOf(lake.creation_date)} +0000`;
  const header = [`tree ${tree}`, ...new Set(parents.map((parent) => `parent ${parent}`)), `author ${person}`, `committer ${person}`];
  return utf8(`${header.join("\n")}\n\n${messageOf(lake.message)}Lakefs-Commit: ${lake.id}\n`);
}

function nameOf(committer: string): string {
  const name = committer.replace(/[<>\n\0]/g, "");
  return name === "" ? "lakeFS" : name;
}

function mailOf(committer: string): string {
  const local = nameOf(committer)
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return `${local === "" ? "lakefs" : local}@lakefs.invalid`;
}

function dateOf(seconds: number): number {
  return Math.min(Math.max(Math.trunc(seconds), 0), DATE_MAX);
}

function messageOf(message: string): string {
  if (message === "") return "";
  const text = message.replaceAll("\0", "\ufffd");
  return text.endsWith("\n") ? `${text}\n` : `${text}\n\n`;
}

/**
 * The raw Git commit a lakeFS commit carries; undefined unless its tree is the tree of the listing and its parents are the Git
 * commits of the lakeFS commit's parents, in order: cherry-pick copies metadata, and anyone can forge it.
 */
export function rawCommit(lake: LakefsCommit, listing: Oid, parents: readonly Oid[]): Uint8Array | undefined {
  const raw = decodeBase64(lake.metadata?.[COMMIT_KEY]);
  if (raw === undefined || checkCommit(raw) !== undefined) return undefined;
  const links = parseCommit(raw);
  const same = links.tree === listing && links.parents.length === parents.length && links.parents.every((oid, at) => oid === parents[at]);
  return same ? raw : undefined;
}

/** The tree that a raw Git commit in the metadata names, true or not. */
export function rawTree(lake: LakefsCommit): Oid | undefined {
  const raw = decodeBase64(lake.metadata?.[COMMIT_KEY]);
  return raw === undefined || checkCommit(raw) !== undefined ? undefined : parseCommit(raw).tree;
}

/** The raw tag a commit record carries; undefined unless it tags the Git commit `target`, that of the record's only parent. */
export function rawTag(lake: LakefsCommit, target: Oid | undefined): Uint8Array | undefined {
  const raw = decodeBase64(lake.metadata?.[TAG_KEY]);
  if (raw === undefined || target === undefined || lake.parents.length !== 1 || checkTag(raw) !== undefined) return undefined;
  const link = parseTag(raw);
  return link.targetType === "commit" && link.target === target ? raw : undefined;
}
