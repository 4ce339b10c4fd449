/**
 * Object ids: SHA-1, 20 bytes. Text form is 40 lower-case hex digits. gitglossary(7) "object name".
 */
import { fromHex } from "../base/bytes.js";

export const OID_BYTES = 20;
export const OID_HEX_LENGTH = 40;

/** An object id as 40 lower-case hex digits: what maps, sets and messages hold. */
export type Oid = string;

/** "No object": the old id of a created ref and the new id of a deleted one. */
export const ZERO_OID: Oid = "0".repeat(OID_HEX_LENGTH);

const OID_PATTERN = /^[0-9a-f]{40}$/;

export function isOid(text: string): boolean {
  return text.length === OID_HEX_LENGTH && OID_PATTERN.test(text);
}

/** The 20 bytes of an id that `isOid` accepted. */
export function oidBytes(oid: Oid): Uint8Array {
  const bytes = fromHex(oid);
  if (bytes?.length !== OID_BYTES) throw new TypeError(`not an object id: ${oid}`);
  return bytes;
}

/** The id at `at` in `bytes`, as text. */
export function oidAt(bytes: Uint8Array, at: number): Oid {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, OID_BYTES).toString("hex");
}

/** Types as pack entries and idx tools number them. gitformat-pack(5) "Object types". */
export const OBJECT_TYPE = {
  commit: 1,
  tree: 2,
  blob: 3,
  tag: 4,
  ofsDelta: 6,
  refDelta: 7,
} as const;
export type ObjectType = "commit" | "tree" | "blob" | "tag";
const TYPE_NAMES: readonly (ObjectType | undefined)[] = [
  undefined,
  "commit",
  "tree",
  "blob",
  "tag",
];

/** Name of a whole object's type number; undefined for deltas and unknown numbers. */
export function typeName(type: number): ObjectType | undefined {
  return TYPE_NAMES[type];
}
