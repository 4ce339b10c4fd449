/**
 * Figures of `/metrics`, in Prometheus' text format. Counters that others keep (the pool, the
 * cache, lakeFS' clients) are read when somebody asks. Names of repositories, users and paths are
 * never labels: their number has no bound, and they are nobody else's business.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** Purpose of a request: one word a route. */
export type Operation =
  | "page"
  | "probe"
  | "metrics"
  | "head"
  | "advertise"
  | "upload-pack"
  | "bundle"
  | "receive-pack"
  | "lfs-batch"
  | "lfs-transfer"
  | "lfs-verify"
  | "api"
  | "webhook"
  | "none";

/**
 * End of a request: `refused` is the client's affair (4xx), `failed` ours (5xx), `aborted` means
 * the client had gone.
 */
export type Outcome = "ok" | "refused" | "failed" | "aborted";

export interface RequestFigures {
  readonly operation: Operation;
  readonly outcome: Outcome;
  readonly seconds: number;
  /** Bytes of the bodies, as they went over the wire. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Calls of one kind to another server. */
export interface CallCounts {
  readonly calls: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly retries: number;
}

/** Figures kept elsewhere. Counts only ever grow. */
export interface MetricSources {
  readonly pool: () => {
    readonly threads: number;
    readonly running: number;
    readonly queued: number;
    readonly queueMax: number;
    readonly replaced: number;
    readonly completed: number;
    readonly waitMsMax: number;
    /** Milliseconds of all tasks that have ended. */
    readonly runMs: number;
  };
  readonly cache: () => {
    readonly bytes: number;
    readonly count: number;
    readonly figures: Readonly<Record<string, number>>;
    /** Bytes of packs made, and of packs sent to clients whatever they came from. */
    readonly bytesMade: number;
  };
  /** By name of the call. */
  readonly lakefs: () => ReadonlyMap<string, CallCounts>;
  /** By operation of an object store. */
  readonly store: () => ReadonlyMap<string, CallCounts>;
}

/** Seconds. From a warm ls-refs to a first clone of a large repository. */
const SECONDS_BUCKETS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1_800];
/** Seconds. From a free thread to a queue that nobody should stand in. */
const WAIT_BUCKETS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60];

export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<"operation" | "outcome">;
  readonly #seconds: Histogram<"operation" | "outcome">;
  readonly #bytes: Counter<"operation" | "outcome" | "direction">;
  readonly #waits: Histogram<"priority">;
  readonly #packBytes: Counter<"source">;
  readonly contentType: string;

  constructor(version: string) {
    const registers = [this.#registry];
    this.contentType = this.#registry.contentType;
    // Descriptors, resident memory, CPU, event-loop delay, heap: under the names every dashboard
    // knows.
    collectDefaultMetrics({ register: this.#registry });
    new Gauge({
      name: "lakepack_info",
      help: "Always 1; the version is a label.",
      labelNames: ["version"],
      registers,
    }).set({ version }, 1);
    this.#requests = new Counter({
      name: "lakepack_requests_total",
      help: "Requests by operation and outcome (ok, refused, failed, aborted).",
      labelNames: ["operation", "outcome"],
      registers,
    });
    this.#seconds = new Histogram({
      name: "lakepack_request_seconds",
      help: "Time of a request from its head to its last byte.",
      labelNames: ["operation", "outcome"],
      buckets: SECONDS_BUCKETS,
      registers,
    });
    this.#bytes = new Counter({
      name: "lakepack_request_bytes_total",
      help: "Bytes of request bodies (in) and replies (out).",
      labelNames: ["operation", "outcome", "direction"],
      registers,
    });
    this.#waits = new Histogram({
      name: "lakepack_pool_wait_seconds",
      help: "Time tasks waited for a thread; those that found one free waited 0.",
      labelNames: ["priority"],
      buckets: WAIT_BUCKETS,
      registers,
    });
    this.#packBytes = new Counter({
      name: "lakepack_pack_bytes_sent_total",
      help: "Bytes of packs sent to clients.",
      labelNames: ["source"],
      registers,
    });
  }

  requestEnded({ operation, outcome, seconds, bytesIn, bytesOut }: RequestFigures): void {
    this.#requests.inc({ operation, outcome });
    this.#seconds.observe({ operation, outcome }, seconds);
    this.#bytes.inc({ operation, outcome, direction: "in" }, bytesIn);
    this.#bytes.inc({ operation, outcome, direction: "out" }, bytesOut);
  }

  /** A task has got a thread after so long. */
  taskWaited(priority: "interactive" | "background", seconds: number): void {
    this.#waits.observe({ priority }, seconds);
  }

  /** `stored`: as it lies in the store; `cache`: a file made for a fetch. */
  packSent(source: "stored" | "cache", bytes: number): void {
    this.#packBytes.inc({ source }, bytes);
  }

  /** Notes the HTTP front end that runs: "uws" or "node". */
  servedBy(kind: string): void {
    new Gauge({
      name: "lakepack_transport",
      help: "Always 1; which HTTP front end runs is a label.",
      labelNames: ["kind"],
      registers: [this.#registry],
    }).set({ kind }, 1);
  }

  /** To be called once. */
  watch({ pool, cache, lakefs, store }: MetricSources): void {
    this.#gauge("lakepack_pool_threads", "Worker threads.", () => pool().threads);
    this.#gauge("lakepack_pool_running", "Threads that have a task.", () => pool().running);
    this.#gauge("lakepack_pool_queued", "Tasks that wait for a thread.", () => pool().queued);
    this.#gauge(
      "lakepack_pool_queue_limit",
      "Tasks that may wait for a thread.",
      () => pool().queueMax,
    );
    this.#counters(
      "lakepack_pool_threads_replaced_total",
      "Threads that died, hung or did not listen to an abort.",
      "state",
      () => [["replaced", pool().replaced]],
    );
    this.#counters("lakepack_pool_tasks_total", "Tasks that have ended.", "state", () => [
      ["completed", pool().completed],
    ]);
    this.#gauge(
      "lakepack_pool_wait_seconds_max",
      "Longest time a task waited for a thread, since the start.",
      () => pool().waitMsMax / 1_000,
    );
    this.#counters(
      "lakepack_pool_run_seconds_total",
      "Time that tasks had threads; with lakepack_pool_threads, how busy those are.",
      "state",
      () => [["completed", pool().runMs / 1_000]],
    );
    this.#gauge("lakepack_cache_bytes", "Bytes of generated packs kept.", () => cache().bytes);
    this.#gauge("lakepack_cache_packs", "Generated packs kept or growing.", () => cache().count);
    this.#counters(
      "lakepack_cache_events_total",
      "Answers by how they came about (hits, shared, generated) and what left (evicted, rejected).",
      "event",
      () => Object.entries(cache().figures),
    );
    this.#counters(
      "lakepack_cache_bytes_made_total",
      "Bytes of generated packs; compare with lakepack_pack_bytes_sent_total.",
      "kind",
      () => [["pack", cache().bytesMade]],
    );
    this.#calls(lakefs, "call", {
      calls: ["lakepack_lakefs_calls_total", "Calls to lakeFS, repeats included."],
      retries: ["lakepack_lakefs_retries_total", "Calls to lakeFS that were repeated."],
      bytesIn: ["lakepack_lakefs_bytes_in_total", "Bytes of lakeFS' replies."],
      bytesOut: ["lakepack_lakefs_bytes_out_total", "Bytes sent to lakeFS."],
    });
    this.#calls(store, "operation", {
      calls: ["lakepack_store_calls_total", "Requests to object storage, repeats included."],
      retries: ["lakepack_store_retries_total", "Requests to object storage that were repeated."],
      bytesIn: ["lakepack_store_bytes_in_total", "Bytes of object storage's replies."],
      bytesOut: ["lakepack_store_bytes_out_total", "Bytes sent to object storage."],
    });
  }

  /** Calls to another server, by kind. */
  #calls(
    read: () => ReadonlyMap<string, CallCounts>,
    label: string,
    counters: Readonly<Record<keyof CallCounts, readonly [name: string, help: string]>>,
  ): void {
    for (const [count, [name, help]] of Object.entries(counters))
      this.#counters(name, help, label, () =>
        [...read()].map(([kind, one]) => [kind, one[count as keyof CallCounts]]),
      );
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** Read anew each time: what others count does not start at zero with this object. */
  #counters(
    name: string,
    help: string,
    label: string,
    read: () => readonly (readonly [string, number])[],
  ): void {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [value, count] of read()) this.inc({ [label]: value }, count);
      },
    });
  }
}
