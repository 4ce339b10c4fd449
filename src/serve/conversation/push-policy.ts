/** Checks the changes of refs that need no object, before anything is stored. */
import { Turns } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { FsckLevels } from "../../git/fsck/levels.js";
import { isPushableRefName } from "../../git/ref-name.js";
import { ZERO_OID } from "../../git/oid.js";
import type { PushCommand } from "../../wire/push.js";

export interface PushPolicy {
  readonly fsck: boolean;
  /** Levels in place of Git's own, by id. */
  readonly fsckLevels: FsckLevels;
  /** Table of ids of objects that are not judged. */
  readonly fsckSkip: SharedArrayBuffer | undefined;
  /** "warn": a push whose LFS pointers have no object here is told so, and lands. */
  readonly lfsMissingObjects: "refuse" | "warn";
  readonly denyNonFastForwards: boolean;
  readonly denyDeletes: boolean;
  readonly denyDeleteCurrent: boolean;
}

/** Refs no client moves: Git's own and ours. */
const RESERVED_PREFIXES = ["refs/lakefs/"];

/** One reason a command, in order; undefined: nothing against it so far. */
export async function refuseCommands(
  commands: readonly PushCommand[],
): Promise<(string | undefined)[]> {
  const turns = new Turns();
  const times = new Map<string, number>();
  for (const { name } of commands) {
    if (turns.isDue) await turns.next();
    times.set(name, (times.get(name) ?? 0) + 1);
  }
  const reasons: (string | undefined)[] = [];
  for (const command of commands) {
    if (turns.isDue) await turns.next();
    reasons.push(refuseCommand(command, times.get(command.name) ?? 0));
  }
  return reasons;
}

function refuseCommand(command: PushCommand, times: number): string | undefined {
  if (hasManyParts(command.name))
    return `a ref's name has at most ${LIMITS.refNamePartsMax} parts between slashes`;
  if (!isPushableRefName(command.name)) return "funny refname";
  if (RESERVED_PREFIXES.some((prefix) => command.name.startsWith(prefix)))
    return "this ref is the server's own";
  if (times > 1) return `multiple updates for ref '${command.name}' not allowed`;
  if (command.old === ZERO_OID && command.new === ZERO_OID) return "nothing to delete";
  return undefined;
}

function hasManyParts(name: string): boolean {
  let parts = 1;
  for (
    let at = name.indexOf("/");
    at >= 0 && parts <= LIMITS.refNamePartsMax;
    at = name.indexOf("/", at + 1)
  )
    parts++;
  return parts > LIMITS.refNamePartsMax;
}
