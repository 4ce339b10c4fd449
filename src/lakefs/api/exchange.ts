/**
 * One HTTP exchange over this thread's own connections. undici rather than the global fetch: 0.10
 * ms of CPU a small call beside 0.32, which on a first clone of 10,000 objects is 2 of 7 seconds
 * (node:http costs the same as undici). Names no faults: http.ts knows what an error means.
 */
import { setMaxListeners } from "node:events";
import { createRequire } from "node:module";
import type { Agent, Dispatcher } from "undici";
import { LIMITS } from "../../base/limits.js";

export interface ExchangeRequest {
  /** "http://127.0.0.1:8000". */
  readonly origin: string;
  /** With its query. */
  readonly path: string;
  readonly method: Dispatcher.HttpMethod;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes, or content that arrives over time, which needs a Content-Length and must keep it. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
  /**
   * The longest silence: nothing of the body has left and nothing of the answer has come for so
   * long. The whole may take any time.
   */
  readonly waitMs: number;
  /** Is told that the answer begins. */
  readonly onHead?: () => void;
  /** Is told of each piece of the answer. */
  readonly onBytes: (bytes: number) => void;
}

export interface ReplyHead {
  readonly status: number;
  /** A header's value; `name` in lower case. */
  header(name: string): string | undefined;
}

export interface WholeReply extends ReplyHead {
  /** The body; of a failure (status 400 and more) its beginning. */
  readonly body: Uint8Array;
}

export interface StreamedReply extends ReplyHead {
  readonly body: AsyncIterable<Uint8Array>;
}

/** Bytes of a failure's text that are read, whatever else may be said. */
const FAILURE_BYTES_MAX = 64 * 1024;

/** A body longer than it may be. */
export class BodyTooLong extends Error {}
/** An exchange in which nothing passed for too long. */
class ExchangeTimeout extends Error {
  readonly code = "ETIMEDOUT";
}

/** Agents of this thread. */
let agents: { readonly calls: Agent; readonly streams: Agent } | undefined;

const require = createRequire(import.meta.url);

/**
 * Connections are shared by everything a thread asks of one origin; idle ones keep no process
 * alive. Streams have their own, as many as there are: each is some client's request, which is
 * bounded elsewhere, and slow ones must not keep calls waiting. The package is loaded with the
 * first of them: a server without lakeFS starts 80 ms sooner.
 */
function threadAgents(): NonNullable<typeof agents> {
  const connect = { timeout: LIMITS.lakefsConnectMs };
  if (agents !== undefined) return agents;
  const undici = require("undici") as typeof import("undici");
  agents = {
    calls: new undici.Agent({ connections: LIMITS.lakefsConnectionsMax, connect }),
    streams: new undici.Agent({ connect }),
  };
  return agents;
}

/**
 * The whole answer; redirects are answers like others. Rejects with undici's or the socket's error,
 * `signal`'s reason, or BodyTooLong.
 */
export function exchange(request: ExchangeRequest, bodyBytesMax: number): Promise<WholeReply> {
  setMaxListeners(0, request.signal); // each exchange under way listens, and there may be more than Node.js expects
  return new Promise((resolve, reject) => {
    // undici's own clocks are off: what leaves does not move them unless the connection is full.
    const options = { ...optionsOf(request), headersTimeout: 0, bodyTimeout: 0 };
    threadAgents().calls.dispatch(
      options,
      new WholeExchange(request, bodyBytesMax, resolve, reject),
    );
  });
}

/**
 * An answer whose body is read as it arrives, and must be, or the iteration ended. `onBytes` is the
 * reader's matter.
 */
export function exchangeStream(request: ExchangeRequest): Promise<StreamedReply> {
  setMaxListeners(0, request.signal);
  return new Promise((resolve, reject) => {
    threadAgents().streams.dispatch(
      optionsOf(request),
      new StreamExchange(request.signal, resolve, reject),
    );
  });
}

function optionsOf({
  origin,
  path,
  method,
  headers,
  body,
  waitMs,
}: ExchangeRequest): Dispatcher.RequestOptions & { origin: string } {
  const options = {
    origin,
    path,
    method,
    headers: { ...headers },
    headersTimeout: waitMs,
    bodyTimeout: waitMs,
  };
  if (body === undefined) return options;
  if (!(body instanceof Uint8Array) || body.length <= PIECE_BYTES)
    return { ...options, body: body as Buffer };
  const sized = { ...options.headers, "content-length": String(body.length) };
  return { ...options, headers: sized, body: piecesOf(body) as unknown as Buffer };
}

/** A body that is there whole leaves in pieces, so that it can be seen to move. */
const PIECE_BYTES = 64 * 1024;

async function* piecesOf(body: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < body.length; at += PIECE_BYTES) yield body.subarray(at, at + PIECE_BYTES);
}

/** Watches for silence with one timer, which is set anew only when it goes off. */
class Silence {
  readonly #waitMs: number;
  readonly #onSilence: () => void;
  #lastMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(waitMs: number, onSilence: () => void) {
    this.#waitMs = waitMs;
    this.#onSilence = onSilence;
  }

  start(): void {
    this.broken();
    this.#timer ??= this.#set(this.#waitMs);
  }

  /** Something has passed. */
  broken(): void {
    this.#lastMs = performance.now();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #set(ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      const leftMs = this.#lastMs + this.#waitMs - performance.now();
      if (leftMs <= 0) this.#onSilence();
      else this.#timer = this.#set(leftMs);
    }, Math.ceil(ms)).unref();
  }
}

/**
 * undici's callbacks for one exchange: a tenth cheaper than a stream for each body, and the place
 * to count and to stop.
 */
class WholeExchange implements Dispatcher.DispatchHandlers {
  readonly #request: ExchangeRequest;
  readonly #bodyBytesMax: number;
  readonly #resolve: (reply: WholeReply) => void;
  readonly #reject: (error: unknown) => void;
  readonly #silence: Silence;
  readonly #onAbort = () => this.#stop(this.#request.signal.reason);
  readonly #parts: Uint8Array[] = [];
  #length = 0;
  #status = 0;
  #headers: readonly Buffer[] = [];
  #abort: ((error?: Error) => void) | undefined;
  #settled = false;

  constructor(
    request: ExchangeRequest,
    bodyBytesMax: number,
    resolve: (reply: WholeReply) => void,
    reject: (error: unknown) => void,
  ) {
    this.#request = request;
    this.#bodyBytesMax = bodyBytesMax;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#silence = new Silence(request.waitMs, () => this.#stop(new ExchangeTimeout()));
    if (request.signal.aborted) this.#onAbort();
    else request.signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  onConnect(abort: (error?: Error) => void): void {
    if (this.#settled) abort(new Error("it is no longer waited for"));
    else {
      this.#abort = abort;
      this.#silence.start();
    }
  }

  onBodySent(): void {
    this.#silence.broken();
  }

  onHeaders(status: number, headers: Buffer[]): boolean {
    this.#silence.broken();
    this.#request.onHead?.();
    this.#status = status;
    this.#headers = headers;
    return true;
  }

  onData(chunk: Buffer): boolean {
    this.#silence.broken();
    this.#request.onBytes(chunk.length);
    this.#length += chunk.length;
    if (
      this.#length <= this.#bodyBytesMax ||
      (this.#status >= 400 && this.#length <= FAILURE_BYTES_MAX)
    )
      this.#parts.push(chunk);
    else if (this.#status < 400) this.#stop(new BodyTooLong());
    else this.#cut();
    return true;
  }

  onComplete(): void {
    this.#done();
  }

  onError(error: Error): void {
    this.#settle(() => this.#reject(error));
  }

  #done(): void {
    const body =
      this.#parts.length === 1 ? (this.#parts[0] as Uint8Array) : Buffer.concat(this.#parts);
    this.#settle(() =>
      this.#resolve({
        status: this.#status,
        header: (name) => rawHeader(this.#headers, name),
        body,
      }),
    );
  }

  /** Ends a failure's text that goes on for too long: the part that came is enough. */
  #cut(): void {
    this.#done();
    this.#abort?.(new BodyTooLong());
  }

  /** The connection goes with it: what is still to come would have to be read. */
  #stop(reason: unknown): void {
    this.#settle(() => this.#reject(reason));
    this.#abort?.(new Error("it is no longer waited for"));
  }

  #settle(settle: () => void): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#silence.stop();
    this.#request.signal.removeEventListener("abort", this.#onAbort);
    settle();
  }
}

/**
 * Bytes of a stream that wait for their reader; with a piece more the connection is paused, until
 * half of them are read.
 */
const WAITING_BYTES_MAX = 256 * 1024;

/**
 * undici's callbacks for an answer that is read as it arrives. Not undici's own stream: where the
 * server closes the connection behind an answer whose last piece has paused it, undici 6 and 7 fail
 * an assertion outside of every promise, which ends the process. So the last piece never pauses.
 */
class StreamExchange implements Dispatcher.DispatchHandlers {
  readonly #signal: AbortSignal;
  readonly #resolve: (reply: StreamedReply) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onAbort = () => this.#fail(this.#signal.reason);
  readonly #pieces: Uint8Array[] = [];
  #waiting = 0;
  /** Bytes still to come, where the answer says how many. */
  #left = Number.POSITIVE_INFINITY;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #paused = false;
  #abort: ((error?: Error) => void) | undefined;
  #resume: (() => void) | undefined;
  #wake: (() => void) | undefined;

  constructor(
    signal: AbortSignal,
    resolve: (reply: StreamedReply) => void,
    reject: (error: unknown) => void,
  ) {
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  onConnect(abort: (error?: Error) => void): void {
    if (this.#failure === undefined) this.#abort = abort;
    else abort(new Error("it is no longer waited for"));
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void): boolean {
    const length = rawHeader(headers, "content-length");
    if (length !== undefined) this.#left = Number(length);
    this.#resume = resume;
    this.#resolve({ status, header: (name) => rawHeader(headers, name), body: this.#body() });
    return true;
  }

  onData(chunk: Buffer): boolean {
    this.#pieces.push(chunk);
    this.#waiting += chunk.length;
    this.#left -= chunk.length;
    this.#tell();
    this.#paused = this.#waiting > WAITING_BYTES_MAX && this.#left > 0;
    return !this.#paused;
  }

  onComplete(): void {
    this.#ended = true;
    this.#release();
  }

  onError(error: Error): void {
    this.#failure ??= { error };
    this.#release();
  }

  async *#body(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const piece = this.#pieces.shift();
        if (piece !== undefined) {
          this.#taken(piece.length);
          yield piece;
        } else if (this.#failure !== undefined) throw this.#failure.error;
        else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      if (!this.#ended) this.#fail(new Error("nobody reads on"));
    }
  }

  #taken(bytes: number): void {
    this.#waiting -= bytes;
    if (!this.#paused || this.#waiting > WAITING_BYTES_MAX / 2) return;
    this.#paused = false;
    this.#resume?.();
  }

  /** The connection goes with it. */
  #fail(error: unknown): void {
    if (this.#failure !== undefined || this.#ended) return;
    this.#failure = { error };
    this.#abort?.(new Error("it is no longer waited for"));
    this.#release();
  }

  #release(): void {
    this.#signal.removeEventListener("abort", this.#onAbort);
    if (this.#failure !== undefined) this.#reject(this.#failure.error); // nothing, if the head is here
    this.#tell();
  }

  #tell(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** `headers`: name, value, name, value, as they came. */
function rawHeader(headers: readonly Buffer[], name: string): string | undefined {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (headers[at]?.toString("latin1").toLowerCase() === name)
      return headers[at + 1]?.toString("latin1");
  }
  return undefined;
}
