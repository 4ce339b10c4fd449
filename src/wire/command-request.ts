/**
 * One request of version 2.
 *
 *   command=<name>, capability lines, [delim, argument lines], flush      or a lone flush: nothing more is asked
 *
 * Source: gitprotocol-v2(5) "Command Request".
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { badLine, shown } from "./arguments.js";
import { BundleUriArguments } from "./bundle-uri.js";
import { checkObjectFormat, notOffered } from "./capabilities.js";
import { FetchArguments, type FetchRequest } from "./fetch.js";
import { LsRefsArguments, type LsRefsRequest } from "./ls-refs.js";
import { ObjectInfoArguments, type ObjectInfoRequest } from "./object-info.js";
import { lineText, type Packet } from "./pkt-line.js";

interface Preamble {
  /** For logs only. */
  readonly agent: string | undefined;
  /** Latin1 text, in order. */
  readonly serverOptions: readonly string[];
}

export type Command =
  | { readonly command: "ls-refs"; readonly arguments: LsRefsRequest }
  | { readonly command: "fetch"; readonly arguments: FetchRequest }
  | { readonly command: "object-info"; readonly arguments: ObjectInfoRequest }
  | { readonly command: "bundle-uri" }
  /** A lone flush. */
  | { readonly command: "none" };

export type CommandRequest = Command & Preamble;

/** Arguments of one command: takes lines, answers the command whole. */
interface ArgumentReader {
  take(line: string): void;
  finish(): Command;
}

function argumentReader(name: string): ArgumentReader {
  switch (name) {
    case "ls-refs":
      return reader(new LsRefsArguments(), (request) => ({
        command: "ls-refs",
        arguments: request,
      }));
    case "fetch":
      return reader(new FetchArguments(), (request) => ({ command: "fetch", arguments: request }));
    case "object-info":
      return reader(new ObjectInfoArguments(), (request) => ({
        command: "object-info",
        arguments: request,
      }));
    case "bundle-uri":
      return reader(new BundleUriArguments(), () => ({ command: "bundle-uri" }));
    default:
      throw unknownCommand(name);
  }
}

/** The fault for a command that is none, or is not offered here. */
export function unknownCommand(name: string): Fault {
  return new Fault("wire/bad-request", { reason: "unknown command", command: shown(name) });
}

function reader<T>(
  lines: { take(line: string): void; finish(): T },
  whole: (request: T) => Command,
): ArgumentReader {
  return { take: (line) => lines.take(line), finish: () => whole(lines.finish()) };
}

/** Takes the packets of one request in order. */
export class CommandRequestReader {
  #lines: ArgumentReader | undefined;
  #inArguments = false;
  #agent: string | undefined;
  readonly #serverOptions: string[] = [];
  #started = false;

  /**
   * True once a packet came: an end of the stream from here on is truncation, before it a silent
   * good-bye.
   */
  get started(): boolean {
    return this.#started;
  }

  /** The whole request at its flush, undefined before. Every deviation throws a "wire/…" Fault. */
  take(packet: Packet): CommandRequest | undefined {
    const first = !this.#started;
    this.#started = true;
    switch (packet.kind) {
      case "flush":
        return this.#finish(first);
      case "delim":
        if (this.#inArguments || this.#lines === undefined)
          throw new Fault("wire/bad-request", { reason: "unexpected delim packet" });
        this.#inArguments = true;
        return undefined;
      case "response-end":
        throw new Fault("wire/bad-request", { reason: "unexpected response-end packet" });
      case "data":
        this.#takeLine(lineText(packet.payload));
        return undefined;
    }
  }

  #finish(first: boolean): CommandRequest {
    const preamble = { agent: this.#agent, serverOptions: this.#serverOptions };
    if (first) return { command: "none", ...preamble };
    if (this.#lines === undefined)
      throw new Fault("wire/bad-request", { reason: "no command requested" });
    return { ...this.#lines.finish(), ...preamble };
  }

  #takeLine(line: string): void {
    if (this.#inArguments) this.#lines?.take(line);
    else this.#takeCapability(line);
  }

  /** Git wants the command first but reads capabilities in any order; so do we. */
  #takeCapability(line: string): void {
    const equals = line.indexOf("=");
    const key = equals < 0 ? line : line.slice(0, equals);
    const value = equals < 0 ? undefined : line.slice(equals + 1);
    switch (key) {
      case "command":
        if (this.#lines !== undefined)
          throw new Fault("wire/bad-request", { reason: "a second command in one request" });
        this.#lines = argumentReader(value ?? "");
        break;
      case "agent":
        this.#agent = value?.slice(0, LIMITS.messageNameBytesMax);
        break;
      case "object-format":
        checkObjectFormat(value ?? true);
        break;
      case "server-option":
        this.#addServerOption(value, line);
        break;
      default:
        throw notOffered(key);
    }
  }

  #addServerOption(value: string | undefined, line: string): void {
    if (value === undefined || /[\0\n]/.test(value)) throw badLine("server-option=<option>", line);
    if (this.#serverOptions.length >= LIMITS.serverOptionsMax)
      throw new Fault("wire/too-much", { serverOptionsMax: LIMITS.serverOptionsMax });
    this.#serverOptions.push(value);
  }
}
