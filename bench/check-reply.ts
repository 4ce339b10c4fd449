/**
 * Holds a version 2 fetch reply against itself: lengths of packet lines and the pack's checksum.
 */
import { createHash } from "node:crypto";

/** Returns the fault in a reply, or undefined if it is right. */
export function faultIn(reply: Buffer): string | undefined {
  const data: Buffer[] = [];
  for (let at = 0; at < reply.length; ) {
    const digits = reply.toString("latin1", at, at + 4);
    const length = /^[0-9a-f]{4}$/.test(digits) ? Number.parseInt(digits, 16) : -1;
    if (length < 0 || at + Math.max(length, 4) > reply.length)
      return `a packet line at byte ${at} of ${reply.length} has the length ${JSON.stringify(digits)}`;
    if (length > 5 && reply[at + 4] === 3) return reply.toString("utf8", at + 5, at + length);
    if (length > 5 && reply[at + 4] === 1) data.push(reply.subarray(at + 5, at + length));
    at += Math.max(length, 4);
  }
  const pack = Buffer.concat(data);
  if (pack.length < 32) return `its pack has ${pack.length} bytes`;
  const is = createHash("sha1").update(pack.subarray(0, -20)).digest();
  return is.equals(pack.subarray(-20))
    ? undefined
    : `its pack of ${pack.length} bytes does not match its checksum`;
}
