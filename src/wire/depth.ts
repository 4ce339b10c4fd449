/**
 * The depth a client wants: `deepen`, `deepen-since`, `deepen-not`, `deepen-relative`, and where
 * its own history ends (`shallow`). The same in all versions. gitprotocol-pack(5) "depth-request";
 * gitprotocol-v2(5) "fetch".
 */
import { Fault } from "../base/fault.js";
import { badLine, readNumber, shown } from "./arguments.js";

export type DepthRequest =
  | {
      readonly by: "depth";
      readonly depth: number /** From the client's boundary, not from the wants. */;
      readonly relative: boolean;
    }
  | {
      readonly by: "revisions";
      /** Seconds since 1970; commits older than this are cut off. */
      readonly since: number | undefined;
      /** Ref names or abbreviations of them, latin1 text: what they reach is cut off. */
      readonly not: readonly string[];
    };

/** The depth that `git fetch --unshallow` asks for. Git: INFINITE_DEPTH. */
export const INFINITE_DEPTH = 0x7fff_ffff;

/** Gathers a request's depth lines. */
export class DepthLines {
  #depth = 0;
  #since: number | undefined;
  readonly #not: string[] = [];
  #relative = false;

  /** Takes a line if it is one of depth; false: it is another. Throws "wire/bad-request". */
  take(key: string, value: string, line: string): boolean {
    switch (key) {
      case "deepen":
        this.#depth = readNumber(value, INFINITE_DEPTH, line);
        // gitprotocol-pack(5) lets 0 mean no depth; Git's own server refuses it, and whoever counts
        // on a shallow answer must not get everything.
        if (this.#depth === 0)
          throw new Fault("wire/bad-request", {
            reason: "invalid depth: deepen takes a number above 0",
            line: shown(line),
          });
        return true;
      case "deepen-since":
        this.#since = readNumber(value, Number.MAX_SAFE_INTEGER, line);
        if (this.#since === 0) throw badLine("a time after 1970", line);
        return true;
      case "deepen-not":
        if (value === "") throw badLine("a ref", line);
        this.#not.push(value);
        return true;
      default:
        return false;
    }
  }

  /** `deepen-relative` was asked for: a line in version 2, a capability before. */
  relative(): void {
    this.#relative = true;
  }

  /**
   * The request; undefined: whole history. Throws "wire/bad-request" where `deepen` stands beside
   * the others.
   */
  finish(): DepthRequest | undefined {
    const byRevisions = this.#since !== undefined || this.#not.length > 0;
    if (this.#depth > 0 && byRevisions)
      throw new Fault("wire/bad-request", {
        reason: "deepen and deepen-since (or deepen-not) cannot be used together",
      });
    if (byRevisions) return { by: "revisions", since: this.#since, not: this.#not };
    return this.#depth > 0
      ? { by: "depth", depth: this.#depth, relative: this.#relative }
      : undefined;
  }
}
