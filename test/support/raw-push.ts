/** Pushes by hand-made requests: what no client would send, or would hide. */
import type { Lakepack } from "./harness.js";

/** One pkt-line, latin1 text. */
export function pkt(text: string): string {
  return (text.length + 4).toString(16).padStart(4, "0") + text;
}

/** One command; capabilities behind a NUL for the first. */
export function command(old: string, young: string, name: string, capabilities?: string): string {
  return pkt(`${old} ${young} ${name}${capabilities === undefined ? "" : `\0${capabilities}`}`);
}

export interface RawReply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

/** An empty pack: what a client sends when every object is there already. */
export const EMPTY_PACK = Buffer.from(
  "5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e",
  "hex",
);

/** `lines` (pkt-lines and special packets), a flush, the pack. */
export async function postPush(
  server: Lakepack,
  path: string,
  lines: readonly string[],
  pack: Uint8Array = EMPTY_PACK,
): Promise<RawReply> {
  const body = Buffer.concat([Buffer.from(`${lines.join("")}0000`, "latin1"), pack]);
  const response = await fetch(`${server.url}${path}/git-receive-pack`, {
    method: "POST",
    headers: { "Content-Type": "application/x-git-receive-pack-request" },
    body,
  });
  return {
    status: response.status,
    headers: response.headers,
    body: Buffer.from(await response.arrayBuffer()),
  };
}

/** Takes a report apart, banded or not. */
export function parseReport(body: Buffer): { unpack: string; refs: string[] } {
  const lines = packets(body);
  const inner = lines.some((line) => line.startsWith("\x01"))
    ? packets(
        Buffer.from(
          lines
            .filter((line) => line.startsWith("\x01"))
            .map((line) => line.slice(1))
            .join(""),
          "latin1",
        ),
      )
    : lines;
  const texts = inner.map((line) => line.replace(/\n$/, ""));
  return { unpack: texts[0]?.replace(/^unpack /, "") ?? "", refs: texts.slice(1) };
}

function packets(bytes: Buffer): string[] {
  const lines: string[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = Number.parseInt(bytes.toString("latin1", at, at + 4), 16);
    if (length >= 4) lines.push(bytes.toString("latin1", at + 4, at + length));
    at += Math.max(4, length);
  }
  return lines;
}
