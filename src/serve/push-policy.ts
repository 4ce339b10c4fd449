/** What a push may do to a ref before anything is stored: the checks that need no object. */
import { LIMITS } from "../base/limits.js";
import { isPushableRefName } from "../git/ref-name.js";
import { ZERO_OID } from "../git/oid.js";
import type { PushCommand } from "../wire/push.js";

export interface PushPolicy {
  readonly fsck: boolean;
  readonly denyNonFastForwards: boolean;
  readonly denyDeletes: boolean;
  readonly denyDeleteCurrent: boolean;
}

/** Refs no client moves: Git's own and ours. */
const RESERVED_PREFIXES = ["refs/lakefs/"];

/** One reason a command, in order; undefined: nothing against it so far. */
export function refuseCommands(commands: readonly PushCommand[]): (string | undefined)[] {
  const times = new Map<string, number>();
  for (const { name } of commands) times.set(name, (times.get(name) ?? 0) + 1);
  return commands.map((command) => refuseCommand(command, times.get(command.name) ?? 0));
}

function refuseCommand(command: PushCommand, times: number): string | undefined {
  if (!isPushableRefName(command.name)) return "funny refname";
  if (partsOf(command.name) > LIMITS.refNamePartsMax) return `a ref's name has at most ${LIMITS.refNamePartsMax} parts between slashes`;
  if (RESERVED_PREFIXES.some((prefix) => command.name.startsWith(prefix))) return "this ref is the server's own";
  if (times > 1) return `multiple updates for ref '${command.name}' not allowed`;
  if (command.old === ZERO_OID && command.new === ZERO_OID) return "nothing to delete";
  return undefined;
}

function partsOf(name: string): number {
  let parts = 1;
  for (let at = name.indexOf("/"); at >= 0; at = name.indexOf("/", at + 1)) parts++;
  return parts;
}
