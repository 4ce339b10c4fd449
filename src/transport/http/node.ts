/** HTTP by node:http: wherever uWebSockets.js has no binary. */
import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { Fault } from "../../base/fault.js";
import { orAbort } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { HttpListener, HttpListenOptions, HttpRequest, HttpTransport } from "./contract.js";
import { Connections } from "./connections.js";
import { answer, HoldBudget, type RawReply, type ReplyHead, type Then } from "./body.js";
import { RequestBody } from "./request-body.js";
import { readTls, TLS_OPTIONS } from "./tls.js";
import { isAmbiguous } from "./framing.js";
import { requestId } from "./request-id.js";
import { DEFAULT_TIMES, Watch, type Watched } from "./watch.js";

export const transport: HttpTransport = { kind: "node", listen };

async function listen({
  host,
  port,
  handler,
  times,
  tls,
  keepAliveMs = LIMITS.connectionKeepMs,
  connections: limit,
}: HttpListenOptions): Promise<HttpListener> {
  const secrets = tls && (await readTls(tls));
  const clocks = { ...DEFAULT_TIMES, ...times };
  const watch = new Watch(clocks);
  const options = { budget: new HoldBudget(), holdMs: clocks.holdMs };
  // requestTimeout would end a long push after five minutes; the watch has its own idea of slow.
  const headersMs = {
    headersTimeout: LIMITS.headersMs,
    connectionsCheckingInterval: LIMITS.headersMs / 4,
  };
  const settings = {
    maxHeaderSize: LIMITS.headersBytesMax,
    requestTimeout: 0,
    noDelay: true,
    keepAliveTimeout: keepAliveMs,
    ...headersMs,
  };
  const running = new Running();
  const respond = (message: IncomingMessage, response: ServerResponse) => {
    if (message.httpVersionMajor !== 1) return refuse(message.socket, 505);
    if (running.isLast(message)) return; // what stands behind a request of unsure end is nobody's
    const exchange = new NodeExchange(message, response, watch, clocks.unreadBodyMs);
    running.add(message.socket, exchange);
    void answer(handler, exchange.request, exchange, options).finally(() => exchange.close());
  };
  const server =
    secrets === undefined
      ? createServer(settings, respond)
      : createTlsServer({ ...settings, ...secrets, ...TLS_OPTIONS }, respond);
  // What else may be expected than 100-continue is anybody's guess: passed over, as by
  // uWebSockets.js.
  server.on("checkExpectation", respond);
  const connections = new Connections(limit);
  server.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => {
    const address = socket.remoteAddress ?? "";
    if (!connections.opened(address)) socket.destroy();
    else socket.once("close", () => connections.closed(address));
  });
  server.on("connect", (_message, socket) => refuse(socket, 405));
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => running.broken(error, socket));
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      void watch.close(0);
      reject(
        new Fault(
          "settings/bad-value",
          { name: "listen", value: `${host}:${port}`, reason: error.message },
          error,
        ),
      );
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

/** Replies under way, by connection: for faults that node:http cannot make a request of. */
class Running {
  readonly #exchanges = new WeakMap<Duplex, NodeExchange>();
  readonly #broken = new WeakSet<Duplex>();
  readonly #ended = new WeakSet<Duplex>();

  /**
   * Returns whether a request without a certain end came before this one on its connection; takes
   * note where this is one.
   */
  isLast(message: IncomingMessage): boolean {
    const { socket } = message;
    if (this.#ended.has(socket)) return true;
    if (isAmbiguous({ header: (name) => headerOf(message, name) })) this.#ended.add(socket);
    return false;
  }

  add(socket: Duplex, exchange: NodeExchange): void {
    this.#exchanges.set(socket, exchange);
  }

  /**
   * Bytes that are no HTTP, or not all of a request in its time: node:http would close the
   * connection with a bare status. Where a whole request came before them its reply still goes out.
   * Either way the connection ends.
   */
  broken(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (this.#broken.has(socket)) return; // every further byte is an error of its own
    this.#broken.add(socket);
    const exchange = this.#exchanges.get(socket);
    if (error.code === "ECONNRESET" || !socket.writable) socket.destroy();
    else if (exchange?.isOpen && !exchange.breakOff(faultOf(error))) return;
    else refuse(socket, BROKEN_STATUS[error.code ?? ""] ?? 400);
  }
}

function faultOf({ code }: NodeJS.ErrnoException): Fault {
  if (code === "HPE_INVALID_EOF_STATE")
    return new Fault("base/aborted", { reason: "the body broke off" });
  return new Fault("http/bad-request", { reason: code });
}

const BROKEN_STATUS: Readonly<Record<string, number | undefined>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/**
 * Milliseconds a refused client has to read why: a connection closed at once, with bytes of it
 * unread, takes the answer with it.
 */
const REFUSED_MS = 1_000;

/** Answers what is no request, and ends the connection. */
function refuse(socket: Duplex, status: number): void {
  const body = `lakepack: ${(STATUS_CODES[status] ?? "refused").toLowerCase()}\n`;
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
  socket.on("error", () => undefined);
  socket.end(head + body);
  socket.resume();
  setTimeout(() => socket.destroy(), REFUSED_MS).unref();
}

/** One request and its reply. */
class NodeExchange implements RawReply, Watched {
  readonly request: HttpRequest;
  readonly startedMs = performance.now();
  readonly #response: ServerResponse;
  readonly #message: IncomingMessage;
  readonly #unreadBodyMs: number;
  readonly #watch: Watch;
  readonly #abort = new AbortController();
  readonly #body: RequestBody;
  #waitingSinceMs: number | undefined;
  #isWriting = false;
  #isOpen = true;
  #isBroken = false;
  #head: ReplyHead | undefined;
  #total: number | undefined;

  constructor(
    message: IncomingMessage,
    response: ServerResponse,
    watch: Watch,
    unreadBodyMs: number,
  ) {
    this.#response = response;
    this.#message = message;
    this.#unreadBodyMs = unreadBodyMs;
    this.#watch = watch;
    const body = new RequestBody({ pause: () => message.pause(), resume: () => message.resume() });
    this.#body = body;
    message.on("data", (chunk: Buffer) => {
      this.#waitingSinceMs = performance.now();
      this.receivedBytes += chunk.length;
      body.push(chunk);
    });
    message.on("end", () => body.end());
    message.on("error", () =>
      this.#aborted(new Fault("base/aborted", { reason: "the body broke off" })),
    );
    response.on("error", () =>
      this.#aborted(new Fault("base/aborted", { reason: "the client has gone" })),
    );
    response.on("close", () => this.#closed());
    this.request = requestOf(message, body, this.#abort.signal);
    watch.add(this);
  }

  /** Its reply has not ended. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  sentBytes = 0;
  receivedBytes = 0;

  get isSending(): boolean {
    return this.#isWriting;
  }

  get isReceiving(): boolean {
    return this.#body.awaited;
  }

  get waitingSinceMs(): number | undefined {
    return this.#isWriting || this.#body.awaited ? this.#waitingSinceMs : undefined;
  }

  touch(): void {
    if (this.waitingSinceMs === undefined) this.#waitingSinceMs = performance.now();
  }

  /**
   * Nothing that can be read will follow on this connection. True: it broke within this request, of
   * whose reply nothing has left, and nothing will.
   */
  breakOff(fault: Fault): boolean {
    this.#isBroken = true;
    if (this.#response.headersSent || this.#message.complete) {
      if (!this.#response.headersSent) this.#response.shouldKeepAlive = false;
      if (!this.#message.complete) this.#body.fail(fault);
      return false;
    }
    this.#aborted(fault);
    return true;
  }

  cut(fault?: Fault): void {
    this.#aborted(fault ?? new Fault("base/aborted", { reason: "the reply broke off" }));
    this.#response.destroy();
  }

  begin(head: ReplyHead, total: number | undefined, then: Then = "keep"): void {
    this.#head = head;
    this.#total = total;
    if (then === "close") this.#response.shouldKeepAlive = false;
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
      this.sentBytes += bytes.length;
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
    this.#isOpen = false;
    if (this.#isBroken) this.#message.socket.destroySoon();
    else if (!this.#response.writableEnded) this.cut();
    else if (!this.#message.complete) this.#boundRest();
    this.#watch.delete(this);
  }

  /**
   * The reply is out before the body is in, and what still comes is dropped, for so long and no
   * longer.
   */
  #boundRest(): void {
    const { socket } = this.#message;
    const timer = setTimeout(() => socket.destroy(), this.#unreadBodyMs).unref();
    this.#message.once("close", () => clearTimeout(timer));
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
    if (!this.#response.writableFinished)
      this.#aborted(new Fault("base/aborted", { reason: "the client has gone" }));
  }

  #aborted(fault: Fault): void {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort(fault);
    this.#body.fail(fault);
  }

  #checkHere(): void {
    if (this.#response.destroyed || this.#abort.signal.aborted) throw this.#gone(undefined);
  }

  #gone(cause: unknown): unknown {
    return (
      this.#abort.signal.reason ??
      new Fault("base/aborted", { reason: "the client has gone" }, cause)
    );
  }
}

function headerOf(message: IncomingMessage, name: string): string | undefined {
  return message.headersDistinct[name]?.join(", ");
}

const ABSOLUTE_FORM = /^https?:\/\/([^/?#]*)/i;

/**
 * The target without the server's own name, which a client may put before it; the name then stands
 * in place of Host. RFC 9112, 3.2.2.
 */
function originForm(message: IncomingMessage): string {
  const url = message.url ?? "";
  const [before, authority] = ABSOLUTE_FORM.exec(url) ?? [];
  if (before === undefined || authority === undefined) return url;
  message.headersDistinct["host"] = [authority];
  const rest = url.slice(before.length);
  return rest.startsWith("/") ? rest : `/${rest}`;
}

function requestOf(message: IncomingMessage, body: RequestBody, signal: AbortSignal): HttpRequest {
  const url = originForm(message);
  const mark = url.indexOf("?");
  return {
    id: requestId(),
    method: message.method ?? "",
    path: mark < 0 ? url : url.slice(0, mark),
    query: mark < 0 ? "" : url.slice(mark + 1),
    header: (name) => headerOf(message, name),
    headerNames: () => Object.keys(message.headersDistinct),
    remote: message.socket.remoteAddress ?? "",
    body,
    signal,
  };
}
