/**
 * A clone that only reads: asks for everything, strips the side bands, and can check the pack's
 * trailer. Costs the client little.
 */
import { createHash, type Hash } from "node:crypto";
import { type Agent, type ClientRequest, type IncomingMessage, request } from "node:http";

export interface RawClone {
  readonly packBytes: number;
  readonly objects: number;
  /** Milliseconds from sending the request to the first byte of the pack. */
  readonly firstByteMs: number;
  readonly totalMs: number;
  /** Undefined: not asked for. */
  readonly trailerIsRight: boolean | undefined;
}

export interface RawCloneOptions {
  readonly checkTrailer?: boolean;
  /** Extra lines of the request ("deepen 1", "filter blob:none"), or ids the client has. */
  readonly lines?: readonly string[];
  readonly haves?: readonly string[];
  readonly wants?: readonly string[];
}

export function pkt(text: string): string {
  return (text.length + 5).toString(16).padStart(4, "0") + text + "\n";
}

export interface PostOptions {
  readonly service?: "git-upload-pack" | "git-receive-pack";
  /** Connections that are kept; absent: one of its own. */
  readonly agent?: Agent;
}

export function post(
  url: string,
  body: string | Uint8Array,
  { service = "git-upload-pack", agent }: PostOptions = {},
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = {
      "Content-Type": `application/x-${service}-request`,
      "Content-Length": Buffer.byteLength(body),
      ...(service === "git-upload-pack" ? { "Git-Protocol": "version=2" } : {}),
    };
    const sent: ClientRequest = request(
      `${url}/${service}`,
      { method: "POST", headers, agent: agent ?? false },
      resolve,
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

/** The whole answer. */
export async function postWhole(
  url: string,
  body: string | Uint8Array,
  options: PostOptions = {},
): Promise<Buffer> {
  const response = await post(url, body, options);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  if (response.statusCode !== 200)
    throw new Error(`HTTP ${response.statusCode}: ${Buffer.concat(chunks).toString()}`);
  return Buffer.concat(chunks);
}

export const LS_REFS = `${pkt("command=ls-refs")}0001${pkt("peel")}${pkt("symrefs")}0000`;

/** Ids of all refs, HEAD included, deduplicated. */
export async function listTips(url: string): Promise<string[]> {
  const text = (await postWhole(url, LS_REFS)).toString("latin1");
  const oids = [...text.matchAll(/[0-9a-f]{4}([0-9a-f]{40}) (?:HEAD|refs\/)/g)].map(
    (match) => match[1] as string,
  );
  return [...new Set(oids)];
}

/** A fetch request whose negotiation is over. */
export function fetchBody(lines: readonly string[]): string {
  return `${pkt("command=fetch")}0001${["ofs-delta", "no-progress", ...lines, "done"].map(pkt).join("")}0000`;
}

export async function rawClone(url: string, options: RawCloneOptions = {}): Promise<RawClone> {
  const wants = options.wants ?? (await listTips(url));
  const lines = [
    ...wants.map((oid) => `want ${oid}`),
    ...(options.lines ?? []),
    ...(options.haves ?? []).map((oid) => `have ${oid}`),
  ];
  const body = fetchBody(lines);
  const start = performance.now();
  const response = await post(url, body);
  if (response.statusCode !== 200) throw new Error(`HTTP ${response.statusCode}`);
  const reader = new PackReader(options.checkTrailer === true, start);
  for await (const chunk of response) reader.take(chunk as Buffer);
  return reader.end();
}

/** Takes a version 2 fetch response apart without keeping it. */
class PackReader {
  readonly #hash: Hash | undefined;
  readonly #start: number;
  #left: Buffer = Buffer.alloc(0);
  #packBytes = 0;
  #objects = 0;
  #firstByteMs = 0;
  #tail: Buffer = Buffer.alloc(0);
  /** Band and bytes left of the packet being read. */
  #band = 0;
  #room = 0;
  #inPack = false;

  constructor(checkTrailer: boolean, start: number) {
    this.#hash = checkTrailer ? createHash("sha1") : undefined;
    this.#start = start;
  }

  take(chunk: Buffer): void {
    let data = this.#left.length === 0 ? chunk : Buffer.concat([this.#left, chunk]);
    while (data.length > 0) {
      if (this.#room > 0) {
        const piece = data.subarray(0, this.#room);
        this.#payload(piece);
        this.#room -= piece.length;
        data = data.subarray(piece.length);
        continue;
      }
      if (data.length < 5) break;
      const length = Number.parseInt(data.toString("latin1", 0, 4), 16);
      if (length < 4) {
        data = data.subarray(4);
        continue;
      }
      if (!this.#inPack) {
        if (data.length < length) break;
        const line = data.toString("latin1", 4, length);
        if (line.startsWith("ERR ")) throw new Error(line);
        if (line.startsWith("packfile")) this.#inPack = true;
        data = data.subarray(length);
        continue;
      }
      this.#band = data[4] as number;
      this.#room = length - 5;
      data = data.subarray(5);
    }
    this.#left = data.length === 0 ? data : Buffer.from(data);
  }

  #payload(piece: Buffer): void {
    if (this.#band === 3) throw new Error(piece.toString());
    if (this.#band !== 1) return;
    if (this.#packBytes === 0) {
      this.#firstByteMs = performance.now() - this.#start;
      this.#objects = piece.length >= 12 ? piece.readUInt32BE(8) : 0;
    }
    this.#packBytes += piece.length;
    if (this.#hash === undefined) return;
    const held = Buffer.concat([this.#tail, piece]);
    const keep = Math.min(20, held.length);
    this.#hash.update(held.subarray(0, held.length - keep));
    this.#tail = Buffer.from(held.subarray(held.length - keep));
  }

  end(): RawClone {
    if (this.#packBytes === 0) throw new Error("no pack came");
    return {
      packBytes: this.#packBytes,
      objects: this.#objects,
      firstByteMs: this.#firstByteMs,
      totalMs: performance.now() - this.#start,
      trailerIsRight: this.#hash === undefined ? undefined : this.#hash.digest().equals(this.#tail),
    };
  }
}
