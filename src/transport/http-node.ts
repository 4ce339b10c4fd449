/** HTTP by node:http: wherever uWebSockets.js has no binary. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Fault } from "../base/fault.js";
import { orAbort } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { HttpListener, HttpListenOptions, HttpRequest, HttpTransport } from "./http.js";
import { answer, HoldBudget, type RawReply, type ReplyHead } from "./http-body.js";
import { RequestBody } from "./http-request-body.js";
import { readTls } from "./http-tls.js";
import { requestId } from "./http-request-id.js";
import { DEFAULT_TIMES, Watch, type Watched } from "./http-watch.js";

export const transport: HttpTransport = { kind: "node", listen };

async function listen({ host, port, handler, times, tls }: HttpListenOptions): Promise<HttpListener> {
  const secrets = tls && (await readTls(tls));
  const clocks = { ...DEFAULT_TIMES, ...times };
  const watch = new Watch(clocks);
  const options = { budget: new HoldBudget(), holdMs: clocks.holdMs };
  // requestTimeout would end a long push after five minutes; the watch has its own idea of slow.
  const headersMs = { headersTimeout: LIMITS.headersMs, connectionsCheckingInterval: LIMITS.headersMs / 4 };
  const settings = { maxHeaderSize: LIMITS.headersBytesMax, requestTimeout: 0, noDelay: true, ...headersMs };
  const respond = (message: IncomingMessage, response: ServerResponse) => {
    const exchange = new NodeExchange(message, response, watch);
    void answer(handler, exchange.request, exchange, options).finally(() => exchange.close());
  };
  const server = secrets === undefined ? createServer(settings, respond) : createTlsServer({ ...settings, ...secrets }, respond);
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      void watch.close(0);
      reject(new Fault("settings/bad-value", { name: "listen", value: `${host}:${port}`, reason: error.message }, error));
    };
    server.once("error", failed);
    server.listen({ host, port, exclusive: true }, () => {
      server.off("error", failed);
      const close = async (graceMs: number) => {
        const closed = new Promise((done) => server.close(done));
        server.closeIdleConnections();
        await watch.close(graceMs);
        server.closeAllConnections();
        await closed;
      };
      resolve({ kind: "node", host, port: (server.address() as AddressInfo).port, close });
    });
  });
}

/** One request and its reply. */
class NodeExchange implements RawReply, Watched {
  readonly request: HttpRequest;
  readonly startedMs = performance.now();
  readonly #response: ServerResponse;
  readonly #watch: Watch;
  readonly #abort = new AbortController();
  readonly #body: RequestBody;
  #waitingSinceMs: number | undefined;
  #isWriting = false;
  #head: ReplyHead | undefined;
  #total: number | undefined;

  constructor(message: IncomingMessage, response: ServerResponse, watch: Watch) {
    this.#response = response;
    this.#watch = watch;
    const body = new RequestBody({ pause: () => message.pause(), resume: () => message.resume() });
    this.#body = body;
    message.on("data", (chunk: Buffer) => {
      this.#waitingSinceMs = performance.now();
      body.push(chunk);
    });
    message.on("end", () => body.end());
    message.on("error", () => this.#aborted(new Fault("base/aborted", { reason: "the body broke off" })));
    response.on("error", () => this.#aborted(new Fault("base/aborted", { reason: "the client has gone" })));
    response.on("close", () => this.#closed());
    this.request = requestOf(message, body, this.#abort.signal);
    watch.add(this);
  }

  get waitingSinceMs(): number | undefined {
    return this.#isWriting || this.#body.awaited ? this.#waitingSinceMs : undefined;
  }

  touch(): void {
    if (this.waitingSinceMs === undefined) this.#waitingSinceMs = performance.now();
  }

  cut(fault?: Fault): void {
    this.#aborted(fault ?? new Fault("base/aborted", { reason: "the reply broke off" }));
    this.#response.destroy();
  }

  begin(head: ReplyHead, total: number | undefined, close = false): void {
    this.#head = head;
    this.#total = total;
    if (close) this.#response.shouldKeepAlive = false;
  }

  /** The buffer is node:http's until its callback: that is when the system has taken it. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#checkHere();
    this.#writeHead();
    this.#waitingSinceMs = performance.now();
    this.#isWriting = true;
    try {
      const taken = new Promise<void>((resolve, reject) => {
        this.#response.write(bytes, (error) => (error ? reject(this.#gone(error)) : resolve()));
      });
      // Where the socket breaks in the middle of a write, node:http never calls back.
      await orAbort(taken, this.#abort.signal);
    } finally {
      this.#isWriting = false;
    }
  }

  async end(): Promise<void> {
    this.#checkHere();
    this.#writeHead();
    this.#body.discard();
    await orAbort(new Promise<void>((resolve) => this.#response.end(resolve)), this.#abort.signal);
  }

  /** The exchange is over, however it went. */
  close(): void {
    if (!this.#response.writableEnded) this.cut();
    this.#watch.delete(this);
  }

  #writeHead(): void {
    const head = this.#head;
    if (head === undefined) return;
    this.#head = undefined;
    for (const [name, value] of head.headers) this.#response.appendHeader(name, value);
    if (this.#total !== undefined) this.#response.setHeader("Content-Length", this.#total);
    this.#response.writeHead(head.status);
  }

  #closed(): void {
    if (!this.#response.writableFinished) this.#aborted(new Fault("base/aborted", { reason: "the client has gone" }));
  }

  #aborted(fault: Fault): void {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort(fault);
    this.#body.fail(fault);
  }

  #checkHere(): void {
    if (this.#response.destroyed) throw this.#gone(undefined);
  }

  #gone(cause: unknown): unknown {
    return this.#abort.signal.reason ?? new Fault("base/aborted", { reason: "the client has gone" }, cause);
  }
}

function requestOf(message: IncomingMessage, body: RequestBody, signal: AbortSignal): HttpRequest {
  const url = message.url ?? "";
  const mark = url.indexOf("?");
  return {
    id: requestId(),
    method: message.method ?? "",
    path: mark < 0 ? url : url.slice(0, mark),
    query: mark < 0 ? "" : url.slice(mark + 1),
    header: (name) => message.headersDistinct[name]?.join(", "),
    headerNames: () => Object.keys(message.headersDistinct),
    remote: message.socket.remoteAddress ?? "",
    body,
    signal,
  };
}
