/**
 * Levels of fsck's messages: Git's ids with Git's severities, and the levels that a server or a
 * repository sets in their place. As with `index-pack --strict`, a warning of Git's is an error
 * where nothing else is set. Remarks (Git: INFO) refuse nothing, and are told only where they are
 * set to `warn`.
 *
 * Sources: git-fsck(1) "FSCK MESSAGES", git-config(1) receive.fsck.<msg-id>; fsck.h of Git 2.39 has
 * the table.
 */
import { createHash } from "node:crypto";
import { LIMITS } from "../../base/limits.js";
import { holdsId } from "../sorted-ids.js";
import type { Refusal } from "./refusal.js";
import { OID_BYTES, type ObjectType, type Oid, oidBytes } from "../oid.js";

export type FsckLevel = "error" | "warn" | "ignore";
export const FSCK_LEVELS: readonly FsckLevel[] = ["error", "warn", "ignore"];

/** By Git's spelling of an id. */
export type FsckLevels = Readonly<Record<string, FsckLevel>>;

/** * Levels that differ from Git's own; they go to the threads with each task. */
export interface FsckRules {
  readonly levels: FsckLevels;
  /** Tables of ids, each sorted, 20 bytes each: objects that are not judged. */
  readonly skip: readonly SharedArrayBuffer[];
}

/** One thing that was let pass and is told. */
export interface FsckWarning {
  readonly object: Oid;
  readonly id: string;
  readonly text: string;
}

/**
 * "fatal": Git lets nobody lower it. "unreadable": Git lets it be lowered and then fails to parse
 * the object, so lowering it does nothing.
 */
type Severity = "fatal" | "unreadable" | "error" | "info";

const BY_SEVERITY: Readonly<Record<Severity, string>> = {
  fatal: "nulInHeader unterminatedHeader",
  unreadable:
    "badObjectSha1 badParentSha1 badTree badTreeSha1 badType missingObject missingTag missingTagEntry missingTree missingType missingTypeEntry unknownType",
  error:
    "badDate badDateOverflow badEmail badName badTimezone duplicateEntries emptyName fullPathname gitattributesBlob gitattributesLarge " +
    "gitattributesLineLength gitattributesMissing gitmodulesBlob gitmodulesLarge gitmodulesMissing gitmodulesName gitmodulesPath " +
    "gitmodulesSymlink gitmodulesUpdate gitmodulesUrl hasDot hasDotdot hasDotgit missingAuthor missingCommitter missingEmail " +
    "missingNameBeforeEmail missingSpaceBeforeDate missingSpaceBeforeEmail multipleAuthors nulInCommit nullSha1 treeNotSorted " +
    "zeroPaddedDate zeroPaddedFilemode",
  info: "badFilemode badTagName extraHeaderEntry gitattributesSymlink gitignoreSymlink gitmodulesParse mailmapSymlink missingTaggerEntry",
};

const SEVERITIES: ReadonlyMap<string, Severity> = new Map(
  (Object.keys(BY_SEVERITY) as Severity[]).flatMap((severity) =>
    BY_SEVERITY[severity].split(" ").map((id) => [id, severity] as const),
  ),
);
/** Git compares ids without case. */
const SPELLINGS: ReadonlyMap<string, string> = new Map(
  [...SEVERITIES.keys()].map((id) => [id.toLowerCase(), id]),
);

/**
 * Ids of trees that clients are attacked with, or that no two of them read alike: only who runs the
 * server may lower them.
 */
const PROTECTED = /^(gitmodules|hasDot|symlink|nullSha1$|treeNotSorted$|duplicateEntries$)/;

export function isProtectedId(id: string): boolean {
  return PROTECTED.test(id);
}

/** Returns whether a level can let the message pass. */
export function canPass(id: string): boolean {
  const severity = SEVERITIES.get(id);
  return severity === "error" || severity === "info";
}

/** Kernels pass over these as good: where one is set, they must leave more to the host. */
const UNSEEN_BY_KERNELS = [
  "badFilemode",
  "gitattributesSymlink",
  "gitignoreSymlink",
  "mailmapSymlink",
];

export function judgesModes({ levels }: FsckRules): boolean {
  return UNSEEN_BY_KERNELS.some((id) => (levels[id] ?? "ignore") !== "ignore");
}

export function levelOf(id: string, rules: FsckRules | undefined): FsckLevel {
  return rules?.levels[id] ?? (SEVERITIES.get(id) === "info" ? "ignore" : "error");
}

// Judging -----------------------------------------------------------------------------------------
/**
 * Takes one finding of a check; hands a Refusal back where the object is refused for it, and the
 * check ends.
 */
export type Report = (id: string, text: string) => Refusal | undefined;

/** Git's own severities, nothing told. */
export const STRICT: Report = (id, text) =>
  levelOf(id, undefined) === "error" ? { id, text } : undefined;

/** Reports on one object. `object` is asked for its id only where rules are set. */
export function reportBy(
  rules: FsckRules | undefined,
  object: () => Oid,
  warn: (warning: FsckWarning) => void,
): Report {
  if (rules === undefined) return STRICT;
  let known: Oid | undefined;
  return (id, text) => {
    const level = levelOf(id, rules);
    if (level === "ignore") return undefined;
    known ??= object();
    if (SEVERITIES.get(id) !== "unreadable" && isSkipped(rules, known)) return undefined;
    if (level === "error") return { id, text };
    warn({ object: known, id, text });
    return undefined;
  };
}

export function idOf(type: ObjectType, data: Uint8Array): Oid {
  return createHash("sha1").update(`${type} ${data.length}\0`).update(data).digest("hex");
}

function isSkipped({ skip }: FsckRules, object: Oid): boolean {
  if (skip.length === 0) return false;
  const bytes = oidBytes(object);
  return skip.some((table) => holdsId(new Uint8Array(table), bytes, 0));
}

// Reading what was set ----------------------------------------------------------------------------
/** A message whose level cannot be set, by name. */
export interface Unsettable {
  readonly value: string;
  readonly reason: string;
}

/**
 * "missingEmail=ignore,badTimezone=warn", or the same as an object. The later of two for one id
 * counts.
 */
export function readFsckLevels(
  given: string | Readonly<Record<string, unknown>>,
): FsckLevels | Unsettable {
  const pairs = typeof given === "string" ? splitPairs(given) : Object.entries(given);
  const levels: Record<string, FsckLevel> = {};
  for (const [name, level] of pairs) {
    const value = shown(`${name}=${String(level)}`);
    const id = SPELLINGS.get(name.toLowerCase());
    if (id === undefined)
      return {
        value,
        reason: `fsck has no message id ${shown(name)} (git help fsck, "FSCK MESSAGES")`,
      };
    const read = FSCK_LEVELS.find((one) => one === level);
    if (read === undefined) return { value, reason: "a level is error, warn or ignore" };
    if (read !== "error" && !canPass(id))
      return { value, reason: `${id} can only be an error: Git itself cannot read such an object` };
    levels[id] = read;
  }
  return levels;
}

function splitPairs(text: string): [string, string][] {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  return parts.map((part) => {
    const at = part.indexOf("=");
    return at < 0 ? [part, ""] : [part.slice(0, at).trim(), part.slice(at + 1).trim()];
  });
}

export function isUnsettable(read: object): read is Unsettable {
  return typeof (read as Partial<Unsettable>).reason === "string";
}

export function formatFsckLevels(levels: FsckLevels): string {
  return Object.entries(levels)
    .map(([id, level]) => `${id}=${level}`)
    .join(",");
}

const OID = /^[0-9a-f]{40}$/i;

/** Ids of a skip list, each once, sorted. */
export function readSkipped(ids: readonly string[]): readonly Oid[] | Unsettable {
  for (const id of ids)
    if (!OID.test(id)) return { value: shown(id), reason: "an object id is 40 hex digits" };
  return [...new Set(ids.map((id) => id.toLowerCase()))].sort();
}

/** A file with an id a line; `#` begins a comment. As fsck.skipList, git-config(1). */
export function readSkipFile(
  text: string,
): readonly Oid[] | (Unsettable & { readonly line: number }) {
  const ids: Oid[] = [];
  for (const [at, line] of text.split("\n").entries()) {
    const id = line.replace(/#.*$/s, "").trim();
    if (id === "") continue;
    if (!OID.test(id))
      return { line: at + 1, value: shown(id), reason: "an object id is 40 hex digits" };
    ids.push(id.toLowerCase());
  }
  return [...new Set(ids)].sort();
}

/** The table that threads look ids up in. `sorted`: as the readers above give them. */
export function skipTable(sorted: readonly Oid[]): SharedArrayBuffer {
  const table = new SharedArrayBuffer(sorted.length * OID_BYTES);
  const bytes = new Uint8Array(table);
  for (const [at, id] of sorted.entries()) bytes.set(oidBytes(id), at * OID_BYTES);
  return table;
}

function shown(text: string): string {
  return text.slice(0, LIMITS.messageNameBytesMax);
}
