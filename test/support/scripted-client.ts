/** A client that says exactly what a test wants it to say, over HTTP, and takes answers apart. */
import { execFileSync } from "node:child_process";
import { inflateSync, type ZlibOptions } from "node:zlib";
import { type Packet, readPacket } from "../../src/wire/pkt-line.js";
import { concat, latin1 } from "../../src/base/bytes.js";

/** Lines become packets with LF; "flush" and "delim" stand for themselves. */
export function request(lines: readonly string[]): Buffer {
  const parts = lines.map((line) => {
    if (line === "flush") return "0000";
    if (line === "delim") return "0001";
    return `${(line.length + 5).toString(16).padStart(4, "0")}${line}\n`;
  });
  return Buffer.from(parts.join(""), "latin1");
}

export interface RawAnswer {
  readonly status: number;
  readonly bytes: Uint8Array;
}

export async function post(
  url: string,
  version: 0 | 1 | 2,
  lines: readonly string[] | Buffer,
): Promise<RawAnswer> {
  const response = await fetch(`${url}/git-upload-pack`, {
    method: "POST",
    headers: {
      "content-type": "application/x-git-upload-pack-request",
      ...(version === 0 ? {} : { "git-protocol": `version=${version}` }),
    },
    body: new Uint8Array(Buffer.isBuffer(lines) ? lines : request(lines)),
  });
  return { status: response.status, bytes: new Uint8Array(await response.arrayBuffer()) };
}

export async function advertisement(url: string, version: 0 | 1 | 2): Promise<string[]> {
  const headers: Record<string, string> =
    version === 0 ? {} : { "git-protocol": `version=${version}` };
  const response = await fetch(`${url}/info/refs?service=git-upload-pack`, { headers });
  return textLines(new Uint8Array(await response.arrayBuffer())).lines;
}

/** The parts of an answer: its lines up to the pack, the bands after. */
export interface Taken {
  /** Text lines without LF; "flush", "delim". */
  readonly lines: string[];
  readonly pack: Uint8Array;
  readonly progress: string;
  readonly fatal: string;
  /** The longest packet of band 1. */
  readonly dataBytesMax: number;
}

/**
 * Takes an answer apart; `banded`: packets after the "packfile" line, or all that start with a band
 * byte where there is none.
 */
export function textLines(bytes: Uint8Array): { lines: string[]; rest: Uint8Array } {
  const lines: string[] = [];
  let at = 0;
  while (at < bytes.length) {
    const read = isPacketStart(bytes, at) ? readPacket(bytes, at) : undefined;
    if (read === undefined) break;
    lines.push(lineOf(read.packet));
    at = read.end;
  }
  return { lines, rest: bytes.subarray(at) };
}

export function takeApart(bytes: Uint8Array): Taken {
  const lines: string[] = [];
  const pack: Uint8Array[] = [];
  let [progress, fatal, dataBytesMax, at] = ["", "", 0, 0];
  while (at < bytes.length) {
    if (!isPacketStart(bytes, at)) {
      pack.push(bytes.subarray(at)); // no bands: the raw pack
      break;
    }
    const read = readPacket(bytes, at);
    if (read === undefined) throw new Error(`cut at ${at} of ${bytes.length}`);
    at = read.end;
    const band = read.packet.kind === "data" ? read.packet.payload[0] : undefined;
    if (read.packet.kind !== "data" || band === undefined || band > 3)
      lines.push(lineOf(read.packet));
    else {
      const data = read.packet.payload.subarray(1);
      if (band === 1) {
        pack.push(data.slice());
        dataBytesMax = Math.max(dataBytesMax, data.length);
      } else if (band === 2) progress += Buffer.from(data).toString();
      else fatal += Buffer.from(data).toString();
    }
  }
  return { lines, pack: concat(pack), progress, fatal, dataBytesMax };
}

function isPacketStart(bytes: Uint8Array, at: number): boolean {
  return /^[0-9a-f]{4}$/.test(latin1(bytes.subarray(at, at + 4)));
}

function lineOf(packet: Packet): string {
  return packet.kind === "data" ? latin1(packet.payload).replace(/\n$/, "") : packet.kind;
}

/**
 * Asks stock git about a pack: type counts and how deltas name their bases. The pack may be thin if
 * `base` holds the bases.
 */
export function packFigures(
  pack: Uint8Array,
  base: string,
): { readonly objects: number; readonly ofsDeltas: number; readonly refDeltas: number } {
  // index-pack proves it; the entries are counted by walking them here.
  execFileSync("git", ["index-pack", "--stdin", "--fix-thin", "--strict"], {
    cwd: base,
    input: pack,
    stdio: ["pipe", "ignore", "pipe"],
  });
  return { objects: new DataView(pack.buffer, pack.byteOffset).getUint32(8), ...entryKinds(pack) };
}

function entryKinds(pack: Uint8Array): { readonly ofsDeltas: number; readonly refDeltas: number } {
  let [ofsDeltas, refDeltas, at] = [0, 0, 12];
  while (at < pack.length - 20) {
    let byte = pack[at++] as number;
    const type = (byte >> 4) & 7;
    while (byte & 0x80) byte = pack[at++] as number;
    if (type === 6) {
      ofsDeltas++;
      while ((pack[at++] as number) & 0x80);
    } else if (type === 7) {
      refDeltas++;
      at += 20;
    }
    at += consumed(pack.subarray(at));
  }
  return { ofsDeltas, refDeltas };
}

/** Bytes of the zlib stream at the start of `input`. */
function consumed(input: Uint8Array): number {
  const { engine } = inflateSync(input, { info: true } as ZlibOptions) as unknown as {
    engine: { bytesWritten: number };
  };
  return engine.bytesWritten;
}
