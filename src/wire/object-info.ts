/**
 * object-info: sizes of objects without the objects.
 *
 *   size   oid <oid> …   →   size LF, <oid> <size> LF …, flush; an object not held has no size: "<oid> "
 *
 * Source: gitprotocol-v2(5) "object-info".
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { Oid } from "../git/oid.js";
import { badLine, LineBudget, readOid, splitLine } from "./arguments.js";
import { LineWriter } from "./pkt-line.js";

export interface ObjectInfoRequest {
  readonly size: boolean;
  readonly oids: readonly Oid[];
}

/** Takes the argument lines of one object-info command. */
export class ObjectInfoArguments {
  readonly #budget = new LineBudget(LIMITS.fetchLinesMax);
  readonly #oids = new Set<Oid>();
  #size = false;

  /** Throws "wire/bad-request", "wire/too-much". */
  take(line: string): void {
    this.#budget.spend();
    const { key, value } = splitLine(line);
    if (line === "size") this.#size = true;
    else if (key === "oid") this.#add(readOid(value, line));
    else throw badLine("an argument of object-info", line);
  }

  finish(): ObjectInfoRequest {
    return { size: this.#size, oids: [...this.#oids] };
  }

  #add(oid: Oid): void {
    this.#oids.add(oid);
    if (this.#oids.size > LIMITS.objectInfoMax)
      throw new Fault("wire/too-much", { objectInfoMax: LIMITS.objectInfoMax });
  }
}

/**
 * The answer, one line for each id however often it was asked for. `sizeOf` answers undefined for
 * what is not held or may not be seen.
 */
export function objectInfoAnswer(
  request: ObjectInfoRequest,
  sizeOf: (oid: Oid) => number | undefined,
): Uint8Array {
  const writer = new LineWriter();
  if (request.size && request.oids.length > 0) writer.line("size");
  for (const oid of request.oids) writer.line(request.size ? `${oid} ${sizeOf(oid) ?? ""}` : oid);
  return writer.flush().take();
}
