/**
 * Stands between a store and a real S3 server, and does to single requests what networks and
 * servers do. What passes keeps its Host, which is signed.
 */
import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as httpRequest,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";

/** Fate of a request; undefined: it passes. */
export type S3Mishap =
  /** It does not pass; this is answered. */
  | {
      readonly as: "answer";
      readonly status: number;
      /** S3's name of the failure. */
      readonly code: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The connection is cut before anything passes. */
  | { readonly as: "drop" }
  /** Half of its body passes, then both connections are cut. */
  | { readonly as: "half" }
  /** It passes, and the connection is cut in place of the answer. */
  | { readonly as: "lost" }
  /** It passes, and no answer ever comes. */
  | { readonly as: "silence" }
  /** The connection is cut now; it passes so much later. */
  | { readonly as: "late"; readonly ms: number }
  /** The connection is cut behind so many bytes of the answer's body. */
  | { readonly as: "cut"; readonly bodyBytes: number }
  /** Nothing comes behind so many bytes of the answer's body. */
  | { readonly as: "stall"; readonly bodyBytes: number }
  /** The answer is another, or the same a while later. */
  | {
      readonly as: "rewrite";
      readonly answer: (answer: S3Answer) => S3Answer | Promise<S3Answer>;
    };

export interface S3Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface S3Call {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
}

export interface S3Proxy {
  readonly endpoint: string;
  /** Requests so far. */
  readonly calls: S3Call[];
  /** Asked before each request. */
  onCall: (call: S3Call) => S3Mishap | undefined | Promise<S3Mishap | undefined>;
  /** Connections that clients have open. */
  connections(): Promise<number>;
  /** Resolves when everything that is late has passed. */
  settled(): Promise<void>;
}

export async function startS3Proxy(
  t: Pick<Test, "teardown">,
  { port }: { readonly port: number },
): Promise<S3Proxy> {
  const agent = new Agent({ keepAlive: true });
  const late = new Set<Promise<unknown>>();
  const calls: S3Call[] = [];
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const call = {
      method: request.method ?? "",
      path: request.url ?? "",
      headers: request.headers,
    };
    calls.push(call);
    const mishap = await proxy.onCall(call);
    if (mishap?.as === "drop") return void request.socket.destroy();
    const body = await bodyOf(request);
    if (mishap?.as === "answer") return answerOf(mishap, response);
    if (mishap?.as === "half") {
      await passHalf(call, body);
      return void request.socket.destroy();
    }
    if (mishap?.as === "late") {
      request.socket.destroy();
      const passing = sleep(mishap.ms).then(() => pass(call, body));
      late.add(passing);
      return;
    }
    await reply(await pass(call, body), response, mishap);
  };
  const pass = (call: S3Call, body: Buffer): Promise<S3Answer> =>
    new Promise((resolve, reject) => {
      const { method, path, headers } = call;
      const onward = httpRequest(
        { host: "127.0.0.1", port, agent, method, path, headers },
        (answer) =>
          bodyOf(answer).then(
            (body) => resolve({ status: answer.statusCode ?? 502, headers: answer.headers, body }),
            reject,
          ),
      );
      onward.on("error", reject);
      onward.end(body);
    });
  const passHalf = ({ method, path, headers }: S3Call, body: Buffer): Promise<void> =>
    new Promise((resolve) => {
      const onward = httpRequest({ host: "127.0.0.1", port, agent: false, method, path, headers });
      onward.on("error", () => resolve());
      onward.on("close", () => resolve());
      onward.write(body.subarray(0, body.length / 2), () => setTimeout(() => onward.destroy(), 50));
    });
  const listener = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  listener.keepAliveTimeout = 60_000; // a connection that is closed here is none that a client left
  await new Promise<void>((resolve) => void listener.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    listener.close();
    listener.closeAllConnections();
    agent.destroy();
  });
  const proxy: S3Proxy = {
    endpoint: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    calls,
    onCall: () => undefined,
    connections: () =>
      new Promise((resolve, reject) =>
        listener.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
    settled: async () => void (await Promise.all(late)),
  };
  return proxy;
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function answerOf(
  { status, code, headers }: Extract<S3Mishap, { as: "answer" }>,
  response: ServerResponse,
): void {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>made up</Message></Error>`;
  response.writeHead(status, { "content-type": "application/xml", ...headers }).end(body);
}

async function reply(
  answer: S3Answer,
  response: ServerResponse,
  mishap: S3Mishap | undefined,
): Promise<void> {
  if (mishap?.as === "lost") return void response.destroy();
  if (mishap?.as === "silence") return;
  const { status, headers, body } = mishap?.as === "rewrite" ? await mishap.answer(answer) : answer;
  response.writeHead(status, headers);
  if (mishap?.as === "cut") {
    response.write(body.subarray(0, mishap.bodyBytes), () => response.destroy());
  } else if (mishap?.as === "stall") response.write(body.subarray(0, mishap.bodyBytes));
  else response.end(body);
}

/** Gives the fates to the requests that `matches`, in order; all others pass. */
export function fates(
  matches: (call: S3Call) => boolean,
  ...mishaps: (S3Mishap | undefined)[]
): (call: S3Call) => S3Mishap | undefined {
  return (call) => (matches(call) ? mishaps.shift() : undefined);
}

/** Operation of a request, as the store's figures name it. */
export function operationOf({ method, path }: S3Call): string {
  const query = new URL(path, "http://s3").searchParams;
  if (method === "GET") {
    if (query.has("uploads")) return "ListMultipartUploads";
    if (query.has("list-type")) return "ListObjectsV2";
    return query.has("uploadId") ? "ListParts" : "GetObject";
  }
  if (method === "HEAD") return "HeadObject";
  if (method === "PUT") return query.has("partNumber") ? "UploadPart" : "PutObject";
  if (method === "DELETE") return query.has("uploadId") ? "AbortMultipartUpload" : "DeleteObject";
  if (query.has("uploads")) return "CreateMultipartUpload";
  return query.has("uploadId") ? "CompleteMultipartUpload" : "DeleteObjects";
}
