/** Feeds packets to a reader and says what came of it. */
import { fromLatin1 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import { type Packet, PacketReader } from "../../src/wire/pkt-line.js";

/**
 * A request as text, a line each: "flush", "delim" and "response-end" are themselves, everything
 * else is a pkt-line with LF.
 */
export function packets(lines: readonly string[]): Packet[] {
  return lines.map((line) => {
    if (line === "flush" || line === "delim" || line === "response-end") return { kind: line };
    return { kind: "data", payload: fromLatin1(`${line}\n`) };
  });
}

/** The first answer a reader gives. */
export function take<T>(
  reader: { take(packet: Packet): T | undefined },
  lines: readonly string[],
): T {
  for (const packet of packets(lines)) {
    const answer = reader.take(packet);
    if (answer !== undefined) return answer;
  }
  throw new Error("the request never ended");
}

/** Code of the fault `work` throws, "none" without one. */
export function faultOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
  return "none";
}

/** A stream as text: lines without LF, specials by name. */
export function lines(stream: Uint8Array): string[] {
  const reader = new PacketReader();
  const found: string[] = [];
  reader.push(stream);
  for (let next = reader.next(); next !== undefined; next = reader.next())
    found.push(
      next.kind === "data"
        ? Buffer.from(next.payload).toString("latin1").replace(/\n$/, "")
        : next.kind,
    );
  reader.finish();
  return found;
}

export const A = "a".repeat(40);
export const B = "b".repeat(40);
export const C = "0123456789abcdef0123456789abcdef01234567";
export const ZERO = "0".repeat(40);
export const OFFER = {
  agent: "lakepack/test",
  allowTipInWant: false,
  allowReachableInWant: false,
  atomic: true,
};
