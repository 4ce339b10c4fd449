/**
 * Sends replies. Small ones carry Content-Length, because libgit2, wasm-git and CORS proxies
 * mishandle short chunked ones; so a reply of unknown size is held back until it is whole, or 8 MiB
 * of it are there, or a second has passed, or all held replies together are too much. From then on
 * it is chunked.
 */
import { concat } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import type { ByteSink } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { HttpHandler, HttpReply, HttpRequest } from "./contract.js";
import { checkFraming } from "./framing.js";
import { faultReply } from "./fault.js";

export interface ReplyHead {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/**
 * The future of the connection. "close": it ends with this reply, which is one write long. "think":
 * the client's next request may take long to come (HttpReply `clientThinks`).
 */
export type Then = "keep" | "think" | "close";

/**
 * One reply as a transport's connection takes it. Rejects, or does nothing, once the client has
 * gone.
 */
export interface RawReply {
  /**
   * Chooses the head; it leaves with the first byte. `total`: bytes that follow exactly, undefined:
   * chunked.
   */
  begin(head: ReplyHead, total: number | undefined, then?: Then): void;
  /** Resolves when the next write is welcome; `bytes` are copied or sent by then. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the reply cleanly; resolves when it has been handed to the system. */
  end(): Promise<void>;
  /** Breaks the connection, so that nobody takes a part for the whole. */
  cut(): void;
}

/** Bytes held back by all replies of one listener. */
export class HoldBudget {
  #left: number = LIMITS.replyHoldTotalBytesMax;

  /** False: not so much. */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

export interface ReplyOptions {
  readonly budget: HoldBudget;
  readonly holdMs: number;
}

/**
 * Answers one request: whatever the handler throws becomes a reply, as long as one can still be
 * chosen.
 */
export async function answer(
  handler: HttpHandler,
  request: HttpRequest,
  raw: RawReply,
  options: ReplyOptions,
): Promise<void> {
  try {
    checkFraming(request);
  } catch (error) {
    // Nobody knows where the next request would begin.
    const reply = faultReply(error, request.id);
    handler.refused?.(request, reply, error);
    await sendBytes(reply, raw, "close").catch(() => raw.cut());
    return;
  }
  try {
    const reply = await handler(request).catch((error: unknown) => faultReply(error, request.id));
    const failed = await sendReply(reply, raw, options);
    if (failed !== undefined) await sendBytes(afterFailure(reply, failed.error, request.id), raw);
  } catch {
    raw.cut(); // the head has left, or nobody is there: the routes have logged what happened
  }
}

/**
 * Sends it whole, or answers what went wrong before the head had left; throws what went wrong after
 * that.
 */
async function sendReply(
  reply: HttpReply,
  raw: RawReply,
  options: ReplyOptions,
): Promise<{ error: unknown } | undefined> {
  const { body } = reply;
  if (typeof body !== "function") {
    await sendBytes(reply, raw, thenOf(reply));
    return undefined;
  }
  const sink = new ReplySink(reply, raw, options);
  try {
    await body(sink);
    await sink.finish();
    return undefined;
  } catch (error) {
    if (sink.begun) throw error;
    return { error };
  } finally {
    sink.release();
  }
}

/**
 * The error reply in place of one that was decided already: a web page may read it if it might have
 * read the other.
 */
function afterFailure(reply: HttpReply, error: unknown, requestId: string): HttpReply {
  const fault = faultReply(error, requestId);
  const kept = reply.headers.filter(([name]) => /^(access-control-|vary$)/i.test(name));
  return { ...fault, headers: [...fault.headers, ...kept] };
}

function thenOf({ clientThinks }: HttpReply): Then {
  return clientThinks === true ? "think" : "keep";
}

async function sendBytes(reply: HttpReply, raw: RawReply, then: Then = "keep"): Promise<void> {
  const body = reply.body as Uint8Array;
  raw.begin(reply, body.length, then);
  if (body.length > 0) await raw.write(body);
  await raw.end();
}

/** The sink of a body writer. */
class ReplySink implements ByteSink {
  readonly #head: HttpReply;
  readonly #raw: RawReply;
  readonly #budget: HoldBudget;
  readonly #timer: NodeJS.Timeout;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #holding = true;
  /** As announced, with what was held before; undefined: chunked, unless everything was held. */
  #total: number | undefined;
  #written = 0;
  #begun = false;
  /** Held bytes on their way; writes wait for it. */
  #leaving: Promise<void> | undefined;

  constructor(head: HttpReply, raw: RawReply, { budget, holdMs }: ReplyOptions) {
    this.#head = head;
    this.#raw = raw;
    this.#budget = budget;
    this.#timer = setTimeout(() => this.#letGo(), holdMs);
  }

  /** The head has left, or is about to. */
  get begun(): boolean {
    return this.#begun;
  }

  expect(total: number | "large"): void {
    if (total === "large") {
      this.#letGo();
      return;
    }
    if (this.#total !== undefined) throw new TypeError("an exact size is announced once");
    if (!this.#holding) return; // it leaves in chunks already
    this.#total = this.#written = this.#heldBytes;
    this.#total += total;
    this.#letGo();
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    if (this.#holding && this.#hold(bytes)) return;
    this.#letGo();
    if (this.#leaving !== undefined) await this.#leaving;
    this.#begin(this.#total);
    this.#written += bytes.length;
    if (this.#total !== undefined && this.#written > this.#total)
      throw new Fault("base/internal", { announcedBytes: this.#total });
    await this.#raw.write(bytes);
  }

  /** Everything is written: sends what is held with its length, or ends the stream. */
  async finish(): Promise<void> {
    if (this.#holding) {
      this.#begin(this.#heldBytes);
      await this.#sendHeld();
    } else {
      if (this.#leaving !== undefined) await this.#leaving;
      if (this.#written < (this.#total ?? 0))
        throw new Fault("base/internal", { announcedBytes: this.#total, written: this.#written });
      this.#begin(this.#total ?? 0);
    }
    await this.#raw.end();
  }

  /** Frees what is held. */
  release(): void {
    clearTimeout(this.#timer);
    this.#budget.give(this.#heldBytes);
    this.#held = [];
    this.#heldBytes = 0;
  }

  /** Keeps a copy; false: no room, it must go out. */
  #hold(bytes: Uint8Array): boolean {
    if (
      this.#heldBytes + bytes.length > LIMITS.replyHoldBytesMax ||
      !this.#budget.take(bytes.length)
    )
      return false;
    this.#held.push(Buffer.from(bytes)); // its writer fills it again
    this.#heldBytes += bytes.length;
    return true;
  }

  #begin(total: number | undefined): void {
    clearTimeout(this.#timer);
    if (this.#begun) return;
    this.#begun = true;
    this.#raw.begin(this.#head, total, thenOf(this.#head));
  }

  /**
   * Holds no more: the head and what is held leave now, chunked unless a size was announced. Where
   * nothing is held the head waits for the first write, so that an error can still be told by its
   * status.
   */
  #letGo(): void {
    if (!this.#holding) return;
    this.#holding = false;
    if (this.#heldBytes === 0) return;
    this.#begin(this.#total);
    this.#leaving = this.#sendHeld();
    this.#leaving.catch(() => undefined); // the next write or `finish` sees it
  }

  async #sendHeld(): Promise<void> {
    const parts = this.#held;
    this.#held = [];
    for (const part of gathered(parts)) {
      await this.#raw.write(part);
      this.#heldBytes -= part.length;
      this.#budget.give(part.length);
    }
  }
}

/** Runs of small parts joined: a report is written in many pieces and should leave in one. */
function* gathered(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  let run: Uint8Array[] = [];
  let bytes = 0;
  for (const part of parts) {
    if (bytes > 0 && bytes + part.length > LIMITS.streamChunkBytes) {
      yield joined(run);
      run = [];
      bytes = 0;
    }
    run.push(part);
    bytes += part.length;
  }
  if (bytes > 0) yield joined(run);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? (parts[0] as Uint8Array) : concat(parts);
}
