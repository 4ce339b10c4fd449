/**
 * Lines about fsck for the pusher: findings that were let pass, and ways out of those that were
 * not.
 */
import { Fault } from "../../base/fault.js";
import { canPass, isProtectedId } from "../../git/fsck/levels.js";
import type { IngestedPack } from "../../odb/index-pack/contract.js";
import type { Repository } from "../conversation/conversation.js";

/**
 * A line for each finding that was let pass, and one for those beyond `fsckWarningsMax`. Git's
 * words: builtin/index-pack.c.
 */
export function fsckLines({
  warnings,
  warned,
}: Pick<IngestedPack, "warnings" | "warned">): readonly string[] {
  const lines = warnings.map(({ object, id, text }) => `warning: object ${object}: ${id}: ${text}`);
  return warned > warnings.length
    ? [...lines, `warning: and ${warned - warnings.length} more`]
    : lines;
}

/** A refusal of fsck's says who may let it pass, and how. */
export function withWayOut(fault: Fault, { title }: Pick<Repository, "title">): Fault {
  const { id } = fault.facts;
  if (fault.code !== "pack/fsck" || typeof id !== "string" || !canPass(id)) return fault;
  const way = isProtectedId(id)
    ? "fsck_levels of the server decides"
    : `an administrator may let it pass: lakepack repo set ${title} fsck_levels=${id}=warn`;
  return new Fault("pack/fsck", { ...fault.facts, way }, fault);
}
