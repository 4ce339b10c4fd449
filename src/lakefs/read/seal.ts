/**
 * Small files of ours under a checksum that also covers their name, so that one that changed on
 * disk, or came from another repository, is found out:
 *
 *   "lakepack sealed 1\n" | SHA-256 of (key, "\n", body), 32 bytes | body
 *
 * Files from before there were seals are the body alone, and pass: no body begins with those words.
 */
import { createHash } from "node:crypto";
import { utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";

const WORDS = utf8("lakepack sealed ");
const HEAD = utf8("lakepack sealed 1\n");
const HASH_BYTES = 32;
/** Bytes that a seal adds. */
export const SEAL_BYTES = HEAD.length + HASH_BYTES;

export function seal(key: string, body: Uint8Array): Uint8Array {
  return Buffer.concat([HEAD, hashOf(key, body), body]);
}

/** The body, a view. Throws "odb/damaged". */
export function unseal(key: string, bytes: Uint8Array): Uint8Array {
  if (!beginsWith(bytes, WORDS)) return bytes;
  if (!beginsWith(bytes, HEAD))
    throw new Fault("odb/damaged", {
      file: key,
      reason: "its format is not one that this version knows",
    });
  const body = bytes.subarray(SEAL_BYTES);
  if (!hashOf(key, body).equals(bytes.subarray(HEAD.length, SEAL_BYTES)))
    throw new Fault("odb/damaged", {
      file: key,
      reason: "its content does not match its checksum",
    });
  return body;
}

function hashOf(key: string, body: Uint8Array): Buffer {
  return createHash("sha256").update(`${key}\n`).update(body).digest();
}

function beginsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return bytes.length >= start.length && start.every((byte, at) => bytes[at] === byte);
}
