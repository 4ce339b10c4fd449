/**
 * `full-buffer-peer.js uws|node chunked|sized`: sends numbered bytes to readers that dawdle, and
 * prints which replies were not what was sent.
 */
import { connect } from "node:net";
import { LIMITS } from "../../src/base/limits.js";
import { loadTransport } from "../../src/transport/load.js";
import { seeded } from "../support/random.js";

const REPLIES = 150;
const AT_ONCE = 8;
const content = Buffer.alloc(2_000_000);
for (let at = 0; at < content.length; at += 4) content.writeUInt32BE(at, at);

const [kind, size] = process.argv.slice(2);
const { listen } = await loadTransport(kind === "uws" ? "uws" : "node");
const listener = await listen({
  host: "127.0.0.1",
  port: 0,
  handler: async () => ({
    status: 200,
    headers: [["Content-Type", "application/octet-stream"]],
    body: async (sink) => {
      sink.expect?.(size === "sized" ? content.length : "large");
      for (let at = 0; at < content.length; at += LIMITS.streamChunkBytes)
        await sink.write(content.subarray(at, at + LIMITS.streamChunkBytes));
    },
  }),
});

/** Reads a little at a time, waits now and then; the body as far as its framing holds. */
async function received(seed: number): Promise<Buffer> {
  const random = seeded(seed);
  const parts: Buffer[] = [];
  await new Promise<void>((resolve) => {
    const socket = connect({
      port: listener.port,
      host: "127.0.0.1",
      onread: {
        buffer: Buffer.alloc(500 << random.below(6)),
        callback: (bytes, buffer) => {
          parts.push(Buffer.from(buffer.subarray(0, bytes)));
          if (random.below(40) > 0) return true;
          socket.pause();
          setTimeout(() => socket.resume(), random.below(3));
          return true;
        },
      },
    });
    socket.on("close", () => resolve()).on("error", () => resolve());
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  });
  const reply = Buffer.concat(parts);
  const body = reply.subarray(reply.indexOf("\r\n\r\n") + 4);
  return size === "sized" ? body : unchunked(body);
}

/** RFC 9112, 7.1; what does not hold to it is kept as it is. */
function unchunked(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = body.indexOf("\r\n", at);
    const digits = body.toString("latin1", at, Math.max(at, lineEnd));
    if (!/^[0-9a-f]+$/i.test(digits)) return Buffer.concat([...parts, body.subarray(at)]);
    const start = lineEnd + 2;
    const end = start + Number.parseInt(digits, 16);
    if (end === start) return Buffer.concat(parts);
    parts.push(body.subarray(start, end));
    at = end + 2;
  }
}

const wrong: string[] = [];
let next = 0;

async function readOnAndOn(): Promise<void> {
  while (next < REPLIES) {
    const seed = next++;
    const reply = await received(seed).catch((error: unknown) => Buffer.from(String(error)));
    if (!reply.equals(content))
      wrong.push(`reply ${seed}: ${reply.length} bytes, ${difference(reply)}`);
  }
}

/** Returns where it differs first, and with what. */
function difference(reply: Buffer): string {
  let at = 0;
  while (at < reply.length && reply[at] === content[at]) at++;
  return `from byte ${at} on: ${JSON.stringify(reply.toString("latin1", at, at + 30))}`;
}

await Promise.all(Array.from({ length: AT_ONCE }, readOnAndOn));
await listener.close(0);
process.stdout.write(JSON.stringify({ replies: REPLIES, wrong }));
