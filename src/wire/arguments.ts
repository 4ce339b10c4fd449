/**
 * Reads what the lines of every request have in common: "<key> <value>", object ids, numbers, a
 * bound on how many.
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { isOid, type Oid } from "../git/oid.js";

/** "<key> <value>" apart; a line without a space is a key with an empty value. */
export function splitLine(line: string): { readonly key: string; readonly value: string } {
  const space = line.indexOf(" ");
  return space < 0
    ? { key: line, value: "" }
    : { key: line.slice(0, space), value: line.slice(space + 1) };
}

/**
 * The object id that is the whole of `text`; upper-case digits become lower-case.
 * gitprotocol-pack(5): "both MUST treat obj-id as case-insensitive". Throws "wire/bad-request".
 */
export function readOid(text: string, line: string): Oid {
  if (isOid(text)) return text;
  const lower = text.toLowerCase();
  if (isOid(lower)) return lower;
  throw badLine("an object id", line);
}

/** The fault for a line that does not hold what must stand there. */
export function badLine(expected: string, line: string): Fault {
  return new Fault("wire/bad-request", { expected, line: shown(line) });
}

/** A client's text as a message may repeat it. */
export function shown(text: string): string {
  return text.slice(0, LIMITS.messageNameBytesMax).replace(/[^\x20-\x7e]/g, "?");
}

/** Digits only, at most `max`. Throws "wire/bad-request". */
export function readNumber(text: string, max: number, line: string): number {
  const number = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(number <= max)) throw badLine(`a number up to ${max}`, line);
  return number;
}

/** Counts lines of one request. Throws "wire/too-much" above `max`. */
export class LineBudget {
  #left: number;
  readonly #max: number;

  constructor(max: number) {
    this.#left = max;
    this.#max = max;
  }

  spend(): void {
    if (--this.#left < 0) throw new Fault("wire/too-much", { linesMax: this.#max });
  }
}
