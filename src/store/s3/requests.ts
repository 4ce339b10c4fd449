/** Requests to one bucket: each is counted, and what is safe to repeat is tried again. */
import { setMaxListeners } from "node:events";
import type { S3 } from "@aws-sdk/client-s3";
import { checkAborted } from "../../base/flow.js";
import { type Asked, type Outcome, outcomeOf } from "./outcome.js";
import { Patience } from "./patience.js";
import type { S3Clients } from "./sdk.js";
import { TagDigests } from "./tag-digests.js";

/** Requests of one operation so far. Bytes are those of objects. */
export interface S3Figures {
  /** Retries included. */
  calls: number;
  retries: number;
  bytesIn: number;
  bytesOut: number;
}

export interface S3Request<T> extends Asked {
  /** Sends it once. */
  readonly send: (api: S3, options: { readonly abortSignal?: AbortSignal }) => Promise<T>;
  readonly bytesOut?: number;
  /** Storage may be silent for minutes over it. */
  readonly isSlow?: boolean;
  /** Is told of a try of which nobody knows whether it was done. */
  readonly onUnknown?: () => void;
}

export type Answer<T> =
  | { readonly as: "ok"; readonly value: T }
  | Extract<Outcome, { as: "missing" | "unchanged" | "precondition" | "beyond" }>;

export class S3Requests {
  readonly #clients: S3Clients;
  readonly #patienceMs: number;
  readonly figures = new Map<string, S3Figures>();
  readonly tagDigests = new TagDigests();

  constructor(clients: S3Clients, patienceMs: number) {
    this.#clients = clients;
    this.#patienceMs = patienceMs;
  }

  patience(): Patience {
    return new Patience(this.#patienceMs);
  }

  figuresOf(operation: string): S3Figures {
    const known = this.figures.get(operation);
    if (known !== undefined) return known;
    const figures = { calls: 0, retries: 0, bytesIn: 0, bytesOut: 0 };
    this.figures.set(operation, figures);
    return figures;
  }

  /** One try. Throws "base/aborted"; all else is an outcome. */
  async once<T>(
    request: S3Request<T>,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly as: "ok"; readonly value: T } | Outcome> {
    checkAborted(signal);
    if (signal !== undefined) setMaxListeners(0, signal); // each request under way listens
    const figures = this.figuresOf(request.operation);
    figures.calls++;
    figures.bytesOut += request.bytesOut ?? 0;
    const api = request.isSlow === true ? this.#clients.completions : this.#clients.calls;
    try {
      const options = signal === undefined ? {} : { abortSignal: signal };
      return { as: "ok", value: await request.send(api, options) };
    } catch (error) {
      checkAborted(signal);
      const { operation, key } = request;
      return outcomeOf(error, { operation, ...(key === undefined ? {} : { key }) });
    }
  }

  /**
   * As many tries as it takes, of what may be done twice. Throws "base/aborted" and the fault of
   * the last try.
   */
  async ask<T>(request: S3Request<T>, signal: AbortSignal | undefined): Promise<Answer<T>> {
    const patience = this.patience();
    for (;;) {
      const outcome = await this.once(request, signal);
      if (outcome.as === "refused") throw outcome.fault;
      if (outcome.as !== "undone" && outcome.as !== "unknown") return outcome;
      if (outcome.as === "unknown") request.onUnknown?.();
      if (!(await patience.again(outcome, signal))) throw outcome.fault;
      this.figuresOf(request.operation).retries++;
    }
  }
}
