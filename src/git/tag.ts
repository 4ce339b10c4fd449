/**
 * Annotated tags: what they point at.
 *
 *   object <40 hex>\n   type commit|tree|blob|tag\n   tag <name>\n   tagger …\n   \n message
 *
 * Source: git-mktag(1), gitglossary(7) "tag object".
 */
import { latin1 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { isOid, type ObjectType, type Oid } from "./oid.js";

export interface TagLink {
  readonly target: Oid;
  readonly targetType: ObjectType;
}

/** "object " 7, id 40, LF, "type ", the longest type name, LF. */
const HEADER_BYTES_MAX = 7 + 40 + 1 + 5 + 6 + 1;
const HEADER = /^object ([0-9a-f]{40})\ntype (commit|tree|blob|tag)\n/;

/** Throws "odb/bad-object". */
export function parseTag(data: Uint8Array): TagLink {
  const match = HEADER.exec(latin1(data.subarray(0, HEADER_BYTES_MAX)));
  const target = match?.[1];
  if (target === undefined || !isOid(target))
    throw new Fault("odb/bad-object", { type: "tag", reason: "no object and type line" });
  return { target, targetType: match?.[2] as ObjectType };
}
