/** HTTP to lakeFS: authentication, faults, retries of what is safe to repeat, and a count of calls and bytes. */
import { lossyText } from "../base/bytes.js";
import { Fault, type FaultCode } from "../base/fault.js";
import { checkAborted, sleep } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";

export interface LakefsAccess {
  /** "http://127.0.0.1:8000", with or without "/api/v1". */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface LakefsCall {
  /** Name in counters and messages: "getBranch". */
  readonly name: string;
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Behind /api/v1, its parts encoded (`pathOf`). */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly json?: unknown;
  readonly body?: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether a lost answer or a failure may simply be tried again. Reads are; so are writes that set rather than add. */
  readonly repeatable: boolean;
  readonly signal: AbortSignal;
}

export interface CallFigures {
  calls: number;
  bytesIn: number;
  bytesOut: number;
  retries: number;
}

export type OnCall = (call: { readonly name: string; readonly method: string; readonly path: string; readonly status: number; readonly ms: number }) => void;

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
const MESSAGE_BYTES_MAX = 4_096;
/** What a contended branch answers with status 500: nothing happened, it may be tried again. */
const CONTENDED = "predicate failed";

/** Parts of a path, each encoded: repository, ref and ids may hold anything. */
export function pathOf(...parts: readonly string[]): string {
  return parts.map((part) => `/${encodeURIComponent(part)}`).join("");
}

export class LakefsHttp {
  readonly #base: string;
  readonly #authorization: string;
  readonly #onCall: OnCall | undefined;
  /** By call name, for metrics and for budgets in tests. */
  readonly figures = new Map<string, CallFigures>();

  constructor(access: LakefsAccess, onCall?: OnCall) {
    this.#base = `${access.endpoint.replace(/\/+$/, "").replace(/\/api\/v1$/, "")}/api/v1`;
    this.#authorization = `Basic ${Buffer.from(`${access.accessKeyId}:${access.secretAccessKey}`).toString("base64")}`;
    this.#onCall = onCall;
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
      const bytes = await this.#bytes(call, await this.#send(call), LIMITS.lakefsReplyBytesMax);
      try {
        return JSON.parse(Buffer.from(bytes).toString("utf8")) as T;
      } catch (error) {
        throw new Fault("lakefs/bad-reply", { call: call.name }, error);
      }
    });
  }

  /** A call whose reply's body does not matter. */
  async done(call: LakefsCall): Promise<void> {
    await this.#retrying(call, async () => {
      await this.#bytes(call, await this.#send(call), LIMITS.lakefsReplyBytesMax);
    });
  }

  /** A whole body of at most `bytesMax`. */
  async bytes(call: LakefsCall, bytesMax: number): Promise<Uint8Array> {
    return this.#retrying(call, async () => this.#bytes(call, await this.#send(call), bytesMax));
  }

  /** A body as it arrives; a connection cut in the middle throws from the stream. Not retried: the caller knows how far it came. */
  async stream(call: LakefsCall): Promise<{ readonly status: number; readonly headers: Headers; readonly body: AsyncIterable<Uint8Array> }> {
    const response = await this.#send(call);
    return { status: response.status, headers: response.headers, body: this.#chunks(call, response) };
  }

  async #retrying<T>(call: LakefsCall, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        const fault = this.#toFault(call, error);
        if (attempt >= LIMITS.lakefsTriesMax || !mayRepeat(call, fault)) throw fault;
        this.#figuresOf(call).retries++;
        await sleep(LIMITS.lakefsRetryMs * 2 ** (attempt - 1), call.signal);
      }
    }
  }

  async #send(call: LakefsCall): Promise<Response> {
    checkAborted(call.signal);
    const started = performance.now();
    const figures = this.#figuresOf(call);
    figures.calls++;
    const body = call.json === undefined ? call.body : Buffer.from(JSON.stringify(call.json));
    figures.bytesOut += body?.length ?? 0;
    const response = await fetch(this.#base + call.path + queryOf(call.query), {
      method: call.method,
      headers: {
        Authorization: this.#authorization,
        ...(call.json === undefined ? {} : { "Content-Type": "application/json" }),
        ...call.headers,
      },
      ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }),
      signal: AbortSignal.any([call.signal, AbortSignal.timeout(LIMITS.lakefsCallMs)]),
      redirect: "manual",
    }).catch((error: unknown) => {
      throw this.#toFault(call, error);
    });
    this.#onCall?.({ name: call.name, method: call.method, path: call.path, status: response.status, ms: performance.now() - started });
    if (response.status >= 400) throw await statusFault(call, response);
    return response;
  }

  async #bytes(call: LakefsCall, response: Response, bytesMax: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.#chunks(call, response)) {
      length += chunk.length;
      if (length > bytesMax) throw new Fault("lakefs/bad-reply", { call: call.name, reason: "longer than it may be", bytesMax });
      parts.push(chunk);
    }
    return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  }

  async *#chunks(call: LakefsCall, response: Response): AsyncGenerator<Uint8Array, void, undefined> {
    if (response.body === null) return;
    const figures = this.#figuresOf(call);
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        figures.bytesIn += chunk.length;
        yield chunk;
      }
    } catch (error) {
      throw this.#toFault(call, error);
    }
  }

  #toFault(call: LakefsCall, error: unknown): Fault {
    if (error instanceof Fault) return error;
    if (call.signal.aborted) return new Fault("base/aborted", {}, error);
    const cause = (error as { cause?: { code?: string; message?: string } }).cause;
    return new Fault("lakefs/unreachable", { call: call.name, reason: cause?.code ?? cause?.message ?? (error as Error).name }, error);
  }

  #figuresOf({ name }: LakefsCall): CallFigures {
    const figures = this.figures.get(name) ?? { calls: 0, bytesIn: 0, bytesOut: 0, retries: 0 };
    this.figures.set(name, figures);
    return figures;
  }
}

function mayRepeat(call: LakefsCall, fault: Fault): boolean {
  if (fault.code === "lakefs/throttled" || fault.facts["reason"] === CONTENDED) return true;
  return call.repeatable && (fault.code === "lakefs/unreachable" || fault.code === "lakefs/failed");
}

async function statusFault(call: LakefsCall, response: Response): Promise<Fault> {
  const text = await response.arrayBuffer().then((bytes) => lossyText(new Uint8Array(bytes).subarray(0, MESSAGE_BYTES_MAX)), () => "");
  const code = STATUS_FAULTS[response.status] ?? "lakefs/failed";
  const says = messageIn(text);
  const reason = says.includes(CONTENDED) ? CONTENDED : says;
  return new Fault(code, { call: call.name, status: response.status, ...(reason === "" ? {} : { reason }) });
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
  const text = pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`).join("&");
  return text === "" ? "" : `?${text}`;
}
