/**
 * HTTP by uWebSockets.js. Its rules: a response is not touched after it was aborted or finished,
 * every write is corked. A client that sends a second request before the first is answered
 * (pipelining) is cut by it; no Git client does.
 */
import { STATUS_CODES } from "node:http";
import { tmpdir } from "node:os";
import * as uws from "uWebSockets.js";
import { Fault } from "../../base/fault.js";
import { sleep } from "../../base/flow.js";
import type { HttpListener, HttpListenOptions, HttpRequest, HttpTransport } from "./contract.js";
import { Connections } from "./connections.js";
import { answer, HoldBudget, type RawReply, type ReplyHead, type Then } from "./body.js";
import { BodyOverflow } from "./body-overflow.js";
import { RequestBody } from "./request-body.js";
import { CIPHERS, readTls } from "./tls.js";
import { isAmbiguous } from "./framing.js";
import { requestId } from "./request-id.js";
import { DEFAULT_TIMES, Watch, type Watched } from "./watch.js";

export const transport: HttpTransport = { kind: "uws", listen };

async function listen({
  host,
  port,
  handler,
  times,
  tls,
  connections: limit,
  overflowFolder = tmpdir(),
}: HttpListenOptions): Promise<HttpListener> {
  if (tls !== undefined) await readTls(tls);
  const clocks = { ...DEFAULT_TIMES, ...times };
  const watch = new Watch(clocks);
  const options = { budget: new HoldBudget(), holdMs: clocks.holdMs };
  const app =
    tls === undefined
      ? uws.App()
      : uws.SSLApp({
          cert_file_name: tls.certificate,
          key_file_name: tls.key,
          ssl_ciphers: CIPHERS,
        });
  const connections = new Connections(limit);
  app.any("/*", (res, req) => {
    // Those with a request: the others are cut after ten seconds, and whose they were nobody can
    // tell when they end.
    const address = addressOf(res);
    if (!connections.opened(address)) {
      res.close();
      return;
    }
    const exchange = new UwsExchange(res, req, watch, overflowFolder);
    exchange.start(
      () =>
        void answer(handler, exchange.request, exchange, options).finally(() => {
          exchange.close();
          connections.closed(address);
        }),
    );
  });
  return new Promise((resolve, reject) => {
    listenExclusively(app, host, port, (socket) => {
      if (socket === false) {
        void watch.close(0);
        reject(
          new Fault("settings/bad-value", {
            name: "listen",
            value: `${host}:${port}`,
            reason: "the address cannot be taken",
          }),
        );
        return;
      }
      const close = async (graceMs: number) => {
        uws.us_listen_socket_close(socket);
        await watch.close(graceMs);
        // What was written last leaves with the loop's next turns; closing at once would throw it
        // away.
        await sleep(FLUSH_MS);
        app.close();
      };
      resolve({ kind: "uws", host, port: uws.us_socket_local_port(socket), close });
    });
  });
}

/** From the last reply of a listener to the end of its connections. */
const FLUSH_MS = 100;

/** So much fits whenever a connection has any room. */
const SMALL_WRITE_BYTES = 4_096;
/**
 * So much fits into uWebSockets.js's cork (16 KiB) with its chunk's frame. Where a cork holds
 * something that the system does not take and the next bytes do not fit beside it, those bytes are
 * dropped, though the chunk's size is sent [20.51, seen as a clone whose pack had a hole; mended
 * upstream in April 2026, commit 6b7f354].
 */
const CORKED_BYTES = 16_384 - 64;
/**
 * Bytes at the end of a larger write to find out with whether all before them has left: as many
 * tries.
 */
const LAST_BYTES = 64;

type ListenCallback = (socket: uws.us_listen_socket | false) => void;

/**
 * uSockets' LIBUS_LISTEN_EXCLUSIVE_PORT. The package's types promise an enum that its code does not
 * have.
 */
const LISTEN_EXCLUSIVE_PORT = 1;

/**
 * By default a second server could share the port (SO_REUSEPORT) and take half of the requests:
 * asks for it alone. The package's types lack this form, its code has it.
 */
function listenExclusively(
  app: uws.TemplatedApp,
  host: string,
  port: number,
  done: ListenCallback,
): void {
  const listenWithOptions = app.listen as unknown as (
    host: string,
    port: number,
    options: number,
    done: ListenCallback,
  ) => void;
  listenWithOptions.call(app, host, port, LISTEN_EXCLUSIVE_PORT, done);
}

/** Chunks of a body below this are not worth being given back. */
const RECYCLED_BYTES_MIN = 4 * 1024;

/** One request and its reply. */
class UwsExchange implements RawReply, Watched {
  readonly request: HttpRequest;
  readonly startedMs = performance.now();
  readonly #res: uws.HttpResponse;
  readonly #watch: Watch;
  readonly #abort = new AbortController();
  readonly #body: RequestBody;
  readonly #isHead: boolean;
  readonly #isChunked: boolean;
  readonly #hasBody: boolean;
  /** Starts the answer. */
  #onFirst: (() => void) | undefined;
  /**
   * True if the end of this request is not sure: by its headers, or because its chunks are read
   * laxly. It is answered outside the parser's callbacks, for as long as an answer is due
   * uWebSockets.js cuts the connection at the next request instead of executing it.
   */
  readonly #isLastRequest: boolean;
  #waitingSinceMs: number | undefined;
  /** The response must not be touched any more: aborted, or handed over whole. */
  #gone = false;
  #head: ReplyHead | undefined;
  #total: number | undefined;
  #then: Then = "keep";
  #drained: { resolve(): void; reject(error: unknown): void } | undefined;

  constructor(res: uws.HttpResponse, req: uws.HttpRequest, watch: Watch, overflowFolder: string) {
    this.#res = res;
    this.#watch = watch;
    const flow = {
      pause: () => this.#ifHere(() => res.pause()),
      resume: () => this.#ifHere(() => res.resume()),
    };
    this.#body = new RequestBody(flow, new BodyOverflow(overflowFolder));
    const headers = new Map<string, string>();
    req.forEach((name, value) => {
      headers.set(name, joined(headers.get(name), value));
    });
    const method = req.getCaseSensitiveMethod();
    this.#isHead = method === "HEAD";
    this.#isChunked = headers.has("transfer-encoding");
    this.request = {
      id: requestId(),
      method,
      path: req.getUrl(),
      query: req.getQuery(),
      header: (name) => headers.get(name),
      headerNames: () => headers.keys(),
      remote: addressOf(res),
      body: this.#body,
      signal: this.#abort.signal,
    };
    res.onAborted(() =>
      this.#aborted(new Fault("base/aborted", { reason: "the client has gone" })),
    );
    res.onWritable(() => this.#writable());
    this.#hasBody = this.#isChunked || Number(headers.get("content-length") ?? 0) > 0;
    this.#isLastRequest = this.#isChunked || isAmbiguous(this.request);
    if (this.#hasBody) res.onData((chunk, isLast) => this.#arrived(chunk, isLast));
    else this.#body.end();
    watch.add(this);
  }

  /**
   * Calls `work` once the first of the body is here, or its turn is over. A reply that ended before
   * would leave the connection without any clock, for ever; one that waited longer would meet a
   * request sent right behind this one, and be cut [both seen on 20.51]. What is left: a connection
   * whose body comes to its end behind its reply has no clock.
   */
  start(work: () => void): void {
    this.#onFirst = () => {
      this.#onFirst = undefined;
      work();
    };
    if (this.#hasBody || isAmbiguous(this.request)) setImmediate(() => this.#onFirst?.());
    else this.#onFirst();
  }

  sentBytes = 0;
  receivedBytes = 0;

  get isSending(): boolean {
    return this.#drained !== undefined;
  }

  get isReceiving(): boolean {
    return this.#body.awaited;
  }

  get waitingSinceMs(): number | undefined {
    return this.#drained !== undefined || this.#body.awaited ? this.#waitingSinceMs : undefined;
  }

  /**
   * uWebSockets.js cuts what stalls for about 11 s in either direction; this resets that clock
   * without a byte.
   */
  touch(): void {
    if (this.#gone) return;
    if (this.waitingSinceMs === undefined) this.#waitingSinceMs = performance.now();
    if (this.#body.paused) return; // a paused socket has no clock, and must stay paused
    this.#res.pause();
    this.#res.resume();
  }

  cut(fault?: Fault): void {
    if (this.#gone) return;
    this.#aborted(fault ?? new Fault("base/aborted", { reason: "the reply broke off" }));
    this.#res.close();
  }

  begin(head: ReplyHead, total: number | undefined, then: Then = "keep"): void {
    this.#head = head;
    this.#total = total;
    this.#then = then;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#checkHere();
    if (this.#isHead) return;
    if (this.#then === "close") return this.#writeLast(bytes);
    if (this.#total !== undefined) return this.#writeSized(bytes, this.#total);
    await this.#writeChunks(bytes);
  }

  /**
   * In pieces, of which each is on its way before the next is offered. Bytes that the system did
   * not take at once lie in uWebSockets.js's memory and move on only with the next write
   * ("writable" says there is room, not that the memory is empty), so the last bytes are offered
   * one by one until a write says that nothing waits. After `end` it would be too late: a client
   * that stalls then is cut after 11 s, with a part to come.
   */
  async #writeChunks(bytes: Uint8Array): Promise<void> {
    await nextTurn();
    const end = bytes.length > SMALL_WRITE_BYTES ? bytes.length - LAST_BYTES : bytes.length;
    let taken = true;
    for (let at = 0; at < bytes.length; ) {
      const piece =
        at < end
          ? Math.min(end - at, this.#head === undefined ? CORKED_BYTES : SMALL_WRITE_BYTES)
          : taken
            ? bytes.length - at
            : 1;
      taken = this.#writeChunk(bytes.subarray(at, at + piece));
      if (!taken) await this.#drain();
      at += piece;
      this.sentBytes += piece;
    }
  }

  /** False: what was written before has not all left. */
  #writeChunk(bytes: Uint8Array): boolean {
    this.#checkHere();
    let taken = true;
    this.#res.cork(() => {
      this.#writeHead();
      taken = this.#res.write(bytes);
    });
    return taken;
  }

  async end(): Promise<void> {
    if (this.#gone && this.#total !== undefined) return; // the last sized write ended it
    this.#checkHere();
    this.#body.discard();
    this.#res.cork(() => {
      this.#writeHead();
      // Never with its own way to close: behind chunks it writes the header into the body [20.51].
      if (!this.#isHead) this.#res.end();
      else this.#endHead();
    });
    this.#gone = true;
  }

  /** The exchange is over, however it went. */
  close(): void {
    if (!this.#gone) this.cut();
    this.#body.discard();
    this.#watch.delete(this);
  }

  /**
   * Not endWithoutBody(total): it counts the reply as unfinished and the next request then breaks
   * the connection [seen on 20.51].
   */
  #endHead(): void {
    if (this.#total !== undefined) this.#res.writeHeader("Content-Length", String(this.#total));
    this.#res.endWithoutBody();
  }

  /** The whole body, and the end of the connection. */
  #writeLast(bytes: Uint8Array): void {
    this.#res.cork(() => {
      this.#writeHead();
      this.#res.end(bytes, true);
    });
    this.#gone = true;
  }

  /**
   * tryEnd keeps nothing: what the system did not take is offered again, from the offset it names.
   */
  async #writeSized(bytes: Uint8Array, total: number): Promise<void> {
    const before = this.#head === undefined ? this.#res.getWriteOffset() : 0;
    if (before + bytes.length >= total) this.#body.discard(); // while the response may still be touched
    for (let at = 0; at < bytes.length; ) {
      let taken = true;
      let done = false;
      this.#res.cork(() => {
        this.#writeHead();
        [taken, done] = this.#res.tryEnd(at === 0 ? bytes : bytes.subarray(at), total);
      });
      if (done) this.#gone = true;
      if (done || taken) {
        this.sentBytes += bytes.length - at;
        return;
      }
      await this.#drain();
      this.#checkHere();
      const offset = this.#res.getWriteOffset() - before;
      this.sentBytes += offset - at;
      at = offset;
    }
  }

  /** Date comes from uWebSockets.js itself. */
  #writeHead(): void {
    const head = this.#head;
    if (head === undefined) return;
    this.#head = undefined;
    this.#res.writeStatus(`${head.status} ${STATUS_CODES[head.status] ?? "Unknown"}`);
    for (const [name, value] of head.headers) this.#res.writeHeader(name, value);
    // It takes a bare LF for the end of a chunk's size, any two bytes for the end of a chunk, and a
    // trailer for the next request [seen on 20.51]. A proxy that reads chunks otherwise must not
    // send anybody else's request behind such a body. With "close" it says so itself. With "think"
    // it is the client that closes, or else the clock of idle connections: tryEnd has no way to.
    const saysItself = this.#then === "close" && !this.#isHead;
    if (!saysItself && (this.#then !== "keep" || this.#isLastRequest))
      this.#res.writeHeader("Connection", "close");
  }

  #drain(): Promise<void> {
    this.#waitingSinceMs = performance.now();
    return new Promise((resolve, reject) => {
      this.#drained = { resolve, reject };
    });
  }

  /** The system takes more. */
  #writable(): boolean {
    const drained = this.#drained;
    this.#drained = undefined;
    drained?.resolve();
    return true;
  }

  #copyOf(chunk: ArrayBuffer): Uint8Array {
    // Small ones come out of Node's own pool.
    if (chunk.byteLength < RECYCLED_BYTES_MIN) return Buffer.from(new Uint8Array(chunk));
    const copy = this.#body.take(chunk.byteLength);
    copy.set(new Uint8Array(chunk));
    return copy;
  }

  #arrived(chunk: ArrayBuffer, isLast: boolean): void {
    this.#waitingSinceMs = performance.now();
    this.receivedBytes += chunk.byteLength;
    // The chunk is uWebSockets.js's own memory and gone after this call: a copy.
    if (chunk.byteLength > 0)
      this.#body.push(this.#body.putsAside ? new Uint8Array(chunk) : this.#copyOf(chunk));
    if (isLast) this.#body.end();
    if (!this.#isLastRequest) this.#onFirst?.();
  }

  #aborted(fault: Fault): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#abort.abort(fault);
    this.#body.fail(fault);
    const drained = this.#drained;
    this.#drained = undefined;
    drained?.reject(fault);
  }

  #checkHere(): void {
    if (this.#gone)
      throw this.#abort.signal.reason ?? new Fault("base/aborted", { reason: "the reply is over" });
  }

  #ifHere(work: () => void): void {
    if (!this.#gone) work();
  }
}

function addressOf(res: uws.HttpResponse): string {
  return Buffer.from(res.getRemoteAddressAsText()).toString("latin1");
}

/** Outside the callbacks of uWebSockets.js, in which it has corked the connection by itself. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function joined(before: string | undefined, value: string): string {
  return before === undefined ? value : `${before}, ${value}`;
}
