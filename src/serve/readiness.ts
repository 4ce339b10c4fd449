/**
 * Finds out whether this server can take requests: a balancer asks every few seconds, so what was
 * found holds for a moment and several who ask at once share one look. A store or a database that
 * cannot be written is a no: each push would fail. A cache that cannot be written is a warning:
 * packs are made again.
 */
import { asFault, Fault } from "../base/fault.js";
import { orAbort, SingleFlight } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";

export interface Ready {
  /** Reason why not; undefined: ready. */
  readonly refusal?: string;
  /** Warnings for the operator although it is. */
  readonly warnings: readonly string[];
}

/** Each writes something small, durably where that counts, and throws where it cannot. */
export interface WriteProbes {
  readonly store: (signal: AbortSignal) => Promise<void>;
  readonly database?: (signal: AbortSignal) => Promise<void>;
  readonly cache: (signal: AbortSignal) => Promise<void>;
}

export class Readiness {
  readonly #probes: WriteProbes;
  readonly #looking = new SingleFlight<"look", Ready>();
  #found: { readonly atMs: number; readonly ready: Ready } | undefined;

  constructor(probes: WriteProbes) {
    this.#probes = probes;
  }

  /** Never rejects. */
  async look(): Promise<Ready> {
    if (this.#found !== undefined && performance.now() - this.#found.atMs < LIMITS.readyLookMs)
      return this.#found.ready;
    return this.#looking.run("look", () => this.#look());
  }

  async #look(): Promise<Ready> {
    const { store, database, cache } = this.#probes;
    const [noStore, noDatabase, noCache] = await Promise.all([
      failure(store),
      database && failure(database),
      failure(cache),
    ]);
    const refusals = [
      noStore && `the store cannot be written: ${noStore}`,
      noDatabase && `the database cannot be written: ${noDatabase}`,
    ];
    const refusal = refusals.filter((each) => each !== undefined).join("; ");
    const warnings =
      noCache === undefined
        ? []
        : [`the cache cannot be written, so packs are made again for each request: ${noCache}`];
    const ready = refusal === "" ? { warnings } : { refusal, warnings };
    this.#found = { atMs: performance.now(), ready };
    return ready;
  }
}

/** The row's words alone: paths are the server's own. */
async function failure(probe: (signal: AbortSignal) => Promise<void>): Promise<string | undefined> {
  const signal = AbortSignal.timeout(LIMITS.readyProbeMs);
  try {
    await orAbort(probe(signal), signal);
    return undefined;
  } catch (error) {
    return signal.aborted ? new Fault("base/timeout").row.says : asFault(error).row.says;
  }
}
