/**
 * pkt-lines: the frame of everything Git says before and around a pack.
 *
 *   0006a\n  payload "a\n"     0004  empty payload (legal to read, never sent)
 *   0000 flush                 0001 delim                 0002 response-end
 *
 * Source: gitprotocol-common(5) "pkt-line Format"; gitprotocol-v2(5) "Packet-Line Framing".
 */
import { concat, fromLatin1, hexDigit, latin1 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { printable } from "../base/printable.js";

export type SpecialKind = "flush" | "delim" | "response-end";
export type Packet =
  | { readonly kind: "data"; readonly payload: Uint8Array }
  | { readonly kind: SpecialKind };

export interface PacketRead {
  readonly packet: Packet;
  /** Offset where the next packet starts. */
  readonly end: number;
}

const LENGTH_DIGITS = 4;
const LF = 0x0a;
const SPECIAL: readonly (SpecialKind | undefined)[] = ["flush", "delim", "response-end"];

export const FLUSH: Uint8Array = fromLatin1("0000");
export const DELIM: Uint8Array = fromLatin1("0001");
export const RESPONSE_END: Uint8Array = fromLatin1("0002");

/**
 * Reads one packet at `start`; undefined means more bytes are needed.
 * `payload` is a view of `input`, not a copy. Throws "wire/bad-length".
 */
export function readPacket(input: Uint8Array, start: number): PacketRead | undefined {
  if (input.length - start < LENGTH_DIGITS) return undefined;
  const length = readLength(input, start);
  const special = SPECIAL[length];
  if (special !== undefined) return { packet: { kind: special }, end: start + LENGTH_DIGITS };
  const end = start + length;
  if (end > input.length) return undefined;
  return { packet: { kind: "data", payload: input.subarray(start + LENGTH_DIGITS, end) }, end };
}

/**
 * Value of the four digits at `at`: 0, 1, 2 or a whole packet's length. Throws "wire/bad-length".
 */
function readLength(input: Uint8Array, at: number): number {
  let length = 0;
  for (let digit = 0; digit < LENGTH_DIGITS; digit++) {
    const value = hexDigit(input[at + digit] ?? 0);
    if (value < 0)
      throw new Fault("wire/bad-length", {
        digits: shownDigits(input.subarray(at, at + LENGTH_DIGITS)),
      });
    length = length * 16 + value;
  }
  if (length === 3 || length > LIMITS.pktLineBytesMax)
    throw new Fault("wire/bad-length", { length });
  return length;
}

/** Bytes as a message may show them. */
function shownDigits(bytes: Uint8Array): string {
  return latin1(bytes).replace(/[^\x21-\x7e]/g, "?");
}

/**
 * Reads packets from a stream cut at any byte. Push a chunk, call `next` until it answers
 * undefined, push the next. At most one packet is held; the work is linear however small the chunks
 * are.
 */
export class PacketReader {
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;
  /**
   * The packet that a chunk's end cut in two, as far as it is known. Grows with bytes received, not
   * with bytes claimed.
   */
  #carry = new Uint8Array(256);
  #carried = 0;

  /**
   * Hands over the next bytes; they must stay unchanged until `next` answers undefined or `rest` is
   * called.
   */
  push(chunk: Uint8Array): void {
    if (this.#at < this.#chunk.length) throw new TypeError("the last chunk is not read to its end");
    this.#chunk = chunk;
    this.#at = 0;
  }

  /**
   * The next packet; undefined: push more. A payload is a view, valid until the next call of any
   * method.
   */
  next(): Packet | undefined {
    if (this.#carried > 0) return this.#nextCarried();
    const read = readPacket(this.#chunk, this.#at);
    if (read === undefined) {
      this.#carryOn(this.#chunk.length - this.#at);
      return undefined;
    }
    this.#at = read.end;
    return read.packet;
  }

  /**
   * Bytes after the last packet read (the pack that follows a command list); the reader is empty
   * then. A view or a copy.
   */
  rest(): Uint8Array {
    const left = this.#chunk.subarray(this.#at);
    const rest =
      this.#carried === 0 ? left : concat([this.#carry.subarray(0, this.#carried), left]);
    this.#carried = 0;
    this.#at = this.#chunk.length;
    return rest;
  }

  /** The stream has ended: throws "wire/truncated" inside a packet. */
  finish(): void {
    const left = this.#carried + this.#chunk.length - this.#at;
    if (left > 0) throw new Fault("wire/truncated", { bytes: left });
  }

  #nextCarried(): Packet | undefined {
    if (this.#carried < LENGTH_DIGITS) this.#carryOn(LENGTH_DIGITS - this.#carried);
    if (this.#carried < LENGTH_DIGITS) return undefined;
    const length = readLength(this.#carry, 0);
    if (length > this.#carried) this.#carryOn(length - this.#carried);
    const read = readPacket(this.#carry.subarray(0, this.#carried), 0);
    if (read !== undefined) this.#carried = 0;
    return read?.packet;
  }

  /** Moves up to `count` bytes of the chunk into the carried packet. */
  #carryOn(count: number): void {
    const taken = this.#chunk.subarray(this.#at, this.#at + count);
    if (this.#carried + taken.length > this.#carry.length) {
      const grown = new Uint8Array(2 * (this.#carried + taken.length));
      grown.set(this.#carry.subarray(0, this.#carried));
      this.#carry = grown;
    }
    this.#carry.set(taken, this.#carried);
    this.#carried += taken.length;
    this.#at += taken.length;
  }
}

/**
 * Text of a line (one UTF-16 unit a byte), one LF at its end dropped. gitprotocol-common(5):
 * "stripping the LF if present".
 */
export function lineText(payload: Uint8Array): string {
  const end =
    payload.length > 0 && payload[payload.length - 1] === LF ? payload.length - 1 : payload.length;
  return latin1(payload.subarray(0, end));
}

/** Four digits for a packet of `payloadBytes`. */
export function lengthDigits(payloadBytes: number): string {
  const length = payloadBytes + LENGTH_DIGITS;
  if (payloadBytes < 1 || length > LIMITS.pktLineBytesMax)
    throw new RangeError(`no pkt-line holds ${payloadBytes} bytes`);
  return DIGITS[length] ?? hex4(length);
}

function hex4(length: number): string {
  return length.toString(16).padStart(LENGTH_DIGITS, "0");
}

/**
 * Nearly every line is short: an advertisement of 10,000 refs asks for these digits 10,000 times.
 */
const DIGITS: readonly string[] = Array.from({ length: 512 }, (_, length) => hex4(length));

/** One packet holding `payload`: a new array. */
export function packet(payload: Uint8Array): Uint8Array {
  return concat([fromLatin1(lengthDigits(payload.length)), payload]);
}

/**
 * `ERR <reason>`, which ends any conversation. Control characters become spaces, long texts are
 * cut. gitprotocol-pack(5) "error-line".
 */
export function errorPacket(reason: string): Uint8Array {
  return packet(Buffer.from(`ERR ${oneLine(reason)}`, "utf8"));
}

/** A message as one line of at most 1,000 characters. */
export function oneLine(text: string): string {
  return printable(text.replace(/[\x00-\x1f\x7f]+/g, " "))
    .trim()
    .slice(0, 1_000);
}

/**
 * Collects lines (latin1 text, LF added) and special packets, and hands them out as bytes. With
 * `band` every line starts with the band-1 byte, as `sideband-all` wants it; flush and delim stay
 * bare. gitprotocol-v2(5) "sideband-all".
 */
export class LineWriter {
  #text = "";
  readonly #prefix: string;

  constructor(options: { readonly band: boolean } = { band: false }) {
    this.#prefix = options.band ? "\x01" : "";
  }

  /** Bytes waiting. */
  get length(): number {
    return this.#text.length;
  }

  line(text: string): this {
    this.#text += `${lengthDigits(this.#prefix.length + text.length + 1)}${this.#prefix}${text}\n`;
    return this;
  }

  /** Without LF, where Git sends none and libgit2 takes none. */
  bare(text: string): this {
    this.#text += `${lengthDigits(this.#prefix.length + text.length)}${this.#prefix}${text}`;
    return this;
  }

  flush(): this {
    this.#text += "0000";
    return this;
  }

  delim(): this {
    this.#text += "0001";
    return this;
  }

  /** Everything collected since the last call. */
  take(): Uint8Array {
    const bytes = fromLatin1(this.#text);
    this.#text = "";
    return bytes;
  }
}
