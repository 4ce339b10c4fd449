/**
 * HTTP to lakeFS: authentication, faults, retries of what is safe to repeat, and a count of calls
 * and bytes.
 */
import { BroadcastChannel } from "node:worker_threads";
import { lossyText } from "../../base/bytes.js";
import { Fault, type FaultCode } from "../../base/fault.js";
import { checkAborted, failureUnder, sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { hookFault } from "./hook-answer.js";
import {
  BodyTooLong,
  exchange,
  type ExchangeRequest,
  exchangeStream,
  type ReplyHead,
  type WholeReply,
} from "./exchange.js";

export interface LakefsAccess {
  /** "http://127.0.0.1:8000", with or without "/api/v1". */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Pool threads tell of each of their calls, on the channel that `hearCalls` listens to. */
  readonly trace?: boolean;
  /** Milliseconds that a lakeFS that is away is waited for. Default: `lakefsPatienceMs`. */
  readonly patienceMs?: number;
}

export interface LakefsCall {
  /** Name in counters and messages: "getBranch". */
  readonly name: string;
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Behind /api/v1, its parts encoded (`pathOf`). */
  readonly path: string;
  /**
   * In place of all of these: an address that lakeFS has signed. It is asked without our key, and
   * its signature is told to nobody.
   */
  readonly presigned?: URL;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly json?: unknown;
  readonly body?: Uint8Array;
  /**
   * A body that arrives over time, in exactly `bytes`: such a call is repeated only while nothing
   * of it was taken.
   */
  readonly upload?: { readonly bytes: number; readonly content: AsyncIterable<Uint8Array> };
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * True if the call may simply be made again when its answer was lost or it failed. Reads are; so
   * are writes that set rather than add.
   */
  readonly repeatable: boolean;
  /**
   * lakeFS answers when hooks of the operator's have: such a call is waited for as long as they
   * take, and never repeated because it took long.
   */
  readonly runsHooks?: boolean;
  readonly signal: AbortSignal;
}

export interface CallFigures {
  calls: number;
  bytesIn: number;
  bytesOut: number;
  retries: number;
}

/** `status` 0: no answer came. */
export type OnCall = (call: {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly ms: number;
}) => void;

/** Times: for tests. */
export interface HttpOptions {
  /** Silence that ends a read. Default: `lakefsWaitMs`. */
  readonly waitMs?: number;
  /** Silence that ends a write. Default: `lakefsCallMs`. */
  readonly writeWaitMs?: number;
  /** The same where hooks run before it. Default: `lakefsHookMs`. */
  readonly hookMs?: number;
  /** Counts of its calls; default: its own. */
  readonly figures?: Map<string, CallFigures>;
}

const STATUS_FAULTS: Readonly<Record<number, FaultCode>> = {
  400: "lakefs/bad-request",
  401: "lakefs/denied",
  403: "lakefs/denied",
  404: "lakefs/missing",
  409: "lakefs/conflict",
  410: "lakefs/gone",
  412: "lakefs/refused",
  416: "lakefs/bad-request",
  429: "lakefs/throttled",
  503: "lakefs/throttled",
};
const CALLS_CHANNEL = "lakepack lakefs calls";
/** Channel of this thread, opened by the first call that is told of. */
let calls: BroadcastChannel | undefined;

const tellCall: OnCall = (call) => {
  calls ??= new BroadcastChannel(CALLS_CHANNEL);
  calls.unref();
  calls.postMessage(call);
};

/** Hears of the calls that clients with `trace` make in other threads. */
export function hearCalls(onCall: OnCall): { close(): void } {
  const channel = new BroadcastChannel(CALLS_CHANNEL);
  channel.onmessage = (message) =>
    onCall((message as { readonly data: Parameters<OnCall>[0] }).data);
  channel.unref();
  return channel;
}

const MESSAGE_BYTES_MAX = 64 * 1024;
/** Characters of it that are told: a hook may say what it likes. */
const REASON_CHARS_MAX = 4_096;
/** Text of status 500 from a contended branch: nothing happened, it may be tried again. */
const CONTENDED = "predicate failed";

/** Parts of a path, each encoded: repository, ref and ids may hold anything. */
export function pathOf(...parts: readonly string[]): string {
  return parts.map((part) => `/${encodeURIComponent(part)}`).join("");
}

export class LakefsHttp {
  readonly #origin: string;
  readonly #base: string;
  readonly #authorization: string;
  readonly #onCall: OnCall | undefined;
  readonly #waitMs: number;
  readonly #writeWaitMs: number;
  readonly #hookMs: number;
  readonly #patienceMs: number;
  /** Since when lakeFS is away; undefined: the last call was answered. */
  #awaySinceMs: number | undefined;
  /** Calls of whose arriving body something was taken. */
  readonly #taken = new WeakSet<LakefsCall>();
  /** Failures of answers that had begun: whoever gave them is not away. */
  readonly #answered = new WeakSet<Fault>();
  /** By call name, for metrics and for budgets in tests. */
  readonly figures: Map<string, CallFigures>;
  readonly #options: HttpOptions;

  constructor(access: LakefsAccess, onCall?: OnCall, options: HttpOptions = {}) {
    const { origin, pathname } = new URL(access.endpoint);
    this.#origin = origin;
    this.#base = `${pathname.replace(/\/+$/, "").replace(/\/api\/v1$/, "")}/api/v1`;
    this.#authorization = `Basic ${Buffer.from(`${access.accessKeyId}:${access.secretAccessKey}`).toString("base64")}`;
    this.figures = options.figures ?? new Map();
    this.#options = options;
    this.#onCall = onCall ?? (access.trace === true ? tellCall : undefined);
    this.#waitMs = options.waitMs ?? LIMITS.lakefsWaitMs;
    this.#writeWaitMs = options.writeWaitMs ?? LIMITS.lakefsCallMs;
    this.#hookMs = options.hookMs ?? LIMITS.lakefsHookMs;
    this.#patienceMs = access.patienceMs ?? LIMITS.lakefsPatienceMs;
  }

  /** With another key; its calls are counted and traced as this one's. */
  withAccess(access: LakefsAccess): LakefsHttp {
    return new LakefsHttp(access, this.#onCall, { ...this.#options, figures: this.figures });
  }

  /** Calls made elsewhere on this client's behalf, in pool threads, count as its own. */
  add(figures: Readonly<Record<string, Readonly<CallFigures>>>): void {
    for (const [name, more] of Object.entries(figures)) {
      const { calls, bytesIn, bytesOut, retries } = this.figures.get(name) ?? {
        calls: 0,
        bytesIn: 0,
        bytesOut: 0,
        retries: 0,
      };
      this.figures.set(name, {
        calls: calls + more.calls,
        bytesIn: bytesIn + more.bytesIn,
        bytesOut: bytesOut + more.bytesOut,
        retries: retries + more.retries,
      });
    }
  }

  /**
   * For how long lakeFS has been away, as calls through this client have found; 0: it has answered.
   */
  get awayMs(): number {
    return this.#awaySinceMs === undefined ? 0 : performance.now() - this.#awaySinceMs;
  }

  /** Total of all calls so far. */
  get calls(): number {
    let calls = 0;
    for (const figures of this.figures.values()) calls += figures.calls;
    return calls;
  }

  /** The JSON of a reply, not checked beyond being JSON. */
  async json<T>(call: LakefsCall): Promise<T> {
    return this.#retrying(call, async () => {
      const { body } = await this.#whole(call, LIMITS.lakefsReplyBytesMax);
      try {
        return JSON.parse(
          Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8"),
        ) as T;
      } catch (error) {
        throw new Fault("lakefs/bad-reply", { call: call.name }, error);
      }
    });
  }

  /** A call whose reply's body does not matter. */
  async done(call: LakefsCall): Promise<void> {
    await this.#retrying(call, () => this.#whole(call, LIMITS.lakefsReplyBytesMax));
  }

  /** A whole body of at most `bytesMax`. */
  async bytes(call: LakefsCall, bytesMax: number): Promise<Uint8Array> {
    return (await this.#retrying(call, () => this.#whole(call, bytesMax))).body;
  }

  /** Returns the target of a redirect, which is not followed. */
  async location(call: LakefsCall): Promise<string> {
    const { status, header } = await this.#retrying(call, () =>
      this.#whole(call, LIMITS.lakefsReplyBytesMax),
    );
    const location = header("location");
    if (status < 300 || location === undefined)
      throw new Fault("lakefs/bad-reply", { call: call.name, reason: "no redirect", status });
    return location;
  }

  /**
   * A body as it arrives; a connection cut in the middle throws from the stream: the caller knows
   * how far it came.
   */
  async stream(
    call: LakefsCall,
  ): Promise<ReplyHead & { readonly body: AsyncIterable<Uint8Array> }> {
    return this.#retrying(call, () => this.#openStream(call));
  }

  async #openStream(
    call: LakefsCall,
  ): Promise<ReplyHead & { readonly body: AsyncIterable<Uint8Array> }> {
    checkAborted(call.signal);
    const started = performance.now();
    const reply = await exchangeStream(this.#begin(call)).catch((error: unknown) => {
      this.#tell(call, 0, started);
      throw this.#toFault(call, error);
    });
    this.#tell(call, reply.status, started);
    const body = this.#chunks(call, reply.body);
    if (reply.status >= 400) throw statusFault(call, { ...reply, body: await firstBytes(body) });
    return { ...reply, body };
  }

  /**
   * Tries again: what fails for a moment a few times; for a lakeFS that is away all calls wait
   * together and once.
   */
  async #retrying<T>(call: LakefsCall, work: () => Promise<T>): Promise<T> {
    let sinceMs: number | undefined;
    let tries = 0;
    for (let attempt = 1; ; attempt++) {
      try {
        const result = await work();
        if (call.presigned === undefined) this.#awaySinceMs = undefined;
        return result;
      } catch (error) {
        const fault = this.#toFault(call, error);
        sinceMs ??= performance.now();
        const waits = call.presigned === undefined && this.#waits(fault, sinceMs); // the block store is no lakeFS
        if (!this.#mayRepeat(call, fault)) throw fault;
        if (!waits) tries++;
        const isTired =
          tries >= LIMITS.lakefsTriesMax ||
          (!waits && isAway(fault) && attempt >= LIMITS.lakefsTriesMax);
        if (isTired) throw fault;
        this.#figuresOf(call).retries++;
        await sleep(waitBefore(attempt, fault), call.signal);
      }
    }
  }

  /**
   * Returns whether lakeFS is away, and not for too long. A call that has failed since `sinceMs`
   * waits no longer for one that others reach.
   */
  #waits(fault: Fault, sinceMs: number): boolean {
    if (!isAway(fault) || this.#answered.has(fault)) {
      this.#awaySinceMs = undefined;
      return false;
    }
    const nowMs = performance.now();
    this.#awaySinceMs ??= nowMs;
    return nowMs - Math.min(this.#awaySinceMs, sinceMs) < this.#patienceMs;
  }

  async #whole(call: LakefsCall, bytesMax: number): Promise<WholeReply> {
    checkAborted(call.signal);
    const started = performance.now();
    let hasBegun = false;
    const onHead = () => {
      hasBegun = true;
    };
    const reply = await exchange({ ...this.#begin(call), onHead }, bytesMax).catch(
      (error: unknown) => {
        this.#tell(call, 0, started);
        const fault = this.#toFault(call, error);
        if (hasBegun) this.#answered.add(fault);
        throw fault;
      },
    );
    this.#tell(call, reply.status, started);
    if (reply.status >= 400) throw statusFault(call, reply);
    return reply;
  }

  /** Counts the call; what is to be sent. */
  #begin(call: LakefsCall): ExchangeRequest {
    const figures = this.#figuresOf(call);
    const { method, presigned, upload, runsHooks, signal } = call;
    const content = upload && this.#noting(call, upload.content);
    const body =
      content ?? (call.json === undefined ? call.body : Buffer.from(JSON.stringify(call.json)));
    figures.calls++;
    figures.bytesOut += upload?.bytes ?? (body as Uint8Array | undefined)?.length ?? 0;
    const isRead = method === "GET" || method === "HEAD";
    return {
      origin: presigned?.origin ?? this.#origin,
      path:
        presigned === undefined
          ? this.#base + call.path + queryOf(call.query)
          : presigned.pathname + presigned.search,
      method,
      headers: this.#headersOf(call),
      ...(body === undefined ? {} : { body }),
      signal,
      waitMs: isRead ? this.#waitMs : runsHooks === true ? this.#hookMs : this.#writeWaitMs,
      onBytes: (bytes) => {
        figures.bytesIn += bytes;
      },
    };
  }

  /** A second iteration would begin where the first one has left: not at the beginning. */
  async *#noting(
    call: LakefsCall,
    content: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.#taken.add(call);
    yield* content;
  }

  #mayRepeat(call: LakefsCall, fault: Fault): boolean {
    if (call.upload !== undefined && !call.repeatable)
      return isAway(fault) && !this.#taken.has(call);
    if (NOT_SENT.has(fault.facts["reason"])) return call.presigned === undefined;
    if (fault.code === "lakefs/throttled" || fault.facts["reason"] === CONTENDED) return true;
    if (call.runsHooks === true && isTimeout(fault)) return false;
    return (
      call.repeatable && (fault.code === "lakefs/unreachable" || fault.code === "lakefs/failed")
    );
  }

  #headersOf({ presigned, json, upload, headers }: LakefsCall): Record<string, string> {
    return {
      ...(presigned === undefined ? { authorization: this.#authorization } : {}),
      ...(json === undefined ? {} : { "content-type": "application/json" }),
      ...(upload === undefined ? {} : { "content-length": String(upload.bytes) }),
      ...headers,
    };
  }

  async *#chunks(
    call: LakefsCall,
    body: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const figures = this.#figuresOf(call);
    try {
      for await (const chunk of body) {
        figures.bytesIn += chunk.length;
        yield chunk;
      }
    } catch (error) {
      throw this.#toFault(call, error);
    }
  }

  #tell({ name, method, path }: LakefsCall, status: number, started: number): void {
    this.#onCall?.({ name, method, path, status, ms: performance.now() - started });
  }

  #toFault(call: LakefsCall, error: unknown): Fault {
    if (error instanceof Fault) return error;
    if (call.signal.aborted) return failureUnder(call.signal, new Fault("base/aborted", {}, error));
    if (error instanceof BodyTooLong)
      return new Fault("lakefs/bad-reply", { call: call.name, reason: "longer than it may be" });
    const { code, message, name } = error as { code?: string; message?: string; name?: string };
    return new Fault(
      "lakefs/unreachable",
      { call: call.name, reason: code ?? message ?? name },
      error,
    );
  }

  #figuresOf({ name }: LakefsCall): CallFigures {
    const figures = this.figures.get(name) ?? { calls: 0, bytesIn: 0, bytesOut: 0, retries: 0 };
    this.figures.set(name, figures);
    return figures;
  }
}

/** No answer in all the time there is for one. */
export function isTimeout({ code, facts }: Fault): boolean {
  return (
    code === "lakefs/unreachable" &&
    /^(ETIMEDOUT|UND_ERR_(HEADERS|BODY)_TIMEOUT)$/.test(String(facts["reason"]))
  );
}

/** Codes of calls that never left, so that nothing of them was done. */
const NOT_SENT: ReadonlySet<unknown> = new Set(["ECONNREFUSED", "UND_ERR_CONNECT_TIMEOUT"]);

/** Statuses of a proxy whose lakeFS is away. */
const AWAY_STATUSES: ReadonlySet<unknown> = new Set([502, 504]);

/**
 * Returns whether lakeFS, or the way to it, is away or overloaded: nothing of the call itself is
 * wrong.
 */
export function isAway({ code, facts }: Fault): boolean {
  if (code === "lakefs/unreachable" || code === "lakefs/throttled") return true;
  return code === "lakefs/failed" && AWAY_STATUSES.has(facts["status"]);
}

/** Twice as long each time, up to a bound, or as long as the server asks for. */
function waitBefore(attempt: number, { facts }: Fault): number {
  const asked = Number(facts["retryAfterSeconds"] ?? 0) * 1_000;
  const ours = Math.min(LIMITS.lakefsRetryMs * 2 ** (attempt - 1), LIMITS.lakefsRetryMsMax);
  return Math.max(ours, Math.min(asked, LIMITS.lakefsRetryAfterMsMax));
}

function statusFault(call: LakefsCall, { status, body, header }: WholeReply): Fault {
  const code = STATUS_FAULTS[status] ?? "lakefs/failed";
  const text = lossyText(body.subarray(0, MESSAGE_BYTES_MAX));
  // A block store's refusal quotes the signature: only its code is told.
  const says =
    call.presigned === undefined ? messageIn(text) : (/<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? "");
  const reason = says.includes(CONTENDED) ? CONTENDED : says.slice(0, REASON_CHARS_MAX);
  const after = Number(header("retry-after"));
  const facts = {
    ...(reason === "" ? {} : { reason }),
    ...(after > 0 ? { retryAfterSeconds: after } : {}),
  };
  const known = { call: call.name, status };
  return hookFault(says, known) ?? new Fault(code, { ...known, ...facts });
}

/** Reads the beginning of a failed stream, where its reason stands. */
async function firstBytes(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    parts.push(chunk);
    length += chunk.length;
    if (length >= MESSAGE_BYTES_MAX) break;
  }
  return Buffer.concat(parts);
}

function messageIn(text: string): string {
  try {
    return String((JSON.parse(text) as { message?: unknown }).message ?? "");
  } catch {
    return text.trim();
  }
}

function queryOf(query: LakefsCall["query"]): string {
  if (query === undefined) return "";
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined);
  const text = pairs
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`)
    .join("&");
  return text === "" ? "" : `?${text}`;
}
