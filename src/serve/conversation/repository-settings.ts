/**
 * Settings that a repository can have in place of the server's. They stand in its row as JSON, only
 * those that were set; who administers the repository sets them. Levels that protect those who
 * fetch (git/fsck/levels.ts, `isProtectedId`) are not theirs to lower.
 */
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import {
  type FsckLevel,
  type FsckLevels,
  type FsckRules,
  formatFsckLevels,
  isProtectedId,
  isUnsettable,
  readFsckLevels,
  readSkipped,
  skipTable,
} from "../../git/fsck/levels.js";
import type { Oid } from "../../git/oid.js";
import type { PushPolicy } from "./push-policy.js";

const MISSING_OBJECTS = ["refuse", "warn"] as const;
/** Choice about a push whose LFS pointers have no object here. */
export type MissingObjects = (typeof MISSING_OBJECTS)[number];

export interface RepositorySettings {
  readonly fsck_levels?: FsckLevels;
  /** Sorted. */
  readonly fsck_skip_list?: readonly Oid[];
  readonly lfs_missing_objects?: MissingObjects;
}

/** The policy that a push to one repository is held against. */
export interface EffectivePolicy extends PushPolicy {
  /** Undefined: fsck judges as Git does by itself. */
  readonly rules: FsckRules | undefined;
}

/** Values as whoever sets them gives them; null takes one away. */
export type SettingsChange = Readonly<Record<string, unknown>>;

type Readers = {
  readonly [K in keyof RepositorySettings]-?: (
    value: unknown,
  ) => NonNullable<RepositorySettings[K]>;
};

const READERS: Readers = {
  fsck_levels: readLevels,
  fsck_skip_list: readSkipList,
  lfs_missing_objects: readMissingObjects,
};
const NAMES = Object.keys(READERS) as (keyof RepositorySettings)[];

/** From a row. */
export function readSettingsOf(
  row: { readonly settings: string | null } | undefined,
): RepositorySettings {
  return row?.settings == null ? {} : (JSON.parse(row.settings) as RepositorySettings);
}

/** For a row; null: none is set. */
export function formatSettings(settings: RepositorySettings): string | null {
  return Object.keys(settings).length === 0 ? null : JSON.stringify(settings);
}

/** All of the change or nothing. Throws "repository/bad-setting". */
export function changeSettings(
  before: RepositorySettings,
  change: SettingsChange,
): RepositorySettings {
  const after: Record<string, unknown> = { ...before };
  for (const [given, value] of Object.entries(change)) {
    const name = NAMES.find((one) => one === given);
    if (name === undefined)
      throw refused(given, undefined, "no such setting of a repository", NAMES.join(" "));
    if (value === null) delete after[name];
    else after[name] = READERS[name](value);
  }
  return after as RepositorySettings;
}

/**
 * A value of the repository's overrules the server's, of levels id by id; what either list skips is
 * skipped.
 */
export function policyFor(server: PushPolicy, own: RepositorySettings): EffectivePolicy {
  const levels = { ...server.fsckLevels, ...own.fsck_levels };
  const skip = [...(server.fsckSkip === undefined ? [] : [server.fsckSkip])];
  if (own.fsck_skip_list !== undefined) skip.push(skipTable(own.fsck_skip_list));
  const isPlain = Object.keys(levels).length === 0 && skip.length === 0;
  const lfsMissingObjects = own.lfs_missing_objects ?? server.lfsMissingObjects;
  return { ...server, lfsMissingObjects, rules: isPlain ? undefined : { levels, skip } };
}

function readLevels(value: unknown): FsckLevels {
  const isText = typeof value === "string";
  if (!isText && !isRecord(value))
    throw refused("fsck_levels", value, "it is pairs id=level, or an object of them");
  const levels = readFsckLevels(value);
  if (isUnsettable(levels)) throw refused("fsck_levels", levels.value, levels.reason);
  const kept = Object.keys(levels).find(isProtectedId);
  if (kept === undefined) return levels;
  const reason = `${kept} protects those who fetch: only the server's own setting fsck_levels decides about it`;
  throw refused("fsck_levels", formatFsckLevels({ [kept]: levels[kept] as FsckLevel }), reason);
}

function readSkipList(value: unknown): readonly Oid[] {
  const ids =
    typeof value === "string"
      ? value
          .split(",")
          .map((id) => id.trim())
          .filter(Boolean)
      : value;
  if (!Array.isArray(ids) || ids.some((id) => typeof id !== "string")) {
    throw refused(
      "fsck_skip_list",
      value,
      "it is object ids separated by commas, or an array of them",
    );
  }
  if (ids.length > LIMITS.fsckSkippedMax) {
    throw refused(
      "fsck_skip_list",
      `${ids.length} ids`,
      `a repository can have ${LIMITS.fsckSkippedMax}; the server's fsck_skip_list takes more`,
    );
  }
  const read = readSkipped(ids as string[]);
  if (isUnsettable(read)) throw refused("fsck_skip_list", read.value, read.reason);
  return read as readonly Oid[];
}

function readMissingObjects(value: unknown): MissingObjects {
  const read = MISSING_OBJECTS.find((one) => one === value);
  if (read === undefined)
    throw refused("lfs_missing_objects", value, undefined, MISSING_OBJECTS.join(" or "));
  return read;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refused(
  setting: string,
  value: unknown,
  reason: string | undefined,
  allowed?: string,
): Fault {
  const shown =
    value === undefined
      ? undefined
      : (typeof value === "string" ? value : String(JSON.stringify(value))).slice(
          0,
          LIMITS.messageNameBytesMax,
        );
  return new Fault("repository/bad-setting", {
    setting: setting.slice(0, LIMITS.messageNameBytesMax),
    value: shown,
    reason,
    allowed,
  });
}
