/** Shared fixtures of the transport suites. */
import { createHash } from "node:crypto";
import type { ByteSink, ByteSource } from "../../src/base/flow.js";
import type {
  HttpHandler,
  HttpListener,
  HttpListenOptions,
  HttpReply,
  HttpTimes,
  HttpTransport,
} from "../../src/transport/http/contract.js";

export const MIB = 1024 * 1024;
const PLAIN = [["Content-Type", "text/plain"]] as const;

export type Write = (sink: ByteSink) => Promise<void>;

export function reply(body: Uint8Array | Write, status = 200): HttpReply {
  return { status, headers: PLAIN, body };
}

export async function readAll(source: ByteSource): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let chunk = await source.read(); chunk !== undefined; chunk = await source.read())
    parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
}

/** Bytes that no shifted copy equals. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
  return bytes;
}

export function sha(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function post(body: string | Uint8Array, headers = "", path = "/"): Uint8Array {
  const bytes = typeof body === "string" ? Buffer.from(body, "latin1") : body;
  return Buffer.concat([
    Buffer.from(
      `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes.length}\r\n${headers}\r\n`,
      "latin1",
    ),
    bytes,
  ]);
}

export const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

export type Serve = (
  t: Pick<typeof import("tap").t, "teardown">,
  handler: HttpHandler,
  times?: Partial<HttpTimes>,
  more?: Pick<HttpListenOptions, "connections">,
) => Promise<HttpListener>;

/** Starts listeners that end with their test. */
export function serveOn(transport: HttpTransport): Serve {
  return async (t, handler, times = {}, more = {}) => {
    const listener = await transport.listen({
      host: "127.0.0.1",
      port: 0,
      handler,
      times,
      keepAliveMs: 5_000,
      ...more,
    });
    t.teardown(() => listener.close(0));
    return listener;
  };
}
