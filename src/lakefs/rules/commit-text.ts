/**
 * The Git commit of a lakeFS commit, in exact bytes:
 *
 *   tree <id>\n   parent <id>\n (mapped in order, duplicates folded)
 *   author NAME <MAIL> DATE +0000\n   committer (the same)\n   \n
 *   MESSAGE   LF if it does not end in one   LF   Lakefs-Commit: <id>\n        (an empty message: the trailer only)
 *
 * NAME is the lakeFS committer without "<", ">", LF and NUL; "lakeFS" if nothing is left. MAIL is
 * NAME in lower case with each run of other characters than [a-z0-9] and "-" as one "-", none at
 * the ends, "lakefs" if nothing is left, @lakefs.invalid. DATE is creation_date clamped to
 * 0…2^32-1. In MESSAGE, NUL becomes U+FFFD. So it passes `git fsck --strict` whatever lakeFS holds.
 *
 * Since mapping 3 the author is that of the raw commit in the metadata where there is one that is
 * not the commit itself (a cherry-pick in lakeFS has its message, its metadata and another parent),
 * if its line parses and is UTF-8.
 */
import { strictText, utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { type CommitLinks, parseCommit } from "../../git/commit.js";
import { checkAuthor, checkCommit, checkTag } from "../../git/fsck/header-lines.js";
import type { Refusal } from "../../git/fsck/refusal.js";
import { canPass, type FsckRules, type Report, STRICT } from "../../git/fsck/levels.js";
import type { Oid } from "../../git/oid.js";
import { parseTag } from "../../git/tag.js";
import type { Mapping } from "./contract.js";
import { COMMIT_KEY, decodeBase64, TAG_KEY } from "./metadata-keys.js";
import type { LakefsCommit } from "../api/types.js";

const DATE_MAX = 2 ** 32 - 1;

type Version = Pick<Mapping, "version">;

/**
 * Refuses what no level lets pass: everything else may have been pushed, and is read back as it was
 * (git/fsck/levels.ts).
 */
const UNREADABLE: Report = (id, text) => (canPass(id) ? undefined : { id, text });

/**
 * Rules by which mapping 3 judges packs that were read: texts of commits and tags, and zeroes
 * before modes, may be as odd as some level has let them in. Anybody who writes in lakeFS can make
 * such a commit as well, which then only clients refuse that check what they fetch
 * (transfer.fsckObjects): no key may decide an id.
 */
export const READ_RULES: FsckRules = {
  skip: [],
  levels: Object.fromEntries(
    [
      ..."badDate badDateOverflow badEmail badName badTimezone missingAuthor missingCommitter missingEmail".split(
        " ",
      ),
      ..."missingNameBeforeEmail missingSpaceBeforeDate missingSpaceBeforeEmail multipleAuthors nulInCommit".split(
        " ",
      ),
      ..."zeroPaddedDate zeroPaddedFilemode".split(" "),
    ].map((id) => [id, "ignore"]),
  ),
};

/** `parents`: the Git commits of its parents, in order; those that map to nothing left out. */
export function commitText(
  lake: LakefsCommit,
  tree: Oid,
  parents: readonly Oid[],
  mapping: Version,
): Uint8Array {
  const person = `${nameOf(lake.committer)} <${mailOf(lake.committer)}> ${dateOf(lake.creation_date)} +0000`;
  const author = mapping.version < 3 ? person : (pickedAuthor(lake) ?? person);
  const header = [
    `tree ${tree}`,
    ...new Set(parents.map((parent) => `parent ${parent}`)),
    `author ${author}`,
    `committer ${person}`,
  ];
  return utf8(`${header.join("\n")}\n\n${messageOf(lake.message)}Lakefs-Commit: ${lake.id}\n`);
}

/**
 * The author of the raw commit in the metadata; undefined: there is none, or none that fsck would
 * take.
 */
function pickedAuthor({ metadata }: LakefsCommit): string | undefined {
  const raw = decodeBase64(metadata?.[COMMIT_KEY]);
  const text = raw === undefined ? undefined : Buffer.from(raw).toString("latin1");
  const author = /^tree [^\n]*\n(?:parent [^\n]*\n)*author ([^\n]*)\n/.exec(text ?? "")?.[1];
  if (author === undefined || author.includes("\0") || checkAuthor(author) !== undefined)
    return undefined;
  return strictText(Buffer.from(author, "latin1"));
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
 * The raw Git commit a lakeFS commit carries; undefined unless its tree is the tree of the listing
 * and its parents are the Git commits of the lakeFS commit's parents, in order: cherry-pick copies
 * metadata, and anyone can forge it.
 */
export function rawCommit(
  lake: LakefsCommit,
  listing: Oid,
  parents: readonly Oid[],
  mapping: Version,
): Uint8Array | undefined {
  const raw = decodeBase64(lake.metadata?.[COMMIT_KEY]);
  const links = raw && linksOf(raw, mapping);
  if (links === undefined) return undefined;
  const same =
    links.tree === listing &&
    links.parents.length === parents.length &&
    links.parents.every((oid, at) => oid === parents[at]);
  return same ? raw : undefined;
}

/** The tree that a raw Git commit in the metadata names, true or not. */
export function rawTree(lake: LakefsCommit, mapping: Version): Oid | undefined {
  const raw = decodeBase64(lake.metadata?.[COMMIT_KEY]);
  return raw && linksOf(raw, mapping)?.tree;
}

/** Undefined where it cannot be a commit. Mapping 2 takes none that fsck has anything against. */
function linksOf(raw: Uint8Array, mapping: Version): CommitLinks | undefined {
  return textRefusal("commit", raw, mapping) === undefined
    ? parsed(() => parseCommit(raw))
    : undefined;
}

/** Undefined for ids in capitals, say, which fsck takes and nobody writes. */
function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Fault && error.code === "odb/bad-object") return undefined;
    throw error;
  }
}

/** Returns the reason not to believe the text of a commit or tag; undefined: it is believed. */
export function textRefusal(
  type: "commit" | "tag",
  raw: Uint8Array,
  mapping: Version,
): Refusal | undefined {
  const report = mapping.version < 3 ? STRICT : UNREADABLE;
  return type === "commit" ? checkCommit(raw, report) : checkTag(raw, report);
}

/**
 * The raw tag a commit record carries; undefined unless it tags the Git commit `target`, that of
 * the record's only parent.
 */
export function rawTag(
  lake: LakefsCommit,
  target: Oid | undefined,
  mapping: Version,
): Uint8Array | undefined {
  const raw = decodeBase64(lake.metadata?.[TAG_KEY]);
  if (raw === undefined || target === undefined || lake.parents.length !== 1) return undefined;
  const link =
    textRefusal("tag", raw, mapping) === undefined ? parsed(() => parseTag(raw)) : undefined;
  return link?.targetType === "commit" && link.target === target ? raw : undefined;
}
