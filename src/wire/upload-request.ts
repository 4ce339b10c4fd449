/**
 * A fetch in versions 0 and 1.
 *
 *   want <oid> <capabilities>, want <oid> …, shallow <oid> …, deepen… , filter <spec>, flush      UploadRequest
 *   have <oid> …, flush, have <oid> …, flush or done                                              HaveLines
 *
 * Source: gitprotocol-pack(5) "Packfile Negotiation".
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { Oid } from "../git/oid.js";
import { OidList, type Oids } from "../git/oid-list.js";
import { badLine, LineBudget, readOid, splitLine } from "./arguments.js";
import { type ClientCapabilities, type Offer, readCapabilities } from "./capabilities.js";
import { DepthLines, type DepthRequest } from "./depth.js";
import { type Filter, parseFilter } from "./filter.js";
import { lineText, LineWriter, type Packet } from "./pkt-line.js";

export interface UploadRequest {
  /** Empty: the client only wanted to see the refs. */
  readonly wants: Oids;
  readonly capabilities: ClientCapabilities;
  readonly shallows: Oids;
  readonly depth: DepthRequest | undefined;
  readonly filter: Filter | undefined;
}

/** Takes the packets of a request up to its flush. */
export class UploadRequestReader {
  readonly #offer: Offer;
  readonly #budget = new LineBudget(LIMITS.fetchLinesMax);
  readonly #wants = new OidList();
  readonly #shallows = new OidList();
  readonly #depth = new DepthLines();
  #capabilities: ClientCapabilities = new Map();
  #filter: Filter | undefined;

  constructor(offer: Offer) {
    this.#offer = offer;
  }

  /** The request at its flush, undefined before. Every deviation throws a "wire/…" Fault. */
  take(packet: Packet): UploadRequest | undefined {
    if (packet.kind === "flush") return this.#finish();
    if (packet.kind !== "data")
      throw new Fault("wire/bad-request", { reason: `unexpected ${packet.kind} packet` });
    this.#takeLine(lineText(packet.payload));
    return undefined;
  }

  #finish(): UploadRequest {
    if (this.#capabilities.has("deepen-relative")) this.#depth.relative();
    return {
      wants: this.#wants,
      capabilities: this.#capabilities,
      shallows: this.#shallows,
      depth: this.#depth.finish(),
      filter: this.#filter,
    };
  }

  #takeLine(line: string): void {
    this.#budget.spend();
    const { key, value } = splitLine(line);
    if (key === "want") this.#takeWant(value, line);
    else if (this.#wants.length === 0) throw badLine("want <oid> <capabilities>", line);
    else if (key === "shallow") this.#shallows.push(readOid(value, line));
    else if (key === "filter") this.#takeFilter(value);
    else if (!this.#depth.take(key, value, line))
      throw badLine("want, shallow, deepen or filter", line);
  }

  /** Capabilities follow the first want behind a space; behind a later one they are an error. */
  #takeWant(value: string, line: string): void {
    const { key: oid, value: list } = splitLine(value);
    if (this.#wants.length === 0)
      this.#capabilities = readCapabilities("upload-pack", list, this.#offer);
    else if (list !== "") throw badLine("capabilities behind the first want only", line);
    this.#wants.push(readOid(oid, line));
  }

  #takeFilter(value: string): void {
    if (this.#filter !== undefined)
      throw new Fault("wire/bad-filter", { reason: "more than one filter line" });
    this.#filter = parseFilter(value);
  }
}

/** The content of one packet of the negotiation. */
export type HaveLine =
  | { readonly kind: "have"; readonly oid: Oid }
  | { readonly kind: "flush" }
  | { readonly kind: "done" };

/** Takes the packets after an upload request. Nothing may follow `done`. */
export class HaveLines {
  readonly #budget = new LineBudget(LIMITS.fetchLinesMax);
  #done = false;

  take(packet: Packet): HaveLine {
    if (this.#done) throw new Fault("wire/bad-request", { reason: "a packet after done" });
    if (packet.kind === "flush") return { kind: "flush" };
    if (packet.kind !== "data")
      throw new Fault("wire/bad-request", { reason: `unexpected ${packet.kind} packet` });
    const line = lineText(packet.payload);
    this.#budget.spend();
    if (line === "done") {
      this.#done = true;
      return { kind: "done" };
    }
    const { key, value } = splitLine(line);
    if (key !== "have") throw badLine("have <oid> or done", line);
    return { kind: "have", oid: readOid(value, line) };
  }
}

/**
 * Boundaries of a depth request, sent before the haves are read. gitprotocol-pack(5)
 * "shallow-update".
 */
export function shallowUpdate(shallows: readonly Oid[], unshallows: readonly Oid[]): Uint8Array {
  const writer = new LineWriter();
  for (const oid of shallows) writer.bare(`shallow ${oid}`);
  for (const oid of unshallows) writer.bare(`unshallow ${oid}`);
  return writer.flush().take();
}

/**
 * The word that acknowledges an id: "continue" with multi_ack, "common" and "ready" with
 * multi_ack_detailed, bare otherwise and last.
 */
export type AckStatus = "continue" | "common" | "ready" | "";

/** An answer to haves: "ACK <oid>[ <status>]" and "NAK" lines. */
export class AckWriter {
  readonly #writer = new LineWriter();

  ack(oid: Oid, status: AckStatus): this {
    this.#writer.line(status === "" ? `ACK ${oid}` : `ACK ${oid} ${status}`);
    return this;
  }

  nak(): this {
    this.#writer.line("NAK");
    return this;
  }

  take(): Uint8Array {
    return this.#writer.take();
  }
}
