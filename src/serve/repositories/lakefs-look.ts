/**
 * Tells in a line for people which lakeFS stands behind this server and whether it answers: asked
 * at most once in some seconds, for all who look.
 */
import { asFault } from "../../base/fault.js";
import { orAbort, SingleFlight } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { LakefsServer } from "../../lakefs/api/client.js";
import type { LakefsAccess } from "../../lakefs/api/http.js";

export interface LakefsSeen {
  readonly answers: boolean;
  /** "lakeFS 1.86.0 (local blocks) answers", or why it does not; without its address. */
  readonly says: string;
}

export class LakefsLook {
  readonly endpoint: string;
  /**
   * One of its own: what people look at is no part of the calls that are counted, nor of whether
   * lakeFS is away.
   */
  readonly #client: LakefsServer;
  readonly #looking = new SingleFlight<"look", LakefsSeen>();
  #found: { readonly atMs: number; readonly seen: LakefsSeen } | undefined;

  constructor(access: LakefsAccess) {
    this.endpoint = access.endpoint;
    this.#client = new LakefsServer({ ...access, patienceMs: 0 });
  }

  /** Never rejects. */
  async look(): Promise<LakefsSeen> {
    if (this.#found !== undefined && performance.now() - this.#found.atMs < LIMITS.readyLookMs)
      return this.#found.seen;
    return this.#looking.run("look", async (signal) => {
      const seen = await this.#look(signal);
      this.#found = { atMs: performance.now(), seen };
      return seen;
    });
  }

  async #look(signal: AbortSignal): Promise<LakefsSeen> {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(LIMITS.readyProbeMs)]);
    try {
      const { storage_config: storage, version_config: version } = await orAbort(
        this.#client.config(patience),
        patience,
      );
      const blocks = storage?.blockstore_type;
      const named = ["lakeFS", version?.version, blocks && `(${blocks} blocks)`].filter(
        (part) => part !== undefined,
      );
      return { answers: true, says: `${named.join(" ")} answers` };
    } catch (error) {
      const { code, row } = asFault(error);
      return {
        answers: false,
        says: code === "base/aborted" ? "lakeFS does not answer" : row.says,
      };
    }
  }
}
