/**
 * Stands between a node and a real server, counts what passes, and does to single calls what
 * networks and servers do.
 */
import {
  Agent,
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";
import type { RunningLakefs } from "./lakefs-servers.js";

/** Fate of a call; undefined: it passes. */
export type Mishap =
  | {
      readonly as: "answer";
      readonly status: number;
      readonly body?: string | Uint8Array;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The connection is cut behind so many bytes of the answer's body. */
  | { readonly as: "cut"; readonly bodyBytes: number }
  /** It passes, but the answer never comes. */
  | { readonly as: "silence" }
  /** The connection is cut before anything passes: the server is away. */
  | { readonly as: "drop" }
  /** Its body passes at so many bytes a second. */
  | { readonly as: "paced"; readonly bytesPerSecond: number }
  /** It begins so much later. */
  | { readonly as: "late"; readonly ms: number }
  /** The answer is another. */
  | { readonly as: "rewrite"; readonly body: (body: Buffer) => Buffer };

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
}

export interface LakefsProxy {
  readonly server: RunningLakefs;
  readonly url: string;
  /** Calls so far. */
  readonly calls: Call[];
  /** Asked before each call. */
  onCall: (call: Call) => Mishap | undefined;
  /** Nobody listens any more, as where a server is ended. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
}

/** A server as seen through a proxy of its own. */
export async function startProxy(
  t: Pick<Test, "teardown">,
  server: RunningLakefs,
  target = server.access.endpoint,
): Promise<LakefsProxy> {
  const calls: Call[] = [];
  const agent = new Agent({ keepAlive: true });
  const listener = createServer((request, response) => {
    const call = {
      method: request.method ?? "",
      path: request.url ?? "",
      authorization: request.headers.authorization,
    };
    calls.push(call);
    const mishap = proxy.onCall(call);
    if (mishap?.as === "answer") {
      request.resume();
      response.writeHead(mishap.status, mishap.headers).end(mishap.body);
      return;
    }
    if (mishap?.as === "drop") return void request.socket.destroy();
    const { method } = request;
    const headers = { ...request.headers, host: new URL(target).host }; // which is signed
    const onward = httpRequest(
      new URL(call.path, target),
      { agent, method, headers },
      (answer) => void reply(answer, response, mishap),
    );
    onward.on("error", () => response.destroy());
    response.on("close", () => void (response.writableEnded || onward.destroy()));
    if (mishap?.as === "late") setTimeout(() => request.pipe(onward), mishap.ms);
    else if (mishap?.as === "paced") paced(request, mishap.bytesPerSecond).pipe(onward);
    else request.pipe(onward);
  });
  const listen = (port: number) =>
    new Promise<void>((resolve) => void listener.listen(port, "127.0.0.1", resolve));
  await listen(0);
  t.teardown(() => {
    listener.close();
    listener.closeAllConnections();
    agent.destroy();
  });
  const { port } = listener.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const goAway = () =>
    new Promise<void>((resolve) => {
      listener.close(() => resolve());
      listener.closeAllConnections();
    });
  const seen = { ...server, access: { ...server.access, endpoint: url } };
  const proxy: LakefsProxy = {
    server: seen,
    url,
    calls,
    onCall: () => undefined,
    goAway,
    comeBack: () => listen(port),
  };
  return proxy;
}

function paced(request: IncomingMessage, bytesPerSecond: number): Readable {
  const pieces = async function* () {
    for await (const piece of request) {
      yield piece as Buffer;
      await sleep(((piece as Buffer).length / bytesPerSecond) * 1_000);
    }
  };
  return Readable.from(pieces());
}

async function reply(
  answer: IncomingMessage,
  response: ServerResponse,
  mishap: Mishap | undefined,
): Promise<void> {
  if (mishap?.as === "silence") return void answer.resume();
  if (mishap === undefined || mishap.as === "late" || mishap.as === "paced") {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
    return;
  }
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(part as Buffer);
  const body = Buffer.concat(parts);
  if (mishap.as === "cut") {
    response.writeHead(answer.statusCode ?? 502, {
      ...answer.headers,
      "content-length": String(body.length),
    });
    response.write(body.subarray(0, mishap.bodyBytes), () => response.destroy());
  } else if (mishap.as === "rewrite") {
    const changed = mishap.body(body);
    const { "content-length": _, "transfer-encoding": __, ...headers } = answer.headers;
    response
      .writeHead(answer.statusCode ?? 502, { ...headers, "content-length": String(changed.length) })
      .end(changed);
  }
}

/** Returns the kind of a call, by its address alone. */
export function kindOf({ method, path }: Call): "listing" | "content" | "other" {
  if (/\/objects\/ls\?|\/metadata\/object\//.test(path)) return "listing";
  return method === "GET" && /\/refs\/[^/]+\/objects\?/.test(path) ? "content" : "other";
}
