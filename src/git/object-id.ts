/**
 * The id of an object: SHA-1 of "<type> SP <size in decimal> NUL" and its content. gitglossary(7)
 * "object name"; gitformat-pack(5).
 */
import { createHash } from "node:crypto";
import type { ObjectType, Oid } from "./oid.js";

/** For single objects; batches go through the kernels. */
export function objectId(type: ObjectType, data: Uint8Array): Oid {
  return createHash("sha1").update(`${type} ${data.length}\0`).update(data).digest("hex");
}
