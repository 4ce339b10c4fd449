/**
 * The account of one request: who asked, its bytes, its time and how it ended, told once when its
 * last byte is written or it failed.
 */
import { type Caller, nameOf } from "../../auth/caller.js";
import { asFault, type Fault } from "../../base/fault.js";
import { type ByteSink, failureToTell } from "../../base/flow.js";
import type { LogFacts } from "../../observe/log.js";
import type { Operation } from "../../observe/metrics.js";
import { type Conceal, concealed } from "../../serve/conversation/conceal.js";
import type { RequestRecord } from "../../serve/conversation/request-record.js";
import type { RequestEnd } from "../../serve/git-server.js";
import type { HttpReply, HttpRequest } from "./contract.js";
import type { Target } from "./path.js";

export class RequestAccount implements RequestRecord {
  /** The request, its body counted. */
  readonly request: HttpRequest;
  operation: Operation = "none";
  conceal: Conceal | undefined;
  readonly #onEnd: (entry: RequestEnd) => void;
  readonly #startedMs = performance.now();
  #caller: Caller | undefined;
  #bytesIn = 0;
  #bytesOut = 0;
  /** Told to the client in the protocol. */
  #told: Fault | undefined;
  #noted: LogFacts = {};

  /** `remote`: the client's address, where a proxy we trust has told it. */
  constructor(request: HttpRequest, remote: string, onEnd: (entry: RequestEnd) => void) {
    const { body } = request;
    const read = async () => {
      const chunk = await body.read();
      this.#bytesIn += chunk?.length ?? 0;
      return chunk;
    };
    const { id, method, path, query, signal } = request;
    const headers = {
      header: (name: string) => request.header(name),
      headerNames: () => request.headerNames(),
    };
    this.request = {
      id,
      method,
      path,
      query,
      remote,
      signal,
      ...headers,
      body: { read, release: (chunk) => body.release?.(chunk) },
    };
    this.#onEnd = onEnd;
  }

  get id(): string {
    return this.request.id;
  }

  failed(fault: Fault): void {
    this.#told ??= fault;
  }

  note(facts: LogFacts): void {
    this.#noted = { ...this.#noted, ...facts };
  }

  /** Notes the caller. */
  identified(caller: Caller): Caller {
    this.#caller = caller;
    return caller;
  }

  /** The reply, watched to its end. `failure`: it tells of one. */
  watch(reply: HttpReply, failure?: unknown): HttpReply {
    const { body } = reply;
    if (typeof body !== "function") {
      this.#bytesOut = this.request.method === "HEAD" ? 0 : body.length;
      this.#end(reply.status, failure);
      return reply;
    }
    const counted = async (sink: ByteSink) => {
      try {
        await body(this.#counting(sink));
        this.#end(reply.status, failure);
      } catch (error) {
        this.#end(asFault(error).row.http, error);
        throw concealed(failureToTell(this.request.signal, error), this.conceal);
      }
    };
    return { ...reply, body: counted };
  }

  #counting(sink: ByteSink): ByteSink {
    const isHead = this.request.method === "HEAD";
    return {
      write: (bytes) => {
        if (!isHead) this.#bytesOut += bytes.length;
        return sink.write(bytes);
      },
      expect: (total) => sink.expect?.(total),
    };
  }

  #end(status: number, thrown: unknown): void {
    const { id, method, path, remote } = this.request;
    const milliseconds = Math.round(performance.now() - this.#startedMs);
    const caller = this.#caller && nameOf(this.#caller);
    const { operation } = this;
    const [bytesIn, bytesOut, noted, failure] = [
      this.#bytesIn,
      this.#bytesOut,
      this.#noted,
      this.#told ?? thrown,
    ];
    this.#onEnd({
      id,
      method,
      path,
      remote,
      caller,
      operation,
      status,
      milliseconds,
      bytesIn,
      bytesOut,
      failure,
      noted,
    });
  }
}

/** Returns the purpose of a request, as metrics name it. */
export function operationOf(target: Target): Operation {
  switch (target.kind) {
    case "home":
      return "page";
    case "health":
    case "ready":
      return "probe";
    case "metrics":
      return "metrics";
    case "api":
      return "api";
    case "lakefs-webhook":
      return "webhook";
    case "repository":
      return (
        FILES.get(target.file) ??
        (target.file.startsWith("info/lfs/objects/") ? "lfs-transfer" : undefined) ??
        (target.file.startsWith(BUNDLES_PREFIX) ? "bundle" : "none")
      );
  }
}

/** Before the name of a bundle, below a repository. */
export const BUNDLES_PREFIX = "bundles/";

/** A map: of an object a client could ask for "constructor". */
const FILES: ReadonlyMap<string, Operation> = new Map([
  ["", "page"],
  ["HEAD", "head"],
  ["info/refs", "advertise"],
  ["git-upload-pack", "upload-pack"],
  ["git-receive-pack", "receive-pack"],
  ["info/lfs/objects/batch", "lfs-batch"],
  ["info/lfs/objects/verify", "lfs-verify"],
]);
