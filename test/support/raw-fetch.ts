/**
 * Fetches by raw requests: says exactly what was asked, reads exactly what came, and knows what a
 * pack holds.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { readPacket } from "../../src/wire/pkt-line.js";
import { rawRequest } from "./raw-client.js";
import { git, objectSet } from "./harness.js";
import { tempFolder } from "./temp-folder.js";

export interface RawFetchReply {
  readonly status: number;
  /** Lines before the pack, LF dropped; "flush" and "delim" as such. */
  readonly lines: readonly string[];
  /** Raw, or what band 1 held. */
  readonly pack: Buffer;
  readonly progress: string;
  readonly error: string;
  /** Bytes of the longest packet, its digits included; 0 where none was banded. */
  readonly longestBanded: number;
}

/** A line each; "0000" and "0001" are flush and delim. */
export function pkts(...lines: readonly string[]): string {
  return lines
    .map((line) =>
      /^000[0-2]$/.test(line)
        ? line
        : `${(line.length + 5).toString(16).padStart(4, "0")}${line}\n`,
    )
    .join("");
}

export interface Endpoint {
  readonly port: number;
}

/** POSTs to git-upload-pack and reads the answer in whichever form it comes. */
export async function rawFetch(
  server: Endpoint,
  repository: string,
  version: 0 | 1 | 2,
  body: string,
): Promise<RawFetchReply> {
  const head = `POST /${repository}.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=${version}\r\nContent-Length: ${body.length}\r\n\r\n`;
  const reply = await rawRequest(server.port, Buffer.from(head + body, "latin1"));
  if (!reply.whole) throw new Error("the reply broke off");
  return { status: reply.status, ...readReply(reply.body) };
}

/** Capabilities behind the NUL of version 0, or the lines of version 2. */
export async function advertised(
  server: Endpoint,
  repository: string,
  version: 0 | 1 | 2,
  service = "git-upload-pack",
): Promise<string[]> {
  const reply = await rawRequest(
    server.port,
    `GET /${repository}.git/info/refs?service=${service} HTTP/1.1\r\nHost: localhost\r\nGit-Protocol: version=${version}\r\n\r\n`,
  );
  const text = reply.body.toString("latin1");
  if (version === 2) return readReply(reply.body).lines.filter((line) => line !== "flush");
  return (/\0(.*)\n/.exec(text)?.[1] ?? "").trim().split(" ");
}

function readReply(body: Buffer): Omit<RawFetchReply, "status"> {
  const lines: string[] = [];
  const bands: Buffer[][] = [[], [], [], []];
  let longestBanded = 0;
  for (let at = 0; at < body.length; ) {
    if (body.subarray(at, at + 4).toString("latin1") === "PACK") {
      bands[1]?.push(body.subarray(at));
      break;
    }
    const read = readPacket(body, at);
    if (read === undefined) {
      lines.push(`not a packet: ${body.subarray(at, at + 80).toString("latin1")}`);
      break;
    }
    at = read.end;
    if (read.packet.kind !== "data") {
      lines.push(read.packet.kind);
      continue;
    }
    const payload = Buffer.from(read.packet.payload);
    const band = payload[0] ?? 0;
    if (band < 1 || band > 3) lines.push(payload.toString("latin1").replace(/\n$/, ""));
    else {
      bands[band]?.push(payload.subarray(1));
      longestBanded = Math.max(longestBanded, payload.length + 4);
    }
  }
  const [, pack = [], progress = [], error = []] = bands;
  return {
    lines,
    pack: Buffer.concat(pack),
    progress: Buffer.concat(progress).toString(),
    error: Buffer.concat(error).toString(),
    longestBanded,
  };
}

export interface PackFacts {
  /** Ids that the repository holds with the pack, less those it held before; sorted. */
  readonly oids: readonly string[];
  /** Type numbers of the entries as they lie in the pack sent: 1 to 4, 6 ofs-delta, 7 ref-delta. */
  readonly types: readonly number[];
  /** Objects its header counts. */
  readonly count: number;
}

/** Indexes a pack with stock git; `onto`: a bare repository that has the bases of a thin one. */
export async function packFacts(t: Test, pack: Buffer, onto?: string): Promise<PackFacts> {
  const folder = join(await tempFolder(t), "pack.git");
  await git(
    onto === undefined
      ? ["init", "-q", "--bare", folder]
      : ["clone", "-q", "--mirror", onto, folder],
  );
  const before = new Set(await objectSet(folder));
  const said = await git(
    ["index-pack", "--stdin", ...(onto === undefined ? ["--fsck-objects"] : ["--fix-thin"])],
    {
      cwd: folder,
      input: pack,
    },
  );
  const checksum = said.split(/\s/).at(-1) ?? "";
  const path = join(folder, `objects/pack/pack-${checksum}`);
  const index = await git(["show-index"], { cwd: folder, input: await readFile(`${path}.idx`) });
  const offsets = index === "" ? [] : index.split("\n").map((line) => Number(line.split(" ")[0]));
  return {
    oids: (await objectSet(folder)).filter((oid) => !before.has(oid)),
    types: offsets
      .filter((offset) => offset < pack.length - 20)
      .map((offset) => ((pack[offset] ?? 0) >> 4) & 7),
    count: pack.readUInt32BE(8),
  };
}
