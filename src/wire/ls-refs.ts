/**
 * ls-refs, version 2's way to ask for refs.
 *
 *   peel   symrefs   unborn   ref-prefix <prefix> …
 *   → <oid> <name>[ symref-target:<name>][ peeled:<oid>] LF …, or "unborn HEAD
 *   symref-target:<name>", flush
 *
 * Source: gitprotocol-v2(5) "ls-refs".
 */
import { LIMITS } from "../base/limits.js";
import { lowerBound } from "../git/ref-name.js";
import type { AdvertisedRef } from "./advertise.js";
import { badLine, LineBudget, splitLine } from "./arguments.js";
import { LineWriter } from "./pkt-line.js";

export interface LsRefsRequest {
  readonly peel: boolean;
  readonly symrefs: boolean;
  readonly unborn: boolean;
  /** Latin1 text; empty: all refs. */
  readonly prefixes: readonly string[];
}

/** Takes the argument lines of one ls-refs command. */
export class LsRefsArguments {
  readonly #budget = new LineBudget(LIMITS.fetchLinesMax);
  readonly #flags = new Set<string>();
  #prefixes: string[] = [];
  #prefixCount = 0;

  /** Throws "wire/bad-request" for anything else, "wire/too-much". */
  take(line: string): void {
    this.#budget.spend();
    const { key, value } = splitLine(line);
    if (line === "peel" || line === "symrefs" || line === "unborn") this.#flags.add(line);
    else if (key === "ref-prefix" && line.length > key.length) this.#addPrefix(value);
    else throw badLine("an argument of ls-refs", line);
  }

  finish(): LsRefsRequest {
    const has = (flag: string) => this.#flags.has(flag);
    return {
      peel: has("peel"),
      symrefs: has("symrefs"),
      unborn: has("unborn"),
      prefixes: this.#prefixes,
    };
  }

  /**
   * From `refPrefixesMax` on all are ignored and every ref is listed, as Git does: the client
   * filters.
   */
  #addPrefix(prefix: string): void {
    this.#prefixCount++;
    if (this.#prefixCount < LIMITS.refPrefixesMax) this.#prefixes.push(prefix);
    else this.#prefixes = [];
  }
}

export interface RefListing {
  /** Full name HEAD points at. */
  readonly head: string;
  /** Sorted bytewise by name. */
  readonly refs: readonly AdvertisedRef[];
}

/** Text is handed on when this much has gathered. */
const CHUNK_BYTES = 64 * 1024;

/** The answer in pieces of about 64 KiB, flush included. HEAD comes first, then refs in order. */
export function* lsRefsAnswer(
  request: LsRefsRequest,
  { head, refs }: RefListing,
): Generator<Uint8Array> {
  const writer = new LineWriter();
  const wanted = ranges(request.prefixes, refs);
  if (isListed(request.prefixes, "HEAD")) writeHead(writer, request, head, refs);
  for (const { start, end } of wanted)
    for (let at = start; at < end; at++) {
      const ref = refs[at];
      if (ref !== undefined) writer.line(`${ref.oid} ${ref.name}${peeledAttribute(request, ref)}`);
      if (writer.length >= CHUNK_BYTES) yield writer.take();
    }
  yield writer.flush().take();
}

function writeHead(
  writer: LineWriter,
  request: LsRefsRequest,
  head: string,
  refs: readonly AdvertisedRef[],
): void {
  const ref = refs[lowerBound(refs, head)];
  const target = request.symrefs ? ` symref-target:${head}` : "";
  if (ref?.name === head) writer.line(`${ref.oid} HEAD${target}${peeledAttribute(request, ref)}`);
  else if (request.unborn && request.symrefs) writer.line(`unborn HEAD${target}`);
}

function peeledAttribute(request: LsRefsRequest, ref: AdvertisedRef): string {
  return request.peel && ref.peeled !== undefined ? ` peeled:${ref.peeled}` : "";
}

function isListed(prefixes: readonly string[], name: string): boolean {
  return prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix));
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * The refs each prefix covers lie side by side in a sorted list: ranges in order, none overlapping.
 */
function ranges(prefixes: readonly string[], refs: readonly AdvertisedRef[]): readonly Range[] {
  if (prefixes.length === 0) return [{ start: 0, end: refs.length }];
  const merged: Range[] = [];
  for (const prefix of [...new Set(prefixes)].sort(bytewise)) {
    const last = merged.at(-1)?.end ?? 0;
    const range = { start: Math.max(last, lowerBound(refs, prefix)), end: endOf(prefix, refs) };
    if (range.end > range.start) merged.push(range);
  }
  return merged;
}

function bytewise(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Index after the last ref with this prefix: no byte is above U+00FF in latin1 text. */
function endOf(prefix: string, refs: readonly AdvertisedRef[]): number {
  return lowerBound(refs, `${prefix}\u0100`);
}
