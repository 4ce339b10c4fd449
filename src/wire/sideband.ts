/**
 * Bands: pack data (1), progress (2) and the last words before a stream breaks off (3), each
 * packet's first byte.
 *
 *   ffff... pkt-line length, 1 byte band, up to 65515 (side-band-64k) or 995 (side-band) bytes of
 *   data
 *
 * Source: gitprotocol-pack(5) "Packfile Data", gitprotocol-capabilities(5) "side-band,
 * side-band-64k".
 */
import { concat, fromLatin1 } from "../base/bytes.js";
import { LIMITS } from "../base/limits.js";
import { printable } from "../base/printable.js";
import { lengthDigits } from "./pkt-line.js";

/**
 * The side band that the client asked for. "none": the raw pack, and no place for progress or
 * errors.
 */
export type BandMode = "none" | "side-band" | "side-band-64k";
export type Band = 1 | 2 | 3;

/** Pkt-line length and band byte. */
const BAND_HEADER_BYTES = 5;

/** An empty data packet: says "still here" on a quiet stream. Git sends it every five seconds. */
export const KEEP_ALIVE: Uint8Array = fromLatin1("0005\x01");

/** Data bytes of one packet. */
export function bandDataBytesMax(mode: Exclude<BandMode, "none">): number {
  return mode === "side-band-64k" ? LIMITS.sideband64kDataBytesMax : LIMITS.sidebandDataBytesMax;
}

/**
 * `data` cut into packets of one band: a copy, for messages and reports (packs go through
 * `PackFrame`). Mode "none": band 1 is the data itself, the others have no way to the client and
 * give nothing.
 */
export function banded(mode: BandMode, band: Band, data: Uint8Array): Uint8Array {
  if (mode === "none") return band === 1 ? data : data.subarray(0, 0);
  const room = bandDataBytesMax(mode);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += room) {
    const piece = data.subarray(at, at + room);
    parts.push(bandHeader(band, piece.length), piece);
  }
  return concat(parts);
}

/**
 * Text for a person, UTF-8, in band 2 (progress) or 3 (error): git hands it to a terminal, whoever
 * wrote the names in it.
 */
export function bandedText(mode: BandMode, band: 2 | 3, text: string): Uint8Array {
  return banded(mode, band, Buffer.from(printable(text), "utf8"));
}

function bandHeader(band: Band, dataBytes: number): Uint8Array {
  return fromLatin1(lengthDigits(dataBytes + 1) + String.fromCharCode(band));
}

/**
 * A buffer that a pack is read into where it will lie between its band headers, so that framing
 * copies nothing:
 *
 *   [5 header][data …][5 header][data …] …
 *
 * Fill `views` from the first on (`fs.readv`, or `set`), then send `frame(bytes)`. Owned by one
 * stream and reused.
 */
export class PackFrame {
  /** Places for the data, in order. All full but the last one filled. */
  readonly views: readonly Uint8Array[];
  /** Data bytes that fit. */
  readonly capacity: number;
  readonly #buffer: Uint8Array;
  readonly #room: number;
  readonly #header: number;

  /** Room for at least one packet, about `bytes` in all. */
  constructor(mode: BandMode, bytes: number = LIMITS.streamChunkBytes) {
    this.#header = mode === "none" ? 0 : BAND_HEADER_BYTES;
    this.#room = mode === "none" ? bytes : bandDataBytesMax(mode);
    const packets = Math.max(1, Math.floor(bytes / this.#room));
    const step = this.#header + this.#room;
    // Pool memory is not zeroed; every byte sent has been written by a read or by `frame`.
    const buffer = Buffer.allocUnsafeSlow(packets * step);
    this.views = Array.from({ length: packets }, (_, at) =>
      buffer.subarray(at * step + this.#header, (at + 1) * step),
    );
    this.capacity = packets * this.#room;
    this.#buffer = buffer;
  }

  /**
   * Returns the bytes for the wire when the first `dataBytes` of the views are filled: a view,
   * valid until they are filled again.
   */
  frame(dataBytes: number): Uint8Array {
    if (dataBytes > this.capacity)
      throw new RangeError(`frame of ${this.capacity} bytes cannot hold ${dataBytes}`);
    if (this.#header === 0) return this.#buffer.subarray(0, dataBytes);
    let at = 0;
    for (let left = dataBytes; left > 0; left -= this.#room) {
      const piece = Math.min(left, this.#room);
      this.#buffer.set(bandHeader(1, piece), at);
      at += this.#header + piece;
    }
    return this.#buffer.subarray(0, at);
  }

  /** Bytes on the wire of `dataBytes` sent in frames that are full but for the last. */
  framedBytes(dataBytes: number): number {
    return dataBytes + this.#header * Math.ceil(dataBytes / this.#room);
  }

  /** Copies `data` (at most `capacity` bytes) into the views and frames it. */
  fill(data: Uint8Array): Uint8Array {
    let at = 0;
    for (const view of this.views) {
      if (at >= data.length) break;
      const piece = data.subarray(at, at + view.length);
      view.set(piece);
      at += piece.length;
    }
    return this.frame(data.length);
  }
}
